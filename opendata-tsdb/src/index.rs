//! Reads what a bucket's index and control records say, from anything that can read rows.
//!
//! The writer reads the slate as it was before its group, a reader reads its view: [`Rows`](RowSource) is what both
//! have in common.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use opendata_core::key::{KeyRange, SegmentId};
use opendata_core::slate::{Access, Order, View};
use opendata_core::{Error, Result};
use roaring::RoaringBitmap;

use crate::chunk::Scratch;
use crate::head::{Head, Slabs};
use crate::key::{BLOCK_SERIES, Key, Keys};
use crate::labels::Labels;
use crate::record::deletion::{Deletion, Deletions};
use crate::record::forward::{self, Entry};
use crate::record::slab::Rows;
use crate::record::{self, Sealing, posting, slab};

/// One instance's rows at one view.
#[derive(Clone)]
pub(crate) struct Index {
    pub(crate) view: View,
    pub(crate) keys: Keys,
}

impl Index {
    pub(crate) async fn rows(&self, range: KeyRange, access: Access) -> Result<opendata_core::slate::Rows> {
        self.view.scan(range, access, Order::Ascending).await
    }

    /// Calls `each` for every row of a range.
    pub(crate) async fn for_each(
        &self,
        range: KeyRange,
        mut each: impl FnMut(Key, &Bytes) -> Result<()> + Send,
    ) -> Result<()> {
        let mut rows = self.rows(range, Access::Bulk).await?;
        while let Some(row) = rows.next().await? {
            each(Key::decode(&row.key)?, &row.value).map_err(|error| at(&row.key, error))?;
        }
        Ok(())
    }

    /// All buckets, ascending.
    pub(crate) async fn buckets(&self) -> Result<Vec<SegmentId>> {
        let mut buckets = Vec::new();
        self.for_each(self.keys.buckets(), |key, _| {
            if let Key::Bucket { bucket } = key {
                buckets.push(bucket);
            }
            Ok(())
        })
        .await?;
        Ok(buckets)
    }

    /// The first bucket that retention has left.
    pub(crate) async fn live(&self) -> Result<SegmentId> {
        let key = self.keys.live();
        match self.view.get(&key).await? {
            Some(value) => record::decode_segment(&value).map_err(|error| at(&key, error)),
            None => Ok(SegmentId::FIRST_DATA),
        }
    }

    /// How far the sealing of buckets has come, where one is under way.
    pub(crate) async fn sealings(&self) -> Result<Vec<(SegmentId, Sealing)>> {
        let mut sealings = Vec::new();
        self.for_each(self.keys.sealings(), |key, value| {
            if let Key::Sealing { bucket } = key {
                sealings.push((bucket, Sealing::decode(value)?));
            }
            Ok(())
        })
        .await?;
        Ok(sealings)
    }

    /// The deletions that are not carried out yet.
    pub(crate) async fn deletions(&self) -> Result<Deletions> {
        let mut deletions = Deletions::new();
        self.for_each(self.keys.deletions(), |key, value| {
            if let Key::Deletion { bucket, slab } = key {
                let of_bucket = deletions.entry(bucket).or_default();
                Arc::make_mut(of_bucket).push(Deletion::decode(slab, value)?);
            }
            Ok(())
        })
        .await?;
        Ok(deletions)
    }

    /// The series of each bucket whose rollups are to be made.
    pub(crate) async fn due(&self) -> Result<BTreeMap<SegmentId, RoaringBitmap>> {
        let mut due = BTreeMap::new();
        self.for_each(self.keys.all_due(), |key, value| {
            if let Key::Due { bucket } = key {
                due.insert(bucket, posting::decode(value)?);
            }
            Ok(())
        })
        .await?;
        Ok(due)
    }

    /// The segments that hold rollups, ascending.
    pub(crate) async fn rolled(&self) -> Result<Vec<SegmentId>> {
        let mut rolled = Vec::new();
        self.for_each(self.keys.all_rolled(), |key, _| {
            if let Key::Rolled { segment } = key {
                rolled.push(segment);
            }
            Ok(())
        })
        .await?;
        Ok(rolled)
    }

    /// The heads that the slabs of a range hold, by bucket, without what was deleted.
    pub(crate) async fn heads(&self, range: KeyRange, deletions: &Deletions) -> Result<Vec<(SegmentId, Head)>> {
        let mut heads = Vec::new();
        let mut open: Option<Loading> = None;
        let mut scratch = Scratch::default();
        self.for_each(range, |key, value| {
            let Key::Slab { bucket, slab } = key else { return Ok(()) };
            if open.as_ref().is_none_or(|loading| loading.bucket != bucket) {
                heads.extend(open.take().map(Loading::finish));
            }
            let loading = open.get_or_insert_with(|| Loading::new(bucket, deletions));
            loading.delete_before(slab);
            let head = slab::decode_into(value, &mut scratch, &mut loading.rows)?;
            loading.add(slab, head.written_ms);
            Ok(())
        })
        .await?;
        heads.extend(open.map(Loading::finish));
        Ok(heads)
    }

