//! Compaction when someone asks for it: every segment becomes one sorted run, without what was deleted or replaced.

use std::time::Duration;

use bytes::Bytes;
use slatedb::VersionedManifest;
use slatedb::compactor::{CompactionSpec, SourceId};
use tokio::time::Instant;

use super::{Inner, Slate};
use crate::error::{Error, Result};

/// How often it is looked whether the compactor is done.
const POLL: Duration = Duration::from_millis(50);

impl Slate {
    /// Merges the files of every segment into one sorted run, and waits for it. Usual compaction merges files as it pays for reading
    /// and writing; this is for a slate that is to be small or read cold, after a large import for example. It needs a
    /// process that compacts, which by default this one does. Writers go on meanwhile; what they write is not waited for.
    ///
    /// Files that were merged stay until garbage is collected.
    ///
    /// # Errors
    /// `Unavailable` if the compactor does not get on, or what the store returned.
    pub async fn compact(&self) -> Result<()> {
        self.flush_files().await?;
        let inner = &self.0;
        let manifest = inner.db.manifest();
        let segments: Vec<Bytes> = manifest.segments().iter().map(|segment| segment.prefix().clone()).collect();
        for segment in segments {
            compact_segment(inner, segment).await?;
        }
        Ok(())
    }
}

async fn compact_segment(inner: &Inner, segment: Bytes) -> Result<()> {
    let wanted: Vec<SourceId> = sources(&inner.db.manifest(), &segment);
    let patience = inner.settings.files_timeout();
    let (mut asked, mut moved) = (Vec::new(), Instant::now());
    loop {
        let manifest = inner.db.manifest();
        let now = sources(&manifest, &segment);
        // A run keeps its number when it is merged with newer files: then only the files of before are gone.
        let files_left = now.iter().filter(|source| matches!(source, SourceId::SstView(_)) && wanted.contains(source));
        let runs = now.iter().filter(|source| matches!(source, SourceId::SortedRun(_))).count();
        if files_left.count() == 0 && runs <= 1 {
            return Ok(());
        }
        if now != asked && ask(inner, &manifest, &segment, &now).await? {
            (asked, moved) = (now, Instant::now());
        }
        if moved.elapsed() > patience {
            return Err(Error::unavailable("the compactor does not get on with a segment"));
        }
        // The compactor may have refused what was asked because it was at work there itself.
        if moved.elapsed() > Duration::from_secs(5) {
            asked.clear();
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The files and runs of a segment, newest first.
pub(super) fn sources(manifest: &VersionedManifest, segment: &Bytes) -> Vec<SourceId> {
    let Some(segment) = manifest.segment(segment) else { return Vec::new() };
    let files = segment.l0().iter().map(|file| SourceId::SstView(file.id));
    files.chain(segment.compacted().iter().map(|run| SourceId::SortedRun(run.id))).collect()
}

/// Asks the compactor to merge these sources, all that a segment has, into one run. False if it is at work there.
pub(super) async fn ask(
    inner: &Inner,
    manifest: &VersionedManifest,
    segment: &Bytes,
    sources: &[SourceId],
) -> Result<bool> {
    let admin = inner.store.admin(&inner.path, &inner.env)?;
    let compactions = admin.read_compactions(None).await?;
    let active: Vec<_> =
        compactions.iter().flat_map(|all| all.recent_compactions()).filter(|compaction| compaction.active()).collect();
    if active.iter().any(|compaction| compaction.spec().segment() == segment) {
        return Ok(false);
    }
    let taken = active.iter().filter_map(|compaction| compaction.spec().destination()).max();
    let destination = destination(manifest, taken, sources);
    let spec = CompactionSpec::for_segment(segment.clone(), sources.to_vec(), destination);
    match admin.submit_compaction(spec).await {
        Ok(_) => Ok(true),
        Err(error) => {
            tracing::debug!(%error, "segment cannot be compacted yet");
            Ok(false)
        }
    }
}

/// The numbers that the compactor itself may have given out since what is known of it was read: two compactions into one
/// run would end it.
const HEADROOM: u32 = 64;

/// The oldest run of the sources takes the others in; files alone become a run above all others, those that are being
/// made among them.
fn destination(manifest: &VersionedManifest, taken: Option<u32>, sources: &[SourceId]) -> u32 {
    let own = sources.iter().filter_map(|source| match source {
        SourceId::SortedRun(id) => Some(*id),
        SourceId::SstView(_) => None,
    });
    let newest = manifest.segments().iter().flat_map(|segment| segment.compacted().iter().map(|run| run.id)).max();
    own.min().unwrap_or_else(|| newest.max(taken).map_or(0, |id| id + 1).saturating_add(HEADROOM))
}
