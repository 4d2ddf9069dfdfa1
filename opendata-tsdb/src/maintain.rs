//! Background work: sealing slabs into chunks, carrying out deletions, rollups, preparing the next bucket, and letting
//! go of expired ones.
//!
//! Sealing takes the oldest samples of a bucket by series and writes them as merge operands of the chunks, in steps of
//! bounded size, a range of series a step, and gives way to queries and writers until too much waits. The last step deletes
//! the slabs the samples came from, in the same commit.
//! Until then they stand beside the chunks that were written from them, and reading both gives the same samples. After
//! a crash the steps go on behind the last one that was written.
//!
//! Everything is planned on a view; what is planned is checked again when it is committed (see `writer/upkeep.rs`).

use std::sync::Arc;

use bytes::Bytes;
use opendata_core::Result;
use opendata_core::key::SegmentId;
use opendata_core::slate::{Access, InstanceView};

use crate::Tsdb;
use crate::chunk::{Scratch, encode_row};
use crate::config::Config;
use crate::head::{Block, Merged, Oldest};
use crate::index::{Index, at};
use crate::key::{Key, Keys};
use crate::op::{Expire, Op, Seal, SealEnd, Upkeep};
use crate::record;
use crate::record::slab::{self, Rows};
use crate::state::{Bench, State};
use crate::writer::slabs_below;

mod ahead;
mod clean;
mod roll;

pub(crate) use ahead::Ahead;

/// About how many samples are sealed at a time.
const BENCH_SAMPLES: u64 = 4 << 20;
/// From so many hundredths of what may wait on, sealing does not give way while more and more waits.
const URGENT_PERCENT: u64 = 150;
/// Samples sorted at a time.
const PIECE: usize = 1 << 20;
/// The most rows that one expiry deletes of a kind.
const EXPIRE_ROWS: usize = 50_000;

/// Looks for the next thing to do.
///
/// # Errors
/// What reading returned.
pub(crate) async fn plan(view: InstanceView<Tsdb>) -> Result<Option<Op>> {
    // Without the writer's state this is not the writer's process, and there is nobody to commit.
    let Some(state) = view.state().cloned() else { return Ok(None) };
    let index = Index { view: view.view().clone(), keys: Keys::new(view.prefix(SegmentId::CONTROL)) };
    // Before anything expires, for rollups are made of it.
    if let Some(upkeep) = roll::plan(&view, &state, &index).await? {
        return Ok(Some(Op::upkeep(upkeep)));
    }
    if let Some(expire) = plan_expire(&view, &state, &index).await? {
        return Ok(Some(Op::upkeep(Upkeep::Expire(expire))));
    }
    if let Some(clean) = clean::plan(&view, &state, &index).await? {
        return Ok(Some(Op::upkeep(Upkeep::Clean(clean))));
    }
    if let Some(prepare) = ahead::plan(view.config(), &state) {
        return Ok(Some(Op::upkeep(Upkeep::Prepare(prepare))));
    }
    match plan_seal(&view, &state, &index).await? {
        Some(seal) => Ok(Some(Op::upkeep(Upkeep::Seal(seal)))),
        None => Ok(None),
    }
}

async fn plan_expire(view: &InstanceView<Tsdb>, state: &State, index: &Index) -> Result<Option<Expire>> {
    let Some(retention_ms) = view.config().retention_ms else { return Ok(None) };
    let oldest_ms = state.env.now().0.saturating_sub_unsigned(retention_ms);
    let live = view.config().calendar().nearest_segment(oldest_ms).max(state.live);
    let expired: Vec<_> = state.buckets.iter().copied().filter(|bucket| *bucket < live).collect();
    if expired.is_empty() && state.heads.range(..live).next().is_none() {
        return Ok(None);
    }
    let mut totals = Vec::new();
    let mut rows = index.rows(index.keys.totals(), Access::Bulk).await?;
    while let Some(row) = rows.next().await?
        && totals.len() < EXPIRE_ROWS
    {
        if record::decode_segment(&row.value).map_err(|error| at(&row.key, error))? < live {
            totals.push(row.key);
        }
    }
    let slabs = slabs_below(index, index.keys, live, EXPIRE_ROWS).await?;
    Ok(Some(Expire { live, buckets: expired, slabs, totals }))
}

async fn plan_seal(view: &InstanceView<Tsdb>, state: &State, index: &Index) -> Result<Option<Seal>> {
    let Some(bucket) = pick(view, state) else { return Ok(None) };
    let Some(slabs) = state.heads.get(&bucket).and_then(|head| head.slabs) else { return Ok(None) };
    let after = state.sealing.get(&bucket).copied();
    let through = after.map(|sealing| sealing.through);
    let bench = match state.bench.get(bucket, slabs.first, through) {
        Some(bench) => bench,
        None => {
            let bench = set_up(state, index, bucket, through).await?;
            state.bench.set(Some(bench.clone()));
            bench
        }
    };
    let from = after.map_or(0, |sealing| sealing.next_series);
    let (first_slab, through) = (bench.first_slab, bench.through);
    let (keys, config) = (index.keys, view.config().clone());
    // Where samples come faster than they are sealed, memory has a limit, and whoever writes has to wait.
    let waiting = waiting(state);
    let is_much = waiting >= config.seal_samples.saturating_mul(URGENT_PERCENT) / 100;
    let is_urgent = state.bench.grows(waiting) && is_much;
    let work = move || {
        let (chunks, next) = step(&bench, keys, &config, from);
        (chunks, next.map_or_else(|| SealEnd::Done(bench.slabs.to_vec()), SealEnd::Next))
    };
    let (chunks, end) = if is_urgent { work() } else { state.env.give_way(work).await? };
    Ok(Some(Seal { bucket, first_slab, through, after, chunks, end }))
}

