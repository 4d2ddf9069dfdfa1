//! Keys of a log's records.
//!
//! ```text
//! data segments
//! 0x10 | stream, terminated | last position u64  -> chunk of records of one stream
//! 0x11 | last position u64                       -> chunk of control records
//! 0x18 | last position u64                       -> group: what one batch added to the segment
//! 0x19 | ingest time i64                         -> position: sparse time index
//! 0x1a | first stream, terminated                -> page of the sorted listing of a sealed segment
//! control segment
//! 0x10 | segment u32                             -> segment
//! 0x11 | stream, terminated                      -> trim point of one stream
//! 0x12 |                                         -> trim point of the whole log
//! 0x13 | name                                    -> cursor
//! 0x14 | id                                      -> producer
//! 0x15 | stream, terminated                      -> mark: trimmed chunks of the stream are still there
//! ```
//!
//! A chunk is keyed by its *last* position, so that one seek to `(stream, p)` lands on the chunk that
//! holds `p` or the first record behind it.

use bytes::{Bytes, BytesMut};
use opendata_core::key::{KeyRange, KeyReader, PREFIX_LEN, Prefix, SegmentId, Tag};
use opendata_core::{Error, Position, Result, Timestamp};

const CHUNK: Tag = Tag(0x10);
const CONTROL_CHUNK: Tag = Tag(0x11);
const GROUP: Tag = Tag(0x18);
const TIME: Tag = Tag(0x19);
const PAGE: Tag = Tag(0x1a);

const SEGMENT: Tag = Tag(0x10);
const STREAM_TRIM: Tag = Tag(0x11);
const TRIM: Tag = Tag(0x12);
const CURSOR: Tag = Tag(0x13);
const PRODUCER: Tag = Tag(0x14);
const UNPRUNED: Tag = Tag(0x15);

/// A key of a log, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Chunk { segment: SegmentId, stream: Bytes, last: Position },
    ControlChunk { segment: SegmentId, last: Position },
    Group { segment: SegmentId, last: Position },
    Time { segment: SegmentId, ingest: Timestamp },
    Page { segment: SegmentId, first: Bytes },
    Segment(SegmentId),
    StreamTrim(Bytes),
    Trim,
    Cursor(Bytes),
    Producer(Bytes),
    Unpruned(Bytes),
}

impl Key {
    pub(crate) fn decode(key: &[u8]) -> Result<Self> {
        let (prefix, tag, mut fields) = KeyReader::new(key)?;
        let segment = prefix.segment;
        let decoded = match (segment == SegmentId::CONTROL, tag) {
            (false, CHUNK) => {
                let stream = fields.terminated()?.into();
                Self::Chunk { segment, stream, last: Position(fields.u64()?) }
            }
            (false, CONTROL_CHUNK) => Self::ControlChunk { segment, last: Position(fields.u64()?) },
            (false, GROUP) => Self::Group { segment, last: Position(fields.u64()?) },
            (false, TIME) => Self::Time { segment, ingest: Timestamp(fields.i64()?) },
            (false, PAGE) => Self::Page { segment, first: fields.terminated()?.into() },
            (true, SEGMENT) => Self::Segment(SegmentId(fields.u32()?)),
            (true, STREAM_TRIM) => Self::StreamTrim(fields.terminated()?.into()),
            (true, TRIM) => Self::Trim,
            (true, CURSOR) => return Ok(Self::Cursor(Bytes::copy_from_slice(fields.rest()))),
            (true, PRODUCER) => return Ok(Self::Producer(Bytes::copy_from_slice(fields.rest()))),
            (true, UNPRUNED) => Self::Unpruned(fields.terminated()?.into()),
            _ => return Err(Error::corrupt_at(key, "unknown tag of a log")),
        };
        fields.finish()?;
        Ok(decoded)
    }
}

/// A chunk of one stream. `prefix` names the data segment; so below.
pub(crate) fn chunk(prefix: Prefix, stream: &[u8], last: Position) -> Bytes {
    prefix.key(CHUNK).terminated(stream).u64(last.0).build()
}

/// Stream and last position of a chunk's key, as slices of it. None if the name holds an escape, or if it is
/// another key: then [`Key::decode`] says what it is.
pub(crate) fn chunk_parts(key: &Bytes) -> Option<(Bytes, Position)> {
    let (fields, last) = key.split_last_chunk::<8>()?;
    let (head, name) = fields.split_at_checked(PREFIX_LEN + 1)?;
    let name = name.strip_suffix(&[0, 0])?;
    let (prefix, tag) = Prefix::decode(head).ok()?;
    if tag != [CHUNK.0] || prefix.segment == SegmentId::CONTROL || name.contains(&0) {
        return None;
    }
    Some((key.slice_ref(name), Position(u64::from_be_bytes(*last))))
}

