//! The vectors nearest to a query.
//!
//! Exactly: every allowed vector is read. Otherwise the tail is scanned exactly, the cells nearest to the query are
//! scored by their codes, and every candidate that the codes cannot rule out is read and scored in full, so that all
//! scores that are returned are true. A filter is a mask on the cells; cells go on being visited until enough
//! *allowed* candidates were seen. Few allowed documents, also those that are few beside what would be looked through
//! for them, are scored one by one.
//!
//! What is visited depends on the records alone, never on what happens to be in memory: all readers of a position get
//! the same answer.

use std::sync::Arc;

use futures::future::{try_join, try_join_all};
use opendata_core::slate::Access;
use opendata_core::{Error, Result};

use super::{Allowed, Effort, LegExplain, Scored, Top};
use crate::cell::places::{InPlace, Places};
use crate::cell::quantize::{Around, CodeQuery};
use crate::cell::{Cell, cluster};
use crate::kernel;
use crate::schema::{Metric, VectorField};
use crate::state::{Plan, Routes, Snapshot, push_scored};

mod candidates;
mod order;

use candidates::Candidates;
pub(crate) use order::CellOrder;
use order::Next;

/// Vectors and documents at most that a search that finds nothing in memory reads before it knows that it needs them.
const VECTORS_AHEAD: usize = 32;
const DOCUMENTS_AHEAD: usize = 16;
/// So few allowed documents are scored one by one, without the index.
const FEW: u64 = 512;
/// So many rows of cells are asked whether they are allowed in the time that one vector takes which is looked up by its
/// id: 9 ns and some 1.1 us were measured with 1,200,000 vectors of 50 dimensions in memory.
const ROWS_A_VECTOR: u64 = 128;

/// Whether so many allowed documents are scored in less time than so many rows of cells are looked through.
fn is_less(allowed: u64, rows: u64) -> bool {
    allowed <= FEW || allowed.saturating_mul(ROWS_A_VECTOR) <= rows
}

struct Search<'a> {
    snapshot: Snapshot<'a>,
    name: &'a str,
    field: VectorField,
    query: Vec<f32>,
    allowed: Allowed<'a>,
    depth: usize,
}

pub(super) async fn search(
    snapshot: Snapshot<'_>,
    name: &str,
    vector: &[f32],
    allowed: Allowed<'_>,
    depth: usize,
    effort: Effort,
    explain: &mut LegExplain,
) -> Result<Vec<Scored>> {
    let field = snapshot.state.config.schema.vector_field(name)?;
    if vector.len() != field.dims as usize {
        let (found, dims) = (vector.len(), field.dims);
        return Err(Error::invalid(format!(
            "wrong number of dimensions in a query, field={name}, dims={found}, expected={dims}"
        )));
    }
    let squared = kernel::dot(vector, vector);
    if !squared.is_finite() || (field.metric == Metric::Cosine && squared <= f32::MIN_POSITIVE) {
        return Err(Error::invalid(format!("query vector has no finite length or no direction, field={name}")));
    }
    let mut query = vector.to_vec();
    kernel::normalise(field.metric, &mut query);
    let search = Search { snapshot, name, field, query, allowed, depth };
    match effort {
        _ if depth == 0 => Ok(Vec::new()),
        effort if search.are_few(effort) => search.one_by_one(explain).await,
        Effort::Exact => search.exactly(explain).await,
        effort => search.approximately(effort, explain).await,
    }
}

/// Which cells are looked into, the nearest first.
struct Probing<'a> {
    query: CodeQuery,
    places: &'a Places,
    plan: Plan,
    /// How much of the vectors is allowed.
    share: f64,
    order: CellOrder<'a>,
}

impl<'a> Probing<'a> {
    /// The next, when so many allowed candidates were seen: none if these are enough.
    fn visit(&mut self, seen: u64) -> Vec<(Next, &'a InPlace)> {
        let wanted = self.plan.candidates.saturating_sub(seen) as f64;
        let mut expected = 0.0;
        let mut visit = Vec::new();
        while (self.order.taken() < self.plan.cells || expected < wanted)
            && let Some(next) = self.order.next(&self.query)
            && let Some(cell) = self.places.at(next.place)
        {
            expected += cell.info.rows as f64 * self.share;
            visit.push((next, cell));
        }
        visit
    }
}

