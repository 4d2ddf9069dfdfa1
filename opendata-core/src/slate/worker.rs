//! The part of compaction that reads and writes files, where they are compressed.
//!
//! The worker that the engine runs beside its writer takes the writer's format, in which nothing is compressed. So a slate
//! that compresses what it compacts runs a worker of its own, in this process, under the engine's coordinator.
//!
//! The engine's worker remembers the manifest that it read last, and takes it for the newest one when its successor is not
//! there. On local files, where no boundary says that it was deleted, it then refuses every compaction for ever. So an idle
//! worker is replaced by a new one, which knows nothing, before a manifest can be old enough to be collected.

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use slatedb::config::CompactionWorkerOptions;
use slatedb::{CompactionWorker, CompactionWorkerBuilder};
use tokio::sync::watch;

use super::clock::SlateClock;
use super::open::BLOCK_SIZE;
use super::router::Router;
use super::settings::{Compression, Settings};
use crate::error::{Error, Result};
use crate::store::Store;

/// How often it is looked whether a worker that is due to be replaced still has something to do.
const POLL: Duration = Duration::from_millis(200);

/// Runs one worker after the other.
pub(super) struct Worker {
    store: Store,
    /// The slate's path in the store.
    slate: String,
    path: Path,
    options: CompactionWorkerOptions,
    router: Router,
    clock: Arc<SlateClock>,
    seed: u64,
    /// How long one lives.
    lifetime: Duration,
    first: Option<CompactionWorker>,
}

/// The worker of a slate, where it needs one of its own.
pub(super) async fn build(
    store: &Store,
    slate: &str,
    settings: &Settings,
    router: &Router,
    clock: &Arc<SlateClock>,
    seed: u64,
) -> Result<Option<Worker>> {
    if !settings.compaction || settings.compression == Compression::None {
        return Ok(None);
    }
    let mut worker = Worker {
        store: store.clone(),
        slate: slate.to_owned(),
        path: store.slate_path(slate)?,
        options: settings.worker(),
        router: router.clone(),
        clock: Arc::clone(clock),
        seed,
        lifetime: Duration::from_secs(settings.garbage_age_s) / 2,
        first: None,
    };
    worker.first = Some(worker.make().await?);
    Ok(Some(worker))
}

impl Worker {
    async fn make(&self) -> Result<CompactionWorker> {
        let worker = CompactionWorkerBuilder::new(self.path.clone(), Arc::clone(self.store.object_store()))
            .with_options(self.options.clone())
            .with_merge_operator(self.router.merge_operator())
            .with_filter_policies(self.router.filter_policies())
            .with_sst_block_size(BLOCK_SIZE)
            .with_system_clock(Arc::clone(&self.clock) as _)
            .with_seed(self.seed)
            .build()
            .await?;
        Ok(worker)
    }

    /// Works until the slate has ended.
    pub(super) async fn run(mut self, mut failure: watch::Receiver<Option<Error>>) {
        let ended = async move { while failure.borrow().is_none() && failure.changed().await.is_ok() {} };
        tokio::pin!(ended);
        loop {
            let worker = match self.first.take() {
                Some(worker) => worker,
                None => tokio::select! {
                    biased;
                    () = &mut ended => return,
                    made = self.make() => match made {
                        Ok(worker) => worker,
                        Err(error) => {
                            tracing::warn!(%error, "the compaction worker cannot be begun, trying again");
                            tokio::time::sleep(POLL).await;
                            continue;
                        }
                    },
                },
            };
            let is_over = tokio::select! {
                biased;
                () = &mut ended => true,
                outcome = worker.run() => {
                    if let Err(error) = outcome {
                        tracing::warn!(%error, "compaction has ended; the slate is read as it is");
                    }
                    return;
                }
                () = self.outlived() => false,
            };
            if let Err(error) = worker.stop().await {
                tracing::debug!(%error, "the compaction worker did not end in order");
            }
            if is_over {
                return;
            }
        }
    }

    /// Returns when a worker is old and has nothing in its hands.
    async fn outlived(&self) {
        tokio::time::sleep(self.lifetime.max(POLL)).await;
        while self.is_at_work().await.unwrap_or(true) {
            tokio::time::sleep(POLL).await;
        }
    }

    async fn is_at_work(&self) -> Result<bool> {
        let compactions = self.store.admin(&self.slate, self.clock.env())?.read_compactions(None).await?;
        let mut all = compactions.iter().flat_map(|all| all.recent_compactions());
        Ok(all.any(|compaction| compaction.active() && compaction.worker().is_some()))
    }
}
