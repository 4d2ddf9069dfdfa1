//! What a transaction asks of a log.
//!
//! The verbs only collect: what is wrong with a request is found when it is committed, and then refuses the
//! whole transaction. Conditions are checked before anything of the same operation is done, whatever the
//! order of the calls; records get their positions in the order of the calls.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use opendata_core::{Error, Operation, Position, Timestamp};

use crate::config::STREAM_NAME_LIMIT_BYTES;
use crate::entry::{About, Control, NewRecord};
use crate::maintain::Upkeep;
use crate::record::Hold;

/// Longest name of a cursor or id of a producer or barrier, in bytes.
pub const NAME_LIMIT_BYTES: usize = 1024;

/// The place of control records, which belong to no stream.
pub(crate) const CONTROL: u32 = u32::MAX;

/// Size of the buffers that names share, once there are several.
const NAMES_BYTES: usize = 4096;

/// What one record costs in memory beside its bytes.
const ENTRY_BYTES: usize = size_of::<Entry>();

/// Appends, conditions and everything else that a transaction asks of a log.
///
/// ```
/// use opendata_log::{NewRecord, Op};
///
/// let mut op = Op::default();
/// op.expect_position("orders", None).append("orders", "first").append_record("orders", NewRecord::new("second"));
/// assert_eq!(op.records(), 2);
/// ```
#[derive(Debug, Default)]
pub struct Op {
    pub(crate) names: Names,
    pub(crate) entries: Vec<Entry>,
    pub(crate) stream_conditions: Vec<(Bytes, Option<Position>)>,
    pub(crate) cursor_conditions: Vec<(Bytes, Option<Position>)>,
    pub(crate) producer: Option<Producer>,
    pub(crate) stream_trims: Vec<(Bytes, Position)>,
    pub(crate) trim: Option<Position>,
    pub(crate) cursors: Vec<(Bytes, Option<(Position, Hold)>)>,
    pub(crate) roll: bool,
    pub(crate) upkeep: Option<Upkeep>,
    /// The largest record: its place among the entries, and its size.
    pub(crate) largest: (usize, usize),
    /// The first thing that can be seen to be wrong without looking at the log.
    pub(crate) refused: Option<Error>,
    bytes: usize,
}

/// A record on its way to a stream.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Index of the stream among the names, or [`CONTROL`].
    pub(crate) stream: u32,
    pub(crate) payload: Bytes,
    pub(crate) about: About,
}

/// Who sends, and the how-manieth of its transactions this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    /// The producer's id: any bytes, at most [`NAME_LIMIT_BYTES`].
    pub id: Bytes,
    /// Grows each time that the producer is started anew; an older one can no longer write.
    pub epoch: u64,
    /// Grows by one with each transaction of an epoch. The first may be any.
    pub sequence: u64,
    /// What to do if this sequence was committed before.
    pub on_duplicate: OnDuplicate,
}

/// What to do with a transaction that a producer had committed before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDuplicate {
    /// The log does nothing and the receipt tells the positions of the first time. If the transaction asks
    /// anything of other instances too, it is refused as under [`Refuse`](Self::Refuse): they would do their part again.
    #[default]
    Skip,
    /// The whole transaction fails with `Conflict` and leaves no trace.
    Refuse,
}

impl Op {
    /// Appends a record with nothing but a payload.
    pub fn append(&mut self, stream: impl AsRef<[u8]>, payload: impl Into<Bytes>) -> &mut Self {
        let stream = self.stream(stream.as_ref());
        self.push(stream, payload.into(), About::default());
        self
    }

    /// Appends a record.
    pub fn append_record(&mut self, stream: impl AsRef<[u8]>, record: NewRecord) -> &mut Self {
        let stream = self.stream(stream.as_ref());
        self.push(stream, record.payload, record.about);
        self
    }

    /// Appends many records to one stream.
    pub fn append_all<P: Into<Bytes>>(
        &mut self,
        stream: impl AsRef<[u8]>,
        payloads: impl IntoIterator<Item = P>,
    ) -> &mut Self {
        let payloads = payloads.into_iter();
        if payloads.size_hint().1 == Some(0) {
            return self;
        }
        let stream = self.stream(stream.as_ref());
        self.entries.reserve(payloads.size_hint().0);
        for payload in payloads {
            self.push(stream, payload.into(), About::default());
        }
        self
    }

