//! The vectors nearest to a query.
//!
//! Exactly: every allowed vector is read. Otherwise the tail is scanned exactly, the cells nearest to the query are
//! scored by their codes, and every candidate that the codes cannot rule out is read and scored in full, so that all
//! scores that are returned are true. A filter is a mask on the cells; cells go on being visited until enough
//! *allowed* candidates were seen, and few allowed documents are scored one by one.

use futures::future::try_join_all;
use opendata_core::slate::{Access, Order};
use opendata_core::{Error, Result};

use super::{Allowed, Effort, LegExplain, Scored, Top};
use crate::cell::Cell;
use crate::cell::quantize::{CodeQuery, DEVIATIONS};
use crate::cell::rotate::Rotation;
use crate::kernel;
use crate::key::Key;
use crate::schema::{Metric, VectorField};
use crate::state::{Snapshot, push_scored};

/// So few allowed documents are scored one by one, without the index.
const FEW: u64 = 32;
/// Cells that are read from the store at a time.
const AT_ONCE: usize = 8;
/// Vectors that are read for one result at most, when codes leave much open.
const RERANK_PER_RESULT: usize = 8;

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
        Effort::Normal => search.approximately(None, explain).await,
        Effort::Cells(cells) => search.approximately(Some(cells), explain).await,
    }
}

impl Search<'_> {
    fn score(&self, vector: &[f32]) -> f64 {
        f64::from(kernel::score(self.field.metric, &self.query, vector))
    }

    async fn exactly(&self, explain: &mut LegExplain) -> Result<Vec<Scored>> {
        let mut top = Top::new(self.depth);
        let range = self.snapshot.keys.vecs(self.name, 0, self.snapshot.state.counters.next_id);
        let mut rows = self.snapshot.view.scan(range, Access::Bulk, Order::Ascending).await?;
        let mut vector = Vec::with_capacity(self.query.len());
        while let Some(row) = rows.next().await? {
            let Key::Vec { id, .. } = Key::decode(&row.key)? else { continue };
            if self.allowed.contains(id) {
                vector.clear();
                push_scored(&row.key, &row.value, self.field, &mut vector)?;
                explain.scored += 1;
                top.push(Scored { score: self.score(&vector), id });
            }
        }
        Ok(top.into_sorted())
    }

    /// Scores the allowed documents that have a vector.
    async fn one_by_one(&self, explain: &mut LegExplain) -> Result<Vec<Scored>> {
        let mut top = Top::new(self.depth);
        let mut vector = Vec::with_capacity(self.query.len());
        for id in self.allowed.set.into_iter().flat_map(|set| set.iter()) {
            let key = self.snapshot.keys.vec(self.name, id);
            if let Some(value) = self.snapshot.view.get(&key).await? {
                vector.clear();
                push_scored(&key, &value, self.field, &mut vector)?;
                explain.scored += 1;
                top.push(Scored { score: self.score(&vector), id });
            }
        }
        Ok(top.into_sorted())
    }

    async fn approximately(&self, cells: Option<u32>, explain: &mut LegExplain) -> Result<Vec<Scored>> {
        let mut top = Top::new(self.depth);
        let dims = self.query.len();
        let drained_to = self.snapshot.state.table(self.name).drained_to;
        for block in self.snapshot.tail(self.name, self.field).await? {
            for (id, vector) in block.ids.iter().zip(block.vectors.chunks_exact(dims)) {
                if *id >= drained_to && self.allowed.contains(*id) {
                    explain.scored += 1;
                    top.push(Scored { score: self.score(vector), id: *id });
                }
            }
        }
        let candidates = self.probe(cells, &top, explain).await?;
        explain.scored += candidates.len() as u64;
        let rescored = try_join_all(candidates.into_iter().map(|id| async move {
            let (key, value) = self.snapshot.vector_bytes(self.name, id).await?;
            let mut vector = Vec::with_capacity(dims);
            push_scored(&key, &value, self.field, &mut vector)?;
            Ok::<_, Error>(Scored { score: self.score(&vector), id })
        }));
        rescored.await?.into_iter().for_each(|scored| top.push(scored));
        Ok(top.into_sorted())
    }

    /// Estimates the vectors in the nearest cells. Returns those that may be among the best.
    async fn probe(&self, cells: Option<u32>, tail: &Top, explain: &mut LegExplain) -> Result<Vec<u64>> {
        let routes = self.snapshot.routes(self.name, self.field).await?;
        let table = self.snapshot.state.table(self.name);
        explain.cells = routes.cells.len() as u64;
        if routes.cells.is_empty() {
            return Ok(Vec::new());
        }
        let mut rotated = self.query.clone();
        Rotation::new(self.field.dims).apply(&mut rotated);
        let query = CodeQuery::new(self.field.metric, rotated);
        let centroids = routes.cells.iter().zip(routes.centroids.chunks_exact(self.query.len()));
        let mut order: Vec<(f32, u32, &[f32])> = centroids
            .map(|(cell, centroid)| {
                let nearness = match self.field.metric {
                    Metric::InnerProduct => kernel::dot(&query.rotated, centroid),
                    Metric::L2 | Metric::Cosine => -kernel::l2(&query.rotated, centroid),
                };
                (nearness, *cell, centroid)
            })
            .collect();
        order.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let probes = cells.map_or_else(|| normal_probes(order.len()), |cells| cells as usize).max(1);
        let enough = probes as u64 * u64::from(self.snapshot.state.config.cell_rows) / 2;
        let mut candidates = Candidates::new(self.depth, tail.threshold());
        for (round, batch) in order.chunks(AT_ONCE).enumerate() {
            let seen_enough = self.allowed.set.is_none() || candidates.seen >= enough;
            let left = probes.saturating_sub(round * AT_ONCE);
            if left == 0 && seen_enough {
                break;
            }
            let batch = if seen_enough && self.allowed.set.is_none() {
                batch.get(..left.min(batch.len())).unwrap_or(batch)
            } else {
                batch
            };
            let contents = try_join_all(batch.iter().map(|(_, cell, _)| {
                let changed = table.cells.get(cell).map_or(0, |info| info.changed);
                self.snapshot.cell(self.name, *cell, changed)
            }));
            for ((_, _, centroid), cell) in batch.iter().zip(contents.await?) {
                candidates.estimate(&query, centroid, &cell, self.allowed);
                explain.probed += 1;
            }
        }
        explain.estimated += candidates.seen;
        Ok(candidates.finish())
    }
}

