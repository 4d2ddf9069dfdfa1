//! Who takes remote write for an instance: what it remembers of its senders, and how a message becomes a transaction.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;
use opendata_compose::{InternalComposite, Tsdb};
use opendata_core::slate::{Handle, Transaction};
use opendata_core::{Error, Result, Timestamp};
use opendata_tsdb::{Exemplar, Histogram, Labels, Metadata, MetricKind, Op, promql};

use super::labels::LabelCache;
use crate::http::Server;
use crate::proto::Malformed;

/// What the label sets of all senders of an instance may take.
const CACHE_BYTES: usize = 256 << 20;
/// Who writes, for limits by source.
const SOURCE: &str = "remote_write";
/// So many of the reasons for leaving something out are told.
const MOST_REASONS: usize = 4;

/// The receivers of all instances.
#[derive(Default)]
pub(in crate::http) struct Receivers(Mutex<BTreeMap<String, Arc<Receiver>>>);

impl Receivers {
    /// The receiver of an instance.
    pub(super) fn of(&self, server: &Server, instance: &str) -> Result<Arc<Receiver>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(receiver) = all.get(instance) {
            return Ok(Arc::clone(receiver));
        }
        let handle = server.composite().get::<Tsdb>(instance)?;
        let receiver = Arc::new(Receiver {
            composite: server.composite().clone(),
            handle,
            cache: LabelCache::new(CACHE_BYTES),
            counters: Counters::default(),
        });
        all.insert(instance.to_owned(), Arc::clone(&receiver));
        Ok(receiver)
    }

    /// The counters of all instances, as Prometheus reads them.
    pub(in crate::http) fn metrics(&self, text: &mut String) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, read) in COUNTERS {
            if !all.is_empty() {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "# TYPE opendata_remote_write_{name}_total counter");
            }
            for (instance, receiver) in all.iter() {
                let value = read(&receiver.counters).load(Ordering::Relaxed);
                let _ = writeln!(text, "opendata_remote_write_{name}_total{{instance={instance:?}}} {value}");
            }
        }
    }
}

/// Takes remote write for one instance.
pub(super) struct Receiver {
    composite: InternalComposite,
    handle: Handle<Tsdb>,
    cache: LabelCache,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    requests: AtomicU64,
    failed_requests: AtomicU64,
    samples: AtomicU64,
    histograms: AtomicU64,
    exemplars: AtomicU64,
    refused: AtomicU64,
}

type Read = fn(&Counters) -> &AtomicU64;

const COUNTERS: [(&str, Read); 6] = [
    ("requests", |counters| &counters.requests),
    ("failed_requests", |counters| &counters.failed_requests),
    ("samples", |counters| &counters.samples),
    ("histograms", |counters| &counters.histograms),
    ("exemplars", |counters| &counters.exemplars),
    ("refused", |counters| &counters.refused),
];

/// What a request led to.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) samples: u64,
    pub(super) histograms: u64,
    pub(super) exemplars: u64,
    /// What was left out.
    pub(super) refused: Option<Partial>,
}

/// Why a part of a request was left out.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) status: StatusCode,
    pub(super) count: u64,
    pub(super) why: String,
}

/// The transaction that a message becomes while it is read.
pub(super) struct Batch<'a> {
    receiver: &'a Receiver,
    transaction: Transaction,
    /// Markers of a series' end that came as histograms; they are written as samples.
    stale_histograms: u64,
    refused: u64,
    reasons: Vec<String>,
}

