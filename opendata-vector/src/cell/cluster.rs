//! Balanced clustering: halves a set of vectors by 2-means until the parts are small enough.
//!
//! Each half has at least a quarter of the whole, so parts are never tiny, whatever the data, and the depth is
//! logarithmic. Deterministic.

use crate::kernel;
use crate::kernel::columns::{COLUMN_ROWS, Columns, Dots};

const ROUNDS: usize = 6;
/// How often the middles of many parts are moved.
const MOVES: usize = 4;
/// Vectors that the two means are found from at most.
const SAMPLE: usize = 2048;

/// Parts of at most `limit` vectors, each a list of rows.
pub(crate) fn partition(vectors: &[f32], dims: usize, limit: usize) -> Vec<Vec<usize>> {
    let rows = vectors.len().checked_div(dims).unwrap_or(0);
    partition_rows(vectors, dims, (0..rows).collect(), limit)
}

/// The same for some of the vectors.
pub(crate) fn partition_rows(vectors: &[f32], dims: usize, rows: Vec<usize>, limit: usize) -> Vec<Vec<usize>> {
    let mut parts = Vec::new();
    let mut open = vec![rows];
    while let Some(part) = open.pop() {
        if part.len() <= limit.max(1) {
            if !part.is_empty() {
                parts.push(part);
            }
            continue;
        }
        let (one, other) = halve(vectors, dims, part);
        open.push(other);
        open.push(one);
    }
    parts
}

pub(crate) fn row(vectors: &[f32], dims: usize, row: usize) -> &[f32] {
    vectors.get(row * dims..(row + 1) * dims).unwrap_or_default()
}

/// The middle of some rows.
pub(crate) fn mean(vectors: &[f32], dims: usize, rows: &[usize]) -> Vec<f32> {
    let mut sum = vec![0f64; dims];
    for at in rows {
        for (sum, v) in sum.iter_mut().zip(row(vectors, dims, *at)) {
            *sum += f64::from(*v);
        }
    }
    sum.iter().map(|sum| (*sum / rows.len().max(1) as f64) as f32).collect()
}

fn halve(vectors: &[f32], dims: usize, part: Vec<usize>) -> (Vec<usize>, Vec<usize>) {
    let step = part.len().div_ceil(SAMPLE);
    let sample: Vec<usize> = part.iter().step_by(step).copied().collect();
    // Two rows far from each other: the one farthest from the middle, and the one farthest from that.
    let middle = mean(vectors, dims, &sample);
    let farthest = |from: &[f32]| {
        let distance = |at: &&usize| kernel::l2(from, row(vectors, dims, **at));
        let found = sample.iter().max_by(|a, b| distance(a).total_cmp(&distance(b)));
        found.map_or_else(|| middle.clone(), |at| row(vectors, dims, *at).to_vec())
    };
    let mut one = farthest(&middle);
    let mut other = farthest(&one);
    for _ in 0..ROUNDS {
        let lean = Lean::new(&one, &other);
        let nearer = |at: &usize| lean.of(row(vectors, dims, *at)) < 0.0;
        let (first, second): (Vec<usize>, Vec<usize>) = sample.iter().partition(|at| nearer(at));
        if first.is_empty() || second.is_empty() {
            break;
        }
        (one, other) = (mean(vectors, dims, &first), mean(vectors, dims, &second));
    }
    let lean = Lean::new(&one, &other);
    let mut leaning: Vec<(f32, usize)> = part.into_iter().map(|at| (lean.of(row(vectors, dims, at)), at)).collect();
    leaning.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let natural = leaning.partition_point(|(lean, _)| *lean < 0.0);
    let least = leaning.len() / 4;
    let cut = natural.clamp(least.max(1), (leaning.len() - least).max(1));
    let second = leaning.split_off(cut);
    let rows = |side: Vec<(f32, usize)>| side.into_iter().map(|(_, at)| at).collect();
    (rows(leaning), rows(second))
}

/// Tells for which of two means a row is nearer: negative for the first.
struct Lean {
    direction: Vec<f32>,
    middle: f32,
}

