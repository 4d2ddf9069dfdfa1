//! Measures how far searches must look: see [`Calibration`].

use std::sync::Arc;

use futures::future::try_join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use opendata_core::Result;

use super::build::{Builder, blocking};
use crate::cell::calibration::{Calibration, DEEPEST, DEPTHS};
use crate::cell::quantize::{Around, CodeQuery, Scratch};
use crate::cell::{Cell, cluster};
use crate::search::{CellOrder, Scored, Top};
use crate::state::Routes;

/// Vectors that are looked at, over all sampled ones, where that makes enough of these.
const SEEN: u64 = 128_000_000;
/// Sampled vectors, if there are so many. Of fewer, chance would add so much that searches look far beyond what is wanted; more make
/// little less of it.
const SAMPLED: std::ops::RangeInclusive<u64> = 128..=1024;
/// Cells that are looked at in one go.
const AT_ONCE: usize = 64;

/// Sampled vectors that look in one go, beside others.
const SHARE: usize = 32;

/// Sampled vectors that look into the cells near to them at a time.
const ASKING: usize = 4;

/// Vectors of the nearest cells that are looked at first: what is found there tells most others apart by their sketches.
const NEAR: u64 = 4 * DEEPEST as u64;

/// A sampled vector that asks for its neighbours.
struct Sampled {
    id: u64,
    query: CodeQuery,
    /// For each cell, in the order of the table.
    cells: Vec<Visit>,
    /// Cells of so many vectors, the nearest, were looked at.
    near: u64,
    /// Neighbours, each with [`Visit::up_to`] in place of its id.
    best: Top,
}

/// What the vectors of a cell have in common for a query.
#[derive(Clone, Copy, Default)]
struct Visit {
    /// The constant of their scores, and the distance to their middle.
    constant: f32,
    distance: f32,
    /// How many vectors are in the cells that are visited up to it.
    up_to: u64,
}

