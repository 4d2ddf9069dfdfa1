//! Columns of 64-bit integers: a model predicts, what is left is bit-packed.
//!
//! The first value is kept by the caller. The others are taken relative to it, divided by their greatest common
//! divisor, predicted by one of four models, and what is left over is packed at one width; values that would widen
//! the column are patches. All arithmetic wraps, so that every column of `i64` comes back exactly.
//!
//! ```text
//! mode u8: bits 0-1 model, bit 2 patched, bit 3 scaled; the others 0
//! width u8
//! [scaled]        divisor varint
//! [model 2, 3]    slope signed varint
//! base signed varint
//! [patched]       count varint, then that often: distance to the last patched place varint, residual - base signed varint
//! residual - base, packed
//! ```
//! Models: 0 the value itself, 1 its delta, 2 the delta of its delta (slope is the first delta), 3 the distance from
//! a straight line through the first value (slope is the step).

use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result};

use super::bits::{pack, packed_len, unpack, width_of};

mod spread;

use spread::{Spread, spread};

/// How hard an encoder tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// For what is read soon and rewritten: plain models, no patches.
    Fast,
    /// For what is kept: the smallest of all models.
    Small,
}

const PATCHED: u8 = 4;
const SCALED: u8 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Model {
    Value,
    Delta,
    DeltaOfDelta,
    Line,
}

impl Model {
    const ALL: [Self; 4] = [Self::Value, Self::Delta, Self::DeltaOfDelta, Self::Line];

    fn code(self) -> u8 {
        match self {
            Self::Value => 0,
            Self::Delta => 1,
            Self::DeltaOfDelta => 2,
            Self::Line => 3,
        }
    }

    fn has_slope(self) -> bool {
        matches!(self, Self::DeltaOfDelta | Self::Line)
    }
}

/// One way to write a column, with its cost in bits.
struct Fit {
    model: Model,
    slope: i64,
    base: i64,
    width: u32,
    patched: bool,
    cost: usize,
}

/// Writes all but the first of `values`.
pub(crate) fn encode(out: &mut Encoder, values: &[i64], effort: Effort) {
    let Some((first, rest)) = values.split_first() else { return };
    if effort == Effort::Small
        && let Some(step) = constant_step(*first, rest)
    {
        write_steps(out, step, rest.len());
        return;
    }
    search(out, *first, rest, effort);
}

/// Writes the values behind the first by the model that takes least.
fn search(out: &mut Encoder, first: i64, rest: &[i64], effort: Effort) {
    let mut offsets: Vec<i64> = rest.iter().map(|value| value.wrapping_sub(first)).collect();
    let divisor = match effort {
        Effort::Fast => 1,
        Effort::Small => common_divisor(&offsets),
    };
    if divisor > 1 {
        for offset in &mut offsets {
            *offset /= divisor;
        }
    }
    let mut residuals = Vec::with_capacity(offsets.len());
    let mut scratch = Vec::new();
    let mut best: Option<Fit> = None;
    for model in Model::ALL {
        if effort == Effort::Fast && model.has_slope() {
            continue;
        }
        let slope = slope_of(model, &offsets);
        fill_residuals(model, slope, &offsets, &mut residuals);
        let fit = fit(model, slope, &residuals, effort, &mut scratch);
        if best.as_ref().is_none_or(|best| fit.cost < best.cost) {
            let perfect = fit.width == 0 && !fit.patched;
            best = Some(fit);
            if perfect && !model.has_slope() {
                break;
            }
        }
    }
    let Some(best) = best else { return };
    fill_residuals(best.model, best.slope, &offsets, &mut residuals);
    write(out, &best, divisor, &residuals);
}

/// The step of a column that goes on by the same step for at least two, where its multiples are numbers of 64 bits: most
/// columns of times. The search would end with the same bytes, later.
fn constant_step(first: i64, rest: &[i64]) -> Option<i64> {
    let step = rest.first()?.checked_sub(first).filter(|step| *step != 0 && *step != i64::MIN)?;
    let count = i64::try_from(rest.len()).ok().filter(|count| *count >= 2)?;
    first.checked_add(step.checked_mul(count)?)?;
    let before = std::iter::once(&first).chain(rest);
    rest.iter().zip(before).all(|(value, before)| value.wrapping_sub(*before) == step).then_some(step)
}