    /// Puts a barrier into the log: seen by all who follow any part of it and ask for control records.
    pub fn barrier(&mut self, id: impl AsRef<[u8]>) -> &mut Self {
        let id = Bytes::copy_from_slice(id.as_ref());
        self.check_name("barrier", &id);
        self.push(CONTROL, Control::Barrier(id).encode(), About::default());
        self
    }

    /// Puts a watermark into the log: no event older than `time` is expected behind it.
    pub fn watermark(&mut self, time: Timestamp) -> &mut Self {
        self.push(CONTROL, Control::Watermark(time).encode(), About::default());
        self
    }

    /// Demands that the last record of a stream stands at this position, or that the stream has none.
    /// A transaction whose demand does not hold fails with `Conflict`.
    pub fn expect_position(&mut self, stream: impl AsRef<[u8]>, position: Option<Position>) -> &mut Self {
        let stream = self.condition_stream(stream.as_ref());
        self.stream_conditions.push((stream, position));
        self
    }

    /// Makes the transaction idempotent: shorthand for [`producer_with`](Self::producer_with) with epoch 0.
    pub fn producer(&mut self, id: impl AsRef<[u8]>, sequence: u64) -> &mut Self {
        let id = Bytes::copy_from_slice(id.as_ref());
        self.producer_with(Producer { id, epoch: 0, sequence, on_duplicate: OnDuplicate::Skip })
    }

    /// Makes the transaction idempotent. A sequence that was committed before is not written again, and its
    /// receipt gives the first positions as far as they are remembered (the last 8 transactions of each producer). A
    /// gap in the sequence, or an older epoch, is a `Conflict`.
    pub fn producer_with(&mut self, producer: Producer) -> &mut Self {
        self.check_name("producer", &producer.id);
        self.bytes += producer.id.len() + 64;
        self.producer = Some(producer);
        self
    }

    /// Gives up the records of a stream before a position. [`Position::MAX`] means all that it has now.
    pub fn trim(&mut self, stream: impl AsRef<[u8]>, before: Position) -> &mut Self {
        let stream = self.condition_stream(stream.as_ref());
        self.stream_trims.push((stream, before));
        self
    }

    /// Gives up all records before a position. [`Position::MAX`] means all there are now.
    pub fn trim_all(&mut self, before: Position) -> &mut Self {
        self.trim = Some(self.trim.map_or(before, |trim| trim.max(before)));
        self
    }

    /// Sets a cursor to the next position it will read. Beyond the end of the log or below its trim point is `Invalid`.
    pub fn set_cursor(&mut self, name: impl AsRef<[u8]>, position: Position, hold: Hold) -> &mut Self {
        self.change_cursor(name.as_ref(), Some((position, hold)))
    }

    /// Removes a cursor; if there is none, nothing happens.
    pub fn remove_cursor(&mut self, name: impl AsRef<[u8]>) -> &mut Self {
        self.change_cursor(name.as_ref(), None)
    }

    /// Demands that a cursor stands at this position, or that there is none of this name; else `Conflict`.
    pub fn expect_cursor(&mut self, name: impl AsRef<[u8]>, position: Option<Position>) -> &mut Self {
        let name = Bytes::copy_from_slice(name.as_ref());
        self.check_name("cursor", &name);
        self.bytes += name.len() + 64;
        self.cursor_conditions.push((name, position));
        self
    }

    /// Closes the open segment, so that retention or trim can drop what the log holds now.
    pub fn roll(&mut self) -> &mut Self {
        self.roll = true;
        self
    }

