//! Sets of internal ids, in chunks of 65,536 as they are stored.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use roaring::RoaringBitmap;

/// Ids a chunk.
pub(crate) const CHUNK: u64 = 1 << 16;

/// The chunk of an id, and its place there.
pub(crate) fn split(id: u64) -> (u64, u32) {
    (id / CHUNK, (id % CHUNK) as u32)
}

/// A set of ids. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct IdSet {
    chunks: BTreeMap<u64, Arc<RoaringBitmap>>,
}

impl IdSet {
    pub(crate) fn range(ids: Range<u64>) -> Self {
        let mut set = Self::default();
        let mut next = ids.start;
        while next < ids.end {
            let (chunk, low) = split(next);
            let end = ids.end.min((chunk + 1) * CHUNK);
            let mut bitmap = RoaringBitmap::new();
            bitmap.insert_range(low..low + (end - next) as u32);
            set.chunks.insert(chunk, Arc::new(bitmap));
            next = end;
        }
        set
    }

    pub(crate) fn insert(&mut self, id: u64) -> bool {
        let (chunk, low) = split(id);
        Arc::make_mut(self.chunks.entry(chunk).or_default()).insert(low)
    }

    pub(crate) fn add_chunk(&mut self, chunk: u64, bitmap: RoaringBitmap) {
        *Arc::make_mut(self.chunks.entry(chunk).or_default()) |= bitmap;
    }

    pub(crate) fn union(mut self, other: Self) -> Self {
        for (chunk, bitmap) in other.chunks {
            match self.chunks.get_mut(&chunk) {
                Some(own) => *Arc::make_mut(own) |= &*bitmap,
                None => _ = self.chunks.insert(chunk, bitmap),
            }
        }
        self
    }

    pub(crate) fn intersect(mut self, other: &Self) -> Self {
        self.chunks.retain(|chunk, own| match other.chunks.get(chunk) {
            Some(bitmap) => {
                *Arc::make_mut(own) &= &**bitmap;
                !own.is_empty()
            }
            None => false,
        });
        self
    }

    pub(crate) fn without(mut self, other: &Self) -> Self {
        self.chunks.retain(|chunk, own| {
            if let Some(bitmap) = other.chunks.get(chunk) {
                *Arc::make_mut(own) -= &**bitmap;
            }
            !own.is_empty()
        });
        self
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        let (chunk, low) = split(id);
        self.chunks.get(&chunk).is_some_and(|bitmap| bitmap.contains(low))
    }

    pub(crate) fn len(&self) -> u64 {
        self.chunks.values().map(|bitmap| bitmap.len()).sum()
    }

    /// How many ids of whole chunks below `chunk` are in it.
    pub(crate) fn len_below(&self, chunk: u64) -> u64 {
        self.chunks.range(..chunk).map(|(_, bitmap)| bitmap.len()).sum()
    }

    pub(crate) fn chunk(&self, chunk: u64) -> Option<&RoaringBitmap> {
        self.chunks.get(&chunk).map(|bitmap| &**bitmap)
    }

    /// The ids in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        self.chunks.iter().flat_map(|(chunk, bitmap)| bitmap.iter().map(move |low| chunk * CHUNK + u64::from(low)))
    }
}

impl Extend<u64> for IdSet {
    fn extend<T: IntoIterator<Item = u64>>(&mut self, ids: T) {
        ids.into_iter().for_each(|id| _ = self.insert(id));
    }
}

#[cfg(test)]
mod tests;
