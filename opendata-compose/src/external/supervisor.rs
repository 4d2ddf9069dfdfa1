//! The supervisor: brings about, again and again, what the control log says.

use std::sync::Weak;
use std::time::Duration;

use opendata_core::Result;
use tokio::sync::watch;

use super::Inner;

/// How often leftovers are looked for, and logs are held for those that read them.
const SWEEP: Duration = Duration::from_secs(10);

impl Inner {
    /// Reads what was said and does what is this process's to do. It can be called at any time.
    pub(crate) async fn reconcile(&self) -> Result<()> {
        let _one = self.reconciling.lock().await;
        let state = self.control.refresh().await?;
        // What is new to this process is claimed before it is opened.
        if !*self.stop.borrow() {
            self.claim().await?;
        }
        let nodes = self.reconcile_nodes(&state).await;
        let state = self.control.state();
        let edges = self.reconcile_edges(&state).await;
        let cuts = self.take_part_in_cuts().await;
        nodes.and(edges).and(cuts)
    }
}

/// Runs until the composition is closed or dropped.
pub(super) async fn run(inner: Weak<Inner>, mut stop: watch::Receiver<bool>) {
    let mut swept: Option<tokio::time::Instant> = None;
    loop {
        let Some(strong) = inner.upgrade() else { return };
        if *stop.borrow() {
            return;
        }
        if let Err(error) = strong.reconcile().await {
            tracing::warn!(%error, "the composition is not yet as it shall be; it will be tried again");
        }
        if swept.is_none_or(|at| at.elapsed() >= SWEEP) {
            if let Err(error) = strong.sweep().await {
                tracing::warn!(%error, "leftovers could not be swept; it will be tried again");
            }
            if let Err(error) = strong.hold_sources().await {
                tracing::warn!(%error, "retention could not be held for edges; it will be tried again");
            }
            if let Err(error) = strong.keep_schedule().await {
                tracing::warn!(%error, "a scheduled cut could not be taken; it will be tried again");
            }
            swept = Some(tokio::time::Instant::now());
        }
        let poll = strong.poll;
        tokio::select! {
            biased;
            _ = stop.changed() => return,
            () = strong.wake.notified() => {}
            () = strong.alignments.arrival() => {}
            () = tokio::time::sleep(poll) => {}
        }
    }
}
