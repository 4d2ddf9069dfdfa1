//! Columns of floating-point values, bit for bit: whatever NaN goes in comes out.
//!
//! ```text
//! kind u8, then
//!   0 constant: the bits, 8 bytes
//!   1 decimal:  exponent u8 · exceptions: count varint, then that often: distance to the last place varint, bits
//!               · first signed varint · the others as an integer column (see `ints`)
//!   2 XOR:      length varint, bit stream
//!   3 raw:      the bits of all
//!   4 constant: an integer, signed varint
//! ```
//! Decimal: a value is an integer divided by a power of ten, as almost everything is that a person or a program prints
//! (after "ALP: Adaptive Lossless floating-Point compression", SIGMOD 2023); exponent 0 are the integers. The division
//! rounds correctly and both operands are exact, so the decimal comes back as the nearest double. What does not fit
//! (NaN, stale markers, infinities, -0, long fractions) is an exception and stands in the column as the value before it.
//!
//! XOR (after "Gorilla", VLDB 2015, section 4.1.2), highest bit first: the first value in 64 bits; then for each value
//! XORed with the last: `0` equal; `10` its meaningful bits in the last window; `11`, 6 bits leading zeros, 6 bits
//! length - 1, meaningful bits.

use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result};

use super::ints::{self, Effort};
use super::xor;

const CONSTANT: u8 = 0;
const DECIMAL: u8 = 1;
const XOR: u8 = 2;
const RAW: u8 = 3;
const CONSTANT_INTEGER: u8 = 4;

/// Powers of ten that a double holds exactly and that leave room for digits.
const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
/// Every integer up to here is a double, and only itself.
const LARGEST: f64 = 9_007_199_254_740_992.0;

/// Scratch space for decoding many columns.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) words: Vec<u64>,
    pub(crate) ints: Vec<i64>,
}

/// Writes a column.
pub(crate) fn encode(out: &mut Encoder, values: &[f64], effort: Effort) {
    let Some(first) = values.first() else { return };
    if values.iter().all(|value| value.to_bits() == first.to_bits()) {
        match digits_of(*first, 1.0) {
            Some(integer) => out.u8(CONSTANT_INTEGER).signed(integer),
            None => out.u8(CONSTANT).f64(*first),
        };
        return;
    }
    let raw_len = 8 * values.len();
    let decimal = decimal(values, effort).filter(|bytes| bytes.len() < raw_len);
    let good_enough = decimal.as_ref().is_some_and(|bytes| bytes.len() <= 3 * values.len());
    let stream = match effort {
        Effort::Small if !good_enough => Some(xor::encode(values)),
        _ => None,
    };
    let best = decimal.as_ref().map_or(raw_len, Encoder::len);
    match (decimal, stream) {
        (_, Some(stream)) if stream.len() + 4 < best => {
            out.u8(XOR).bytes(&stream);
        }
        (Some(decimal), _) => {
            out.raw(decimal.as_slice());
        }
        (None, _) => {
            out.u8(RAW);
            for value in values {
                out.f64(*value);
            }
        }
    }
}

/// The column as decimals, with its kind byte; none if too few values are decimals.
fn decimal(values: &[f64], effort: Effort) -> Option<Encoder> {
    let exponent = pick_exponent(values)?;
    let power = POWERS.get(usize::from(exponent)).copied()?;
    let mut exceptions = Vec::new();
    let mut digits = Vec::with_capacity(values.len());
    let mut last = None;
    for (at, value) in values.iter().enumerate() {
        if let Some(digit) = digits_of(*value, power) {
            last = Some(digit);
            digits.push(digit);
        } else {
            exceptions.push((at, *value));
            digits.push(last.unwrap_or(0));
        }
    }
    if exceptions.len() > values.len() / 4 {
        return None;
    }
    // Exceptions at the beginning take the first real value, so that they do not widen the column.
    let leading = exceptions.iter().enumerate().take_while(|(index, (at, _))| index == at).count();
    let first = digits.get(leading).copied().unwrap_or(0);
    digits.iter_mut().take(leading).for_each(|digit| *digit = first);
    let mut out = Encoder::with_capacity(DECIMAL, values.len() * 2 + 16);
    out.u8(exponent).varint(exceptions.len() as u64);
    let mut before = 0;
    for (at, value) in exceptions {
        out.varint((at - before) as u64).f64(value);
        before = at;
    }
    out.signed(first);
    ints::encode(&mut out, &digits, effort);
    Some(out)
}

