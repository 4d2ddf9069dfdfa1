//! Chunks: the samples of one series in one window, as they are kept.
//!
//! A row holds chunks one behind the other, in time order and without overlap; each has up to [`CHUNK_SAMPLES`]
//! floats or [`CHUNK_HISTOGRAMS`] histograms. A row is canonical: it is a function of the samples alone, so that merging in any grouping gives the same
//! bytes. Merging decodes all, lets the later operand win on equal timestamps, and encodes again.
//!
//! ```text
//! row   = layout u8 (1) · chunk*
//! chunk = length varint · body
//! body  = kind u8 (1 floats, 2 histograms; 3, 4: the same with starts) · count varint · first time signed varint
//!         · span (last - first time) varint · flags u8 · [min, max, sum f64] · times · [starts] · values or histograms
//! ```
//! Flags: bit 0, statistics follow (over what is not NaN; only for [`STATISTICS_FROM`] samples or more that are not all
//! the same); bit 1, the values never decrease and none is NaN; bit 2, some value is NaN. Histograms have no flags. Times
//! are an integer column ([`ints`]), values a value column ([`values`]), histograms columns of their own ([`histogram`]). Starts say
//! since when each sample counts ([`starts`]); where that is known of none they take no byte.

mod bits;
pub(crate) mod histogram;
pub(crate) mod ints;
mod starts;
pub(crate) mod values;
mod xor;

use std::sync::Arc;

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result};

pub(crate) use ints::Effort;
pub(crate) use values::{Scratch, Wanted};

use crate::columns::{Columns, Samples};
use crate::histogram::Histogram;

const LAYOUT: u8 = 1;
const FLOATS: u8 = 1;
const HISTOGRAMS: u8 = 2;
/// Added to the kind of a chunk with start times: a kind, not a flag, so that a program that does not know them refuses the chunk.
const STARTED: u8 = 2;

/// The most samples that one chunk holds.
pub(crate) const CHUNK_SAMPLES: usize = 1024;
/// The most histograms that one chunk holds.
pub(crate) const CHUNK_HISTOGRAMS: usize = 128;
/// The fewest samples of a chunk that are worth statistics: below, they cost more than decoding.
pub(crate) const STATISTICS_FROM: usize = 64;

const HAS_STATISTICS: u8 = 1;
const NEVER_DECREASES: u8 = 2;
const HAS_NAN: u8 = 4;

/// What a chunk says about its values without being decoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Statistics {
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) sum: f64,
}

/// A chunk whose head was read.
#[derive(Clone, Debug)]
pub(crate) struct Chunk<'a> {
    kind: u8,
    has_starts: bool,
    pub(crate) count: usize,
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
    pub(crate) flags: u8,
    pub(crate) statistics: Option<Statistics>,
    columns: Decoder<'a>,
}

impl Chunk<'_> {
    /// Whether its samples are histograms.
    pub(crate) fn has_histograms(&self) -> bool {
        self.kind == HISTOGRAMS
    }

    /// Whether no value is below the one before it, and none is NaN.
    pub(crate) fn never_decreases(&self) -> bool {
        self.flags & NEVER_DECREASES != 0
    }

    /// The lowest or highest value, if that is wanted and the head tells it to the bit.
    fn extreme(&self, wanted: Wanted) -> Option<f64> {
        if self.has_histograms() || self.flags & HAS_NAN != 0 {
            return None;
        }
        let found = match wanted {
            Wanted::Lowest => self.statistics?.min,
            Wanted::Highest => self.statistics?.max,
            Wanted::All | Wanted::Times | Wanted::Newest => return None,
        };
        // Of 0 and -0 the first one holds, and which that is the head does not tell.
        (found != 0.0).then_some(found)
    }

    /// What its columns take, in bytes, each with how it is written.
    ///
    /// # Errors
    /// `Corrupt` if the columns cannot be read.
    pub(crate) fn measure(mut self, scratch: &mut Scratch) -> Result<[(&'static str, usize); 3]> {
        let all = self.columns.rest().len();
        let mut times = Vec::new();
        ints::decode(&mut self.columns, self.first_ms, self.count, &mut scratch.words, &mut times)?;
        let behind = self.columns.rest().len();
        if self.has_starts {
            starts::decode(&mut self.columns, &times, scratch, &mut Vec::new())?;
        }
        let values = self.columns.rest();
        let kind = if self.kind == HISTOGRAMS { "histograms" } else { values::kind_name(values.first().copied()) };
        Ok([("times", all - behind), ("start times", behind - values.len()), (kind, values.len())])
    }

    /// Appends the samples to `out`.
    ///
    /// # Errors
    /// `Corrupt` if the columns cannot be read or contradict the head.
    pub(crate) fn decode_into(mut self, scratch: &mut Scratch, out: &mut Columns) -> Result<()> {
        let begin = out.times.len();
        ints::decode(&mut self.columns, self.first_ms, self.count, &mut scratch.words, &mut out.times)?;
        if out.times.last() != Some(&self.last_ms) {
            return Err(Error::corrupt("chunk ends at another time than its head says"));
        }
        if !scratch.wanted.looks_at_values() && self.flags & HAS_NAN == 0 {
            // None of them is a stale marker.
            out.values.resize(out.times.len(), 0.0);
            return Ok(());
        }
        if self.has_starts {
            out.starts.resize(begin, 0);
            let times = out.times.get(begin..).unwrap_or_default();
            starts::decode(&mut self.columns, times, scratch, &mut out.starts)?;
        }
        if self.kind == HISTOGRAMS {
            let histograms = histogram::decode(&mut self.columns, self.count, scratch)?;
            out.values.resize(begin + histograms.len(), 0.0);
            let places = (begin..).map(|at| u32::try_from(at).unwrap_or(u32::MAX));
            out.histograms.extend(places.zip(histograms.into_iter().map(Arc::new)));
        } else {
            values::decode(&mut self.columns, self.count, scratch, &mut out.values)?;
        }
        self.columns.finish()
    }
}

