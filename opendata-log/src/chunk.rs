//! A chunk: records of one stream that were committed together, as one value.
//!
//! ```text
//! layout 1 | flags u8 | count varint | span varint (if sparse) | ordinal varint | ingest time signed
//! event time: least signed, range varint (if any; the least is relative to the ingest time)
//! columns, one after another, each only if its flag is set:
//!   positions     count - 1 varints: the gap to the one before, less one      sparse
//!   event times   count signed: from the one before, the first from ingest    event times
//!   schema ids    one varint, or count varints                                schema, mixed schemas
//!   header sizes  count varints                                               headers
//!   payload sizes one varint if uniform, else count varints
//! body: all headers, then all payloads; if compressed behind a varint of its plain size, as one LZ4 block
//! ```
//!
//! The last position is in the key, and `first = last - span`. Without the sparse flag the positions are
//! consecutive. The ordinal is the number of records that the stream has in the segment before this chunk:
//! it lets a reader count without scanning. All records of a chunk were ingested at one time, and either all or none of them
//! were made of other records by an edge (derived).

use bytes::Bytes;
use opendata_core::codec::Decoder;
use opendata_core::{Error, Position, Result, Timestamp};

mod decode;
mod encode;
mod merge;

pub(crate) use encode::{Pending, encode};
pub(crate) use merge::{Damaged, Merge, Source};

const LAYOUT: u8 = 1;

const COMPRESSED: u8 = 0x01;
const SPARSE: u8 = 0x02;
const EVENT_TIMES: u8 = 0x04;
const SCHEMA: u8 = 0x08;
const MIXED_SCHEMAS: u8 = 0x10;
const HEADERS: u8 = 0x20;
const UNIFORM: u8 = 0x40;
const DERIVED: u8 = 0x80;

/// Most records in one chunk: what bounds the memory that a damaged count could ask for.
pub(crate) const RECORD_LIMIT: usize = 1 << 17;

/// A chunk with its header read; the columns are read when its records are asked for.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) stream: Bytes,
    pub(crate) first: Position,
    pub(crate) last: Position,
    pub(crate) count: usize,
    pub(crate) ordinal: u64,
    pub(crate) ingest_time: Timestamp,
    /// Least and greatest event time.
    pub(crate) event_times: (Timestamp, Timestamp),
    flags: u8,
    value: Bytes,
    columns_at: usize,
}

impl Chunk {
    /// Reads the header. The stream and the last position come from the key.
    pub(crate) fn decode(stream: Bytes, last: Position, value: Bytes) -> Result<Self> {
        let mut fields = Decoder::new(&value);
        fields.layout(LAYOUT)?;
        let flags = fields.u8()?;
        let count = fields.count()?;
        if !(1..=RECORD_LIMIT).contains(&count) {
            return Err(Error::corrupt(format!("number of records in a chunk, count={count}")));
        }
        let least_span = count as u64 - 1;
        let span = if flags & SPARSE == 0 { least_span } else { fields.varint()? };
        let first = last.0.checked_sub(span).filter(|first| *first > 0 && span >= least_span);
        let first = Position(first.ok_or_else(|| Error::corrupt(format!("span of a chunk, span={span}")))?);
        let ordinal = fields.varint()?;
        let ingest_time = Timestamp(fields.signed()?);
        let mut event_times = (ingest_time, ingest_time);
        if flags & EVENT_TIMES != 0 {
            let least = ingest_time.0.wrapping_add(fields.signed()?);
            let range = fields.varint()?;
            event_times = (Timestamp(least), Timestamp(least.wrapping_add_unsigned(range)));
        }
        let columns_at = value.len() - fields.rest().len();
        Ok(Self { stream, first, last, count, ordinal, ingest_time, event_times, flags, value, columns_at })
    }

    /// Whether the positions are consecutive.
    pub(crate) fn is_dense(&self) -> bool {
        self.flags & SPARSE == 0
    }

    /// Whether an edge made its records.
    pub(crate) fn is_derived(&self) -> bool {
        self.flags & DERIVED != 0
    }

    /// Whether the body is compressed.
    pub(crate) fn is_compressed(&self) -> bool {
        self.flags & COMPRESSED != 0
    }
}

#[cfg(test)]
mod tests;
