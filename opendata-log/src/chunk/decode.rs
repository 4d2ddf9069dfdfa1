//! Reading the records of a chunk.

use std::ops::Range;

use bytes::Bytes;
use opendata_core::codec::Decoder;
use opendata_core::{Error, Position, Result, Timestamp};

use super::{COMPRESSED, Chunk, EVENT_TIMES, HEADERS, MIXED_SCHEMAS, SCHEMA, SPARSE, UNIFORM};
use crate::entry::{Headers, Record};

/// LZ4 cannot shrink a block by more than this; a plain size beyond it is damaged.
const LZ4_RATIO_LIMIT: u64 = 255;

/// Where each column begins, and what lies behind them.
struct Columns<'a> {
    positions: Decoder<'a>,
    event_times: Decoder<'a>,
    schemas: Decoder<'a>,
    header_sizes: Decoder<'a>,
    payload_sizes: Decoder<'a>,
    headers_bytes: u64,
    payloads_bytes: u64,
    body: Decoder<'a>,
}

impl Chunk {
    /// Appends the records whose positions lie in the range. All columns are checked, whatever the range is.
    pub(crate) fn read(&self, positions: Range<Position>, out: &mut impl Extend<Record>) -> Result<()> {
        let mut columns = self.columns()?;
        let body = self.body(&columns)?;
        let mut headers_at = 0;
        let mut payload_at = usize::try_from(columns.headers_bytes).map_err(|_| too_large())?;
        let uniform_bytes = if self.flags & UNIFORM != 0 { Some(columns.payload_sizes.count()?) } else { None };
        let uniform_schema = match self.flags & (SCHEMA | MIXED_SCHEMAS) {
            SCHEMA => schema_id(&mut columns.schemas)?,
            _ => 0,
        };
        let mut position = self.first;
        let mut event_time = self.ingest_time;
        for index in 0..self.count {
            if index > 0 {
                let gap = if self.is_dense() { 0 } else { columns.positions.varint()? };
                position = Position(position.0 + gap + 1);
            }
            if self.flags & EVENT_TIMES != 0 {
                event_time = Timestamp(event_time.0.wrapping_add(columns.event_times.signed()?));
            }
            let schema =
                if self.flags & MIXED_SCHEMAS != 0 { schema_id(&mut columns.schemas)? } else { uniform_schema };
            let headers_bytes = if self.flags & HEADERS != 0 { columns.header_sizes.count()? } else { 0 };
            let payload_bytes = match uniform_bytes {
                Some(bytes) => bytes,
                None => columns.payload_sizes.count()?,
            };
            if positions.contains(&position) {
                let headers = match headers_bytes {
                    0 => Headers::default(),
                    bytes => Headers::decode(body.slice(headers_at..headers_at + bytes))?,
                };
                out.extend([Record {
                    stream: self.stream.clone(),
                    position,
                    ingest_time: self.ingest_time,
                    event_time,
                    schema_id: schema,
                    headers,
                    payload: body.slice(payload_at..payload_at + payload_bytes),
                    control: None,
                    derived: self.is_derived(),
                }]);
            }
            headers_at += headers_bytes;
            payload_at += payload_bytes;
        }
        Ok(())
    }

    /// How many of its records stand before a position.
    pub(crate) fn rank(&self, position: Position) -> Result<u64> {
        let count = self.count as u64;
        if self.is_dense() {
            return Ok(position.0.saturating_sub(self.first.0).min(count));
        }
        let mut gaps = self.columns()?.positions;
        let mut at = self.first;
        for rank in 0..count {
            if at >= position {
                return Ok(rank);
            }
            if rank + 1 < count {
                at = Position(at.0 + gaps.varint()? + 1);
            }
        }
        Ok(count)
    }

    /// Walks over the columns once, checking that they agree with the header and the body.
    fn columns(&self) -> Result<Columns<'_>> {
        let mut at = Decoder::new(self.value.get(self.columns_at..).unwrap_or_default());
        let count = self.count;
        let positions = at.clone();
        if self.flags & SPARSE != 0 {
            let gaps = sum(&mut at, count - 1)?;
            let span = gaps.checked_add(count as u64 - 1);
            if span != Some(self.last.0 - self.first.0) {
                return Err(Error::corrupt("positions do not add up to the span of the chunk"));
            }
        }
        let event_times = at.clone();
        skip(&mut at, if self.flags & EVENT_TIMES != 0 { count } else { 0 })?;
        let schemas = at.clone();
        let distinct = match self.flags & (SCHEMA | MIXED_SCHEMAS) {
            0 => 0,
            SCHEMA => 1,
            _ => count,
        };
        skip(&mut at, distinct)?;
        let header_sizes = at.clone();
        let headers_bytes = if self.flags & HEADERS != 0 { sum(&mut at, count)? } else { 0 };
        let payload_sizes = at.clone();
        let payloads_bytes = if self.flags & UNIFORM != 0 {
            at.varint()?.checked_mul(count as u64).ok_or_else(too_large)?
        } else {
            sum(&mut at, count)?
        };
        Ok(Columns {
            positions,
            event_times,
            schemas,
            header_sizes,
            payload_sizes,
            headers_bytes,
            payloads_bytes,
            body: at,
        })
    }

    /// The plain body, which is exactly as long as the columns say.
    fn body(&self, columns: &Columns<'_>) -> Result<Bytes> {
        let expected = columns.headers_bytes.checked_add(columns.payloads_bytes).ok_or_else(too_large)?;
        let mut at = columns.body.clone();
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
