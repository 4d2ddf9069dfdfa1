//! Order of position over many streams: the chunks of one segment are read in key order, in one sequential
//! run, and sorted in memory. A segment is of bounded size, so this is as well.
//!
//! Chunks of one batch overlap in their positions, chunks of different batches never do. So the sorted
//! chunks fall into clusters, and only the chunks of a cluster are merged.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use opendata_core::key::{KeyRange, Prefix};
use opendata_core::slate::{Access, InstanceView, Order};
use opendata_core::{Error, Position, Result, Timestamp};

use super::{ControlRecords, Streams};
use crate::chunk::{Chunk, Damaged, Merge, Source};
use crate::entry::Record;
use crate::record::{Segment, at_key};
use crate::system::Log;
use crate::{key, layout};

/// Which records of a segment are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) streams: Streams,
    pub(crate) positions: Range<Position>,
    /// Only what was ingested at this time or later.
    pub(crate) ingested: Option<Timestamp>,
    /// Only what happened at this time or later.
    pub(crate) happened: Option<Timestamp>,
    pub(crate) control: ControlRecords,
    /// Trim points of single streams.
    pub(crate) trims: BTreeMap<Bytes, Position>,
}

impl Wanted {
    fn wants(&self, chunk: &Chunk) -> bool {
        chunk.last >= self.positions.start
            && chunk.first < self.positions.end
            && self.ingested.is_none_or(|time| chunk.ingest_time >= time)
            && self.happened.is_none_or(|time| chunk.event_times.1 >= time)
    }

    /// The positions that are wanted of a chunk of records.
    fn positions_of(&self, chunk: &Chunk) -> Range<Position> {
        let trim = self.trims.get(&chunk.stream).copied().unwrap_or_default();
        self.positions.start.max(trim)..self.positions.end
    }

    /// What of a piece is to be merged with others.
    fn source(&self, piece: &Piece) -> Option<Source> {
        let Piece { chunk, control } = piece;
        // Control records belong to the whole log: neither trims nor times of single streams count.
        let wanted = if *control { self.positions.clone() } else { self.positions_of(chunk) };
        (*control || self.wants(chunk)).then(|| Source { chunk: chunk.clone(), wanted, is_control: *control })
    }

    /// Appends the wanted records of a chunk.
    pub(crate) fn read(&self, prefix: Prefix, chunk: &Chunk, out: &mut Vec<Record>) -> Result<()> {
        if !self.wants(chunk) {
            return Ok(());
        }
        let positions = self.positions_of(chunk);
        let already = out.len();
        chunk.read(positions, out).map_err(|error| at_key(error, &key::chunk(prefix, &chunk.stream, chunk.last)))?;
        if let Some(time) = self.happened {
            let mut index = 0;
            out.retain(|record| {
                index += 1;
                index <= already || record.event_time >= time
            });
        }
        Ok(())
    }
}

/// A chunk, and whether it holds control records.
#[derive(Debug)]
struct Piece {
    chunk: Chunk,
    control: bool,
}

/// The wanted chunks of one segment, sorted.
#[derive(Debug)]
pub(crate) struct Assembled {
    prefix: Prefix,
    wanted: Wanted,
    order: Order,
    pieces: Vec<Piece>,
    /// Which piece comes when, by its first position (descending: its last one); the next one last. Pieces are large, and sorting them would move them.
    turns: Vec<(Position, u32)>,
    /// The cluster that is being read.
    cluster: Merge,
    /// What was found wrong behind the records that were given last.
    failed: Option<Error>,
}

impl Assembled {
    /// Reads a segment.
    pub(crate) async fn load(view: InstanceView<Log>, segment: Segment, wanted: Wanted, order: Order) -> Result<Self> {
        let prefix = view.prefix(segment.id);
        let mut pieces = Vec::new();
        if let Streams::One(stream) = &wanted.streams {
            let from = wanted.positions.start;
            let mut rows = layout::stream_rows(view.view(), prefix, stream, from, Access::Bulk).await?;
            while let Some(row) = rows.next().await? {
                let chunk = layout::chunk(&row)?;
                if chunk.first >= wanted.positions.end {
                    break;
                }
                pieces.push(Piece { chunk, control: false });
            }
        } else {
            let range = key::chunks(prefix, wanted.streams.beginning());
            read_range(&view, range, &wanted, false, &mut pieces).await?;
        }
        if wanted.control == ControlRecords::Shown {
            let range = key::control_chunks(prefix, wanted.positions.start);
            read_range(&view, range, &wanted, true, &mut pieces).await?;
        }
        let turn = |(index, piece): (u32, &Piece)| match order {
            Order::Ascending => (piece.chunk.first, index),
            Order::Descending => (piece.chunk.last, index),
        };
        let mut turns: Vec<(Position, u32)> = (0..).zip(&pieces).map(turn).collect();
        match order {
            Order::Ascending => turns.sort_unstable_by_key(|turn| std::cmp::Reverse(*turn)),
            Order::Descending => turns.sort_unstable(),
        }
        Ok(Self { prefix, wanted, order, pieces, turns, cluster: Merge::default(), failed: None })
    }

