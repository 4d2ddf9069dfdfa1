//! One bit a dimension, made from codes of eight: what is looked at first where codes are long.
//!
//! It is never stored. The signs of a residual are RaBitQ's code of one bit: <grid, q> is estimated by
//! <signs, q> * |grid|^2 / <grid, signs>, here against the query itself and not its distance from the centroid, so that nothing
//! more than the code is needed. Whatever its bound does not rule out is looked at again by the code.

use super::Frame;

/// Codes of fewer bytes are as quick to look at whole.
pub(super) const LEAST_BYTES: usize = 128;

/// The signs of a frame's vectors.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sketch {
    /// Words a vector.
    pub(crate) size: usize,
    pub(crate) words: Vec<u64>,
    /// What the inner product of signs and query is multiplied by.
    pub(crate) slope: Vec<f32>,
    /// One standard deviation of the estimate for a query of length one.
    pub(crate) spread: Vec<f32>,
}

impl Sketch {
    /// Bytes that it takes for each vector, if any.
    pub(crate) fn bytes_a_vector(frame: &Frame) -> usize {
        if Self::is_worth_it(frame) { frame.code_size / 8 + 8 } else { 0 }
    }

    pub(crate) fn is_worth_it(frame: &Frame) -> bool {
        frame.bits == 8 && frame.code_size >= LEAST_BYTES
    }

    pub(crate) fn new(frame: &Frame) -> Self {
        let size = frame.code_size.div_ceil(64);
        let mut sketch = Self { size, ..Self::default() };
        let dims = frame.code_size as f32;
        for (code, slope) in frame.codes.chunks_exact(frame.code_size.max(1)).zip(&frame.slope) {
            for bytes in code.chunks(64) {
                let word = bytes.iter().enumerate().fold(0, |word, (at, byte)| word | u64::from(byte >> 7) << at);
                sketch.words.push(word);
            }
            // In units of half a step, so that all of it is in integers.
            let (mut along, mut squared) = (0u64, 0u64);
            for byte in code {
                let twice = (2 * i32::from(*byte) - 255).unsigned_abs();
                along += u64::from(twice);
                squared += u64::from(twice * twice);
            }
            let (along, squared) = (along as f32 / 2.0, squared as f32 / 4.0);
            let cosine_squared = (along * along / (squared * dims)).min(1.0);
            let missed = (1.0 - cosine_squared) / cosine_squared / (dims - 1.0);
            sketch.slope.push(slope * squared / along);
            sketch.spread.push((slope.abs() * squared.sqrt()) * missed.sqrt());
        }
        sketch
    }
}
