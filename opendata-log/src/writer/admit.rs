//! Whether an operation may go in: every check, before anything is changed; then what it changes, except
//! its records, which are gathered until the group ends.

use bytes::Bytes;
use opendata_core::key::SegmentId;
use opendata_core::slate::{ApplyContext, PrepareContext};
use opendata_core::{Error, Position, Result};

use super::Writer;
use crate::key;
use crate::layout;
use crate::op::{CONTROL, OnDuplicate, Op, Producer, Receipt};
use crate::record::{self, Cursor, Hold, Produced, ProducerState, REMEMBERED};
use crate::stats::add;

/// A checked operation.
#[derive(Debug)]
pub struct Plan {
    op: Op,
    /// The producer as it was before this transaction.
    producer: Option<ProducerState>,
    /// The producer had committed this before.
    duplicate: Option<Receipt>,
    /// Trim points as they will be.
    stream_trims: Vec<(Bytes, Position)>,
    trim: Option<Position>,
}

enum Admission {
    New(ProducerState),
    Duplicate(Receipt),
}

impl Writer {
    pub(super) async fn admit(&mut self, mut op: Op, cx: &PrepareContext<'_>) -> Result<Plan> {
        if let Some(error) = op.refused.take() {
            return Err(error);
        }
        self.check_sizes(&op)?;
        let mut producer = None;
        if let Some(asked) = &op.producer {
            match self.check_producer(asked, cx).await? {
                Admission::New(state) => producer = Some(state),
                Admission::Duplicate(receipt) => {
                    let op = Op::default();
                    return Ok(Plan { op, producer, duplicate: Some(receipt), stream_trims: Vec::new(), trim: None });
                }
            }
        }
        if let Some(upkeep) = &op.upkeep {
            self.check_upkeep(upkeep, cx).await?;
        }
        for (stream, expected) in &op.stream_conditions {
            let found = self.head(stream, cx).await?;
            if found != *expected {
                let (expected, found) = (shown(*expected), shown(found));
                let stream = stream.escape_ascii();
                let what = "the stream ends elsewhere";
                return Err(Error::conflict(format!("{what}, stream={stream}, expected={expected}, found={found}")));
            }
        }
        self.check_cursors(&op, cx)?;
        let next = cx.last_position().next();
        let trim = op.trim.map(|before| before.min(next)).filter(|before| *before > self.trim);
        let mut stream_trims = Vec::with_capacity(op.stream_trims.len());
        for (stream, before) in &op.stream_trims {
            let before = (*before).min(next);
            if before > self.trim_of(stream, cx).await? {
                stream_trims.push((stream.clone(), before));
            }
        }
        for before in stream_trims.iter().map(|(_, before)| *before).chain(trim) {
            self.check_holds(before)?;
        }
        Ok(Plan { op, producer, duplicate: None, stream_trims, trim })
    }

    pub(super) fn apply_plan(&mut self, plan: Plan, cx: &mut ApplyContext<'_>) -> Receipt {
        let Plan { mut op, producer, duplicate, stream_trims, trim } = plan;
        if let Some(receipt) = duplicate {
            add(&self.counters.duplicates, 1);
            return receipt;
        }
        let control = cx.prefix(SegmentId::CONTROL);
        let count = op.entries.len() as u64;
        let first = (count > 0).then(|| cx.allocate(count));
        if let (Some(mut state), Some(asked)) = (producer, op.producer.take()) {
            let first = first.unwrap_or_default();
            state.commits.push(Produced { sequence: asked.sequence, first, records: count });
            state.commits.drain(..state.commits.len().saturating_sub(REMEMBERED));
            state.seen_at = cx.now();
            cx.put_visible(key::producer(control, &asked.id), state.encode());
        }
        for (stream, before) in stream_trims {
            cx.put_visible(key::stream_trim(control, &stream), record::encode_position(before));
            cx.put(key::unpruned(control, &stream), record::encode_position(before));
        }
        if let Some(before) = trim {
            self.set_trim(before, cx);
        }
        for (name, change) in op.cursors.drain(..) {
            let key = key::cursor(control, &name);
            match change {
                Some((position, hold)) => {
                    let cursor = Cursor { position, hold, set_at: cx.now() };
                    cx.put(key, cursor.encode());
                    self.cursors.insert(name, cursor);
                }
                None => {
                    cx.delete(key);
                    self.cursors.remove(&name);
                }
            }
        }
        self.gathered.roll |= op.roll;
        if let Some(upkeep) = op.upkeep.take() {
            self.apply_upkeep(upkeep, cx);
        }
        if let Some(first) = first {
            self.gathered.add(&mut op, first, cx.is_derived());
        }
        Receipt { first, count, duplicate: false }
    }

    pub(super) fn set_trim(&mut self, before: Position, cx: &mut ApplyContext<'_>) {
        self.trim = before;
        cx.put(key::trim(cx.prefix(SegmentId::CONTROL)), record::encode_position(before));
    }

