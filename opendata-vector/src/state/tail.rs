//! The newest vectors of a field, in memory: what the index does not have yet, ready to be scanned.

use std::collections::VecDeque;
use std::sync::Arc;

/// Some vectors with ascending ids, as their metric scores them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Block {
    pub(crate) ids: Vec<u64>,
    pub(crate) vectors: Vec<f32>,
}

impl Block {
    pub(crate) fn size_bytes(&self) -> usize {
        self.ids.len() * 8 + self.vectors.len() * 4 + 64
    }
}

/// Blocks that hold all vectors of ids from some id on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    from: u64,
    blocks: Vec<Arc<Block>>,
}

impl Tail {
    pub(crate) fn new(from: u64) -> Self {
        Self { from, blocks: Vec::new() }
    }

    /// Every vector of an id from here on is in the blocks.
    pub(crate) fn from(&self) -> u64 {
        self.from
    }

    pub(crate) fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    /// Adds newer vectors. Neighbouring blocks are joined while the older is not twice as large, so that their
    /// number stays logarithmic.
    pub(crate) fn push(&mut self, block: Block) {
        if block.ids.is_empty() {
            return;
        }
        let mut newest = block;
        while let Some(older) = self.blocks.pop_if(|older| older.ids.len() < newest.ids.len() * 2) {
            let mut joined = Arc::unwrap_or_clone(older);
            joined.ids.append(&mut newest.ids);
            joined.vectors.append(&mut newest.vectors);
            newest = joined;
        }
        self.blocks.push(Arc::new(newest));
    }

    /// Lets go of what the index has, and of the oldest beyond a number of bytes.
    pub(crate) fn trim(&mut self, drained_to: u64, limit_bytes: u64) {
        let mut blocks: VecDeque<_> = std::mem::take(&mut self.blocks).into();
        let mut bytes: u64 = blocks.iter().map(|block| block.size_bytes() as u64).sum();
        while let Some(oldest) = blocks.front() {
            let last = oldest.ids.last().copied().unwrap_or(0);
            if last >= drained_to && bytes <= limit_bytes {
                break;
            }
            bytes -= oldest.size_bytes() as u64;
            self.from = self.from.max(last + 1);
            blocks.pop_front();
        }
        self.from = self
            .from
            .max(drained_to.min(blocks.front().and_then(|block| block.ids.first()).copied().unwrap_or(drained_to)));
        self.blocks = blocks.into();
    }
}
