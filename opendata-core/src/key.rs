//! Keys: the 8-byte prefix that every key of every slate begins with, and order-preserving fields after it.
//!
//! ```text
//! | system u8 | format version u8 | instance u16 | segment u32 | tag u8 | the system's own fields
//! ```
//!
//! Integers are big-endian, so that byte order is number order. This module is the only writer of the
//! prefix. Segment 0 is an instance's control segment; its tags 0x00 to 0x0f belong to this crate.

use std::ops::Bound;

use bytes::{Bytes, BytesMut};

use crate::error::{Error, Result};

/// Length of the prefix in bytes. It is also what the segment extractor takes of a key.
pub const PREFIX_LEN: usize = 8;

/// Identifies a system. The registry is in `docs/format.md` and only ever grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SystemId(pub u8);

impl SystemId {
    /// The time series database.
    pub const TSDB: Self = Self(0x01);
    /// The vector database.
    pub const VECTOR: Self = Self(0x02);
    /// The log.
    pub const LOG: Self = Self(0x03);
    /// The slate's own records.
    pub const SLATE: Self = Self(0x7f);
}

/// Identifies an instance inside its slate. Ids are given out once and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(pub u16);

/// A segment of an instance: what retention drops as a whole. Zero is the control segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentId(pub u32);

impl SegmentId {
    /// Holds an instance's header, cursors and everything else that retention never drops.
    pub const CONTROL: Self = Self(0);
    /// Where data begins.
    pub const FIRST_DATA: Self = Self(1);
}

/// The kind of a record inside a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u8);

impl Tag {
    /// Whether, in a control segment, records of this kind are the slate's own and not the system's: cursors, for one.
    #[must_use]
    pub fn is_core(self) -> bool {
        self.0 < 0x10
    }
}

/// The first eight bytes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    /// The system that owns the record.
    pub system: SystemId,
    /// The version of that system's format.
    pub version: u8,
    /// The instance in the slate.
    pub instance: InstanceId,
    /// The segment of the instance.
    pub segment: SegmentId,
}

impl Prefix {
    /// The prefix as it stands in a key.
    #[must_use]
    pub fn encode(self) -> [u8; PREFIX_LEN] {
        let [i0, i1] = self.instance.0.to_be_bytes();
        let [s0, s1, s2, s3] = self.segment.0.to_be_bytes();
        [self.system.0, self.version, i0, i1, s0, s1, s2, s3]
    }

    /// Splits a key into its prefix and the rest.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if the key is shorter than a prefix, or its system id is one of the two that are never used.
    pub fn decode(key: &[u8]) -> Result<(Self, &[u8])> {
        let Some(([system, version, i0, i1, s0, s1, s2, s3], rest)) = key.split_first_chunk::<PREFIX_LEN>() else {
            return Err(Error::corrupt_at(key, "shorter than a key prefix"));
        };
        if matches!(system, 0x00 | 0xff) {
            return Err(Error::corrupt_at(key, "reserved system id"));
        }
        let prefix = Self {
            system: SystemId(*system),
            version: *version,
            instance: InstanceId(u16::from_be_bytes([*i0, *i1])),
            segment: SegmentId(u32::from_be_bytes([*s0, *s1, *s2, *s3])),
        };
        Ok((prefix, rest))
    }

    /// The same instance's prefix for another segment.
    #[must_use]
    pub fn in_segment(self, segment: SegmentId) -> Self {
        Self { segment, ..self }
    }

    /// Begins a key of this segment.
    #[must_use]
    pub fn key(self, tag: Tag) -> KeyBuilder {
        let mut bytes = BytesMut::with_capacity(PREFIX_LEN + 32);
        bytes.extend_from_slice(&self.encode());
        bytes.extend_from_slice(&[tag.0]);
        KeyBuilder { bytes }
    }

    /// Begins a key of this segment in a buffer that many keys and values share; see [`KeyBuilder::build_in`].
    #[must_use]
    pub fn key_in(self, tag: Tag, buffer: &mut BytesMut) -> KeyBuilder {
        let mut bytes = std::mem::take(buffer);
        bytes.clear();
        bytes.extend_from_slice(&self.encode());
        bytes.extend_from_slice(&[tag.0]);
        KeyBuilder { bytes }
    }

