//! Writing a chunk.

use bytes::Bytes;
use opendata_core::codec::Encoder;
use opendata_core::{Position, Timestamp};

use super::{COMPRESSED, DERIVED, EVENT_TIMES, HEADERS, LAYOUT, MIXED_SCHEMAS, RECORD_LIMIT, SCHEMA, SPARSE, UNIFORM};
use crate::config::Compression;
use crate::entry::About;

/// Bodies below this are not worth a try: the header of the block would eat the gain.
const LEAST_COMPRESSED_BYTES: usize = 128;
/// How much of a larger body is tried first.
const SAMPLE_BYTES: usize = 2048;
const LZ4_SIZE_LIMIT_BYTES: usize = 1 << 30;

/// A record with its position, waiting to be written.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) position: Position,
    pub(crate) payload: Bytes,
    pub(crate) derived: bool,
    pub(crate) about: About,
}

impl Pending {
    pub(crate) fn size_bytes(&self) -> usize {
        self.payload.len() + self.headers().len()
    }

    fn headers(&self) -> &[u8] {
        self.about.headers()
    }

    fn schema_id(&self) -> u32 {
        self.about.schema_id()
    }

    pub(crate) fn event_time(&self, ingest_time: Timestamp) -> Timestamp {
        self.about.event_time().unwrap_or(ingest_time)
    }
}

/// What the columns of a chunk look like.
struct Shape {
    flags: u8,
    body_bytes: usize,
    payload_bytes: u64,
    event_times: (Timestamp, Timestamp),
}

/// A chunk that was written.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) value: Bytes,
    /// Least and greatest event time.
    pub(crate) event_times: (Timestamp, Timestamp),
    /// Whether compression was tried and paid.
    pub(crate) is_compressed: bool,
}

/// Writes records as a chunk. They are in order of position, at least one, no more than [`RECORD_LIMIT`], and all derived
/// or none.
pub(crate) fn encode(records: &[&Pending], ordinal: u64, ingest_time: Timestamp, compression: Compression) -> Encoded {
    let (Some(first), Some(last)) = (records.first(), records.last()) else {
        return Encoded { value: Bytes::new(), event_times: (ingest_time, ingest_time), is_compressed: false };
    };
    assert!(records.len() <= RECORD_LIMIT, "a chunk holds no more records than its reader allows");
    let mut shape = shape(records, first, ingest_time);
    let span = last.position.0 - first.position.0;
    if span >= records.len() as u64 {
        shape.flags |= SPARSE;
    }
    if first.derived {
        shape.flags |= DERIVED;
    }
    let packed = match compression {
        Compression::Lz4 => compress(records, &shape),
        Compression::None => None,
    };
    if packed.is_some() {
        shape.flags |= COMPRESSED;
    }
    let body_bytes = packed.as_ref().map_or(shape.body_bytes, Vec::len);
    let mut value = Encoder::with_capacity(LAYOUT, 48 + 4 * records.len() + body_bytes);
    value.u8(shape.flags).varint(records.len() as u64);
    if shape.flags & SPARSE != 0 {
        value.varint(span);
    }
    value.varint(ordinal).signed(ingest_time.0);
    if shape.flags & EVENT_TIMES != 0 {
        let (least, greatest) = shape.event_times;
        value.signed(least.0.wrapping_sub(ingest_time.0)).varint(greatest.0.wrapping_sub(least.0).cast_unsigned());
    }
    columns(&mut value, records, &shape, ingest_time);
    match packed {
        Some(packed) => value.varint(shape.body_bytes as u64).raw(&packed),
        None => write_body(&mut value, records, shape.flags),
    };
    let is_compressed = shape.flags & COMPRESSED != 0;
    Encoded { value: value.finish(), event_times: shape.event_times, is_compressed }
}

fn shape(records: &[&Pending], first: &Pending, ingest_time: Timestamp) -> Shape {
    let payload_bytes = first.payload.len();
    let mut flags = UNIFORM;
    let mut body_bytes = 0;
    let mut event_times: Option<(Timestamp, Timestamp)> = None;
    for record in records {
        body_bytes += record.payload.len();
        if record.payload.len() != payload_bytes {
            flags &= !UNIFORM;
        }
        let time = record.event_time(ingest_time);
        event_times = Some(event_times.map_or((time, time), |(least, most)| (least.min(time), most.max(time))));
        body_bytes += record.headers().len();
        if !record.headers().is_empty() {
            flags |= HEADERS;
        }
        if record.schema_id() != 0 {
            flags |= SCHEMA;
        }
    }
    let event_times = event_times.unwrap_or((ingest_time, ingest_time));
    if event_times != (ingest_time, ingest_time) {
        flags |= EVENT_TIMES;
    }
    if flags & SCHEMA != 0 && records.iter().any(|record| record.schema_id() != first.schema_id()) {
        flags |= MIXED_SCHEMAS;
    }
    Shape { flags, body_bytes, payload_bytes: payload_bytes as u64, event_times }
}

fn columns(value: &mut Encoder, records: &[&Pending], shape: &Shape, ingest_time: Timestamp) {
    if shape.flags & SPARSE != 0 {
        for (before, record) in records.iter().zip(records.iter().skip(1)) {
            value.varint(record.position.0 - before.position.0 - 1);
        }
    }
    if shape.flags & EVENT_TIMES != 0 {
        let mut before = ingest_time;
        for record in records {
            let time = record.event_time(ingest_time);
            value.signed(time.0.wrapping_sub(before.0));
            before = time;
        }
    }
    if shape.flags & SCHEMA != 0 {
        let distinct = if shape.flags & MIXED_SCHEMAS != 0 { records.len() } else { 1 };
        for record in records.iter().take(distinct) {
            value.varint(record.schema_id().into());
        }
    }
    if shape.flags & HEADERS != 0 {
        for record in records {
            value.varint(record.headers().len() as u64);
        }
    }
    if shape.flags & UNIFORM != 0 {
        value.varint(shape.payload_bytes);
    } else {
        for record in records {
            value.varint(record.payload.len() as u64);
        }
    }
}

fn write_body<'a>(value: &'a mut Encoder, records: &[&Pending], flags: u8) -> &'a mut Encoder {
    if flags & HEADERS != 0 {
        for record in records {
            value.raw(record.headers());
        }
    }
    for record in records {
        value.raw(&record.payload);
    }
    value
}

/// The body as one LZ4 block, if that saves an eighth. Bytes that do not compress are found out on a small
/// sample, so that they cost next to nothing.
fn compress(records: &[&Pending], shape: &Shape) -> Option<Vec<u8>> {
    if !(LEAST_COMPRESSED_BYTES..=LZ4_SIZE_LIMIT_BYTES).contains(&shape.body_bytes) {
        return None;
    }
    if shape.body_bytes > 2 * SAMPLE_BYTES && !sample_pays(records) {
        return None;
    }
    let mut body = Encoder::default();
    write_body(&mut body, records, shape.flags);
    let packed = lz4_flex::block::compress(body.as_slice());
    pays(packed.len(), shape.body_bytes).then_some(packed)
}

fn pays(packed: usize, plain: usize) -> bool {
    packed <= plain - plain / 8
}

fn sample_pays(records: &[&Pending]) -> bool {
    let mut sample = Vec::with_capacity(SAMPLE_BYTES);
    for record in records {
        for bytes in [record.headers(), &record.payload] {
            let room = SAMPLE_BYTES - sample.len();
            sample.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
        if sample.len() >= SAMPLE_BYTES {
            break;
        }
    }
    pays(lz4_flex::block::compress(&sample).len(), sample.len())
}
