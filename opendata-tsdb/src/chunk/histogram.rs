//! Native histograms: one alone, as slabs hold them, and columns of them, as chunks do. Every bit comes back.
//!
//! ```text
//! shape     = schema i8 · zero threshold f64 · custom bounds: count varint, f64* · positive spans · negative spans
//! spans     = count varint, then that often: offset signed varint · length varint
//! histogram = shape · counter reset u8 · sum f64 · count, zero count and buckets as one value column
//! columns   = shapes: count varint, shape* · the shape of each: integer column, if there are several
//!             · counter resets: integer column · counts · zero counts · sums
//!             · one value column for each bucket that any shape has, positive ones first, by index
//! ```
//! Counter resets: 0 unknown, 1 reset, 2 not reset, 3 gauge. In a chunk the buckets of neighbours in time stand
//! together, where they differ least; a histogram whose shape lacks a bucket has zero there. Integer columns begin with
//! their first value, a signed varint.

use std::collections::BTreeMap;
use std::sync::Arc;

use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result};

use super::ints::{self, Effort};
use super::values::{self, Scratch};
use crate::histogram::{Buckets, CounterReset, Histogram, Span};

/// The most buckets of one sign that a histogram may have.
pub(crate) const MOST_BUCKETS: usize = 1 << 14;

/// What histograms of a kind have in common: everything but their numbers.
#[derive(Clone, Debug)]
struct Shape {
    schema: i8,
    zero_threshold: f64,
    custom_bounds: Arc<[f64]>,
    positive: Vec<Span>,
    negative: Vec<Span>,
}

impl Shape {
    fn of(one: &Histogram) -> Self {
        Self {
            schema: one.schema,
            zero_threshold: one.zero_threshold,
            custom_bounds: Arc::clone(&one.custom_bounds),
            positive: one.positive.spans.clone(),
            negative: one.negative.spans.clone(),
        }
    }

    fn fits(&self, one: &Histogram) -> bool {
        let same =
            |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
        self.schema == one.schema
            && self.zero_threshold.to_bits() == one.zero_threshold.to_bits()
            && self.positive == one.positive.spans
            && self.negative == one.negative.spans
            && same(&self.custom_bounds, &one.custom_bounds)
    }

    fn encode(&self, out: &mut Encoder) {
        out.u8(self.schema.cast_unsigned()).f64(self.zero_threshold).varint(self.custom_bounds.len() as u64);
        for bound in self.custom_bounds.iter() {
            out.f64(*bound);
        }
        for spans in [&self.positive, &self.negative] {
            out.varint(spans.len() as u64);
            for span in spans {
                out.signed(i64::from(span.offset)).varint(u64::from(span.length));
            }
        }
    }

    fn decode(bytes: &mut Decoder<'_>) -> Result<Self> {
        let (schema, zero_threshold) = (bytes.u8()?.cast_signed(), bytes.f64()?);
        let bounds = bytes.count()?;
        let raw = bytes.raw(bounds.saturating_mul(8))?;
        let custom_bounds = raw.as_chunks::<8>().0.iter().map(|bound| f64::from_le_bytes(*bound)).collect();
        let (positive, negative) = (read_spans(bytes)?, read_spans(bytes)?);
        Ok(Self { schema, zero_threshold, custom_bounds, positive, negative })
    }

    /// The buckets it has: whether negative, and the index.
    fn buckets(&self) -> impl Iterator<Item = (bool, i64)> + '_ {
        let signed = |negative: bool, spans| indexes(spans).map(move |index| (negative, index));
        signed(false, &self.positive).chain(signed(true, &self.negative))
    }

    /// The histogram of this shape with these numbers; `counts` are those of the buckets.
    fn fill(&self, reset: CounterReset, [count, zero_count, sum]: [f64; 3], mut counts: Vec<f64>) -> Histogram {
        let negative = counts.split_off(indexes(&self.positive).count().min(counts.len()));
        Histogram {
            counter_reset: reset,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count,
            count,
            sum,
            positive: Buckets { spans: self.positive.clone(), counts },
            negative: Buckets { spans: self.negative.clone(), counts: negative },
            custom_bounds: Arc::clone(&self.custom_bounds),
        }
    }
}

fn indexes(spans: &[Span]) -> impl Iterator<Item = i64> + '_ {
    let mut next = 0i64;
    spans.iter().flat_map(move |span| {
        let start = next + i64::from(span.offset);
        next = start + i64::from(span.length);
        start..next
    })
}

fn read_spans(bytes: &mut Decoder<'_>) -> Result<Vec<Span>> {
    let wrong = || Error::corrupt("span of a histogram is out of range");
    let mut total = 0usize;
    let mut spans = Vec::new();
    for _ in 0..bytes.count()? {
        let offset = i32::try_from(bytes.signed()?).map_err(|_| wrong())?;
        let length = u32::try_from(bytes.varint()?).map_err(|_| wrong())?;
        total = total.saturating_add(length as usize);
        if total > MOST_BUCKETS {
            return Err(wrong());
        }
        spans.push(Span { offset, length });
    }
    Ok(spans)
}

fn reset_code(reset: CounterReset) -> u8 {
    match reset {
        CounterReset::Unknown => 0,
        CounterReset::Reset => 1,
        CounterReset::NotReset => 2,
        CounterReset::Gauge => 3,
    }
}

fn reset_of(code: i64) -> Result<CounterReset> {
    match code {
        0 => Ok(CounterReset::Unknown),
        1 => Ok(CounterReset::Reset),
        2 => Ok(CounterReset::NotReset),
        3 => Ok(CounterReset::Gauge),
        _ => Err(Error::corrupt(format!("unknown counter reset of a histogram, code={code}"))),
    }
}

