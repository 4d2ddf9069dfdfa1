//! What this process has written and refused, for whoever watches it.
//!
//! Counted since the slate was opened and kept in memory only: no answer of a query depends on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::op::Receipt;
use crate::refused::Reason;

/// Totals since the instance was opened in this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteCounters {
    /// Samples that were taken, histograms not among them.
    pub samples: u64,
    /// Native histograms that were taken.
    pub histograms: u64,
    /// Exemplars that were taken.
    pub exemplars: u64,
    /// Series that were new in a bucket.
    pub new_series: u64,
    /// What was refused, by reason: each sample that a partial operation left out, and one for each transaction that
    /// was refused whole.
    pub refused: Vec<(Reason, u64)>,
}

impl WriteCounters {
    /// How much was refused for one reason.
    #[must_use]
    pub fn refused(&self, reason: Reason) -> u64 {
        self.refused.iter().find(|(other, _)| *other == reason).map_or(0, |(_, count)| *count)
    }
}

/// The counters behind [`WriteCounters`], shared by the writer and the states it publishes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    samples: AtomicU64,
    histograms: AtomicU64,
    exemplars: AtomicU64,
    new_series: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
}

impl Counters {
    pub(crate) fn applied(&self, receipt: &Receipt) {
        let add = |counter: &AtomicU64, count: u64| counter.fetch_add(count, Ordering::Relaxed);
        add(&self.0.samples, receipt.samples);
        add(&self.0.histograms, receipt.histograms);
        add(&self.0.exemplars, receipt.exemplars);
        add(&self.0.new_series, receipt.new_series);
        for (reason, count) in receipt.refused.iter() {
            self.refused(reason, count);
        }
    }

    pub(crate) fn refused(&self, reason: Reason, count: u64) {
        if let Some(counter) = self.0.refused.get(reason.place()) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> WriteCounters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WriteCounters {
            samples: get(&self.0.samples),
            histograms: get(&self.0.histograms),
            exemplars: get(&self.0.exemplars),
            new_series: get(&self.0.new_series),
            refused: Reason::ALL.into_iter().zip(&self.0.refused).map(|(reason, count)| (reason, get(count))).collect(),
        }
    }
}
