//! Which series of a bucket satisfy a list of matchers.
//!
//! Matchers that name values outright come first: each is a union of posting lists. What is left is either tested on
//! the labels of the few candidates, or on the values of the label, whose keys stand in order so that a regular
//! expression reads only those that begin with its prefix. A condition that holds for a missing label takes away the
//! series whose value fails it, so that selectors of negative matchers alone work.

use futures::{StreamExt, TryStreamExt, stream};
use opendata_core::key::SegmentId;
use opendata_core::slate::Access;
use opendata_core::{Error, Result};
use roaring::RoaringBitmap;

use super::{Reader, corrupt_row};
use crate::key::{BLOCK_SERIES, Key};
use crate::matcher::Matcher;
use crate::record::forward::{self, Entry};
use crate::record::posting;

/// Below so many candidates it is cheaper to look at their labels than at all values of a label.
const FEW: u64 = 1024;
const ROWS_AT_ONCE: usize = 16;

impl Reader {
    /// The ids of the series that satisfy every matcher.
    pub(super) async fn ids(&self, bucket: SegmentId, matchers: &[Matcher]) -> Result<RoaringBitmap> {
        let (outright, others): (Vec<_>, Vec<_>) = matchers.iter().partition(|matcher| names_values(matcher));
        let mut found: Option<RoaringBitmap> = None;
        for matcher in outright {
            let having = self.union_of(bucket, matcher.name(), matcher.literals().unwrap_or_default()).await?;
            let left = found.map_or(having.clone(), |found| found & having);
            if left.is_empty() {
                return Ok(left);
            }
            found = Some(left);
        }
        let mut found = match found {
            Some(found) => found,
            None => (0..self.series_count(bucket).await?).collect(),
        };
        let mut others = others.as_slice();
        while let Some((matcher, rest)) = others.split_first() {
            if found.len() <= FEW {
                return self.test_labels(bucket, &found, others).await;
            }
            if matcher.matches_empty() {
                found -= self.failing(bucket, matcher).await?;
            } else {
                found &= self.passing(bucket, matcher).await?;
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
    async fn union_of(&self, bucket: SegmentId, name: &str, values: &[String]) -> Result<RoaringBitmap> {
        let postings: Vec<_> = values.iter().map(|value| self.index.posting(bucket, name, value)).collect();
        stream::iter(postings)
            .buffer_unordered(ROWS_AT_ONCE)
            .try_fold(RoaringBitmap::new(), async |all, one| Ok(all | one))
            .await
    }

    /// The series that have the label and whose value fails the matcher.
    async fn failing(&self, bucket: SegmentId, matcher: &Matcher) -> Result<RoaringBitmap> {
        if let (true, Some(values)) = (matcher.op().is_negative(), matcher.literals()) {
            return self.union_of(bucket, matcher.name(), values).await;
        }
        let prefix = if matcher.op().is_negative() { matcher.prefix() } else { "" };
        self.union_where(bucket, matcher.name(), prefix, |value| !matcher.matches(value)).await
    }

    /// The series that have the label and whose value passes the matcher.
    async fn passing(&self, bucket: SegmentId, matcher: &Matcher) -> Result<RoaringBitmap> {
        let prefix = if matcher.op().is_negative() { "" } else { matcher.prefix() };
        self.union_where(bucket, matcher.name(), prefix, |value| matcher.matches(value)).await
    }

    async fn union_where(
        &self,
        bucket: SegmentId,
        name: &str,
        prefix: &str,
        mut holds: impl FnMut(&str) -> bool + Send,
    ) -> Result<RoaringBitmap> {
        let mut union = RoaringBitmap::new();
        self.index
            .for_each(self.index.keys.postings(bucket, name, prefix), |key, ids| {
                if let Key::Posting { value, .. } = key
                    && holds(&value)
                {
                    union |= posting::decode(ids)?;
                }
                Ok(())
            })
            .await?;
        Ok(union)
    }

    /// All values of a label that begin with `prefix`, with the series that have them.
    pub(super) async fn postings(
        &self,
        bucket: SegmentId,
        name: &str,
        prefix: &str,
    ) -> Result<Vec<(String, RoaringBitmap)>> {
        let mut postings = Vec::new();
        self.index
            .for_each(self.index.keys.postings(bucket, name, prefix), |key, ids| {
                if let Key::Posting { value, .. } = key {
                    postings.push((value, posting::decode(ids)?));
                }
                Ok(())
            })
            .await?;
        Ok(postings)
    }

    /// How many series a bucket has; their ids are those below.
    pub(super) async fn series_count(&self, bucket: SegmentId) -> Result<u32> {
        match self.view.state().and_then(|state| state.series.get(&bucket)) {
            Some(series) => Ok(series.len()),
            None => self.index.count(bucket).await,
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
        if blocks.len() > ROWS_AT_ONCE && (span as usize) < 4 * blocks.len() {
            let mut range = self.index.keys.forwards(bucket);
            range = range.starting_at(self.index.keys.forward(bucket, blocks.first().copied().unwrap_or(0)));
            let mut rows = self.index.rows(range, Access::Bulk).await?;
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
fn names_values(matcher: &Matcher) -> bool {
    !matcher.op().is_negative() && !matcher.matches_empty() && matcher.literals().is_some()
}
