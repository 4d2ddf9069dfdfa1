//! Reading the records of a chunk.

use std::ops::Range;

use bytes::Bytes;
use opendata_core::codec::Decoder;
use opendata_core::{Error, Position, Result, Timestamp};

use super::{COMPRESSED, Chunk, EVENT_TIMES, HEADERS, MIXED_SCHEMAS, SCHEMA, SPARSE, UNIFORM};
use crate::entry::{Headers, Record};

/// LZ4 cannot shrink a block by more than this; a plain size beyond it is damaged.
const LZ4_RATIO_LIMIT: u64 = 255;

/// Where each column begins, as an offset into the value, and what lies behind them.
struct Columns {
    walk: Walk,
    headers_bytes: u64,
    payloads_bytes: u64,
    body_at: usize,
}

/// A way through the columns of a chunk, record after record.
#[derive(Debug)]
pub(crate) struct Walk {
    left: usize,
    position: Position,
    event_time: Timestamp,
    schema_id: u32,
    /// Where the next gap, event time, schema id, size of headers and size of a payload stand in the value.
    gaps_at: usize,
    times_at: usize,
    schemas_at: usize,
    header_sizes_at: usize,
    payload_sizes_at: usize,
    uniform_bytes: Option<usize>,
    /// Where the next headers and payload stand in the body.
    headers_at: usize,
    payload_at: usize,
}

/// A record that a walk came to.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) position: Position,
    pub(crate) event_time: Timestamp,
    schema_id: u32,
    headers: Range<usize>,
    payload: Range<usize>,
}

impl Walk {
    /// The next record; none behind the last one.
    pub(crate) fn next(&mut self, chunk: &Chunk) -> Result<Option<Found>> {
        if self.left == 0 {
            return Ok(None);
        }
        let (value, flags) = (&chunk.value, chunk.flags);
        if self.left < chunk.count {
            let gap = if chunk.is_dense() { 0 } else { field(value, &mut self.gaps_at, Decoder::varint)? };
            self.position = Position(self.position.0 + gap + 1);
        }
        self.left -= 1;
        if flags & EVENT_TIMES != 0 {
            let change = field(value, &mut self.times_at, Decoder::signed)?;
            self.event_time = Timestamp(self.event_time.0.wrapping_add(change));
        }
        if flags & MIXED_SCHEMAS != 0 {
            self.schema_id = field(value, &mut self.schemas_at, schema_id)?;
        }
        let headers_bytes =
            if flags & HEADERS != 0 { field(value, &mut self.header_sizes_at, Decoder::count)? } else { 0 };
        let payload_bytes = match self.uniform_bytes {
            Some(bytes) => bytes,
            None => field(value, &mut self.payload_sizes_at, Decoder::count)?,
        };
        let headers = self.headers_at..self.headers_at + headers_bytes;
        let payload = self.payload_at..self.payload_at + payload_bytes;
        (self.headers_at, self.payload_at) = (headers.end, payload.end);
        Ok(Some(Found {
            position: self.position,
            event_time: self.event_time,
            schema_id: self.schema_id,
            headers,
            payload,
        }))
    }
}

/// Reads a field of a column and moves behind it.
fn field<'a, T>(value: &'a [u8], at: &mut usize, read: impl Fn(&mut Decoder<'a>) -> Result<T>) -> Result<T> {
    let mut column = Decoder::new(value.get(*at..).unwrap_or_default());
    let found = read(&mut column)?;
    *at = value.len() - column.rest().len();
    Ok(found)
}

impl Chunk {
    /// Appends the records whose positions lie in the range. All columns are checked, whatever the range is.
    pub(crate) fn read(&self, positions: Range<Position>, out: &mut Vec<Record>) -> Result<()> {
        let (mut walk, body) = self.walk()?;
        if positions.start <= self.first && positions.end > self.last {
            out.reserve(self.count);
        }
        while let Some(found) = walk.next(self)? {
            if positions.contains(&found.position) {
                out.push(self.record(&found, &body)?);
            }
        }
        Ok(())
    }

    /// A way through its records, and the body that they lie in. All columns are checked.
    pub(crate) fn walk(&self) -> Result<(Walk, Bytes)> {
        let columns = self.columns()?;
        let body = self.body(&columns)?;
        Ok((columns.walk, body))
    }

    /// A record that a walk through this chunk came to.
    pub(crate) fn record(&self, found: &Found, body: &Bytes) -> Result<Record> {
        let headers = match found.headers.is_empty() {
            true => Headers::default(),
            false => Headers::decode(body.slice(found.headers.clone()))?,
        };
        Ok(Record {
            stream: self.stream.clone(),
            position: found.position,
            ingest_time: self.ingest_time,
            event_time: found.event_time,
            schema_id: found.schema_id,
            headers,
            payload: body.slice(found.payload.clone()),
            control: None,
            derived: self.is_derived(),
        })
    }

