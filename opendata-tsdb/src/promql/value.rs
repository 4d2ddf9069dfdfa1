//! What a query answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use opendata_core::Timestamp;

use super::calendar::Moment;
use super::storage::Series;
use crate::histogram::{Histogram, Rounded, Short};
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
    /// Samples in each window of each step, added up, as the reference counts `totalQueryableSamples`; those of parts that are computed
    /// once and used again count once.
    pub samples_queried: u64,
    /// Of those, the samples that the step before had not looked at: each sample that was needed once, as the reference counts
    /// `samplesRead`.
    pub samples_needed: u64,
    /// The samples of each step, where [`EngineConfig::count_steps`](super::EngineConfig::count_steps) asks for them. Those of a subquery's
    /// own steps count for the first step that is not before them, so that the steps add up to the whole.
    pub steps: Vec<StepStatistics>,
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

/// What one step of a query took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepStatistics {
    /// The step.
    pub at: Timestamp,
    /// Samples that it looked at.
    pub samples_queried: u64,
    /// Those of them that the step before had not looked at.
    pub samples_needed: u64,
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
    /// How often anything was said, again included.
    said: u64,
    /// By what is said and the place of the query.
    repaired: BTreeMap<(String, String), Repaired>,
}

/// What was repaired of classic histograms, whose counts must not fall from bucket to bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repaired {
    /// The bounds of the lowest and the highest bucket that was raised.
    pub(crate) buckets: (f64, f64),
    /// By how much at most.
    pub(crate) most: f64,
    /// At how many steps.
    pub(crate) steps: u64,
    /// The first and the last of them, in milliseconds.
    pub(crate) times: (i64, i64),
}

impl Repaired {
    fn join(&mut self, other: Self) {
        self.buckets = (self.buckets.0.min(other.buckets.0), self.buckets.1.max(other.buckets.1));
        self.most = self.most.max(other.most);
        self.steps += other.steps;
        self.times = (self.times.0.min(other.times.0), self.times.1.max(other.times.1));
    }
}

impl fmt::Display for Repaired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { buckets: (low, high), most, steps, times: (first, last) } = *self;
        let (low, high, most) = (Short(low), Short(high), Rounded(most));
        let (first, last) = (Moment(first), Moment(last));
        write!(
            f,
            "from buckets {low} to {high}, with a max diff of {most}, over {steps} samples from {first} to {last}"
        )
    }
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
        self.said += 1;
        self.warnings.insert(what);
    }

    pub(crate) fn inform(&mut self, what: String) {
        self.said += 1;
        self.infos.insert(what);
    }

    /// How often anything was said so far.
    pub(crate) fn said(&self) -> u64 {
        self.said
    }

    /// Notes a repair, together with others of which the same is to be said.
    pub(crate) fn repair(&mut self, what: String, place: String, repaired: Repaired) {
        self.said += 1;
        self.repaired.entry((what, place)).and_modify(|known| known.join(repaired)).or_insert(repaired);
    }

    /// Says what was gathered.
    pub(crate) fn settle(&mut self) {
        for ((what, place), repaired) in std::mem::take(&mut self.repaired) {
            self.infos.insert(format!("{what}, {repaired} ({place})"));
        }
    }
}
