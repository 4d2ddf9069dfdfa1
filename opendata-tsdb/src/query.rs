//! Asking a reader in PromQL.

use opendata_core::{Result, Timestamp};

use crate::promql::{Answer, Engine};
use crate::reader::Reader;

impl Reader {
    /// The value of a PromQL expression at one time, with the engine's default limits; for others use an
    /// [`Engine`] on this reader, which is a [`Storage`](crate::promql::Storage).
    ///
    /// # Errors
    /// `Invalid` if the expression cannot be parsed or evaluated or exceeds a limit, or what reading returned.
    pub async fn query(&self, expression: &str, at: Timestamp) -> Result<Answer> {
        Engine::default().instant(self, expression, at).await
    }

    /// The values of a PromQL expression from `start` to `end`, both included, every `step_ms` milliseconds.
    ///
    /// # Errors
    /// Those of [`query`](Self::query), and `Invalid` if the range is not one.
    pub async fn query_range(
        &self,
        expression: &str,
        start: Timestamp,
        end: Timestamp,
        step_ms: i64,
    ) -> Result<Answer> {
        Engine::default().range(self, expression, start, end, step_ms).await
    }
}

#[cfg(test)]
mod tests;
