//! Rids an instance of dead ids: from bitmaps of attributes, from numbers and posting lists, then from cells, and when nothing
//! holds them any more, from the set of dead ids that every search looks at.
//!
//! A cycle is about the ids that were dead when it began, of chunks that are full and wholly drained. Only rows of such chunks
//! are rewritten: ids only grow, so nothing is ever merged into such a row again, and a put of it loses nothing. Whatever was
//! planned on cells before the cycle came to them is a conflict afterwards, since each of its pieces moves the epoch on.
//!
//! What is forgotten stands in GONE rows, which are read only where a filter asks for what does *not* match. A chunk without a
//! live id has no such row and stays among the dead, as the few bytes that it takes to say so.
//!
//! The cycle itself is in the writer's memory. After a restart it begins again: what is done already is only read.

use bytes::Bytes;
use opendata_core::slate::{Access, Order};
use opendata_core::{Error, Result};
use roaring::RoaringBitmap;

use super::build::Builder;
use super::{PIECE_BYTES, Upkeep};
use crate::idset::chunk::Chunk;
use crate::idset::{CHUNK, IdSet};
use crate::key::Key;
use crate::postings;
use crate::record::{self, Sweep, column};
use crate::sparse::Weight;
use crate::state::{Snapshot, State};
use crate::text;

/// Rows that one piece reads at most.
const PIECE_ROWS: usize = 20_000;
/// Chunks that one piece forgets ids of at most: 8 KiB each.
const PIECE_CHUNKS: usize = 512;

/// Dead ids on their way out.
#[derive(Clone, Debug)]
pub(crate) struct Cycle {
    /// What shall be forgotten.
    pub(crate) doomed: IdSet,
    /// The cells that are rid of it: of all fields before a number, and of that one the cells below a number.
    pub(crate) purged: (usize, u32),
    /// Ids that stay among the dead for good.
    pub(crate) left: u64,
}

/// Below this chunk ids are neither given out any more nor in a tail.
fn bound(state: &State) -> u64 {
    let drained = state.config.schema.vectors.keys().map(|name| state.table(name).drained_to).min();
    drained.unwrap_or(u64::MAX).min(state.counters.next_id) / CHUNK
}

pub(super) async fn plan(snapshot: Snapshot<'_>) -> Result<Option<Upkeep>> {
    let (state, sweep) = (snapshot.state, &snapshot.state.sweep);
    // Cells that are being made anew are in no table yet, so that nothing would be removed from them.
    if state.tables.values().any(|table| table.rebuild.is_some()) {
        return Ok(None);
    }
    let Some(cycle) = &state.cycle else {
        let bound = bound(state);
        let dead = state.dead.len_below(bound);
        let is_due = dead.saturating_sub(sweep.dead) * 5 > state.counters.live.max(CHUNK);
        // One that was interrupted begins again.
        if dead == 0 || !(is_due || sweep.next.is_some()) {
            return Ok(None);
        }
        let cycle = Cycle { doomed: state.dead.below(bound), purged: (0, 0), left: 0 };
        return rows(snapshot, None, dead, Some(cycle)).await.map(Some);
    };
    let from = sweep.next.clone().filter(|next| *next < snapshot.keys.swept_end());
    if let Some(from) = from {
        return rows(snapshot, Some(from), sweep.dead, None).await.map(Some);
    }
    let (at, cell) = cycle.purged;
    if let Some(name) = state.config.schema.vectors.keys().nth(at) {
        let (mut job, next) = Builder::new(snapshot, name).await?.purge(cell).await?;
        job.purged = Some(next.map_or((at + 1, 0), |next| (at, next)));
        return Ok(Some(Upkeep::Index(job)));
    }
    forget(snapshot, cycle).await.map(Some)
}

