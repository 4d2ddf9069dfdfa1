//! What a new reader needs of the sorted files whatever it will be asked: their filters and indexes, and all of small files. Read at
//! once, it costs one round of requests; read when it is missed, it costs up to three for each file, one after the other where
//! a row stands in several.

use futures::future::join_all;
use slatedb::manifest::SsTableId;
use slatedb::manifest::VersionedManifest;
use slatedb::{CacheTarget, DbCacheManagerOps, DbReader};

use super::registry::Registry;
use crate::key::{Prefix, SegmentId};

/// So many bytes are read at most.
const BYTES: u64 = 16 << 20;
/// A file of a control segment with more data is read as it is asked for: every query needs something of it.
const CONTROL_BYTES: u64 = 256 << 10;
/// A file of another segment with more data is read as it is asked for. Reading less than this takes a store no longer than
/// reading the end of the file alone.
const SMALL_BYTES: u64 = 64 << 10;

/// What is wanted of a sorted file. It stands in the file from `start` to the end.
pub(crate) struct Wanted {
    pub(crate) file: SsTableId,
    pub(crate) start: u64,
    is_whole: bool,
}

/// What is wanted of the files of a manifest.
pub(crate) fn wanted(manifest: &VersionedManifest) -> Vec<Wanted> {
    let mut left = BYTES;
    let mut wanted = Vec::new();
    for segment in manifest.segments() {
        let is_small_talk = Registry::key().starts_with(segment.prefix())
            || Prefix::decode(segment.prefix()).is_ok_and(|(prefix, _)| prefix.segment == SegmentId::CONTROL);
        let runs = segment.compacted().iter().flat_map(|run| run.sst_views());
        for view in segment.l0().iter().chain(runs) {
            let info = &view.sst.info;
            // A file without a filter has no place for it.
            let data_end =
                if info.filter_len > 0 { info.index_offset.min(info.filter_offset) } else { info.index_offset };
            let is_whole = data_end <= if is_small_talk { CONTROL_BYTES } else { SMALL_BYTES };
            let start = if is_whole { 0 } else { data_end };
            let Some(rest) = left.checked_sub(info.index_len + info.filter_len + data_end - start) else { continue };
            left = rest;
            wanted.push(Wanted { file: view.sst.id, start, is_whole });
        }
    }
    wanted
}

/// Puts them into the reader's cache. What cannot be read now is read, or fails, when it is asked for.
pub(crate) async fn warm(reader: &DbReader) {
    let read = wanted(&reader.manifest()).into_iter().map(|wanted| async move {
        let rest = if wanted.is_whole { CacheTarget::data::<&[u8], _>(..) } else { CacheTarget::Index };
        for target in [CacheTarget::Filters, rest] {
            if let Err(error) = reader.warm_sst(wanted.file, &[target]).await {
                tracing::debug!(%error, file = ?wanted.file, "part of a sorted file could not be read ahead");
            }
        }
    });
    join_all(read).await;
}
