//! Removes dead ids from bitmaps of attributes, from numbers and from posting lists.
//!
//! Only rows of closed chunks are rewritten: ids only grow, so nothing is ever merged into such a row again, and a put
//! of it loses nothing.

use bytes::Bytes;
use opendata_core::slate::{Access, Order};
use opendata_core::{Error, Result};
use roaring::RoaringBitmap;

use super::{PIECE_BYTES, Upkeep};
use crate::idset::{CHUNK, IdSet};
use crate::key::Key;
use crate::postings;
use crate::record::{self, Sweep, column};
use crate::sparse::Weight;
use crate::state::Snapshot;
use crate::text;

/// Rows that one piece reads at most.
const PIECE_ROWS: usize = 20_000;

pub(super) async fn plan(snapshot: Snapshot<'_>) -> Result<Option<Upkeep>> {
    let keys = snapshot.keys;
    // Ids of this chunk and later ones may still be given out.
    let open = snapshot.state.counters.next_id / CHUNK;
    let dead = snapshot.state.dead.len_below(open);
    if dead == 0 {
        return Ok(None);
    }
    let expected = snapshot.state.sweep.clone();
    let is_due = dead.saturating_sub(expected.dead) * 5 > snapshot.state.counters.live.max(CHUNK);
    if expected.next.is_none() && !is_due {
        return Ok(None);
    }
    let (begun, from) = match &expected.next {
        Some(next) => (expected.dead, Some(next.clone())),
        None => (dead, None),
    };
    let mut next = Sweep { dead: begun, pieces: expected.pieces + 1, next: None };
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
    Ok(Some(Upkeep::Sweep { expected, next, rows }))
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
