//! Where an instance was written last by an application, and not by an edge or by upkeep.
//!
//! ```text
//! key    | prefix, segment 0 | tag 0x04 |
//! value  | position u64 |
//! ```
//!
//! Written with each group that holds such a transaction, only in slates that keep account of it ([`Builder::note_direct_writes`]): what may
//! be put in the place of a slate must be able to say what would be lost.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::committer::Committer;
use super::context::Batch;
use super::open::Builder;
use super::registry::{Address, Instance};
use super::view::View;
use crate::error::{Error, Result};
use crate::key::{SegmentId, Tag};
use crate::time::Position;

pub(super) const DIRECT: Tag = Tag(0x04);

fn key(instance: &Instance) -> Bytes {
    instance.prefix(SegmentId::CONTROL).key(DIRECT).build()
}

fn encode(position: Position) -> Bytes {
    Bytes::copy_from_slice(&position.0.to_be_bytes())
}

pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Position> {
    let bytes = value.try_into().map_err(|_| Error::corrupt_at(key, "position of a direct write"))?;
    Ok(Position(u64::from_be_bytes(bytes)))
}

impl Builder {
    /// Keeps account, from now on and by whoever writes, of where each instance was [written directly](View::written_directly) last. It costs a
    /// row a group of transactions and instance.
    #[must_use]
    pub fn note_direct_writes(mut self) -> Self {
        self.note_direct = true;
        self
    }
}

impl Committer {
    /// Writes down which instances a group writes to directly, if the slate keeps account of that.
    pub(super) fn note_direct(&self, direct: &BTreeSet<Address>, batch: &mut Batch) {
        // A repeat of what was committed before has no rows, and is no writing.
        if !self.registry.notes_direct || batch.row_count == 0 {
            return;
        }
        let position = batch.position_behind(self.last);
        for instance in direct.iter().filter_map(|id| self.registry.at(*id)) {
            batch.put(key(instance), encode(position));
        }
    }
}

impl View {
    /// The position of the last transaction that wrote to an instance and was not [marked as derived](super::Transaction::mark_derived); zero if
    /// there was none since account was kept. A slate that keeps no account of it says its own position: it may have been any time.
    ///
    /// # Errors
    /// `NotFound` if there is no such instance; what the store returned.
    pub async fn written_directly(&self, instance: &str) -> Result<Position> {
        let registry = &self.0.registry;
        let instance = registry.find(instance)?;
        if !registry.notes_direct {
            return Ok(self.position());
        }
        let key = key(instance);
        match self.get(&key).await? {
            None => Ok(Position::ZERO),
            Some(value) => decode(&key, &value),
        }
    }
}

#[cfg(test)]
mod tests;
