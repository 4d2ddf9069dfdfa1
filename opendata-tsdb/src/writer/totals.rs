//! Counters: the running total of each series that is added to.
//!
//! A total is the newest number of a series, wherever it stands: in the transaction under way, in the group, in the
//! head or in chunks. It is kept in memory once known. The record `TOTAL` says in which bucket a counter stands, so
//! that finding it again after opening does not mean looking through all of them; for a metric whose series were only
//! ever created by adds (no record `SAMPLED`), a series without a `TOTAL` is a new one.

use opendata_core::Result;
use opendata_core::key::SegmentId;
use opendata_core::slate::PrepareContext;

use super::Writer;
use super::draft::Draft;
use super::limits::refuse;
use crate::chunk::{self, Scratch};
use crate::columns::Columns;
use crate::dictionary::Slot;
use crate::index::{Index, at};
use crate::labels::{Labels, METRIC_NAME};
use crate::record::{self, deletion};
use crate::refused::Reason;

/// Where a counter stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Total {
    /// The time of the series' newest sample, whatever it is.
    pub(super) time_ms: i64,
    /// The time of its newest number.
    pub(super) number_ms: i64,
    /// Its newest number; zero if there is none.
    pub(super) value: f64,
    /// Whether there is a histogram instead, which cannot be added to.
    pub(super) is_histogram: bool,
    /// The bucket that its `TOTAL` names.
    pub(super) row: Option<SegmentId>,
}

impl Total {
    const NONE: Self = Self { time_ms: i64::MIN, number_ms: i64::MIN, value: 0.0, is_histogram: false, row: None };

    fn is_found(&self) -> bool {
        self.number_ms != i64::MIN
    }
}

impl Writer {
    /// What a counter comes to by an add. Stored at the newest time of the series if that is later.
    pub(super) async fn add(
        &mut self,
        draft: &mut Draft,
        slot: Slot,
        labels: &Labels,
        (time_ms, delta): (i64, f64),
        cx: &PrepareContext<'_>,
    ) -> Result<Total> {
        if !delta.is_finite() {
            let detail = format!("only finite numbers can be added, delta={delta}");
            return Err(refuse(Reason::InvalidAdd, labels, time_ms, detail));
        }
        let known = match draft.totals.get(&slot) {
            Some(drafted) => *drafted,
            None => self.totals.get(&slot).copied(),
        };
        let total = match known {
            Some(total) => total,
            None => self.find_total(draft, slot, labels, cx).await?,
        };
        if total.is_histogram {
            let detail = "nothing can be added to a histogram".to_owned();
            return Err(refuse(Reason::InvalidAdd, labels, time_ms, detail));
        }
        let time_ms = time_ms.max(total.time_ms);
        Ok(Total { time_ms, number_ms: time_ms, value: total.value + delta, ..total })
    }

    /// A sample was written to a series: if it is a counter, its newest number may be another now.
    pub(super) fn overwrite_total(&self, draft: &mut Draft, slot: Slot, time_ms: i64, value: f64) {
        let known = draft.totals.get(&slot).copied().or_else(|| self.totals.get(&slot).map(|total| Some(*total)));
        let Some(Some(total)) = known else { return };
        let newest = Total { time_ms: total.time_ms.max(time_ms), ..total };
        let changed = if value.is_nan() && time_ms == total.number_ms {
            None
        } else if !value.is_nan() && time_ms >= total.number_ms {
            Some(Total { number_ms: time_ms, value, is_histogram: false, ..newest })
        } else {
            Some(newest)
        };
        if changed != Some(total) {
            draft.totals.insert(slot, changed);
        }
    }

    /// A histogram was written to a series: if it may be the newest sample, the total must be looked for again.
    pub(super) fn forget_total(&self, draft: &mut Draft, slot: Slot, time_ms: i64) {
        let known = draft.totals.get(&slot).copied().or_else(|| self.totals.get(&slot).map(|total| Some(*total)));
        if matches!(known, Some(Some(total)) if time_ms >= total.number_ms) {
            draft.totals.insert(slot, None);
        }
    }

