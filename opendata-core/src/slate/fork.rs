//! Forks: clones of a slate that share every file with it until they are written.
//!
//! A fork is a slate of its own from the first moment: it has its own id, and its record names the slate it
//! comes from and the last position both have in common. The parent keeps the shared files alive until the fork
//! has rewritten them or is deleted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use slatedb::admin::{Admin, CloneSourceSpec};
use slatedb::config::{CloseOptions, FlushOptions, FlushType, Settings as Engine, WriteOptions};
use slatedb::{Db, WriteBatch};

use super::checkpoint::{self, Checkpoint};
use super::clock::SlateClock;
use super::committer::write_failure;
use super::log_copies::LogCopies;
use super::registry::{Ancestor, Registry, SlateId};
use super::router::{Router, SegmentExtractor};
use super::settings::UNBOUNDED_FILES;
use super::{At, Instance, Slate, SlateReader};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{InstanceId, Prefix, SystemId};
use crate::store::Store;
use crate::time::Position;

/// A slate that was made of others, sharing their files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fork {
    /// Its identity.
    pub slate_id: SlateId,
    /// It has everything that it was made of up to here. Its own positions are higher.
    pub position: Position,
}

/// How often a deletion looks again at what another one left.
const DELETE_TRIES: u32 = 4;

/// How long a pin may outlive a fork that was broken off.
const PIN: Duration = Duration::from_secs(600);

impl Slate {
    /// Forks the slate as it is now to another path of the same store. Open the fork like any other slate; writes to either are not seen
    /// by the other.
    ///
    /// # Errors
    /// `Conflict` if there is something at the path already; what the store returned.
    pub async fn fork(&self, path: &str) -> Result<Fork> {
        self.fork_now(&[(None, path)]).await?.pop().ok_or_else(no_fork)
    }

    /// Forks one instance as it is now, with its cursors, into a slate of its own.
    ///
    /// # Errors
    /// `NotFound` if there is no such instance, and those of [`fork`](Self::fork).
    pub async fn fork_instance(&self, instance: &str, path: &str) -> Result<Fork> {
        self.fork_now(&[(Some(&[instance]), path)]).await?.pop().ok_or_else(no_fork)
    }

    /// Forks some instances as they are now, with their cursors, into one slate of their own, others into another, and so on. All of them are as
    /// they were at one instant. Returns the forks in the order of their parts.
    ///
    /// # Errors
    /// `NotFound` if there is no such instance, and those of [`fork`](Self::fork); some of the forks may have been made then.
    pub async fn fork_parts(&self, parts: &[(&[&str], &str)]) -> Result<Vec<Fork>> {
        let parts: Vec<_> = parts.iter().map(|(instances, path)| (Some(*instances), *path)).collect();
        self.fork_now(&parts).await
    }

    async fn fork_now(&self, parts: &[(Option<&[&str]>, &str)]) -> Result<Vec<Fork>> {
        let name = format!("fork-{}", self.0.env.random_uuid());
        let (id, position) = self.pin(name.clone(), Some(PIN)).await?;
        let source = Source { store: &self.0.store, path: &self.0.path, checkpoint: id, position };
        let registry = Arc::clone(&self.view().0.registry);
        let fork = async |(instances, path): &(Option<&[&str]>, &str)| {
            let only = instances.map(|names| Only { names, registry: &registry });
            let slate_id = source.fork(path, only.as_ref(), &self.0.router, &self.0.env).await?;
            Ok(Fork { slate_id, position })
        };
        // Where one fails the others are not broken off: their engines have to end in order.
        let forked: Vec<Result<Fork>> = join_all(parts.iter().map(fork)).await;
        let released = self.release(&name).await;
        let forks = forked.into_iter().collect::<Result<_>>()?;
        released?;
        Ok(forks)
    }

    /// Forks the slate as it was at a checkpoint.
    ///
    /// # Errors
    /// `NotFound` if there is no such checkpoint, and those of [`fork`](Self::fork).
    pub async fn fork_at(&self, checkpoint: &str, path: &str) -> Result<Fork> {
        let Checkpoint { id, position, .. } =
            checkpoint::find(&self.0.store, &self.0.path, checkpoint, &self.0.env).await?;
        let source = Source { store: &self.0.store, path: &self.0.path, checkpoint: id, position };
        let slate_id = source.fork(path, None, &self.0.router, &self.0.env).await?;
        Ok(Fork { slate_id, position })
    }
}

