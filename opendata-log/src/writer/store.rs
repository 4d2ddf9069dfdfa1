//! Writing a group: chunks, the group's own row, the time index, and segments where one ends and one begins.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use opendata_core::key::{Prefix, SegmentId};
use opendata_core::slate::ApplyContext;
use opendata_core::{Position, Timestamp};

use super::gather::Gathered;
use super::{Open, Staged, Writer};
use crate::chunk::{self, Pending, RECORD_LIMIT};
use crate::config::{Compression, Config};
use crate::key;
use crate::layout::next_segment;
use crate::record::{Group, Segment, encode_position};
use crate::stats::{Counters, add};
use crate::tail::ring::{RingChunk, RingGroup};

/// The time index has at most one entry for so many milliseconds.
const TIME_INDEX_MS: i64 = 1000;

impl Writer {
    pub(super) fn write_group(&mut self, cx: &mut ApplyContext<'_>) {
        let mut gathered = std::mem::take(&mut self.gathered);
        let (Some(first), Some(last)) = (gathered.first(), gathered.last()) else {
            if gathered.roll {
                self.roll(cx.last_position().next(), cx);
            }
            return;
        };
        if self.must_roll(&gathered, cx.now()) {
            self.roll(first, cx);
        }
        let runs = gathered.take_runs();
        let mut open = self.open.take().unwrap_or_else(|| self.begin(first, cx));
        let mut group = GroupWriter {
            prefix: cx.prefix(open.segment.id),
            config: &self.config,
            counters: &self.counters,
            open: &mut open,
            new_streams: Vec::new(),
            kept: self.ring.is_watched().then(Vec::new),
            buffer: BytesMut::new(),
            trials: &mut self.trials,
        };
        let mut controls = Vec::new();
        for (stream, records) in gathered.sorted().iter() {
            match stream {
                Some(stream) => group.write_stream(stream, records, cx),
                None => controls = group.write_controls(records, cx),
            }
        }
        let kept = group.kept.take();
        group.finish(first, last, runs, cx);
        let ring_group = kept.map(|chunks| RingGroup { first, end: last, chunks, controls });
        self.staged.push_back(Staged { first, group: ring_group });
        self.open = Some(open);
    }

    fn must_roll(&self, gathered: &Gathered, now: Timestamp) -> bool {
        let Some(open) = &self.open else { return false };
        let segment = &open.segment;
        let age = now.0.saturating_sub(segment.created.0);
        let is_old = self.config.segment_age_ms.is_some_and(|limit| u64::try_from(age).unwrap_or(0) >= limit);
        let streams = open.streams.len() + gathered.streams();
        gathered.roll
            || open.full
            || is_old
            || segment.totals.bytes >= self.config.segment_bytes
            || (!open.streams.is_empty() && streams > self.config.segment_streams as usize)
    }

    /// Closes the open segment and begins the next one at `first`. An empty segment stays open.
    pub(super) fn roll(&mut self, first: Position, cx: &mut ApplyContext<'_>) {
        let Some(open) = self.open.take_if(|open| !open.segment.is_empty()) else { return };
        let sealed = Segment { sealed: true, ..open.segment };
        cx.put(key::segment(cx.prefix(SegmentId::CONTROL), sealed.id), sealed.encode());
        Arc::make_mut(&mut self.sealed).push(sealed);
        add(&self.counters.rolls, 1);
        self.open = Some(self.begin(first, cx));
    }

    fn begin(&self, first: Position, cx: &mut ApplyContext<'_>) -> Open {
        let id = self.sealed.last().map_or(SegmentId::FIRST_DATA, |last| next_segment(last.id));
        let segment = Segment::open(id, first, cx.now());
        cx.put(key::segment(cx.prefix(SegmentId::CONTROL), id), segment.encode());
        Open::new(segment)
    }
}

/// Writes one group into the open segment.
struct GroupWriter<'a> {
    prefix: Prefix,
    config: &'a Config,
    counters: &'a Counters,
    open: &'a mut Open,
    new_streams: Vec<Bytes>,
    /// Chunks for followers, if there are any.
    kept: Option<Vec<RingChunk>>,
    /// Keys and small chunks of the group, one behind the other: a row of its own allocation costs more than its bytes.
    buffer: BytesMut,
    trials: &'a mut Trials,
}

/// Which chunks compression is tried on. Streams that do not compress are common, and each try costs as much as
/// writing the chunk; so after each failure in a row twice as many chunks are left alone before the next try.
#[derive(Debug, Default)]
pub(super) struct Trials {
    pause: u32,
    left: u32,
}

impl Trials {
    const LONGEST_PAUSE: u32 = 63;

    fn choose(&mut self, configured: Compression) -> Compression {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Compression::None
            }
            None => configured,
        }
    }

    fn learn(&mut self, tried: Compression, paid: bool) {
        if tried == Compression::None {
            return;
        }
        self.pause = if paid { 0 } else { (2 * self.pause + 1).min(Self::LONGEST_PAUSE) };
        self.left = self.pause;
    }
}

