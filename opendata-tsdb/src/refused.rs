//! What a TSDB refuses, and why.
//!
//! A transaction is refused whole at its first bad sample, or, when its operation is [partial](crate::Op::partial),
//! goes on without the bad ones. Either way the reason has a type: as the source of the error, or in the receipt.

use std::collections::BTreeMap;
use std::fmt;

use opendata_core::{Error, ErrorKind, Timestamp};

use crate::labels::Labels;

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The time is before what retention or the limit of late samples leaves.
    TooOld,
    /// The time is too far in the future, or outside the calendar.
    TooNew,
    /// The series has no labels, or too long ones.
    InvalidSeries,
    /// The histogram contradicts itself.
    InvalidHistogram,
    /// What was added is no finite number, or the series holds histograms.
    InvalidAdd,
    /// The exemplar's labels are too long.
    InvalidExemplar,
    /// The metadata is too long, or names no metric.
    InvalidMetadata,
    /// The bucket has as many series as it may have.
    SeriesLimit,
    /// The metric has as many series in the bucket as it may have.
    MetricLimit,
    /// The source has created as many series in the bucket as it may.
    SourceLimit,
    /// Series are created faster than they may be.
    NewSeriesRate,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 11] = [
        Self::TooOld,
        Self::TooNew,
        Self::InvalidSeries,
        Self::InvalidHistogram,
        Self::InvalidAdd,
        Self::InvalidExemplar,
        Self::InvalidMetadata,
        Self::SeriesLimit,
        Self::MetricLimit,
        Self::SourceLimit,
        Self::NewSeriesRate,
    ];

    /// Its name, as a label value: `too_old`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
            Self::InvalidSeries => "invalid_series",
            Self::InvalidHistogram => "invalid_histogram",
            Self::InvalidAdd => "invalid_add",
            Self::InvalidExemplar => "invalid_exemplar",
            Self::InvalidMetadata => "invalid_metadata",
            Self::SeriesLimit => "series_limit",
            Self::MetricLimit => "metric_limit",
            Self::SourceLimit => "source_limit",
            Self::NewSeriesRate => "new_series_rate",
        }
    }

    /// Whether a limit was met: the same sample may be taken later. The other reasons never go away.
    #[must_use]
    pub fn is_limit(self) -> bool {
        matches!(self, Self::SeriesLimit | Self::MetricLimit | Self::SourceLimit | Self::NewSeriesRate)
    }

    pub(crate) fn place(self) -> usize {
        Self::ALL.iter().position(|other| *other == self).unwrap_or(0)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that was refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// The series it was for; of metadata, the metric's name alone.
    pub series: Labels,
    /// Its time; zero where it has none.
    pub at: Timestamp,
    /// What is wrong with it, with the numbers.
    pub detail: String,
}

impl Refusal {
    /// The refusal behind an error, if it is one.
    #[must_use]
    pub fn of(error: &Error) -> Option<&Self> {
        std::error::Error::source(error)?.downcast_ref()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, series={}, time_ms={}", self.detail, self.series, self.at.0)
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let kind = if refusal.reason.is_limit() { ErrorKind::Backpressure } else { ErrorKind::Invalid };
        Self::new(kind, refusal.to_string()).with_source(refusal)
    }
}

/// What a partial operation left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Refused {
    counts: BTreeMap<Reason, u64>,
    /// The first few, up to [`Refused::SHOWN`].
    pub first: Vec<Refusal>,
}

impl Refused {
    /// How many refusals are told in words.
    pub const SHOWN: usize = 8;

    /// How many samples, histograms, exemplars and metadata were refused.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// How many of them for one reason.
    #[must_use]
    pub fn count(&self, reason: Reason) -> u64 {
        self.counts.get(&reason).copied().unwrap_or(0)
    }

    /// The reasons there were, with how many were refused for each.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        self.counts.iter().map(|(reason, count)| (*reason, *count))
    }

    /// Whether nothing was refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    pub(crate) fn push(&mut self, count: u64, refusal: &Refusal) {
        *self.counts.entry(refusal.reason).or_default() += count;
        if self.first.len() < Self::SHOWN {
            self.first.push(refusal.clone());
        }
    }
}