impl SlateReader {
    /// Forks the slate as it stood at this reader's checkpoint. No writer is needed, and one that is at work
    /// is not disturbed.
    ///
    /// # Errors
    /// `Invalid` if this is not a reader of a checkpoint: what a writer has not yet flushed, only the writer can
    /// fork. `Conflict` if there is something at the new path; what the store returned.
    pub async fn fork(&self, to: &str) -> Result<Fork> {
        self.fork_part(to, None).await
    }

    /// Forks one instance as it stood at this reader's checkpoint, with its cursors, into a slate of its own.
    ///
    /// # Errors
    /// `NotFound` if there is no such instance, and those of [`fork`](Self::fork).
    pub async fn fork_instance(&self, instance: &str, to: &str) -> Result<Fork> {
        self.fork_part(to, Some(instance)).await
    }

    async fn fork_part(&self, to: &str, instance: Option<&str>) -> Result<Fork> {
        let (store, path, router, at) = self.parts();
        let At::Checkpoint(name) = at else {
            return Err(Error::invalid(
                "without its writer a slate is forked at a checkpoint; make one, or use the writer",
            ));
        };
        let Checkpoint { id, position, .. } = checkpoint::find(store, path, name, self.env()).await?;
        let source = Source { store, path, checkpoint: id, position };
        let (names, registry) = (instance.map(|instance| vec![instance]), Arc::clone(&self.view().0.registry));
        let only = names.as_deref().map(|names| Only { names, registry: &registry });
        let slate_id = source.fork(to, only.as_ref(), router, self.env()).await?;
        Ok(Fork { slate_id, position })
    }
}

fn no_fork() -> Error {
    Error::invalid("nothing was to be forked")
}

/// Deletes a slate and everything in it. Nobody may be writing to it.
///
/// # Errors
/// `NotFound` if there is no slate; `Conflict` if forks still share its files: they must be deleted, or have
/// rewritten what they share, first.
pub async fn delete(store: &Store, path: &str) -> Result<()> {
    let admin = store.admin(path, &Env::system())?;
    let manifest = admin.read_manifest(None).await?;
    let manifest = manifest.ok_or_else(|| Error::not_found(format!("there is no slate at this path, path={path}")))?;
    // A fork pins its parent by an unnamed checkpoint that never expires. The compactor's own ones do expire.
    let forks = manifest.checkpoints().iter().filter(|found| found.name.is_none() && found.expire_time.is_none());
    let count = forks.count();
    if count > 0 {
        return Err(Error::conflict(format!("forks still share files with this slate, path={path}, forks={count}")));
    }
    delete_files(&admin).await?;
    delete_base(store, path).await
}

/// Deletes what lies at a path. Another process may be at it as well: what it deletes first is missing here, and looking again shows what is left.
async fn delete_files(admin: &Admin) -> Result<()> {
    let mut tries = 0;
    while let Err(error) = admin.delete_db(true).await {
        if tries >= DELETE_TRIES {
            return Err(error.into());
        }
        tries += 1;
        tokio::time::sleep(Duration::from_millis(20 << tries)).await;
    }
    Ok(())
}

/// Deletes the slates that a fork of one instance was cut from, or a joined slate was made of.
async fn delete_base(store: &Store, path: &str) -> Result<()> {
    let remove = async |base: String| {
        let admin = store.admin(&base, &Env::system())?;
        let found = admin.read_manifest(None).await?.is_some();
        if found {
            delete_files(&admin).await?;
        }
        Ok::<_, Error>(found)
    };
    remove(base_path(path)).await?;
    let mut number = 0;
    while remove(joined_base_path(path, number)).await? {
        number += 1;
    }
    Ok(())
}

/// Where a slate that is joined into another is cloned to first.
pub(super) fn joined_base_path(path: &str, number: usize) -> String {
    format!("{path}.base-{number}")
}

fn base_path(path: &str) -> String {
    format!("{path}.base")
}

pub(super) struct Source<'a> {
    pub(super) store: &'a Store,
    pub(super) path: &'a str,
    pub(super) checkpoint: uuid::Uuid,
    pub(super) position: Position,
}

/// Some instances of a slate.
pub(super) struct Only<'a> {
    names: &'a [&'a str],
    registry: &'a Registry,
}

