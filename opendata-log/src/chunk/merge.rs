//! Records of several chunks whose positions overlap, in order of position.
//!
//! What is sorted is eight bytes a record: how far its position lies behind the first one, and which chunk has it. Records are made in that order, as many at a
//! time as are asked for, so that a large commit over many streams is never in memory as records at once.

use std::ops::Range;
use std::vec;

use bytes::Bytes;
use opendata_core::{Error, Position, Result, Timestamp};

use super::Chunk;
use super::decode::Walk;
use crate::entry::{Control, Record};

/// Chunks that are being read together.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    parts: Vec<Part>,
    turns: vec::IntoIter<u64>,
    /// Only records that happened at this time or later.
    happened: Option<Timestamp>,
}

/// A chunk, and how far it was read.
#[derive(Debug)]
struct Part {
    source: Source,
    walk: Walk,
    body: Bytes,
}

/// An error, and whose chunk is damaged.
#[derive(Debug)]
pub(crate) struct Damaged {
    pub(crate) error: Error,
    pub(crate) stream: Bytes,
    pub(crate) last: Position,
    pub(crate) is_control: bool,
}

/// What is to be merged.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) chunk: Chunk,
    /// Positions that are wanted of it.
    pub(crate) wanted: Range<Position>,
    pub(crate) is_control: bool,
}

impl Source {
    fn damaged(&self, error: Error) -> Damaged {
        Damaged { error, stream: self.chunk.stream.clone(), last: self.chunk.last, is_control: self.is_control }
    }
}

impl Merge {
    /// Opens chunks, checking their columns.
    pub(crate) fn open(sources: Vec<Source>, happened: Option<Timestamp>) -> Result<Self, Damaged> {
        let low = sources.iter().map(|source| source.chunk.first).min().unwrap_or_default();
        let mut turns = Vec::with_capacity(sources.iter().map(|source| source.chunk.count).sum());
        let mut parts = Vec::with_capacity(sources.len());
        for (index, source) in (0_u64..).zip(sources) {
            let (walk, body) = source.chunk.walk().map_err(|error| source.damaged(error))?;
            if source.chunk.last.0 - low.0 > u64::from(u32::MAX) {
                return Err(source.damaged(Error::corrupt("chunks that were committed together lie too far apart")));
            }
            let turn = |position: Position| turns.push((position.0 - low.0) << 32 | index);
            source.chunk.each_position(turn).map_err(|error| source.damaged(error))?;
            parts.push(Part { source, walk, body });
        }
        turns.sort_unstable();
        Ok(Self { parts, turns: turns.into_iter(), happened })
    }

    /// Whether everything was given.
    pub(crate) fn is_over(&self) -> bool {
        self.turns.as_slice().is_empty()
    }

    /// Appends records until there are `enough` or no more. Those before what is damaged are given.
    pub(crate) fn read(&mut self, enough: usize, out: &mut Vec<Record>) -> Result<(), Damaged> {
        out.reserve(enough.saturating_sub(out.len()).min(self.turns.len()));
        while out.len() < enough
            && let Some(turn) = self.turns.next()
        {
            #[expect(clippy::cast_possible_truncation, reason = "the lower half is the index of a part")]
            let index = turn as u32 as usize;
            let Some(part) = self.parts.get_mut(index) else { continue };
            match part.next(self.happened) {
                Ok(Some(record)) => out.push(record),
                Ok(None) => {}
                Err(error) => return Err(part.source.damaged(error)),
            }
        }
        Ok(())
    }
}

impl Part {
    /// Goes one record on; none if it is not wanted.
    fn next(&mut self, happened: Option<Timestamp>) -> Result<Option<Record>> {
        let Source { chunk, wanted, is_control } = &self.source;
        let Some(found) = self.walk.next(chunk)? else { return Ok(None) };
        let in_time = || happened.is_none_or(|time| found.event_time >= time);
        if !wanted.contains(&found.position) || !(*is_control || in_time()) {
            return Ok(None);
        }
        let mut record = chunk.record(&found, &self.body)?;
        if *is_control {
            record.control = Some(Control::decode(&record.payload)?);
            record.payload = Bytes::new();
        }
        Ok(Some(record))
    }
}
