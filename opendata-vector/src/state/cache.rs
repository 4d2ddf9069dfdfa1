//! A bounded cache of decoded rows, shared by all readers of one writer. A row's place says which version it is, so
//! nothing in it is ever stale.
//!
//! What is small and many (cells, vectors, documents, pieces of filters) goes through a sharded cache that keeps what is used
//! again. What is large and few (the centroids of a field, an old tail, ids that are gone) is kept apart, the newest of them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache as Sharded;

use super::Routes;
use super::tail::Block;
use crate::cell::Cell;
use crate::idset::IdSet;
use crate::idset::chunk::Chunk;
use crate::record::Stored;
use crate::record::column::Column;

/// What is cached. Fields of vectors stand by their number in the schema, which does not change while a slate is open.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Cell { field: u16, cell: u32, changed: u64 },
    Vector { field: u16, id: u64 },
    Document { id: u64 },
    Chunk { row: Bytes, next_id: u64, swept: u64 },
    Routes { field: u16, shape: u64 },
    NewRoutes { field: u16, first: u32 },
    Tail { field: u16, from: u64, to: u64 },
    Gone { swept: u64 },
}

impl Place {
    fn is_large(&self) -> bool {
        matches!(self, Self::Routes { .. } | Self::NewRoutes { .. } | Self::Tail { .. } | Self::Gone { .. })
    }
}

#[derive(Clone)]
pub(crate) enum Item {
    Cell(Arc<Cell>),
    /// As its metric scores it.
    Vector(Arc<[f32]>),
    Document(Arc<Stored>),
    Ids(Arc<Chunk>),
    Column(Arc<Column>),
    Routes(Arc<Routes>),
    Tail(Arc<Block>),
    Set(Arc<IdSet>),
}

impl Item {
    fn size_bytes(&self) -> usize {
        96 + match self {
            Self::Cell(cell) => cell.size_bytes(),
            Self::Vector(vector) => vector.len() * 4,
            Self::Document(stored) => stored.size_bytes(),
            Self::Ids(ids) => ids.size_bytes(),
            Self::Column(column) => column.size_bytes(),
            Self::Routes(routes) => routes.size_bytes(),
            Self::Tail(block) => block.size_bytes(),
            Self::Set(ids) => ids.size_bytes(),
        }
    }
}

#[derive(Clone)]
struct Weigh;

impl Weighter<Place, Item> for Weigh {
    fn weight(&self, _place: &Place, item: &Item) -> u64 {
        item.size_bytes() as u64
    }
}

/// Large items that are kept.
const LARGE: usize = 8;
/// What an item weighs on average, about: only for the size of the table that finds them.
const AVERAGE_BYTES: u64 = 2048;

pub(crate) struct Cache {
    limit: u64,
    small: Sharded<Place, Item, Weigh>,
    /// The latest used in front.
    large: Mutex<VecDeque<(Place, Item)>>,
    /// How often somebody was about to use what it keeps without asking it.
    passed_by: AtomicU32,
}

impl Cache {
    pub(crate) fn new(limit: u64) -> Self {
        let items = (limit / AVERAGE_BYTES).clamp(64, 1 << 14) as usize;
        Self {
            limit,
            small: Sharded::with_weighter(items, limit, Weigh),
            large: Mutex::default(),
            passed_by: AtomicU32::default(),
        }
    }

    pub(crate) fn get(&self, place: &Place) -> Option<Item> {
        if !place.is_large() {
            return self.small.get(place);
        }
        let mut large = self.large.lock().unwrap_or_else(PoisonError::into_inner);
        let at = large.iter().position(|(own, _)| own == place)?;
        let found = large.remove(at)?;
        let item = found.1.clone();
        large.push_front(found);
        Some(item)
    }

    /// Whether somebody who has found items elsewhere should ask for them all the same: what is never asked for makes room. It says so
    /// now and then, since asking for many takes as long as using them.
    pub(crate) fn wants_to_know_use(&self) -> bool {
        self.passed_by.fetch_add(1, Ordering::Relaxed).is_multiple_of(64)
    }

    /// Whether there are centroids of a field, of whatever shape.
    pub(crate) fn has_routes(&self, number: u16) -> bool {
        let large = self.large.lock().unwrap_or_else(PoisonError::into_inner);
        large.iter().any(|(place, _)| matches!(place, Place::Routes { field, .. } if *field == number))
    }

    pub(crate) fn put(&self, place: Place, item: Item) {
        if !place.is_large() {
            return self.small.insert(place, item);
        }
        let mut large = self.large.lock().unwrap_or_else(PoisonError::into_inner);
        large.retain(|(own, _)| *own != place);
        large.push_front((place, item));
        // The newest stays, however large: without it every search would read it again.
        let mut bytes = 0;
        let fits = |(_, item): &(Place, Item)| {
            bytes += item.size_bytes() as u64;
            bytes <= self.limit
        };
        let kept = large.iter().map(fits).take_while(|fits| *fits).count();
        large.truncate(kept.clamp(1, LARGE));
    }

    /// Lets go of what only older views may ask for. It is small.
    pub(crate) fn remove(&self, place: &Place) -> Option<Item> {
        self.small.remove(place).map(|(_, item)| item)
    }

    pub(crate) fn bytes(&self) -> u64 {
        let large = self.large.lock().unwrap_or_else(PoisonError::into_inner);
        self.small.weight() + large.iter().map(|(_, item)| item.size_bytes() as u64).sum::<u64>()
    }
}
