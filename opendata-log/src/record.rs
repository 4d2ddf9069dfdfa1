//! Values of a log's records other than chunks. Each begins with layout byte 1.
//!
//! ```text
//! trim point    position varint
//! cursor        position varint | hold u8 | set at, signed
//! producer      epoch varint | last seen, signed | commits varint | for each: sequence, first position, records varint
//! time          position varint
//! ```
//!
//! Segments, groups and pages have files of their own.

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Position, Result, Timestamp};

mod group;
mod page;
mod segment;

pub(crate) use group::Group;
pub(crate) use page::Page;
pub use segment::Segment;
pub(crate) use segment::Totals;

const LAYOUT: u8 = 1;
/// Of segments and groups with derived records, whose totals begin with how many those are.
const LAYOUT_DERIVED: u8 = 2;

/// How many commits of a producer are remembered, so that a repeated one is answered with its positions.
pub(crate) const REMEMBERED: usize = 8;

/// Reads a value to its end, naming the key if it is damaged.
pub(crate) fn decode<T>(key: &[u8], value: &[u8], read: impl FnOnce(&mut Decoder<'_>) -> Result<T>) -> Result<T> {
    let mut fields = Decoder::new(value);
    let decoded = fields.layout(LAYOUT).and_then(|()| read(&mut fields));
    decoded.and_then(|decoded| fields.finish().map(|()| decoded)).map_err(|error| at_key(error, key))
}

/// The same where totals are part of the value; `read` is told whether they count derived records.
fn decode_with_totals<T>(
    key: &[u8],
    value: &[u8],
    read: impl FnOnce(&mut Decoder<'_>, bool) -> Result<T>,
) -> Result<T> {
    let mut fields = Decoder::new(value);
    let decoded = fields.layout_of(&[LAYOUT, LAYOUT_DERIVED]).and_then(|layout| read(&mut fields, layout == 1));
    decoded.and_then(|decoded| fields.finish().map(|()| decoded)).map_err(|error| at_key(error, key))
}

/// Adds the key to an error about a value.
pub(crate) fn at_key(error: Error, key: &[u8]) -> Error {
    let message = format!("{}, key={}", error.message(), opendata_core::Hex(key));
    Error::new(error.kind(), message).with_source(error)
}

pub(crate) fn encode_position(position: Position) -> Bytes {
    let mut value = Encoder::new(LAYOUT);
    value.varint(position.0);
    value.finish()
}

pub(crate) fn decode_position(key: &[u8], value: &[u8]) -> Result<Position> {
    decode(key, value, |fields| fields.varint().map(Position))
}

/// Whether a cursor keeps retention from dropping what it has not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hold {
    /// Retention goes its way; the cursor may find itself below the trim point.
    #[default]
    No,
    /// Nothing at or behind the cursor is dropped, up to the configured limit.
    Yes,
}

/// A named, durable cursor of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The next position to read.
    pub position: Position,
    /// Whether it holds retention.
    pub hold: Hold,
    /// When it was set last.
    pub set_at: Timestamp,
}

impl Cursor {
    pub(crate) fn encode(&self) -> Bytes {
        let mut value = Encoder::new(LAYOUT);
        value.varint(self.position.0).u8(u8::from(self.hold == Hold::Yes)).signed(self.set_at.0);
        value.finish()
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        decode(key, value, |fields| {
            let position = Position(fields.varint()?);
            let hold = match fields.u8()? {
                0 => Hold::No,
                1 => Hold::Yes,
                other => return Err(Error::corrupt(format!("hold of a cursor, found={other}"))),
            };
            Ok(Self { position, hold, set_at: Timestamp(fields.signed()?) })
        })
    }
}

/// A commit of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Produced {
    pub(crate) sequence: u64,
    pub(crate) first: Position,
    pub(crate) records: u64,
}

/// What is known of a producer: its epoch, and its last commits, oldest first; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProducerState {
    pub(crate) epoch: u64,
    pub(crate) seen_at: Timestamp,
    pub(crate) commits: Vec<Produced>,
}

impl ProducerState {
    pub(crate) fn last_sequence(&self) -> u64 {
        self.commits.last().map_or(0, |commit| commit.sequence)
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut value = Encoder::new(LAYOUT);
        value.varint(self.epoch).signed(self.seen_at.0).varint(self.commits.len() as u64);
        for commit in &self.commits {
            value.varint(commit.sequence).varint(commit.first.0).varint(commit.records);
        }
        value.finish()
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        decode(key, value, |fields| {
            let epoch = fields.varint()?;
            let seen_at = Timestamp(fields.signed()?);
            let count = fields.count()?;
            if !(1..=REMEMBERED).contains(&count) {
                return Err(Error::corrupt(format!("commits of a producer, found={count}")));
            }
            let commits = (0..count).map(|_| {
                let (sequence, first, records) = (fields.varint()?, fields.varint()?, fields.varint()?);
                Ok(Produced { sequence, first: Position(first), records })
            });
            Ok(Self { epoch, seen_at, commits: commits.collect::<Result<_>>()? })
        })
    }
}

#[cfg(test)]
mod tests;
