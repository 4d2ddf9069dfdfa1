//! What a query answers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use opendata_core::Timestamp;

use super::storage::Series;
use crate::histogram::Histogram;
use crate::labels::Labels;

/// The answer to a query.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The result.
    pub value: Value,
    /// What the asker should know about it.
    pub annotations: Annotations,
    /// What it cost.
    pub statistics: Statistics,
}

/// What a query has cost.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    /// Series that were decoded; a series that two selectors read in different ways counts twice.
    pub series: u64,
    /// Samples that were decoded for them.
    pub samples_decoded: u64,
    /// Samples in each window of each step, added up, as the reference counts `totalQueryableSamples`.
    pub samples_queried: u64,
    /// Values that were kept in memory, over the whole query.
    pub values_held: u64,
    /// Rows of chunks that were read, from the store or from memory.
    pub chunk_rows: u64,
    /// Their bytes.
    pub chunk_bytes: u64,
    /// How long reading took.
    pub read_time: Duration,
    /// How long evaluating took, decoding included.
    pub evaluation_time: Duration,
    /// How long everything took.
    pub total_time: Duration,
}

/// A result, of one of the language's four types.
#[derive(Clone, Debug)]
pub enum Value {
    /// One number.
    Scalar {
        /// When it was asked for.
        at: Timestamp,
        /// The number.
        value: f64,
    },
    /// A text.
    String {
        /// When it was asked for.
        at: Timestamp,
        /// The text.
        value: String,
    },
    /// One value a series, all at the time of the query: the answer to an instant query. In the order that `sort` and `topk` asked
    /// for, else by labels.
    Vector(Vec<Sample>),
    /// Values over time: the answer to a range query, and to an instant query for a range. Ordered by labels.
    Matrix(Vec<Series>),
}

/// One series' value at one time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sample {
    /// What identifies the series.
    pub labels: Labels,
    /// When.
    pub at: Timestamp,
    /// What, if it is a number. Meaningless where there is a histogram.
    pub value: f64,
    /// What, if it is a native histogram.
    pub histogram: Option<Arc<Histogram>>,
}

impl Sample {
    /// A sample that is a number.
    #[must_use]
    pub fn float(labels: Labels, at: Timestamp, value: f64) -> Self {
        Self { labels, at, value, histogram: None }
    }

    /// A sample that is a distribution.
    #[must_use]
    pub fn distribution(labels: Labels, at: Timestamp, histogram: Arc<Histogram>) -> Self {
        Self { labels, at, value: f64::NAN, histogram: Some(histogram) }
    }
}

/// Warnings and hints about an answer, each with its place in the query; sorted, each once.
#[derive(Clone, Debug, Default)]
pub struct Annotations {
    warnings: BTreeSet<String>,
    infos: BTreeSet<String>,
}

impl Annotations {
    /// Why the answer may be wrong.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.warnings.iter().map(String::as_str)
    }

    /// What may not have been meant.
    pub fn infos(&self) -> impl Iterator<Item = &str> {
        self.infos.iter().map(String::as_str)
    }

    pub(crate) fn warn(&mut self, what: String) {
        self.warnings.insert(what);
    }

    pub(crate) fn inform(&mut self, what: String) {
        self.infos.insert(what);
    }
}
