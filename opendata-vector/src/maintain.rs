//! Background work: draining the tail into cells, making cells anew, splitting and dissolving them, removing dead ids, and
//! measuring how far searches must look.
//!
//! Each piece is planned on a view and committed as one ordinary operation of at most about 8 MiB. The table of a
//! field has an epoch, which every piece moves on by one: a piece that was planned on another epoch is a `Conflict`
//! and changes nothing, but for one that only begins to make cells beside the others. Documents that were written or deleted
//! in between do no harm: dead ids are masked wherever they are, and new ones are in the tail.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use opendata_core::key::SegmentId;
use opendata_core::slate::InstanceView;
use opendata_core::{Error, Result};

use crate::cell::calibration::Calibration;
use crate::cell::table::Table;
use crate::idset::chunk::Chunk;
use crate::key::Keys;
use crate::op::Op;
use crate::record::Sweep;
use crate::state::{Snapshot, State};
use crate::system::Vector;

mod build;
mod calibrate;
mod rebuild;
mod sweep;
mod work;

pub(crate) use sweep::Cycle;
pub(crate) use work::{Content, Created};

/// Bytes that one piece writes, about.
const PIECE_BYTES: usize = 8 << 20;
/// Vectors that one piece moves at most.
const PIECE_ROWS: usize = 32_768;

/// With fewer cells there is nothing to choose.
const CALIBRATED_CELLS: usize = 16;
/// All cells are made anew when at least so many cells of vectors have come.
const REBUILT_CELLS: u64 = 8;
/// While vectors wait for the index, so many times as many have to have come.
const BUSY_GROWTH: u64 = 3;
/// A cell of so many times its target is split. Until all are made anew, cells may grow.
const SPLIT_AT: u64 = 6;
/// One cell in so many is dissolved at a time at most.
const DISSOLVED_SHARE: usize = 16;

/// A piece of background work.
#[derive(Debug)]
pub(crate) enum Upkeep {
    /// Changes the cells of a field.
    Index(IndexJob),
    /// Stores how far searches of a field must look.
    Calibrate { field: String, calibration: Calibration },
    /// Removes dead ids from attributes and terms, as far as a key.
    Sweep { expected: Sweep, next: Sweep, rows: Vec<(Bytes, Option<Bytes>)>, begins: Option<Cycle> },
    /// Forgets dead ids of some chunks that no index has any more. For each chunk all that are forgotten of it.
    Forget { expected: Sweep, chunks: Vec<(u64, Chunk)> },
}

/// Changes to the cells of a field.
#[derive(Debug, Default)]
pub(crate) struct IndexJob {
    pub(crate) field: String,
    /// The epoch it was planned on.
    pub(crate) epoch: u64,
    /// Ids below this are in cells afterwards.
    pub(crate) drained_to: u64,
    pub(crate) removed: Vec<u32>,
    /// Cells of fresh numbers, with their centroids.
    pub(crate) created: Vec<Created>,
    pub(crate) rewritten: Vec<(u32, Content)>,
    pub(crate) appended: Vec<(u32, Content)>,
    /// Of a purge: how far cells are rid of what shall be forgotten.
    pub(crate) purged: Option<(usize, u32)>,
    pub(crate) rebuild: Step,
}

/// A step of making all cells anew.
#[derive(Debug, Default)]
pub(crate) enum Step {
    #[default]
    None,
    /// Makes the new cells, empty.
    Begin { centroids: Vec<(u32, Bytes)> },
    /// Puts the vectors of ids below `fed_to` into them, as far as they are not there yet.
    Feed { fed_to: u64, appended: Vec<(u32, Content)> },
    /// Puts the new cells in the place of the old.
    Finish,
}

