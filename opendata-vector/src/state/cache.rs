//! A bounded cache of decoded rows, shared by all readers of one writer. A row's place says which version it is, so
//! nothing in it is ever stale.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Routes;
use super::tail::Block;
use crate::cell::Cell;

/// What is cached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Cell { field: String, cell: u32, changed: u64 },
    Routes { field: String, shape: u64 },
    Tail { field: String, from: u64, to: u64 },
}

#[derive(Clone)]
pub(crate) enum Item {
    Cell(Arc<Cell>),
    Routes(Arc<Routes>),
    Tail(Arc<Block>),
}

struct Held {
    item: Item,
    bytes: u64,
    used: u64,
}

#[derive(Default)]
struct Contents {
    held: HashMap<Place, Held>,
    bytes: u64,
    clock: u64,
}

pub(crate) struct Cache {
    limit: u64,
    contents: Mutex<Contents>,
}

impl Cache {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, contents: Mutex::default() }
    }

    pub(crate) fn get(&self, place: &Place) -> Option<Item> {
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        contents.clock += 1;
        let clock = contents.clock;
        let held = contents.held.get_mut(place)?;
        held.used = clock;
        Some(held.item.clone())
    }

    pub(crate) fn put(&self, place: Place, item: Item, bytes: usize) {
        let bytes = bytes as u64;
        if bytes > self.limit {
            return;
        }
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        contents.clock += 1;
        let used = contents.clock;
        if let Some(before) = contents.held.insert(place, Held { item, bytes, used }) {
            contents.bytes -= before.bytes;
        }
        contents.bytes += bytes;
        if contents.bytes > self.limit {
            contents.evict(self.limit / 2);
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }
}

impl Contents {
    /// Lets the longest unused go until so many bytes are left. Half of all at once, so that it is rarely done.
    fn evict(&mut self, left: u64) {
        let mut newest: Vec<(u64, u64)> = self.held.values().map(|held| (held.used, held.bytes)).collect();
        newest.sort_unstable_by(|a, b| b.cmp(a));
        let mut bytes = 0;
        let kept = newest.iter().take_while(|(_, size)| {
            bytes += size;
            bytes <= left
        });
        let oldest_kept = kept.last().map_or(u64::MAX, |(used, _)| *used);
        self.held.retain(|_, held| held.used >= oldest_kept);
        self.bytes = self.held.values().map(|held| held.bytes).sum();
    }
}