/// The size of a piece of the buffer. Its memory is given back when all rows in it are on the store.
const BUFFER_BYTES: usize = 256 * 1024;
/// Larger chunks are not copied into the buffer.
const SMALL_CHUNK_BYTES: usize = 4096;

impl GroupWriter<'_> {
    fn write_stream(&mut self, stream: &Bytes, records: &[&Pending], cx: &mut ApplyContext<'_>) {
        let known = self.open.streams.get(stream.as_ref()).copied();
        let mut state = known.unwrap_or_default();
        let mut rest = records;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(self.piece(rest));
            rest = behind;
            let Some(last) = piece.last() else { break };
            let compression = self.trials.choose(self.config.compression);
            let mut encoded = chunk::encode(piece, state.records, cx.now(), compression);
            self.trials.learn(compression, encoded.is_compressed);
            state.records += piece.len() as u64;
            state.last = last.position;
            let key = self.share(stream, last.position, &mut encoded.value);
            let totals = &mut self.open.segment.totals;
            totals.cover(cx.now(), encoded.event_times);
            totals.records += piece.len() as u64;
            totals.derived += if last.derived { piece.len() as u64 } else { 0 };
            totals.bytes += (key.len() + encoded.value.len()) as u64;
            add(&self.counters.chunks, 1);
            add(&self.counters.chunk_bytes, (key.len() + encoded.value.len()) as u64);
            if let Some(kept) = &mut self.kept {
                kept.push(RingChunk { stream: stream.clone(), last: last.position, value: encoded.value.clone() });
            }
            cx.put(key, encoded.value);
        }
        add(&self.counters.records, records.len() as u64);
        add(&self.counters.record_bytes, records.iter().map(|record| record.size_bytes() as u64).sum());
        if known.is_none() {
            self.new_streams.push(stream.clone());
            self.open.streams.insert(stream.as_ref().into(), state);
        } else if let Some(known) = self.open.streams.get_mut(stream.as_ref()) {
            *known = state;
        }
    }

    /// Puts a key, and a chunk if it is small, into the shared buffer.
    fn share(&mut self, stream: &[u8], last: Position, value: &mut Bytes) -> Bytes {
        let small = value.len() <= SMALL_CHUNK_BYTES;
        if self.buffer.capacity() < SMALL_CHUNK_BYTES + 2 * stream.len() + 64 {
            self.buffer = BytesMut::with_capacity(BUFFER_BYTES);
        }
        let key = key::chunk_in(&mut self.buffer, self.prefix, stream, last);
        if small {
            self.buffer.extend_from_slice(value);
            *value = self.buffer.split().freeze();
        }
        key
    }

    /// How many records go into the next chunk.
    fn piece(&self, records: &[&Pending]) -> usize {
        let limit = self.config.chunk_bytes as usize;
        let (mut size, derived) = (0, records.first().is_some_and(|first| first.derived));
        let fits = records.iter().take(RECORD_LIMIT).take_while(|record| {
            size += record.size_bytes();
            size <= limit && record.derived == derived
        });
        fits.count().max(1)
    }

    fn write_controls(&mut self, records: &[&Pending], cx: &mut ApplyContext<'_>) -> Vec<RingChunk> {
        let mut chunks = Vec::new();
        let mut rest = records;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(self.piece(rest));
            rest = behind;
            let Some(last) = piece.last().map(|record| record.position) else { break };
            let totals = &mut self.open.segment.totals;
            let encoded = chunk::encode(piece, totals.controls, cx.now(), self.config.compression);
            let key = key::control_chunk(self.prefix, last);
            totals.cover(cx.now(), encoded.event_times);
            totals.controls += piece.len() as u64;
            totals.bytes += (key.len() + encoded.value.len()) as u64;
            cx.put(key, encoded.value.clone());
            chunks.push(RingChunk { stream: Bytes::new(), last, value: encoded.value });
        }
        add(&self.counters.control_records, records.len() as u64);
        chunks
    }

    fn finish(self, first: Position, last: Position, runs: Vec<(Position, u64)>, cx: &mut ApplyContext<'_>) {
        let segment = &mut self.open.segment;
        segment.last = last;
        segment.totals.streams += self.new_streams.len() as u64;
        let group =
            Group { ingest_time: cx.now(), totals: segment.totals, first, last, runs, new_streams: self.new_streams };
        cx.put(key::group(self.prefix, last), group.encode());
        let now = cx.now();
        if self.open.indexed.is_none_or(|before| now.0.saturating_sub(before.0) >= TIME_INDEX_MS) {
            cx.put(key::time(self.prefix, now), encode_position(first));
            self.open.indexed = Some(now);
        }
    }
}
