//! Codes of a few bits a dimension, with which inner products are estimated without bias and with a known spread.
//!
//! This is extended RaBitQ (Gao et al., "Practical and Asymptotically Optimal Quantization of High-Dimensional Vectors",
//! 2024): the rotated residual r of a vector from its centroid c is rounded to a grid point x, scaled so that the
//! angle between them is small, and <r, q> is estimated by <x, q> * |r|^2 / <x, r>. What does not depend on the
//! query is folded into two factors, so that
//!
//! ```text
//! score = w * <q, c> - |q|^2 (under L2) + base + slope * (<u, q> - h * sum(q))
//! ```
//!
//! where u are the stored integers, h = (2^bits - 1) / 2, and w is 2 under L2, else 1. `spread` times |q - c| is one
//! standard deviation of the estimate.

use super::Frame;
use super::sketch::Bits;
use crate::config::CodeBits;
use crate::kernel::codes::{Factors, Line, Reaching};
use crate::kernel::lookup::{self, Tables};
use crate::kernel::{self, Plane};
use crate::schema::Metric;

/// How many standard deviations a true score is from its estimate at most, for all that is practical (the constant
/// of the paper).
pub(crate) const DEVIATIONS: f32 = 1.9;

/// The same for what a sketch says. Whoever is ruled out by it is not looked at again, so more is allowed for.
const SKETCH_DEVIATIONS: f32 = 2.6;

/// The code of a vector.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Code {
    pub(crate) bits: u8,
    pub(crate) base: f32,
    pub(crate) slope: f32,
    pub(crate) spread: f32,
    pub(crate) bytes: Vec<u8>,
}

/// Bytes of a code.
pub(crate) fn code_size(bits: CodeBits, dims: usize) -> usize {
    match bits {
        CodeBits::Eight => dims,
        CodeBits::Four => dims.div_ceil(32) * 16,
    }
}

/// Quantises a rotated vector against its rotated centroid.
pub(crate) fn encode(bits: CodeBits, metric: Metric, vector: &[f32], centroid: &[f32]) -> Code {
    let residual: Vec<f32> = vector.iter().zip(centroid).map(|(v, c)| v - c).collect();
    let (number, levels, stretches): (u8, f32, &[f32]) = match bits {
        CodeBits::Four => (4, 15.0, &[1.0, 1.15, 1.3, 1.45, 1.6, 1.8, 2.0]),
        CodeBits::Eight => (8, 255.0, &[1.0, 1.15]),
    };
    let half = levels / 2.0;
    let largest = residual.iter().fold(0f32, |largest, r| largest.max(r.abs()));
    let length_squared = kernel::dot(&residual, &residual);
    let weight = if metric == Metric::L2 { 2.0 } else { 1.0 };
    let constant = weight * kernel::dot(centroid, &residual)
        - if metric == Metric::L2 { kernel::dot(vector, vector) } else { 0.0 };
    if length_squared <= f32::MIN_POSITIVE || !length_squared.is_finite() {
        return Code { bits: number, base: constant, bytes: vec![0; code_size(bits, vector.len())], ..Code::default() };
    }
    // The grid point that lies best in the residual's direction: clipping its largest components may make it better.
    let mut best = (f32::NEG_INFINITY, 0.0, 0.0);
    let mut grid = vec![0f32; residual.len()];
    for stretch in stretches {
        let scale = half / largest * stretch;
        round(&residual, scale, levels, &mut grid);
        let along = kernel::dot(&grid, &residual);
        let cosine = along / (kernel::dot(&grid, &grid) * length_squared).sqrt();
        if cosine > best.0 {
            best = (cosine, scale, along);
        }
    }
    let (cosine, scale, along) = best;
    round(&residual, scale, levels, &mut grid);
    let slope = length_squared / along;
    let cosine = cosine.clamp(f32::MIN_POSITIVE, 1.0);
    let others = (vector.len().saturating_sub(1)).max(1) as f32;
    let spread = (length_squared * (1.0 - cosine * cosine) / (cosine * cosine * others)).sqrt();
    let integers = grid.iter().map(|x| (x + half) as u8);
    let bytes = match bits {
        CodeBits::Eight => integers.collect(),
        CodeBits::Four => pack(&integers.collect::<Vec<u8>>()),
    };
    Code {
        bits: number,
        base: constant - weight * slope * kernel::dot(&grid, centroid),
        slope: weight * slope,
        spread: weight * spread,
        bytes,
    }
}

/// The nearest points of the grid. Casting cuts off what lies outside.
fn round(residual: &[f32], scale: f32, levels: f32, grid: &mut [f32]) {
    let half = levels / 2.0;
    for (x, r) in grid.iter_mut().zip(residual) {
        *x = f32::from((r * scale + half + 0.5) as u8).min(levels) - half;
    }
}

/// Two integers a byte, in the order that [`kernel::dot_u4`] reads.
fn pack(integers: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(integers.len().div_ceil(32) * 16);
    for block in integers.chunks(32) {
        for at in 0..16 {
            let low = block.get(at).copied().unwrap_or(0);
            let high = block.get(at + 16).copied().unwrap_or(0);
            bytes.push(low | high << 4);
        }
    }
    bytes
}

/// Where searches keep what they find in a frame, so that nothing is allocated for each.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    products: Vec<f32>,
    pub(crate) reaching: Vec<Reaching>,
}

