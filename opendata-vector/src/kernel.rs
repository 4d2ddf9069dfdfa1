//! Inner products and distances: the loops that searching spends its time in.
//!
//! Each has a plain reference, which is also what runs on machines without the instructions of the fast form.
//! The fast forms are chosen when they are first used; property tests hold both equal.

use std::sync::OnceLock;

use crate::schema::Metric;

#[cfg(target_arch = "x86_64")]
mod x86;

/// One set of loops. Of two slices the shorter counts.
struct Kernels {
    name: &'static str,
    dot: fn(&[f32], &[f32]) -> f32,
    l2: fn(&[f32], &[f32]) -> f32,
    dot_u8: fn(&[u8], &[f32]) -> f32,
    dot_u4: fn(&[u8], &[f32]) -> f32,
}

static PLAIN: Kernels =
    Kernels { name: "plain", dot: plain::dot, l2: plain::l2, dot_u8: plain::dot_u8, dot_u4: plain::dot_u4 };

fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<&'static Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        if let Some(fast) = x86::detect() {
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

/// The inner product with a code of one byte a dimension.
#[must_use]
pub fn dot_u8(code: &[u8], query: &[f32]) -> f32 {
    (kernels().dot_u8)(code, query)
}

/// The inner product with a code of half a byte a dimension: of each block of 16 bytes the low halves are the
/// first 16 dimensions and the high halves the next 16. `query` has 32 components for each block.
#[must_use]
pub fn dot_u4(code: &[u8], query: &[f32]) -> f32 {
    (kernels().dot_u4)(code, query)
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

/// The references, summing in eight lanes as the fast forms do, so that the compiler can use whatever vectors it may.
pub(crate) mod plain {
    fn lanes(pairs: impl Fn(usize) -> f32, count: usize) -> f32 {
        let mut sums = [0f32; 8];
        let whole = count / 8 * 8;
        for block in (0..whole).step_by(8) {
            for (lane, sum) in sums.iter_mut().enumerate() {
                *sum += pairs(block + lane);
            }
        }
        let rest: f32 = (whole..count).map(pairs).sum();
        sums.iter().sum::<f32>() + rest
    }

    fn at(slice: &[f32], index: usize) -> f32 {
        slice.get(index).copied().unwrap_or(0.0)
    }

    pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
        lanes(|i| at(a, i) * at(b, i), a.len().min(b.len()))
    }

    pub(crate) fn l2(a: &[f32], b: &[f32]) -> f32 {
        let squared = |i| {
            let difference = at(a, i) - at(b, i);
            difference * difference
        };
        lanes(squared, a.len().min(b.len()))
    }

    pub(crate) fn dot_u8(code: &[u8], query: &[f32]) -> f32 {
        lanes(|i| f32::from(code.get(i).copied().unwrap_or(0)) * at(query, i), code.len().min(query.len()))
    }

    pub(crate) fn dot_u4(code: &[u8], query: &[f32]) -> f32 {
        let mut sum = 0.0;
        for (bytes, query) in code.chunks_exact(16).zip(query.chunks_exact(32)) {
            let (low, high) = query.split_at(16);
            sum += lanes(|i| f32::from(bytes.get(i).copied().unwrap_or(0) & 15) * at(low, i), 16);
            sum += lanes(|i| f32::from(bytes.get(i).copied().unwrap_or(0) >> 4) * at(high, i), 16);
        }
        sum
    }
}

#[cfg(test)]
mod tests;
