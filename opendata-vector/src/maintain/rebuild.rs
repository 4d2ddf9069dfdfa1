//! Makes all cells of a field anew, beside the old ones.
//!
//! The middles are found on a sample of all live vectors. Then the vectors go into the new cells, in the order of their ids, so that
//! they are read in one long run; meanwhile searches use the old cells. The last step puts the new in the place of the
//! old. Each step is a piece of its own, and the table says how far it is: a crash between two of them costs nothing.

use std::sync::Arc;

use futures::future::try_join_all;
use opendata_core::Result;
use opendata_core::slate::Access;

use super::build::{Builder, PART, assign, blocking};
use super::work::Work;
use super::{IndexJob, Step};
use crate::cell::{cluster, encode_centroid};
use crate::state::tail::Block;
use crate::state::{Routes, push_scored};

/// Sampled vectors for each new cell.
const SAMPLE_PER_CELL: usize = 48;
/// Bytes of the sample, and of the middles, at most: with more cells than fit the rest comes by splitting.
const SAMPLE_BYTES: usize = 96 << 20;
const MIDDLES_BYTES: usize = 24 << 20;
/// Sampled vectors for each new cell at least.
const SAMPLE_LEAST: usize = 12;

impl Builder<'_> {
    pub(super) async fn begin_rebuild(self) -> Result<IndexJob> {
        let mut job = self.job();
        let vector_bytes = self.work.dims() * 4;
        let live = self.snapshot.state.counters.vectors.get(self.name).copied().unwrap_or(0) as usize;
        let most = (MIDDLES_BYTES / vector_bytes).min(SAMPLE_BYTES / vector_bytes / SAMPLE_LEAST).max(1);
        let cells = live.div_ceil(self.work.cell_rows).clamp(1, most);
        let sampled = (cells * SAMPLE_PER_CELL).min(SAMPLE_BYTES / vector_bytes).min(live).max(1);
        let block = self.sample_rows(live.div_ceil(sampled)).await?;
        let work = self.work;
        let middles = middles(&work, block, cells).await?;
        let numbered = (work.next_cell..).zip(middles.chunks_exact(work.dims()));
        let centroids = numbered.map(|(cell, middle)| (cell, encode_centroid(middle))).collect();
        job.rebuild = Step::Begin { centroids };
        Ok(job)
    }

    /// Every so many live vectors of the field.
    async fn sample_rows(&self, step: usize) -> Result<Block> {
        let snapshot = self.snapshot;
        let all = (0, snapshot.state.counters.next_id);
        if let Some(block) = snapshot.held_block(self.name, self.work.field, all, usize::MAX, step) {
            return Ok(block);
        }
        let mut vectors = snapshot.vectors(self.name, self.work.field, all, Access::Bulk).await?;
        let mut block = Block::default();
        let mut seen = 0usize;
        while let Some((id, key, value)) = vectors.next().await? {
            seen += 1;
            if seen.is_multiple_of(step) {
                block.ids.push(id);
                push_scored(key, &value, self.work.field, &mut block.vectors)?;
            }
        }
        Ok(block)
    }

    /// Puts more vectors into the new cells.
    pub(super) async fn feed(self) -> Result<IndexJob> {
        let mut job = self.job();
        let from = self.table.rebuild.as_ref().map_or(0, |rebuild| rebuild.fed_to);
        let (to, limit) = (self.table.drained_to, self.limit());
        let block = match self.snapshot.held_block(self.name, self.work.field, (from, to), limit, 1) {
            Some(block) => block,
            None => self.snapshot.scan_block(self.name, self.work.field, (from, to), limit).await?,
        };
        let fed_to = match block.ids.last() {
            Some(last) if block.ids.len() == limit => last + 1,
            _ => to,
        };
        let mut work = self.work;
        work.routes = self.snapshot.new_routes(self.name, work.field).await?;
        job.rebuild = Step::Feed { fed_to, appended: assign(work, block).await? };
        Ok(job)
    }

    /// Lets the new cells be found.
    pub(super) fn finish_rebuild(self) -> IndexJob {
        IndexJob { rebuild: Step::Finish, ..self.job() }
    }
}

/// About `count` middles of some vectors: those of the parts that halving makes, moved to where their nearest vectors are.
async fn middles(work: &Work, block: Block, count: usize) -> Result<Vec<f32>> {
    /// How often they are moved.
    const MOVES: usize = 4;
    let (dims, at_once) = (work.dims(), work.clone());
    let vectors = blocking(move || Arc::new(at_once.rotated(block).vectors)).await?;
    let rows = vectors.len() / dims;
    let limit = cluster::part_limit(rows, count);
    let whole = Arc::clone(&vectors);
    let halves = if rows > limit {
        let (one, other) = blocking(move || cluster::halve(&whole, dims, (0..rows).collect())).await?;
        vec![one, other]
    } else {
        vec![(0..rows).collect()]
    };
    let parts = halves.into_iter().map(|half| {
        let vectors = Arc::clone(&vectors);
        blocking(move || cluster::middles(&vectors, dims, &cluster::partition_rows(&vectors, dims, half, limit)))
    });
    let mut middles = try_join_all(parts).await?.concat();
    for _ in 0..MOVES {
        let numbers = (0..(middles.len() / dims) as u32).collect();
        let routes = Arc::new(Routes::new(work.field.dims, numbers, middles));
        let parts = (0..rows).step_by(PART).map(|first| {
            let (vectors, routes) = (Arc::clone(&vectors), Arc::clone(&routes));
            let own = first * dims..(first + PART).min(rows) * dims;
            blocking(move || routes.nearest_of(vectors.get(own).unwrap_or_default()))
        });
        let nearest = try_join_all(parts).await?.concat();
        let vectors = Arc::clone(&vectors);
        middles = blocking(move || {
            let mut middles = routes.centroids.clone();
            cluster::move_to(&vectors, dims, &mut middles, &nearest);
            middles
        })
        .await?;
    }
    Ok(middles)
}
