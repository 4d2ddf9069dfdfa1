//! Plans changes to the cells of one field.

use std::collections::BTreeMap;
use std::sync::Arc;

use opendata_core::{Error, Result};

use super::{Content, IndexJob, PIECE_BYTES, PIECE_ROWS};
use crate::cell::rotate::Rotation;
use crate::cell::table::Table;
use crate::cell::{Cell, Frame, cluster, encode_centroid, quantize};
use crate::config::CodeBits;
use crate::schema::VectorField;
use crate::state::tail::Block;
use crate::state::{Routes, Snapshot};

pub(super) struct Builder<'a> {
    snapshot: Snapshot<'a>,
    name: &'a str,
    table: Arc<Table>,
    work: Work,
}

/// A new cell: its number, centroid and content.
type Created = (u32, bytes::Bytes, Content);

/// What the computing part needs, apart from the store: it runs where blocking is allowed.
#[derive(Clone)]
struct Work {
    field: VectorField,
    bits: CodeBits,
    cell_rows: usize,
    next_cell: u32,
    routes: Arc<Routes>,
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

    fn job(&self) -> IndexJob {
        IndexJob {
            field: self.name.to_owned(),
            epoch: self.table.epoch,
            drained_to: self.table.drained_to,
            ..IndexJob::default()
        }
    }

    fn limit(&self) -> usize {
        let row = quantize::code_size(self.work.bits, self.work.field.dims as usize) + 20;
        (PIECE_BYTES / row).clamp(256, PIECE_ROWS)
    }

    /// Moves the oldest vectors of the tail into cells.
    pub(super) async fn drain(self) -> Result<IndexJob> {
        let mut job = self.job();
        let (from, to, limit) = (self.table.drained_to, self.snapshot.state.counters.next_id, self.limit());
        let block = self.snapshot.scan_block(self.name, self.work.field, (from, to), limit).await?;
        job.drained_to = match block.ids.last() {
            Some(last) if block.ids.len() == limit => last + 1,
            _ => to,
        };
        let work = self.work;
        blocking(move || {
            let block = work.rotated(block);
            if work.routes.cells.is_empty() {
                job.created = work.create_first(&block);
            } else {
                job.appended = work.assign(&block, |_| true);
            }
            job
        })
        .await
    }

    /// Splits the fullest cells, as many as make a piece.
    pub(super) async fn split(self, cells: Vec<u32>) -> Result<IndexJob> {
        let mut job = self.job();
        let mut blocks = Vec::new();
        let mut rows = 0;
        for cell in cells {
            let block = self.vectors_of(cell).await?;
            rows += block.ids.len();
            job.removed.push(cell);
            blocks.push(block);
            if rows >= self.limit() {
                break;
            }
        }
        let work = self.work;
        blocking(move || {
            let mut next = work.next_cell;
            for block in blocks {
                let created = Work { next_cell: next, ..work.clone() }.create(&work.rotated(block));
                next += created.len() as u32;
                job.created.extend(created);
            }
            job
        })
        .await
    }

    /// Gives the vectors of a cell to its neighbours.
    pub(super) async fn dissolve(self, cell: u32) -> Result<IndexJob> {
        let mut job = self.job();
        let block = self.vectors_of(cell).await?;
        job.removed.push(cell);
        let work = self.work;
        blocking(move || {
            job.appended = work.assign(&work.rotated(block), |other| other != cell);
            job
        })
        .await
    }

    /// Removes dead ids from cells, as many as make a piece.
    pub(super) async fn purge(self) -> Result<IndexJob> {
        let mut job = self.job();
        let mut bytes = 0;
        for (number, info) in &self.table.cells {
            let cell = self.snapshot.cell(self.name, *number, info.changed).await?;
            let dead = &self.snapshot.state.dead;
            if !cell.ids().any(|id| dead.contains(id)) {
                continue;
            }
            let kept = Cell { frames: cell.frames.iter().map(|frame| frame.retain(|id| !dead.contains(id))).collect() };
            let content = content(&kept);
            bytes += content.value.len();
            job.rewritten.push((*number, content));
            if bytes >= PIECE_BYTES {
                break;
            }
        }
        Ok(job)
    }

