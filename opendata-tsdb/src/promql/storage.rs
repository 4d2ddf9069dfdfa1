//! What the engine evaluates over: anything that can select series by matchers.

use std::sync::Arc;

use async_trait::async_trait;
use opendata_core::Result;

use crate::labels::Labels;
use crate::matcher::Matcher;

/// One series with the samples of a time range, as columns of equal length.
///
/// Stale markers (the NaN of [`STALE_NAN`](crate::promql::STALE_NAN)) are handed over as they were stored; the engine
/// gives them their meaning. Further columns (histograms) will stand beside `values`, hence the constructor.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Series {
    /// What identifies the series, the metric's name included.
    pub labels: Labels,
    /// Milliseconds since the epoch, strictly ascending.
    pub timestamps: Vec<i64>,
    /// The value at each timestamp.
    pub values: Vec<f64>,
}

impl Series {
    /// A series of floats. The columns must be of one length; the longer one is cut off, so that they are.
    #[must_use]
    pub fn floats(labels: Labels, mut timestamps: Vec<i64>, mut values: Vec<f64>) -> Self {
        debug_assert_eq!(timestamps.len(), values.len(), "columns of one length");
        let len = timestamps.len().min(values.len());
        timestamps.truncate(len);
        values.truncate(len);
        Self { labels, timestamps, values }
    }
}

/// Selects series. One storage is one instant: every call of one query sees the same data.
#[async_trait]
pub trait Storage: Send + Sync {
    /// The series that satisfy every matcher, with their samples from `start_ms` to `end_ms`, both included, stale
    /// markers too. In any order, each label set at most once; a series without samples in the range may be left out.
    ///
    /// # Errors
    /// Whatever reading fails with; the engine hands it on.
    async fn select(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Vec<Series>>;
}

#[async_trait]
impl<S: Storage + ?Sized> Storage for Arc<S> {
    async fn select(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Vec<Series>> {
        (**self).select(matchers, start_ms, end_ms).await
    }
}

#[async_trait]
impl<S: Storage + ?Sized> Storage for &S {
    async fn select(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Vec<Series>> {
        (**self).select(matchers, start_ms, end_ms).await
    }
}