    /// The unsealed samples of one bucket.
    pub(crate) async fn head(&self, bucket: SegmentId, deletions: &Deletions) -> Result<Head> {
        let mut heads = self.heads(self.keys.slabs_of(bucket), deletions).await?;
        Ok(heads.pop().map(|(_, head)| head).unwrap_or_default())
    }

    /// All series of a bucket, in the order of their ids.
    pub(crate) async fn series(&self, bucket: SegmentId) -> Result<Vec<Entry>> {
        let mut series = Vec::new();
        self.for_each(self.keys.forwards(bucket), |key, value| {
            let Key::Forward { block, .. } = key else { return Ok(()) };
            for (id, entry) in forward::decode(block, value)? {
                // Ids are dense: a gap would give an id to two series.
                if id as usize != series.len() {
                    return Err(Error::corrupt(format!("series are missing before id {id}")));
                }
                series.push(entry);
            }
            Ok(())
        })
        .await?;
        Ok(series)
    }

    /// How many series a bucket has.
    pub(crate) async fn count(&self, bucket: SegmentId) -> Result<u32> {
        let mut rows = self.view.scan(self.keys.forwards(bucket), Access::Point, Order::Descending).await?;
        let Some(row) = rows.next().await? else { return Ok(0) };
        let Key::Forward { block, .. } = Key::decode(&row.key)? else { return Ok(0) };
        let series = forward::decode(block, &row.value).map_err(|error| at(&row.key, error))?;
        Ok(series.last().map_or(0, |(id, _)| id.saturating_add(1)))
    }

    /// The series in one block.
    pub(crate) async fn block(&self, bucket: SegmentId, block: u32) -> Result<Vec<(u32, Entry)>> {
        let key = self.keys.forward(bucket, block);
        match self.view.get(&key).await? {
            Some(value) => forward::decode(block, &value).map_err(|error| at(&key, error)),
            None => Ok(Vec::new()),
        }
    }

    /// The series that carry a label.
    pub(crate) async fn posting(&self, bucket: SegmentId, name: &str, value: &str) -> Result<RoaringBitmap> {
        let key = self.keys.posting(bucket, name, value);
        match self.view.get(&key).await? {
            Some(value) => posting::decode(&value).map_err(|error| at(&key, error)),
            None => Ok(RoaringBitmap::new()),
        }
    }

    /// One series of a bucket, by all its labels.
    pub(crate) async fn find(&self, bucket: SegmentId, labels: &Labels) -> Result<Option<(u32, Entry)>> {
        let postings = labels.iter().map(|label| self.posting(bucket, label.name(), label.value()));
        let candidates = match try_join_all(postings).await?.into_iter().reduce(|all, one| all & one) {
            Some(candidates) => candidates,
            None => (0..self.count(bucket).await?).collect(),
        };
        for id in candidates {
            let block = self.block(bucket, id / BLOCK_SERIES).await?;
            let found = block.into_iter().find(|(other, entry)| *other == id && entry.labels == *labels);
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The chunks of one series in one window.
    pub(crate) async fn chunks(
        &self,
        bucket: SegmentId,
        metric: u32,
        window: u8,
        series: u32,
    ) -> Result<Option<Bytes>> {
        self.view.get(&self.keys.data(bucket, metric, window, series)).await
    }
}

/// Says at which key corrupt bytes were found.
pub(crate) fn at(key: &[u8], error: Error) -> Error {
    error.context(format_args!("record at key {}", opendata_core::Hex(key)))
}

struct Loading {
    bucket: SegmentId,
    rows: Rows,
    head: Head,
    /// Stretches of numbers without a gap.
    slabs: Vec<Slabs>,
    /// The deletions that lie before the slabs still to come.
    deletions: std::collections::VecDeque<Deletion>,
}

/// Slabs are turned into blocks in pieces of this many samples.
const PIECE: usize = 1 << 20;

impl Loading {
    fn new(bucket: SegmentId, deletions: &Deletions) -> Self {
        let deletions = deletions.get(&bucket).into_iter().flat_map(|of_bucket| of_bucket.iter().cloned()).collect();
        Self { bucket, rows: Rows::default(), head: Head::default(), slabs: Vec::new(), deletions }
    }

    /// Carries out the deletions that were committed before a slab.
    fn delete_before(&mut self, slab: u64) {
        while let Some(deletion) = self.deletions.pop_front_if(|deletion| deletion.slab <= slab) {
            self.settle();
            self.head.remove(&deletion.ids, deletion.range());
        }
    }

    fn add(&mut self, slab: u64, written_ms: i64) {
        match self.slabs.last_mut() {
            Some(slabs) if slabs.last + 1 == slab => {
                slabs.last = slab;
                slabs.count += 1;
            }
            _ => self.slabs.push(Slabs { first: slab, last: slab, count: 1, oldest_ms: written_ms }),
        }
        if self.rows.len() >= PIECE {
            self.settle();
        }
    }

    fn settle(&mut self) {
        if !self.slabs.is_empty() {
            self.head.push(std::mem::take(&mut self.rows), std::mem::take(&mut self.slabs), None);
        }
    }

    fn finish(mut self) -> (SegmentId, Head) {
        self.delete_before(u64::MAX);
        self.settle();
        (self.bucket, self.head)
    }
}
