//! Cells in the order of how near their middles are to a query. Only as many are sorted as are asked for.

use crate::cell::quantize::CodeQuery;
use crate::kernel::columns::COLUMN_ROWS;
use crate::schema::Metric;
use crate::state::Routes;

/// A cell that is next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next {
    pub(crate) cell: u32,
    /// Its place among the centroids.
    pub(crate) place: usize,
    /// The inner product of the query and the centroid.
    pub(crate) dot: f32,
    /// The centroid's squared length.
    pub(crate) squared: f32,
}

/// Of two levels, one block of so many is compared with the query at first; if all of its cells were taken, as many again, and so on. A search takes a
/// small part of all cells, and their middles lie in the blocks whose pivots are nearest but for few.
const FIRST_SHARE: usize = 8;

pub(crate) struct CellOrder<'a> {
    routes: &'a Routes,
    /// Blocks of centroids, the nearest first, and how many of them were compared with the query.
    blocks: Vec<usize>,
    compared: usize,
    /// Of each centroid its inner product with the query, where that was compared.
    dots: Vec<f32>,
    /// Nearness and place of each compared centroid in one number, which is less for what is nearer and, of equals, for the earlier cell:
    /// numbers are sorted much faster than what must be compared by parts.
    all: Vec<u64>,
    sorted: usize,
    taken: usize,
    /// How many are sorted at a time.
    step: usize,
}

impl<'a> CellOrder<'a> {
    pub(crate) fn new(query: &CodeQuery, routes: &'a Routes, expected: usize) -> Self {
        let count = routes.cells.len();
        let all = count.div_ceil(COLUMN_ROWS);
        let (blocks, first) = match &routes.pivots {
            Some(pivots) => {
                let nearness = |dot, squared| nearness(query.metric, dot, squared);
                (pivots.order(&query.rotated, nearness), all.div_ceil(FIRST_SHARE))
            }
            None => ((0..all).collect(), all),
        };
        let mut order = Self {
            routes,
            blocks,
            compared: 0,
            dots: vec![0.0; count],
            all: Vec::with_capacity(first * COLUMN_ROWS),
            sorted: 0,
            taken: 0,
            step: expected.max(16),
        };
        order.compare(query, first);
        order
    }

    /// Compares the query with the centroids of the next blocks.
    fn compare(&mut self, query: &CodeQuery, blocks: usize) {
        let end = (self.compared + blocks).min(self.blocks.len());
        for block in self.blocks.get(self.compared..end).unwrap_or_default() {
            let first = block * COLUMN_ROWS;
            let own = self.routes.columns.dots(*block, &query.rotated);
            let squares = self.routes.squares.get(first..).unwrap_or_default();
            let dots = self.dots.get_mut(first..).unwrap_or_default();
            for (place, ((dot, squared), to)) in (first..).zip(own.into_iter().zip(squares).zip(dots)) {
                *to = dot;
                let nearness = nearness(query.metric, dot, *squared);
                self.all.push(u64::from(descending(nearness)) << 32 | place as u64);
            }
        }
        self.compared = end;
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// The next cell for the query that the order was made for.
    pub(crate) fn next(&mut self, query: &CodeQuery) -> Option<Next> {
        if self.taken == self.sorted {
            if self.sorted == self.all.len() {
                self.compare(query, self.compared);
            }
            let left = self.all.get_mut(self.sorted..)?;
            let step = self.step.min(left.len());
            if step < left.len() {
                left.select_nth_unstable(step);
            }
            left.get_mut(..step)?.sort_unstable();
            self.sorted += step;
            self.step *= 2;
        }
        let place = *self.all.get(self.taken)? as u32 as usize;
        self.taken += 1;
        let (cell, squared) = (*self.routes.cells.get(place)?, *self.routes.squares.get(place)?);
        Some(Next { cell, place, dot: *self.dots.get(place)?, squared })
    }
}

/// How near a centroid is to a query.
fn nearness(metric: Metric, dot: f32, squared: f32) -> f32 {
    if metric == Metric::InnerProduct { dot } else { 2.0 * dot - squared }
}

/// A number that is less for what is greater, in the order of [`f32::total_cmp`].
fn descending(number: f32) -> u32 {
    let bits = number.to_bits();
    if bits >> 31 == 1 { bits } else { !bits & 0x7fff_ffff }
}

#[cfg(test)]
mod tests;
