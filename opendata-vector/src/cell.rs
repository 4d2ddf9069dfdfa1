//! Cells: the vectors of a field in groups of neighbours, each as a short code.
//!
//! ```text
//! CENTROID  layout 1 | f32 each: the middle of the cell, rotated
//! CELL      layout 2 | frames; frame = bits u8 (4 or 8) | count u32 | code size u32
//!           ids: from the one before, signed varint each | base: f32 each | slope: f32 each
//!           spread: upper half of an f32, u16 each, rounded up | codes
//! ```
//!
//! A commit that drains vectors into a cell appends a frame to it by merging. See [`quantize`] for the code.

use std::sync::OnceLock;

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result};

pub(crate) mod calibration;
pub(crate) mod cluster;
pub(crate) mod places;
pub(crate) mod quantize;
pub(crate) mod rotate;
pub(crate) mod sketch;
pub(crate) mod strip;
pub(crate) mod table;

use crate::kernel;
use quantize::Code;
use sketch::Sketch;
use strip::Strip;

const LAYOUT: u8 = 1;
const CELL_LAYOUT: u8 = 2;

/// Vectors of one cell that were quantised in the same way.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Frame {
    /// Bits a dimension.
    pub(crate) bits: u8,
    /// Bytes a code.
    pub(crate) code_size: usize,
    pub(crate) ids: Vec<u64>,
    /// For each vector: see [`Code`].
    pub(crate) base: Vec<f32>,
    pub(crate) slope: Vec<f32>,
    pub(crate) spread: Vec<f32>,
    pub(crate) codes: Vec<u8>,
    made: Made,
}

/// What is made of codes once it is asked for. Frames are equal whether it was or not.
#[derive(Clone, Debug, Default)]
struct Made {
    sketch: OnceLock<Sketch>,
    strip: OnceLock<Strip>,
}

impl PartialEq for Made {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Frame {
    /// Its vectors in few bits, where they are worth a look. The centroid is that of its cell.
    pub(crate) fn sketch(&self, centroid: &[f32]) -> Option<&Sketch> {
        Sketch::is_worth_it(self).then(|| self.made.sketch.get_or_init(|| Sketch::new(self, centroid)))
    }

    /// Fetches the sketch, if it was made, ahead of its use.
    pub(crate) fn prefetch_sketch(&self) {
        self.made.sketch.get().into_iter().for_each(Sketch::prefetch);
    }

    /// The codes side by side, where that is how they are scored.
    pub(crate) fn strip(&self) -> Option<&Strip> {
        Strip::is_worth_it(self).then(|| self.made.strip.get_or_init(|| Strip::new(self)))
    }

    pub(crate) fn push(&mut self, id: u64, code: &Code) {
        self.made = Made::default();
        self.bits = code.bits;
        self.code_size = code.bytes.len();
        self.ids.push(id);
        self.base.push(code.base);
        self.slope.push(code.slope);
        self.spread.push(code.spread);
        self.codes.extend_from_slice(&code.bytes);
    }

    /// The same without some ids.
    pub(crate) fn retain(&self, keep: impl Fn(u64) -> bool) -> Self {
        let mut kept = Self { bits: self.bits, code_size: self.code_size, ..Self::default() };
        let factors = self.base.iter().zip(&self.slope).zip(&self.spread);
        let codes = self.codes.chunks_exact(self.code_size.max(1));
        for ((id, ((base, slope), spread)), code) in self.ids.iter().zip(factors).zip(codes) {
            if keep(*id) {
                kept.ids.push(*id);
                kept.base.push(*base);
                kept.slope.push(*slope);
                kept.spread.push(*spread);
                kept.codes.extend_from_slice(code);
            }
        }
        kept
    }

    fn is_like(&self, other: &Self) -> bool {
        self.bits == other.bits && self.code_size == other.code_size
    }

    fn append(&mut self, other: &Self) {
        self.made = Made::default();
        self.ids.extend_from_slice(&other.ids);
        self.base.extend_from_slice(&other.base);
        self.slope.extend_from_slice(&other.slope);
        self.spread.extend_from_slice(&other.spread);
        self.codes.extend_from_slice(&other.codes);
    }

    fn size_bytes(&self) -> usize {
        let made = Sketch::bytes_a_vector(self) + Strip::bytes_a_vector(self);
        self.ids.len() * (20 + made) + self.codes.len() + 256
    }

    fn encode(&self, to: &mut Encoder) {
        to.u8(self.bits).u32(self.ids.len() as u32).u32(self.code_size as u32);
        let mut before = 0u64;
        for id in &self.ids {
            to.signed(id.wrapping_sub(before) as i64);
            before = *id;
        }
        for factors in [&self.base, &self.slope] {
            factors.iter().for_each(|factor| _ = to.u32(factor.to_bits()));
        }
        self.spread.iter().for_each(|spread| _ = to.raw(&upper_half(*spread).to_le_bytes()));
        to.raw(&self.codes);
    }