    /// All keys of this segment.
    #[must_use]
    pub fn range(self) -> KeyRange {
        KeyRange::prefix(&self.encode())
    }
}

/// Writes order-preserving fields behind a prefix and tag.
#[derive(Clone, Debug)]
pub struct KeyBuilder {
    bytes: BytesMut,
}

impl KeyBuilder {
    /// A byte string of any content and length. `0x00` becomes `0x00 0xff`, and `0x00 0x00` ends the
    /// field, so that order is kept and no string is the prefix of another.
    #[must_use]
    pub fn terminated(mut self, field: &[u8]) -> Self {
        self.escape(field);
        self.bytes.extend_from_slice(&[0, 0]);
        self
    }

    /// The beginning of a [`terminated`](Self::terminated) field: a range over it covers all strings that begin so.
    #[must_use]
    pub fn beginning(mut self, field: &[u8]) -> Self {
        self.escape(field);
        self
    }

    fn escape(&mut self, field: &[u8]) {
        let mut parts = field.split(|byte| *byte == 0);
        if let Some(first) = parts.next() {
            self.bytes.extend_from_slice(first);
        }
        for part in parts {
            self.bytes.extend_from_slice(&[0, 0xff]);
            self.bytes.extend_from_slice(part);
        }
    }

    /// One byte.
    #[must_use]
    pub fn u8(mut self, field: u8) -> Self {
        self.bytes.extend_from_slice(&[field]);
        self
    }

    /// Two bytes, big-endian.
    #[must_use]
    pub fn u16(mut self, field: u16) -> Self {
        self.bytes.extend_from_slice(&field.to_be_bytes());
        self
    }

    /// Four bytes, big-endian.
    #[must_use]
    pub fn u32(mut self, field: u32) -> Self {
        self.bytes.extend_from_slice(&field.to_be_bytes());
        self
    }

    /// Eight bytes, big-endian.
    #[must_use]
    pub fn u64(mut self, field: u64) -> Self {
        self.bytes.extend_from_slice(&field.to_be_bytes());
        self
    }

    /// Eight bytes, big-endian with the sign bit flipped, so that negative numbers come first.
    #[must_use]
    pub fn i64(self, field: i64) -> Self {
        self.u64(field.cast_unsigned() ^ (1 << 63))
    }

    /// Eight bytes in the order of IEEE 754 `totalOrder` (section 5.10): -NaN, -inf, ..., -0, 0, ..., inf, NaN.
    #[must_use]
    pub fn f64(self, field: f64) -> Self {
        let bits = field.to_bits();
        self.u64(if bits >> 63 == 1 { !bits } else { bits | (1 << 63) })
    }

    /// Bytes as they are. Only for the last field of a key.
    #[must_use]
    pub fn raw(mut self, field: &[u8]) -> Self {
        self.bytes.extend_from_slice(field);
        self
    }

    /// The finished key.
    #[must_use]
    pub fn build(self) -> Bytes {
        self.bytes.freeze()
    }

    /// The finished key, as a slice of the buffer it was begun in, whose unused rest is given back. A writer of many
    /// small rows saves an allocation for each in this way.
    #[must_use]
    pub fn build_in(mut self, buffer: &mut BytesMut) -> Bytes {
        let key = self.bytes.split().freeze();
        *buffer = self.bytes;
        key
    }

    /// All keys that begin with what was written so far.
    #[must_use]
    pub fn range(self) -> KeyRange {
        KeyRange::prefix(&self.bytes)
    }
}

/// Reads the fields that a [`KeyBuilder`] wrote.
#[derive(Clone, Debug)]
pub struct KeyReader<'a> {
    key: &'a [u8],
    rest: &'a [u8],
}

impl<'a> KeyReader<'a> {
    /// Reads a whole key: the prefix first, then the fields through the reader.
    ///
    /// # Errors
    /// `Corrupt` if the prefix is not one.
    pub fn new(key: &'a [u8]) -> Result<(Prefix, Tag, Self)> {
        let (prefix, rest) = Prefix::decode(key)?;
        let mut reader = Self { key, rest };
        let tag = Tag(reader.u8()?);
        Ok((prefix, tag, reader))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (field, rest) =
            self.rest.split_first_chunk::<N>().ok_or_else(|| Error::corrupt_at(self.key, "key ends inside a field"))?;
        self.rest = rest;
        Ok(*field)
    }

