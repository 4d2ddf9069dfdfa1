//! Takes requests for one instance: translated, written in one transaction, durable when it is answered.
//!
//! # Deltas, and requests that come twice
//!
//! Amounts since the last point are added to the series' running total in the committer's turn
//! ([`Op::add`](opendata_tsdb::Op::add)), so they add up exactly, and the total survives restarts: it is the newest sample. An exporter that
//! got no answer sends its request again. A delta stream has one writer, and its points follow one another; so a point
//! at the time of its series' newest sample was counted before and is passed over (and counted as a duplicate), and
//! an earlier one is rejected. The newest time is remembered; what is not remembered is read from the instance, so this
//! holds over restarts too. Requests with deltas are written one after another, for there is nothing between the look
//! and the write then.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use opendata_compose::{InternalComposite, Tsdb};
use opendata_core::slate::Handle;
use opendata_core::{Error, ErrorKind, Result, Timestamp};
use opendata_tsdb::promql::Storage;
use opendata_tsdb::{Labels, Matcher, Op};
use tokio::sync::{Mutex, MutexGuard};

use super::config::Config;
use super::message::{ExportRequest, ExportResponse, PartialSuccess};
use super::translate::{Measured, Rejected, Sample, Translated, translate};

/// How many series of deltas are remembered.
const REMEMBERED: usize = 1_000_000;

/// Takes requests for one instance.
pub(crate) struct Receiver {
    composite: InternalComposite,
    handle: Handle<Tsdb>,
    config: Config,
    deltas: Mutex<Deltas>,
    /// When the counting of each cumulative series started, in milliseconds: what has a zero there already.
    starts: std::sync::Mutex<HashMap<Labels, i64>>,
    counters: Counters,
}

/// The newest time of each series of deltas, in milliseconds.
#[derive(Default)]
struct Deltas(HashMap<Labels, i64>);

/// What came, and what became of it.
#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    points: AtomicU64,
    rejected: AtomicU64,
    duplicates: AtomicU64,
}

impl Receiver {
    pub(crate) fn new(composite: &InternalComposite, handle: Handle<Tsdb>, config: Config) -> Self {
        let (composite, deltas, starts) = (composite.clone(), Mutex::default(), std::sync::Mutex::default());
        Self { composite, handle, config, deltas, starts, counters: Counters::default() }
    }