    /// The live vectors of a cell.
    async fn vectors_of(&self, number: u32) -> Result<Block> {
        let changed = self.table.cells.get(&number).map_or(0, |info| info.changed);
        let cell = self.snapshot.cell(self.name, number, changed).await?;
        let mut block = Block::default();
        for id in cell.ids().filter(|id| !self.snapshot.state.dead.contains(*id)) {
            block.ids.push(id);
            self.snapshot.vector(self.name, self.work.field, id, &mut block.vectors).await?;
        }
        Ok(block)
    }
}

fn content(cell: &Cell) -> Content {
    Content { value: cell.encode(), rows: cell.ids().count() as u64 }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::unavailable("index work was interrupted").with_source(error))
}

impl Work {
    fn dims(&self) -> usize {
        self.field.dims as usize
    }

    fn rotated(&self, mut block: Block) -> Block {
        let rotation = Rotation::new(self.field.dims);
        block.vectors.chunks_exact_mut(self.dims()).for_each(|vector| rotation.apply(vector));
        block
    }

    /// New cells for rotated vectors, balanced: none has more than twice the rows that cells are made for, and
    /// none so few that it would be dissolved.
    fn create(&self, block: &Block) -> Vec<Created> {
        let parts = cluster::partition(&block.vectors, self.dims(), self.cell_rows * 3 / 2);
        self.cells(block, parts)
    }

    /// The first cells of all. Halving cuts neighbours apart, so each vector moves to the middle that is nearest
    /// to it. What grows too large by that is halved again.
    fn create_first(&self, block: &Block) -> Vec<Created> {
        let dims = self.dims();
        let parts = cluster::partition(&block.vectors, dims, self.cell_rows * 3 / 2);
        let mut centroids: Vec<f32> = parts.iter().flat_map(|part| cluster::mean(&block.vectors, dims, part)).collect();
        cluster::refine(&block.vectors, dims, &mut centroids);
        let mut members = vec![Vec::new(); parts.len()];
        for (row, vector) in block.vectors.chunks_exact(dims).enumerate() {
            if let Some(members) = members.get_mut(cluster::nearest(&centroids, dims, vector)) {
                members.push(row);
            }
        }
        let halved = members
            .into_iter()
            .flat_map(|rows| cluster::partition_rows(&block.vectors, dims, rows, self.cell_rows * 2));
        self.cells(block, halved.collect())
    }

    fn cells(&self, block: &Block, parts: Vec<Vec<usize>>) -> Vec<Created> {
        let numbered = (self.next_cell..).zip(parts);
        numbered
            .map(|(number, rows)| {
                let centroid = cluster::mean(&block.vectors, self.dims(), &rows);
                let frame = self.frame(block, &rows, &centroid);
                (number, encode_centroid(&centroid), content(&Cell { frames: vec![frame] }))
            })
            .collect()
    }

    /// Frames for existing cells, each vector in the nearest that may be.
    fn assign(&self, block: &Block, may: impl Fn(u32) -> bool) -> Vec<(u32, Content)> {
        let dims = self.dims();
        let mut centroids = Vec::new();
        let mut cells = Vec::new();
        for (cell, centroid) in self.routes.cells.iter().zip(self.routes.centroids.chunks_exact(dims)) {
            if may(*cell) {
                cells.push(*cell);
                centroids.extend_from_slice(centroid);
            }
        }
        let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (row, vector) in block.vectors.chunks_exact(dims).enumerate() {
            members.entry(cluster::nearest(&centroids, dims, vector)).or_default().push(row);
        }
        let mut appended = Vec::new();
        for (at, rows) in members {
            if let Some(cell) = cells.get(at) {
                let frame = self.frame(block, &rows, cluster::row(&centroids, dims, at));
                appended.push((*cell, content(&Cell { frames: vec![frame] })));
            }
        }
        appended
    }

    fn frame(&self, block: &Block, rows: &[usize], centroid: &[f32]) -> Frame {
        let mut frame = Frame::default();
        let mut rows: Vec<usize> = rows.to_vec();
        rows.sort_unstable();
        for row in rows {
            if let Some(id) = block.ids.get(row) {
                let vector = cluster::row(&block.vectors, self.dims(), row);
                frame.push(*id, &quantize::encode(self.bits, self.field.metric, vector, centroid));
            }
        }
        frame
    }
}