    /// How many records it appends, control records included.
    #[must_use]
    pub fn records(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn upkeep(upkeep: Upkeep) -> Self {
        Self { bytes: upkeep.size_bytes(), upkeep: Some(upkeep), ..Self::default() }
    }

    fn push(&mut self, stream: u32, payload: Bytes, about: About) {
        let size = payload.len() + about.headers().len();
        if size > self.largest.1 {
            self.largest = (self.entries.len(), size);
        }
        self.bytes += size + ENTRY_BYTES;
        self.entries.push(Entry { stream, payload, about });
    }

    fn stream(&mut self, name: &[u8]) -> u32 {
        let (index, is_new) = self.names.intern(name);
        if is_new {
            self.bytes += 2 * name.len() + 64;
            self.check_stream(name);
        }
        index
    }

    fn condition_stream(&mut self, name: &[u8]) -> Bytes {
        self.check_stream(name);
        self.bytes += name.len() + 64;
        Bytes::copy_from_slice(name)
    }

    fn change_cursor(&mut self, name: &[u8], change: Option<(Position, Hold)>) -> &mut Self {
        self.check_name("cursor", name);
        self.bytes += name.len() + 64;
        self.cursors.push((Bytes::copy_from_slice(name), change));
        self
    }

    fn check_stream(&mut self, name: &[u8]) {
        if name.len() > STREAM_NAME_LIMIT_BYTES {
            self.refuse(|| {
                let beginning = name.get(..32).unwrap_or_default().escape_ascii();
                format!(
                    "stream name too long, size_bytes={}, limit={STREAM_NAME_LIMIT_BYTES}, begins={beginning}",
                    name.len()
                )
            });
        }
    }

    fn check_name(&mut self, what: &str, name: &[u8]) {
        if name.is_empty() || name.len() > NAME_LIMIT_BYTES {
            let size = name.len();
            self.refuse(|| format!("name of a {what} is 1 to {NAME_LIMIT_BYTES} bytes, size_bytes={size}"));
        }
    }

    fn refuse(&mut self, message: impl FnOnce() -> String) {
        if self.refused.is_none() {
            self.refused = Some(Error::invalid(message()));
        }
    }
}

impl Operation for Op {
    fn size_bytes(&self) -> usize {
        self.bytes
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.stream_conditions.is_empty()
            && self.cursor_conditions.is_empty()
            && self.producer.is_none()
            && self.stream_trims.is_empty()
            && self.trim.is_none()
            && self.cursors.is_empty()
            && !self.roll
            && self.upkeep.is_none()
            && self.refused.is_none()
    }
}

/// Stream names, each once, in the order they were first seen.
///
/// They are slices of shared buffers: whoever keeps one for long copies it.
#[derive(Debug, Default)]
pub(crate) struct Names {
    buffer: BytesMut,
    names: Vec<Bytes>,
    index: HashMap<Bytes, u32>,
    latest: u32,
}

impl Names {
    /// The name's index, and whether it is new.
    pub(crate) fn intern(&mut self, name: &[u8]) -> (u32, bool) {
        if let Some(found) = self.find(name) {
            self.latest = found;
            return (found, false);
        }
        if self.buffer.capacity() < name.len() {
            let room = if self.names.is_empty() { 0 } else { NAMES_BYTES };
            self.buffer = BytesMut::with_capacity(room.max(name.len()));
        }
        self.buffer.extend_from_slice(name);
        let name = self.buffer.split().freeze();
        let index = u32::try_from(self.names.len()).unwrap_or(CONTROL - 1);
        self.names.push(name.clone());
        self.index.insert(name, index);
        self.latest = index;
        (index, true)
    }

    pub(crate) fn find(&self, name: &[u8]) -> Option<u32> {
        // Runs of records to one stream are common.
        if self.names.get(self.latest as usize).is_some_and(|latest| latest == name) {
            return Some(self.latest);
        }
        self.index.get(name).copied()
    }

    pub(crate) fn get(&self, index: u32) -> Option<&Bytes> {
        self.names.get(index as usize)
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.names.iter()
    }
}

/// What a log did for a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub(crate) first: Option<Position>,
    pub(crate) count: u64,
    pub(crate) duplicate: bool,
}

impl Receipt {
    /// Position of the record that was appended first; none if there were no records, or if this repeats a
    /// transaction that is no longer remembered.
    #[must_use]
    pub fn first(&self) -> Option<Position> {
        self.first.filter(|_| self.count > 0)
    }

    /// Position of the record that was appended last.
    #[must_use]
    pub fn last(&self) -> Option<Position> {
        self.position(self.count.checked_sub(1)?)
    }

    /// Position of a record by its place among the transaction's appends, from 0.
    #[must_use]
    pub fn position(&self, index: u64) -> Option<Position> {
        self.first.filter(|_| index < self.count).map(|first| Position(first.0 + index))
    }

    /// How many records were appended, now or the first time.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.count
    }

    /// Whether the producer had committed this before, so that nothing was written now.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        self.duplicate
    }
}

#[cfg(test)]
mod tests;
