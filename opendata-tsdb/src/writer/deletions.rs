//! Deleting: what is in memory goes at once, what is stored is marked, and taken out of the chunks by maintenance.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use opendata_core::key::SegmentId;
use opendata_core::slate::{ApplyContext, PrepareContext};
use opendata_core::{Error, Result};
use roaring::RoaringBitmap;

use super::Writer;
use crate::exemplar;
use crate::index::Index;
use crate::key::{BLOCK_SERIES, Key};
use crate::matcher::Matcher;
use crate::op::{Clean, CleanEnd, Op, Receipt};
use crate::record::deletion::Deletion;
use crate::record::forward::Entry;

/// What is deleted in each bucket. The numbers are given when it is applied.
pub(super) struct Deleting(Vec<(SegmentId, Deletion, StoredExemplars)>);

/// The stored exemplars of series that are deleted from.
type StoredExemplars = Vec<(u32, Bytes)>;

/// From so many series on, all exemplars of a bucket are read instead of each series'.
const SCAN_FROM: u64 = 64;

impl Writer {
    pub(super) async fn check_delete(&mut self, op: Op, cx: &PrepareContext<'_>) -> Result<Deleting> {
        let alone = op.runs.is_empty() && op.exemplars.is_empty() && op.metadata.is_empty();
        if !alone {
            return Err(Error::invalid("an operation that deletes does nothing else"));
        }
        let mut deleting = Vec::new();
        for one in op.deletes {
            if one.matchers.is_empty() {
                return Err(Error::invalid("a deletion needs at least one matcher"));
            }
            if one.from_ms > one.to_ms {
                let (from, to) = (one.from_ms, one.to_ms);
                return Err(Error::invalid(format!("a deletion ends before it begins, from_ms={from}, to_ms={to}")));
            }
            let first = self.calendar.nearest_segment(one.from_ms).max(self.live);
            let last = self.calendar.nearest_segment(one.to_ms);
            let buckets: Vec<_> = self.existing.iter().copied().filter(|id| (first..=last).contains(id)).collect();
            for bucket in buckets {
                let ids = self.matching(bucket, &one.matchers, cx).await?;
                if !ids.is_empty() {
                    let exemplars = self.stored_exemplars(bucket, &ids, cx).await?;
                    let (from_ms, to_ms) = (one.from_ms, one.to_ms);
                    deleting.push((bucket, Deletion { slab: 0, from_ms, to_ms, next_series: 0, ids }, exemplars));
                }
            }
        }
        Ok(Deleting(deleting))
    }

    async fn stored_exemplars(
        &self,
        bucket: SegmentId,
        ids: &RoaringBitmap,
        cx: &PrepareContext<'_>,
    ) -> Result<StoredExemplars> {
        let mut stored = Vec::new();
        if ids.len() < SCAN_FROM {
            for id in ids {
                stored.extend(cx.view().get(&self.keys.exemplar(bucket, id)).await?.map(|row| (id, row)));
            }
            return Ok(stored);
        }
        self.index(cx)
            .for_each(self.keys.exemplars(bucket), |key, row| {
                if let Key::Exemplar { series, .. } = key
                    && ids.contains(series)
                {
                    stored.push((series, row.clone()));
                }
                Ok(())
            })
            .await?;
        Ok(stored)
    }

    /// The series of a bucket that satisfy every matcher, those of the group under way included.
    async fn matching(
        &self,
        bucket: SegmentId,
        matchers: &[Matcher],
        cx: &PrepareContext<'_>,
    ) -> Result<RoaringBitmap> {
        let holds = |entry: &Entry| {
            matchers.iter().all(|matcher| matcher.matches(entry.labels.get(matcher.name()).unwrap_or_default()))
        };
        if let Some(loaded) = self.buckets.get(&bucket) {
            let entries = (0..loaded.bucket.len()).filter_map(|id| Some((id, loaded.bucket.entry(id)?)));
            return Ok(entries.filter(|(_, entry)| holds(entry)).map(|(id, _)| id).collect());
        }
        // A bucket that is not in memory has no series of this group.
        let index = self.index(cx);
        let Some(candidates) = candidates(&index, bucket, matchers).await? else {
            let all = index.series(bucket).await?;
            return Ok((0u32..).zip(&all).filter(|(_, entry)| holds(entry)).map(|(id, _)| id).collect());
        };
        let mut blocks: Vec<u32> = candidates.iter().map(|id| id / BLOCK_SERIES).collect();
        blocks.dedup();
        let mut found = RoaringBitmap::new();
        for block in blocks {
            let entries = index.block(bucket, block).await?;
            found.extend(
                entries.iter().filter(|(id, entry)| candidates.contains(*id) && holds(entry)).map(|(id, _)| *id),
            );
        }
        Ok(found)
    }