/// Cells that are looked into by default.
fn normal_probes(cells: usize) -> usize {
    8 + cells / 24 + (cells as f64).sqrt() as usize
}

/// Vectors by what their codes say of them.
struct Candidates {
    depth: usize,
    /// The best lower bounds so far.
    sure: Top,
    /// No vector below this can be among the best.
    floor: f64,
    /// Upper bound, estimate, id.
    found: Vec<(f64, f64, u64)>,
    seen: u64,
}

impl Candidates {
    fn new(depth: usize, floor: f64) -> Self {
        Self { depth, sure: Top::new(depth), floor, found: Vec::new(), seen: 0 }
    }

    fn estimate(&mut self, query: &CodeQuery, centroid: &[f32], cell: &Cell, allowed: Allowed<'_>) {
        let (constant, distance) = query.cell(centroid);
        for frame in &cell.frames {
            let factors = frame.base.iter().zip(&frame.slope).zip(&frame.spread);
            for ((id, ((base, slope), spread)), code) in
                frame.ids.iter().zip(factors).zip(frame.codes.chunks_exact(frame.code_size))
            {
                if !allowed.contains(*id) {
                    continue;
                }
                self.seen += 1;
                let estimate = f64::from(constant + base + slope * query.dot(frame.bits, code));
                let doubt = f64::from(DEVIATIONS * spread * distance);
                if estimate + doubt >= self.floor {
                    self.found.push((estimate + doubt, estimate, *id));
                    self.sure.push(Scored { score: estimate - doubt, id: *id });
                    self.floor = self.floor.max(self.sure.threshold());
                }
            }
        }
    }

    /// What the bounds do not rule out, best estimates first if that is too much.
    fn finish(mut self) -> Vec<u64> {
        self.found.retain(|(upper, _, _)| *upper >= self.floor);
        let limit = self.depth * RERANK_PER_RESULT + 32;
        if self.found.len() > limit {
            self.found.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.2.cmp(&b.2)));
            self.found.truncate(limit);
        }
        self.found.into_iter().map(|(_, _, id)| id).collect()
    }
}
