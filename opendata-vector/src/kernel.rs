//! Inner products and distances: the loops that searching spends its time in.
//!
//! Each has a plain reference, which is also what runs on machines without the instructions of the fast forms.
//! The fast forms are chosen when they are first used; property tests hold them equal to the reference. Codes are scored
//! in integers: their scores are the same to the bit on every machine.

use std::sync::OnceLock;

use crate::cell::strip::Quad;
use crate::schema::Metric;

use codes::{Factors, Line, Reaching};
pub(crate) use codes::{reaching, strip};
use columns::Dots;
use lookup::{Nibbles, Tables};

pub(crate) mod codes;
pub(crate) mod columns;
pub(crate) mod lookup;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

/// One set of loops. Of two slices the shorter counts.
struct Kernels {
    name: &'static str,
    dot: fn(&[f32], &[f32]) -> f32,
    l2: fn(&[f32], &[f32]) -> f32,
    codes8: fn(&[u8], usize, &Plane, &mut Vec<f32>),
    codes4: fn(&[u8], usize, &[Plane; 2], &mut Vec<f32>),
    lookup: fn(&[Nibbles], &Tables, &mut Vec<f32>),
    strip: fn(&[Quad], usize, &Plane, &mut Vec<f32>),
    reaching: fn(&[f32], Factors<'_>, Line, &mut Vec<Reaching>),
    columns: fn(&[Dots], &[f32]) -> Dots,
    columns4: fn(&[Dots], [&[f32]; 4]) -> [Dots; 4],
}

static PLAIN: Kernels = Kernels {
    name: "plain",
    dot: plain::dot,
    l2: plain::l2,
    codes8: plain::codes8,
    codes4: plain::codes4,
    lookup: lookup::plain,
    strip: codes::plain_strip,
    reaching: codes::plain_reaching,
    columns: columns::plain,
    columns4: columns::plain4,
};

/// Bytes of a code whose inner product is summed in 32 bits: 255 * 16,320 * 512 is just below 2^31.
const PIECE: usize = 512;
/// The largest integer of a query: 127 * 128 + 63.
const LARGEST: f32 = 16_319.0;

fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<&'static Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        if let Some(fast) = x86::detect() {
            return fast;
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(fast) = neon::detect() {
            return fast;
        }
        &PLAIN
    })
}

/// The name of the loops that run on this machine.
#[must_use]
pub fn name() -> &'static str {
    kernels().name
}

/// The inner product.
#[must_use]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    (kernels().dot)(a, b)
}

/// The squared Euclidean distance.
#[must_use]
pub fn l2(a: &[f32], b: &[f32]) -> f32 {
    (kernels().l2)(a, b)
}

/// A query, or half of the dimensions of one, in integers of 15 bits: `wide = 128 * high + low`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plane {
    wide: Vec<i16>,
    high: Vec<i8>,
    low: Vec<i8>,
}

impl Plane {
    /// The components divided by `scale`, and zeros up to a whole block.
    pub(crate) fn new(components: &[f32], scale: f32) -> Self {
        let padded = components.len().next_multiple_of(64);
        let mut plane = Self::default();
        for at in 0..padded {
            let component = components.get(at).copied().unwrap_or(0.0);
            let wide = if scale > 0.0 { (component / scale).round().clamp(-LARGEST, LARGEST) as i16 } else { 0 };
            let high = (wide + 64).div_euclid(128);
            plane.wide.push(wide);
            plane.high.push(high as i8);
            plane.low.push((wide - high * 128) as i8);
        }
        plane
    }

    /// The sum of the integers.
    pub(crate) fn sum(&self) -> f32 {
        self.wide.iter().map(|wide| i64::from(*wide)).sum::<i64>() as f32
    }

    /// The scale under which the largest component becomes the largest integer.
    pub(crate) fn scale(components: &[f32]) -> f32 {
        components.iter().fold(0f32, |largest, c| largest.max(c.abs())) / LARGEST
    }
}

/// Asks for some memory ahead of its use. Cells lie all over the memory, and what is short is read before the processor has foreseen it.
pub(crate) fn prefetch<T>(of: &[T]) {
    #[cfg(target_arch = "x86_64")]
    x86::prefetch(of);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = of;
}

/// Appends the inner product of the query with each code of one byte a dimension.
pub(crate) fn codes8(codes: &[u8], size: usize, query: &Plane, to: &mut Vec<f32>) {
    (kernels().codes8)(codes, size, query, to);
}

/// Appends the inner product of the query with each code of half a byte a dimension. The first plane is for the low
/// halves of the bytes, the second for the high ones. `size` is a multiple of 16.
pub(crate) fn codes4(codes: &[u8], size: usize, query: &[Plane; 2], to: &mut Vec<f32>) {
    (kernels().codes4)(codes, size, query, to);
}

/// How good a vector is for a query: higher is better. Under cosine both have length one.
#[must_use]
pub fn score(metric: Metric, query: &[f32], vector: &[f32]) -> f32 {
    match metric {
        Metric::L2 => -l2(query, vector),
        Metric::Cosine | Metric::InnerProduct => dot(query, vector),
    }
}

/// Makes the vector as long as its metric wants it. A vector of length zero stays.
pub(crate) fn normalise(metric: Metric, vector: &mut [f32]) {
    if metric == Metric::Cosine {
        let length = dot(vector, vector).sqrt();
        if length > 0.0 {
            vector.iter_mut().for_each(|v| *v /= length);
        }
    }
}

/// The references, summing in eight lanes, so that the compiler can use whatever vectors it may.
pub(crate) mod plain {
    use super::Plane;

    /// In eight sums, so that it is quick everywhere; the order in which is added is the same on every machine.
    fn lanes(a: &[f32], b: &[f32], pair: impl Fn(f32, f32) -> f32) -> f32 {
        let count = a.len().min(b.len());
        let (a, b) = (a.get(..count).unwrap_or_default(), b.get(..count).unwrap_or_default());
        let ((blocks_a, rest_a), (blocks_b, rest_b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
        let mut sums = [0f32; 8];
        for (a, b) in blocks_a.iter().zip(blocks_b) {
            for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
                *sum += pair(*a, *b);
            }
        }
        let rest: f32 = rest_a.iter().zip(rest_b).map(|(a, b)| pair(*a, *b)).sum();
        sums.iter().sum::<f32>() + rest
    }

    pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
        lanes(a, b, |a, b| a * b)
    }

    pub(crate) fn l2(a: &[f32], b: &[f32]) -> f32 {
        lanes(a, b, |a, b| (a - b) * (a - b))
    }

    pub(super) fn bytes(code: &[u8], query: &[i16]) -> i64 {
        code.iter().zip(query).map(|(byte, q)| i64::from(*byte) * i64::from(*q)).sum()
    }

    pub(super) fn codes8(codes: &[u8], size: usize, query: &Plane, to: &mut Vec<f32>) {
        to.extend(codes.chunks_exact(size.max(1)).map(|code| bytes(code, &query.wide) as f32));
    }

    pub(super) fn codes4(codes: &[u8], size: usize, [first, second]: &[Plane; 2], to: &mut Vec<f32>) {
        for code in codes.chunks_exact(size.max(1)) {
            let halves = code.iter().zip(first.wide.iter().zip(&second.wide));
            let products = halves.map(|(byte, (first, second))| {
                i64::from(byte & 15) * i64::from(*first) + i64::from(byte >> 4) * i64::from(*second)
            });
            to.push(products.sum::<i64>() as f32);
        }
    }
}

#[cfg(test)]
mod tests;