    /// Calls for each position.
    pub(crate) fn each_position(&self, mut with: impl FnMut(Position)) -> Result<()> {
        let mut gaps = Decoder::new(self.value.get(self.columns_at..).unwrap_or_default());
        let mut position = self.first;
        with(position);
        for _ in 1..self.count {
            let gap = if self.is_dense() { 0 } else { gaps.varint()? };
            position = Position(position.0.saturating_add(gap).saturating_add(1));
            with(position);
        }
        Ok(())
    }

    /// How many of its records stand before a position.
    pub(crate) fn rank(&self, position: Position) -> Result<u64> {
        let count = self.count as u64;
        if self.is_dense() {
            return Ok(position.0.saturating_sub(self.first.0).min(count));
        }
        self.columns()?;
        let mut rank = 0;
        self.each_position(|at| rank += u64::from(at < position))?;
        Ok(rank)
    }

    /// Walks over the columns once, checking that they agree with the header and the body.
    fn columns(&self) -> Result<Columns> {
        let mut at = Decoder::new(self.value.get(self.columns_at..).unwrap_or_default());
        let place = |at: &Decoder<'_>| self.value.len() - at.rest().len();
        let count = self.count;
        let gaps_at = place(&at);
        if self.flags & SPARSE != 0 {
            let gaps = sum(&mut at, count - 1)?;
            let span = gaps.checked_add(count as u64 - 1);
            if span != Some(self.last.0 - self.first.0) {
                return Err(Error::corrupt("positions do not add up to the span of the chunk"));
            }
        }
        let times_at = place(&at);
        skip(&mut at, if self.flags & EVENT_TIMES != 0 { count } else { 0 })?;
        let schemas_at = place(&at);
        let mut uniform_schema = 0;
        match self.flags & (SCHEMA | MIXED_SCHEMAS) {
            0 => {}
            SCHEMA => uniform_schema = schema_id(&mut at)?,
            _ => skip(&mut at, count)?,
        }
        let header_sizes_at = place(&at);
        let headers_bytes = if self.flags & HEADERS != 0 { sum(&mut at, count)? } else { 0 };
        let payload_sizes_at = place(&at);
        let mut uniform_bytes = None;
        let payloads_bytes = if self.flags & UNIFORM != 0 {
            let bytes = at.count()?;
            uniform_bytes = Some(bytes);
            (bytes as u64).checked_mul(count as u64).ok_or_else(too_large)?
        } else {
            sum(&mut at, count)?
        };
        let walk = Walk {
            left: count,
            position: self.first,
            event_time: self.ingest_time,
            schema_id: uniform_schema,
            gaps_at,
            times_at,
            schemas_at,
            header_sizes_at,
            payload_sizes_at,
            uniform_bytes,
            headers_at: 0,
            payload_at: usize::try_from(headers_bytes).map_err(|_| too_large())?,
        };
        Ok(Columns { walk, headers_bytes, payloads_bytes, body_at: place(&at) })
    }

    /// The plain body, which is exactly as long as the columns say.
    fn body(&self, columns: &Columns) -> Result<Bytes> {
        let expected = columns.headers_bytes.checked_add(columns.payloads_bytes).ok_or_else(too_large)?;
        let mut at = Decoder::new(self.value.get(columns.body_at..).unwrap_or_default());
        if self.flags & COMPRESSED == 0 {
            let rest = at.rest().len();
            if rest as u64 != expected {
                return Err(Error::corrupt(format!("body of a chunk, expected={expected} bytes, found={rest}")));
            }
            return Ok(self.value.slice(self.value.len() - rest..));
        }
        let plain = at.varint()?;
        let packed = at.rest();
        if plain != expected || plain > (packed.len() as u64 + 1).saturating_mul(LZ4_RATIO_LIMIT) {
            return Err(Error::corrupt(format!("size of a compressed body, expected={expected}, found={plain}")));
        }
        let size = usize::try_from(plain).map_err(|_| too_large())?;
        let body = lz4_flex::block::decompress(packed, size)
            .map_err(|error| Error::corrupt("compressed body of a chunk").with_source(error))?;
        if body.len() != size {
            return Err(Error::corrupt("compressed body of a chunk is shorter than it says"));
        }
        Ok(body.into())
    }
}

fn schema_id(column: &mut Decoder<'_>) -> Result<u32> {
    u32::try_from(column.varint()?).map_err(|_| Error::corrupt("schema id of a record"))
}

fn skip(column: &mut Decoder<'_>, count: usize) -> Result<()> {
    for _ in 0..count {
        column.varint()?;
    }
    Ok(())
}

fn sum(column: &mut Decoder<'_>, count: usize) -> Result<u64> {
    let mut total = 0u64;
    for _ in 0..count {
        total = total.checked_add(column.varint()?).ok_or_else(too_large)?;
    }
    Ok(total)
}

fn too_large() -> Error {
    Error::corrupt("sizes in a chunk do not fit memory")
}
