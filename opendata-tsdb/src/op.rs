//! What a transaction asks of a TSDB instance.

use std::sync::Arc;

use opendata_core::{Operation, Timestamp};

use crate::exemplar::Exemplar;
use crate::histogram::Histogram;
use crate::labels::Labels;
use crate::metadata::Metadata;
use crate::refused::Refused;

mod deletion;
mod upkeep;

pub(crate) use deletion::DeleteWhere;
pub(crate) use upkeep::{
    Clean, CleanEnd, Expire, Forget, Prepare, Roll, RolledRows, RolledSeries, Seal, SealEnd, Upkeep,
};

/// Samples to write, collected by its verbs: `tx.on(&usage).sample(labels, at, 1.5)`.
///
/// Of two samples with the same series and time the one written last wins, across transactions and inside one, in the
/// order of the calls; so a write that is repeated changes nothing. Any `f64` is taken and comes back bit for bit, NaN
/// payloads and stale markers included. Samples may come in any order and late, within the limits of [`Config`](crate::Config).
///
/// What breaks a limit or contradicts itself refuses the whole transaction, with a [`Refusal`](crate::Refusal) as the
/// source of the error; an operation that is [`partial`](Self::partial) goes on without it, and its receipt says so.
#[derive(Debug, Default)]
pub struct Op {
    pub(crate) runs: Vec<Run>,
    pub(crate) times: Vec<i64>,
    pub(crate) values: Vec<f64>,
    /// Those of the runs that are histograms, in their order.
    pub(crate) histograms: Vec<Arc<Histogram>>,
    pub(crate) batches: Vec<Batch>,
    pub(crate) exemplars: Vec<(Labels, Exemplar)>,
    pub(crate) metadata: Vec<(Arc<str>, Metadata)>,
    pub(crate) deletes: Vec<DeleteWhere>,
    pub(crate) upkeep: Option<Upkeep>,
    pub(crate) refusing: Refusing,
    pub(crate) source: Option<Arc<str>>,
    size_bytes: usize,
}

/// The start of samples that do not say since when they count.
const UNKNOWN: Timestamp = Timestamp(0);

/// What happens to an operation with a bad sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Refusing {
    /// It is refused, and its transaction with it.
    #[default]
    Whole,
    /// The bad samples are left out.
    Singly,
}

/// Samples of one series, the next `len` of the columns.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) labels: Labels,
    pub(crate) len: usize,
    pub(crate) verb: Verb,
    /// Since when the samples count; 0 if that is not known.
    pub(crate) start_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Set,
    Add,
    /// One histogram, the next of the operation.
    Histogram,
    /// The run is a [`Batch`], the next one of the operation.
    Batch,
}

/// One sample for each of a list of series, at one time.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) series: SeriesList,
    pub(crate) time_ms: i64,
    pub(crate) values: Vec<f64>,
}

/// A list of series that is written again and again, as by a scrape: their ids are looked up once, not for each write.
///
/// Cloning shares it; keep one and write with [`Op::batch`].
#[derive(Clone, Debug)]
pub struct SeriesList(pub(crate) Arc<[Labels]>);

impl SeriesList {
    /// A list of these series.
    #[must_use]
    pub fn new(series: impl IntoIterator<Item = Labels>) -> Self {
        Self(series.into_iter().collect())
    }

    /// How many series there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The series, in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, Labels> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a SeriesList {
    type Item = &'a Labels;
    type IntoIter = std::slice::Iter<'a, Labels>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Op {
    /// Writes one sample.
    pub fn sample(&mut self, labels: Labels, at: Timestamp, value: f64) -> &mut Self {
        self.run(labels, &[(at, value)], Verb::Set, UNKNOWN)
    }

    /// Writes samples of one series: one look-up for all of them.
    pub fn samples(&mut self, labels: Labels, samples: &[(Timestamp, f64)]) -> &mut Self {
        self.run(labels, samples, Verb::Set, UNKNOWN)
    }

    /// Writes samples of one series that count since `start`, as OpenTelemetry and OpenMetrics know it of counters; the
    /// time 0 stands for one that is not known. `rate` and its like then see where a counter began anew even if its value did not fall.
    ///
    /// The start is stored with each sample, and replaced with it. Rollups do not have it.
    pub fn samples_since(&mut self, labels: Labels, start: Timestamp, samples: &[(Timestamp, f64)]) -> &mut Self {
        self.run(labels, samples, Verb::Set, start)
    }

    /// Writes one sample of each series of a list, at one time: the fastest way in. `values` stand in the order of the
    /// list; the transaction is refused if they are not as many.
    pub fn batch(&mut self, series: &SeriesList, at: Timestamp, values: impl Into<Vec<f64>>) -> &mut Self {
        let values = values.into();
        self.size_bytes += 64 + 16 * values.len();
        self.batches.push(Batch { series: series.clone(), time_ms: at.0, values });
        self.runs.push(Run { labels: Labels::empty(), len: 0, verb: Verb::Batch, start_ms: 0 });
        self
    }

