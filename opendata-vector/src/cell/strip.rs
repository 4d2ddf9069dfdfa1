//! Codes as they are scored: sixteen vectors side by side, four dimensions of each at a time, a byte each.
//!
//! It is never stored. Codes of four bits are spread out to bytes. Codes of eight bits that are not short are looked at by
//! fewer bits first (see [`sketch`](super::sketch)) and stay as they are.

use super::Frame;

/// Vectors side by side.
pub(crate) const LANES: usize = 16;
/// Dimensions of a code of four bits at most: the sum of more may not fit.
const MOST_DIMS: usize = 512;

/// Four dimensions of sixteen vectors.
pub(crate) type Quad = [u8; LANES * 4];

/// The codes of a frame, side by side.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strip {
    /// For each sixteen vectors.
    pub(crate) quads: usize,
    pub(crate) codes: Vec<Quad>,
}

impl Strip {
    fn dims(frame: &Frame) -> usize {
        if frame.bits == 4 { frame.code_size * 2 } else { frame.code_size }
    }

    pub(crate) fn is_worth_it(frame: &Frame) -> bool {
        let dims = Self::dims(frame);
        if frame.bits == 4 { dims <= MOST_DIMS } else { dims < super::sketch::LEAST_BYTES }
    }

    /// Bytes that it takes for each vector, if any.
    pub(crate) fn bytes_a_vector(frame: &Frame) -> usize {
        if Self::is_worth_it(frame) { Self::dims(frame).next_multiple_of(4) } else { 0 }
    }

    pub(crate) fn new(frame: &Frame) -> Self {
        let quads = Self::dims(frame).div_ceil(4);
        let mut codes = vec![[0; LANES * 4]; frame.ids.len().div_ceil(LANES) * quads];
        let mut bytes = Vec::new();
        for (row, code) in frame.codes.chunks_exact(frame.code_size.max(1)).enumerate() {
            bytes.clear();
            if frame.bits == 4 {
                for block in code.chunks(16) {
                    bytes.extend(block.iter().map(|byte| byte & 15));
                    bytes.extend(block.iter().map(|byte| byte >> 4));
                }
            } else {
                bytes.extend_from_slice(code);
            }
            let block = codes.get_mut(row / LANES * quads..).unwrap_or_default();
            for (quad, four) in block.iter_mut().zip(bytes.chunks(4)) {
                let first = row % LANES * 4;
                let places = quad.get_mut(first..first + four.len()).unwrap_or_default();
                places.copy_from_slice(four);
            }
        }
        Self { quads, codes }
    }
}