/// The chunks of a row.
///
/// # Errors
/// `Unsupported` if the layout is unknown; the items are `Corrupt` where a head cannot be read.
pub(crate) fn chunks(row: &[u8]) -> Result<impl Iterator<Item = Result<Chunk<'_>>>> {
    let mut rest = Decoder::new(row);
    rest.layout(LAYOUT)?;
    let mut failed = false;
    Ok(std::iter::from_fn(move || {
        if failed || rest.rest().is_empty() {
            return None;
        }
        let chunk = rest.bytes().and_then(head);
        failed = chunk.is_err();
        Some(chunk)
    }))
}

fn head(body: &[u8]) -> Result<Chunk<'_>> {
    let mut columns = Decoder::new(body);
    let kind = columns.u8()?;
    if !(FLOATS..=HISTOGRAMS + STARTED).contains(&kind) {
        return Err(Error::unsupported(format!("unknown kind of chunk, kind={kind}")));
    }
    let has_starts = kind > HISTOGRAMS;
    let kind = if has_starts { kind - STARTED } else { kind };
    let count = columns.count()?;
    if count == 0 || count > CHUNK_SAMPLES {
        return Err(Error::corrupt(format!("chunk with a wrong number of samples, count={count}")));
    }
    let first_ms = columns.signed()?;
    let last_ms = first_ms.wrapping_add(columns.varint()?.cast_signed());
    let flags = columns.u8()?;
    let statistics = match flags & HAS_STATISTICS {
        0 => None,
        _ => Some(Statistics { min: columns.f64()?, max: columns.f64()?, sum: columns.f64()? }),
    };
    Ok(Chunk { kind, has_starts, count, first_ms, last_ms, flags, statistics, columns })
}

/// Writes samples, which must be in strictly ascending time order, as a row.
pub(crate) fn encode_row(samples: Samples<'_>) -> Bytes {
    let mut row = Encoder::with_capacity(LAYOUT, samples.len() * 2 + 32);
    let mut rest = samples;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(stretch(rest));
        row.bytes(&if now.has_histograms() { encode_histograms(now) } else { encode_floats(now) });
        rest = later;
    }
    row.finish()
}

/// How many samples the first chunk takes: all of one kind, and not too many.
fn stretch(samples: Samples<'_>) -> usize {
    let mut histograms = samples.histograms().map(|(at, _)| at);
    match histograms.next() {
        None => samples.len().min(CHUNK_SAMPLES),
        Some(0) => {
            let more = histograms.zip(1..CHUNK_HISTOGRAMS).take_while(|(at, expected)| at == expected);
            1 + more.count()
        }
        Some(at) => at.min(CHUNK_SAMPLES),
    }
}

