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
    nearness: f32,
}

pub(crate) struct CellOrder {
    all: Vec<Next>,
    sorted: usize,
    taken: usize,
    /// How many are sorted at a time.
    step: usize,
}

impl CellOrder {
    pub(crate) fn new(query: &CodeQuery, routes: &Routes, expected: usize) -> Self {
        let mut all = Vec::with_capacity(routes.cells.len());
        let blocks = routes.cells.chunks(COLUMN_ROWS).zip(routes.squares.chunks(COLUMN_ROWS));
        for (block, (cells, squares)) in blocks.enumerate() {
            let dots = routes.columns.dots(block, &query.rotated);
            for (at, ((cell, squared), dot)) in cells.iter().zip(squares).zip(dots).enumerate() {
                let place = block * COLUMN_ROWS + at;
                let nearness = if query.metric == Metric::InnerProduct { dot } else { 2.0 * dot - squared };
                all.push(Next { cell: *cell, place, dot, squared: *squared, nearness });
            }
        }
        Self { all, sorted: 0, taken: 0, step: expected.max(16) }
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    pub(crate) fn next(&mut self) -> Option<Next> {
        if self.taken == self.sorted {
            let better = |a: &Next, b: &Next| b.nearness.total_cmp(&a.nearness).then(a.cell.cmp(&b.cell));
            let left = self.all.get_mut(self.sorted..)?;
            let step = self.step.min(left.len());
            if step < left.len() {
                left.select_nth_unstable_by(step, better);
            }
            left.get_mut(..step)?.sort_unstable_by(better);
            self.sorted += step;
            self.step *= 2;
        }
        let next = self.all.get(self.taken).copied();
        self.taken += usize::from(next.is_some());
        next
    }
}