/// Rids rows of dead ids, from a key on.
async fn rows(snapshot: Snapshot<'_>, from: Option<Bytes>, dead: u64, begins: Option<Cycle>) -> Result<Upkeep> {
    let (keys, expected) = (snapshot.keys, snapshot.state.sweep.clone());
    // Ids of this chunk and later ones may still be given out.
    let open = snapshot.state.counters.next_id / CHUNK;
    let mut next = Sweep { dead, pieces: expected.pieces + 1, next: Some(keys.swept_end()) };
    let (mut rows, mut read, mut bytes) = (Vec::new(), 0, 0);
    let mut found = snapshot.view.scan(keys.swept(from.as_deref()), Access::Bulk, Order::Ascending).await?;
    while let Some(row) = found.next().await? {
        if read == PIECE_ROWS || bytes >= PIECE_BYTES {
            next.next = Some(Bytes::copy_from_slice(&row.key));
            break;
        }
        read += 1;
        if let Some(value) = rewritten(&row.key, &row.value, &snapshot.state.dead, open)? {
            bytes += value.as_ref().map_or(0, Bytes::len) + row.key.len();
            rows.push((Bytes::copy_from_slice(&row.key), value));
        }
    }
    Ok(Upkeep::Sweep { expected, next, rows, begins })
}

/// Forgets what no index has any more.
async fn forget(snapshot: Snapshot<'_>, cycle: &Cycle) -> Result<Upkeep> {
    let mut chunks = Vec::new();
    for (chunk, doomed) in cycle.doomed.chunks().take(PIECE_CHUNKS) {
        let key = snapshot.keys.gone(chunk);
        let before = match snapshot.view.get(&key).await? {
            Some(value) => Chunk::from_bitmap(&record::decode_bitmap(&key, &value)?),
            None => Chunk::default(),
        };
        chunks.push((chunk, doomed.union(&before)));
    }
    Ok(Upkeep::Forget { expected: snapshot.state.sweep.clone(), chunks })
}

/// The row without dead ids, if it has any: `Some(None)` if nothing is left.
fn rewritten(key: &[u8], value: &[u8], dead: &IdSet, open: u64) -> Result<Option<Option<Bytes>>> {
    let decoded = Key::decode(key)?;
    let (Key::Attr { chunk, .. }
    | Key::Has { chunk, .. }
    | Key::Term { chunk, .. }
    | Key::Num { chunk, .. }
    | Key::Sparse { chunk, .. }) = &decoded
    else {
        return Err(Error::corrupt_at(key, "not a row of an index"));
    };
    let Some(dead) = dead.chunk(*chunk).filter(|_| *chunk < open) else { return Ok(None) };
    if let Key::Term { .. } = decoded {
        let mut postings = text::decode(key, value)?;
        let before = postings.len();
        postings.retain(|posting| !dead.contains(posting.low));
        let is_changed = postings.len() < before;
        return Ok(is_changed.then(|| (!postings.is_empty()).then(|| text::encode(&postings))));
    }
    if let Key::Num { .. } = decoded {
        let mut numbers = column::decode(key, value)?;
        let before = numbers.len();
        numbers.retain(|(_, low)| !dead.contains(*low));
        let is_changed = numbers.len() < before;
        return Ok(is_changed.then(|| (!numbers.is_empty()).then(|| column::encode(numbers))));
    }
    if let Key::Sparse { .. } = decoded {
        let mut weights = postings::decode::<Weight>(key, value)?;
        let before = weights.len();
        weights.retain(|posting| !dead.contains(posting.low));
        let is_changed = weights.len() < before;
        return Ok(is_changed.then(|| (!weights.is_empty()).then(|| postings::encode(&weights))));
    }
    let bitmap = record::decode_bitmap(key, value)?;
    let kept: RoaringBitmap = bitmap.iter().filter(|low| !dead.contains(*low as u16)).collect();
    Ok((kept.len() < bitmap.len()).then(|| (!kept.is_empty()).then(|| record::encode_bitmap(&kept))))
}
