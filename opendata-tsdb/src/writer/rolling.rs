//! Writing rollups, and remembering which series of which bucket need theirs made again.

use std::sync::Arc;

use bytes::Bytes;
use opendata_core::key::SegmentId;
use opendata_core::slate::{ApplyContext, PrepareContext};
use opendata_core::{Error, Result};
use roaring::RoaringBitmap;

use super::Writer;
use super::draft::Draft;
use crate::dictionary::Slot;
use crate::key::Key;
use crate::op::{Forget, Roll, RolledRows};
use crate::record::posting;

/// Checked rollups of some series of a bucket.
pub(super) struct Rolling {
    bucket: SegmentId,
    done: RoaringBitmap,
    draft: Box<Draft>,
    rows: Vec<(Slot, RolledRows)>,
}

impl Writer {
    /// Notes that samples of these series of a bucket have changed in its chunks.
    pub(super) fn make_due(&mut self, bucket: SegmentId, rows: &[Bytes], cx: &mut ApplyContext<'_>) {
        if self.config.rollups.is_empty() || rows.is_empty() {
            return;
        }
        let id = |key: &Bytes| match Key::decode(key) {
            Ok(Key::Data { series, .. }) => Some(series),
            _ => None,
        };
        let ids: RoaringBitmap = rows.iter().filter_map(id).collect();
        let due = Arc::make_mut(&mut self.due).entry(bucket).or_default();
        *due |= ids;
        cx.put(self.keys.due(bucket), posting::encode(due));
    }

    pub(super) async fn check_roll(&mut self, roll: Roll, cx: &PrepareContext<'_>) -> Result<Rolling> {
        let due = self.due.get(&roll.bucket).is_some_and(|due| roll.done.is_subset(due));
        if !due || self.edits.of_bucket(roll.bucket) != roll.edits || roll.bucket < self.live {
            return Err(Error::conflict(format!("the bucket was changed meanwhile, bucket={}", roll.bucket.0)));
        }
        let (segment, _) = self.calendar.rolled(roll.bucket);
        self.load(segment, cx).await?;
        let mut draft = Box::new(Draft::in_bucket(segment));
        let mut rows = Vec::with_capacity(roll.series.len());
        for series in roll.series {
            let slot = self.dictionary.intern(&series.labels);
            let is_known = self.buckets.get(&segment).is_some_and(|loaded| loaded.bucket.contains(slot));
            let has_points = series.rows.iter().any(|(_, row)| row.is_some());
            if !is_known && has_points {
                self.reserve(&mut draft, slot);
            }
            if is_known || has_points {
                rows.push((slot, series.rows));
            }
        }
        Ok(Rolling { bucket: roll.bucket, done: roll.done, draft, rows })
    }

    pub(super) fn apply_roll(&mut self, rolling: Rolling, cx: &mut ApplyContext<'_>) {
        let (segment, window) = self.calendar.rolled(rolling.bucket);
        self.apply_draft(*rolling.draft, cx);
        if let Err(at) = self.rolled.binary_search(&segment) {
            Arc::make_mut(&mut self.rolled).insert(at, segment);
            cx.put(self.keys.rolled(segment), Bytes::from_static(&[1]));
        }
        if let Some(loaded) = self.buckets.get(&segment) {
            for (slot, rows) in rolling.rows {
                let entry = loaded.bucket.id(slot).and_then(|id| Some((id, loaded.bucket.entry(id)?.metric)));
                let Some((id, metric)) = entry else { continue };
                for (resolution, row) in rows {
                    let key = self.keys.rollup(segment, resolution, metric, window, id);
                    match row {
                        Some(row) => cx.put(key, row),
                        None => cx.delete(key),
                    }
                }
            }
        }
        let key = self.keys.due(rolling.bucket);
        let all = Arc::make_mut(&mut self.due);
        let Some(due) = all.get_mut(&rolling.bucket) else { return };
        *due -= &rolling.done;
        if due.is_empty() {
            all.remove(&rolling.bucket);
            cx.delete(key);
        } else {
            cx.put(key, posting::encode(due));
        }
    }

    pub(super) fn check_forget(&self, forget: Forget) -> Result<Forget> {
        if self.rolled.binary_search(&forget.segment).is_err() {
            return Err(Error::conflict(format!("the rollups are gone already, segment={}", forget.segment.0)));
        }
        Ok(forget)
    }

    pub(super) fn apply_forget(&mut self, forget: Forget, cx: &mut ApplyContext<'_>) {
        for key in forget.keys {
            cx.delete(key);
        }
        if forget.is_last {
            cx.delete(self.keys.rolled(forget.segment));
            Arc::make_mut(&mut self.rolled).retain(|segment| *segment != forget.segment);
            self.buckets.remove(&forget.segment);
        }
    }
}
