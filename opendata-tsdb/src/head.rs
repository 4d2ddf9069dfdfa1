//! The head: samples that were committed and are not sealed yet, in memory, by bucket and series.
//!
//! A head is a short list of immutable [`Block`]s, oldest first. Each group of commits adds one; eight of about the
//! same size are merged into one, so that the list stays short and a sample is moved a few times at most. Heads are
//! shared with views: whoever holds one sees exactly what it held when the view was published.

use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::columns::{Columns, Samples};
use crate::record::slab::Rows;

/// Samples by series: for each id a run that is in strictly ascending time order.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Block {
    ids: Vec<u32>,
    /// Where each run begins; one more than ids.
    starts: Vec<u32>,
    samples: Columns,
    /// The first and the last time of any sample.
    bounds: (i64, i64),
}

impl Block {
    /// Sorts rows, which stand in the order they were applied, by series and time.
    pub(crate) fn of(rows: Rows) -> Self {
        if rows.ids.is_sorted_by(|a, b| a < b) {
            let starts = (0..=u32::try_from(rows.len()).unwrap_or(u32::MAX)).collect();
            return Self::with(rows.ids, starts, rows.samples);
        }
        let places = || rows.ids.iter().zip(&rows.samples.times);
        if places().is_sorted_by(|a, b| a < b) {
            // Several samples a series, one series after the other.
            let mut starts: Vec<u32> = Vec::new();
            let mut ids: Vec<u32> = Vec::new();
            for (at, id) in (0..).zip(&rows.ids) {
                if ids.last() != Some(id) {
                    ids.push(*id);
                    starts.push(at);
                }
            }
            starts.push(u32::try_from(rows.len()).unwrap_or(u32::MAX));
            return Self::with(ids, starts, rows.samples);
        }
        let keys = rows.ids.iter().zip(&rows.samples.times).zip(0u32..);
        let mut order: Vec<(u32, i64, u32)> = keys.map(|((id, time), at)| (*id, *time, at)).collect();
        // Places are distinct: of equal times the last one applied stands last, and is the one that is kept.
        order.sort();
        let is_last = |one: &(u32, i64, u32), next: Option<&(u32, i64, u32)>| {
            next.is_none_or(|next| (next.0, next.1) != (one.0, one.1))
        };
        let mut samples = rows.samples;
        samples.gather(&order, |one, next| (one.2, is_last(one, next)));
        let (mut ids, mut starts) = (Vec::new(), Vec::new());
        let kept = order.iter().enumerate().filter(|(at, one)| is_last(one, order.get(at + 1))).map(|(_, one)| one.0);
        for (at, id) in (0u32..).zip(kept) {
            if ids.last() != Some(&id) {
                ids.push(id);
                starts.push(at);
            }
        }
        starts.push(u32::try_from(samples.len()).unwrap_or(u32::MAX));
        Self::with(ids, starts, samples)
    }

    fn with(ids: Vec<u32>, starts: Vec<u32>, samples: Columns) -> Self {
        let widen = |(first, last): (i64, i64), time: &i64| (first.min(*time), last.max(*time));
        let bounds = samples.times.iter().fold((i64::MAX, i64::MIN), widen);
        Self { ids, starts, samples, bounds }
    }

    /// Whether any of its samples may lie in a range of times.
    fn touches(&self, (start_ms, end_ms): (i64, i64)) -> bool {
        self.bounds.0 <= end_ms && start_ms <= self.bounds.1
    }

    /// Merges blocks, oldest first.
    pub(crate) fn merge(blocks: &[Arc<Self>]) -> Self {
        let mut ids: Vec<u32> = blocks.iter().flat_map(|block| block.ids.iter().copied()).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut builder = Builder::default();
        let mut places = vec![0usize; blocks.len()];
        let mut run = Columns::default();
        for id in ids {
            run.clear();
            for (block, place) in blocks.iter().zip(&mut places) {
                if block.ids.get(*place) == Some(&id) {
                    run.extend(block.run(*place));
                    *place += 1;
                }
            }
            run.settle();
            builder.push(id, &run);
        }
        builder.finish()
    }

