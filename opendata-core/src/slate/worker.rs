//! The part of compaction that reads and writes files, where they are compressed.
//!
//! The worker that the engine runs beside its writer takes the writer's format, in which nothing is compressed. So a slate
//! that compresses what it compacts runs a worker of its own, in this process, under the engine's coordinator.

use std::sync::Arc;

use object_store::path::Path;
use slatedb::{CompactionWorker, CompactionWorkerBuilder};
use tokio::sync::watch;

use super::clock::SlateClock;
use super::open::BLOCK_SIZE;
use super::router::Router;
use super::settings::{Compression, Settings};
use crate::error::{Error, Result};
use crate::store::Store;

/// The worker of a slate, where it needs one of its own.
pub(super) async fn build(
    store: &Store,
    path: &Path,
    settings: &Settings,
    router: &Router,
    clock: &Arc<SlateClock>,
    seed: u64,
) -> Result<Option<CompactionWorker>> {
    if !settings.compaction || settings.compression == Compression::None {
        return Ok(None);
    }
    let worker = CompactionWorkerBuilder::new(path.clone(), Arc::clone(store.object_store()))
        .with_options(settings.worker())
        .with_merge_operator(router.merge_operator())
        .with_filter_policies(router.filter_policies())
        .with_sst_block_size(BLOCK_SIZE)
        .with_system_clock(Arc::clone(clock) as _)
        .with_seed(seed)
        .build()
        .await?;
    Ok(Some(worker))
}

/// Works until the slate has ended.
pub(super) async fn run(worker: CompactionWorker, mut failure: watch::Receiver<Option<Error>>) {
    let ended = async move { while failure.borrow().is_none() && failure.changed().await.is_ok() {} };
    tokio::select! {
        outcome = worker.run() => {
            if let Err(error) = outcome {
                tracing::warn!(%error, "compaction has ended; the slate is read as it is");
            }
        }
        () = ended => {
            if let Err(error) = worker.stop().await {
                tracing::debug!(%error, "the compaction worker did not end in order");
            }
        }
    }
}
