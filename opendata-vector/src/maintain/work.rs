//! The computing part of changes to cells: no store, no waiting. It runs where blocking is allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::cell::{Cell, Frame, cluster, encode_centroid, quantize};
use crate::config::CodeBits;
use crate::schema::VectorField;
use crate::state::Routes;
use crate::state::tail::Block;

/// A cell, or what is appended to one: as it is stored, and as it is read.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) value: Bytes,
    pub(crate) cell: Arc<Cell>,
}

impl Content {
    pub(super) fn new(cell: Cell) -> Self {
        Self { value: cell.encode(), cell: Arc::new(cell) }
    }
}

/// A new cell: its number, centroid and content.
pub(crate) type Created = (u32, Bytes, Content);

#[derive(Clone)]
pub(super) struct Work {
    pub(super) field: VectorField,
    pub(super) bits: CodeBits,
    pub(super) cell_rows: usize,
    pub(super) next_cell: u32,
    pub(super) routes: Arc<Routes>,
}

impl Work {
    pub(super) fn dims(&self) -> usize {
        self.field.dims as usize
    }

    pub(super) fn rotated(&self, mut block: Block) -> Block {
        block.vectors.chunks_exact_mut(self.dims()).for_each(|vector| self.routes.rotation.apply(vector));
        block
    }

    /// The first cells of all, as many as `waiting` vectors will need, of which the block has the first. Halving cuts
    /// neighbours apart, so each vector moves to the middle that is nearest to it. What grows too large by that is halved again.
    pub(super) fn create_first(&self, block: &Block, waiting: usize) -> Vec<Created> {
        let dims = self.dims();
        let rows = block.ids.len().max(1);
        let limit = (self.cell_rows * 5 / 4 * rows / waiting.max(rows)).max(8);
        let parts = cluster::partition(&block.vectors, dims, limit);
        let mut centroids = cluster::middles(&block.vectors, dims, &parts);
        cluster::refine(&block.vectors, dims, &mut centroids);
        let numbers = (0..parts.len() as u32).collect();
        let routes = Routes::new(self.field.dims, numbers, centroids);
        let mut members = vec![Vec::new(); parts.len()];
        for (row, at) in routes.nearest_of(&block.vectors).into_iter().enumerate() {
            if let Some(members) = members.get_mut(at) {
                members.push(row);
            }
        }
        let halved = members
            .into_iter()
            .flat_map(|rows| cluster::partition_rows(&block.vectors, dims, rows, self.cell_rows * 2));
        self.cells(block, halved.collect(), self.next_cell)
    }

    /// The same without some cells, which are about to go.
    pub(super) fn without(&self, removed: &[u32]) -> Self {
        let removed: BTreeSet<u32> = removed.iter().copied().collect();
        let (mut cells, mut centroids) = (Vec::new(), Vec::new());
        for (cell, centroid) in self.routes.cells.iter().zip(self.routes.centroids.chunks_exact(self.dims())) {
            if !removed.contains(cell) {
                cells.push(*cell);
                centroids.extend_from_slice(centroid);
            }
        }
        Self { routes: Arc::new(Routes::new(self.field.dims, cells, centroids)), ..self.clone() }
    }

    /// Halves cells. A vector that lies nearer to the middle of another cell than to that of its half moves there: into the
    /// other cell if it stays, as far as the half keeps enough to be a cell.
    pub(super) fn split(&self, blocks: Vec<Block>, removed: &[u32]) -> (Vec<Created>, Vec<(u32, Content)>) {
        let dims = self.dims();
        let mut created = Vec::new();
        let mut moved: BTreeMap<u32, Block> = BTreeMap::new();
        let others = self.without(removed).routes;
        for block in blocks {
            let block = self.rotated(block);
            let mut parts = cluster::partition(&block.vectors, dims, self.cell_rows * 3 / 2);
            let nearest = others.nearest_of(&block.vectors);
            for part in &mut parts {
                let middle = cluster::mean(&block.vectors, dims, part);
                let mut may_leave = part.len().saturating_sub(self.cell_rows / 2);
                part.retain(|row| {
                    let vector = cluster::row(&block.vectors, dims, *row);
                    let Some(other) = nearest.get(*row).copied() else { return true };
                    let centroid = cluster::row(&others.centroids, dims, other);
                    let is_nearer = crate::kernel::l2(centroid, vector) < crate::kernel::l2(&middle, vector);
                    let (Some(cell), Some(id)) = (others.cells.get(other), block.ids.get(*row)) else { return true };
                    if may_leave == 0 || !is_nearer {
                        return true;
                    }
                    may_leave -= 1;
                    let to = moved.entry(*cell).or_default();
                    to.ids.push(*id);
                    to.vectors.extend_from_slice(vector);
                    false
                });
            }
            created.extend(self.cells(&block, parts, self.next_cell + created.len() as u32));
        }
        let appended = moved.into_iter().filter_map(|(cell, block)| {
            let at = others.cells.binary_search(&cell).ok()?;
            let rows: Vec<usize> = (0..block.ids.len()).collect();
            let frame = self.frame(&block, &rows, cluster::row(&others.centroids, dims, at));
            Some((cell, Content::new(Cell::of(frame))))
        });
        (created, appended.collect())
    }

    fn cells(&self, block: &Block, parts: Vec<Vec<usize>>, first: u32) -> Vec<Created> {
        let numbered = (first..).zip(parts.into_iter().filter(|rows| !rows.is_empty()));
        numbered
            .map(|(number, rows)| {
                let centroid = cluster::mean(&block.vectors, self.dims(), &rows);
                let frame = self.frame(block, &rows, &centroid);
                (number, encode_centroid(&centroid), Content::new(Cell::of(frame)))
            })
            .collect()
    }

    /// Frames for existing cells, each vector in the nearest.
    pub(super) fn assign(&self, block: &Block) -> Vec<(u32, Content)> {
        let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (row, at) in self.routes.nearest_of(&block.vectors).into_iter().enumerate() {
            members.entry(at).or_default().push(row);
        }
        let appended = members.into_iter().filter_map(|(at, rows)| {
            let cell = self.routes.cells.get(at)?;
            let frame = self.frame(block, &rows, cluster::row(&self.routes.centroids, self.dims(), at));
            Some((*cell, Content::new(Cell::of(frame))))
        });
        appended.collect()
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
