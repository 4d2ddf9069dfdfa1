//! Preparing a transaction: where each of its samples goes, without changing anything that others can see.

use std::collections::HashMap;
use std::sync::Arc;

use opendata_core::key::SegmentId;
use opendata_core::slate::PrepareContext;
use opendata_core::{Error, Result};
use rustc_hash::FxBuildHasher;

use super::limits::{Limits, refuse};
use super::totals::Total;
use super::{KnownList, Writer};
use crate::chunk::histogram::MOST_BUCKETS;
use crate::dictionary::Slot;
use crate::exemplar::Exemplar;
use crate::histogram::{CounterReset, Histogram};
use crate::labels::{Labels, METRIC_NAME};
use crate::metadata::Metadata;
use crate::op::{Batch, Op, Receipt, Refusing, Run, Verb};
use crate::promql::STALE_NAN;
use crate::record::slab::Rows;
use crate::refused::{Reason, Refusal};

/// How many lists of series have their ids remembered.
const KNOWN_LISTS: usize = 64;

/// A transaction's samples in their places, and what else changes with them.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) rows: Vec<(SegmentId, Rows)>,
    /// Series that are new in a bucket, in the order of the ids they will get.
    pub(super) new: Vec<(SegmentId, Slot)>,
    provisional: HashMap<(SegmentId, Slot), u32, FxBuildHasher>,
    /// How many series are new in each bucket.
    created: HashMap<SegmentId, u32, FxBuildHasher>,
    /// How many series of each metric are new in each bucket.
    created_of: HashMap<(SegmentId, Arc<str>), u32>,
    /// How many series are new altogether.
    pub(super) never_seen: u32,
    /// What counters come to. None: the newest number must be looked for again.
    pub(super) totals: HashMap<Slot, Option<Total>, FxBuildHasher>,
    /// Counters that were added to in a new bucket.
    pub(super) total_rows: Vec<(Slot, SegmentId)>,
    /// Metrics of which a series is created by a sample for the first time.
    pub(super) sampled: Vec<Arc<str>>,
    pub(super) exemplars: Vec<(SegmentId, u32, Exemplar)>,
    pub(super) metadata: Vec<(Arc<str>, Metadata)>,
    pub(super) receipt: Receipt,
    pub(super) source: Option<Arc<str>>,
    /// Whether no series that is new altogether may be created.
    pub(super) too_fast: bool,
    refusing: Refusing,
    pub(super) limits: Limits,
    here: Place,
}

/// The bucket that the last sample went to.
#[derive(Clone, Copy, Debug)]
struct Place {
    bucket: SegmentId,
    first_ms: i64,
    last_ms: i64,
    /// Its rows in the draft.
    at: usize,
}

impl Default for Place {
    fn default() -> Self {
        Self { bucket: SegmentId::CONTROL, first_ms: 1, last_ms: 0, at: 0 }
    }
}

impl Draft {
    /// A draft that creates series in one bucket, and writes no samples.
    pub(super) fn in_bucket(bucket: SegmentId) -> Self {
        Self { here: Place { bucket, ..Place::default() }, ..Self::default() }
    }

    /// The current bucket.
    pub(super) fn bucket(&self) -> SegmentId {
        self.here.bucket
    }

    /// Whether a time is taken and falls into the current bucket.
    #[inline]
    fn holds(&self, time_ms: i64) -> bool {
        (self.here.first_ms..=self.here.last_ms).contains(&time_ms) && self.limits.hold(time_ms)
    }

    /// Appends a sample in the current bucket.
    #[inline]
    fn push(&mut self, id: u32, time_ms: i64, value: f64) {
        if let Some((_, rows)) = self.rows.get_mut(self.here.at) {
            rows.push(id, time_ms, value);
        }
    }

    /// Says since when the last sample of the current bucket counts; 0 if that is not known.
    #[inline]
    fn start_last(&mut self, start_ms: i64) {
        if let Some((_, rows)) = self.rows.get_mut(self.here.at).filter(|_| start_ms != 0) {
            rows.start_last(start_ms);
        }
    }

    pub(super) fn rows_of(&self, bucket: SegmentId) -> Option<&Rows> {
        self.rows.iter().find(|(other, _)| *other == bucket).map(|(_, rows)| rows)
    }

