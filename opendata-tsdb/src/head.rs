//! The head: samples that were committed and are not sealed yet, in memory, by bucket and series.
//!
//! A head is a short list of immutable [`Block`]s, oldest first. Each group of commits adds one; eight of about the
//! same size are merged into one, so that the list stays short and a sample is moved a few times at most. Each remembers the
//! slabs its samples are stored in, so that sealing takes blocks from the front, and lets go of them at its end. Heads are
//! shared with views: whoever holds one sees exactly what it held when the view was published.

use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::columns::{Columns, Samples};
use crate::record::slab::Rows;

/// Counting goes over all ids between the lowest and the highest, which may be so many for each sample.
const WIDEST: usize = 4;

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
        match Self::by_counting(&rows) {
            Some(block) => block,
            None => Self::by_sorting(rows),
        }
    }

    /// Of rows as commits mostly leave them, without two samples of a series out of order, by counting those of each
    /// series: most of what is sealed.
    fn by_counting(rows: &Rows) -> Option<Self> {
        let (low, high) = rows.ids.iter().fold((u32::MAX, 0), |(low, high), id| (low.min(*id), high.max(*id)));
        let range = high.checked_sub(low)? as usize + 1;
        if range > WIDEST * rows.len() {
            return None;
        }
        // First how many samples each series has, then where the next one of it goes.
        let mut next = vec![0u32; range];
        for id in &rows.ids {
            *next.get_mut((id - low) as usize)? += 1;
        }
        let (mut ids, mut starts, mut before) = (Vec::new(), Vec::new(), 0);
        for (id, next) in (low..=high).zip(&mut next) {
            let count = std::mem::replace(next, before);
            if count > 0 {
                ids.push(id);
                starts.push(before);
                before += count;
            }
        }
        starts.push(before);
        let places = rows.ids.iter().map_while(|id| {
            let next = next.get_mut((id - low) as usize)?;
            *next += 1;
            Some(*next as usize - 1)
        });
        let samples = rows.samples.scatter(places)?;
        let runs = starts.iter().zip(starts.iter().skip(1));
        let mut runs = runs.filter_map(|(start, end)| samples.times.get(*start as usize..*end as usize));
        runs.all(|run| run.is_sorted_by(|a, b| a < b)).then(|| Self::with(ids, starts, samples))
    }

    fn by_sorting(rows: Rows) -> Self {
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
    fn merge(blocks: &[Arc<Self>]) -> Self {
        let mut builder = Builder::default();
        let mut merged = Merged::from(blocks, 0);
        while let Some((id, run)) = merged.next() {
            builder.push(id, run);
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
        if !self.series().any(hit) {
            return None;
        }
        let mut builder = Builder::default();
        for (id, run) in self.series() {
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

    /// All series with their samples.
    fn series(&self) -> impl Iterator<Item = (u32, Samples<'_>)> {
        self.ids.iter().enumerate().map(|(place, id)| (*id, self.run(place)))
    }

    pub(crate) fn len(&self) -> usize {
        self.samples.len()
    }
}

/// The series of several blocks, oldest first, each with its samples of all of them.
pub(crate) struct Merged<'a> {
    blocks: &'a [Arc<Block>],
    /// Where each block goes on.
    places: Vec<usize>,
    run: Columns,
}

impl<'a> Merged<'a> {
    /// From a series on.
    pub(crate) fn from(blocks: &'a [Arc<Block>], id: u32) -> Self {
        let places = blocks.iter().map(|block| block.ids.partition_point(|other| *other < id)).collect();
        Self { blocks, places, run: Columns::default() }
    }

    /// The next series.
    pub(crate) fn next(&mut self) -> Option<(u32, &Columns)> {
        let heads = self.blocks.iter().zip(&self.places).filter_map(|(block, place)| block.ids.get(*place));
        let id = *heads.min()?;
        self.run.clear();
        for (block, place) in self.blocks.iter().zip(&mut self.places) {
            if block.ids.get(*place) == Some(&id) {
                self.run.extend(block.run(*place));
                *place += 1;
            }
        }
        self.run.settle();
        Some((id, &self.run))
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
    sections: Vec<Section>,
    /// The slabs they came from.
    pub(crate) slabs: Option<Slabs>,
    /// How many samples the slabs hold, those that were overwritten included.
    pub(crate) samples: u64,
}

/// The samples of some slabs in a row.
#[derive(Clone, Debug, PartialEq)]
struct Section {
    block: Arc<Block>,
    /// By stretches of numbers without a gap: many, where commits are small, and shared by the heads of all views.
    slabs: Arc<[Slabs]>,
    samples: u64,
}

impl Section {
    fn last_slab(&self) -> u64 {
        self.slabs.last().map_or(0, |slabs| slabs.last)
    }
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

impl Slabs {
    fn join(self, later: Self) -> Self {
        Self { last: later.last, count: self.count + later.count, ..self }
    }
}

/// The oldest samples of a head, to be sealed.
pub(crate) struct Oldest {
    pub(crate) blocks: Vec<Arc<Block>>,
    /// All slabs they came from.
    pub(crate) slabs: Vec<u64>,
}

impl Head {
    /// Adds the samples of slabs that were written after all the others. They are given by stretches of numbers without a
    /// gap. Samples of slabs up to `held` are not merged with later ones.
    pub(crate) fn push(&mut self, rows: Rows, slabs: Vec<Slabs>, held: Option<u64>) {
        let samples = rows.len() as u64;
        self.append(Section { block: Arc::new(Block::of(rows)), slabs: slabs.into(), samples });
        self.compact(held);
    }

    fn append(&mut self, section: Section) {
        self.samples += section.samples;
        self.slabs = self.slabs.into_iter().chain(section.slabs.iter().copied()).reduce(Slabs::join);
        self.sections.push(section);
    }

    fn compact(&mut self, held: Option<u64>) {
        let tier = |section: &Section| section.block.len().max(1).ilog2() / 3;
        let first = held.map_or(0, |held| self.sections_up_to(held));
        while let Some(from) = self.sections.len().checked_sub(FAN_IN).filter(|from| *from >= first) {
            let newest = self.sections.get(from..).unwrap_or_default();
            let Some(last) = newest.last() else { return };
            let total: usize = newest.iter().map(|section| section.block.len()).sum();
            if total > LARGEST_MERGED || newest.iter().any(|section| tier(section) > tier(last)) {
                return;
            }
            let newest = self.sections.split_off(from);
            let blocks: Vec<_> = newest.iter().map(|section| Arc::clone(&section.block)).collect();
            let mut slabs: Vec<Slabs> = Vec::new();
            for stretch in newest.iter().flat_map(|section| section.slabs.iter().copied()) {
                match slabs.last_mut() {
                    Some(before) if before.last + 1 == stretch.first => *before = before.join(stretch),
                    _ => slabs.push(stretch),
                }
            }
            let samples = newest.iter().map(|section| section.samples).sum();
            self.sections.push(Section { block: Arc::new(Block::merge(&blocks)), slabs: slabs.into(), samples });
        }
    }

    /// The oldest samples, about as many as wanted if there are so many.
    pub(crate) fn oldest(&self, samples: u64) -> Oldest {
        let mut found = Oldest { blocks: Vec::new(), slabs: Vec::new() };
        let mut count = 0;
        for section in &self.sections {
            if count >= samples {
                break;
            }
            count += section.samples;
            found.blocks.push(Arc::clone(&section.block));
            found.slabs.extend(section.slabs.iter().flat_map(|stretch| stretch.first..=stretch.last));
        }
        found
    }

    /// What is left behind a slab; none if its samples cannot be told from those of later slabs.
    pub(crate) fn behind(&self, slab: u64) -> Option<Self> {
        let sections = self.sections.get(self.sections_up_to(slab)..).unwrap_or_default();
        if sections.first().and_then(|section| section.slabs.first()).is_some_and(|slabs| slabs.first <= slab) {
            return None;
        }
        let mut left = Self::default();
        sections.iter().cloned().for_each(|section| left.append(section));
        Some(left)
    }

    /// How many sections hold nothing but samples of slabs up to this one.
    fn sections_up_to(&self, slab: u64) -> usize {
        self.sections.partition_point(|section| section.last_slab() <= slab)
    }

    #[cfg(test)]
    pub(crate) fn section_count(&self) -> usize {
        self.sections.len()
    }

    /// Appends the samples of a series in `start_ms ..= end_ms`, in the order they were applied, which need not be the
    /// order of their times. Samples of slabs up to `sealed` are mostly left out.
    pub(crate) fn collect(&self, id: u32, (start_ms, end_ms): (i64, i64), sealed: Option<u64>, out: &mut Columns) {
        let first = sealed.map_or(0, |sealed| self.sections_up_to(sealed));
        let blocks = self.sections.iter().skip(first).map(|section| section.block.as_ref());
        for block in blocks.filter(|block| block.touches((start_ms, end_ms))) {
            let Some(run) = block.get(id) else { continue };
            // Mostly all of a block is wanted, and then its times need not be looked at.
            let is_inside = start_ms <= block.bounds.0 && block.bounds.1 <= end_ms;
            out.extend(if is_inside { run } else { run.within((start_ms, end_ms)) });
        }
    }

    /// The time of the first sample of a series; the end of time if there is none.
    pub(crate) fn first_ms(&self, id: u32) -> i64 {
        let firsts = self.sections.iter().filter_map(|section| section.block.get(id)?.times.first().copied());
        firsts.min().unwrap_or(i64::MAX)
    }

    /// The ids of the series it has samples of, ascending.
    pub(crate) fn ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self.sections.iter().flat_map(|section| section.block.ids.iter().copied()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Takes out the samples of these series in a range of times.
    pub(crate) fn remove(&mut self, ids: &RoaringBitmap, range: (i64, i64)) {
        for section in &mut self.sections {
            if let Some(left) = section.block.without(ids, range) {
                section.block = Arc::new(left);
            }
        }
    }
}

#[cfg(test)]
mod tests;