/// The same key in a buffer that the rows of a group share.
pub(crate) fn chunk_in(buffer: &mut BytesMut, prefix: Prefix, stream: &[u8], last: Position) -> Bytes {
    prefix.key_in(CHUNK, buffer).terminated(stream).u64(last.0).build_in(buffer)
}

/// What all keys of one stream's chunks begin with.
pub(crate) fn stream_prefix(prefix: Prefix, stream: &[u8]) -> Bytes {
    prefix.key(CHUNK).terminated(stream).build()
}

/// The chunks of all streams whose names begin with `beginning`.
pub(crate) fn chunks(prefix: Prefix, beginning: &[u8]) -> KeyRange {
    prefix.key(CHUNK).beginning(beginning).range()
}

pub(crate) fn control_chunk(prefix: Prefix, last: Position) -> Bytes {
    prefix.key(CONTROL_CHUNK).u64(last.0).build()
}

/// The control records of a segment that end at `from` or behind it.
pub(crate) fn control_chunks(prefix: Prefix, from: Position) -> KeyRange {
    prefix.key(CONTROL_CHUNK).range().starting_at(control_chunk(prefix, from))
}

pub(crate) fn group(prefix: Prefix, last: Position) -> Bytes {
    prefix.key(GROUP).u64(last.0).build()
}

/// The groups of a segment that end at `from` or behind it.
pub(crate) fn groups(prefix: Prefix, from: Position) -> KeyRange {
    prefix.key(GROUP).range().starting_at(group(prefix, from))
}

/// The groups of a segment that end before `end`.
pub(crate) fn groups_before(prefix: Prefix, end: Position) -> KeyRange {
    KeyRange::between(prefix.key(GROUP).build(), group(prefix, end))
}

pub(crate) fn time(prefix: Prefix, ingest: Timestamp) -> Bytes {
    prefix.key(TIME).i64(ingest.0).build()
}

/// Entries of the time index before `ingest`.
pub(crate) fn times_before(prefix: Prefix, ingest: Timestamp) -> KeyRange {
    KeyRange::between(prefix.key(TIME).build(), time(prefix, ingest))
}

pub(crate) fn page(prefix: Prefix, first: &[u8]) -> Bytes {
    prefix.key(PAGE).terminated(first).build()
}

/// All pages of a segment's listing.
pub(crate) fn pages(prefix: Prefix) -> KeyRange {
    prefix.key(PAGE).range()
}

/// `control` is the prefix of the control segment; so for all that follow.
pub(crate) fn segment(control: Prefix, id: SegmentId) -> Bytes {
    control.key(SEGMENT).u32(id.0).build()
}

pub(crate) fn segments(control: Prefix) -> KeyRange {
    control.key(SEGMENT).range()
}

pub(crate) fn stream_trim(control: Prefix, stream: &[u8]) -> Bytes {
    control.key(STREAM_TRIM).terminated(stream).build()
}

/// The trim points of all streams whose names begin with `beginning`.
pub(crate) fn stream_trims(control: Prefix, beginning: &[u8]) -> KeyRange {
    control.key(STREAM_TRIM).beginning(beginning).range()
}

pub(crate) fn trim(control: Prefix) -> Bytes {
    control.key(TRIM).build()
}

pub(crate) fn cursor(control: Prefix, name: &[u8]) -> Bytes {
    control.key(CURSOR).raw(name).build()
}

pub(crate) fn cursors(control: Prefix) -> KeyRange {
    control.key(CURSOR).range()
}

pub(crate) fn producer(control: Prefix, id: &[u8]) -> Bytes {
    control.key(PRODUCER).raw(id).build()
}

pub(crate) fn producers(control: Prefix) -> KeyRange {
    control.key(PRODUCER).range()
}

pub(crate) fn unpruned(control: Prefix, stream: &[u8]) -> Bytes {
    control.key(UNPRUNED).terminated(stream).build()
}

pub(crate) fn all_unpruned(control: Prefix) -> KeyRange {
    control.key(UNPRUNED).range()
}

/// Chunks are filtered by (segment, stream): a scan of one stream skips every file that does not hold it.
pub(crate) fn filter_prefix_len(key: &[u8]) -> Option<usize> {
    let (prefix, rest) = Prefix::decode(key).ok()?;
    let (tag, stream) = rest.split_first()?;
    if prefix.segment == SegmentId::CONTROL || *tag != CHUNK.0 {
        return None;
    }
    terminated_len(stream).map(|len| PREFIX_LEN + 1 + len)
}

/// Length of a terminated field with its end, if it is all there.
fn terminated_len(field: &[u8]) -> Option<usize> {
    let mut len = 0;
    loop {
        let rest = field.get(len..)?;
        len += rest.iter().position(|byte| *byte == 0)? + 2;
        match field.get(len - 1)? {
            0 => return Some(len),
            _ => continue,
        }
    }
}

#[cfg(test)]
mod tests;
