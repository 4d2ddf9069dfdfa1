//! Sets of internal ids, in chunks of 65,536 as they are stored.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use roaring::RoaringBitmap;

pub(crate) mod chunk;

use chunk::{Chunk, WORDS, Words, has};

/// Ids a chunk.
pub(crate) const CHUNK: u64 = 1 << 16;
/// Chunks that a [`Probe`] unfolds at most: 32 MiB.
const UNFOLDED: u64 = 4096;

/// The chunk of an id, and its place there.
pub(crate) fn split(id: u64) -> (u64, u16) {
    (id / CHUNK, (id % CHUNK) as u16)
}

/// A set of ids. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct IdSet {
    chunks: BTreeMap<u64, Arc<Chunk>>,
}

impl IdSet {
    pub(crate) fn range(ids: Range<u64>) -> Self {
        let mut set = Self::default();
        let mut next = ids.start;
        while next < ids.end {
            let (chunk, low) = split(next);
            let end = ids.end.min((chunk + 1) * CHUNK);
            let is_whole = end - next == CHUNK;
            let last = split(end - 1).1;
            let of = if is_whole { Chunk::All } else { Chunk::list((low..=last).collect()) };
            set.chunks.insert(chunk, Arc::new(of));
            next = end;
        }
        set
    }

    pub(crate) fn insert(&mut self, id: u64) -> bool {
        let (chunk, low) = split(id);
        Arc::make_mut(self.chunks.entry(chunk).or_default()).insert(low)
    }

    /// Adds ids of a chunk as they are stored.
    pub(crate) fn add_bitmap(&mut self, chunk: u64, bitmap: &RoaringBitmap) {
        self.add_chunk(chunk, Arc::new(Chunk::from_bitmap(bitmap)));
    }

    pub(crate) fn add_chunk(&mut self, chunk: u64, ids: Arc<Chunk>) {
        match self.chunks.get_mut(&chunk) {
            Some(own) => *own = Arc::new(own.union(&ids)),
            None if ids.len() == 0 => {}
            None => _ = self.chunks.insert(chunk, ids),
        }
    }

    pub(crate) fn union(mut self, other: Self) -> Self {
        other.chunks.into_iter().for_each(|(chunk, ids)| self.add_chunk(chunk, ids));
        self
    }

    pub(crate) fn intersect(mut self, other: &Self) -> Self {
        self.chunks.retain(|chunk, own| match other.chunks.get(chunk) {
            Some(ids) => {
                *own = Arc::new(own.intersect(ids));
                own.len() > 0
            }
            None => false,
        });
        self
    }

    pub(crate) fn without(mut self, other: &Self) -> Self {
        self.chunks.retain(|chunk, own| {
            if let Some(ids) = other.chunks.get(chunk) {
                *own = Arc::new(own.without(ids));
            }
            own.len() > 0
        });
        self
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        let (chunk, low) = split(id);
        self.chunks.get(&chunk).is_some_and(|ids| ids.contains(low))
    }

    pub(crate) fn len(&self) -> u64 {
        self.chunks.values().map(|ids| ids.len()).sum()
    }

    /// How many ids of whole chunks below `chunk` are in it.
    pub(crate) fn len_below(&self, chunk: u64) -> u64 {
        self.chunks.range(..chunk).map(|(_, ids)| ids.len()).sum()
    }

    /// Whole chunks below `chunk`.
    pub(crate) fn below(&self, chunk: u64) -> Self {
        Self { chunks: self.chunks.range(..chunk).map(|(chunk, ids)| (*chunk, Arc::clone(ids))).collect() }
    }

    pub(crate) fn chunks(&self) -> impl Iterator<Item = (u64, &Arc<Chunk>)> {
        self.chunks.iter().map(|(chunk, ids)| (*chunk, ids))
    }

    /// Puts other ids in place of a chunk's.
    pub(crate) fn replace_chunk(&mut self, chunk: u64, ids: Chunk) {
        match ids.len() {
            0 => _ = self.chunks.remove(&chunk),
            _ => _ = self.chunks.insert(chunk, Arc::new(ids)),
        }
    }

    /// How many ids are in chunks that are not in it as a whole.
    pub(crate) fn len_of_parts(&self) -> u64 {
        self.chunks.values().map(|ids| ids.len()).filter(|len| *len < CHUNK).sum()
    }

    /// Bytes that it takes in memory, about.
    pub(crate) fn size_bytes(&self) -> usize {
        self.chunks.values().map(|ids| ids.size_bytes() + 32).sum()
    }

    pub(crate) fn chunk(&self, chunk: u64) -> Option<&Arc<Chunk>> {
        self.chunks.get(&chunk)
    }

    /// The ids in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        self.chunks.iter().flat_map(|(chunk, ids)| ids.iter().map(move |low| chunk * CHUNK + u64::from(low)))
    }

    /// A form that is asked for many ids.
    pub(crate) fn probe(&self) -> Probe<'_> {
        let (Some((first, _)), Some((last, _))) = (self.chunks.first_key_value(), self.chunks.last_key_value()) else {
            return Probe { first: 0, chunks: Vec::new(), folded: None };
        };
        if last - first >= UNFOLDED {
            return Probe { first: 0, chunks: Vec::new(), folded: Some(self) };
        }
        let chunks = (*first..=*last).map(|chunk| match self.chunks.get(&chunk).map(|ids| &**ids) {
            None => Unfolded::Words(&NONE),
            Some(Chunk::All) => Unfolded::Words(&ALL),
            Some(Chunk::Words(words)) => Unfolded::Words(words),
            Some(list @ Chunk::List(_)) => Unfolded::Own(list.words()),
        });
        Probe { first: *first, chunks: chunks.collect(), folded: None }
    }
}

impl Extend<u64> for IdSet {
    fn extend<T: IntoIterator<Item = u64>>(&mut self, ids: T) {
        ids.into_iter().for_each(|id| _ = self.insert(id));
    }
}

/// A set that answers in a nanosecond whether an id is in it, after some microseconds of preparation.
pub(crate) struct Probe<'a> {
    first: u64,
    chunks: Vec<Unfolded<'a>>,
    /// What is spread over too many chunks is asked itself.
    folded: Option<&'a IdSet>,
}

/// Words in every case, so that there is nothing to decide for each id.
enum Unfolded<'a> {
    Words(&'a Words),
    Own(Box<Words>),
}

static NONE: Words = [0; WORDS];
static ALL: Words = [u64::MAX; WORDS];

impl Probe<'_> {
    pub(crate) fn contains(&self, id: u64) -> bool {
        let (chunk, low) = split(id);
        match self.chunks.get(chunk.wrapping_sub(self.first) as usize) {
            Some(Unfolded::Words(words)) => has(words, low),
            Some(Unfolded::Own(words)) => has(words, low),
            None => self.folded.is_some_and(|set| set.contains(id)),
        }
    }

    /// The places of those of some ids that are in the set.
    pub(crate) fn rows_of(&self, ids: &[u64], rows: &mut Vec<u32>) {
        rows.clear();
        rows.resize(ids.len(), 0);
        let mut count = 0;
        for (row, id) in (0..).zip(ids) {
            // Written whether it counts or not: whether an id is in the set is nothing that a processor could foresee.
            if let Some(place) = rows.get_mut(count) {
                *place = row;
            }
            count += usize::from(self.contains(*id));
        }
        rows.truncate(count);
    }
}

#[cfg(test)]
mod tests;
