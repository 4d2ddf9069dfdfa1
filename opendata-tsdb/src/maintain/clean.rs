//! Carrying out deletions: rewriting the rows of chunks that hold deleted samples, in steps of bounded size.
//!
//! Only once every slab before a deletion is sealed: then all it deletes stands in chunks, and nothing behind it does.

use bytes::Bytes;
use opendata_core::Result;
use opendata_core::key::SegmentId;
use opendata_core::slate::InstanceView;

use crate::Tsdb;
use crate::chunk::{self, Scratch, encode_row};
use crate::columns::Columns;
use crate::index::{Index, at};
use crate::op::{Clean, CleanEnd};
use crate::record::deletion::Deletion;
use crate::state::State;

/// Series looked at in one step, however little there is to rewrite.
const SERIES_A_STEP: usize = 4096;

/// The next step of the first deletion that can be carried out.
pub(super) async fn plan(view: &InstanceView<Tsdb>, state: &State, index: &Index) -> Result<Option<Clean>> {
    for (bucket, deletions) in state.deletions.iter() {
        let Some(deletion) = deletions.first() else { continue };
        let first_slab = state.heads.get(bucket).and_then(|head| head.slabs).map(|slabs| slabs.first);
        let all_sealed = first_slab.is_none_or(|slab| slab > deletion.slab);
        if all_sealed && !state.sealing.contains_key(bucket) {
            return step(view, state, index, *bucket, deletion).await.map(Some);
        }
    }
    Ok(None)
}

async fn step(
    view: &InstanceView<Tsdb>,
    state: &State,
    index: &Index,
    bucket: SegmentId,
    deletion: &Deletion,
) -> Result<Clean> {
    let calendar = view.config().calendar();
    let windows = calendar.windows(bucket, deletion.from_ms, deletion.to_ms);
    let mut rows = Vec::new();
    let mut size_bytes = 0;
    let mut end = CleanEnd::Done;
    let mut block = (u32::MAX, Vec::new());
    for (count, id) in deletion.ids.range(deletion.next_series..).enumerate() {
        if size_bytes >= view.config().seal_step_bytes || count >= SERIES_A_STEP {
            end = CleanEnd::Next(id);
            break;
        }
        let number = id / crate::key::BLOCK_SERIES;
        if block.0 != number {
            block = (number, index.block(bucket, number).await?);
        }
        let Some((_, entry)) = block.1.iter().find(|(other, _)| *other == id) else { continue };
        for window in windows.clone() {
            let Some(row) = index.chunks(bucket, entry.metric, window, id).await? else { continue };
            let key = index.keys.data(bucket, entry.metric, window, id);
            if let Some(left) = without(&row, deletion).map_err(|error| at(&key, error))? {
                size_bytes += (key.len() + left.as_ref().map_or(0, Bytes::len)) as u64;
                rows.push((key, left));
            }
        }
    }
    let edits = state.edits.of_bucket(bucket);
    Ok(Clean { bucket, slab: deletion.slab, from: deletion.next_series, edits, rows, end })
}

/// What a row becomes; none if it stays as it is.
fn without(row: &[u8], deletion: &Deletion) -> Result<Option<Option<Bytes>>> {
    let mut samples = Columns::default();
    chunk::decode_row(row, &mut Scratch::default(), &mut samples)?;
    let before = samples.len();
    samples.remove(deletion.range());
    if samples.len() == before {
        return Ok(None);
    }
    Ok(Some((!samples.is_empty()).then(|| encode_row(samples.as_samples()))))
}
