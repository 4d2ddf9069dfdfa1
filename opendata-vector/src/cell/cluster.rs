//! Balanced clustering: halves a set of vectors by 2-means until the parts are small enough.
//!
//! Each half has at least a quarter of the whole, so parts are never tiny, whatever the data, and the depth is
//! logarithmic. Deterministic.

use crate::kernel;
use crate::kernel::columns::{COLUMN_ROWS, Columns, Dots};

const ROUNDS: usize = 6;
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

/// Two parts, each of at least a quarter.
pub(crate) fn halve(vectors: &[f32], dims: usize, part: Vec<usize>) -> (Vec<usize>, Vec<usize>) {
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

/// For each vector the place of the centroid that lies nearest, given the squared lengths of the centroids. Of many centroids
/// only those blocks are compared that lie near, so that now and then it is the second nearest.
pub(crate) fn nearest_of(centroids: &Columns, squares: &[f32], vectors: &[f32]) -> Vec<usize> {
    /// Vectors that are compared with one block after another while they are at hand.
    const AT_ONCE: usize = 512;
    let dims = centroids.dims().max(1);
    let blocks = squares.len().div_ceil(COLUMN_ROWS);
    let near = (blocks >= NEAR_BLOCKS * 2).then(|| Pivots::new(centroids, blocks));
    let mut found = Vec::with_capacity(vectors.len() / dims);
    for some in vectors.chunks(dims * AT_ONCE) {
        let count = some.len() / dims;
        let visits = match &near {
            Some(pivots) => pivots.visits(some, blocks),
            None => vec![(0..count).collect(); blocks],
        };
        let mut best = vec![(f32::NEG_INFINITY, 0); count];
        for ((block, rows), squares) in visits.iter().enumerate().zip(squares.chunks(COLUMN_ROWS)) {
            let first = block * COLUMN_ROWS;
            for_each_dots(centroids, block, some, rows, |row, dots| {
                let nearness = nearness(dots, squares);
                let greatest = greatest(&nearness);
                if let Some(best) = best.get_mut(row).filter(|best| greatest > best.0) {
                    let at = nearness.iter().position(|own| *own == greatest).unwrap_or(0);
                    *best = (greatest, first + at);
                }
            });
        }
        found.extend(best.into_iter().map(|(_, at)| at));
    }
    found
}

/// The inner products of some vectors with a block, four at a time.
fn for_each_dots(of: &Columns, block: usize, vectors: &[f32], rows: &[usize], mut each: impl FnMut(usize, &Dots)) {
    for four in rows.chunks(4) {
        let vector = |n: usize| four.get(n).map_or(&[][..], |at| row(vectors, of.dims(), *at));
        let dots = of.dots4(block, [vector(0), vector(1), vector(2), vector(3)]);
        four.iter().zip(&dots).for_each(|(row, dots)| each(*row, dots));
    }
}

/// Blocks that a vector is compared with, where there are at least twice as many.
const NEAR_BLOCKS: usize = 8;
/// Centroids that share a pivot. Those with neighbouring places are neighbours, as far as they were made as a whole.
const PIVOT_ROWS: usize = 16;

/// Pivots of a block.
const PIVOTS: usize = COLUMN_ROWS / PIVOT_ROWS;

/// Middles of a few centroids each: they tell which blocks of centroids are near.
pub(crate) struct Pivots {
    columns: Columns,
    squares: Vec<f32>,
}

impl Pivots {
    pub(crate) fn new(centroids: &Columns, blocks: usize) -> Self {
        let dims = centroids.dims();
        let mut middles = Vec::with_capacity(blocks * PIVOTS * dims);
        for (block, part) in (0..blocks).flat_map(|block| (0..PIVOTS).map(move |part| (block, part))) {
            let sum = |column: &Dots| column.as_chunks::<PIVOT_ROWS>().0.get(part).map_or(0.0, |own| own.iter().sum());
            middles.extend(centroids.block(block).iter().map(|column| sum(column) / PIVOT_ROWS as f32));
        }
        let squares = middles.chunks_exact(dims.max(1)).map(|middle| kernel::dot(middle, middle)).collect();
        Self { columns: Columns::new(&middles, dims), squares }
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.columns.size_bytes() + self.squares.len() * 4
    }

    /// Blocks of centroids in the order of how near the nearest of their pivots is to a vector, by a measure of its inner product and squared length.
    pub(crate) fn order(&self, vector: &[f32], nearness: impl Fn(f32, f32) -> f32) -> Vec<usize> {
        let mut near = Vec::with_capacity(self.squares.len() / PIVOTS);
        for (block, squares) in self.squares.chunks(COLUMN_ROWS).enumerate() {
            let dots = self.columns.dots(block, vector);
            for (dots, squares) in dots.chunks(PIVOTS).zip(squares.chunks(PIVOTS)) {
                let own = dots.iter().zip(squares).map(|(dot, squared)| nearness(*dot, *squared));
                near.push((own.fold(f32::NEG_INFINITY, f32::max), near.len()));
            }
        }
        near.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        near.into_iter().map(|(_, block)| block).collect()
    }

    /// For each block the vectors that are near.
    fn visits(&self, vectors: &[f32], blocks: usize) -> Vec<Vec<usize>> {
        let count = vectors.len() / self.columns.dims().max(1);
        let rows: Vec<usize> = (0..count).collect();
        let mut near = vec![f32::NEG_INFINITY; count * blocks];
        for (block, squares) in self.squares.chunks(COLUMN_ROWS).enumerate() {
            for_each_dots(&self.columns, block, vectors, &rows, |row, dots| {
                let nearness = nearness(dots, squares);
                let to = near.get_mut(row * blocks..(row + 1) * blocks).unwrap_or_default();
                let to = to.iter_mut().skip(block * COLUMN_ROWS / PIVOTS);
                for (to, parts) in to.zip(nearness.as_chunks::<PIVOTS>().0) {
                    *to = parts.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                }
            });
        }
        let mut visits = vec![Vec::new(); blocks];
        let mut order = Vec::with_capacity(blocks);
        for (row, near) in near.chunks_exact(blocks.max(1)).enumerate() {
            order.clear();
            order.extend(near.iter().copied().zip(0..));
            order
                .select_nth_unstable_by(NEAR_BLOCKS - 1, |a: &(f32, usize), b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            for (_, block) in order.iter().take(NEAR_BLOCKS) {
                if let Some(rows) = visits.get_mut(*block) {
                    rows.push(row);
                }
            }
        }
        visits
    }
}

/// How near a vector is to each row of a block. What is behind the last row is farther than all.
fn nearness(dots: &Dots, squares: &[f32]) -> Dots {
    let mut nearness = [f32::NEG_INFINITY; COLUMN_ROWS];
    for ((nearness, dot), squared) in nearness.iter_mut().zip(dots).zip(squares) {
        *nearness = 2.0 * dot - squared;
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

/// How large parts are made of which about `count` come of so many rows: they are full to seven tenths on average.
pub(crate) fn part_limit(rows: usize, count: usize) -> usize {
    (rows * 10 / 7).div_ceil(count.max(1))
}

/// The middles of parts. Neighbours have neighbouring places, as far as a line can do that.
pub(crate) fn middles(vectors: &[f32], dims: usize, parts: &[Vec<usize>]) -> Vec<f32> {
    parts.iter().flat_map(|part| mean(vectors, dims, part)).collect()
}

/// Moves centroids to the middle of what lies nearest to them, once.
pub(crate) fn refine(vectors: &[f32], dims: usize, centroids: &mut [f32]) {
    let squares: Vec<f32> = centroids.chunks_exact(dims.max(1)).map(|c| kernel::dot(c, c)).collect();
    let nearest = nearest_of(&Columns::new(centroids, dims), &squares, vectors);
    move_to(vectors, dims, centroids, &nearest);
}

/// Moves each centroid to the middle of the vectors that have its place.
pub(crate) fn move_to(vectors: &[f32], dims: usize, centroids: &mut [f32], nearest: &[usize]) {
    let mut members = vec![Vec::new(); centroids.len() / dims.max(1)];
    for (at, nearest) in nearest.iter().enumerate() {
        if let Some(members) = members.get_mut(*nearest) {
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