    fn parse(fields: &mut Decoder<'_>) -> Result<Self> {
        let bits = fields.u8()?;
        let (count, code_size) = (fields.u32()? as usize, fields.u32()? as usize);
        let is_known = matches!(bits, 4 | 8) && code_size > 0 && code_size <= 1 << 16;
        if !is_known || count.saturating_mul(code_size) > fields.rest().len() {
            return Err(Error::corrupt("frame of an unknown kind"));
        }
        let mut ids = Vec::with_capacity(count);
        let mut before = 0u64;
        for _ in 0..count {
            before = before.wrapping_add(fields.signed()? as u64);
            ids.push(before);
        }
        let mut factors = || -> Result<Vec<f32>> {
            let bytes = fields.raw(count * 4)?;
            Ok(bytes.as_chunks::<4>().0.iter().map(|factor| f32::from_le_bytes(*factor)).collect())
        };
        let (base, slope) = (factors()?, factors()?);
        let halves = fields.raw(count * 2)?.as_chunks::<2>().0.iter();
        let spread = halves.map(|half| f32::from_bits(u32::from(u16::from_le_bytes(*half)) << 16)).collect();
        let codes = fields.raw(count * code_size)?.to_vec();
        Ok(Self { bits, code_size, ids, base, slope, spread, codes, made: Made::default() })
    }
}

/// The upper half of a number that is not negative, rounded up.
fn upper_half(number: f32) -> u16 {
    (number.max(0.0).to_bits().saturating_add(0xffff) >> 16).min(0x7f80) as u16
}

/// A cell.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cell {
    pub(crate) frames: Vec<Frame>,
}

impl Cell {
    pub(crate) fn of(frame: Frame) -> Self {
        let mut cell = Self::default();
        cell.push(frame);
        cell
    }

    /// Adds vectors. A frame of the same kind is joined to the one before while that is not twice as large, so
    /// that frames stay few and appending stays cheap.
    pub(crate) fn push(&mut self, frame: Frame) {
        let mut newest = frame;
        while let Some(mut joined) = self.frames.pop_if(|b| b.is_like(&newest) && b.ids.len() < newest.ids.len() * 8) {
            joined.append(&newest);
            newest = joined;
        }
        if !newest.ids.is_empty() {
            self.frames.push(newest);
        }
    }

    /// Fetches what leads to the codes, ahead of its use.
    pub(crate) fn prefetch_frames(&self) {
        kernel::prefetch(&self.frames);
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = u64> {
        self.frames.iter().flat_map(|frame| frame.ids.iter().copied())
    }

    pub(crate) fn rows(&self) -> usize {
        self.frames.iter().map(|frame| frame.ids.len()).sum()
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.frames.iter().map(|frame| frame.size_bytes()).sum::<usize>() + 64
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut value = Encoder::with_capacity(CELL_LAYOUT, self.size_bytes());
        self.frames.iter().for_each(|frame| frame.encode(&mut value));
        value.finish()
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        Self::parse(value).map_err(|error| Error::corrupt_at(key, error))
    }

    fn parse(value: &[u8]) -> Result<Self> {
        let mut fields = Decoder::new(value);
        fields.layout(CELL_LAYOUT)?;
        let mut frames: Vec<Frame> = Vec::new();
        while !fields.rest().is_empty() {
            let frame = Frame::parse(&mut fields)?;
            match frames.last_mut() {
                Some(last) if last.is_like(&frame) => last.append(&frame),
                _ => frames.push(frame),
            }
        }
        Ok(Self { frames })
    }
}

/// Frames one after another.
pub(crate) fn merge(key: &[u8], values: &[&[u8]]) -> Result<Bytes> {
    let mut merged = Vec::with_capacity(1 + values.iter().map(|value| value.len()).sum::<usize>());
    merged.push(CELL_LAYOUT);
    for value in values {
        match value.split_first() {
            Some((&CELL_LAYOUT, frames)) => merged.extend_from_slice(frames),
            _ => return Err(Error::corrupt_at(key, "unknown layout of a cell")),
        }
    }
    Ok(merged.into())
}

pub(crate) fn encode_centroid(centroid: &[f32]) -> Bytes {
    let mut value = Encoder::with_capacity(LAYOUT, 1 + centroid.len() * 4);
    centroid.iter().for_each(|c| _ = value.u32(c.to_bits()));
    value.finish()
}

pub(crate) fn decode_centroid(key: &[u8], value: &[u8], dims: u32, to: &mut Vec<f32>) -> Result<()> {
    match value.split_first() {
        Some((&LAYOUT, components)) if components.len() == dims as usize * 4 => {
            to.extend(components.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
            Ok(())
        }
        _ => Err(Error::corrupt_at(key, "centroid of another size")),
    }
}

#[cfg(test)]
mod tests;
