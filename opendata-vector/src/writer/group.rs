//! What the transactions of one group add together, until it is written.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use roaring::RoaringBitmap;

use super::WrittenVector;
use crate::kernel;
use crate::record::Stored;
use crate::schema::Schema;
use crate::sparse::Weight;
use crate::state::push_scored;
use crate::state::tail::Block;
use crate::text::Posting;

/// What the transactions of the group under way have added.
#[derive(Default)]
pub(super) struct Group {
    pub(super) bitmaps: BTreeMap<Bytes, RoaringBitmap>,
    /// By attribute and chunk: which documents have it, and its numbers.
    pub(super) has: BTreeMap<String, BTreeMap<u64, RoaringBitmap>>,
    pub(super) numbers: BTreeMap<String, BTreeMap<u64, Vec<(u64, u16)>>>,
    pub(super) terms: BTreeMap<Bytes, Vec<Posting>>,
    pub(super) sparse: BTreeMap<Bytes, Vec<Weight>>,
    pub(super) blocks: BTreeMap<String, Block>,
    /// Chunks of dead ids that have lost some.
    pub(super) forgotten: BTreeSet<u64>,
    /// What goes into pages: none for what is dead.
    pub(super) documents: BTreeMap<u64, Option<Bytes>>,
    pub(super) vectors: BTreeMap<String, BTreeMap<u64, Option<Bytes>>>,
    /// Live documents that the published state does not have.
    pub(super) recent: BTreeMap<u64, Stored>,
}

impl Group {
    /// Adds a vector to what will be scanned.
    pub(super) fn push(&mut self, id: u64, vector: &WrittenVector, schema: &Schema) {
        let Some(field) = schema.vectors.get(&vector.field) else { return };
        change(&mut self.blocks, &vector.field, |block| match &vector.components {
            Some(components) => {
                let start = block.vectors.len();
                block.vectors.extend_from_slice(components);
                kernel::normalise(field.metric, block.vectors.get_mut(start..).unwrap_or_default());
                block.ids.push(id);
            }
            // The value was encoded a moment ago.
            None if push_scored(b"", &vector.value, *field, &mut block.vectors).is_ok() => block.ids.push(id),
            None => {}
        });
    }
}

/// Changes what stands under a name, which is not copied where there is something already.
pub(super) fn change<T: Default>(of: &mut BTreeMap<String, T>, name: &str, change: impl FnOnce(&mut T)) {
    match of.get_mut(name) {
        Some(own) => change(own),
        None => change(of.entry(name.to_owned()).or_default()),
    }
}
