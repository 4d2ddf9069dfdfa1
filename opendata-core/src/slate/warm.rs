//! What a new reader needs of the sorted files whatever it will be asked: their filters and indexes, and all of the small files of
//! control segments. Read at once, it costs two rounds of requests; read when it is missed, it costs three for each segment.

use futures::future::join_all;
use slatedb::{CacheTarget, DbCacheManagerOps, DbReader};

use super::registry::Registry;
use crate::key::{Prefix, SegmentId};

/// Filters and indexes of so many bytes are read at most.
const BYTES: u64 = 16 << 20;
/// A file of a control segment with more data is read as it is asked for.
const WHOLE_BYTES: u64 = 256 << 10;

/// Puts them into the reader's cache. What cannot be read now is read, or fails, when it is asked for.
pub(crate) async fn warm(reader: &DbReader) {
    let manifest = reader.manifest();
    let mut left = BYTES;
    let mut wanted = Vec::new();
    for segment in manifest.segments() {
        let is_small_talk = Registry::key().starts_with(segment.prefix())
            || Prefix::decode(segment.prefix()).is_ok_and(|(prefix, _)| prefix.segment == SegmentId::CONTROL);
        let runs = segment.compacted().iter().flat_map(|run| run.sst_views());
        for view in segment.l0().iter().chain(runs) {
            let info = &view.sst.info;
            let Some(rest) = left.checked_sub(info.index_len + info.filter_len) else { continue };
            left = rest;
            wanted.push((view.sst.id, CacheTarget::Filters));
            let is_whole = is_small_talk && info.index_offset.min(info.filter_offset) <= WHOLE_BYTES;
            wanted.push((view.sst.id, if is_whole { CacheTarget::data::<&[u8], _>(..) } else { CacheTarget::Index }));
        }
    }
    let read = wanted.into_iter().map(|(file, target)| async move {
        if let Err(error) = reader.warm_sst(file, &[target]).await {
            tracing::debug!(%error, ?file, "part of a sorted file could not be read ahead");
        }
    });
    join_all(read).await;
}
