//! Checkpoints: named, lasting instants of a slate.
//!
//! A checkpoint is made at a barrier of the committer: everything written before is flushed to the
//! write-ahead log, and the checkpoint refers to that log instead of waiting for sorted files, so that it takes
//! the same time whatever the size of the data. The engine can attach nothing but a name to a checkpoint, so the
//! position is kept in it: `od1:<position>:<name>`.

use std::time::Duration;

use slatedb::config::{CheckpointOptions, CheckpointScope};

use super::Slate;
use super::committer::{Committer, write_failure};
use super::transaction::{Ack, Commit, Transaction};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::time::{Position, Timestamp};

const MARK: &str = "od1";

/// A named instant of a slate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The engine's id of it.
    pub id: uuid::Uuid,
    /// Its name, unique among the checkpoints of a slate that have not expired.
    pub name: String,
    /// Everything up to here is in it, and nothing behind.
    pub position: Position,
    /// When it was made.
    pub created: Timestamp,
    /// When it expires; never, if none.
    pub expires: Option<Timestamp>,
}

impl Checkpoint {
    fn parse(found: &slatedb::Checkpoint) -> Option<Self> {
        let (mark, rest) = found.name.as_deref()?.split_once(':')?;
        let (position, name) = rest.split_once(':')?;
        if mark != MARK {
            return None;
        }
        Some(Self {
            id: found.id,
            name: name.to_owned(),
            position: Position(position.parse().ok()?),
            created: Timestamp(found.create_time.timestamp_millis()),
            expires: found.expire_time.map(|time| Timestamp(time.timestamp_millis())),
        })
    }
}

impl Slate {
    /// Makes a checkpoint of everything committed so far. It lives until it is released or, if given, its
    /// lifetime ends, which is kept in whole seconds, rounded up. Writers wait only while what is in memory is flushed to the log.
    ///
    /// # Errors
    /// `Conflict` if a checkpoint of this name exists, `Invalid` if the name is empty or longer than 200
    /// bytes; `OutcomeUnknown` if the store failed: list the checkpoints to know.
    pub async fn checkpoint(&self, name: &str, lifetime: Option<Duration>) -> Result<Checkpoint> {
        self.check_new(name).await?;
        let (id, position) = self.pin(name.to_owned(), lifetime).await?;
        self.listed(id, name, position).await
    }

    /// Commits a transaction and makes a checkpoint of exactly the state it leaves: nothing that anyone else commits
    /// stands between the two. An empty transaction makes a checkpoint only.
    ///
    /// # Errors
    /// Those of [`Transaction::commit`] if the transaction is refused, and no checkpoint is made then; those of
    /// [`checkpoint`](Self::checkpoint): the transaction may be committed although the checkpoint failed.
    pub async fn commit_and_checkpoint(
        &self,
        transaction: Transaction,
        name: &str,
        lifetime: Option<Duration>,
    ) -> Result<(Commit, Checkpoint)> {
        self.check_new(name).await?;
        let (submitted, pending) = self.0.queue.prepare(transaction, Ack::Written).await?;
        let wanted = name.to_owned();
        let begun = self.0.queue.barrier(move |committer| {
            Box::pin(async move {
                committer.commit_group(vec![submitted]).await;
                let commit = pending.wait().await?;
                Ok((commit, begin(committer, wanted, lifetime).await?))
            })
        });
        let (commit, (handle, position)) = begun.await?;
        let made = handle.wait().await.map_err(write_failure)?;
        Ok((commit, self.listed(made.id, name, position).await?))
    }

    async fn check_new(&self, name: &str) -> Result<()> {
        if name.is_empty() || name.len() > 200 {
            return Err(Error::invalid(format!("a checkpoint name is 1 to 200 bytes, name={name:?}")));
        }
        if self.checkpoints().await?.iter().any(|checkpoint| checkpoint.name == name) {
            return Err(Error::conflict(format!("a checkpoint of this name exists, name={name}")));
        }
        Ok(())
    }

    async fn listed(&self, id: uuid::Uuid, name: &str, position: Position) -> Result<Checkpoint> {
        let found = self.checkpoints().await?.into_iter().find(|checkpoint| checkpoint.id == id);
        found.ok_or_else(|| {
            Error::outcome_unknown(format!("the checkpoint is not listed, name={name}, position={position}"))
        })
    }

