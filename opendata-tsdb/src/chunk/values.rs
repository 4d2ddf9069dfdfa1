//! Columns of floating-point values, bit for bit: whatever NaN goes in comes out.
//!
//! ```text
//! kind u8, then
//!   0 constant: the bits, 8 bytes
//!   1 decimal:  scale u8 · exceptions: count varint, then that often: distance to the last place varint, bits
//!               · first signed varint · the others as an integer column (see `ints`)
//!   2 XOR:      length varint, bit stream
//!   3 raw:      the bits of all
//!   4 constant: an integer, signed varint
//!   5 bits:     the first 8 bytes · the others as an integer column (see `ints`)
//! ```
//! Decimal: a value is an integer divided by a power of ten, as almost everything is that a person or a program prints
//! (after "ALP: Adaptive Lossless floating-Point compression", SIGMOD 2023). Scale 0 to 15: divided by 10^scale; 0 are
//! the integers. The division rounds correctly and both operands are exact, so the decimal comes back as the nearest double.
//! Programs that count in small units come to other doubles: scale 17 to 31, multiplied by 10^-(scale - 16); 32, divided by
//! 1000 twice. What does not fit (NaN, stale markers, infinities, -0, long fractions) is an exception and stands in the
//! column as the value before it.
//!
//! Bits: the doubles' bits as integers, those of negative numbers turned so that the integers stand in the order of the
//! numbers. Times with fractions, and what else moves steadily through long fractions, become short deltas.
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
const BITS: u8 = 5;

/// Powers of ten that a double holds exactly and that leave room for digits.
const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
/// Every integer up to here is a double, and only itself.
const LARGEST: f64 = 9_007_199_254_740_992.0;

/// What is wanted of samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wanted {
    #[default]
    All,
    /// When they are, and which of them are stale markers. What else they hold is anything.
    Times,
    /// That of the newest one; the others may be missing.
    Newest,
    /// The lowest value of all that are read; the others may be missing, and it may stand at another time.
    Lowest,
    /// The highest value likewise.
    Highest,
}

impl Wanted {
    /// Whether values matter.
    pub(crate) fn looks_at_values(self) -> bool {
        !matches!(self, Self::Times | Self::Newest)
    }
}

/// Scratch space for decoding many columns, and what they are decoded for.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) wanted: Wanted,
    /// What ends before this time is not replaced by other samples, so that the lowest or highest of a chunk can be taken
    /// for all of it.
    pub(crate) alone_before_ms: i64,
    pub(crate) words: Vec<u64>,
    pub(crate) ints: Vec<i64>,
}

/// What a kind of column is called.
pub(crate) fn kind_name(kind: Option<u8>) -> &'static str {
    match kind {
        Some(CONSTANT | CONSTANT_INTEGER) => "values, constant",
        Some(DECIMAL) => "values, decimal",
        Some(XOR) => "values, XOR",
        Some(BITS) => "values, bits",
        _ => "values, raw",
    }
}

/// Writes a column.
pub(crate) fn encode(out: &mut Encoder, values: &[f64], effort: Effort) {
    let Some(first) = values.first() else { return };
    if values.iter().all(|value| value.to_bits() == first.to_bits()) {
        match Scale::Divide(1.0).digits(*first) {
            Some(integer) => out.u8(CONSTANT_INTEGER).signed(integer),
            None => out.u8(CONSTANT).f64(*first),
        };
        return;
    }
    let raw_len = 8 * values.len();
    let decimal = decimal(values, effort).filter(|bytes| bytes.len() < raw_len);
    let good_enough = decimal.as_ref().is_some_and(|bytes| bytes.len() <= 3 * values.len());
    let others = match effort {
        Effort::Small if !good_enough => [Some(streamed(values)), Some(as_integers(values))],
        _ => [None, None],
    };
    match decimal.into_iter().chain(others.into_iter().flatten()).min_by_key(Encoder::len) {
        Some(best) if best.len() < raw_len => {
            out.raw(best.as_slice());
        }
        _ => {
            out.u8(RAW);
            for value in values {
                out.f64(*value);
            }
        }
    }
}

/// The column as a stream of XORs, with its kind byte.
fn streamed(values: &[f64]) -> Encoder {
    let stream = xor::encode(values);
    let mut out = Encoder::with_capacity(XOR, stream.len() + 4);
    out.bytes(&stream);
    out
}

/// The column as integers that are the doubles' bits, with its kind byte.
fn as_integers(values: &[f64]) -> Encoder {
    let ordered: Vec<i64> = values.iter().map(|value| in_order(value.to_bits().cast_signed())).collect();
    let mut out = Encoder::with_capacity(BITS, values.len() * 4 + 16);
    out.i64(ordered.first().copied().unwrap_or(0));
    ints::encode(&mut out, &ordered, Effort::Small);
    out
}