impl Builder<'_> {
    pub(super) async fn calibrate(self) -> Result<(String, Calibration)> {
        let rows = self.table.rows();
        let mut sampled = self.sample(rows).await?;
        let table: Vec<(u32, u64)> = self.table.cells.iter().map(|(cell, info)| (*cell, info.changed)).collect();
        let mut first = 0;
        for some in table.chunks(AT_ONCE) {
            let cells = self.snapshot.cells(self.name, some).await?;
            let cells = Arc::new(cells);
            let mut shares = Vec::new();
            while !sampled.is_empty() {
                let (dead, cells) = (self.snapshot.state.dead.clone(), Arc::clone(&cells));
                let routes = Arc::clone(&self.work.routes);
                let mut share = sampled.split_off(sampled.len().saturating_sub(SHARE));
                shares.push(blocking(move || {
                    let (probe, mut scratch) = (dead.probe(), Scratch::default());
                    for sampled in &mut share {
                        for (place, cell) in (first..).zip(cells.iter()) {
                            if sampled.cells.get(place).is_some_and(|visit| visit.up_to > sampled.near) {
                                sampled.look(place, cell, &routes, |id| !probe.contains(id), &mut scratch);
                            }
                        }
                    }
                    share
                }));
            }
            sampled = try_join_all(shares).await?.into_iter().flatten().collect();
            first += some.len();
        }
        let mut needed: [Vec<Vec<u64>>; 4] = Default::default();
        for sampled in sampled {
            let best = sampled.best.into_sorted();
            for (needed, depth) in needed.iter_mut().zip(DEPTHS) {
                needed.push(best.iter().take(depth).map(|neighbour| neighbour.id).collect());
            }
        }
        Ok((self.name.to_owned(), Calibration::measured(rows, &needed)))
    }

    /// Live vectors, each as many rows behind the one before.
    async fn sample(&self, rows: u64) -> Result<Vec<Sampled>> {
        let count = (SEEN / rows.max(1)).clamp(*SAMPLED.start(), *SAMPLED.end()) as usize;
        let step = (rows as usize / count).max(1);
        let (mut ids, mut passed, mut next) = (Vec::new(), 0, step / 2);
        for (cell, info) in &self.table.cells {
            let first = passed;
            passed += info.rows as usize;
            if next >= passed {
                continue;
            }
            let cell = self.snapshot.cell(self.name, *cell, info.changed).await?;
            let behind = cell.ids().skip(next.saturating_sub(first)).find(|id| !self.snapshot.state.dead.contains(*id));
            // One of a cell at most: in a cell that is larger than a step, the next is in the cell behind.
            next = (next + step).max(passed);
            ids.extend(behind);
        }
        let asking = stream::iter(ids).map(|id| self.asking(id)).buffered(ASKING);
        asking.try_filter_map(|sampled| async { Ok(sampled) }).try_collect().await
    }

    /// One that has looked into the nearest cells.
    async fn asking(&self, id: u64) -> Result<Option<Sampled>> {
        let vectors = self.snapshot.scored_vectors(self.name, self.work.field, &[id]).await?;
        let Some(mut vector) = vectors.first().map(|vector| vector.to_vec()) else { return Ok(None) };
        let routes = &self.work.routes;
        routes.rotation.apply(&mut vector);
        let query = CodeQuery::new(self.work.field.metric, vector);
        let mut order = CellOrder::new(&query, routes, self.table.cells.len());
        let mut cells = vec![Visit::default(); self.table.cells.len()];
        let (mut up_to, mut near) = (0, Vec::new());
        while let Some(next) = order.next(&query) {
            let (Some(info), Ok(place)) = (self.table.cells.get(&next.cell), routes.cells.binary_search(&next.cell))
            else {
                continue;
            };
            if up_to < NEAR {
                near.push((place, (next.cell, info.changed)));
            }
            up_to += info.rows;
            let (constant, distance) = query.cell(next.dot, next.squared);
            if let Some(visit) = cells.get_mut(place) {
                *visit = Visit { constant, distance, up_to };
            }
        }
        let last = near.last().and_then(|(place, _)| cells.get(*place)).map_or(0, |visit| visit.up_to);
        let mut sampled = Sampled { id, query, cells, near: last, best: Top::new(DEEPEST) };
        let (places, wanted): (Vec<usize>, Vec<(u32, u64)>) = near.into_iter().unzip();
        let near = self.snapshot.cells(self.name, &wanted).await?;
        let (dead, routes) = (self.snapshot.state.dead.clone(), Arc::clone(routes));
        blocking(move || {
            let (probe, mut scratch) = (dead.probe(), Scratch::default());
            for (place, cell) in places.into_iter().zip(near) {
                sampled.look(place, &cell, &routes, |id| !probe.contains(id), &mut scratch);
            }
            Some(sampled)
        })
        .await
    }
}

impl Sampled {
    fn look(
        &mut self,
        place: usize,
        cell: &Cell,
        routes: &Routes,
        is_live: impl Fn(u64) -> bool,
        scratch: &mut Scratch,
    ) {
        let (dims, mut one) = (self.query.rotated.len(), Vec::new());
        let Some(Visit { constant, distance, up_to }) = self.cells.get(place).copied() else { return };
        let around = Around { constant, distance, centroid: cluster::row(&routes.centroids, dims, place) };
        for frame in &cell.frames {
            // As searches look, so that the sketches they want are made by the way. While there is no floor, everything passes.
            let floor = self.best.threshold() as f32;
            let is_narrowed = floor > f32::NEG_INFINITY && self.query.reaching_by_sketch(frame, around, floor, scratch);
            if !is_narrowed {
                self.query.reaching(frame, around, floor, scratch);
            }
            for reaching in &scratch.reaching {
                let row = reaching.row as usize;
                let is_asked = frame.ids.get(row).is_some_and(|id| *id != self.id && is_live(*id));
                if !is_asked || f64::from(reaching.upper) <= self.best.threshold() {
                    continue;
                }
                let estimate = match is_narrowed {
                    true => constant + self.query.estimate_one(frame, row, &mut one),
                    false => reaching.estimate,
                };
                self.best.push(Scored { score: f64::from(estimate), id: up_to });
            }
        }
    }
}