    fn run(&self, place: usize) -> Samples<'_> {
        let bound = |place: usize| self.starts.get(place).map_or(0, |start| *start as usize);
        self.samples.as_samples().range(bound(place)..bound(place + 1))
    }

    /// The same without the samples of these series in a range of times; none if it holds no such sample.
    fn without(&self, ids: &RoaringBitmap, range: (i64, i64)) -> Option<Self> {
        let hit = |(id, run): (u32, Samples<'_>)| ids.contains(id) && !run.within(range).is_empty();
        if !self.series_from(0).any(hit) {
            return None;
        }
        let mut builder = Builder::default();
        for (id, run) in self.series_from(0) {
            let mut left = Columns::default();
            left.extend(run);
            if ids.contains(id) {
                left.remove(range);
            }
            if !left.is_empty() {
                builder.push(id, &left);
            }
        }
        Some(builder.finish())
    }

    fn place(&self, id: u32) -> Option<usize> {
        let first = *self.ids.first()?;
        // Most blocks hold every series of a range: then the place follows from the id.
        let guess = id.checked_sub(first)? as usize;
        if self.ids.get(guess) == Some(&id) {
            return Some(guess);
        }
        self.ids.binary_search(&id).ok()
    }

    /// The samples of a series, in time order.
    pub(crate) fn get(&self, id: u32) -> Option<Samples<'_>> {
        self.place(id).map(|place| self.run(place))
    }

    /// All series with their samples, from an id on.
    pub(crate) fn series_from(&self, id: u32) -> impl Iterator<Item = (u32, Samples<'_>)> {
        let begin = self.ids.partition_point(|other| *other < id);
        self.ids.iter().enumerate().skip(begin).map(|(place, id)| (*id, self.run(place)))
    }

    pub(crate) fn len(&self) -> usize {
        self.samples.len()
    }
}

#[derive(Default)]
struct Builder(Block);

impl Builder {
    fn push(&mut self, id: u32, run: &Columns) {
        self.0.ids.push(id);
        self.0.starts.push(u32::try_from(self.0.samples.len()).unwrap_or(u32::MAX));
        self.0.samples.extend(run.as_samples());
    }

    fn finish(mut self) -> Block {
        self.0.starts.push(u32::try_from(self.0.samples.len()).unwrap_or(u32::MAX));
        Block::with(self.0.ids, self.0.starts, self.0.samples)
    }
}

/// How many blocks of one size are merged at a time.
const FAN_IN: usize = 8;
/// Blocks of this many samples are not merged any more.
const LARGEST_MERGED: usize = 1 << 21;

/// The unsealed samples of a bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Head {
    blocks: Vec<Arc<Block>>,
    /// The slabs they came from.
    pub(crate) slabs: Option<Slabs>,
    /// How many samples the slabs hold, those that were overwritten included.
    pub(crate) samples: u64,
}

/// The slabs of a bucket that are not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slabs {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) count: u64,
    /// When the first of them was written.
    pub(crate) oldest_ms: i64,
}

impl Head {
    /// Adds the samples of slabs that were written after all the others.
    pub(crate) fn push(&mut self, rows: Rows, slabs: Slabs) {
        self.samples += rows.len() as u64;
        self.slabs = Some(match self.slabs {
            None => slabs,
            Some(old) => Slabs { last: slabs.last, count: old.count + slabs.count, ..old },
        });
        if !rows.is_empty() {
            self.blocks.push(Arc::new(Block::of(rows)));
            self.compact();
        }
    }

    fn compact(&mut self) {
        let tier = |block: &Arc<Block>| block.len().max(1).ilog2() / 3;
        while let Some(from) = self.blocks.len().checked_sub(FAN_IN) {
            let newest = self.blocks.get(from..).unwrap_or_default();
            let Some(last) = newest.last() else { return };
            let total: usize = newest.iter().map(|block| block.len()).sum();
            if total > LARGEST_MERGED || newest.iter().any(|block| tier(block) > tier(last)) {
                return;
            }
            let merged = Block::merge(newest);
            self.blocks.truncate(from);
            self.blocks.push(Arc::new(merged));
        }
    }

    #[cfg(test)]
    pub(crate) fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    /// Appends the samples of a series in `start_ms ..= end_ms`, in the order they were applied, which need not be the
    /// order of their times.
    pub(crate) fn collect(&self, id: u32, (start_ms, end_ms): (i64, i64), out: &mut Columns) {
        for block in self.blocks.iter().filter(|block| block.touches((start_ms, end_ms))) {
            let Some(run) = block.get(id) else { continue };
            // Mostly all of a block is wanted, and then its times need not be looked at.
            let is_inside = start_ms <= block.bounds.0 && block.bounds.1 <= end_ms;
            out.extend(if is_inside { run } else { run.within((start_ms, end_ms)) });
        }
    }

    /// The time of the first sample of a series; the end of time if there is none.
    pub(crate) fn first_ms(&self, id: u32) -> i64 {
        let firsts = self.blocks.iter().filter_map(|block| block.get(id)?.times.first().copied());
        firsts.min().unwrap_or(i64::MAX)
    }

    /// The ids of the series it has samples of, ascending.
    pub(crate) fn ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self.blocks.iter().flat_map(|block| block.ids.iter().copied()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Takes out the samples of these series in a range of times.
    pub(crate) fn remove(&mut self, ids: &RoaringBitmap, range: (i64, i64)) {
        for block in &mut self.blocks {
            if let Some(left) = block.without(ids, range) {
                *block = Arc::new(left);
            }
        }
        self.blocks.retain(|block| block.len() > 0);
    }
}

#[cfg(test)]
mod tests;