    fn check_sizes(&self, op: &Op) -> Result<()> {
        let (index, size) = op.largest;
        let limit = self.config.max_record_bytes;
        if size <= limit as usize {
            return Ok(());
        }
        let stream = op.entries.get(index).filter(|entry| entry.stream != CONTROL);
        let stream = stream.and_then(|entry| op.names.get(entry.stream)).map_or(&[][..], AsRef::as_ref);
        Err(Error::invalid(format!(
            "record too large, record={index}, stream={}, size_bytes={size}, limit={limit}",
            stream.escape_ascii()
        )))
    }

    async fn check_producer(&self, asked: &Producer, cx: &PrepareContext<'_>) -> Result<Admission> {
        let key = key::producer(cx.prefix(SegmentId::CONTROL), &asked.id);
        let fresh = || ProducerState { epoch: asked.epoch, seen_at: cx.now(), commits: Vec::new() };
        let Some(value) = cx.get(&key).await? else { return Ok(Admission::New(fresh())) };
        let known = ProducerState::decode(&key, &value)?;
        let id = asked.id.escape_ascii();
        if asked.epoch > known.epoch {
            return Ok(Admission::New(fresh()));
        }
        if asked.epoch < known.epoch {
            let (epoch, known) = (asked.epoch, known.epoch);
            return Err(Error::conflict(format!("a newer producer took over, id={id}, epoch={epoch}, known={known}")));
        }
        let (sequence, last) = (asked.sequence, known.last_sequence());
        if sequence.checked_sub(1) == Some(last) {
            return Ok(Admission::New(known));
        }
        if sequence > last {
            return Err(Error::conflict(format!(
                "gap in a producer's sequence, id={id}, sequence={sequence}, last={last}"
            )));
        }
        if asked.on_duplicate == OnDuplicate::Refuse || !cx.is_alone() {
            return Err(Error::conflict(format!("committed before, id={id}, sequence={sequence}, last={last}")));
        }
        let before = known.commits.iter().find(|commit| commit.sequence == sequence);
        Ok(Admission::Duplicate(Receipt {
            first: before.map(|commit| commit.first),
            count: before.map_or(0, |commit| commit.records),
            duplicate: true,
        }))
    }

    fn check_cursors(&self, op: &Op, cx: &PrepareContext<'_>) -> Result<()> {
        for (name, expected) in &op.cursor_conditions {
            let found = self.cursors.get(name).map(|cursor| cursor.position);
            if found != *expected {
                let (name, expected, found) = (name.escape_ascii(), shown(*expected), shown(found));
                let what = "the cursor stands elsewhere";
                return Err(Error::conflict(format!("{what}, cursor={name}, expected={expected}, found={found}")));
            }
        }
        let end = cx.last_position().0.saturating_add(op.entries.len() as u64).saturating_add(1);
        for (name, change) in &op.cursors {
            let Some((position, _)) = change else { continue };
            let name = name.escape_ascii();
            if position.0 > end {
                let what = "cursor beyond the end of the log";
                return Err(Error::invalid(format!("{what}, cursor={name}, position={position}, end={end}")));
            }
            if *position < self.trim {
                let (what, trim) = ("cursor below the trim point", self.trim);
                return Err(Error::invalid(format!("{what}, cursor={name}, position={position}, trim={trim}")));
            }
        }
        Ok(())
    }

    /// What a cursor holds cannot be trimmed.
    fn check_holds(&self, before: Position) -> Result<()> {
        let held = self.cursors.iter().find(|(_, cursor)| cursor.hold == Hold::Yes && cursor.position < before);
        let Some((name, cursor)) = held else { return Ok(()) };
        let (name, position) = (name.escape_ascii(), cursor.position);
        Err(Error::conflict(format!(
            "a cursor holds what is to be trimmed, cursor={name}, position={position}, before={before}"
        )))
    }

    /// The last readable record of a stream, with everything applied so far.
    async fn head(&self, stream: &[u8], cx: &PrepareContext<'_>) -> Result<Option<Position>> {
        let open = self.open.as_ref();
        let known = self.gathered.last_of(stream).or_else(|| Some(open?.streams.get(stream)?.last));
        let last = match known {
            Some(last) => Some(last),
            None => self.stored_head(stream, cx).await?,
        };
        let Some(last) = last else { return Ok(None) };
        Ok((last >= self.trim.max(self.trim_of(stream, cx).await?)).then_some(last))
    }

    async fn stored_head(&self, stream: &[u8], cx: &PrepareContext<'_>) -> Result<Option<Position>> {
        // The streams of the open segment are in memory, unless it was inherited and is too large.
        let unread = self.open.as_ref().filter(|open| open.full).map(|open| open.segment.id);
        let sealed = self.sealed.iter().rev().map(|segment| segment.id);
        for id in unread.into_iter().chain(sealed) {
            if let Some(chunk) = layout::last_chunk(cx.view(), cx.prefix(id), stream).await? {
                return Ok(Some(chunk.last));
            }
        }
        Ok(None)
    }

    pub(super) async fn trim_of(&self, stream: &[u8], cx: &PrepareContext<'_>) -> Result<Position> {
        let key = key::stream_trim(cx.prefix(SegmentId::CONTROL), stream);
        match cx.get(&key).await? {
            Some(value) => record::decode_position(&key, &value),
            None => Ok(Position::ZERO),
        }
    }
}

fn shown(position: Option<Position>) -> String {
    position.map_or_else(|| "none".to_owned(), |position| position.to_string())
}