impl Only<'_> {
    fn ids(&self) -> Result<Vec<(SystemId, InstanceId)>> {
        let find = |name: &&str| self.registry.find(name).map(|found: &Arc<Instance>| (found.system, found.id));
        self.names.iter().map(find).collect()
    }
}

impl Source<'_> {
    /// Returns the fork's identity.
    pub(super) async fn fork(&self, to: &str, only: Option<&Only<'_>>, router: &Router, env: &Env) -> Result<SlateId> {
        let admin = self.store.admin(to, env)?;
        if admin.read_manifest(None).await?.is_some() {
            return Err(Error::conflict(format!("there is a slate at this path already, path={to}")));
        }
        match only {
            None => {
                self.clone_whole(to, env).await?;
                self.christen(to, None, router, env).await
            }
            Some(only) => self.fork_instances(to, only, router, env).await,
        }
    }

    async fn clone_whole(&self, to: &str, env: &Env) -> Result<()> {
        let source = self.store.admin(self.path, env)?;
        let gone = || Error::not_found(format!("the checkpoint is gone, path={}", self.path));
        let newest = source.read_manifest(None).await?.ok_or_else(gone)?;
        let pinned =
            newest.checkpoints().iter().find(|found| found.id == self.checkpoint).map(|found| found.manifest_id);
        let pinned = source.read_manifest(Some(pinned.ok_or_else(gone)?)).await?.ok_or_else(gone)?;
        let (log, last) = (self.store.slate_path(self.path)?.join("wal"), pinned.next_wal_sst_id().saturating_sub(1));
        let store = self.store.map(|inner| Arc::new(LogCopies::new(inner, log, last)));
        let builder = store.admin(to, env)?.create_clone_builder_from_source(self.spec()?);
        builder.build().await.map_err(clone_failure)
    }

    /// The source as it stood at its checkpoint.
    pub(super) fn spec(&self) -> Result<CloneSourceSpec> {
        Ok(CloneSourceSpec::with_checkpoint(self.store.slate_path(self.path)?, self.checkpoint))
    }

    /// Instances can only be cut out of a slate that has nothing in its log, such as one that was retired. From any other one the slate is cloned whole first, that clone is
    /// settled, and the instances are cut out of it; then the clone stays as the base that the fork's files belong to.
    async fn fork_instances(&self, to: &str, only: &Only<'_>, router: &Router, env: &Env) -> Result<SlateId> {
        let ids = only.ids()?;
        match self.cut_out(self.spec()?, to, ids.clone(), env).await {
            Err(error) if error.kind() == ErrorKind::Invalid => {
                let base = Box::pin(self.clone_settled(&base_path(to), router, env)).await?;
                self.cut_out(base, to, ids, env).await?;
                self.christen(to, Some((only.names, Parent::Told)), router, env).await
            }
            cut => {
                cut?;
                self.christen(to, Some((only.names, Parent::Untold)), router, env).await
            }
        }
    }

    /// Clones the slate whole and leaves nothing in the clone's log.
    pub(super) async fn clone_settled(&self, to: &str, router: &Router, env: &Env) -> Result<CloneSourceSpec> {
        self.fork(to, None, router, env).await?;
        let db = open_raw(self.store, to, router, env).await?;
        let settled = settle(&db).await;
        let closed = close_raw(&db).await;
        settled?;
        closed?;
        Ok(CloneSourceSpec::new(self.store.slate_path(to)?))
    }

    async fn cut_out(
        &self,
        spec: CloneSourceSpec,
        to: &str,
        ids: Vec<(SystemId, InstanceId)>,
        env: &Env,
    ) -> Result<()> {
        let keep = move |prefix: &[u8]| belongs(prefix, &ids);
        let builder = self.store.admin(to, env)?.create_clone_builder_from_source(spec);
        builder.with_segment_filter(keep).build().await.map_err(clone_failure)
    }

    /// Gives the clone its own identity and writes down where it comes from.
    async fn christen(&self, to: &str, only: Option<(&[&str], Parent)>, router: &Router, env: &Env) -> Result<SlateId> {
        let db = open_raw(self.store, to, router, env).await?;
        let written = async {
            let snapshot = db.snapshot()?;
            let stored = snapshot.get(Registry::key()).await?;
            let stored =
                stored.ok_or_else(|| Error::corrupt_at(&Registry::key(), "the slate has no record of itself"))?;
            let mut registry = Registry::decode(&stored)?;
            if only.is_none_or(|(_, parent)| parent == Parent::Untold) {
                let parent =
                    Ancestor { slate_id: registry.slate_id, path: self.path.to_owned(), fork_position: self.position };
                registry.lineage.insert(0, parent);
            }
            if let Some((names, _)) = only {
                registry.keep_only(names)?;
            }
            registry.slate_id = SlateId(env.random_uuid());
            let was_retired = registry.retired.take().is_some();
            // Where it would still be read as the parent's, it goes to sorted files.
            let files = if only.is_some() || was_retired { Files::Sorted } else { Files::Log };
            write_record(&db, registry.encode(), Position(snapshot.seq() + 1), files).await?;
            Ok::<_, Error>(registry.slate_id)
        }
        .await;
        let closed = close_raw(&db).await;
        let slate_id = written?;
        closed?;
        Ok(slate_id)
    }
}