/// The value as an integer number of `1 / power`, if it is exactly that.
#[inline]
fn digits_of(value: f64, power: f64) -> Option<i64> {
    let scaled = (value * power).round();
    #[expect(clippy::cast_possible_truncation, reason = "checked to be an integer of at most 2^53")]
    let digits = scaled as i64;
    // Through the integer and back, so that -0 is found to be different.
    #[expect(clippy::cast_precision_loss, reason = "at most 2^53")]
    let back = digits as f64 / power;
    (scaled.abs() <= LARGEST && back.to_bits() == value.to_bits()).then_some(digits)
}

/// The smallest exponent that fits nearly all of a sample of the values.
fn pick_exponent(values: &[f64]) -> Option<u8> {
    let stride = (values.len() / 32).max(1);
    let sample = || values.iter().step_by(stride).filter(|value| value.is_finite());
    let enough = sample().count().div_ceil(8);
    (0u8..).zip(POWERS).find_map(|(exponent, power)| {
        let mut misses = 0;
        let fits = sample().all(|value| {
            misses += usize::from(digits_of(*value, power).is_none());
            misses < enough.max(1)
        });
        fits.then_some(exponent)
    })
}

/// Appends the `count` values of a column to `out`.
///
/// # Errors
/// `Corrupt` if the bytes are not such a column.
pub(crate) fn decode(bytes: &mut Decoder<'_>, count: usize, scratch: &mut Scratch, out: &mut Vec<f64>) -> Result<()> {
    if count == 0 {
        return Ok(());
    }
    match bytes.u8()? {
        CONSTANT => {
            let value = bytes.f64()?;
            out.resize(out.len() + count, value);
            Ok(())
        }
        CONSTANT_INTEGER => {
            #[expect(clippy::cast_precision_loss, reason = "written integers are exact; corrupt ones may be anything")]
            let value = bytes.signed()? as f64;
            out.resize(out.len() + count, value);
            Ok(())
        }
        DECIMAL => decode_decimal(bytes, count, scratch, out),
        XOR => xor::decode(bytes.bytes()?, count, out),
        RAW => {
            let bytes = bytes.raw(count.saturating_mul(8))?;
            out.extend(bytes.as_chunks::<8>().0.iter().map(|value| f64::from_le_bytes(*value)));
            Ok(())
        }
        kind => Err(Error::unsupported(format!("unknown value column, kind={kind}"))),
    }
}

fn decode_decimal(bytes: &mut Decoder<'_>, count: usize, scratch: &mut Scratch, out: &mut Vec<f64>) -> Result<()> {
    let exponent = bytes.u8()?;
    let power = POWERS
        .get(usize::from(exponent))
        .copied()
        .ok_or_else(|| Error::corrupt(format!("unknown decimal exponent, exponent={exponent}")))?;
    let exceptions = bytes.count()?;
    if exceptions > count {
        return Err(Error::corrupt("more exceptions than values in a value column"));
    }
    let mut patches = bytes.clone();
    for _ in 0..exceptions {
        bytes.varint()?;
        bytes.u64()?;
    }
    let first = bytes.signed()?;
    scratch.ints.clear();
    ints::decode(bytes, first, count, &mut scratch.words, &mut scratch.ints)?;
    let begin = out.len();
    #[expect(clippy::cast_precision_loss, reason = "written digits are exact; corrupt ones may become anything")]
    if exponent == 0 {
        out.extend(scratch.ints.iter().map(|digit| *digit as f64));
    } else {
        out.extend(scratch.ints.iter().map(|digit| *digit as f64 / power));
    }
    let mut at = begin;
    for _ in 0..exceptions {
        at = at.saturating_add(patches.count()?);
        let value = patches.f64()?;
        *out.get_mut(at).ok_or_else(|| Error::corrupt("exception behind the end of a value column"))? = value;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