/// How many samples wait in memory.
fn waiting(state: &State) -> u64 {
    state.heads.values().map(|head| head.samples).sum()
}

/// The bucket to seal: one that was begun, the fullest if memory is full, or one whose samples wait for too long.
fn pick(view: &InstanceView<Tsdb>, state: &State) -> Option<SegmentId> {
    if let Some(begun) = state.sealing.keys().find(|bucket| state.heads.contains_key(bucket)) {
        return Some(*begun);
    }
    // A bucket with a deletion is sealed up to there first, and then no further before it is carried out.
    let before_deletion = |bucket: &SegmentId| {
        let first = state.heads.get(bucket).and_then(|head| head.slabs).map(|slabs| slabs.first);
        first.zip(first_deletion(state, *bucket)).is_some_and(|(first, deletion)| first < deletion)
    };
    if let Some(bucket) = state.deletions.keys().find(|bucket| before_deletion(bucket)) {
        return Some(*bucket);
    }
    let config = view.config();
    if waiting(state) >= config.seal_samples {
        let free = state.heads.iter().filter(|(bucket, _)| !state.deletions.contains_key(bucket));
        return free.max_by_key(|(_, head)| head.samples).map(|(bucket, _)| *bucket);
    }
    let due_ms = state.env.now().0.saturating_sub_unsigned(config.seal_after_ms);
    let is_due = |head: &crate::head::Head| {
        head.slabs.is_some_and(|slabs| slabs.count >= config.seal_slabs || slabs.oldest_ms <= due_ms)
    };
    let free = |bucket: &SegmentId| !state.deletions.contains_key(bucket);
    state.heads.iter().find(|(bucket, head)| free(bucket) && is_due(head)).map(|(bucket, _)| *bucket)
}

/// The number of the oldest deletion of a bucket.
fn first_deletion(state: &State, bucket: SegmentId) -> Option<u64> {
    Some(state.deletions.get(&bucket)?.first()?.slab)
}

/// The oldest samples of a bucket: those in memory, or, where a sealing goes on that another process began, and where
/// something is deleted, those of the slabs.
async fn set_up(state: &State, index: &Index, bucket: SegmentId, through: Option<u64>) -> Result<Bench> {
    let oldest = match state.heads.get(&bucket).filter(|_| through.is_none() && !state.deletions.contains_key(&bucket))
    {
        Some(head) => head.oldest(BENCH_SAMPLES),
        None => stored(state, index, bucket, through).await?,
    };
    let metrics = match state.series.get(&bucket) {
        Some(series) => (0..series.len()).filter_map(|id| series.get(id)).map(|entry| entry.metric).collect(),
        None => index.series(bucket).await?.into_iter().map(|entry| entry.metric).collect(),
    };
    Ok(Bench {
        bucket,
        first_slab: oldest.slabs.first().copied().unwrap_or(0),
        through: oldest.slabs.last().copied().unwrap_or(0),
        slabs: Arc::new(oldest.slabs),
        blocks: Arc::new(oldest.blocks),
        metrics: Arc::new(metrics),
    })
}

/// Decodes and sorts the oldest slabs of a bucket.
async fn stored(state: &State, index: &Index, bucket: SegmentId, through: Option<u64>) -> Result<Oldest> {
    let mut oldest = Oldest { blocks: Vec::new(), slabs: Vec::new() };
    let mut rows = Rows::default();
    let mut count = 0;
    let mut scratch = Scratch::default();
    let mut stored = index.rows(index.keys.slabs_of(bucket), Access::Bulk).await?;
    while let Some(row) = stored.next().await? {
        let Key::Slab { slab, .. } = Key::decode(&row.key)? else { break };
        if first_deletion(state, bucket).is_some_and(|deletion| slab > deletion) {
            break;
        }
        if through.is_some_and(|through| slab > through) || (through.is_none() && count >= BENCH_SAMPLES) {
            break;
        }
        let head = slab::decode_into(&row.value, &mut scratch, &mut rows).map_err(|error| at(&row.key, error))?;
        count += head.count as u64;
        oldest.slabs.push(slab);
        if rows.len() >= PIECE {
            oldest.blocks.push(Arc::new(Block::of(std::mem::take(&mut rows))));
        }
    }
    oldest.blocks.push(Arc::new(Block::of(rows)));
    Ok(oldest)
}

/// The chunks of as many series as fit a step, and the series to go on with.
fn step(bench: &Bench, keys: Keys, config: &Config, from: u32) -> (Vec<(Bytes, Bytes)>, Option<u32>) {
    let calendar = config.calendar();
    let mut chunks = Vec::new();
    let mut size_bytes = 0u64;
    let mut merged = Merged::from(&bench.blocks, from);
    while let Some((id, run)) = merged.next() {
        if size_bytes >= config.seal_step_bytes {
            return (chunks, Some(id));
        }
        let Some(metric) = bench.metrics.get(id as usize) else { continue };
        let mut samples = run.as_samples();
        while let Some(first_ms) = samples.times.first() {
            let window = calendar.window(*first_ms);
            let end_ms = calendar.window_end_ms(bench.bucket, window);
            let count = samples.times.partition_point(|time| *time < end_ms).max(1);
            let (now, later) = samples.split_at(count);
            let row = (keys.data(bench.bucket, *metric, window, id), encode_row(now));
            size_bytes += (row.0.len() + row.1.len()) as u64;
            chunks.push(row);
            samples = later;
        }
    }
    (chunks, None)
}
