//! Cells: the vectors of a field in groups of neighbours, each as a short code.
//!
//! ```text
//! CENTROID  layout 1 | f32 each: the middle of the cell, rotated
//! CELL      layout 1 | frames; frame = bits u8 (4 or 8) | count u32 | code size u32
//!           ids: u64 each | base: f32 each | slope: f32 each | spread: f32 each | codes
//! ```
//!
//! A commit that drains vectors into a cell appends a frame to it by merging. See [`quantize`] for the code.

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result};

pub(crate) mod cluster;
pub(crate) mod quantize;
pub(crate) mod rotate;
pub(crate) mod table;

use quantize::Code;

const LAYOUT: u8 = 1;

/// Vectors of one cell that were quantised together.
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
}

impl Frame {
    pub(crate) fn push(&mut self, id: u64, code: &Code) {
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

    fn size_bytes(&self) -> usize {
        self.ids.len() * 20 + self.codes.len() + 64
    }
}

/// A cell.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cell {
    pub(crate) frames: Vec<Frame>,
}

impl Cell {
    pub(crate) fn ids(&self) -> impl Iterator<Item = u64> {
        self.frames.iter().flat_map(|frame| frame.ids.iter().copied())
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.frames.iter().map(Frame::size_bytes).sum::<usize>() + 64
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut value = Encoder::with_capacity(LAYOUT, self.size_bytes());
        for frame in self.frames.iter().filter(|frame| !frame.ids.is_empty()) {
            value.u8(frame.bits).u32(frame.ids.len() as u32).u32(frame.code_size as u32);
            frame.ids.iter().for_each(|id| _ = value.u64(*id));
            for factors in [&frame.base, &frame.slope, &frame.spread] {
                factors.iter().for_each(|factor| _ = value.u32(factor.to_bits()));
            }
            value.raw(&frame.codes);
        }
        value.finish()
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        Self::parse(value).map_err(|error| Error::corrupt_at(key, error))
    }

    fn parse(value: &[u8]) -> Result<Self> {
        let mut fields = Decoder::new(value);
        fields.layout(LAYOUT)?;
        let mut frames = Vec::new();
        while !fields.rest().is_empty() {
            let bits = fields.u8()?;
            let (count, code_size) = (fields.u32()? as usize, fields.u32()? as usize);
            if !matches!(bits, 4 | 8) || code_size == 0 || code_size > 1 << 16 || count > 1 << 30 {
                return Err(Error::corrupt("frame of an unknown kind"));
            }
            let ids = fields.raw(count * 8)?.as_chunks::<8>().0.iter().map(|id| u64::from_le_bytes(*id)).collect();
            let mut factors = || -> Result<Vec<f32>> {
                let bytes = fields.raw(count * 4)?;
                Ok(bytes.as_chunks::<4>().0.iter().map(|factor| f32::from_le_bytes(*factor)).collect())
            };
            let (base, slope, spread) = (factors()?, factors()?, factors()?);
            let codes = fields.raw(count * code_size)?.to_vec();
            frames.push(Frame { bits, code_size, ids, base, slope, spread, codes });
        }
        Ok(Self { frames })
    }
}

/// Frames one after another.
pub(crate) fn merge(key: &[u8], values: &[&[u8]]) -> Result<Bytes> {
    let mut merged = vec![LAYOUT];
    for value in values {
        match value.split_first() {
            Some((&LAYOUT, frames)) => merged.extend_from_slice(frames),
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