impl Receiver {
    /// Reads a message and writes it, durably.
    ///
    /// # Errors
    /// `Invalid` if it is no message, or what committing it returned.
    pub(super) async fn write(&self, decode: impl FnOnce(&mut Batch<'_>) -> Result<(), Malformed>) -> Result<Written> {
        let mut batch = Batch {
            receiver: self,
            transaction: self.composite.begin(),
            stale_histograms: 0,
            refused: 0,
            reasons: Vec::new(),
        };
        batch.op().partial().source(SOURCE);
        decode(&mut batch).map_err(|Malformed(why)| Error::invalid(format!("the body is no such message: {why}")))?;
        let Batch { transaction, stale_histograms, mut refused, mut reasons, .. } = batch;
        let commit = transaction.commit().await.map_err(Error::from)?;
        let mut written = Written::default();
        let mut status = StatusCode::BAD_REQUEST;
        if let Some(receipt) = commit.receipt(&self.handle) {
            written.samples = receipt.samples.saturating_sub(stale_histograms);
            written.histograms = receipt.histograms + stale_histograms;
            written.exemplars = receipt.exemplars;
            refused += receipt.refused.total();
            reasons.extend(receipt.refused.first.iter().map(ToString::to_string));
            // The sender tries all of it again, which does no harm to what is written, until only what is wrong is left.
            if receipt.refused.iter().any(|(reason, _)| reason.is_limit()) {
                status = StatusCode::TOO_MANY_REQUESTS;
            }
        }
        if refused > 0 {
            reasons.truncate(MOST_REASONS);
            let why = format!("partial write: the rest is written, refused={refused}, first: {}", reasons.join("; "));
            written.refused = Some(Partial { status, count: refused, why });
        }
        Ok(written)
    }

    /// Counts what a request led to.
    pub(super) fn count(&self, outcome: Result<&Written, StatusCode>) {
        let add = |counter: &AtomicU64, count| counter.fetch_add(count, Ordering::Relaxed);
        add(&self.counters.requests, 1);
        match outcome {
            Ok(written) => {
                add(&self.counters.samples, written.samples);
                add(&self.counters.histograms, written.histograms);
                add(&self.counters.exemplars, written.exemplars);
                add(&self.counters.refused, written.refused.as_ref().map_or(0, |partial| partial.count));
            }
            Err(_) => {
                add(&self.counters.failed_requests, 1);
            }
        }
    }
}

impl Batch<'_> {
    /// The label set of a series; `None`, and a reason is noted, if there can be none.
    pub(super) fn labels(&mut self, fields: &[u8]) -> Option<Labels> {
        self.receiver.cache.get(fields).map_err(|why| self.reason(why)).ok()
    }

    /// Leaves something out.
    pub(super) fn refuse(&mut self, count: u64) {
        self.refused += count;
    }

    /// Notes why something is left out.
    pub(super) fn reason(&mut self, why: String) {
        if self.reasons.len() < MOST_REASONS && !self.reasons.contains(&why) {
            self.reasons.push(why);
        }
    }

    fn op(&mut self) -> &mut Op {
        self.transaction.on(&self.receiver.handle)
    }

    /// Writes samples of a series that count since `start`; 0 if that is not known.
    pub(super) fn samples(&mut self, labels: Labels, start: Timestamp, samples: &[(Timestamp, f64)]) {
        self.op().samples_since(labels, start, samples);
    }

    /// Writes a histogram that counts since `start`, or the marker of a series' end that looks like one.
    pub(super) fn histogram(&mut self, labels: &Labels, start: Timestamp, at: Timestamp, histogram: Histogram) {
        if histogram.is_stale() {
            self.stale_histograms += 1;
            self.op().sample(labels.clone(), at, promql::STALE_NAN);
        } else {
            self.op().histogram_since(labels.clone(), start, at, histogram);
        }
    }

    /// Writes an exemplar, of which the label set is known or wrong.
    pub(super) fn exemplar(&mut self, series: &Labels, labels: Result<Labels, String>, at: Timestamp, value: f64) {
        match labels {
            Ok(labels) => {
                self.op().exemplar(series.clone(), Exemplar { labels, value, at });
            }
            Err(why) => {
                self.refuse(1);
                self.reason(why);
            }
        }
    }

    /// Says what a metric is.
    pub(super) fn metadata(&mut self, metric: &str, kind: u64, unit: &str, help: &str) {
        let kind = usize::try_from(kind).ok().and_then(|kind| KINDS.get(kind)).copied().unwrap_or_default();
        self.op().metadata(metric, Metadata { kind, unit: unit.to_owned(), help: help.to_owned() });
    }
}

/// By their numbers, which are the same in both versions.
const KINDS: [MetricKind; 8] = [
    MetricKind::Unknown,
    MetricKind::Counter,
    MetricKind::Gauge,
    MetricKind::Histogram,
    MetricKind::GaugeHistogram,
    MetricKind::Summary,
    MetricKind::Info,
    MetricKind::StateSet,
];