    /// Adds to a counter: the series' newest value plus `delta` becomes its newest value.
    ///
    /// The running total is kept in the committer's turn, so adds accumulate exactly, within a transaction, within a
    /// group and across reopening; with the exactly-once of an edge this counts each event once. A series that does
    /// not exist begins at zero. NaN and stale markers are no values: the total goes on from the last number.
    ///
    /// An event may come late. Its amount is never lost and never changes the past: an add at a time before the
    /// series' newest sample goes to the running total and is stored at that newest sample's time. So the counter
    /// never falls between two reads, a period that was closed and billed stays as it was, and the late amount shows
    /// up in the period in which it arrived.
    ///
    /// `delta` must be finite. It may be negative, for a credit or a gauge; `rate` and `increase` take a falling
    /// counter for one that restarted. The total lives as long as the series' newest sample: where retention drops
    /// that, the counter begins at zero again.
    pub fn add(&mut self, labels: Labels, at: Timestamp, delta: f64) -> &mut Self {
        self.run(labels, &[(at, delta)], Verb::Add, UNKNOWN)
    }

    /// Writes one native histogram. A series may hold floats and histograms at different times; of a float and a
    /// histogram at one time the one written last wins, as of two floats.
    pub fn histogram(&mut self, labels: Labels, at: Timestamp, histogram: impl Into<Arc<Histogram>>) -> &mut Self {
        self.histogram_since(labels, UNKNOWN, at, histogram)
    }

    /// Writes one native histogram that counts since `start`, as [`samples_since`](Self::samples_since) does floats.
    pub fn histogram_since(
        &mut self,
        labels: Labels,
        start: Timestamp,
        at: Timestamp,
        histogram: impl Into<Arc<Histogram>>,
    ) -> &mut Self {
        let histogram = histogram.into();
        self.size_bytes += 48 + histogram.size_bytes();
        self.times.push(at.0);
        self.values.push(0.0);
        self.histograms.push(histogram);
        self.runs.push(Run { labels, len: 1, verb: Verb::Histogram, start_ms: start.0 });
        self
    }

    /// Keeps a single observation behind a series. Of each series and bucket the newest 128 are kept.
    pub fn exemplar(&mut self, series: Labels, exemplar: Exemplar) -> &mut Self {
        self.size_bytes += 64 + 4 * exemplar.labels.len() * 16;
        self.exemplars.push((series, exemplar));
        self
    }

    /// Says what a metric is. The last one written wins.
    pub fn metadata(&mut self, metric: impl Into<Arc<str>>, metadata: Metadata) -> &mut Self {
        let metric = metric.into();
        self.size_bytes += 32 + metric.len() + metadata.size_bytes();
        self.metadata.push((metric, metadata));
        self
    }

    /// Leaves out what is refused, instead of refusing the transaction: a batch of samples from many origins should
    /// not fail for one of them. [`Receipt::refused`] tells what was left out and why. Mistakes of the caller, such as
    /// a [`batch`](Self::batch) with too few values, still refuse it.
    pub fn partial(&mut self) -> &mut Self {
        self.refusing = Refusing::Singly;
        self
    }

    /// Names who writes. The series that the operation creates count as this source's, for
    /// [`max_series_per_source`](crate::Config::max_series_per_source).
    pub fn source(&mut self, name: impl Into<Arc<str>>) -> &mut Self {
        self.source = Some(name.into());
        self
    }

    fn run(&mut self, labels: Labels, samples: &[(Timestamp, f64)], verb: Verb, start: Timestamp) -> &mut Self {
        if samples.is_empty() {
            return self;
        }
        self.size_bytes += 32 + 16 * samples.len();
        self.times.extend(samples.iter().map(|(at, _)| at.0));
        self.values.extend(samples.iter().map(|(_, value)| *value));
        self.runs.push(Run { labels, len: samples.len(), verb, start_ms: start.0 });
        self
    }

    pub(crate) fn upkeep(upkeep: Upkeep) -> Self {
        let size_bytes = upkeep.size_bytes();
        Self { upkeep: Some(upkeep), size_bytes, ..Self::default() }
    }
}

impl Operation for Op {
    fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    fn is_empty(&self) -> bool {
        let no_samples = self.runs.is_empty() && self.exemplars.is_empty();
        no_samples && self.metadata.is_empty() && self.deletes.is_empty() && self.upkeep.is_none()
    }
}

/// What a transaction learns of its effect on a TSDB instance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Receipt {
    /// How many samples were written, histograms not among them.
    pub samples: u64,
    /// How many native histograms were written.
    pub histograms: u64,
    /// How many exemplars were written.
    pub exemplars: u64,
    /// How many series were new in their bucket.
    pub new_series: u64,
    /// The total that each `add` led to, in the order of the calls; NaN for one that a partial operation left out.
    pub totals: Vec<f64>,
    /// How many series a deletion touched, counted in each bucket.
    pub deleted_series: u64,
    /// What a partial operation left out.
    pub refused: Refused,
}
