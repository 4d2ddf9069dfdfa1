//! `SLAB`: samples of many series as one group of commits left them in a bucket, in the order they were applied.
//!
//! ```text
//! layout 1 · written (milliseconds) signed varint · count varint
//!          · first id signed varint · ids · first time signed varint · times · values
//! layout 2 · as layout 1 · histograms: count varint, then that often: distance to the last place varint, histogram
//! layout 3 · as layout 2 · starts: count varint · first place signed varint · places · first start signed varint · starts
//! ```
//! Ids and times are integer columns, values a value column, histograms as they stand alone (see `chunk`). Starts say
//! since when the samples at these places count (milliseconds, not 0), both are integer columns. Of two samples with the
//! same series and time the later one wins, within a slab and between slabs.

use std::sync::Arc;

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result};
use roaring::RoaringBitmap;

use crate::chunk::{Effort, Scratch, histogram, ints, values};
use crate::columns::{Columns, Samples};
use crate::histogram::Histogram;

const FLOATS: u8 = 1;
const MIXED: u8 = 2;
const STARTED: u8 = 3;

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
        self.samples.push(time_ms, value);
    }

    pub(crate) fn push_histogram(&mut self, id: u32, time_ms: i64, histogram: Arc<Histogram>) {
        self.ids.push(id);
        self.samples.push_histogram(time_ms, histogram);
    }

    /// Says since when the last sample counts; 0 if that is not known.
    pub(crate) fn start_last(&mut self, start_ms: i64) {
        self.samples.start_last(start_ms);
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        self.ids.append(&mut other.ids);
        self.samples.append(other.samples);
    }

    /// Takes out the samples of these series in a range of times.
    pub(crate) fn remove(&mut self, ids: &RoaringBitmap, (start_ms, end_ms): (i64, i64)) {
        let goes = |(id, time): (&u32, &i64)| (start_ms..=end_ms).contains(time) && ids.contains(*id);
        let keep: Vec<bool> = self.ids.iter().zip(&self.samples.times).map(|pair| !goes(pair)).collect();
        if keep.iter().all(|keep| *keep) {
            return;
        }
        let mut kept = keep.iter();
        self.ids.retain(|_| kept.next().is_none_or(|keep| *keep));
        self.samples.retain(|at| keep.get(at).is_none_or(|keep| *keep));
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, i64, f64)> {
        let samples = self.samples.times.iter().zip(&self.samples.values);
        self.ids.iter().zip(samples).map(|(id, (time, value))| (*id, *time, *value))
    }

    /// Appends the samples of one series to `out`, in the order they were applied.
    pub(crate) fn collect(&self, id: u32, out: &mut Columns) {
        let samples = self.samples.as_samples();
        for at in self.ids.iter().enumerate().filter(|(_, other)| **other == id).map(|(at, _)| at) {
            out.extend(samples.range(at..at + 1));
        }
    }
}

/// Writes rows as one or more slabs.
pub(crate) fn encode(written_ms: i64, rows: &Rows) -> Vec<Bytes> {
    let samples = rows.samples.as_samples();
    let pieces = rows.ids.chunks(SLAB_SAMPLES).enumerate();
    let piece = |at: usize| samples.range(at * SLAB_SAMPLES..(at + 1) * SLAB_SAMPLES);
    pieces.map(|(at, ids)| encode_one(written_ms, ids, piece(at))).collect()
}

fn encode_one(written_ms: i64, ids: &[u32], samples: Samples<'_>) -> Bytes {
    let layout = match samples.starts() {
        [] if samples.has_histograms() => MIXED,
        [] => FLOATS,
        _ => STARTED,
    };
    let mut slab = Encoder::with_capacity(layout, 32 + ids.len() * 9);
    slab.signed(written_ms).varint(ids.len() as u64);
    let ids: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
    for column in [&ids, samples.times] {
        slab.signed(column.first().copied().unwrap_or(0));
        ints::encode(&mut slab, column, Effort::Fast);
    }
    values::encode(&mut slab, samples.values, Effort::Fast);
    if layout >= MIXED {
        slab.varint(samples.histograms().count() as u64);
        let mut last = 0;
        for (at, one) in samples.histograms() {
            slab.varint((at - last) as u64);
            histogram::encode_one(&mut slab, one);
            last = at;
        }
    }
    if layout >= STARTED {
        write_starts(&mut slab, samples.starts());
    }
    slab.finish()
}