/// Turns a double's bits into an integer in the order of the numbers, and back.
#[inline]
fn in_order(bits: i64) -> i64 {
    bits ^ (((bits >> 63).cast_unsigned()) >> 1).cast_signed()
}

/// How a decimal's digits become a double.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scale {
    /// Divided by a power of ten.
    Divide(f64),
    /// Multiplied by the double next to its reciprocal.
    Multiply(f64),
    /// Divided by 1000, and again.
    Twice,
}

const MULTIPLY: u8 = 16;
const TWICE: u8 = 32;

impl Scale {
    fn from_code(code: u8) -> Option<Self> {
        match code {
            TWICE => Some(Self::Twice),
            MULTIPLY.. => POWERS.get(usize::from(code - MULTIPLY)).map(|power| Self::Multiply(1.0 / power)),
            _ => POWERS.get(usize::from(code)).map(|power| Self::Divide(*power)),
        }
    }

    /// By their codes, those first that take the fewest digits.
    fn all() -> impl Iterator<Item = (u8, Self)> {
        let decades = (0..MULTIPLY).flat_map(|exponent| [exponent, MULTIPLY + exponent]);
        let codes =
            decades.flat_map(|code| if code == MULTIPLY + 6 { [Some(code), Some(TWICE)] } else { [Some(code), None] });
        codes.flatten().filter(|code| *code != MULTIPLY).filter_map(|code| Some((code, Self::from_code(code)?)))
    }

    #[inline]
    fn value(self, digits: i64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "written digits are exact; corrupt ones may become anything")]
        let digits = digits as f64;
        match self {
            Self::Divide(power) => digits / power,
            Self::Multiply(factor) => digits * factor,
            Self::Twice => digits / 1e3 / 1e3,
        }
    }

    /// The digits of a value, if it comes back from them.
    #[inline]
    fn digits(self, value: f64) -> Option<i64> {
        let scaled = match self {
            Self::Divide(power) => value * power,
            Self::Multiply(factor) => value / factor,
            Self::Twice => value * 1e6,
        }
        .round();
        #[expect(clippy::cast_possible_truncation, reason = "checked to be an integer of at most 2^53")]
        let digits = scaled as i64;
        // Through the integer and back, so that -0 is found to be different.
        (scaled.abs() <= LARGEST && self.value(digits).to_bits() == value.to_bits()).then_some(digits)
    }
}

/// The column as decimals, with its kind byte; none if too few values are decimals.
fn decimal(values: &[f64], effort: Effort) -> Option<Encoder> {
    let (code, scale) = pick_scale(values)?;
    let mut exceptions = Vec::new();
    let mut digits = Vec::with_capacity(values.len());
    let mut last = None;
    for (at, value) in values.iter().enumerate() {
        if let Some(digit) = scale.digits(*value) {
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
    out.u8(code).varint(exceptions.len() as u64);
    let mut before = 0;
    for (at, value) in exceptions {
        out.varint((at - before) as u64).f64(value);
        before = at;
    }
    out.signed(first);
    ints::encode(&mut out, &digits, effort);
    Some(out)
}

/// The smallest scale that fits nearly all of a sample of the values.
fn pick_scale(values: &[f64]) -> Option<(u8, Scale)> {
    let stride = (values.len() / 32).max(1);
    let sample = || values.iter().step_by(stride).filter(|value| value.is_finite());
    let enough = sample().count().div_ceil(8);
    Scale::all().find(|(_, scale)| {
        let mut misses = 0;
        sample().all(|value| {
            misses += usize::from(scale.digits(*value).is_none());
            misses < enough.max(1)
        })
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
        BITS => {
            let first = bytes.i64()?;
            scratch.ints.clear();
            ints::decode(bytes, first, count, &mut scratch.words, &mut scratch.ints)?;
            out.extend(scratch.ints.iter().map(|ordered| f64::from_bits(in_order(*ordered).cast_unsigned())));
            Ok(())
        }
        kind => Err(Error::unsupported(format!("unknown value column, kind={kind}"))),
    }
}

fn decode_decimal(bytes: &mut Decoder<'_>, count: usize, scratch: &mut Scratch, out: &mut Vec<f64>) -> Result<()> {
    let code = bytes.u8()?;
    let scale =
        Scale::from_code(code).ok_or_else(|| Error::corrupt(format!("unknown scale of decimals, scale={code}")))?;
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
    match scale {
        // Without a choice in the loop.
        #[expect(clippy::cast_precision_loss, reason = "written digits are exact; corrupt ones may become anything")]
        Scale::Divide(1.0) => out.extend(scratch.ints.iter().map(|digits| *digits as f64)),
        Scale::Divide(power) => out.extend(scratch.ints.iter().map(|digits| Scale::Divide(power).value(*digits))),
        Scale::Multiply(factor) => out.extend(scratch.ints.iter().map(|digits| Scale::Multiply(factor).value(*digits))),
        Scale::Twice => out.extend(scratch.ints.iter().map(|digits| Scale::Twice.value(*digits))),
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
