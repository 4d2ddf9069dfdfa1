//! What is known of groups and rules, for whoever asks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use opendata_core::Timestamp;

use super::alert::Alert;
use super::file::Group;
use crate::times::Span;

/// What came of all evaluations of an instance.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    evaluations: AtomicU64,
    failures: AtomicU64,
    missed: AtomicU64,
    unwritten: AtomicU64,
}

impl Counters {
    pub(super) fn evaluated(&self, has_failed: bool) {
        self.evaluations.fetch_add(1, Ordering::Relaxed);
        self.failures.fetch_add(u64::from(has_failed), Ordering::Relaxed);
    }

    pub(super) fn missed(&self, evaluations: u64) {
        self.missed.fetch_add(evaluations, Ordering::Relaxed);
    }

    pub(super) fn unwritten(&self) {
        self.unwritten.fetch_add(1, Ordering::Relaxed);
    }

    /// Names and values.
    pub(super) fn counters(&self) -> [(&'static str, u64); 4] {
        [
            ("evaluations", &self.evaluations),
            ("failures", &self.failures),
            ("missed_group_evaluations", &self.missed),
            ("unwritten_group_evaluations", &self.unwritten),
        ]
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
    }
}

/// How the last evaluation of a rule went.
#[derive(Clone, Debug)]
pub(crate) struct RuleStatus {
    pub(crate) error: Option<String>,
    pub(crate) at: Timestamp,
    pub(crate) took: Duration,
    pub(crate) alerts: Vec<Alert>,
}

/// What is known of a group.
#[derive(Debug)]
pub(crate) struct GroupStatus {
    pub(crate) group: Group,
    pub(crate) interval: Span,
    last: Mutex<Option<LastEvaluation>>,
}

/// How the last evaluation of a group went.
#[derive(Clone, Debug)]
pub(crate) struct LastEvaluation {
    pub(crate) at: Timestamp,
    pub(crate) took: Duration,
    /// In the order of the rules.
    pub(crate) rules: Vec<RuleStatus>,
}

impl GroupStatus {
    pub(super) fn new(group: Group, interval: Span) -> Self {
        Self { group, interval, last: Mutex::default() }
    }

    pub(super) fn evaluated(&self, at: Timestamp, took: Duration, rules: Vec<RuleStatus>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(LastEvaluation { at, took, rules });
    }

    /// How the last evaluation went; none before the first.
    pub(crate) fn last(&self) -> Option<LastEvaluation> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
