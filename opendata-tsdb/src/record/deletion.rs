//! `DELETION`: samples of a bucket that were deleted and may still stand in its chunks, or in slabs before this one.
//!
//! ```text
//! layout 1 · from, to (milliseconds, both included) signed varint · next series u32 · ids as a posting list
//! ```
//! The key's number stands in the order of slabs: slabs with a smaller number, and every chunk, are read without the
//! samples deleted; later slabs are not touched. So no slab behind a deletion is sealed before the deletion has been
//! carried out in the chunks, which maintenance does from series to series; those below `next series` are done.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use opendata_core::Result;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::key::SegmentId;
use roaring::RoaringBitmap;

use super::posting;
use crate::columns::Columns;

const LAYOUT: u8 = 1;

/// Samples that were deleted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Deletion {
    /// Its number among the slabs.
    pub(crate) slab: u64,
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    /// The series below are done.
    pub(crate) next_series: u32,
    pub(crate) ids: RoaringBitmap,
}

/// The deletions of each bucket that are not carried out yet, oldest first.
pub(crate) type Deletions = BTreeMap<SegmentId, Arc<Vec<Deletion>>>;

impl Deletion {
    pub(crate) fn range(&self) -> (i64, i64) {
        (self.from_ms, self.to_ms)
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut value = Encoder::new(LAYOUT);
        value.signed(self.from_ms).signed(self.to_ms).u32(self.next_series).raw(&posting::encode(&self.ids));
        value.finish()
    }

    /// Reads the deletion with a number.
    ///
    /// # Errors
    /// `Corrupt` if the value cannot be read.
    pub(crate) fn decode(slab: u64, value: &[u8]) -> Result<Self> {
        let mut fields = Decoder::new(value);
        fields.layout(LAYOUT)?;
        let (from_ms, to_ms, next_series) = (fields.signed()?, fields.signed()?, fields.u32()?);
        Ok(Self { slab, from_ms, to_ms, next_series, ids: posting::decode(fields.rest())? })
    }
}

/// Takes what was deleted out of the sealed samples of a series, which must be in time order.
pub(crate) fn apply(deletions: &[Deletion], id: u32, sealed: &mut Columns) {
    for deletion in deletions.iter().filter(|deletion| deletion.ids.contains(id)) {
        sealed.remove(deletion.range());
    }
}

#[cfg(test)]
mod tests;