impl Scratch {
    fn clear(&mut self) {
        self.products.clear();
        self.reaching.clear();
    }
}

/// What all vectors of a cell have in common for a query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around<'a> {
    /// The constant of their scores.
    pub(crate) constant: f32,
    /// How far the query is from the centroid.
    pub(crate) distance: f32,
    pub(crate) centroid: &'a [f32],
}

/// A rotated query, ready for codes.
#[derive(Debug)]
pub(crate) struct CodeQuery {
    pub(crate) metric: Metric,
    pub(crate) rotated: Vec<f32>,
    /// The query in integers, and as codes of four bits want it: what meets low halves of bytes, what meets high ones.
    whole: Plane,
    halves: [Plane; 2],
    tables: Tables,
    /// What an integer of the query stands for.
    scale: f32,
    sum: f32,
    squared: f32,
}

impl CodeQuery {
    pub(crate) fn new(metric: Metric, rotated: Vec<f32>) -> Self {
        let scale = Plane::scale(&rotated);
        let half = |from: usize| {
            let blocks =
                rotated.chunks(32).flat_map(|block| (from..from + 16).map(|at| block.get(at).copied().unwrap_or(0.0)));
            Plane::new(&blocks.collect::<Vec<f32>>(), scale)
        };
        let (whole, halves) = (Plane::new(&rotated, scale), [half(0), half(16)]);
        let (sum, squared) = (whole.sum() * scale, kernel::dot(&rotated, &rotated));
        let tables = Tables::new(&rotated, Bits::of(rotated.len()).count);
        Self { metric, rotated, whole, halves, tables, scale, sum, squared }
    }

    /// What all vectors of a cell have in common: the constant of their scores, and the distance to the centroid, whose
    /// inner product with the query and squared length are given.
    pub(crate) fn cell(&self, dot: f32, squared: f32) -> (f32, f32) {
        let distance = (self.squared - 2.0 * dot + squared).max(0.0).sqrt();
        match self.metric {
            Metric::L2 => (2.0 * dot - self.squared, distance),
            Metric::Cosine | Metric::InnerProduct => (dot, distance),
        }
    }

    /// The vectors of a frame whose scores may reach the floor by what their sketch says; false if it is not worth a look.
    pub(crate) fn reaching_by_sketch(
        &self,
        frame: &Frame,
        around: Around<'_>,
        floor: f32,
        scratch: &mut Scratch,
    ) -> bool {
        let Some(sketch) = frame.sketch(around.centroid) else { return false };
        scratch.clear();
        lookup::lookup(&sketch.packed, &self.tables, &mut scratch.products);
        scratch.products.truncate(frame.ids.len());
        let (scale, constant) = (self.tables.scale, around.constant);
        // Rounding the query to integers has a variance of 1 / 12 a dimension; a spread stands for what the sketch missed.
        let dims = self.rotated.len();
        let rounded = scale * scale * dims as f32 / (12.0 * Bits::of(dims).missed);
        let doubt = SKETCH_DEVIATIONS * (around.distance * around.distance + rounded).sqrt();
        let line = Line { scale, middle: 0.0, constant, doubt, floor };
        kernel::reaching(&scratch.products, sketch.factors(), line, &mut scratch.reaching);
        true
    }

    /// The vectors of a frame whose scores may reach the floor by what their codes say.
    pub(crate) fn reaching(&self, frame: &Frame, around: Around<'_>, floor: f32, scratch: &mut Scratch) {
        scratch.clear();
        self.all_products(frame, &mut scratch.products);
        let middle = self.middle(frame.bits);
        let (scale, constant, doubt) = (self.scale, around.constant, DEVIATIONS * around.distance);
        let line = Line { scale, middle, constant, doubt, floor };
        let factors = Factors { base: &frame.base, slope: &frame.slope, spread: &frame.spread };
        kernel::reaching(&scratch.products, factors, line, &mut scratch.reaching);
    }

    /// The estimate of one vector of a frame.
    pub(crate) fn estimate_one(&self, frame: &Frame, row: usize, to: &mut Vec<f32>) -> f32 {
        let code = frame.codes.get(row * frame.code_size..(row + 1) * frame.code_size).unwrap_or_default();
        to.clear();
        self.products(frame.bits, code, frame.code_size, to);
        let factor = |factors: &[f32]| factors.get(row).copied().unwrap_or(0.0);
        let product = to.first().copied().unwrap_or(0.0);
        factor(&frame.base) + factor(&frame.slope) * (product * self.scale - self.middle(frame.bits))
    }

    fn all_products(&self, frame: &Frame, to: &mut Vec<f32>) {
        match frame.strip() {
            Some(strip) => {
                kernel::strip(&strip.codes, strip.quads, &self.whole, to);
                to.truncate(frame.ids.len());
            }
            None => self.products(frame.bits, &frame.codes, frame.code_size, to),
        }
    }

    fn products(&self, bits: u8, codes: &[u8], size: usize, to: &mut Vec<f32>) {
        match bits {
            4 => kernel::codes4(codes, size, &self.halves, to),
            _ => kernel::codes8(codes, size, &self.whole, to),
        }
    }

    fn middle(&self, bits: u8) -> f32 {
        if bits == 4 { 7.5 * self.sum } else { 127.5 * self.sum }
    }
}

#[cfg(test)]
mod tests;
