//! `SLAB`: samples of many series as one group of commits left them in a bucket, in the order they were applied.
//!
//! ```text
//! layout 1 · written (milliseconds) signed varint · count varint
//!          · first id signed varint · ids · first time signed varint · times · values
//! ```
//! Ids and times are integer columns, values a value column (see `chunk`). Layouts above 1 are for other kinds of
//! samples. Of two samples with the same series and time the later one wins, within a slab and between slabs.

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result};

use crate::chunk::{Effort, Scratch, ints, values};
use crate::columns::Columns;

const LAYOUT: u8 = 1;

/// The most samples of one slab. A group with more writes several.
pub(crate) const SLAB_SAMPLES: usize = 1 << 17;

/// Samples of many series: three columns of equal length.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rows {
    pub(crate) ids: Vec<u32>,
    pub(crate) samples: Columns,
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub(crate) fn push(&mut self, id: u32, time_ms: i64, value: f64) {
        self.ids.push(id);
        self.samples.times.push(time_ms);
        self.samples.values.push(value);
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        self.ids.append(&mut other.ids);
        self.samples.times.append(&mut other.samples.times);
        self.samples.values.append(&mut other.samples.values);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, i64, f64)> {
        let samples = self.samples.times.iter().zip(&self.samples.values);
        self.ids.iter().zip(samples).map(|(id, (time, value))| (*id, *time, *value))
    }
}

/// Writes rows as one or more slabs.
pub(crate) fn encode(written_ms: i64, rows: &Rows) -> Vec<Bytes> {
    let columns = rows.ids.chunks(SLAB_SAMPLES).zip(rows.samples.times.chunks(SLAB_SAMPLES));
    let columns = columns.zip(rows.samples.values.chunks(SLAB_SAMPLES));
    columns.map(|((ids, times), values)| encode_one(written_ms, ids, times, values)).collect()
}

fn encode_one(written_ms: i64, ids: &[u32], times: &[i64], values: &[f64]) -> Bytes {
    let mut slab = Encoder::with_capacity(LAYOUT, 32 + ids.len() * 9);
    slab.signed(written_ms).varint(ids.len() as u64);
    let ids: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
    for column in [&ids, times] {
        slab.signed(column.first().copied().unwrap_or(0));
        ints::encode(&mut slab, column, Effort::Fast);
    }
    values::encode(&mut slab, values, Effort::Fast);
    slab.finish()
}

/// What a slab says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) written_ms: i64,
    pub(crate) count: usize,
}

fn head(fields: &mut Decoder<'_>) -> Result<Head> {
    fields.layout(LAYOUT)?;
    let head = Head { written_ms: fields.signed()?, count: fields.count()? };
    if head.count == 0 || head.count > SLAB_SAMPLES {
        return Err(Error::corrupt(format!("slab with a wrong number of samples, count={}", head.count)));
    }
    Ok(head)
}

/// Reads only when a slab was written and how many samples it has.
///
/// # Errors
/// `Corrupt` if the value cannot be read.
pub(crate) fn decode_head(value: &[u8]) -> Result<Head> {
    head(&mut Decoder::new(value))
}

/// Appends the samples of a slab to `rows`.
///
/// # Errors
/// `Corrupt` if the value cannot be read.
pub(crate) fn decode_into(value: &[u8], scratch: &mut Scratch, rows: &mut Rows) -> Result<Head> {
    let mut fields = Decoder::new(value);
    let head = head(&mut fields)?;
    let first = fields.signed()?;
    scratch.ints.clear();
    ints::decode(&mut fields, first, head.count, &mut scratch.words, &mut scratch.ints)?;
    let wrong = || Error::corrupt("series id in a slab is out of range");
    rows.ids.reserve(head.count);
    for id in &scratch.ints {
        rows.ids.push(u32::try_from(*id).map_err(|_| wrong())?);
    }
    let first = fields.signed()?;
    ints::decode(&mut fields, first, head.count, &mut scratch.words, &mut rows.samples.times)?;
    values::decode(&mut fields, head.count, scratch, &mut rows.samples.values)?;
    fields.finish()?;
    Ok(head)
}

#[cfg(test)]
mod tests;