fn write_starts(slab: &mut Encoder, starts: &[i64]) {
    let known = (0i64..).zip(starts).filter(|(_, start)| **start != 0);
    let (places, starts): (Vec<i64>, Vec<i64>) = known.unzip();
    slab.varint(places.len() as u64);
    for column in [&places, &starts] {
        slab.signed(column.first().copied().unwrap_or(0));
        ints::encode(slab, column, Effort::Fast);
    }
}

/// What a slab says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) written_ms: i64,
    pub(crate) count: usize,
}

fn head(fields: &mut Decoder<'_>) -> Result<(u8, Head)> {
    let layout = fields.u8()?;
    if !(FLOATS..=STARTED).contains(&layout) {
        return Err(Error::unsupported(format!("unknown layout of a slab, layout={layout}")));
    }
    let head = Head { written_ms: fields.signed()?, count: fields.count()? };
    if head.count == 0 || head.count > SLAB_SAMPLES {
        return Err(Error::corrupt(format!("slab with a wrong number of samples, count={}", head.count)));
    }
    Ok((layout, head))
}

/// Reads only when a slab was written and how many samples it has.
///
/// # Errors
/// `Corrupt` if the value cannot be read.
pub(crate) fn decode_head(value: &[u8]) -> Result<Head> {
    head(&mut Decoder::new(value)).map(|(_, head)| head)
}

/// Appends the samples of a slab to `rows`.
///
/// # Errors
/// `Corrupt` if the value cannot be read.
pub(crate) fn decode_into(value: &[u8], scratch: &mut Scratch, rows: &mut Rows) -> Result<Head> {
    let mut fields = Decoder::new(value);
    let (layout, head) = head(&mut fields)?;
    let begin = rows.len();
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
    if layout >= MIXED {
        read_histograms(&mut fields, begin, head.count, &mut rows.samples)?;
    }
    if layout >= STARTED {
        read_starts(&mut fields, begin, head.count, scratch, &mut rows.samples.starts)?;
    }
    fields.finish()?;
    Ok(head)
}

fn read_histograms(fields: &mut Decoder<'_>, begin: usize, count: usize, samples: &mut Columns) -> Result<()> {
    let wrong = || Error::corrupt("histogram in a slab stands behind its end");
    let mut last = 0usize;
    for nth in 0..fields.count()? {
        let distance = fields.count()?;
        last = last.checked_add(distance).filter(|at| *at < count && (nth == 0 || distance > 0)).ok_or_else(wrong)?;
        let place = u32::try_from(begin + last).map_err(|_| wrong())?;
        samples.histograms.push((place, Arc::new(histogram::decode_one(fields)?)));
    }
    Ok(())
}

fn read_starts(
    fields: &mut Decoder<'_>,
    begin: usize,
    count: usize,
    scratch: &mut Scratch,
    out: &mut Vec<i64>,
) -> Result<()> {
    let wrong = || Error::corrupt("start time in a slab stands behind its end");
    let known = fields.count()?;
    if known > count {
        return Err(wrong());
    }
    let mut column = |out: &mut Vec<i64>| {
        let first = fields.signed()?;
        ints::decode(fields, first, known, &mut scratch.words, out)
    };
    let mut starts = Vec::new();
    scratch.ints.clear();
    column(&mut scratch.ints)?;
    column(&mut starts)?;
    for (place, start) in scratch.ints.iter().zip(starts) {
        let place = usize::try_from(*place).ok().filter(|place| *place < count).ok_or_else(wrong)?;
        if out.len() > begin + place {
            return Err(Error::corrupt("start times in a slab are out of order"));
        }
        out.resize(begin + place, 0);
        out.push(start);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