/// Whether a clone's record names the slate that it comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parent {
    /// It is that slate's own record still.
    Untold,
    /// It was cut out of a clone that was given its name before.
    Told,
}

/// Opens a slate's engine for a moment, without compaction and garbage collection.
pub(super) async fn open_raw(store: &Store, path: &str, router: &Router, env: &Env) -> Result<Db> {
    let (cache, cache_id) = store.cache();
    let (l0_max_ssts, l0_max_ssts_per_key) = UNBOUNDED_FILES;
    let settings = Engine {
        flush_interval: None,
        l0_max_ssts,
        l0_max_ssts_per_key,
        compactor_options: None,
        garbage_collector_options: None,
        object_store_max_retries: Some(5),
        ..Engine::default()
    };
    let db = Db::builder(store.slate_path(path)?, Arc::clone(store.object_store()))
        .with_settings(settings)
        .with_merge_operator(router.merge_operator())
        .with_segment_extractor(Arc::new(SegmentExtractor))
        .with_filter_policies(router.filter_policies())
        .with_sst_block_size(super::open::BLOCK_SIZE)
        .with_db_cache(cache, cache_id)
        .with_system_clock(SlateClock::of(env))
        .with_seed(env.random_seed(path))
        .build()
        .await?;
    Ok(db)
}

/// Ends the engine without writing sorted files: all that was written was flushed to the log, and the time a fork
/// takes must not grow with what its parent had in memory.
pub(super) async fn close_raw(db: &Db) -> Result<()> {
    Ok(db.close_with_options(CloseOptions::default().with_flush_type(None)).await?)
}

/// Moves everything from the log into sorted files.
async fn settle(db: &Db) -> Result<()> {
    let snapshot = db.snapshot()?;
    let stored = snapshot.get(Registry::key()).await?;
    let stored = stored.ok_or_else(|| Error::corrupt_at(&Registry::key(), "the slate has no record of itself"))?;
    // The record is written again because a memtable without a row is not flushed.
    write_record(db, stored, Position(snapshot.seq() + 1), Files::Sorted).await
}

/// Where a slate's record has to be once it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Files {
    /// In the log.
    Log,
    /// In sorted files: a careful opener looks there first.
    Sorted,
}

/// Writes the slate's record at a position, durably.
pub(super) async fn write_record(db: &Db, record: Bytes, at: Position, files: Files) -> Result<()> {
    let mut batch = WriteBatch::new();
    batch.put_bytes(Registry::key(), record);
    db.write_with_options(batch, &WriteOptions { seqnum: at.0 }).await.map_err(write_failure)?;
    db.flush_with_options(FlushOptions { flush_type: FlushType::Wal }).await.map_err(write_failure)?;
    if files == Files::Sorted {
        db.flush_with_options(FlushOptions { flush_type: FlushType::MemTable }).await.map_err(write_failure)?;
    }
    Ok(())
}

fn belongs(prefix: &[u8], ids: &[(SystemId, InstanceId)]) -> bool {
    Prefix::decode(prefix)
        .is_ok_and(|(prefix, _)| prefix.system == SystemId::SLATE || ids.contains(&(prefix.system, prefix.instance)))
}

pub(super) fn clone_failure(error: slatedb::Error) -> Error {
    Error::from(error).context("clone a slate")
}
