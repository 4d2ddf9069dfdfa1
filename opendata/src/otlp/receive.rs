//! Takes requests for one instance: translated, written in one transaction, durable when it is answered.
//!
//! # Deltas, and requests that come twice
//!
//! Amounts since the last point are added to the series' running total in the committer's turn
//! ([`Op::add`](opendata_tsdb::Op::add)), so they add up exactly, and the total survives restarts: it is the newest sample. An exporter that
//! got no answer sends its request again. A delta stream has one writer, and its points follow one another; so a point
//! at the time of its series' newest sample was counted before and is passed over (and counted as a duplicate), and
//! an earlier one is rejected. The newest time is remembered; what is not remembered is read from the instance, so this
//! holds over restarts too. Histograms of deltas are added up here, from the newest one of their series. Requests with deltas are written one after another, for there is nothing between the look
//! and the write then.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use opendata_compose::{InternalComposite, Tsdb};
use opendata_core::slate::Handle;
use opendata_core::{Error, ErrorKind, Operation as _, Result, Timestamp};
use opendata_tsdb::promql::Storage;
use opendata_tsdb::{Histogram, Labels, Matcher, Metadata, Op, Receipt};
use tokio::sync::Mutex;

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
    /// What was written of each metric: it is written again only when it changes.
    described: std::sync::Mutex<HashMap<Arc<str>, Metadata>>,
    counters: Counters,
}

/// How far back the newest histogram of a series is looked for, in milliseconds, one after the other: an hour, a day, a month.
const LOOKS_BACK: &[i64] = &[3_600_000, 86_400_000, 30 * 86_400_000];

/// What is known of series of deltas.
#[derive(Default)]
struct Deltas {
    /// The newest time of each, in milliseconds.
    newest: HashMap<Labels, i64>,
    /// What those that are histograms have come to.
    histograms: HashMap<Labels, Histogram>,
}

