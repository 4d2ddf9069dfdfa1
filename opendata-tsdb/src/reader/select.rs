//! Which series of a bucket satisfy a list of matchers.
//!
//! Matchers that name values outright come first: each is a union of posting lists. What is left is either tested on
//! the labels of the few candidates, or on the values of the label, whose keys stand in order so that a regular
//! expression reads only those that begin with its prefix. A condition that holds for a missing label takes away the
//! series whose value fails it, so that selectors of negative matchers alone work.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use opendata_core::key::SegmentId;
use opendata_core::slate::Access;
use opendata_core::{Error, Result};
use roaring::RoaringBitmap;

use super::cache::{Selection, Stamped, Values};
use super::{Reader, corrupt_row};
use crate::key::{BLOCK_SERIES, Key};
use crate::matcher::Matcher;
use crate::record::forward::{self, Entry};
use crate::record::posting;

/// Below so many candidates it is cheaper to look at their labels than at all values of a label.
const FEW: u64 = 1024;
const ROWS_AT_ONCE: usize = 16;
/// More blocks than that are scanned, where they stand close together.
const BLOCKS_BY_KEY: usize = 2;

impl Reader {
    /// The series that satisfy every matcher. The same question is answered from memory until the bucket gets a series.
    /// The range is that of the samples that will be read of them.
    pub(super) async fn selection(
        &self,
        bucket: SegmentId,
        matchers: &[Matcher],
        range: (i64, i64),
    ) -> Result<Arc<Selection>> {
        let key = (bucket, Arc::from(matchers));
        let count = match self.cache.selections.get(&key) {
            Some(_) => self.series_count(bucket).await?,
            None => futures::join!(self.series_count(bucket), self.postings_ahead(bucket, matchers)).0?,
        };
        if let Some(known) = self.cache.selections.get(&key).filter(|known| known.series == count) {
            return Ok(known.what);
        }
        let ids = self.ids(bucket, matchers).await?;
        let ahead = self.windows_ahead(bucket, matchers, &ids, range);
        let (entries, ()) = futures::join!(self.entries(bucket, &ids), ahead);
        let selection = Arc::new(Selection::of(entries?));
        let stamped = Stamped { series: count, bytes: selection.bytes(), what: Arc::clone(&selection) };
        self.cache.selections.put(key, stamped);
        Ok(selection)
    }

    /// The ids of the series that satisfy every matcher.
    pub(super) async fn ids(&self, bucket: SegmentId, matchers: &[Matcher]) -> Result<RoaringBitmap> {
        let count = self.series_count(bucket).await?;
        let (outright, others): (Vec<_>, Vec<_>) = matchers.iter().partition(|matcher| names_values(matcher));
        let reads = outright
            .iter()
            .map(|matcher| self.union_of(bucket, matcher.name(), matcher.literals().unwrap_or_default(), count));
        // Read side by side, and met smallest first.
        let mut postings = futures::future::try_join_all(reads).await?;
        postings.sort_unstable_by_key(RoaringBitmap::len);
        let mut found = match postings.into_iter().reduce(|all, one| all & one) {
            Some(found) => found,
            None => RoaringBitmap::from_iter(0..count),
        };
        let mut others = others.as_slice();
        while let Some((matcher, rest)) = others.split_first() {
            if found.len() <= FEW {
                return self.test_labels(bucket, &found, others).await;
            }
            if matcher.matches_empty() {
                found -= self.failing(bucket, matcher, count).await?;
            } else {
                found &= self.passing(bucket, matcher, count).await?;
            }
            others = rest;
        }
        Ok(found)
    }

    async fn test_labels(
        &self,
        bucket: SegmentId,
        candidates: &RoaringBitmap,
        matchers: &[&Matcher],
    ) -> Result<RoaringBitmap> {
        let entries = self.entries(bucket, candidates).await?;
        let passes = |entry: &Entry| {
            matchers.iter().all(|matcher| matcher.matches(entry.labels.get(matcher.name()).unwrap_or_default()))
        };
        Ok(entries.iter().filter(|(_, entry)| passes(entry)).map(|(id, _)| *id).collect())
    }

    /// The series with one of these values.
    async fn union_of(&self, bucket: SegmentId, name: &str, values: &[String], count: u32) -> Result<RoaringBitmap> {
        if let [value] = values {
            return Ok(self.posting(bucket, name, value, count).await?.as_ref().clone());
        }
        let postings: Vec<_> = values.iter().map(|value| self.posting(bucket, name, value, count)).collect();
        stream::iter(postings)
            .buffer_unordered(ROWS_AT_ONCE)
            .try_fold(RoaringBitmap::new(), async |all, one| Ok(all | one.as_ref()))
            .await
    }

    /// The series with one value, of the first `count` of the bucket.
    async fn posting(&self, bucket: SegmentId, name: &str, value: &str, count: u32) -> Result<Arc<RoaringBitmap>> {
        let key = (bucket, Arc::from(name), Arc::from(value));
        if let Some(known) = self.cache.postings.get(&key).filter(|known| known.series >= count) {
            return Ok(first_of(known, count));
        }
        let ids = Arc::new(self.index.posting(bucket, name, value).await?);
        let bytes = ids.serialized_size() as u64;
        self.cache.postings.put(key, Stamped { series: count, bytes, what: Arc::clone(&ids) });
        Ok(ids)
    }