    /// Whether everything was given.
    pub(crate) fn is_over(&self) -> bool {
        self.turns.is_empty() && self.cluster.is_over() && self.failed.is_none()
    }

    /// The next records, `enough` of them or a few more, less only at the end of the segment; none behind it.
    pub(crate) fn next(&mut self, enough: usize) -> Result<Option<Vec<Record>>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if self.is_over() {
            return Ok(None);
        }
        let mut records = Vec::with_capacity(enough.min(self.turns.len()));
        while records.len() < enough && !self.is_over() {
            let step = match self.cluster.is_over() {
                true => self.enter(&mut records),
                false => self.cluster.read(enough, &mut records).map_err(|damaged| self.named(damaged)),
            };
            if let Err(error) = step {
                if records.is_empty() {
                    return Err(error);
                }
                // What stands before the damage is given first.
                self.failed = Some(error);
                break;
            }
        }
        Ok(Some(records))
    }

    /// Goes to the next cluster. What is no more than one chunk, or is read backwards, is read at once.
    fn enter(&mut self, records: &mut Vec<Record>) -> Result<()> {
        let Some(first) = take_turn(&self.pieces, &mut self.turns, |_| true) else { return Ok(()) };
        let (mut low, mut high) = (first.chunk.first, first.chunk.last);
        let mut together = vec![first];
        while let Some(next) =
            take_turn(&self.pieces, &mut self.turns, |next| next.chunk.first <= high && next.chunk.last >= low)
        {
            low = low.min(next.chunk.first);
            high = high.max(next.chunk.last);
            together.push(next);
        }
        let already = records.len();
        if let ([Piece { chunk, control: false }], Order::Ascending) = (together.as_slice(), self.order) {
            let read = self.wanted.read(self.prefix, chunk, records);
            if read.is_err() {
                records.truncate(already);
            }
            return read;
        }
        let sources = together.into_iter().filter_map(|piece| self.wanted.source(piece)).collect();
        self.cluster = Merge::open(sources, self.wanted.happened).map_err(|damaged| self.named(damaged))?;
        if self.order == Order::Descending {
            let read = self.cluster.read(usize::MAX, records).map_err(|damaged| self.named(damaged));
            if read.is_err() {
                records.truncate(already);
            }
            records.get_mut(already..).unwrap_or_default().reverse();
            return read;
        }
        Ok(())
    }

    fn named(&self, damaged: Damaged) -> Error {
        let Damaged { error, stream, last, is_control } = damaged;
        let prefix = self.prefix;
        let key = if is_control { key::control_chunk(prefix, last) } else { key::chunk(prefix, &stream, last) };
        at_key(error, &key)
    }
}

/// The piece whose turn is next, if it is wanted.
fn take_turn<'a>(
    pieces: &'a [Piece],
    turns: &mut Vec<(Position, u32)>,
    wanted: impl Fn(&Piece) -> bool,
) -> Option<&'a Piece> {
    let (_, index) = turns.last()?;
    let piece = pieces.get(*index as usize).filter(|piece| wanted(piece))?;
    turns.pop();
    Some(piece)
}

async fn read_range(
    view: &InstanceView<Log>,
    range: KeyRange,
    wanted: &Wanted,
    control: bool,
    pieces: &mut Vec<Piece>,
) -> Result<()> {
    let mut rows = view.scan(range, Access::Bulk).await?;
    let mut stream = Bytes::new();
    while let Some(row) = rows.next().await? {
        let mut chunk = layout::chunk(&row)?;
        if wanted.wants(&chunk) && (control || wanted.streams.contains(&chunk.stream)) {
            // One name a stream, not one a chunk: rows come stream by stream, and each name keeps a key.
            if chunk.stream != stream {
                stream = chunk.stream;
            }
            chunk.stream = stream.clone();
            pieces.push(Piece { chunk, control });
        }
    }
    Ok(())
}
