//! One bit a dimension, or four where there are few, made from codes of eight: what is looked at first.
//!
//! It is never stored. A grid point y of few bits that lies near the direction of a residual r is a RaBitQ code of its own. With the
//! centroid c at hand, <r, c> is known from the code, so only <r, q - c> is estimated, by <y, q - c> * |grid|^2 / <grid, y>: the
//! nearer the centroid is to the query, the less is left open. Whatever the bound does not rule out is looked at again by the code.

use super::Frame;
use crate::kernel::codes::Factors;
use crate::kernel::lookup::{self, Nibbles};
use crate::kernel::{self, plain};

/// Codes of fewer bytes are as quick to look at whole.
pub(super) const LEAST_BYTES: usize = 32;
/// With fewer dimensions a sketch has four bits for each.
const LEAST_FOR_ONE: usize = 128;

/// Few bits of the vectors of a frame.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sketch {
    pub(crate) packed: Vec<Nibbles>,
    /// For all vectors what takes the place of the code's `base`; then what the inner product with the query is multiplied by; then one
    /// standard deviation of the estimate for a query at distance one from the centroid. Side by side they are read in one run.
    factors: Vec<f32>,
}

/// Bits a dimension of a sketch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bits {
    pub(crate) count: usize,
    /// The step of a grid that fits a normal distribution of variance one best (Max, "Quantizing for minimum distortion", 1960).
    step: f32,
    /// How much of a residual's squared length the grid misses.
    pub(crate) missed: f32,
}

impl Bits {
    /// One bit says little where there are few dimensions, and four are then few bytes.
    pub(crate) fn of(dims: usize) -> Self {
        if dims < LEAST_FOR_ONE {
            Self { count: 4, step: 0.3352, missed: 0.01154 }
        } else {
            Self { count: 1, step: 1.596, missed: 0.3634 }
        }
    }
}

impl Sketch {
    /// Bytes that it takes for each vector, if any.
    pub(crate) fn bytes_a_vector(frame: &Frame) -> usize {
        if Self::is_worth_it(frame) { frame.code_size * Bits::of(frame.code_size).count / 8 + 12 } else { 0 }
    }

    pub(crate) fn is_worth_it(frame: &Frame) -> bool {
        frame.bits == 8 && frame.code_size >= LEAST_BYTES
    }

    pub(crate) fn factors(&self) -> Factors<'_> {
        let (base, rest) = self.factors.split_at(self.factors.len() / 3);
        let (slope, spread) = rest.split_at(rest.len() / 2);
        Factors { base, slope, spread }
    }

    /// Fetches it ahead of its use.
    pub(crate) fn prefetch(&self) {
        kernel::prefetch(&self.packed);
        kernel::prefetch(&self.factors);
    }

    /// The centroid is the one that the frame's codes were made for.
    pub(crate) fn new(frame: &Frame, centroid: &[f32]) -> Self {
        let dims = frame.code_size;
        let bits = Bits::of(dims);
        let (half, most) = ((1 << bits.count) as f32 / 2.0, (1u8 << bits.count) - 1);
        let (mut bases, mut slopes, mut spreads) = (Vec::new(), Vec::new(), Vec::new());
        let mut all = Vec::with_capacity(frame.codes.len());
        let (mut grid, mut odd) = (vec![0f32; dims], vec![0f32; dims]);
        let codes = frame.codes.chunks_exact(dims.max(1));
        for ((code, base), slope) in codes.zip(&frame.base).zip(&frame.slope) {
            // Grids are of halves: multiplied and added without error.
            grid.iter_mut().zip(code).for_each(|(x, byte)| *x = f32::from(*byte) - 127.5);
            let squared = plain::dot(&grid, &grid);
            let steps = 1.0 / (bits.step * (squared / dims as f32).sqrt());
            let start = all.len();
            // Casting rounds down what is not negative, and negative numbers are zero.
            all.extend(grid.iter().map(|x| ((x * steps + half) as u8).min(most)));
            let own = all.get(start..).unwrap_or_default();
            odd.iter_mut().zip(own).for_each(|(x, u)| *x = 2.0 * f32::from(*u) + 1.0 - 2.0 * half);
            let along = plain::dot(&grid, &odd);
            let cosine_squared = (along * along / (squared * plain::dot(&odd, &odd))).min(1.0);
            let missed = (1.0 - cosine_squared) / cosine_squared / (dims as f32 - 1.0);
            let own_slope = slope * squared / along;
            bases.push(base + slope * plain::dot(&grid, centroid) - own_slope * plain::dot(&odd, centroid));
            slopes.push(own_slope);
            spreads.push((slope.abs() * squared.sqrt()) * missed.sqrt());
        }
        let packed = lookup::pack(&all, dims, bits.count);
        Self { packed, factors: [bases, slopes, spreads].concat() }
    }
}
