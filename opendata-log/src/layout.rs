//! Which segments a log has, and where it is trimmed: what every read begins with.

use std::sync::Arc;

use opendata_core::key::{KeyRange, Prefix, SegmentId};
use opendata_core::slate::{Access, Order, Row, Rows, View};
use opendata_core::{Error, Position, Result};

use crate::chunk::Chunk;
use crate::key::{self, Key};
use crate::record::{self, Group, Segment};

/// Segments and trim point at one position.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Layout {
    /// Sealed segments, oldest first.
    pub(crate) sealed: Arc<Vec<Segment>>,
    /// The segment that takes records; none before the first one.
    pub(crate) open: Option<Segment>,
    /// The first position that is kept.
    pub(crate) trim: Position,
}

impl Layout {
    /// All segments, oldest first.
    pub(crate) fn segments(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.sealed.iter().chain(self.open.as_ref())
    }

    /// Reads it from the slate. `control` is the prefix of the control segment; so below.
    pub(crate) async fn load(view: &View, control: Prefix) -> Result<Self> {
        let mut segments = Vec::new();
        let mut rows = view.scan(key::segments(control), Access::Point, Order::Ascending).await?;
        while let Some(row) = rows.next().await? {
            let Key::Segment(id) = Key::decode(&row.key)? else {
                return Err(Error::corrupt_at(&row.key, "not the key of a segment"));
            };
            segments.push(Segment::decode(id, &row.key, &row.value)?);
        }
        let mut open = segments.pop_if(|last| !last.sealed);
        if let Some(open) = &mut open
            && let Some(group) = last_group(view, control.in_segment(open.id)).await?
        {
            open.last = group.last;
            open.totals = group.totals;
        }
        Ok(Self { sealed: Arc::new(segments), open, trim: trim(view, control).await? })
    }
}

/// The trim point of the whole log.
async fn trim(view: &View, control: Prefix) -> Result<Position> {
    let key = key::trim(control);
    match view.get(&key).await? {
        Some(value) => record::decode_position(&key, &value),
        None => Ok(Position::ZERO),
    }
}

/// The trim point of one stream, where it has one of its own.
pub(crate) async fn stream_trim(view: &View, control: Prefix, stream: &[u8]) -> Result<Position> {
    let key = key::stream_trim(control, stream);
    match view.get(&key).await? {
        Some(value) => record::decode_position(&key, &value),
        None => Ok(Position::ZERO),
    }
}

/// The newest group of a segment. `segment` is the prefix of a data segment; so below.
pub(crate) async fn last_group(view: &View, segment: Prefix) -> Result<Option<Group>> {
    let mut rows = view.scan(key::groups(segment, Position::ZERO), Access::Point, Order::Descending).await?;
    rows.next().await?.map(|row| group(&row)).transpose()
}

/// The newest group of a segment that ends before a position.
pub(crate) async fn group_before(view: &View, segment: Prefix, position: Position) -> Result<Option<Group>> {
    let mut rows = view.scan(key::groups_before(segment, position), Access::Point, Order::Descending).await?;
    rows.next().await?.map(|row| group(&row)).transpose()
}

/// The group that holds a position, or the first one behind it.
pub(crate) async fn group_at(view: &View, segment: Prefix, position: Position) -> Result<Option<Group>> {
    let mut rows = view.scan(key::groups(segment, position), Access::Point, Order::Ascending).await?;
    rows.next().await?.map(|row| group(&row)).transpose()
}

pub(crate) fn group(row: &Row) -> Result<Group> {
    match Key::decode(&row.key)? {
        Key::Group { last, .. } => Group::decode(last, &row.key, &row.value),
        _ => Err(Error::corrupt_at(&row.key, "not the key of a group")),
    }
}

/// The newest chunk of a stream in a segment.
pub(crate) async fn last_chunk(view: &View, segment: Prefix, stream: &[u8]) -> Result<Option<Chunk>> {
    let prefix = key::stream_prefix(segment, stream);
    let mut rows = view.scan_prefix(&prefix, &[], Access::Point, Order::Descending).await?;
    rows.next().await?.map(|row| chunk(&row)).transpose()
}

/// The chunk of a stream that holds a position, or the first one behind it.
pub(crate) async fn chunk_at(view: &View, segment: Prefix, stream: &[u8], position: Position) -> Result<Option<Chunk>> {
    let mut rows = stream_rows(view, segment, stream, position, Access::Point).await?;
    rows.next().await?.map(|row| chunk(&row)).transpose()
}

/// The chunks of a stream that end at a position or behind it.
pub(crate) async fn stream_rows(
    view: &View,
    segment: Prefix,
    stream: &[u8],
    from: Position,
    access: Access,
) -> Result<Rows> {
    let prefix = key::stream_prefix(segment, stream);
    view.scan_prefix(&prefix, &from.0.to_be_bytes(), access, Order::Ascending).await
}

/// The chunk in a row, whichever stream it is of; those of control records have an empty name.
pub(crate) fn chunk(row: &Row) -> Result<Chunk> {
    if let Some((stream, last)) = key::chunk_parts(&row.key) {
        return Chunk::decode(stream, last, row.value.clone()).map_err(|error| record::at_key(error, &row.key));
    }
    let (stream, last) = match Key::decode(&row.key)? {
        Key::Chunk { stream, last, .. } => (stream, last),
        Key::ControlChunk { last, .. } => (bytes::Bytes::new(), last),
        _ => return Err(Error::corrupt_at(&row.key, "not the key of a chunk")),
    };
    Chunk::decode(stream, last, row.value.clone()).map_err(|error| record::at_key(error, &row.key))
}

/// The position where a segment's records of an ingest time, or later ones, can begin.
pub(crate) async fn position_before(
    view: &View,
    segment: &Segment,
    prefix: Prefix,
    ingest: opendata_core::Timestamp,
) -> Result<Position> {
    let range: KeyRange = key::times_before(prefix, ingest);
    let mut rows = view.scan(range, Access::Point, Order::Descending).await?;
    match rows.next().await? {
        Some(row) => record::decode_position(&row.key, &row.value),
        None => Ok(segment.first),
    }
}

/// The id behind another one.
pub(crate) fn next_segment(id: SegmentId) -> SegmentId {
    SegmentId(id.0.saturating_add(1))
}
