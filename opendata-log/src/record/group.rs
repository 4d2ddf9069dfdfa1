//! A group: what one batch added to a segment. One small row a batch, whatever the number of streams.
//!
//! ```text
//! layout 1, or 2 if the totals count derived records | ingest time signed | totals of the segment after it (see segment)
//! runs of its records' positions: span varint (last - first position), count varint,
//!   then for each: gap varint to the end of the one before (first: from the first position), length varint
//! streams that the segment had not seen: count varint, then sorted and front-coded, for each:
//!   shared varint | bytes of the rest
//! ```
//!
//! From groups a reader counts records before any position without looking at data, finds out what an open
//! segment holds, and lists its streams.

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Position, Result, Timestamp};

use super::Totals;

/// What one batch added to a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) ingest_time: Timestamp,
    /// What the segment holds with this group.
    pub(crate) totals: Totals,
    /// First and last position, control records included.
    pub(crate) first: Position,
    pub(crate) last: Position,
    /// Runs of positions that hold records: first position and length, ascending.
    pub(crate) runs: Vec<(Position, u64)>,
    /// Streams that are new to the segment, sorted.
    pub(crate) new_streams: Vec<Bytes>,
}

impl Group {
    /// How many records of the segment stand before a position that lies in this group or at its ends.
    pub(crate) fn rank(&self, position: Position) -> u64 {
        let (mut before, mut total) = (0u64, 0u64);
        for (first, length) in &self.runs {
            total = total.saturating_add(*length);
            before = before.saturating_add(position.0.saturating_sub(first.0).min(*length));
        }
        self.totals.records.saturating_sub(total).saturating_add(before)
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut value = Encoder::with_capacity(self.totals.layout(), 48 + 8 * self.new_streams.len());
        value.signed(self.ingest_time.0);
        self.totals.encode(&mut value);
        value.varint(self.last.0 - self.first.0).varint(self.runs.len() as u64);
        let mut end = self.first.0;
        for (first, length) in &self.runs {
            value.varint(first.0 - end).varint(*length);
            end = first.0 + length;
        }
        encode_names(&mut value, &self.new_streams);
        value.finish()
    }

    /// The last position comes from the key.
    pub(crate) fn decode(last: Position, key: &[u8], value: &[u8]) -> Result<Self> {
        super::decode_with_totals(key, value, |fields, with_derived| {
            let ingest_time = Timestamp(fields.signed()?);
            let totals = Totals::decode(fields, with_derived)?;
            let span = fields.varint()?;
            let first = last.0.checked_sub(span).ok_or_else(|| Error::corrupt("span of a group"))?;
            let mut runs = Vec::new();
            let mut end = first;
            for _ in 0..fields.varint()? {
                let (gap, length) = (fields.varint()?, fields.varint()?);
                let start = end.checked_add(gap).ok_or_else(|| Error::corrupt("run of a group"))?;
                end = start.checked_add(length).ok_or_else(|| Error::corrupt("run of a group"))?;
                runs.push((Position(start), length));
            }
            if end > last.0.saturating_add(1) {
                return Err(Error::corrupt("runs of a group reach behind its end"));
            }
            let new_streams = decode_names(fields)?;
            Ok(Self { ingest_time, totals, first: Position(first), last, runs, new_streams })
        })
    }
}

/// Sorted names, each without what it shares with the one before.
pub(super) fn encode_names(value: &mut Encoder, names: &[Bytes]) {
    value.varint(names.len() as u64);
    let mut before: &[u8] = &[];
    for name in names {
        let shared = before.iter().zip(name.iter()).take_while(|(a, b)| a == b).count();
        value.varint(shared as u64).bytes(name.get(shared..).unwrap_or_default());
        before = name;
    }
}

pub(super) fn decode_names(fields: &mut Decoder<'_>) -> Result<Vec<Bytes>> {
    let mut names: Vec<Bytes> = Vec::new();
    for _ in 0..fields.count()? {
        let shared = fields.count()?;
        let before = names.last().map_or(&[][..], AsRef::as_ref);
        let shared = before.get(..shared).ok_or_else(|| Error::corrupt("shared beginning of a stream name"))?;
        names.push([shared, fields.bytes()?].concat().into());
    }
    Ok(names)
}