    /// The series that have the label and whose value fails the matcher.
    async fn failing(&self, bucket: SegmentId, matcher: &Matcher, count: u32) -> Result<RoaringBitmap> {
        if let (true, Some(values)) = (matcher.op().is_negative(), matcher.literals()) {
            return self.union_of(bucket, matcher.name(), values, count).await;
        }
        let prefix = if matcher.op().is_negative() { matcher.prefix() } else { "" };
        self.union_where(bucket, matcher.name(), prefix, count, |value| !matcher.matches(value)).await
    }

    /// The series that have the label and whose value passes the matcher.
    async fn passing(&self, bucket: SegmentId, matcher: &Matcher, count: u32) -> Result<RoaringBitmap> {
        let prefix = if matcher.op().is_negative() { "" } else { matcher.prefix() };
        self.union_where(bucket, matcher.name(), prefix, count, |value| matcher.matches(value)).await
    }

    async fn union_where(
        &self,
        bucket: SegmentId,
        name: &str,
        prefix: &str,
        count: u32,
        holds: impl Fn(&str) -> bool + Send,
    ) -> Result<RoaringBitmap> {
        let all = self.values(bucket, name, prefix, count).await?;
        let from = all.partition_point(|(value, _)| value.as_ref() < prefix);
        let beginning = all.get(from..).unwrap_or_default().iter().take_while(|(value, _)| value.starts_with(prefix));
        let mut union = RoaringBitmap::new();
        for (_, ids) in beginning.filter(|(value, _)| holds(value)) {
            union |= ids;
        }
        // What was read when there were more series names some that this view does not have.
        union.remove_range(count..);
        Ok(union)
    }

    /// At least the values of a label that begin with `prefix`, in order, with the series that have them: maybe of
    /// more series than the first `count`.
    pub(super) async fn values(&self, bucket: SegmentId, name: &str, prefix: &str, count: u32) -> Result<Arc<Values>> {
        let key = (bucket, Arc::from(name));
        if let Some(known) = self.cache.values.get(&key).filter(|known| known.series >= count) {
            return Ok(known.what);
        }
        let (mut values, mut bytes) = (Vec::new(), 0);
        self.index
            .for_each(self.index.keys.postings(bucket, name, prefix), |key, ids| {
                if let Key::Posting { value, .. } = key {
                    bytes += 64 + value.len() as u64 + ids.len() as u64;
                    values.push((Arc::from(value), posting::decode(ids)?));
                }
                Ok(())
            })
            .await?;
        let values = Arc::new(values);
        if prefix.is_empty() {
            self.cache.values.put(key, Stamped { series: count, bytes, what: Arc::clone(&values) });
        }
        Ok(values)
    }

    /// How many series a bucket has; their ids are those below.
    pub(super) async fn series_count(&self, bucket: SegmentId) -> Result<u32> {
        match self.view.state().and_then(|state| state.series.get(&bucket)) {
            Some(series) => Ok(series.len()),
            None => self.stored_count(bucket).await,
        }
    }

    /// Series by their ids, in order.
    pub(super) async fn entries(&self, bucket: SegmentId, ids: &RoaringBitmap) -> Result<Vec<(u32, Entry)>> {
        let missing = |id| Error::corrupt(format!("a posting list names a series that is not there, id={id}"));
        if let Some(series) = self.view.state().and_then(|state| state.series.get(&bucket)) {
            return ids.iter().map(|id| Ok((id, series.get(id).ok_or_else(|| missing(id))?.clone()))).collect();
        }
        let mut blocks: Vec<u32> = ids.iter().map(|id| id / BLOCK_SERIES).collect();
        blocks.dedup();
        let mut entries = Vec::new();
        let span = blocks.last().zip(blocks.first()).map_or(0, |(last, first)| last - first + 1);
        if blocks.len() > BLOCKS_BY_KEY && (span as usize) < 4 * blocks.len() {
            let mut range = self.index.keys.forwards(bucket);
            range = range.starting_at(self.index.keys.forward(bucket, blocks.first().copied().unwrap_or(0)));
            let mut rows = self.index.rows(range, Access::Warm).await?;
            while let Some(row) = rows.next().await? {
                let Key::Forward { block, .. } = Key::decode(&row.key)? else { break };
                if blocks.last().is_some_and(|last| block > *last) {
                    break;
                }
                entries.extend(forward::decode(block, &row.value).map_err(corrupt_row(&row.key))?);
            }
        } else {
            let reads: Vec<_> = blocks.into_iter().map(|block| self.index.block(bucket, block)).collect();
            let mut reads = stream::iter(reads).buffered(ROWS_AT_ONCE);
            while let Some(block) = reads.try_next().await? {
                entries.extend(block);
            }
        }
        entries.retain(|(id, _)| ids.contains(*id));
        match u64::try_from(entries.len()) == Ok(ids.len()) {
            true => Ok(entries),
            false => Err(missing(ids.max().unwrap_or(0))),
        }
    }
}

/// Whether the matcher holds exactly for a list of values, none of them empty.
pub(super) fn names_values(matcher: &Matcher) -> bool {
    !matcher.op().is_negative() && !matcher.matches_empty() && matcher.literals().is_some()
}

/// The ids below `count`.
fn first_of(known: Stamped<RoaringBitmap>, count: u32) -> Arc<RoaringBitmap> {
    if known.series == count {
        return known.what;
    }
    let mut ids = known.what.as_ref().clone();
    ids.remove_range(count..);
    Arc::new(ids)
}