    /// Looks for the newest number of a series, from the newest bucket to the oldest.
    async fn find_total(
        &mut self,
        draft: &Draft,
        slot: Slot,
        labels: &Labels,
        cx: &PrepareContext<'_>,
    ) -> Result<Total> {
        let key = self.keys.total(labels);
        let row = match cx.get(&key).await? {
            Some(value) => Some(record::decode_segment(&value).map_err(|error| at(&key, error))?),
            None => None,
        };
        let row = row.filter(|bucket| *bucket >= self.live);
        let metric = labels.get(METRIC_NAME).unwrap_or_default();
        let in_draft = draft.rows.iter().map(|(bucket, _)| *bucket);
        let mut buckets: Vec<_> = self.existing.iter().copied().chain(in_draft).collect();
        buckets.sort_unstable();
        buckets.dedup();
        if !self.sampled.contains(metric) {
            // All its samples are adds, and those stand in the bucket of the record and before; or in this draft.
            buckets.retain(|bucket| row.is_some_and(|row| *bucket <= row) || draft.id(*bucket, slot).is_some());
        }
        let index = self.index(cx);
        let mut total = Total { row, ..Total::NONE };
        for bucket in buckets.into_iter().rev() {
            self.search_bucket(&index, draft, (bucket, slot), labels, &mut total).await?;
            if total.is_found() {
                break;
            }
        }
        Ok(total)
    }

    async fn search_bucket(
        &self,
        index: &Index,
        draft: &Draft,
        (bucket, slot): (SegmentId, Slot),
        labels: &Labels,
        total: &mut Total,
    ) -> Result<()> {
        let found = match self.buckets.get(&bucket) {
            Some(loaded) => match loaded.bucket.id(slot) {
                Some(id) => Some((id, loaded.bucket.entry(id).map(|entry| entry.metric))),
                None => draft.id(bucket, slot).map(|id| (id, None)),
            },
            None => index.find(bucket, labels).await?.map(|(id, entry)| (id, Some(entry.metric))),
        };
        let Some((id, metric)) = found else { return Ok(()) };
        let mut recent = Columns::default();
        if let Some(head) = self.heads.get(&bucket) {
            head.collect(id, (i64::MIN, i64::MAX), None, &mut recent);
        }
        for rows in [self.group.rows.get(&bucket), draft.rows_of(bucket)].into_iter().flatten() {
            rows.collect(id, &mut recent);
        }
        recent.settle();
        for window in (0..=self.calendar.last_window()).rev() {
            let end_ms = self.calendar.window_end_ms(bucket, window);
            let start_ms = end_ms - self.calendar.window_ms();
            let mut samples = Columns::default();
            if let Some(metric) = metric
                && let Some(row) = index.chunks(bucket, metric, window, id).await?
            {
                let key = || self.keys.data(bucket, metric, window, id);
                chunk::decode_row(&row, &mut Scratch::default(), &mut samples).map_err(|error| at(&key(), error))?;
            }
            deletion::apply(
                self.deletions.get(&bucket).map_or(&[], |of_bucket| of_bucket.as_slice()),
                id,
                &mut samples,
            );
            let mut in_window = recent.clone();
            in_window.clip(0, start_ms, end_ms - 1);
            samples.extend(in_window.as_samples());
            samples.settle();
            total.time_ms = total.time_ms.max(samples.times.last().copied().unwrap_or(i64::MIN));
            for (at, (time_ms, value)) in samples.times.iter().zip(&samples.values).enumerate().rev() {
                let histogram = samples.as_samples().histogram(at).filter(|histogram| !histogram.is_stale());
                let is_number = !value.is_nan() && samples.as_samples().histogram(at).is_none();
                if histogram.is_some() || is_number {
                    (total.number_ms, total.value) = (*time_ms, *value);
                    total.is_histogram = histogram.is_some();
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