impl IndexJob {
    /// Whether what it was planned on is still so.
    fn is_current(&self, table: Option<&Arc<Table>>) -> bool {
        let (epoch, next_cell) = table.map_or((0, 0), |table| (table.epoch, table.next_cell));
        match &self.rebuild {
            // To find the middles of many cells takes seconds, and meanwhile commits may drain full tails. It changes no cell that is
            // there, and what was drained will be fed to the new ones as all the others.
            Step::Begin { centroids } => {
                let are_fresh = centroids.first().is_some_and(|(cell, _)| *cell >= next_cell);
                are_fresh && table.is_none_or(|table| table.rebuild.is_none())
            }
            _ => epoch == self.epoch,
        }
    }
}

impl Step {
    fn size_bytes(&self) -> usize {
        match self {
            Self::None | Self::Finish => 0,
            Self::Begin { centroids } => centroids.iter().map(|(_, centroid)| centroid.len() + 64).sum(),
            Self::Feed { appended, .. } => appended.iter().map(|(_, content)| content.value.len() + 64).sum(),
        }
    }
}

impl Upkeep {
    pub(crate) fn size_bytes(&self) -> usize {
        64 + match self {
            Self::Index(job) => {
                let created: usize = job.created.iter().map(|(_, c, content)| c.len() + content.value.len() + 64).sum();
                let others = job.rewritten.iter().chain(&job.appended);
                let others = others.map(|(_, content)| content.value.len() + 64).sum::<usize>();
                created + others + job.removed.len() * 64 + job.rebuild.size_bytes()
            }
            Self::Calibrate { .. } => 256,
            Self::Forget { chunks, .. } => chunks.iter().map(|(_, ids)| ids.size_bytes() + 64).sum(),
            Self::Sweep { rows, .. } => {
                rows.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len) + 32).sum()
            }
        }
    }

    /// Checks that what it was planned on is still so.
    pub(crate) fn check(&self, tables: &BTreeMap<String, Arc<Table>>, sweep: &Sweep) -> Result<()> {
        let is_current = match self {
            Self::Index(job) => job.is_current(tables.get(&job.field)),
            // It was measured on records that may have changed since: it is a measure, not a promise.
            Self::Calibrate { .. } => true,
            Self::Sweep { expected, .. } | Self::Forget { expected, .. } => expected == sweep,
        };
        if is_current { Ok(()) } else { Err(Error::conflict("the index has changed since this was planned")) }
    }
}

/// Looks for the next piece of work.
pub(crate) async fn plan(view: InstanceView<Vector>) -> Result<Option<Op>> {
    // Without the writer's state there is nobody to do the work.
    let Some(state) = view.state().cloned() else { return Ok(None) };
    let keys = Keys(view.prefix(SegmentId::CONTROL));
    let snapshot = Snapshot { view: view.view(), keys, state: &state };
    for name in state.config.schema.vectors.keys() {
        if let Some(upkeep) = plan_field(snapshot, name).await? {
            return Ok(Some(Op::upkeep(upkeep)));
        }
    }
    Ok(sweep::plan(snapshot).await?.map(Op::upkeep))
}

/// A piece of draining for each field whose tail has reached its limit: what the writer does itself before it lets the tail grow.
/// `is_current` says whether nobody has changed a field's table since the snapshot.
pub(crate) async fn drain_full(snapshot: Snapshot<'_>, is_current: impl Fn(&str) -> bool) -> Result<Vec<IndexJob>> {
    let config = &snapshot.state.config;
    let limit = u64::from(config.tail_limit_rows.max(config.tail_rows));
    let mut jobs = Vec::new();
    for name in config.schema.vectors.keys() {
        if snapshot.state.tail_rows(name) >= limit && is_current(name) {
            jobs.push(build::Builder::new(snapshot, name).await?.drain().await?);
        }
    }
    Ok(jobs)
}

/// What a field's index needs most, if anything.
enum Need {
    Drain,
    Split(Vec<u32>),
    Dissolve(Vec<u32>),
    Purge,
    Calibrate,
    BeginRebuild,
    Feed,
    FinishRebuild,
}