    pub(super) fn id(&self, bucket: SegmentId, slot: Slot) -> Option<u32> {
        self.provisional.get(&(bucket, slot)).copied()
    }

    /// How many series it creates in the current bucket.
    pub(super) fn created(&self) -> u32 {
        self.created.get(&self.here.bucket).copied().unwrap_or(0)
    }

    /// How many series of a metric it creates in the current bucket.
    pub(super) fn created_of_metric(&self, metric: &str) -> u32 {
        self.created_of.get(&(self.here.bucket, Arc::from(metric))).copied().unwrap_or(0)
    }

    /// Goes on after `count` samples were refused, if the operation says so.
    pub(super) fn tolerate<T>(&mut self, count: usize, placed: Result<T>) -> Result<Option<T>> {
        let error = match placed {
            Ok(placed) => return Ok(Some(placed)),
            Err(error) => error,
        };
        match Refusal::of(&error) {
            Some(refusal) if self.refusing == Refusing::Singly => {
                self.receipt.refused.push(count as u64, refusal);
                Ok(None)
            }
            _ => Err(error),
        }
    }
}

impl Writer {
    pub(super) async fn draft(&mut self, op: Op, cx: &PrepareContext<'_>) -> Result<Draft> {
        let mut draft = Draft {
            limits: self.limits(cx),
            refusing: op.refusing,
            source: op.source,
            too_fast: self.creates_too_fast(cx.now().0),
            ..Draft::default()
        };
        let mut samples = op.times.into_iter().zip(op.values);
        let mut histograms = op.histograms.into_iter();
        let mut batches = op.batches.into_iter();
        for run in op.runs {
            match run.verb {
                Verb::Set => self.draft_samples(&mut draft, &run, samples.by_ref().take(run.len), cx).await?,
                Verb::Add => {
                    for sample in samples.by_ref().take(run.len) {
                        let added = self.draft_add(&mut draft, &run, sample, cx).await;
                        if draft.tolerate(1, added)?.is_none() {
                            draft.receipt.totals.push(f64::NAN);
                        }
                    }
                }
                Verb::Histogram => {
                    if let (Some((time_ms, _)), Some(one)) = (samples.next(), histograms.next()) {
                        let placed = self.draft_histogram(&mut draft, &run, time_ms, one, cx).await;
                        draft.tolerate(1, placed)?;
                    }
                }
                Verb::Batch => {
                    if let Some(batch) = batches.next() {
                        self.draft_batch(&mut draft, batch, cx).await?;
                    }
                }
            }
        }
        for (series, exemplar) in op.exemplars {
            let placed = self.draft_exemplar(&mut draft, &series, exemplar, cx).await;
            draft.tolerate(1, placed)?;
        }
        self.draft_metadata(&mut draft, op.metadata)?;
        let histograms = |rows: &Rows| rows.samples.histograms.len() as u64;
        draft.receipt.histograms = draft.rows.iter().map(|(_, rows)| histograms(rows)).sum();
        draft.receipt.samples = draft.rows.iter().map(|(_, rows)| rows.len() as u64 - histograms(rows)).sum();
        draft.receipt.new_series = draft.new.len() as u64;
        Ok(draft)
    }

    async fn draft_samples(
        &mut self,
        draft: &mut Draft,
        run: &Run,
        samples: impl Iterator<Item = (i64, f64)> + Send,
        cx: &PrepareContext<'_>,
    ) -> Result<()> {
        let slot = self.dictionary.intern(&run.labels);
        let mut known = None;
        for (time_ms, value) in samples {
            if !draft.holds(time_ms) {
                let entered = self.enter(draft, &run.labels, time_ms, cx).await;
                if draft.tolerate(1, entered)?.is_none() {
                    continue;
                }
                known = None;
            }
            // The next sample of a series mostly goes where the last one went.
            if let Some(id) = known.filter(|_| !self.may_count(draft)) {
                draft.push(id, time_ms, value);
                draft.start_last(run.start_ms);
                continue;
            }
            let placed = self.put(draft, slot, &run.labels, time_ms, value);
            known = draft.tolerate(1, placed)?;
            if known.is_some() {
                draft.start_last(run.start_ms);
            }
        }
        Ok(())
    }

