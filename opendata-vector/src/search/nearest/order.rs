//! Cells in the order of how near their middles are to a query. Only as many are sorted as are asked for.

use crate::cell::quantize::CodeQuery;
use crate::kernel;
use crate::schema::Metric;
use crate::state::Routes;

/// A cell that is next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next {
    pub(crate) cell: u32,
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
        let dims = query.rotated.len();
        let mut all = Vec::with_capacity(routes.cells.len());
        let mut push = |(cell, squared): (&u32, &f32), dot: f32| {
            let nearness = if query.metric == Metric::InnerProduct { dot } else { 2.0 * dot - squared };
            all.push(Next { cell: *cell, dot, squared: *squared, nearness });
        };
        let mut cells = routes.cells.iter().zip(&routes.squares);
        let fours = routes.centroids.chunks_exact(dims * 4);
        let rest = fours.remainder();
        for four in fours {
            let row = |at: usize| four.get(at * dims..(at + 1) * dims).unwrap_or_default();
            let dots = kernel::dot4(&query.rotated, [row(0), row(1), row(2), row(3)]);
            dots.into_iter().zip(&mut cells).for_each(|(dot, cell)| push(cell, dot));
        }
        for (centroid, cell) in rest.chunks_exact(dims).zip(cells) {
            push(cell, kernel::dot(&query.rotated, centroid));
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