impl Lean {
    fn new(one: &[f32], other: &[f32]) -> Self {
        let direction = other.iter().zip(one).map(|(other, one)| 2.0 * (other - one)).collect();
        Self { direction, middle: kernel::dot(other, other) - kernel::dot(one, one) }
    }

    fn of(&self, row: &[f32]) -> f32 {
        kernel::dot(&self.direction, row) - self.middle
    }
}

/// For each vector the place of the centroid that lies nearest, given the squared lengths of the centroids. One of them may
/// be left out.
pub(crate) fn nearest_of(centroids: &Columns, squares: &[f32], vectors: &[f32], without: Option<usize>) -> Vec<usize> {
    let dims = centroids.dims().max(1);
    let mut found = Vec::with_capacity(vectors.len() / dims);
    for four in vectors.chunks(dims * 4) {
        let row = |n: usize| four.get(n * dims..(n + 1) * dims).unwrap_or_default();
        let mut best = [(f32::NEG_INFINITY, 0); 4];
        for (block, squares) in squares.chunks(COLUMN_ROWS).enumerate() {
            let dots = centroids.dots4(block, [row(0), row(1), row(2), row(3)]);
            let first = block * COLUMN_ROWS;
            for (best, dots) in best.iter_mut().zip(&dots) {
                let nearness = nearness(dots, squares, without.and_then(|at| at.checked_sub(first)));
                let greatest = greatest(&nearness);
                if greatest > best.0 {
                    let at = nearness.iter().position(|own| *own == greatest).unwrap_or(0);
                    *best = (greatest, first + at);
                }
            }
        }
        found.extend(best.iter().take(four.len() / dims).map(|(_, at)| *at));
    }
    found
}

/// How near a vector is to each row of a block. What is left out, and what is behind the last row, is farther than all.
fn nearness(dots: &Dots, squares: &[f32], without: Option<usize>) -> Dots {
    let mut nearness = [f32::NEG_INFINITY; COLUMN_ROWS];
    for ((nearness, dot), squared) in nearness.iter_mut().zip(dots).zip(squares) {
        *nearness = 2.0 * dot - squared;
    }
    if let Some(place) = without.and_then(|at| nearness.get_mut(at)) {
        *place = f32::NEG_INFINITY;
    }
    nearness
}

/// In lanes, so that the compiler can compare several at a time.
fn greatest(of: &Dots) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    for some in of.as_chunks::<16>().0 {
        for (lane, own) in lanes.iter_mut().zip(some) {
            *lane = if *own > *lane { *own } else { *lane };
        }
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, |greatest, lane| if lane > greatest { lane } else { greatest })
}

/// About `count` middles of some vectors: those of the parts that halving makes, moved to where their nearest vectors are.
/// Neighbours have neighbouring places, as far as a line can do that.
pub(crate) fn centroids(vectors: &[f32], dims: usize, count: usize) -> Vec<f32> {
    let rows = vectors.len().checked_div(dims).unwrap_or(0);
    // Parts are full to seven tenths on average.
    let parts = partition(vectors, dims, (rows * 10 / 7).div_ceil(count.max(1)));
    let mut centroids: Vec<f32> = parts.iter().flat_map(|part| mean(vectors, dims, part)).collect();
    (0..MOVES).for_each(|_| refine(vectors, dims, &mut centroids));
    centroids
}

/// Moves centroids to the middle of what lies nearest to them, once.
pub(crate) fn refine(vectors: &[f32], dims: usize, centroids: &mut [f32]) {
    let squares: Vec<f32> = centroids.chunks_exact(dims.max(1)).map(|c| kernel::dot(c, c)).collect();
    let mut members = vec![Vec::new(); squares.len()];
    let nearest = nearest_of(&Columns::new(centroids, dims), &squares, vectors, None);
    for (at, nearest) in nearest.into_iter().enumerate() {
        if let Some(members) = members.get_mut(nearest) {
            members.push(at);
        }
    }
    for (centroid, members) in centroids.chunks_exact_mut(dims.max(1)).zip(members) {
        if !members.is_empty() {
            centroid.copy_from_slice(&mean(vectors, dims, &members));
        }
    }
}

#[cfg(test)]
mod tests;