fn counts(one: &Histogram) -> impl Iterator<Item = f64> + '_ {
    one.positive.counts.iter().chain(&one.negative.counts).copied()
}

/// Writes one histogram.
pub(crate) fn encode_one(out: &mut Encoder, one: &Histogram) {
    Shape::of(one).encode(out);
    out.u8(reset_code(one.counter_reset)).f64(one.sum);
    let numbers: Vec<f64> = [one.count, one.zero_count].into_iter().chain(counts(one)).collect();
    values::encode(out, &numbers, Effort::Fast);
}

/// Reads one histogram.
///
/// # Errors
/// `Corrupt` if the bytes are none.
pub(crate) fn decode_one(bytes: &mut Decoder<'_>) -> Result<Histogram> {
    let shape = Shape::decode(bytes)?;
    let (reset, sum) = (reset_of(i64::from(bytes.u8()?))?, bytes.f64()?);
    let mut numbers = Vec::new();
    values::decode(bytes, 2 + shape.buckets().count(), &mut Scratch::default(), &mut numbers)?;
    let buckets = numbers.split_off(2);
    let (Some(count), Some(zero_count)) = (numbers.first(), numbers.last()) else {
        return Err(Error::corrupt("histogram without a count"));
    };
    Ok(shape.fill(reset, [*count, *zero_count, sum], buckets))
}

/// Writes the histograms of a chunk.
pub(super) fn encode(out: &mut Encoder, all: &[&Histogram]) {
    let mut shapes: Vec<Shape> = Vec::new();
    let mut shape_of: Vec<i64> = Vec::with_capacity(all.len());
    for one in all {
        let known = shapes.iter().rposition(|shape| shape.fits(one));
        let at = known.unwrap_or_else(|| {
            shapes.push(Shape::of(one));
            shapes.len() - 1
        });
        shape_of.push(i64::try_from(at).unwrap_or(0));
    }
    out.varint(shapes.len() as u64);
    shapes.iter().for_each(|shape| shape.encode(out));
    if shapes.len() > 1 {
        encode_ints(out, &shape_of);
    }
    encode_ints(out, &all.iter().map(|one| i64::from(reset_code(one.counter_reset))).collect::<Vec<_>>());
    let numbers: [fn(&Histogram) -> f64; 3] = [|one| one.count, |one| one.zero_count, |one| one.sum];
    for number in numbers {
        values::encode(out, &all.iter().map(|one| number(one)).collect::<Vec<_>>(), Effort::Small);
    }
    let mut columns: BTreeMap<(bool, i64), Vec<f64>> = BTreeMap::new();
    for shape in &shapes {
        for bucket in shape.buckets() {
            columns.entry(bucket).or_insert_with(|| vec![0.0; all.len()]);
        }
    }
    for ((at, one), shape) in all.iter().enumerate().zip(&shape_of) {
        let Some(shape) = usize::try_from(*shape).ok().and_then(|shape| shapes.get(shape)) else { continue };
        for (bucket, count) in shape.buckets().zip(counts(one)) {
            if let Some(place) = columns.get_mut(&bucket).and_then(|column| column.get_mut(at)) {
                *place = count;
            }
        }
    }
    columns.values().for_each(|column| values::encode(out, column, Effort::Small));
}

fn encode_ints(out: &mut Encoder, column: &[i64]) {
    out.signed(column.first().copied().unwrap_or(0));
    ints::encode(out, column, Effort::Small);
}

/// Reads the `count` histograms of a chunk.
///
/// # Errors
/// `Corrupt` if the bytes are not such columns.
pub(super) fn decode(bytes: &mut Decoder<'_>, count: usize, scratch: &mut Scratch) -> Result<Vec<Histogram>> {
    let several = bytes.count()?;
    if several == 0 || several > count {
        return Err(Error::corrupt(format!("histograms with a wrong number of shapes, count={several}")));
    }
    let shapes = (0..several).map(|_| Shape::decode(bytes)).collect::<Result<Vec<_>>>()?;
    let shape_of = if several > 1 { decode_ints(bytes, count, scratch)? } else { vec![0; count] };
    let resets = decode_ints(bytes, count, scratch)?;
    let mut read = || -> Result<Vec<f64>> {
        let mut column = Vec::new();
        values::decode(bytes, count, scratch, &mut column)?;
        Ok(column)
    };
    let (totals, zeros, sums) = (read()?, read()?, read()?);
    let mut columns: BTreeMap<(bool, i64), Vec<f64>> =
        shapes.iter().flat_map(Shape::buckets).map(|bucket| (bucket, Vec::new())).collect();
    for column in columns.values_mut() {
        *column = read()?;
    }
    let numbers = totals.iter().zip(&zeros).zip(&sums).map(|((count, zero), sum)| [*count, *zero, *sum]);
    let mut all = Vec::with_capacity(count);
    for (at, ((shape, reset), numbers)) in shape_of.iter().zip(&resets).zip(numbers).enumerate() {
        let shape = usize::try_from(*shape).ok().and_then(|shape| shapes.get(shape));
        let shape = shape.ok_or_else(|| Error::corrupt("histogram of a shape that is not there"))?;
        let of = |bucket| columns.get(&bucket).and_then(|column| column.get(at)).copied().unwrap_or(0.0);
        all.push(shape.fill(reset_of(*reset)?, numbers, shape.buckets().map(of).collect()));
    }
    Ok(all)
}

fn decode_ints(bytes: &mut Decoder<'_>, count: usize, scratch: &mut Scratch) -> Result<Vec<i64>> {
    let first = bytes.signed()?;
    let mut column = Vec::new();
    ints::decode(bytes, first, count, &mut scratch.words, &mut column)?;
    Ok(column)
}

#[cfg(test)]
mod tests;
