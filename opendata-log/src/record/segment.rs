//! A segment: a run of positions whose data is dropped as one.
//!
//! ```text
//! layout 1, or 2 if any record is derived | flags u8: 1 sealed, 2 listed | first position varint | created signed
//! sealed: last position varint | totals
//! totals: layout 2: derived records varint
//!         records, control records, bytes, streams varint | ingest times: first signed, range varint
//!         event times: first signed (relative to the first ingest time), range varint
//! ```
//!
//! While a segment is open its row says only where it begins; what it holds so far is in its last group.

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::key::SegmentId;
use opendata_core::{Error, Position, Result, Timestamp};

use super::{LAYOUT, LAYOUT_DERIVED};

const SEALED: u8 = 1;
const LISTED: u8 = 2;

/// What a segment holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) records: u64,
    /// Those of the records that edges made of others.
    pub(crate) derived: u64,
    pub(crate) controls: u64,
    pub(crate) bytes: u64,
    pub(crate) streams: u64,
    pub(crate) ingest_times: (Timestamp, Timestamp),
    pub(crate) event_times: (Timestamp, Timestamp),
}

impl Totals {
    /// Takes the times of one more chunk or group into the bounds.
    pub(crate) fn cover(&mut self, ingest_time: Timestamp, event_times: (Timestamp, Timestamp)) {
        if self.records == 0 && self.controls == 0 {
            self.ingest_times = (ingest_time, ingest_time);
            self.event_times = event_times;
            return;
        }
        self.ingest_times.1 = self.ingest_times.1.max(ingest_time);
        self.event_times.0 = self.event_times.0.min(event_times.0);
        self.event_times.1 = self.event_times.1.max(event_times.1);
    }

    /// The layout of a row that holds them.
    pub(super) fn layout(&self) -> u8 {
        if self.derived == 0 { LAYOUT } else { LAYOUT_DERIVED }
    }

    /// Records that applications appended themselves.
    pub(crate) fn direct(&self) -> u64 {
        self.records.saturating_sub(self.derived)
    }

    pub(super) fn encode(&self, value: &mut Encoder) {
        if self.derived > 0 {
            value.varint(self.derived);
        }
        value.varint(self.records).varint(self.controls).varint(self.bytes).varint(self.streams);
        let (first, last) = self.ingest_times;
        value.signed(first.0).varint(last.0.wrapping_sub(first.0).cast_unsigned());
        let (least, most) = self.event_times;
        value.signed(least.0.wrapping_sub(first.0)).varint(most.0.wrapping_sub(least.0).cast_unsigned());
    }

    pub(super) fn decode(fields: &mut Decoder<'_>, with_derived: bool) -> Result<Self> {
        let derived = if with_derived { fields.varint()? } else { 0 };
        let (records, controls) = (fields.varint()?, fields.varint()?);
        let (bytes, streams) = (fields.varint()?, fields.varint()?);
        let first = fields.signed()?;
        let last = first.wrapping_add_unsigned(fields.varint()?);
        let least = first.wrapping_add(fields.signed()?);
        let most = least.wrapping_add_unsigned(fields.varint()?);
        let ingest_times = (Timestamp(first), Timestamp(last));
        let event_times = (Timestamp(least), Timestamp(most));
        Ok(Self { records, derived, controls, bytes, streams, ingest_times, event_times })
    }
}

/// A segment of a log, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its id, as it stands in keys.
    pub id: SegmentId,
    /// The first position it covers.
    pub first: Position,
    /// The last position it holds; just before the first while it is empty.
    pub last: Position,
    /// When it was begun.
    pub created: Timestamp,
    /// Whether it takes no further records.
    pub sealed: bool,
    /// Whether the sorted listing of its streams was written.
    pub listed: bool,
    pub(crate) totals: Totals,
}

impl Segment {
    /// How many records it was given, control records not counted.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.totals.records
    }

    /// How many of its records edges made of others.
    #[must_use]
    pub fn derived_records(&self) -> u64 {
        self.totals.derived
    }

    /// How many control records it was given.
    #[must_use]
    pub fn control_records(&self) -> u64 {
        self.totals.controls
    }

    /// Bytes of its chunks with their keys, before the slate compresses anything.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.totals.bytes
    }

    /// How many streams have records in it.
    #[must_use]
    pub fn streams(&self) -> u64 {
        self.totals.streams
    }

    /// Ingest time of its first and last record.
    #[must_use]
    pub fn ingest_times(&self) -> (Timestamp, Timestamp) {
        self.totals.ingest_times
    }

    /// Least and greatest event time of its records.
    #[must_use]
    pub fn event_times(&self) -> (Timestamp, Timestamp) {
        self.totals.event_times
    }

    /// Whether it holds nothing yet, not even a control record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.totals.records == 0 && self.totals.controls == 0
    }

    /// A segment that is about to take its first record.
    pub(crate) fn open(id: SegmentId, first: Position, created: Timestamp) -> Self {
        let last = Position(first.0.saturating_sub(1));
        Self { id, first, last, created, sealed: false, listed: false, totals: Totals::default() }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let flags = if self.sealed { SEALED } else { 0 } | if self.listed { LISTED } else { 0 };
        let mut value = Encoder::new(if self.sealed { self.totals.layout() } else { LAYOUT });
        value.u8(flags).varint(self.first.0).signed(self.created.0);
        if self.sealed {
            value.varint(self.last.0);
            self.totals.encode(&mut value);
        }
        value.finish()
    }

    pub(crate) fn decode(id: SegmentId, key: &[u8], value: &[u8]) -> Result<Self> {
        super::decode_with_totals(key, value, |fields, with_derived| {
            let flags = fields.u8()?;
            if flags & !(SEALED | LISTED) != 0 {
                return Err(Error::unsupported(format!("unknown flags of a segment, flags={flags:#04x}")));
            }
            let first = Position(fields.varint()?);
            let mut segment = Self::open(id, first, Timestamp(fields.signed()?));
            segment.sealed = flags & SEALED != 0;
            segment.listed = flags & LISTED != 0;
            if segment.sealed {
                segment.last = Position(fields.varint()?);
                segment.totals = Totals::decode(fields, with_derived)?;
                if segment.last < first {
                    return Err(Error::corrupt("a segment that ends before it begins"));
                }
            }
            Ok(segment)
        })
    }
}