    async fn draft_add(
        &mut self,
        draft: &mut Draft,
        run: &Run,
        sample: (i64, f64),
        cx: &PrepareContext<'_>,
    ) -> Result<()> {
        let slot = self.dictionary.intern(&run.labels);
        let total = self.add(draft, slot, &run.labels, sample, cx).await?;
        self.enter(draft, &run.labels, total.time_ms, cx).await?;
        self.put_total(draft, slot, &run.labels, total)
    }

    async fn draft_histogram(
        &mut self,
        draft: &mut Draft,
        run: &Run,
        time_ms: i64,
        one: Arc<Histogram>,
        cx: &PrepareContext<'_>,
    ) -> Result<()> {
        if one.is_stale() {
            // The marker ends series of either kind.
            return self.draft_samples(draft, run, std::iter::once((time_ms, STALE_NAN)), cx).await;
        }
        let wrong = |detail: String| refuse(Reason::InvalidHistogram, &run.labels, time_ms, detail);
        one.validate().map_err(|error| wrong(error.message().to_owned()))?;
        let buckets = one.positive.counts.len().max(one.negative.counts.len());
        if buckets > MOST_BUCKETS {
            return Err(wrong(format!("the histogram has too many buckets, buckets={buckets}, limit={MOST_BUCKETS}")));
        }
        self.enter(draft, &run.labels, time_ms, cx).await?;
        let slot = self.dictionary.intern(&run.labels);
        let id = self.id_of(draft, slot, &run.labels, Verb::Histogram, time_ms)?;
        if self.may_count(draft) {
            self.forget_total(draft, slot, time_ms);
        }
        if let Some((_, rows)) = draft.rows.get_mut(draft.here.at) {
            rows.push_histogram(id, time_ms, without_promise(one));
            rows.start_last(run.start_ms);
        }
        Ok(())
    }

    /// Makes the bucket of a time the current one, if the time is taken.
    pub(super) async fn enter(
        &mut self,
        draft: &mut Draft,
        series: &Labels,
        time_ms: i64,
        cx: &PrepareContext<'_>,
    ) -> Result<()> {
        if draft.holds(time_ms) {
            return Ok(());
        }
        if !draft.limits.hold(time_ms) {
            return Err(draft.limits.refuse(series, time_ms));
        }
        let outside = || refuse(Reason::TooNew, series, time_ms, "the time is outside the calendar");
        let bucket = self.calendar.segment(time_ms).ok_or_else(outside)?;
        self.load(bucket, cx).await?;
        let found = draft.rows.iter().position(|(other, _)| *other == bucket);
        let at = found.unwrap_or_else(|| {
            draft.rows.push((bucket, Rows::default()));
            draft.rows.len() - 1
        });
        let (first_ms, last_ms) = (self.calendar.start_ms(bucket), self.calendar.last_ms(bucket));
        draft.here = Place { bucket, first_ms, last_ms, at };
        Ok(())
    }

    /// Places a sample in the current bucket.
    fn put(&mut self, draft: &mut Draft, slot: Slot, labels: &Labels, time_ms: i64, value: f64) -> Result<u32> {
        let id = self.id_of(draft, slot, labels, Verb::Set, time_ms)?;
        if self.may_count(draft) {
            self.overwrite_total(draft, slot, time_ms, value);
        }
        draft.push(id, time_ms, value);
        Ok(id)
    }

    /// Whether any series is known to be a counter, whose total a sample may move.
    fn may_count(&self, draft: &Draft) -> bool {
        !(self.totals.is_empty() && draft.totals.is_empty())
    }

    /// Places what a counter comes to in the current bucket.
    fn put_total(&mut self, draft: &mut Draft, slot: Slot, labels: &Labels, mut total: Total) -> Result<()> {
        let bucket = draft.here.bucket;
        let id = self.id_of(draft, slot, labels, Verb::Add, total.time_ms)?;
        if total.row != Some(bucket) {
            total.row = Some(bucket);
            draft.total_rows.push((slot, bucket));
        }
        draft.totals.insert(slot, Some(total));
        draft.receipt.totals.push(total.value);
        draft.push(id, total.time_ms, total.value);
        Ok(())
    }

