//! Whose turn it is to plan maintenance.
//!
//! Several may ask for it: the task in the background, and whoever wants to see it done. What one of them plans takes long and is a
//! conflict once the other was faster, so they take turns: one waits until the piece of the other is applied or given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, OwnedMutexGuard};

/// Held from before a piece is planned until it is applied.
pub(crate) type Held = OwnedMutexGuard<()>;

#[derive(Debug, Default)]
pub(crate) struct Turn {
    order: Arc<Mutex<()>>,
    /// Pieces that were applied.
    pieces: AtomicU64,
}

impl Turn {
    /// Waits for the turn. None if by then more pieces were applied than whoever waits has seen.
    pub(crate) async fn wait(&self, seen: u64) -> Option<Held> {
        let held = Arc::clone(&self.order).lock_owned().await;
        (self.pieces.load(Ordering::Acquire) == seen).then_some(held)
    }

    pub(crate) fn applied(&self) {
        self.pieces.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn pieces(&self) -> u64 {
        self.pieces.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests;
