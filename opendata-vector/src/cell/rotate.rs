//! A random rotation, so that no direction is worse to quantise than another.
//!
//! Four rounds of random signs and a Walsh-Hadamard transform, over the first and the last 2^n dimensions in turn
//! (as in RaBitQ's library). Only additions and one scaling: the same on every machine. The signs follow from
//! the number of dimensions, so nothing is stored.

/// A rotation of vectors of some number of dimensions.
#[derive(Debug)]
pub(crate) struct Rotation {
    /// One or minus one for each dimension, by round.
    signs: [Vec<f32>; 4],
    /// The largest power of two that fits.
    width: usize,
}

/// The stream of signs is that of SplitMix64 from here.
const SEED: u64 = 0x6f70_656e_6461_7461;

impl Rotation {
    pub(crate) fn new(dims: u32) -> Self {
        let dims = dims.max(1);
        let mut state = SEED ^ u64::from(dims);
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        let bits: Vec<u64> = (0..dims).map(|_| next()).collect();
        let signs = [0, 1, 2, 3].map(|round| {
            let sign = |bits: &u64| if bits >> round & 1 == 1 { -1.0 } else { 1.0 };
            bits.iter().map(sign).collect()
        });
        Self { signs, width: 1 << dims.ilog2() }
    }

    pub(crate) fn apply(&self, vector: &mut [f32]) {
        let scale = 1.0 / (self.width as f32).sqrt();
        for (round, signs) in self.signs.iter().enumerate() {
            vector.iter_mut().zip(signs).for_each(|(v, sign)| *v *= sign);
            let first = if round % 2 == 0 { 0 } else { vector.len().saturating_sub(self.width) };
            if let Some(part) = vector.get_mut(first..first + self.width) {
                transform(part);
                part.iter_mut().for_each(|v| *v *= scale);
            }
        }
    }
}

/// The fast Walsh-Hadamard transform, without its scale. The length is a power of two.
fn transform(values: &mut [f32]) {
    let (eights, rest) = values.as_chunks_mut::<8>();
    eights.iter_mut().for_each(eight);
    let mut half = if rest.is_empty() { 8 } else { 1 };
    while half < values.len() {
        for block in values.chunks_exact_mut(half * 2) {
            let (low, high) = block.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
}

/// Of eight values: in registers, since short loops take longer than what they compute.
fn eight(values: &mut [f32; 8]) {
    let [a, b, c, d, e, f, g, h] = *values;
    let [a, b, c, d, e, f, g, h] = [a + b, a - b, c + d, c - d, e + f, e - f, g + h, g - h];
    let [a, b, c, d, e, f, g, h] = [a + c, b + d, a - c, b - d, e + g, f + h, e - g, f - h];
    *values = [a + e, b + f, c + g, d + h, a - e, b - f, c - g, d - h];
}
