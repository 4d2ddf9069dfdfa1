//! What is known of jobs and their targets, for whoever asks.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use opendata_core::Timestamp;
use opendata_tsdb::Labels;

use super::series::{Described, Scraped};
use super::target::{Found, Target};

/// What came of all scrapes of an instance.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    scrapes: AtomicU64,
    failed: AtomicU64,
    samples: AtomicU64,
    duplicates: AtomicU64,
    broken: AtomicU64,
    refused: AtomicU64,
    unwritten_scrapes: AtomicU64,
    unwritten_samples: AtomicU64,
}

impl Counters {
    pub(super) fn scraped(&self, scraped: &Scraped, has_failed: bool) {
        self.scrapes.fetch_add(1, Ordering::Relaxed);
        self.failed.fetch_add(u64::from(has_failed), Ordering::Relaxed);
        self.samples.fetch_add(scraped.kept, Ordering::Relaxed);
        self.duplicates.fetch_add(scraped.duplicates, Ordering::Relaxed);
        self.broken.fetch_add(scraped.broken, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, samples: u64) {
        self.refused.fetch_add(samples, Ordering::Relaxed);
    }

    pub(super) fn unwritten(&self, samples: u64) {
        self.unwritten_scrapes.fetch_add(1, Ordering::Relaxed);
        self.unwritten_samples.fetch_add(samples, Ordering::Relaxed);
    }

    /// Names and values.
    pub(crate) fn counters(&self) -> [(&'static str, u64); 8] {
        [
            ("scrapes", &self.scrapes),
            ("failed", &self.failed),
            ("samples", &self.samples),
            ("duplicate_samples", &self.duplicates),
            ("broken_histograms", &self.broken),
            ("refused_samples", &self.refused),
            ("unwritten", &self.unwritten_scrapes),
            ("unwritten_samples", &self.unwritten_samples),
        ]
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
    }
}

/// How a target's last scrape went.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    pub(crate) error: Option<String>,
    pub(crate) at: Timestamp,
    pub(crate) took: Duration,
    /// What its metrics are.
    pub(crate) described: Vec<Described>,
}

/// What is known of a job.
#[derive(Debug, Default)]
pub(crate) struct JobStatus {
    is_over: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    active: Vec<Target>,
    dropped: Vec<BTreeMap<String, String>>,
    wrong: Vec<String>,
    failures: u64,
    health: HashMap<(String, Labels), Health>,
}

impl JobStatus {
    pub(super) fn found(&self, found: &Found, failures: u64, is_over: bool) {
        self.is_over.store(is_over, Ordering::Relaxed);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.wrong != found.wrong {
            for why in &found.wrong {
                tracing::warn!(why, "a target cannot be scraped");
            }
        }
        known.active.clone_from(&found.active);
        known.dropped.clone_from(&found.dropped);
        known.wrong.clone_from(&found.wrong);
        known.failures = failures;
    }

    pub(super) fn scraped(&self, target: &Target, health: Health) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.health.insert(target.identity(), health);
    }

    pub(super) fn gone(&self, identity: &(String, Labels)) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).health.remove(identity);
    }

    /// Whether there are more targets than there may be.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Targets that are scraped, and how it went; none before the first time.
    pub(crate) fn active(&self) -> Vec<(Target, Option<Health>)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let health = |target: &Target| known.health.get(&target.identity()).cloned();
        known.active.iter().map(|target| (target.clone(), health(target))).collect()
    }

    /// The labels of targets that relabelling dropped.
    pub(crate) fn dropped(&self) -> Vec<BTreeMap<String, String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).dropped.clone()
    }

    /// How often targets could not be looked for.
    pub(crate) fn failures(&self) -> u64 {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).failures
    }
}
