//! Preparing a transaction: where each of its samples goes, without changing anything that others can see.

use std::collections::HashMap;
use std::sync::Arc;

use opendata_core::key::SegmentId;
use opendata_core::slate::{ApplyContext, PrepareContext};
use opendata_core::{Error, Result};

use super::totals::Total;
use super::{KnownList, Writer};
use crate::dictionary::Slot;
use crate::labels::{Labels, METRIC_NAME};
use crate::op::{Batch, Op, Receipt, Verb};
use crate::record::slab::Rows;
use crate::record::{self, Bucket};

/// The most bytes that names and values of a series' labels may take. They become parts of keys.
const LABEL_BYTES: usize = 16 * 1024;
/// How many lists of series have their ids remembered.
const KNOWN_LISTS: usize = 64;

/// A transaction's samples in their places, and what else changes with them.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) rows: Vec<(SegmentId, Rows)>,
    /// Series that are new in a bucket, in the order of the ids they will get.
    new: Vec<(SegmentId, Slot)>,
    provisional: HashMap<(SegmentId, Slot), u32>,
    /// How many series are new in each bucket.
    created: HashMap<SegmentId, u32>,
    /// What counters come to. None: the newest number must be looked for again.
    pub(super) totals: HashMap<Slot, Option<Total>>,
    /// Counters that were added to in a new bucket.
    pub(super) total_rows: Vec<(Slot, SegmentId)>,
    /// Metrics of which a series is created by a sample for the first time.
    sampled: Vec<Arc<str>>,
    receipt: Receipt,
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

impl Place {
    fn holds(&self, time_ms: i64) -> bool {
        (self.first_ms..=self.last_ms).contains(&time_ms)
    }
}

impl Default for Place {
    fn default() -> Self {
        Self { bucket: SegmentId::CONTROL, first_ms: 1, last_ms: 0, at: 0 }
    }
}

/// The times that are taken.
struct Limits {
    oldest_ms: i64,
    newest_ms: i64,
}

impl Draft {
    /// Appends a sample in the current bucket.
    fn push(&mut self, id: u32, time_ms: i64, value: f64) {
        if let Some((_, rows)) = self.rows.get_mut(self.here.at) {
            rows.push(id, time_ms, value);
        }
    }

    pub(super) fn rows_of(&self, bucket: SegmentId) -> Option<&Rows> {
        self.rows.iter().find(|(other, _)| *other == bucket).map(|(_, rows)| rows)
    }

    pub(super) fn id(&self, bucket: SegmentId, slot: Slot) -> Option<u32> {
        self.provisional.get(&(bucket, slot)).copied()
    }
}

impl Writer {
    pub(super) async fn draft(&mut self, op: Op, cx: &PrepareContext<'_>) -> Result<Draft> {
        let limits = self.limits(cx);
        let mut draft = Draft::default();
        let mut samples = op.times.into_iter().zip(op.values);
        let mut batches = op.batches.into_iter();
        for run in op.runs {
            if run.verb == Verb::Batch {
                if let Some(batch) = batches.next() {
                    self.draft_batch(&mut draft, &limits, batch, cx).await?;
                }
                continue;
            }
            let slot = self.dictionary.intern(&run.labels);
            let mut known = None;
            for (time_ms, value) in samples.by_ref().take(run.len) {
                if run.verb == Verb::Add {
                    let total = self.add(&mut draft, slot, &run.labels, (time_ms, value), cx).await?;
                    check_time(&limits, total.time_ms)?;
                    self.enter(&mut draft, &limits, total.time_ms, cx).await?;
                    self.put_total(&mut draft, slot, &run.labels, total)?;
                } else {
                    check_time(&limits, time_ms)?;
                    // The next sample of a series mostly goes where the last one went.
                    if let Some(id) = known.filter(|_| draft.here.holds(time_ms) && !self.may_count(&draft)) {
                        draft.push(id, time_ms, value);
                        continue;
                    }
                    self.enter(&mut draft, &limits, time_ms, cx).await?;
                    known = Some(self.put(&mut draft, slot, &run.labels, time_ms, value)?);
                }
            }
        }
        draft.receipt.samples = draft.rows.iter().map(|(_, rows)| rows.len() as u64).sum();
        draft.receipt.new_series = draft.new.len() as u64;
        Ok(draft)
    }

    fn limits(&self, cx: &PrepareContext<'_>) -> Limits {
        let back = |ms: Option<u64>| ms.map_or(i64::MIN, |ms| cx.now().0.saturating_sub_unsigned(ms));
        let ahead = |ms: Option<u64>| ms.map_or(i64::MAX, |ms| cx.now().0.saturating_add_unsigned(ms));
        Limits {
            oldest_ms: back(self.config.retention_ms).max(back(self.config.late_limit_ms)),
            newest_ms: ahead(self.config.future_limit_ms),
        }
    }

