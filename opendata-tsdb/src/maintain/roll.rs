//! Making rollups of buckets that are over, and letting go of rollups that are too old.

use bytes::Bytes;
use opendata_core::Result;
use opendata_core::key::SegmentId;
use opendata_core::slate::{Access, InstanceView};
use roaring::RoaringBitmap;

use super::EXPIRE_ROWS;
use crate::Tsdb;
use crate::chunk::{self, Scratch};
use crate::columns::Columns;
use crate::config::Config;
use crate::index::{Index, at};
use crate::key::Key;
use crate::op::{Forget, Roll, RolledSeries, Upkeep};
use crate::record::deletion;
use crate::record::forward::Entry;
use crate::rollup::{self, Resolution, Rollup};
use crate::state::State;

/// Series rolled up in one step.
const SERIES_A_STEP: usize = 1024;

/// The next step of making or dropping rollups.
pub(super) async fn plan(view: &InstanceView<Tsdb>, state: &State, index: &Index) -> Result<Option<Upkeep>> {
    let config = view.config();
    let now_ms = state.env.now().0;
    let over_ms = now_ms.saturating_sub_unsigned(config.seal_after_ms);
    for (bucket, ids) in state.due.iter().filter(|_| !config.rollups.is_empty()) {
        let is_over = config.calendar().last_ms(*bucket) < over_ms;
        if is_over && !state.sealing.contains_key(bucket) && !state.deletions.contains_key(bucket) {
            return Ok(Some(Upkeep::Roll(step(view, state, index, *bucket, ids).await?)));
        }
    }
    Ok(forget(config, state, index, now_ms).await?.map(Upkeep::Forget))
}

async fn step(
    view: &InstanceView<Tsdb>,
    state: &State,
    index: &Index,
    bucket: SegmentId,
    due: &RoaringBitmap,
) -> Result<Roll> {
    // What would be dropped at once is not made: a segment that is gone does not come back.
    let (segment, _) = view.config().calendar().rolled(bucket);
    let now_ms = state.env.now().0;
    let is_kept = |rollup: &&Rollup| !is_old(view.config(), segment, rollup.resolution, now_ms);
    let makes: Vec<&Rollup> = view.config().rollups.iter().filter(is_kept).collect();
    let done: RoaringBitmap = due.iter().take(SERIES_A_STEP).collect();
    let mut entries: Vec<(u32, Entry)> = Vec::new();
    let mut blocks: Vec<u32> = done.iter().map(|id| id / crate::key::BLOCK_SERIES).collect();
    blocks.dedup();
    for block in blocks {
        entries.extend(index.block(bucket, block).await?.into_iter().filter(|(id, _)| done.contains(*id)));
    }
    // One metric after the other, as the rows lie.
    entries.sort_unstable_by_key(|(id, entry)| (entry.metric, *id));
    let mut series = Vec::with_capacity(entries.len());
    for of_metric in entries.chunk_by(|(_, a), (_, b)| a.metric == b.metric) {
        for ((id, entry), samples) in of_metric.iter().zip(read(view, index, bucket, of_metric).await?) {
            let mut samples = samples;
            let deletions = state.deletions.get(&bucket).map_or(&[][..], |of_bucket| of_bucket.as_slice());
            deletion::apply(deletions, *id, &mut samples);
            let rows = makes.iter().map(|rollup| {
                let points = rollup::points(samples.as_samples(), rollup.resolution);
                let row = (!points.is_empty()).then(|| rollup::encode(&points, rollup.resolution));
                (rollup.resolution, row)
            });
            series.push(RolledSeries { labels: entry.labels.clone(), rows: rows.collect() });
        }
    }
    let edits = state.edits.of_bucket(bucket);
    Ok(Roll { bucket, edits, done, series })
}

/// All sealed samples of series of one metric.
async fn read(
    view: &InstanceView<Tsdb>,
    index: &Index,
    bucket: SegmentId,
    series: &[(u32, Entry)],
) -> Result<Vec<Columns>> {
    let mut all = vec![Columns::default(); series.len()];
    let (Some((first, entry)), Some((last, _))) = (series.first(), series.last()) else { return Ok(all) };
    let mut scratch = Scratch::default();
    for window in 0..=view.config().calendar().last_window() {
        let range = index.keys.data_range(bucket, entry.metric, window, *first, *last);
        let mut rows = index.rows(range, Access::Bulk).await?;
        while let Some(row) = rows.next().await? {
            let Key::Data { series: id, .. } = Key::decode(&row.key)? else { continue };
            let place = series.binary_search_by_key(&id, |(id, _)| *id);
            if let Some(samples) = place.ok().and_then(|place| all.get_mut(place)) {
                chunk::decode_row(&row.value, &mut scratch, samples).map_err(|error| at(&row.key, error))?;
            }
        }
    }
    Ok(all)
}

/// Whether the rollups of a segment are older than they must be kept.
fn is_old(config: &Config, segment: SegmentId, resolution: Resolution, now_ms: i64) -> bool {
    let of = config.rollups.iter().find(|rollup| rollup.resolution == resolution);
    // A rollup that is made no more is kept: nobody said how long.
    let retention = of.and_then(|rollup| rollup.retention_ms);
    retention.is_some_and(|ms| config.calendar().last_rolled_ms(segment) < now_ms.saturating_sub_unsigned(ms))
}

/// Rows of rollups that no retention keeps any more.
async fn forget(config: &Config, state: &State, index: &Index, now_ms: i64) -> Result<Option<Forget>> {
    for segment in state.rolled.iter().copied() {
        let old: Vec<_> = Resolution::ALL.into_iter().filter(|one| is_old(config, segment, *one, now_ms)).collect();
        for resolution in &old {
            let keys = first_keys(index, index.keys.rollups(segment, *resolution)).await?;
            if !keys.is_empty() {
                return Ok(Some(Forget { segment, keys, is_last: false }));
            }
        }
        if !old.is_empty() && first_keys(index, index.keys.all_rollups(segment)).await?.is_empty() {
            let keys = first_keys(index, index.keys.all_in(segment)).await?;
            return Ok(Some(Forget { segment, is_last: keys.len() < EXPIRE_ROWS, keys }));
        }
    }
    Ok(None)
}

async fn first_keys(index: &Index, range: opendata_core::key::KeyRange) -> Result<Vec<Bytes>> {
    let mut keys = Vec::new();
    let mut rows = index.rows(range, Access::Point).await?;
    while keys.len() < EXPIRE_ROWS
        && let Some(row) = rows.next().await?
    {
        keys.push(row.key);
    }
    Ok(keys)
}