fn begin_body(kind: u8, samples: Samples<'_>) -> Encoder {
    let times = samples.times;
    let kind = if samples.starts().is_empty() { kind } else { kind + STARTED };
    let mut body = Encoder::with_capacity(kind, times.len() * 2 + 48);
    let (first, last) = (times.first().copied().unwrap_or(0), times.last().copied().unwrap_or(0));
    body.varint(times.len() as u64).signed(first).varint(last.wrapping_sub(first).cast_unsigned());
    body
}

fn write_times(body: &mut Encoder, samples: Samples<'_>) {
    ints::encode(body, samples.times, Effort::Small);
    if !samples.starts().is_empty() {
        starts::encode(body, samples);
    }
}

fn encode_histograms(samples: Samples<'_>) -> Bytes {
    let mut body = begin_body(HISTOGRAMS, samples);
    body.u8(0);
    write_times(&mut body, samples);
    let all: Vec<&Histogram> = samples.histograms().map(|(_, one)| one.as_ref()).collect();
    histogram::encode(&mut body, &all);
    body.finish()
}

fn encode_floats(samples: Samples<'_>) -> Bytes {
    let values = samples.values;
    let mut body = begin_body(FLOATS, samples);
    let has_nan = values.iter().any(|value| value.is_nan());
    let never_decreases = !has_nan && values.is_sorted();
    let mut flags = if has_nan { HAS_NAN } else { 0 } | if never_decreases { NEVER_DECREASES } else { 0 };
    let worth_it = |found: &Statistics| values.len() >= STATISTICS_FROM && (found.min < found.max || has_nan);
    let statistics = statistics(values).filter(worth_it);
    if statistics.is_some() {
        flags |= HAS_STATISTICS;
    }
    body.u8(flags);
    if let Some(Statistics { min, max, sum }) = statistics {
        body.f64(min).f64(max).f64(sum);
    }
    write_times(&mut body, samples);
    values::encode(&mut body, values, Effort::Small);
    body.finish()
}

fn statistics(values: &[f64]) -> Option<Statistics> {
    let mut found = None;
    for value in values.iter().copied().filter(|value| !value.is_nan()) {
        let Statistics { min, max, sum } = found.unwrap_or(Statistics { min: value, max: value, sum: 0.0 });
        found = Some(Statistics { min: min.min(value), max: max.max(value), sum: sum + value });
    }
    found
}

/// Appends all samples of a row to `out`.
///
/// # Errors
/// `Corrupt` if the row cannot be read.
pub(crate) fn decode_row(row: &[u8], scratch: &mut Scratch, out: &mut Columns) -> Result<()> {
    chunks(row)?.try_for_each(|chunk| chunk?.decode_into(scratch, out))
}

/// Appends the samples of a row whose time is in `start_ms ..= end_ms` to `out`, as far as they are wanted; chunks outside are not decoded,
/// and where only the newest, lowest or highest sample is wanted, a chunk's head mostly says enough.
///
/// # Errors
/// `Corrupt` if the row cannot be read.
pub(crate) fn decode_range(
    row: &[u8],
    (start_ms, end_ms): (i64, i64),
    scratch: &mut Scratch,
    out: &mut Columns,
) -> Result<()> {
    for chunk in chunks(row)? {
        let chunk = chunk?;
        if chunk.last_ms < start_ms || chunk.first_ms > end_ms {
            continue;
        }
        if scratch.wanted == Wanted::Newest && chunk.last_ms <= end_ms && chunk.flags & HAS_NAN == 0 {
            out.push(chunk.last_ms, 0.0);
            continue;
        }
        let from = out.len();
        let inside = chunk.first_ms >= start_ms && chunk.last_ms <= end_ms;
        let stands_for_all = inside && chunk.last_ms < scratch.alone_before_ms;
        if let Some(value) = chunk.extreme(scratch.wanted).filter(|_| stands_for_all) {
            out.push(chunk.last_ms, value);
            continue;
        }
        chunk.decode_into(scratch, out)?;
        if !inside {
            out.clip(from, start_ms, end_ms);
        }
    }
    Ok(())
}

/// Merges rows, oldest first: on equal timestamps the later row wins.
///
/// # Errors
/// `Corrupt` if a row cannot be read.
pub(crate) fn merge_rows<'a>(rows: impl Iterator<Item = &'a [u8]>) -> Result<Bytes> {
    let mut all = Columns::default();
    let mut scratch = Scratch::default();
    for row in rows {
        decode_row(row, &mut scratch, &mut all)?;
    }
    all.settle();
    Ok(encode_row(all.as_samples()))
}

#[cfg(test)]
mod tests;