/// Deltas that are all the same, divided by themselves.
fn write_steps(out: &mut Encoder, step: i64, count: usize) {
    let base = step.signum();
    let fit = Fit { model: Model::Delta, slope: 0, base, width: 0, patched: false, cost: 0 };
    write(out, &fit, step.abs(), &vec![base; count]);
}

fn write(out: &mut Encoder, fit: &Fit, divisor: i64, residuals: &[i64]) {
    let patched = if fit.patched { PATCHED } else { 0 };
    let scaled = if divisor > 1 { SCALED } else { 0 };
    out.u8(fit.model.code() | patched | scaled);
    out.u8(u8::try_from(fit.width).unwrap_or(64));
    if divisor > 1 {
        out.varint(divisor.cast_unsigned());
    }
    if fit.model.has_slope() {
        out.signed(fit.slope);
    }
    out.signed(fit.base);
    let fits = |residual: i64| width_of(residual.wrapping_sub(fit.base).cast_unsigned()) <= fit.width;
    if fit.patched {
        out.varint(residuals.iter().filter(|residual| !fits(**residual)).count() as u64);
        let mut last = 0;
        for (at, residual) in residuals.iter().enumerate().filter(|(_, residual)| !fits(**residual)) {
            out.varint((at - last) as u64).signed(residual.wrapping_sub(fit.base));
            last = at;
        }
    }
    let mut packed = Vec::with_capacity(packed_len(residuals.len(), fit.width) + 8);
    let values = residuals.iter().map(|residual| match fits(*residual) {
        true => residual.wrapping_sub(fit.base).cast_unsigned(),
        false => 0,
    });
    pack(&mut packed, values, fit.width);
    out.raw(&packed);
}

/// The greatest number that divides all offsets; 1 if there is none worth dividing by.
fn common_divisor(offsets: &[i64]) -> i64 {
    let mut divisor = 0u64;
    for offset in offsets {
        let (mut a, mut b) = (divisor, offset.unsigned_abs());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        divisor = a;
        if divisor == 1 {
            return 1;
        }
    }
    i64::try_from(divisor).unwrap_or(1).max(1)
}

fn slope_of(model: Model, offsets: &[i64]) -> i64 {
    match model {
        Model::Value | Model::Delta => 0,
        Model::DeltaOfDelta => offsets.first().copied().unwrap_or(0),
        Model::Line => {
            // From end to end: noise on single values hardly moves it, as it would the median of the deltas.
            let (last, count) = (offsets.last().copied().unwrap_or(0), offsets.len().max(1));
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            last.wrapping_add(if last < 0 { -(count / 2) } else { count / 2 }) / count
        }
    }
}

fn deltas(offsets: &[i64]) -> impl Iterator<Item = i64> {
    let before = std::iter::once(0).chain(offsets.iter().copied());
    offsets.iter().zip(before).map(|(offset, before)| offset.wrapping_sub(before))
}

fn fill_residuals(model: Model, slope: i64, offsets: &[i64], residuals: &mut Vec<i64>) {
    residuals.clear();
    match model {
        Model::Value => residuals.extend_from_slice(offsets),
        Model::Delta => residuals.extend(deltas(offsets)),
        Model::DeltaOfDelta => {
            let mut last = slope;
            residuals.extend(deltas(offsets).map(|delta| {
                let residual = delta.wrapping_sub(last);
                last = delta;
                residual
            }));
        }
        Model::Line => {
            let mut line = 0i64;
            residuals.extend(offsets.iter().map(|offset| {
                line = line.wrapping_add(slope);
                offset.wrapping_sub(line)
            }));
        }
    }
}