impl Search<'_> {
    fn score(&self, vector: &[f32]) -> f64 {
        f64::from(kernel::score(self.field.metric, &self.query, vector))
    }

    /// Whether all allowed documents are scored in less time than enough of them are found in cells, or in a scan of all.
    fn are_few(&self, effort: Effort) -> bool {
        let Some(allowed) = self.allowed.set.map(|set| set.len()) else { return false };
        let rows = self.snapshot.state.table(self.name).places().rows;
        let walked = match effort {
            Effort::Exact => rows,
            _ => {
                let share = self.share(rows);
                let plan = self.snapshot.state.plan(self.name, rows, effort, self.depth, share);
                rows.min((plan.candidates as f64 / share.max(1e-9)) as u64)
            }
        };
        is_less(allowed, walked)
    }

    /// How much of the vectors is allowed.
    fn share(&self, rows: u64) -> f64 {
        let live = self.snapshot.state.counters.vectors.get(self.name).copied().unwrap_or(rows).max(1);
        self.allowed.set.map_or(1.0, |set| (set.len() as f64 / live as f64).min(1.0))
    }

    async fn exactly(&self, explain: &mut LegExplain) -> Result<Vec<Scored>> {
        let mut top = Top::new(self.depth);
        let all = (0, self.snapshot.state.counters.next_id);
        let mut vectors = self.snapshot.vectors(self.name, self.field, all, Access::Bulk).await?;
        let mut vector = Vec::with_capacity(self.query.len());
        while let Some((id, key, value)) = vectors.next().await? {
            if self.allowed.contains(id) {
                vector.clear();
                push_scored(key, &value, self.field, &mut vector)?;
                explain.scored += 1;
                top.push(Scored { score: self.score(&vector), id });
            }
        }
        Ok(top.into_sorted())
    }

    /// Scores the allowed documents that have a vector.
    async fn one_by_one(&self, explain: &mut LegExplain) -> Result<Vec<Scored>> {
        let mut top = Top::new(self.depth);
        let ids: Vec<u64> = self.allowed.set.into_iter().flat_map(|set| set.iter()).collect();
        for (id, vector) in ids.iter().zip(self.snapshot.some_vectors(self.name, self.field, &ids).await?) {
            if let Some(vector) = vector {
                explain.scored += 1;
                top.push(Scored { score: self.score(&vector), id: *id });
            }
        }
        Ok(top.into_sorted())
    }

    async fn approximately(&self, effort: Effort, explain: &mut LegExplain) -> Result<Vec<Scored>> {
        let mut top = Top::new(self.depth);
        let dims = self.query.len();
        let table = self.snapshot.state.table(self.name);
        let routes = self.snapshot.routes(self.name, self.field).await?;
        let mut probing = self.probing(effort, table.places(), &routes);
        // The tail and the first cells are read at once: each may be a request to the store.
        let tail = self.snapshot.tail(self.name, self.field);
        let first = probing.visit(0);
        let (tail, cells) = try_join(tail, self.read(&first)).await?;
        for block in tail {
            for (id, vector) in block.ids.iter().zip(block.vectors.chunks_exact(dims)) {
                if *id >= table.drained_to && self.allowed.contains(*id) {
                    explain.scored += 1;
                    top.push(Scored { score: self.score(vector), id: *id });
                }
            }
        }
        explain.cells = routes.cells.len() as u64;
        let mut candidates = Candidates::new(self.depth, top.threshold(), self.allowed);
        let (mut visit, mut cells) = (first, cells);
        // Every visit is of as many cells as are expected to hold what is still wanted.
        while !visit.is_empty() {
            explain.probed += visit.len() as u64;
            for (at, ((next, _), cell)) in visit.iter().zip(&cells).enumerate() {
                cells.get(at + 2).into_iter().for_each(|cell| cell.prefetch_frames());
                cells.get(at + 1).into_iter().for_each(|cell| candidates.prefetch(cell));
                let (constant, distance) = probing.query.cell(next.dot, next.squared);
                let centroid = cluster::row(&routes.centroids, dims, next.place);
                candidates.estimate(&probing.query, Around { constant, distance, centroid }, cell);
            }
            visit = probing.visit(candidates.seen);
            cells = self.read(&visit).await?;
        }
        explain.estimated += candidates.seen;
        self.rerank(candidates, &mut top, explain).await?;
        Ok(top.into_sorted())
    }

    fn probing<'t>(&self, effort: Effort, places: &'t Places, routes: &'t Routes) -> Probing<'t> {
        let mut rotated = self.query.clone();
        routes.rotation.apply(&mut rotated);
        let query = CodeQuery::new(self.field.metric, rotated);
        let rows = places.rows;
        let share = self.share(rows);
        let plan = self.snapshot.state.plan(self.name, rows, effort, self.depth, share);
        let in_each = (rows as f64 * share / routes.cells.len().max(1) as f64).max(1.0);
        // A few more, so that they need not be sorted in two goes.
        let visits = (1.25 * plan.candidates as f64 / in_each) as usize;
        let order = CellOrder::new(&query, routes, plan.cells.max(visits));
        Probing { query, places, plan, share, order }
    }

    async fn read(&self, visit: &[(Next, &InPlace)]) -> Result<Vec<Arc<Cell>>> {
        // The cache is asked now and then although all are known to be in memory, so that it keeps what is used.
        if !self.snapshot.state.cache.wants_to_know_use()
            && let Some(held) = visit.iter().map(|(_, cell)| cell.held()).collect()
        {
            return Ok(held);
        }
        let cells: Vec<(u32, u64)> = visit.iter().map(|(_, cell)| (cell.cell, cell.info.changed)).collect();
        let found = self.snapshot.cells(self.name, &cells).await?;
        visit.iter().zip(&found).for_each(|((_, place), cell)| place.hold(cell));
        Ok(found)
    }

    /// Scores candidates in full, the most promising first, until no bound of one that is left reaches what was found.
    async fn rerank(&self, candidates: Candidates<'_>, top: &mut Top, explain: &mut LegExplain) -> Result<()> {
        let floor = candidates.floor();
        let promising = candidates.finish();
        // About what the last result will score: the middle between the bounds of what has its place by now.
        let last = promising.get(self.depth - 1).map_or(floor, |(upper, _)| (floor + upper) / 2.0);
        let mut left = promising.as_slice();
        let mut batch = self.depth + self.depth / 2 + 4;
        while !left.is_empty() {
            let (some, rest) = left.split_at(batch.min(left.len()));
            let threshold = top.threshold();
            let ids: Vec<u64> =
                some.iter().take_while(|(upper, _)| f64::from(*upper) >= threshold).map(|(_, id)| *id).collect();
            explain.scored += ids.len() as u64;
            let vectors = self.snapshot.scored_vectors(self.name, self.field, &ids);
            let (vectors, ()) = try_join(vectors, self.read_ahead(&ids, rest, last)).await?;
            for (id, vector) in ids.iter().zip(vectors) {
                top.push(Scored { score: self.score(&vector), id: *id });
            }
            if ids.len() < some.len() {
                break;
            }
            (left, batch) = (rest, left.len());
        }
        Ok(())
    }

    /// Where vectors must be read, those of the next batch that are likely to be compared will have to be read as well, and most
    /// likely the documents of the best: in the same round. It fills the cache only; what is compared does not depend on it.
    async fn read_ahead(&self, ids: &[u64], rest: &[(f32, u64)], last: f32) -> Result<()> {
        let number = self.snapshot.state.field_number(self.name);
        if ids.first().is_none_or(|id| self.snapshot.held_vector(number, *id).is_some()) {
            return Ok(());
        }
        let next = rest.iter().take_while(|(upper, _)| *upper >= last).take(VECTORS_AHEAD);
        let next: Vec<u64> = next.map(|(_, id)| *id).collect();
        // The order by codes is not quite the true one: some more than are shown.
        let shown = (self.depth + self.depth / 4 + 1).min(DOCUMENTS_AHEAD);
        let documents = ids.iter().take(shown).map(|id| self.snapshot.stored(*id));
        let vectors = self.snapshot.scored_vectors(self.name, self.field, &next);
        try_join(vectors, try_join_all(documents)).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_scored_one_by_one_where_they_are_few_or_cells_hold_many_others() {
        assert!(is_less(0, 0) && is_less(FEW, 0) && !is_less(FEW + 1, 0));
        assert!(is_less(1_197, 1_197_000), "0.1 % of a large set");
        assert!(!is_less(1_176, 117_659), "1 % of a small one");
        assert!(!is_less(11_970, 200_000), "1 % of a large one, of which the nearest cells are enough");
        assert!(!is_less(u64::MAX, 1 << 40));
    }
}
