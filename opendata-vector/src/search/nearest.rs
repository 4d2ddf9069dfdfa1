//! The vectors nearest to a query.
//!
//! Exactly: every allowed vector is read. Otherwise the tail is scanned exactly, the cells nearest to the query are
//! scored by their codes, and every candidate that the codes cannot rule out is read and scored in full, so that all
//! scores that are returned are true. A filter is a mask on the cells; cells go on being visited until enough
//! *allowed* candidates were seen, and few allowed documents are scored one by one.
//!
//! What is visited depends on the records alone, never on what happens to be in memory: all readers of a position get
//! the same answer.

use futures::future::{try_join, try_join_all};
use opendata_core::slate::Access;
use opendata_core::{Error, Result};

use super::{Allowed, Effort, LegExplain, Scored, Top};
use crate::cell::cluster;
use crate::cell::quantize::{Around, CodeQuery};
use crate::kernel;
use crate::schema::{Metric, VectorField};
use crate::state::{Routes, Snapshot, push_scored};

mod candidates;
mod order;

use candidates::Candidates;
pub(crate) use order::CellOrder;

/// Documents that are read with the vectors of a search that finds nothing in memory.
const AHEAD: usize = 16;
/// So few allowed documents are scored one by one, without the index.
const FEW: u64 = 512;

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
    let few = allowed.set.is_some_and(|set| set.len() <= FEW);
    match effort {
        _ if depth == 0 => Ok(Vec::new()),
        _ if few => search.one_by_one(explain).await,
        Effort::Exact => search.exactly(explain).await,
        effort => search.approximately(effort, explain).await,
    }
}

impl Search<'_> {
    fn score(&self, vector: &[f32]) -> f64 {
        f64::from(kernel::score(self.field.metric, &self.query, vector))
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
        let drained_to = self.snapshot.state.table(self.name).drained_to;
        let tail = self.snapshot.tail(self.name, self.field);
        let (tail, routes) = try_join(tail, self.snapshot.routes(self.name, self.field)).await?;
        for block in tail {
            for (id, vector) in block.ids.iter().zip(block.vectors.chunks_exact(dims)) {
                if *id >= drained_to && self.allowed.contains(*id) {
                    explain.scored += 1;
                    top.push(Scored { score: self.score(vector), id: *id });
                }
            }
        }
        let candidates = self.probe(effort, &routes, &top, explain).await?;
        self.rerank(candidates, &mut top, explain).await?;
        Ok(top.into_sorted())
    }

    /// Estimates the vectors in the nearest cells. Returns those that may be among the best.
    async fn probe(
        &self,
        effort: Effort,
        routes: &Routes,
        tail: &Top,
        explain: &mut LegExplain,
    ) -> Result<Candidates<'_>> {
        let mut candidates = Candidates::new(self.depth, tail.threshold(), self.allowed);
        let table = self.snapshot.state.table(self.name);
        explain.cells = routes.cells.len() as u64;
        if routes.cells.is_empty() {
            return Ok(candidates);
        }
        let mut rotated = self.query.clone();
        routes.rotation.apply(&mut rotated);
        let query = CodeQuery::new(self.field.metric, rotated);
        let rows = table.rows();
        let live = self.snapshot.state.counters.vectors.get(self.name).copied().unwrap_or(rows).max(1);
        let share = self.allowed.set.map_or(1.0, |set| (set.len() as f64 / live as f64).min(1.0));
        let plan = self.snapshot.state.plan(self.name, rows, effort, self.depth, share);
        let in_each = (rows as f64 * share / routes.cells.len() as f64).max(1.0);
        // A few more, so that they need not be sorted in two goes.
        let visits = (1.25 * plan.candidates as f64 / in_each) as usize;
        let mut order = CellOrder::new(&query, routes, plan.cells.max(visits));
        // Every visit is of as many cells as are expected to hold what is still wanted.
        loop {
            let wanted = plan.candidates.saturating_sub(candidates.seen) as f64;
            let mut expected = 0.0;
            let mut visit = Vec::new();
            while (order.taken() < plan.cells || expected < wanted)
                && let Some(next) = order.next()
            {
                let info = table.cells.get(&next.cell).copied().unwrap_or_default();
                expected += info.rows as f64 * share;
                visit.push((next, info));
            }
            if visit.is_empty() {
                break;
            }
            explain.probed += visit.len() as u64;
            let cells: Vec<(u32, u64)> = visit.iter().map(|(next, info)| (next.cell, info.changed)).collect();
            let contents = self.snapshot.cells(self.name, &cells).await?;
            for ((next, _), cell) in visit.iter().zip(contents) {
                let (constant, distance) = query.cell(next.dot, next.squared);
                let centroid = cluster::row(&routes.centroids, self.query.len(), next.place);
                candidates.estimate(&query, Around { constant, distance, centroid }, &cell);
            }
        }
        explain.estimated += candidates.seen;
        Ok(candidates)
    }

    /// Scores candidates in full, the most promising first, until no bound of one that is left reaches what was found.
    async fn rerank(&self, candidates: Candidates<'_>, top: &mut Top, explain: &mut LegExplain) -> Result<()> {
        let promising = candidates.finish();
        let mut left = promising.as_slice();
        let mut batch = self.depth + self.depth / 2 + 4;
        while !left.is_empty() {
            let (some, rest) = left.split_at(batch.min(left.len()));
            let threshold = top.threshold();
            let ids: Vec<u64> =
                some.iter().take_while(|(upper, _)| f64::from(*upper) >= threshold).map(|(_, id)| *id).collect();
            explain.scored += ids.len() as u64;
            let vectors = self.snapshot.scored_vectors(self.name, self.field, &ids);
            // Where one must be read, its document will most likely have to be read as well: in the same round.
            let number = self.snapshot.state.field_number(self.name);
            let is_cold = ids.first().is_some_and(|id| self.snapshot.held_vector(number, *id).is_none());
            let shown = if is_cold { self.depth.min(ids.len()).min(AHEAD) } else { 0 };
            let documents = ids.iter().take(shown).map(|id| self.snapshot.stored(*id));
            let (vectors, _) = try_join(vectors, try_join_all(documents)).await?;
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
}
