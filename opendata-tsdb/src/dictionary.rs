//! The dictionary: from labels to ids, in the writer's memory.
//!
//! A series is looked up once by the hash of its labels and gets a *slot*; each bucket in memory maps slots to the ids
//! of its own. So a sample costs one hash whatever bucket it falls into, and labels stand in memory once. Slots are
//! memory only: they are never stored, and forgetting one is always right.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;

use roaring::RoaringBitmap;
use rustc_hash::FxBuildHasher;

use crate::key::BLOCK_SERIES;
use crate::labels::{FingerprintHasher, Labels, METRIC_NAME};
use crate::record::forward::Entry;

/// A series in the writer's memory.
pub(crate) type Slot = u32;

const NONE: u32 = u32::MAX;
/// How many texts of labels are remembered for sharing.
const MOST_TEXTS: usize = 1 << 17;

#[derive(Debug)]
struct Known {
    labels: Labels,
    hash: u64,
    /// The next series with the same hash.
    next: Slot,
}

/// All series that the writer has in memory.
#[derive(Debug, Default)]
pub(crate) struct Dictionary {
    by_hash: HashMap<u64, Slot, FingerprintHasher>,
    /// Slots by where the labels stand in memory. A writer that keeps its labels brings the very same ones again and
    /// again: then nothing of them is looked at. Right only while `known` holds them, so it is checked there.
    by_place: HashMap<usize, Slot, FxBuildHasher>,
    known: Vec<Known>,
    /// Names and values of labels that many series have: each stands in memory once.
    texts: HashSet<Arc<str>, FxBuildHasher>,
}

impl Dictionary {
    /// The slot of a series; a new one if it has none.
    pub(crate) fn intern(&mut self, labels: &Labels) -> Slot {
        let place = labels.place();
        if let Some(slot) = self.by_place.get(&place)
            && self.known.get(*slot as usize).is_some_and(|known| known.labels.place() == place)
        {
            return *slot;
        }
        // Labels that someone else holds as well may come again; those made for one write will not.
        let may_come_again = labels.is_shared();
        let slot = self.intern_hashed(labels, FxBuildHasher.hash_one(labels));
        if may_come_again && let Some(known) = self.known.get_mut(slot as usize) {
            self.by_place.remove(&known.labels.place());
            known.labels = labels.clone();
            self.by_place.insert(place, slot);
        }
        slot
    }

    fn intern_hashed(&mut self, labels: &Labels, hash: u64) -> Slot {
        let first = self.by_hash.get(&hash).copied().unwrap_or(NONE);
        let mut slot = first;
        while let Some(known) = self.known.get(slot as usize) {
            if known.labels == *labels {
                return slot;
            }
            slot = known.next;
        }
        let slot = Slot::try_from(self.known.len()).unwrap_or(NONE);
        let labels = match labels.is_shared() {
            // Someone holds the texts in any case.
            true => labels.clone(),
            false => labels.sharing(|text| self.shared(text)),
        };
        self.known.push(Known { labels, hash, next: first });
        self.by_hash.insert(hash, slot);
        slot
    }

    fn shared(&mut self, text: &Arc<str>) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        // What only one series has is not worth keeping twice; what is dropped here comes back if it is common.
        if self.texts.len() >= MOST_TEXTS {
            self.texts.clear();
        }
        self.texts.insert(Arc::clone(text));
        Arc::clone(text)
    }

    pub(crate) fn labels(&self, slot: Slot) -> Option<&Labels> {
        self.known.get(slot as usize).map(|known| &known.labels)
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Forgets all slots but those `keep` names, and returns the new slot of each old one.
    pub(crate) fn shrink(&mut self, keep: impl Fn(Slot) -> bool) -> Vec<Slot> {
        let old = std::mem::take(self);
        let mut moved = Vec::with_capacity(old.known.len());
        for (slot, known) in (0..).zip(old.known) {
            moved.push(if keep(slot) { self.intern_hashed(&known.labels, known.hash) } else { NONE });
        }
        moved
    }
}

/// The series of a bucket by id, as views share them: full blocks are never copied.
#[derive(Clone, Debug, Default)]
pub(crate) struct SeriesById {
    blocks: Arc<Vec<Arc<Vec<Entry>>>>,
    len: u32,
}

impl SeriesById {
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Entry> {
        self.blocks.get((id / BLOCK_SERIES) as usize)?.get((id % BLOCK_SERIES) as usize)
    }