    /// Names and values of the counters.
    pub(crate) fn counters(&self) -> [(&'static str, u64); 4] {
        let Counters { requests, points, rejected, duplicates } = &self.counters;
        [("requests", requests), ("points", points), ("rejected_points", rejected), ("duplicate_samples", duplicates)]
            .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
    }

    /// Writes what a request says. What cannot be said in Prometheus's model is counted in the answer.
    ///
    /// # Errors
    /// Those of a commit. `Backpressure` and `Unavailable` are worth another try.
    pub(crate) async fn export(&self, request: &ExportRequest) -> Result<ExportResponse> {
        let Translated { samples, metadata: _, mut rejected, points } = translate(request, &self.config);
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        self.counters.points.fetch_add(points, Ordering::Relaxed);
        self.write(samples, &mut rejected).await?;
        self.counters.rejected.fetch_add(rejected.points, Ordering::Relaxed);
        let partial_success = (rejected.points > 0).then(|| PartialSuccess {
            rejected_data_points: i64::try_from(rejected.points).unwrap_or(i64::MAX),
            error_message: rejected.reasons.join("; "),
        });
        Ok(ExportResponse { partial_success })
    }

    async fn write(&self, mut samples: Vec<Sample>, rejected: &mut Rejected) -> Result<()> {
        let has_deltas = samples.iter().any(|sample| matches!(sample.value, Measured::Delta(_)));
        let mut deltas = match has_deltas {
            true => Some(self.deltas.lock().await),
            false => None,
        };
        let newest = match &mut deltas {
            Some(deltas) => self.settle(deltas, &mut samples, rejected).await?,
            None => Vec::new(),
        };
        let mut transaction = self.composite.begin();
        let op = transaction.on(&self.handle);
        for (labels, start) in self.fresh_starts(&samples) {
            op.sample(labels, start, 0.0);
        }
        for sample in samples {
            put(op, sample, rejected);
        }
        let done = transaction.commit().await.map_err(Error::from);
        if let Some(mut deltas) = deltas {
            match &done {
                Ok(_) => deltas.0.extend(newest),
                // Nobody knows whether it was counted: the instance does.
                Err(error) if error.kind() == ErrorKind::OutcomeUnknown => deltas.0.clear(),
                Err(_) => {}
            }
        }
        done.map(|_| ())
    }

    /// The series that began to count anew, if that is worth a sample of zero. To forget one is harmless: the same zero
    /// is written again.
    fn fresh_starts(&self, samples: &[Sample]) -> Vec<(Labels, Timestamp)> {
        if !self.config.zero_at_start {
            return Vec::new();
        }
        let mut known = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > REMEMBERED {
            known.clear();
        }
        let counting = samples.iter().filter(|sample| {
            matches!(sample.value, Measured::Number(_)) && sample.start.0 > 0 && sample.start < sample.at
        });
        let fresh =
            counting.filter(|sample| known.insert(sample.labels.clone(), sample.start.0) != Some(sample.start.0));
        fresh.map(|sample| (sample.labels.clone(), sample.start)).collect()
    }

    /// Takes the deltas out that were counted before, and says what the newest times will be.
    async fn settle(
        &self,
        deltas: &mut MutexGuard<'_, Deltas>,
        samples: &mut Vec<Sample>,
        rejected: &mut Rejected,
    ) -> Result<Vec<(Labels, i64)>> {
        self.remember(deltas, samples).await?;
        let mut newest: HashMap<Labels, i64> = HashMap::new();
        samples.sort_by_key(|sample| sample.at);
        let mut duplicates = 0;
        samples.retain(|sample| {
            if !matches!(sample.value, Measured::Delta(_)) {
                return true;
            }
            let known = newest.get(&sample.labels).or_else(|| deltas.0.get(&sample.labels)).copied();
            if known == Some(sample.at.0) {
                duplicates += 1;
                return false;
            }
            if known.is_some_and(|known| known > sample.at.0) {
                rejected.add(1, format!("a delta ends before one that was counted, series={}", sample.labels));
                return false;
            }
            newest.insert(sample.labels.clone(), sample.at.0);
            true
        });
        self.counters.duplicates.fetch_add(duplicates, Ordering::Relaxed);
        Ok(newest.into_iter().collect())
    }

    /// Reads the newest times of series that are not remembered, a metric at a time. Only what is not older than the
    /// points that came matters.
    async fn remember(&self, deltas: &mut MutexGuard<'_, Deltas>, samples: &[Sample]) -> Result<()> {
        if deltas.0.len() > REMEMBERED {
            deltas.0.clear();
        }
        let mut unknown: HashMap<&str, i64> = HashMap::new();
        let is_delta = |sample: &&Sample| matches!(sample.value, Measured::Delta(_));
        for sample in samples.iter().filter(is_delta).filter(|sample| !deltas.0.contains_key(&sample.labels)) {
            let oldest = unknown.entry(sample.labels.metric_name().unwrap_or_default()).or_insert(i64::MAX);
            *oldest = (*oldest).min(sample.at.0);
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let reader = self.composite.view().on(&self.handle)?;
        for (metric, oldest) in unknown {
            for series in reader.select(&[Matcher::metric(metric)], oldest, i64::MAX).await? {
                if let Some(newest) = series.timestamps.last() {
                    deltas.0.entry(series.labels).or_insert(*newest);
                }
            }
        }
        Ok(())
    }
}

fn put(op: &mut Op, sample: Sample, rejected: &mut Rejected) {
    match sample.value {
        Measured::Number(value) => {
            op.sample(sample.labels, sample.at, value);
        }
        Measured::Delta(value) => {
            op.add(sample.labels, sample.at, value);
        }
        Measured::Native(_) => rejected.add(1, "native histograms cannot be stored by this version"),
    }
}