    pub(super) fn apply_delete(&mut self, deleting: Deleting, cx: &mut ApplyContext<'_>) -> Receipt {
        let mut receipt = Receipt::default();
        for (bucket, mut deletion, exemplars) in deleting.0 {
            // Behind every slab there is, before those of what the group still brings.
            self.begin_group(cx);
            deletion.slab = self.group.first_slab.max(self.last_slab + 1);
            self.last_slab = deletion.slab;
            receipt.deleted_series += deletion.ids.len();
            if let Some(rows) = self.group.rows.get_mut(&bucket) {
                rows.remove(&deletion.ids, deletion.range());
            }
            if let Some(head) = Arc::make_mut(&mut self.heads).get_mut(&bucket) {
                Arc::make_mut(head).remove(&deletion.ids, deletion.range());
            }
            self.delete_exemplars(bucket, &deletion, exemplars);
            cx.put(self.keys.deletion(bucket, deletion.slab), deletion.encode());
            let deletions = Arc::make_mut(&mut self.deletions).entry(bucket).or_default();
            Arc::make_mut(deletions).push(deletion);
            // A cache, and which counters are touched is not worth finding out.
            self.totals.clear();
        }
        receipt
    }

    /// Exemplars have rows of their own and go at once.
    fn delete_exemplars(&mut self, bucket: SegmentId, deletion: &Deletion, stored: StoredExemplars) {
        for (id, row) in stored {
            let change = self.group.exemplars.entry((bucket, id)).or_default();
            let row = change.left.take().unwrap_or(Some(row));
            // A row that cannot be read is left to whoever reads it: the error names its key.
            let left = row.map(|row| exemplar::without(&row, deletion.range()).unwrap_or(Some(row)));
            change.left = Some(left.flatten());
        }
        for ((_, id), change) in self.group.exemplars.range_mut((bucket, 0)..=(bucket, u32::MAX)) {
            if deletion.ids.contains(*id) {
                change.added.retain(|one| !(deletion.from_ms..=deletion.to_ms).contains(&one.at.0));
            }
        }
    }

    pub(super) fn check_clean(&self, clean: Clean) -> Result<Clean> {
        let first = self.deletions.get(&clean.bucket).and_then(|deletions| deletions.first());
        let stands = first.is_some_and(|first| first.slab == clean.slab && first.next_series == clean.from);
        if !stands || self.edits.of_bucket(clean.bucket) != clean.edits || clean.bucket < self.live {
            return Err(Error::conflict(format!("the bucket was changed meanwhile, bucket={}", clean.bucket.0)));
        }
        Ok(clean)
    }

    pub(super) fn apply_clean(&mut self, clean: Clean, cx: &mut ApplyContext<'_>) {
        let keys: Vec<Bytes> = clean.rows.iter().map(|(key, _)| key.clone()).collect();
        Arc::make_mut(&mut self.edits).change(keys.iter());
        self.make_due(clean.bucket, &keys, cx);
        for (key, left) in clean.rows {
            match left {
                Some(row) => cx.put(key, row),
                None => cx.delete(key),
            }
        }
        let deletions = Arc::make_mut(&mut self.deletions);
        let Some(of_bucket) = deletions.get_mut(&clean.bucket) else { return };
        let key = self.keys.deletion(clean.bucket, clean.slab);
        match clean.end {
            CleanEnd::Next(next_series) => {
                if let Some(first) = Arc::make_mut(of_bucket).first_mut() {
                    first.next_series = next_series;
                    cx.put(key, first.encode());
                }
            }
            CleanEnd::Done => {
                Arc::make_mut(of_bucket).retain(|deletion| deletion.slab != clean.slab);
                if of_bucket.is_empty() {
                    deletions.remove(&clean.bucket);
                }
                cx.delete(key);
            }
        }
    }
}

/// The series that the matchers that name values outright leave; none if there is no such matcher.
async fn candidates(index: &Index, bucket: SegmentId, matchers: &[Matcher]) -> Result<Option<RoaringBitmap>> {
    let mut left: Option<RoaringBitmap> = None;
    for matcher in matchers.iter().filter(|matcher| !matcher.op().is_negative() && !matcher.matches_empty()) {
        let Some(values) = matcher.literals() else { continue };
        let postings = values.iter().map(|value| index.posting(bucket, matcher.name(), value));
        let having = try_join_all(postings).await?.into_iter().fold(RoaringBitmap::new(), |all, one| all | one);
        left = Some(left.map_or(having.clone(), |left| left & having));
    }
    Ok(left)
}