/// What will be known of them, once it is written.
#[derive(Default)]
struct Settled {
    newest: HashMap<Labels, i64>,
    histograms: HashMap<Labels, Histogram>,
}

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
        Self {
            composite: composite.clone(),
            handle,
            config,
            deltas: Mutex::default(),
            starts: std::sync::Mutex::default(),
            described: std::sync::Mutex::default(),
            counters: Counters::default(),
        }
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
        let mut translated = translate(request, &self.config);
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        self.counters.points.fetch_add(translated.points, Ordering::Relaxed);
        self.write(&mut translated).await?;
        let rejected = translated.rejected;
        self.counters.rejected.fetch_add(rejected.points, Ordering::Relaxed);
        let partial_success = (rejected.points > 0).then(|| PartialSuccess {
            rejected_data_points: i64::try_from(rejected.points).unwrap_or(i64::MAX),
            error_message: rejected.reasons.join("; "),
        });
        Ok(ExportResponse { partial_success })
    }

    async fn write(&self, translated: &mut Translated) -> Result<()> {
        let mut deltas = match translated.samples.iter().any(|sample| sample.value.is_delta()) {
            true => Some(self.deltas.lock().await),
            false => None,
        };
        let settled = match &mut deltas {
            Some(deltas) => self.settle(deltas, translated).await?,
            None => Settled::default(),
        };
        let described = self.undescribed(std::mem::take(&mut translated.metadata));
        let mut transaction = self.composite.begin();
        let op = transaction.on(&self.handle);
        op.partial().source("otlp");
        for (metric, metadata) in &described {
            op.metadata(Arc::clone(metric), metadata.clone());
        }
        for (labels, start) in self.fresh_starts(&translated.samples) {
            op.sample(labels, start, 0.0);
        }
        for sample in std::mem::take(&mut translated.samples) {
            let start = if self.config.start_times { sample.start } else { Timestamp(0) };
            put(op, start, sample);
        }
        for (series, exemplar) in std::mem::take(&mut translated.exemplars) {
            op.exemplar(series, exemplar);
        }
        if op.is_empty() {
            return Ok(());
        }
        let done = transaction.commit().await.map_err(Error::from);
        if let Some(mut deltas) = deltas {
            match &done {
                Ok(_) => {
                    deltas.newest.extend(settled.newest);
                    deltas.histograms.extend(settled.histograms);
                }
                // Nobody knows whether it was counted: the instance does.
                Err(error) if error.kind() == ErrorKind::OutcomeUnknown => *deltas = Deltas::default(),
                Err(_) => {}
            }
        }
        let commit = done?;
        locked(&self.described).extend(described);
        match commit.receipt(&self.handle) {
            Some(receipt) => refused(receipt, &mut translated.rejected),
            None => Ok(()),
        }
    }

    /// The metadata that is new.
    fn undescribed(&self, metadata: Vec<(Arc<str>, Metadata)>) -> Vec<(Arc<str>, Metadata)> {
        let mut known = locked(&self.described);
        if known.len() > REMEMBERED {
            known.clear();
        }
        metadata.into_iter().filter(|(metric, metadata)| known.get(metric) != Some(metadata)).collect()
    }

    /// The series that began to count anew, if that is worth a sample of zero. To forget one is harmless: the same zero
    /// is written again.
    fn fresh_starts(&self, samples: &[Sample]) -> Vec<(Labels, Timestamp)> {
        if !self.config.zero_at_start {
            return Vec::new();
        }
        let mut known = locked(&self.starts);
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

    /// Takes the deltas out that were counted before, makes totals of those that are histograms, and says what will be
    /// known then.
    async fn settle(&self, deltas: &mut Deltas, translated: &mut Translated) -> Result<Settled> {
        let Translated { samples, rejected, .. } = translated;
        self.remember(deltas, samples).await?;
        let mut settled = Settled::default();
        samples.sort_by_key(|sample| sample.at);
        let mut duplicates = 0;
        samples.retain_mut(|sample| {
            if !sample.value.is_delta() {
                return true;
            }
            let known = settled.newest.get(&sample.labels).or_else(|| deltas.newest.get(&sample.labels)).copied();
            if known == Some(sample.at.0) {
                duplicates += 1;
                return false;
            }
            if known.is_some_and(|known| known > sample.at.0) {
                rejected.add(1, format!("a delta ends before one that was counted, series={}", sample.labels));
                return false;
            }
            if let Measured::DeltaHistogram(delta) = &sample.value {
                let known = settled.histograms.get(&sample.labels).or_else(|| deltas.histograms.get(&sample.labels));
                let mut total = (**delta).clone();
                if let Some(known) = known
                    && total.add(known).is_err()
                {
                    rejected.add(1, format!("a histogram cannot be added to the one before, series={}", sample.labels));
                    return false;
                }
                settled.histograms.insert(sample.labels.clone(), total.clone());
                sample.value = Measured::Histogram(Box::new(total));
                // The delta's start is not that of the total.
                sample.start = Timestamp(0);
            }
            settled.newest.insert(sample.labels.clone(), sample.at.0);
            true
        });
        self.counters.duplicates.fetch_add(duplicates, Ordering::Relaxed);
        Ok(settled)
    }

    /// Reads what is not remembered, a metric at a time. Of numbers only what is not older than the points that came
    /// matters, of histograms the newest.
    async fn remember(&self, deltas: &mut Deltas, samples: &[Sample]) -> Result<()> {
        if deltas.newest.len() > REMEMBERED {
            *deltas = Deltas::default();
        }
        let mut unknown: HashMap<(&str, bool), i64> = HashMap::new();
        let is_new = |sample: &&Sample| sample.value.is_delta() && !deltas.newest.contains_key(&sample.labels);
        for sample in samples.iter().filter(is_new) {
            let is_histogram = matches!(sample.value, Measured::DeltaHistogram(_));
            let metric = sample.labels.metric_name().unwrap_or_default();
            let oldest = unknown.entry((metric, is_histogram)).or_insert(i64::MAX);
            *oldest = (*oldest).min(sample.at.0);
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let reader = self.composite.view().on(&self.handle)?;
        for ((metric, is_histogram), oldest) in unknown {
            for back in if is_histogram { LOOKS_BACK } else { &[0] } {
                let mut found = false;
                for series in reader.select(&[Matcher::metric(metric)], oldest.saturating_sub(*back), i64::MAX).await? {
                    if let Some((_, histogram)) = series.histograms.last().filter(|(_, last)| !last.is_stale()) {
                        deltas.histograms.entry(series.labels.clone()).or_insert_with(|| (**histogram).clone());
                    }
                    if let Some(newest) = series.timestamps.last() {
                        deltas.newest.entry(series.labels).or_insert(*newest);
                        found = true;
                    }
                }
                if found {
                    break;
                }
            }
        }
        Ok(())
    }
}

fn put(op: &mut Op, start: Timestamp, sample: Sample) {
    match sample.value {
        Measured::Number(value) => op.samples_since(sample.labels, start, &[(sample.at, value)]),
        Measured::Delta(value) => op.add(sample.labels, sample.at, value),
        Measured::Histogram(histogram) => op.histogram_since(sample.labels, start, sample.at, *histogram),
        Measured::DeltaHistogram(histogram) => op.histogram(sample.labels, sample.at, *histogram),
    };
}

/// Tells what was left out. A request of which nothing was taken because of limits may come again.
fn refused(receipt: &Receipt, rejected: &mut Rejected) -> Result<()> {
    let taken = receipt.samples + receipt.histograms;
    if let Some(first) = receipt.refused.first.first()
        && taken == 0
        && first.reason.is_limit()
    {
        return Err(first.clone().into());
    }
    for refusal in &receipt.refused.first {
        rejected.add(0, refusal.to_string());
    }
    rejected.points += receipt.refused.total();
    Ok(())
}

fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
