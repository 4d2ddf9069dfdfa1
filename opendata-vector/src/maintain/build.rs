//! Plans changes to the cells of one field.

use std::sync::Arc;

use futures::future::try_join_all;
use opendata_core::{Error, Result};

use super::work::{Content, Work};
use super::{IndexJob, PIECE_BYTES, PIECE_ROWS};
use crate::cell::table::Table;
use crate::cell::{Cell, quantize};
use crate::state::Snapshot;
use crate::state::tail::Block;

pub(super) struct Builder<'a> {
    pub(super) snapshot: Snapshot<'a>,
    pub(super) name: &'a str,
    pub(super) table: Arc<Table>,
    pub(super) work: Work,
}

impl<'a> Builder<'a> {
    pub(super) async fn new(snapshot: Snapshot<'a>, name: &'a str) -> Result<Self> {
        let config = &snapshot.state.config;
        let field = config.schema.vector_field(name)?;
        let table = snapshot.state.table(name);
        let routes = snapshot.routes(name, field).await?;
        let (bits, cell_rows) = (config.code_bits, config.cell_rows as usize);
        let work = Work { field, bits, cell_rows, next_cell: table.next_cell, routes };
        Ok(Self { snapshot, name, table, work })
    }

    pub(super) fn job(&self) -> IndexJob {
        IndexJob {
            field: self.name.to_owned(),
            epoch: self.table.epoch,
            drained_to: self.table.drained_to,
            ..IndexJob::default()
        }
    }

    pub(super) fn limit(&self) -> usize {
        let row = quantize::code_size(self.work.bits, self.work.field.dims as usize) + 20;
        (PIECE_BYTES / row).clamp(256, PIECE_ROWS)
    }

    /// Moves the oldest vectors of the tail into cells.
    pub(super) async fn drain(self) -> Result<IndexJob> {
        let mut job = self.job();
        let (from, to, limit) = (self.table.drained_to, self.snapshot.state.counters.next_id, self.limit());
        let block = match self.in_memory(from, limit) {
            Some(block) => block,
            None => self.snapshot.scan_block(self.name, self.work.field, (from, to), limit).await?,
        };
        job.drained_to = match block.ids.last() {
            Some(last) if block.ids.len() == limit => last + 1,
            _ => to,
        };
        // What is drained now is soon asked for again: by splits, and to rank results.
        let number = self.snapshot.state.field_number(self.name);
        for (id, vector) in block.ids.iter().zip(block.vectors.chunks_exact(self.work.dims())) {
            self.snapshot.hold_vector(number, *id, vector.into());
        }
        let waiting = usize::try_from(to - from).unwrap_or(usize::MAX);
        let work = self.work;
        if !work.routes.cells.is_empty() {
            job.appended = assign(work, block).await?;
            return Ok(job);
        }
        blocking(move || {
            job.created = work.create_first(&work.rotated(block), waiting);
            job
        })
        .await
    }

    /// The oldest live vectors of the tail, if all of it is in memory.
    fn in_memory(&self, from: u64, limit: usize) -> Option<Block> {
        let tail = self.snapshot.state.tails.get(self.name).filter(|tail| tail.from() <= from)?;
        let dims = self.work.dims();
        let mut block = Block::default();
        for some in tail.blocks() {
            for (id, vector) in some.ids.iter().zip(some.vectors.chunks_exact(dims)) {
                if block.ids.len() == limit {
                    return Some(block);
                }
                if *id >= from && !self.snapshot.state.dead.contains(*id) {
                    block.ids.push(*id);
                    block.vectors.extend_from_slice(vector);
                }
            }
        }
        Some(block)
    }

    /// Splits the fullest cells, as many as make a piece.
    pub(super) async fn split(self, cells: Vec<u32>) -> Result<IndexJob> {
        let mut job = self.job();
        let mut blocks = Vec::new();
        let mut rows = 0;
        for cell in cells {
            let block = self.vectors_of(&[cell]).await?;
            rows += block.ids.len();
            job.removed.push(cell);
            blocks.push(block);
            if rows >= self.limit() / 2 {
                break;
            }
        }
        let work = self.work;
        blocking(move || {
            (job.created, job.appended) = work.split(blocks, &job.removed);
            job
        })
        .await
    }

    /// Gives the vectors of cells to their neighbours, of as many cells as make a piece.
    pub(super) async fn dissolve(self, cells: Vec<u32>) -> Result<IndexJob> {
        let mut job = self.job();
        let rows = |cell: &u32| self.table.cells.get(cell).map_or(0, |info| info.rows as usize);
        let mut left = self.limit() / 2;
        for cell in cells {
            if !job.removed.is_empty() && rows(&cell) > left {
                break;
            }
            left = left.saturating_sub(rows(&cell));
            job.removed.push(cell);
        }
        let block = self.vectors_of(&job.removed).await?;
        let (work, removed) = (self.work, job.removed.clone());
        let others = blocking(move || work.without(&removed)).await?;
        job.appended = assign(others, block).await?;
        Ok(job)
    }

    /// Removes dead ids from cells, from one on, as many as make a piece. Returns the cell it goes on at, if it is not done.
    pub(super) async fn purge(self, from: u32) -> Result<(IndexJob, Option<u32>)> {
        let mut job = self.job();
        let mut bytes = 0;
        for (number, info) in self.table.cells.range(from..) {
            if bytes >= PIECE_BYTES {
                return Ok((job, Some(*number)));
            }
            let cell = self.snapshot.cell(self.name, *number, info.changed).await?;
            let dead = &self.snapshot.state.dead;
            if !cell.ids().any(|id| dead.contains(id)) {
                continue;
            }
            let mut kept = Cell::default();
            cell.frames.iter().for_each(|frame| kept.push(frame.retain(|id| !dead.contains(id))));
            let content = Content::new(kept);
            bytes += content.value.len();
            job.rewritten.push((*number, content));
        }
        Ok((job, None))
    }

    /// The live vectors of some cells.
    async fn vectors_of(&self, cells: &[u32]) -> Result<Block> {
        let changed = |cell: &u32| self.table.cells.get(cell).map_or(0, |info| info.changed);
        let wanted: Vec<(u32, u64)> = cells.iter().map(|cell| (*cell, changed(cell))).collect();
        let cells = self.snapshot.cells(self.name, &wanted).await?;
        let ids = cells.iter().flat_map(|cell| cell.ids());
        let ids: Vec<u64> = ids.filter(|id| !self.snapshot.state.dead.contains(*id)).collect();
        let vectors = self.snapshot.scored_vectors(self.name, self.work.field, &ids).await?;
        let mut block = Block { ids, vectors: Vec::with_capacity(vectors.len() * self.work.dims()) };
        vectors.iter().for_each(|vector| block.vectors.extend_from_slice(vector));
        Ok(block)
    }
}

/// Vectors that are worked on in one go, beside others.
pub(super) const PART: usize = 8192;

/// Frames for existing cells, see [`Work::assign`]. Made in parts, beside each other; the parts do not depend on how many run
/// at a time.
pub(super) async fn assign(work: Work, block: Block) -> Result<Vec<(u32, Content)>> {
    let dims = work.dims();
    let parts = block.ids.chunks(PART).zip(block.vectors.chunks(PART * dims)).map(|(ids, vectors)| {
        let (work, block) = (work.clone(), Block { ids: ids.to_vec(), vectors: vectors.to_vec() });
        blocking(move || work.assign(&work.rotated(block)))
    });
    Ok(try_join_all(parts).await?.concat())
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::unavailable("index work was interrupted").with_source(error))
}
