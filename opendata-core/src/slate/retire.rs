//! Retiring: a slate that another has taken the place of, and that nobody shall write to any more.
//!
//! The mark stands in the slate's own record, so it is as durable as a commit, and a writer that was fenced while the mark was
//! set meets it when it opens the slate again. Reading, checkpoints and forks go on; a fork of a retired slate is not retired.

use super::Slate;
use crate::error::{Error, Result};
use crate::time::Position;

const MAX_REASON: usize = 500;

impl Slate {
    /// Ends writing to this slate, in this process and in any other: its record says so durably, with the reason.
    /// Returns the position of the last thing that was written before. [`Builder::reinstate`](super::Builder::reinstate) undoes it.
    ///
    /// # Errors
    /// `Invalid` if the reason is empty or longer than 500 bytes; `Fenced` or `OutcomeUnknown` if this writer has ended: open
    /// the slate and look.
    pub async fn retire(&self, reason: &str) -> Result<Position> {
        if reason.is_empty() || reason.len() > MAX_REASON {
            return Err(Error::invalid(format!("a reason is 1 to {MAX_REASON} bytes, size_bytes={}", reason.len())));
        }
        let reason = reason.to_owned();
        let last = self
            .0
            .queue
            .barrier(move |committer| {
                Box::pin(async move {
                    let last = committer.last;
                    let mut registry = (*committer.registry).clone();
                    registry.retired = Some(reason);
                    committer.replace_registry(registry).await?;
                    committer.settle().await?;
                    Ok(last)
                })
            })
            .await?;
        self.flush_files().await?;
        Ok(last)
    }

    /// Why nobody may write to this slate any more, if that is so.
    #[must_use]
    pub fn retired(&self) -> Option<String> {
        self.view().0.registry.retired.clone()
    }
}

/// What a retired slate answers to whoever would write to it.
pub(crate) fn refusal(reason: &str) -> Error {
    Error::conflict(format!("the slate is retired and takes no writes, reason={reason}"))
}

#[cfg(test)]
mod tests;
