//! The values of the TSDB's records. Each begins with a layout byte; the larger ones have modules of their own.
//!
//! ```text
//! BUCKET   layout 1 · start signed varint · length varint (milliseconds)
//! SEALING  layout 1 · last slab u64 · next series u32
//! LIVE     layout 1 · bucket segment u32
//! TOTAL    layout 1 · bucket segment u32
//! ```

use bytes::Bytes;
use opendata_core::Result;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::key::SegmentId;

pub(crate) mod deletion;
pub(crate) mod forward;
pub(crate) mod name;
pub(crate) mod posting;
pub(crate) mod slab;

const LAYOUT: u8 = 1;

/// There is a bucket, and which times it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) start_ms: i64,
    pub(crate) length_ms: u64,
}

impl Bucket {
    pub(crate) fn encode(self) -> Bytes {
        let mut value = Encoder::new(LAYOUT);
        value.signed(self.start_ms).varint(self.length_ms);
        value.finish()
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self> {
        let mut fields = Decoder::new(value);
        fields.layout(LAYOUT)?;
        let bucket = Self { start_ms: fields.signed()?, length_ms: fields.varint()? };
        fields.finish()?;
        Ok(bucket)
    }
}

/// The series below `next_series` were sealed from the slabs up to `through`, which still stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sealing {
    pub(crate) through: u64,
    pub(crate) next_series: u32,
}

impl Sealing {
    pub(crate) fn encode(self) -> Bytes {
        let mut value = Encoder::new(LAYOUT);
        value.u64(self.through).u32(self.next_series);
        value.finish()
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self> {
        let mut fields = Decoder::new(value);
        fields.layout(LAYOUT)?;
        let sealing = Self { through: fields.u64()?, next_series: fields.u32()? };
        fields.finish()?;
        Ok(sealing)
    }
}

/// The value of `LIVE` and `TOTAL`: a bucket.
pub(crate) fn encode_segment(segment: SegmentId) -> Bytes {
    let mut value = Encoder::new(LAYOUT);
    value.u32(segment.0);
    value.finish()
}

/// Reads a bucket.
///
/// # Errors
/// `Corrupt` if the value is none.
pub(crate) fn decode_segment(value: &[u8]) -> Result<SegmentId> {
    let mut fields = Decoder::new(value);
    fields.layout(LAYOUT)?;
    let segment = SegmentId(fields.u32()?);
    fields.finish()?;
    Ok(segment)
}

#[cfg(test)]
mod tests;
