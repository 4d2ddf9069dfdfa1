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

pub(crate) struct CellOrder<'a> {
    routes: &'a Routes,
    /// Of each centroid its inner product with the query.
    dots: Vec<f32>,
    /// Nearness and place of each centroid in one number, which is less for what is nearer and, of equals, for the earlier cell:
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
        let (mut dots, mut all) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (block, squares) in routes.squares.chunks(COLUMN_ROWS).enumerate() {
            let own = routes.columns.dots(block, &query.rotated);
            for ((place, dot), squared) in (block * COLUMN_ROWS..).zip(own).zip(squares) {
                let nearness = if query.metric == Metric::InnerProduct { dot } else { 2.0 * dot - squared };
                dots.push(dot);
                all.push(u64::from(descending(nearness)) << 32 | place as u64);
            }
        }
        Self { routes, dots, all, sorted: 0, taken: 0, step: expected.max(16) }
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    pub(crate) fn next(&mut self) -> Option<Next> {
        if self.taken == self.sorted {
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

/// A number that is less for what is greater, in the order of [`f32::total_cmp`].
fn descending(number: f32) -> u32 {
    let bits = number.to_bits();
    if bits >> 31 == 1 { bits } else { !bits & 0x7fff_ffff }
}

#[cfg(test)]
mod tests;