fn fit(model: Model, slope: i64, residuals: &[i64], effort: Effort, scratch: &mut Vec<i64>) -> Fit {
    let (low, high) = residuals.iter().fold((i64::MAX, i64::MIN), |(low, high), r| (low.min(*r), high.max(*r)));
    let (low, high) = if residuals.is_empty() { (0, 0) } else { (low, high) };
    let count = residuals.len();
    let width = width_of(high.wrapping_sub(low).cast_unsigned());
    let head = 16 + 8 * (signed_len(low) + if model.has_slope() { signed_len(slope) } else { 0 });
    let plain = Fit { model, slope, base: low, width, patched: false, cost: head + 8 * packed_len(count, width) };
    if effort == Effort::Fast || width <= 1 || count < 8 {
        return plain;
    }
    let Spread { center, needs } = spread(residuals, low, high, scratch);
    let mut best = plain;
    let mut inside = 0;
    for (width, more) in (0u32..).zip(needs) {
        inside += more;
        if width >= best.width {
            break;
        }
        let patches = count - inside;
        // A patch takes its place and about the full residual.
        let farthest = high.wrapping_sub(center).unsigned_abs().max(center.wrapping_sub(low).unsigned_abs());
        let patch_bits = 8 + 8 * (width_of(farthest) + 2).div_ceil(7) as usize;
        let base = match width {
            0 => center,
            _ => center.wrapping_sub(1i64 << (width - 1)),
        };
        let cost = head + 8 + 8 * packed_len(count, width) + patches * patch_bits;
        if patches > 0 && cost < best.cost {
            best = Fit { model, slope, base, width, patched: true, cost };
        }
    }
    best
}

fn signed_len(number: i64) -> usize {
    let bits = width_of(((number << 1) ^ (number >> 63)).cast_unsigned()).max(1);
    bits.div_ceil(7) as usize
}

/// Reads what [`encode`] wrote for a column of `count` values that begins with `first`, and appends all of them to
/// `out`. `scratch` saves an allocation.
///
/// # Errors
/// `Corrupt` if the bytes are not such a column.
pub(crate) fn decode(
    bytes: &mut Decoder<'_>,
    first: i64,
    count: usize,
    scratch: &mut Vec<u64>,
    out: &mut Vec<i64>,
) -> Result<()> {
    let Some(rest) = count.checked_sub(1) else { return Ok(()) };
    let mode = bytes.u8()?;
    let width = u32::from(bytes.u8()?);
    if mode >= 16 || width > 64 {
        return Err(Error::corrupt(format!("unknown integer column, mode={mode}, width={width}")));
    }
    let divisor = if mode & SCALED == 0 { 1 } else { bytes.varint()?.cast_signed() };
    let slope = if mode & 3 >= 2 { bytes.signed()? } else { 0 };
    let base = bytes.signed()?;
    let patches = if mode & PATCHED == 0 { Vec::new() } else { read_patches(bytes, rest)? };
    let packed = bytes.raw(packed_len(rest, width))?;
    scratch.clear();
    unpack(packed, rest, width, scratch)?;
    for (at, residual) in patches {
        if let Some(slot) = scratch.get_mut(at) {
            *slot = residual.cast_unsigned();
        }
    }
    out.reserve(count);
    out.push(first);
    let residuals = scratch.iter().map(|residual| residual.cast_signed().wrapping_add(base));
    let place = |offset: i64| first.wrapping_add(offset.wrapping_mul(divisor));
    match mode & 3 {
        0 => out.extend(residuals.map(place)),
        1 => {
            let mut offset = 0i64;
            out.extend(residuals.map(|residual| {
                offset = offset.wrapping_add(residual);
                place(offset)
            }));
        }
        2 => {
            let (mut delta, mut offset) = (slope, 0i64);
            out.extend(residuals.map(|residual| {
                delta = delta.wrapping_add(residual);
                offset = offset.wrapping_add(delta);
                place(offset)
            }));
        }
        _ => {
            let mut line = 0i64;
            out.extend(residuals.map(|residual| {
                line = line.wrapping_add(slope);
                place(line.wrapping_add(residual))
            }));
        }
    }
    Ok(())
}

fn read_patches(bytes: &mut Decoder<'_>, count: usize) -> Result<Vec<(usize, i64)>> {
    let patches = bytes.count()?;
    if patches > count {
        return Err(Error::corrupt("more patches than values in an integer column"));
    }
    let mut at = 0usize;
    (0..patches)
        .map(|_| {
            at = at.saturating_add(bytes.count()?);
            if at >= count {
                return Err(Error::corrupt("patch behind the end of an integer column"));
            }
            Ok((at, bytes.signed()?))
        })
        .collect()
}

#[cfg(test)]
mod tests;
