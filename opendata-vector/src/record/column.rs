//! The numbers of one attribute in one chunk of ids, sorted.
//!
//! ```text
//! NUM  layout 1 | count varint | values: the first, then from the one before, varint each | low 16 bits of ids: u16 each
//!      a value stands as a u64 in its order: i64 and timestamps with the sign bit flipped,
//!      f64 with the sign bit flipped, or all bits if it is negative
//! ```
//!
//! In memory it also has, for every 4,096 numbers, the ids of all numbers up to there as bits: any range of numbers is
//! the difference of two of these, and some single ids.

use std::ops::Range;

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result};

use crate::document::Scalar;
use crate::idset::chunk::{Chunk, Words, set};

const LAYOUT: u8 = 1;
const STEP: usize = 4096;

/// A number in its order; none for what is no number.
pub(crate) fn ordered(scalar: &Scalar) -> Option<u64> {
    match scalar {
        Scalar::I64(value) => Some(*value as u64 ^ 1 << 63),
        Scalar::F64(value) => {
            let bits = value.to_bits();
            Some(if bits >> 63 == 1 { !bits } else { bits | 1 << 63 })
        }
        Scalar::Bool(_) | Scalar::String(_) => None,
    }
}

/// Numbers and low bits of ids, in any order.
pub(crate) fn encode(mut entries: Vec<(u64, u16)>) -> Bytes {
    entries.sort_unstable();
    entries.dedup();
    let mut value = Encoder::with_capacity(LAYOUT, entries.len() * 4 + 16);
    value.varint(entries.len() as u64);
    let mut before = 0;
    for (number, _) in &entries {
        value.varint(number - before);
        before = *number;
    }
    entries.iter().for_each(|(_, low)| _ = value.raw(&low.to_le_bytes()));
    value.finish()
}

pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Vec<(u64, u16)>> {
    parse(value).map_err(|error| Error::corrupt_at(key, error))
}

fn parse(value: &[u8]) -> Result<Vec<(u64, u16)>> {
    let mut fields = Decoder::new(value);
    fields.layout(LAYOUT)?;
    let count = fields.count()?;
    // Each takes three bytes at least; a damaged count must not ask for memory.
    if count > fields.rest().len() / 3 {
        return Err(Error::corrupt("more numbers than bytes"));
    }
    let mut numbers = Vec::with_capacity(count);
    let mut before = 0u64;
    for _ in 0..count {
        let step = fields.varint()?;
        before = before.checked_add(step).ok_or_else(|| Error::corrupt("numbers beyond their range"))?;
        numbers.push(before);
    }
    let lows = fields.raw(count.saturating_mul(2))?.as_chunks::<2>().0.iter();
    let entries = numbers.into_iter().zip(lows.map(|low| u16::from_le_bytes(*low))).collect();
    fields.finish()?;
    Ok(entries)
}

/// All of them together.
pub(crate) fn merge(key: &[u8], values: &[&[u8]]) -> Result<Bytes> {
    let mut all = Vec::new();
    for value in values {
        all.extend(decode(key, value)?);
    }
    Ok(encode(all))
}

/// A column, ready to be asked.
#[derive(Debug, Default)]
pub(crate) struct Column {
    numbers: Vec<u64>,
    lows: Vec<u16>,
    /// The ids of the first `STEP`, twice `STEP`, ... numbers.
    steps: Vec<Box<Words>>,
}

impl Column {
    pub(crate) fn new(entries: &[(u64, u16)]) -> Self {
        let mut column = Self::default();
        let mut words: Box<Words> = Box::new([0; 1024]);
        for (number, low) in entries {
            column.numbers.push(*number);
            column.lows.push(*low);
            set(&mut words, *low);
            if column.numbers.len().is_multiple_of(STEP) {
                column.steps.push(words.clone());
            }
        }
        column
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.numbers.len() * 10 + self.steps.len() * 8192 + 96
    }

    /// The places of numbers below one, and of numbers up to one.
    pub(crate) fn below(&self, number: u64) -> usize {
        self.numbers.partition_point(|own| *own < number)
    }

    pub(crate) fn up_to(&self, number: u64) -> usize {
        self.numbers.partition_point(|own| *own <= number)
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The ids at some places. No id has two numbers if there are more places than a step has.
    pub(crate) fn ids(&self, places: Range<usize>) -> Chunk {
        let lows = |places: Range<usize>| self.lows.get(places).unwrap_or_default();
        if places.len() <= STEP {
            let mut few = lows(places).to_vec();
            few.sort_unstable();
            few.dedup();
            return Chunk::list(few);
        }
        let (first, last) = (places.start.div_ceil(STEP), places.end / STEP);
        let step = |number: usize| number.checked_sub(1).and_then(|at| self.steps.get(at));
        let mut words = step(last).cloned().unwrap_or_else(|| Box::new([0; 1024]));
        if let Some(before) = step(first) {
            words.iter_mut().zip(before.iter()).for_each(|(word, before)| *word &= !before);
        }
        let edges = [places.start..first * STEP, last * STEP..places.end];
        edges.into_iter().flat_map(lows).for_each(|low| set(&mut words, *low));
        Chunk::of(words)
    }
}

#[cfg(test)]
mod tests;
