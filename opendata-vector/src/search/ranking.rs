//! The best of many, in one order for all searches: higher scores first, then older ids.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// A document with its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scored {
    pub(crate) score: f64,
    pub(crate) id: u64,
}

impl Eq for Scored {}

/// Greater is better.
impl Ord for Scored {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.id.cmp(&self.id))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Keeps the best of what is pushed.
pub(crate) struct Top {
    limit: usize,
    heap: BinaryHeap<Reverse<Scored>>,
}

impl Top {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, heap: BinaryHeap::with_capacity(limit.min(1024) + 1) }
    }

    pub(crate) fn push(&mut self, scored: Scored) {
        if self.heap.len() < self.limit {
            self.heap.push(Reverse(scored));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && scored > worst.0
        {
            *worst = Reverse(scored);
        }
    }

    /// The score that the next must reach to be kept.
    pub(crate) fn threshold(&self) -> f64 {
        match self.heap.peek() {
            Some(worst) if self.heap.len() >= self.limit => worst.0.score,
            _ => f64::NEG_INFINITY,
        }
    }

    /// Best first.
    pub(crate) fn into_sorted(self) -> Vec<Scored> {
        let mut all: Vec<Scored> = self.heap.into_iter().map(|scored| scored.0).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all
    }
}