    /// A field written by [`KeyBuilder::terminated`].
    ///
    /// # Errors
    /// `Corrupt` if the field has no end or a wrong escape.
    pub fn terminated(&mut self) -> Result<Vec<u8>> {
        let mut field = Vec::new();
        loop {
            match self.rest {
                [0, 0xff, rest @ ..] => {
                    field.push(0);
                    self.rest = rest;
                }
                [0, 0, rest @ ..] => {
                    self.rest = rest;
                    return Ok(field);
                }
                [0, ..] | [] => return Err(Error::corrupt_at(self.key, "string field without an end")),
                _ => {
                    let end = self.rest.iter().position(|byte| *byte == 0).unwrap_or(self.rest.len());
                    let (part, rest) = self.rest.split_at(end);
                    field.extend_from_slice(part);
                    self.rest = rest;
                }
            }
        }
    }

    /// One byte.
    ///
    /// # Errors
    /// `Corrupt` at the end of the key; so for all that follow.
    pub fn u8(&mut self) -> Result<u8> {
        let [byte] = self.take::<1>()?;
        Ok(byte)
    }

    /// Two bytes, big-endian.
    ///
    /// # Errors
    /// `Corrupt` at the end of the key.
    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.take()?))
    }

    /// Four bytes, big-endian.
    ///
    /// # Errors
    /// `Corrupt` at the end of the key.
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.take()?))
    }

    /// Eight bytes, big-endian.
    ///
    /// # Errors
    /// `Corrupt` at the end of the key.
    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_be_bytes(self.take()?))
    }

    /// What [`KeyBuilder::i64`] wrote.
    ///
    /// # Errors
    /// `Corrupt` at the end of the key.
    pub fn i64(&mut self) -> Result<i64> {
        Ok((self.u64()? ^ (1 << 63)).cast_signed())
    }

    /// What [`KeyBuilder::f64`] wrote.
    ///
    /// # Errors
    /// `Corrupt` at the end of the key.
    pub fn f64(&mut self) -> Result<f64> {
        let bits = self.u64()?;
        Ok(f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits }))
    }

    /// What is left of the key.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// `Corrupt` if there are bytes behind the last field.
    pub fn finish(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(Error::corrupt_at(self.key, "bytes behind the last field")) }
    }
}

/// A range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// Where it begins.
    pub start: Bound<Bytes>,
    /// Where it ends.
    pub end: Bound<Bytes>,
}

impl KeyRange {
    /// All keys that begin with these bytes.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        Self {
            start: Bound::Included(Bytes::copy_from_slice(prefix)),
            end: successor(prefix).map_or(Bound::Unbounded, Bound::Excluded),
        }
    }

    /// All keys there are.
    #[must_use]
    pub fn all() -> Self {
        Self { start: Bound::Unbounded, end: Bound::Unbounded }
    }

    /// From one key, included, to another, excluded.
    #[must_use]
    pub fn between(start: Bytes, end: Bytes) -> Self {
        Self { start: Bound::Included(start), end: Bound::Excluded(end) }
    }

    /// The same range from a later start on.
    #[must_use]
    pub fn starting_at(mut self, start: Bytes) -> Self {
        self.start = Bound::Included(start);
        self
    }

    /// Whether the key lies inside.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        let after_start = match &self.start {
            Bound::Included(start) => key >= start.as_ref(),
            Bound::Excluded(start) => key > start.as_ref(),
            Bound::Unbounded => true,
        };
        let before_end = match &self.end {
            Bound::Included(end) => key <= end.as_ref(),
            Bound::Excluded(end) => key < end.as_ref(),
            Bound::Unbounded => true,
        };
        after_start && before_end
    }
}

impl slatedb::ByteRangeBounds for KeyRange {
    fn start_bound(&self) -> Bound<&[u8]> {
        self.start.as_ref().map(AsRef::as_ref)
    }

    fn end_bound(&self) -> Bound<&[u8]> {
        self.end.as_ref().map(AsRef::as_ref)
    }
}

/// The first byte string that is greater than every string beginning with `prefix`; none if `prefix` is all `0xff`.
#[must_use]
pub fn successor(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut next = prefix.get(..=last)?.to_vec();
    if let Some(byte) = next.last_mut() {
        *byte += 1;
    }
    Some(next.into())
}

#[cfg(test)]
mod tests;