    /// Appends series; those who hold a copy do not see them.
    pub(crate) fn extend(&mut self, entries: impl IntoIterator<Item = Entry>) {
        let blocks = Arc::make_mut(&mut self.blocks);
        for entry in entries {
            if self.len.is_multiple_of(BLOCK_SERIES) {
                blocks.push(Arc::new(Vec::with_capacity(BLOCK_SERIES as usize)));
            }
            if let Some(block) = blocks.last_mut() {
                Arc::make_mut(block).push(entry);
                self.len += 1;
            }
        }
    }
}

/// The series of one bucket, as the writer sees them.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    ids: Vec<u32>,
    slots: Vec<Slot>,
    metrics: HashMap<Arc<str>, Metric>,
    /// How many series each source has created.
    sources: HashMap<Arc<str>, u32>,
    pub(crate) series: SeriesById,
    /// Entries that are not in `series` yet: those of the group under way.
    pub(crate) fresh: Vec<Entry>,
    /// Which of them a source created.
    pub(crate) fresh_of: BTreeMap<Arc<str>, RoaringBitmap>,
}

/// A metric of a bucket.
#[derive(Clone, Copy, Debug)]
struct Metric {
    /// Its first series, which names it in keys.
    first: u32,
    series: u32,
}

impl Bucket {
    #[inline]
    pub(crate) fn id(&self, slot: Slot) -> Option<u32> {
        self.ids.get(slot as usize).copied().filter(|id| *id != NONE)
    }

    /// How many series there are, which is also the next id.
    pub(crate) fn len(&self) -> u32 {
        self.series.len() + u32::try_from(self.fresh.len()).unwrap_or(0)
    }

    /// A series of the bucket, one of the group under way included.
    pub(crate) fn entry(&self, id: u32) -> Option<&Entry> {
        match id.checked_sub(self.series.len()) {
            None => self.series.get(id),
            Some(fresh) => self.fresh.get(fresh as usize),
        }
    }

    /// How many series a metric has.
    pub(crate) fn len_of_metric(&self, name: &str) -> u32 {
        self.metrics.get(name).map_or(0, |metric| metric.series)
    }

    /// How many series a source has created.
    pub(crate) fn len_of_source(&self, source: &str) -> u32 {
        self.sources.get(source).copied().unwrap_or(0)
    }

    pub(crate) fn contains(&self, slot: Slot) -> bool {
        self.id(slot).is_some()
    }

    /// Gives a series the next id and returns it. It must have none yet.
    pub(crate) fn assign(&mut self, slot: Slot, labels: &Labels) -> u32 {
        let id = self.len();
        let name = labels.get(METRIC_NAME).unwrap_or_default();
        let metric = self.count_metric(name, id);
        self.remember(slot, id);
        self.fresh.push(Entry { metric, labels: labels.clone() });
        id
    }

    fn count_metric(&mut self, name: &str, first: u32) -> u32 {
        if let Some(metric) = self.metrics.get_mut(name) {
            metric.series += 1;
            return metric.first;
        }
        self.metrics.insert(name.into(), Metric { first, series: 1 });
        first
    }

    /// Notes who created a series that was just given its id.
    pub(crate) fn created_by(&mut self, source: &Arc<str>, id: u32) {
        *self.sources.entry(Arc::clone(source)).or_default() += 1;
        self.fresh_of.entry(Arc::clone(source)).or_default().insert(id);
    }

    /// Takes over how many series a source has created.
    pub(crate) fn load_source(&mut self, source: &str, series: u64) {
        self.sources.insert(source.into(), u32::try_from(series).unwrap_or(u32::MAX));
    }

    /// Takes over a series that is stored already. They must come in the order of their ids.
    pub(crate) fn load(&mut self, slot: Slot, entry: Entry) {
        let id = self.series.len();
        let name = entry.labels.get(METRIC_NAME).unwrap_or_default();
        self.count_metric(name, entry.metric);
        self.remember(slot, id);
        self.series.extend([entry]);
    }

    fn remember(&mut self, slot: Slot, id: u32) {
        self.slots.push(slot);
        if slot == NONE {
            return;
        }
        let place = slot as usize;
        if place >= self.ids.len() {
            self.ids.resize(place + 1, NONE);
        }
        if let Some(known) = self.ids.get_mut(place) {
            *known = id;
        }
    }

    /// Makes the fresh series part of what views see.
    pub(crate) fn publish(&mut self) {
        if !self.fresh.is_empty() {
            self.series.extend(self.fresh.drain(..));
            self.fresh_of.clear();
        }
    }

    /// Follows [`Dictionary::shrink`].
    pub(crate) fn moved(&mut self, moved: &[Slot]) {
        let slots = std::mem::take(&mut self.slots);
        self.ids.clear();
        for (id, slot) in (0..).zip(slots) {
            self.remember(moved.get(slot as usize).copied().unwrap_or(NONE), id);
        }
    }
}

#[cfg(test)]
mod tests;
