//! What maintenance asks of an instance. It is committed like any other operation.

use bytes::Bytes;
use opendata_core::key::SegmentId;

use crate::record::Sealing;

/// What maintenance asks for. It is committed like any other operation.
#[derive(Debug)]
pub(crate) enum Upkeep {
    Seal(Seal),
    Expire(Expire),
    Clean(Clean),
}

/// One step of sealing a bucket: chunks of the series from `from` on, out of the slabs up to `through`.
#[derive(Debug)]
pub(crate) struct Seal {
    pub(crate) bucket: SegmentId,
    /// The first slab there was when this was planned.
    pub(crate) first_slab: u64,
    pub(crate) through: u64,
    /// How far earlier steps had come when this was planned.
    pub(crate) after: Option<Sealing>,
    pub(crate) chunks: Vec<(Bytes, Bytes)>,
    pub(crate) end: SealEnd,
}

#[derive(Debug)]
pub(crate) enum SealEnd {
    /// There is more to do, from this series on.
    Next(u32),
    /// All series are done: these slabs are deleted.
    Done(Vec<u64>),
}

/// Lets go of buckets.
#[derive(Debug)]
pub(crate) struct Expire {
    /// The first bucket that stays.
    pub(crate) live: SegmentId,
    pub(crate) buckets: Vec<SegmentId>,
    pub(crate) slabs: Vec<(SegmentId, u64)>,
    pub(crate) totals: Vec<Bytes>,
}

/// One step of carrying out a deletion: rows of the series from `from` on, without what was deleted.
#[derive(Debug)]
pub(crate) struct Clean {
    pub(crate) bucket: SegmentId,
    /// The number of the deletion, the oldest of the bucket.
    pub(crate) slab: u64,
    pub(crate) from: u32,
    /// How often the chunks of the bucket had been changed when this was planned.
    pub(crate) edits: u64,
    /// Rows as they become; none are removed.
    pub(crate) rows: Vec<(Bytes, Option<Bytes>)>,
    pub(crate) end: CleanEnd,
}

#[derive(Debug)]
pub(crate) enum CleanEnd {
    /// There is more to do, from this series on.
    Next(u32),
    /// The deletion is carried out.
    Done,
}

impl Upkeep {
    pub(super) fn size_bytes(&self) -> usize {
        match self {
            Self::Seal(seal) => seal.chunks.iter().map(|(key, value)| key.len() + value.len()).sum(),
            Self::Clean(clean) => {
                clean.rows.iter().map(|(key, row)| key.len() + row.as_ref().map_or(0, Bytes::len)).sum()
            }
            Self::Expire(expire) => 32 * (expire.slabs.len() + expire.totals.len()),
        }
    }
}
