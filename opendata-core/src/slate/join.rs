//! Joining: several slates become one that shares all their files, without copying a row.
//!
//! It is the reverse of forking each instance into a slate of its own. The keys of two instances must not be the same ones, which
//! they never are if the slates came from one, or if the instances are of different systems.

use std::sync::Arc;

use futures::future::try_join_all;
use slatedb::admin::CloneSourceSpec;

use super::checkpoint::{self, Checkpoint};
use super::fork::{Files, Fork, Source, clone_failure, close_raw, joined_base_path, open_raw, write_record};
use super::registry::{Ancestor, Registry, SlateId};
use super::router::Router;
use super::{At, SlateReader};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{Prefix, SystemId};
use crate::store::Store;
use crate::time::Position;

/// Joins slates, each as it stood at its reader's checkpoint, into a new one at a path of the same store. The
/// new slate names all of them as its ancestors; its positions go on behind the last of any. The time it takes does not
/// grow with the data. Time and chance are those of the first reader.
///
/// # Errors
/// `Invalid` if there are fewer than two, or one is not a reader of a checkpoint; `Conflict` if two instances have the same name or
/// the same keys, or there is something at the path; what the store returned.
pub async fn join(sources: &[&SlateReader], to: &str) -> Result<Fork> {
    let [first, _, ..] = sources else {
        return Err(Error::invalid(format!("at least two slates can be joined, slates={}", sources.len())));
    };
    let env = first.env();
    let (store, _, _, _) = first.parts();
    let mut router = Router::default();
    let mut joined = Registry::new(SlateId(env.random_uuid()), env.now());
    for source in sources {
        let (_, _, known, _) = source.parts();
        router.take(known);
        let registry = Arc::clone(&source.view().0.registry);
        joined.notes_direct |= registry.notes_direct;
        for instance in registry.instances() {
            joined.adopt(instance)?;
        }
    }
    if store.admin(to, env)?.read_manifest(None).await?.is_some() {
        return Err(Error::conflict(format!("there is a slate at this path already, path={to}")));
    }
    let mut last = Position::ZERO;
    for source in sources {
        let (view, (_, path, ..)) = (source.view(), source.parts());
        last = last.max(view.position());
        let (slate_id, path) = (source.slate_id(), path.to_owned());
        joined.lineage.push(Ancestor { slate_id, path, fork_position: view.position() });
        joined.lineage.extend(view.0.registry.lineage.iter().cloned());
    }
    unite(store, to, sources, env).await?;
    let db = open_raw(store, to, &router, env).await?;
    let written = async {
        let at = Position(db.snapshot()?.seq()).max(last).next();
        write_record(&db, joined.encode(), at, Files::Sorted).await?;
        Ok::<_, Error>(Fork { slate_id: joined.slate_id, position: at })
    }
    .await;
    let closed = close_raw(&db).await;
    let fork = written?;
    closed?;
    Ok(fork)
}

/// Only slates with nothing in their logs can be united, such as ones that were retired. Where one has something, all are cloned whole, and the clones are settled and united.
async fn unite(store: &Store, to: &str, sources: &[&SlateReader], env: &Env) -> Result<()> {
    let sources = try_join_all(sources.iter().map(|source| at_checkpoint(source))).await?;
    let specs = sources.iter().map(|(source, _)| source.spec()).collect::<Result<_>>()?;
    match unite_as_they_are(store, to, specs, env).await {
        Err(error) if error.kind() == ErrorKind::Invalid => {}
        united => return united,
    }
    let mut bases = Vec::new();
    for (number, (source, router)) in sources.iter().enumerate() {
        bases.push(source.clone_settled(&joined_base_path(to, number), router, env).await?);
    }
    unite_as_they_are(store, to, bases, env).await
}

async fn at_checkpoint(source: &SlateReader) -> Result<(Source<'_>, &Router)> {
    let (store, path, router, at) = source.parts();
    let At::Checkpoint(name) = at else {
        return Err(Error::invalid("slates are joined at checkpoints; make them first"));
    };
    let Checkpoint { id, position, .. } = checkpoint::find(store, path, name, source.env()).await?;
    Ok((Source { store, path, checkpoint: id, position }, router))
}

async fn unite_as_they_are(store: &Store, to: &str, specs: Vec<CloneSourceSpec>, env: &Env) -> Result<()> {
    let mut specs = specs.into_iter();
    let first = specs.next().ok_or_else(|| Error::invalid("nothing to join"))?;
    let admin = store.admin(to, env)?;
    // Each has a record of itself under the same key: none of them is taken, and a new one is written.
    let keep = |prefix: &[u8]| Prefix::decode(prefix).is_ok_and(|(prefix, _)| prefix.system != SystemId::SLATE);
    let builder = admin.create_clone_builder_from_source(first).with_segment_filter(keep);
    let builder = specs.fold(builder, |builder, spec| builder.with_source(spec));
    builder.build().await.map_err(clone_failure)
}

#[cfg(test)]
mod tests;