    /// Makes the bucket of a time the current one.
    async fn enter(&mut self, draft: &mut Draft, limits: &Limits, time_ms: i64, cx: &PrepareContext<'_>) -> Result<()> {
        if draft.here.holds(time_ms) {
            return Ok(());
        }
        let bucket = self
            .calendar
            .segment(time_ms)
            .ok_or_else(|| Error::invalid(format!("the time is outside the calendar, time_ms={time_ms}")))?;
        if bucket < self.live {
            return Err(too_old(time_ms, self.calendar.start_ms(self.live).max(limits.oldest_ms)));
        }
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
        let bucket = draft.here.bucket;
        let known = self.buckets.get(&bucket).and_then(|loaded| loaded.bucket.id(slot));
        let id = match known {
            Some(id) => id,
            None => self.create(draft, slot, labels, Verb::Set)?,
        };
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
        let known = self.buckets.get(&bucket).and_then(|loaded| loaded.bucket.id(slot));
        let id = match known {
            Some(id) => id,
            None => self.create(draft, slot, labels, Verb::Add)?,
        };
        if total.row != Some(bucket) {
            total.row = Some(bucket);
            draft.total_rows.push((slot, bucket));
        }
        draft.totals.insert(slot, Some(total));
        draft.receipt.totals.push(total.value);
        draft.push(id, total.time_ms, total.value);
        Ok(())
    }

    /// The id that a series will get in the current bucket, if the transaction is applied.
    fn create(&mut self, draft: &mut Draft, slot: Slot, labels: &Labels, verb: Verb) -> Result<u32> {
        let bucket = draft.here.bucket;
        if let Some(id) = draft.id(bucket, slot) {
            return Ok(id);
        }
        if labels.is_empty() {
            return Err(Error::invalid("a series needs at least one label"));
        }
        let bytes: usize = labels.iter().map(|label| label.name().len() + label.value().len()).sum();
        if bytes > LABEL_BYTES {
            return Err(Error::invalid(format!("the labels are too long, size_bytes={bytes}, limit={LABEL_BYTES}")));
        }
        let stored = self.buckets.get(&bucket).map_or(0, |loaded| loaded.bucket.len());
        let created = draft.created.entry(bucket).or_default();
        let id = stored.saturating_add(*created);
        if id >= self.config.max_series {
            return Err(Error::backpressure(format!(
                "the bucket has as many series as are allowed, limit={}, series={labels}",
                self.config.max_series
            )));
        }
        *created += 1;
        draft.new.push((bucket, slot));
        draft.provisional.insert((bucket, slot), id);
        let metric = labels.get(METRIC_NAME).unwrap_or_default();
        if verb == Verb::Set && !self.sampled.contains(metric) && !draft.sampled.iter().any(|other| **other == *metric)
        {
            draft.sampled.push(metric.into());
        }
        Ok(id)
    }

    async fn draft_batch(
        &mut self,
        draft: &mut Draft,
        limits: &Limits,
        mut batch: Batch,
        cx: &PrepareContext<'_>,
    ) -> Result<()> {
        let (series, values) = (batch.series.len(), batch.values.len());
        if series != values {
            return Err(Error::invalid(format!("a batch needs one value a series, series={series}, values={values}")));
        }
        check_time(limits, batch.time_ms)?;
        self.enter(draft, limits, batch.time_ms, cx).await?;
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
            self.put(draft, slot, labels, batch.time_ms, *value)?;
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

    pub(super) fn apply_draft(&mut self, draft: Draft, cx: &mut ApplyContext<'_>) -> Receipt {
        self.begin_group(cx);
        for (bucket, slot) in draft.new {
            self.create_bucket(bucket, cx);
            let Some(loaded) = self.buckets.get_mut(&bucket) else { continue };
            if let Some(labels) = self.dictionary.labels(slot) {
                loaded.bucket.assign(slot, labels);
            }
        }
        for metric in draft.sampled {
            cx.put(self.keys.sampled(&metric), bytes::Bytes::from_static(&[1]));
            self.sampled.insert(metric);
        }
        for (slot, bucket) in draft.total_rows {
            if let Some(labels) = self.dictionary.labels(slot) {
                cx.put_visible(self.keys.total(labels), record::encode_segment(bucket));
            }
        }
        for (slot, total) in draft.totals {
            let is_new = match total {
                Some(total) => self.totals.insert(slot, total).is_none(),
                None => {
                    self.totals.remove(&slot);
                    false
                }
            };
            // A list that holds a counter must be written sample by sample from now on.
            if is_new && !self.lists.is_empty() {
                self.lists.clear();
            }
        }
        for (bucket, rows) in draft.rows {
            if !rows.is_empty() {
                self.group.rows.entry(bucket).or_default().append(rows);
            }
        }
        draft.receipt
    }

    /// The first transaction of a group gives its slabs their numbers. They follow from the position, so that a number
    /// is not used again when the slate is reopened with everything sealed.
    fn begin_group(&mut self, cx: &ApplyContext<'_>) {
        if self.group.rows.is_empty() {
            self.group.first_slab = cx.last_position().next().0;
        }
    }

    fn create_bucket(&mut self, bucket: SegmentId, cx: &mut ApplyContext<'_>) {
        let Err(at) = self.existing.binary_search(&bucket) else { return };
        Arc::make_mut(&mut self.existing).insert(at, bucket);
        let record = Bucket { start_ms: self.calendar.start_ms(bucket), length_ms: self.config.bucket_ms };
        cx.put(self.keys.bucket(bucket), record.encode());
    }
}

fn check_time(limits: &Limits, time_ms: i64) -> Result<()> {
    if time_ms < limits.oldest_ms {
        return Err(too_old(time_ms, limits.oldest_ms));
    }
    if time_ms > limits.newest_ms {
        let newest = limits.newest_ms;
        return Err(Error::invalid(format!(
            "the sample is too far in the future, time_ms={time_ms}, newest_ms={newest}"
        )));
    }
    Ok(())
}

fn too_old(time_ms: i64, oldest_ms: i64) -> Error {
    Error::invalid(format!("the sample is too old, time_ms={time_ms}, oldest_ms={oldest_ms}"))
}
