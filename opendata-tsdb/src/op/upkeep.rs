//! What maintenance asks of an instance. It is committed like any other operation.

use bytes::Bytes;
use opendata_core::key::SegmentId;
use roaring::RoaringBitmap;

use crate::labels::Labels;
use crate::record::Sealing;
use crate::rollup::Resolution;

/// What maintenance asks for. It is committed like any other operation.
#[derive(Debug)]
pub(crate) enum Upkeep {
    Seal(Seal),
    Expire(Expire),
    Clean(Clean),
    Roll(Roll),
    Forget(Forget),
    Prepare(Prepare),
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

/// Rollups of some series of a bucket.
#[derive(Debug)]
pub(crate) struct Roll {
    pub(crate) bucket: SegmentId,
    /// How often the chunks of the bucket had been changed when this was planned.
    pub(crate) edits: u64,
    /// The series that are done with this.
    pub(crate) done: RoaringBitmap,
    pub(crate) series: Vec<RolledSeries>,
}

/// The row of a series in each rollup.
pub(crate) type RolledRows = Vec<(Resolution, Option<Bytes>)>;

/// The rows of one series, none where it has no samples.
#[derive(Debug)]
pub(crate) struct RolledSeries {
    pub(crate) labels: Labels,
    pub(crate) rows: RolledRows,
}

/// Drops rows of rollups.
#[derive(Debug)]
pub(crate) struct Forget {
    pub(crate) segment: SegmentId,
    pub(crate) keys: Vec<Bytes>,
    /// Whether nothing is left of the segment.
    pub(crate) is_last: bool,
}

/// Gives series of one bucket their ids in the next.
#[derive(Debug)]
pub(crate) struct Prepare {
    pub(crate) from: SegmentId,
    pub(crate) into: SegmentId,
    pub(crate) ids: Vec<u32>,
}

impl Upkeep {
    pub(super) fn size_bytes(&self) -> usize {
        match self {
            Self::Seal(seal) => seal.chunks.iter().map(|(key, value)| key.len() + value.len()).sum(),
            Self::Clean(clean) => {
                clean.rows.iter().map(|(key, row)| key.len() + row.as_ref().map_or(0, Bytes::len)).sum()
            }
            Self::Roll(roll) => {
                let rows = roll.series.iter().flat_map(|series| &series.rows);
                64 * roll.series.len() + rows.map(|(_, row)| row.as_ref().map_or(0, Bytes::len)).sum::<usize>()
            }
            Self::Forget(forget) => 32 * forget.keys.len(),
            Self::Prepare(prepare) => 64 * prepare.ids.len(),
            Self::Expire(expire) => 32 * (expire.slabs.len() + expire.totals.len()),
        }
    }
}