fn need(state: &State, name: &str) -> Option<Need> {
    let table = state.table(name);
    let target = u64::from(state.config.cell_rows);
    let is_waiting = state.tail_rows(name) >= state.waiting_rows(name);
    if let Some(rebuild) = &table.rebuild {
        // New vectors and old ones have their turns, so that neither waits for ever. Cells that will go are left as they are.
        return Some(match rebuild.fed_to >= table.drained_to {
            true => Need::FinishRebuild,
            false if is_waiting && table.epoch.is_multiple_of(2) => Need::Drain,
            false => Need::Feed,
        });
    }
    // Cells that grew by splitting lie less well than cells that were made as a whole. As many vectors as there were then have
    // come since: on average each vector is moved once more for that. While more are coming it can wait a little.
    let since = table.drained_to.saturating_sub(table.clustered.drained_to);
    let growth = if is_waiting { BUSY_GROWTH } else { 1 };
    if table.cells.len() > 1 && since >= table.clustered.rows.max(REBUILT_CELLS * target) * growth {
        return Some(Need::BeginRebuild);
    }
    let overfull = || {
        let mut cells: Vec<(u64, u32)> = table
            .cells
            .iter()
            .filter(|(_, info)| info.rows > SPLIT_AT * target)
            .map(|(cell, info)| (info.rows, *cell))
            .collect();
        cells.sort_unstable_by(|a, b| b.cmp(a));
        cells.into_iter().map(|(_, cell)| cell).collect::<Vec<u32>>()
    };
    let split = overfull();
    if !split.is_empty() {
        return Some(Need::Split(split));
    }
    if is_waiting {
        return Some(Need::Drain);
    }
    // Not many at a time: those that stay grow by it, so that less small ones need not go.
    let mut small: Vec<(u64, u32)> =
        table.cells.iter().filter(|(_, info)| info.rows < target / 5).map(|(cell, info)| (info.rows, *cell)).collect();
    small.sort_unstable();
    small.truncate((table.cells.len() / DISSOLVED_SHARE).max(1));
    if table.cells.len() > 1 && !small.is_empty() {
        return Some(Need::Dissolve(small.into_iter().map(|(_, cell)| cell).collect()));
    }
    // At least this many vectors in cells are dead, whatever the tail holds.
    let live = state.counters.vectors.get(name).copied().unwrap_or(0);
    let dead = table.rows().saturating_sub(live);
    if dead > 0 && dead * 10 > table.rows() {
        return Some(Need::Purge);
    }
    let measured = state.calibrations.get(name).map_or(0, |calibration| calibration.rows);
    let has_changed = table.rows() > measured + measured / 2 || table.rows() < measured / 2;
    (table.cells.len() >= CALIBRATED_CELLS && has_changed).then_some(Need::Calibrate)
}

async fn plan_field(snapshot: Snapshot<'_>, name: &str) -> Result<Option<Upkeep>> {
    let Some(need) = need(snapshot.state, name) else { return Ok(None) };
    let builder = build::Builder::new(snapshot, name).await?;
    let job = match need {
        Need::Drain => builder.drain().await?,
        Need::Split(cells) => builder.split(cells).await?,
        Need::Dissolve(cells) => builder.dissolve(cells).await?,
        Need::Purge => {
            let job = builder.purge(0).await?.0;
            // That the table counts more than is there is for `verify` to say; here it would be the same piece again for ever.
            if job.rewritten.is_empty() {
                return Ok(None);
            }
            job
        }
        Need::BeginRebuild => builder.begin_rebuild().await?,
        Need::Feed => builder.feed().await?,
        Need::FinishRebuild => builder.finish_rebuild(),
        Need::Calibrate => {
            let (field, calibration) = builder.calibrate().await?;
            return Ok(Some(Upkeep::Calibrate { field, calibration }));
        }
    };
    Ok(Some(Upkeep::Index(job)))
}

#[cfg(test)]
mod tests;
