//! Applying a prepared transaction, and ending a group of them.

use std::sync::Arc;

use bytes::Bytes;
use opendata_core::key::SegmentId;
use opendata_core::slate::ApplyContext;

use super::Writer;
use super::draft::Draft;
use super::rows::write_index;
use crate::config::is_rolled;
use crate::exemplar;
use crate::head::Slabs;
use crate::op::Receipt;
use crate::record::{self, Bucket, slab};

impl Writer {
    pub(super) fn apply_draft(&mut self, draft: Draft, cx: &mut ApplyContext<'_>) -> Receipt {
        self.begin_group(cx);
        self.account.pay(&self.config, cx.now().0, draft.never_seen);
        for (bucket, slot) in draft.new {
            self.create_bucket(bucket, cx);
            let Some(loaded) = self.buckets.get_mut(&bucket) else { continue };
            if let Some(labels) = self.dictionary.labels(slot) {
                let id = loaded.bucket.assign(slot, labels);
                if let Some(source) = &draft.source {
                    loaded.bucket.created_by(source, id);
                }
            }
        }
        for metric in draft.sampled {
            cx.put(self.keys.sampled(&metric), Bytes::from_static(&[1]));
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
        for (bucket, id, one) in draft.exemplars {
            self.group.exemplars.entry((bucket, id)).or_default().added.push(one);
        }
        for (metric, metadata) in draft.metadata {
            cx.put(self.keys.metadata(&metric), metadata.encode());
            self.metadata.insert(metric, metadata);
        }
        self.counters.applied(&draft.receipt);
        draft.receipt
    }

    /// The first transaction of a group gives its slabs their numbers. They follow from the position, so that a number
    /// is not used again when the slate is reopened with everything sealed.
    pub(super) fn begin_group(&mut self, cx: &ApplyContext<'_>) {
        if self.group.rows.is_empty() {
            self.group.first_slab = cx.last_position().next().0;
        }
    }

    fn create_bucket(&mut self, bucket: SegmentId, cx: &mut ApplyContext<'_>) {
        let (false, Err(at)) = (is_rolled(bucket), self.existing.binary_search(&bucket)) else { return };
        Arc::make_mut(&mut self.existing).insert(at, bucket);
        let record = Bucket { start_ms: self.calendar.start_ms(bucket), length_ms: self.config.bucket_ms };
        cx.put(self.keys.bucket(bucket), record.encode());
    }

    /// Writes the slabs of the group, and the index of the series that are new.
    pub(super) fn finish_group(&mut self, cx: &mut ApplyContext<'_>) {
        let written_ms = cx.now().0;
        let mut next = self.group.first_slab.max(self.last_slab + 1);
        for (bucket, rows) in &self.group.rows {
            let values = slab::encode(written_ms, rows);
            let count = values.len() as u64;
            if count == 0 {
                continue;
            }
            for (number, value) in (next..).zip(values) {
                cx.put(self.keys.slab(*bucket, number), value);
            }
            let slabs = Slabs { first: next, last: next + count - 1, count, oldest_ms: written_ms };
            self.group.slabs.insert(*bucket, slabs);
            next += count;
            self.last_slab = slabs.last;
        }
        for ((bucket, id), change) in std::mem::take(&mut self.group.exemplars) {
            write_exemplars(self.keys.exemplar(bucket, id), change, cx);
        }
        for (segment, loaded) in self.buckets.iter().filter(|(_, loaded)| !loaded.bucket.fresh.is_empty()) {
            write_index(self.keys, *segment, &loaded.bucket, cx);
        }
    }

    /// Makes what the group wrote part of what views see.
    pub(super) fn publish_group(&mut self) {
        let group = std::mem::take(&mut self.group);
        for (bucket, loaded) in &mut self.buckets {
            loaded.bucket.publish();
            if group.rows.contains_key(bucket) {
                loaded.used = self.groups;
            }
        }
        if group.rows.is_empty() {
            return;
        }
        let heads = Arc::make_mut(&mut self.heads);
        for (bucket, rows) in group.rows {
            if let Some(slabs) = group.slabs.get(&bucket) {
                let held = self.bench.held(bucket);
                Arc::make_mut(heads.entry(bucket).or_default()).push(rows, vec![*slabs], held);
            }
        }
    }
}

fn write_exemplars(key: Bytes, change: exemplar::Change, cx: &mut ApplyContext<'_>) {
    let added = (!change.added.is_empty()).then(|| exemplar::row(change.added));
    match (change.left, added) {
        (None, Some(added)) => cx.merge(key, added),
        (None, None) => {}
        (Some(left), added) => {
            // Merging what was just read and written cannot fail.
            let rows = left.iter().chain(&added).map(AsRef::as_ref);
            match exemplar::merge(rows) {
                Ok(row) if left.is_some() || added.is_some() => cx.put(key, row),
                _ => cx.delete(key),
            }
        }
    }
}
