//! Makes all cells of a field anew, beside the old ones.
//!
//! The middles are found on a sample of all live vectors. Then the vectors go into the new cells, in the order of their ids, so that
//! they are read in one long run; meanwhile searches use the old cells. The last step puts the new in the place of the
//! old. Each step is a piece of its own, and the table says how far it is: a crash between two of them costs nothing.

use opendata_core::Result;
use opendata_core::slate::Access;

use super::build::{Builder, assign, blocking};
use super::{IndexJob, Step};
use crate::cell::{cluster, encode_centroid};
use crate::state::push_scored;
use crate::state::tail::Block;

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
        blocking(move || {
            let block = work.rotated(block);
            let middles = cluster::centroids(&block.vectors, work.dims(), cells);
            let numbered = (work.next_cell..).zip(middles.chunks_exact(work.dims()));
            let centroids = numbered.map(|(cell, middle)| (cell, encode_centroid(middle))).collect();
            job.rebuild = Step::Begin { centroids };
            job
        })
        .await
    }

    /// Every so many live vectors of the field.
    async fn sample_rows(&self, step: usize) -> Result<Block> {
        let snapshot = self.snapshot;
        let all = (0, snapshot.state.counters.next_id);
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
        let block = self.snapshot.scan_block(self.name, self.work.field, (from, to), limit).await?;
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