    /// The id of a series in the current bucket: the one it has, or will get if the transaction is applied.
    #[inline]
    pub(super) fn id_of(
        &mut self,
        draft: &mut Draft,
        slot: Slot,
        labels: &Labels,
        verb: Verb,
        time_ms: i64,
    ) -> Result<u32> {
        match self.buckets.get(&draft.here.bucket).and_then(|loaded| loaded.bucket.id(slot)) {
            Some(id) => Ok(id),
            None => self.create(draft, slot, labels, verb, time_ms),
        }
    }

    fn create(&mut self, draft: &mut Draft, slot: Slot, labels: &Labels, verb: Verb, time_ms: i64) -> Result<u32> {
        let bucket = draft.here.bucket;
        if let Some(id) = draft.id(bucket, slot) {
            return Ok(id);
        }
        self.admit(draft, slot, labels, self.next_id(draft), time_ms)?;
        let metric = labels.get(METRIC_NAME).unwrap_or_default();
        if self.config.max_series_per_metric.is_some() {
            *draft.created_of.entry((bucket, metric.into())).or_default() += 1;
        }
        if self.config.max_new_series_per_second.is_some() && self.is_new_altogether(slot) {
            draft.never_seen += 1;
        }
        let id = self.reserve(draft, slot);
        if verb != Verb::Add && !self.sampled.contains(metric) && !draft.sampled.iter().any(|other| **other == *metric)
        {
            draft.sampled.push(metric.into());
        }
        Ok(id)
    }

    /// The id that the next new series of the current bucket gets.
    fn next_id(&self, draft: &Draft) -> u32 {
        let stored = self.buckets.get(&draft.here.bucket).map_or(0, |loaded| loaded.bucket.len());
        stored.saturating_add(draft.created())
    }

    /// Gives a series that the current bucket does not have its id there.
    pub(super) fn reserve(&mut self, draft: &mut Draft, slot: Slot) -> u32 {
        let bucket = draft.here.bucket;
        let id = self.next_id(draft);
        *draft.created.entry(bucket).or_default() += 1;
        draft.new.push((bucket, slot));
        draft.provisional.insert((bucket, slot), id);
        id
    }

    async fn draft_batch(&mut self, draft: &mut Draft, mut batch: Batch, cx: &PrepareContext<'_>) -> Result<()> {
        let (series, values) = (batch.series.len(), batch.values.len());
        if series != values {
            return Err(Error::invalid(format!("a batch needs one value a series, series={series}, values={values}")));
        }
        let first = batch.series.iter().next().cloned().unwrap_or_default();
        let entered = self.enter(draft, &first, batch.time_ms, cx).await;
        if draft.tolerate(series, entered)?.is_none() {
            return Ok(());
        }
        let bucket = draft.here.bucket;
        let known =
            self.lists.iter().find(|known| known.bucket == bucket && Arc::ptr_eq(&known.list.0, &batch.series.0));
        if let (Some(known), true, Some((_, rows))) =
            (known, draft.totals.is_empty(), draft.rows.get_mut(draft.here.at))
        {
            rows.ids.extend_from_slice(&known.ids);
            rows.samples.times.resize(rows.ids.len(), batch.time_ms);
            rows.samples.values.append(&mut batch.values);
            return Ok(());
        }
        let mut ids = Vec::with_capacity(series);
        for (labels, value) in batch.series.iter().zip(&batch.values) {
            let slot = self.dictionary.intern(labels);
            let placed = self.put(draft, slot, labels, batch.time_ms, *value);
            draft.tolerate(1, placed)?;
            let known = self.buckets.get(&bucket).and_then(|loaded| loaded.bucket.id(slot));
            ids.extend(known.filter(|_| !self.totals.contains_key(&slot)));
        }
        // Remembered only once every series is stored, and none is a counter whose total a sample would move.
        if ids.len() == series {
            if self.lists.len() >= KNOWN_LISTS {
                self.lists.remove(0);
            }
            self.lists.push(KnownList { list: batch.series, bucket, ids });
        }
        Ok(())
    }
}

/// A counter that is said not to have begun anew since the sample before it: which sample that is changes when late
/// ones arrive, so this is not kept, and whoever needs to know compares.
fn without_promise(mut one: Arc<Histogram>) -> Arc<Histogram> {
    if one.counter_reset == CounterReset::NotReset {
        Arc::make_mut(&mut one).counter_reset = CounterReset::Unknown;
    }
    one
}