    /// Makes the engine's checkpoint at a barrier and waits for it outside.
    pub(crate) async fn pin(&self, name: String, lifetime: Option<Duration>) -> Result<(uuid::Uuid, Position)> {
        let begun = self.0.queue.barrier(move |committer| Box::pin(begin(committer, name, lifetime))).await;
        let (handle, position) = begun?;
        let made = handle.wait().await.map_err(write_failure)?;
        Ok((made.id, position))
    }

    /// The checkpoints of this slate that have not expired, oldest first.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn checkpoints(&self) -> Result<Vec<Checkpoint>> {
        checkpoints(&self.0.store, &self.0.path, &self.0.env).await
    }

    /// Lets a checkpoint go. Its files are collected when nothing else needs them.
    ///
    /// # Errors
    /// `NotFound` if there is none of this name.
    pub async fn release(&self, name: &str) -> Result<()> {
        let found = named(self.checkpoints().await?, name)?;
        Ok(self.0.store.admin(&self.0.path, &self.0.env)?.delete_checkpoint(found.id).await?)
    }
}

async fn begin(
    committer: &mut Committer,
    name: String,
    lifetime: Option<Duration>,
) -> Result<(slatedb::CheckpointHandle, Position)> {
    committer.settle().await?;
    let position = committer.last;
    // The engine keeps whole seconds and cuts off the rest; nothing may expire before its time.
    let lifetime = lifetime.map(|lifetime| lifetime + Duration::from_millis(999));
    let options = CheckpointOptions { lifetime, source: None, name: Some(format!("{MARK}:{}:{name}", position.0)) };
    let handle = committer.db.begin_checkpoint(CheckpointScope::Durable, &options).await.map_err(write_failure)?;
    Ok((handle, position))
}

/// The checkpoints of a slate at a path that have not expired by the clock of `env`, oldest first. Needs no writer.
///
/// # Errors
/// What the store returned; `NotFound` if there is no slate.
pub async fn checkpoints(store: &Store, path: &str, env: &Env) -> Result<Vec<Checkpoint>> {
    let mut found = all(store, path, env).await?;
    let now = env.now();
    found.retain(|checkpoint| checkpoint.expires.is_none_or(|expires| expires > now));
    found.sort_by_key(|checkpoint| (checkpoint.position, checkpoint.created));
    Ok(found)
}

/// The checkpoints of a slate, those that have expired and were not collected yet among them.
async fn all(store: &Store, path: &str, env: &Env) -> Result<Vec<Checkpoint>> {
    let manifest = store.admin(path, env)?.read_manifest(None).await?;
    let manifest = manifest.ok_or_else(|| Error::not_found(format!("there is no slate at this path, path={path}")))?;
    Ok(manifest.checkpoints().iter().filter_map(Checkpoint::parse).collect())
}

/// Lets a checkpoint of a slate at a path go. Needs no writer.
///
/// # Errors
/// `NotFound` if there is none of this name; what the store returned.
pub async fn release_checkpoint(store: &Store, path: &str, name: &str, env: &Env) -> Result<()> {
    let checkpoint = find(store, path, name, env).await?;
    Ok(store.admin(path, env)?.delete_checkpoint(checkpoint.id).await?)
}

/// Gives a checkpoint of a slate at a path another lifetime from now on, by the clock of `env`; none means that it does not expire. Needs no writer.
///
/// # Errors
/// `NotFound` if there is none of this name, or it has expired; what the store returned.
pub async fn extend_checkpoint(
    store: &Store,
    path: &str,
    name: &str,
    lifetime: Option<Duration>,
    env: &Env,
) -> Result<()> {
    let checkpoint = find(store, path, name, env).await?;
    Ok(store.admin(path, env)?.refresh_checkpoint(checkpoint.id, lifetime).await?)
}

pub(crate) async fn find(store: &Store, path: &str, name: &str, env: &Env) -> Result<Checkpoint> {
    named(checkpoints(store, path, env).await?, name)
}

fn named(all: Vec<Checkpoint>, name: &str) -> Result<Checkpoint> {
    let names: Vec<_> = all.iter().map(|checkpoint| checkpoint.name.clone()).collect();
    all.into_iter()
        .find(|checkpoint| checkpoint.name == name)
        .ok_or_else(|| Error::not_found(format!("no such checkpoint, name={name}, checkpoints=[{}]", names.join(", "))))
}

#[cfg(test)]
mod tests;
