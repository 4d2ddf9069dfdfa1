//! Merges all files of a segment into one sorted run where that gives back space: usual compaction merges files of like
//! sizes, and lets deleted rows lie below the deletions for as long as no more files come.
//!
//! - A segment that has been *quiet* (the same files for [`Settings::condense_after_s`](super::Settings)) becomes one run,
//!   unless nearly all of it is one already.
//! - A segment that is mostly *dead* becomes one at once: its files say how many deletions they hold, and a deletion
//!   stands for a row of average size; or it has deletions and has grown to twice its largest run. Rows that are written, sealed and deleted all day long (slabs of samples) are
//!   given back so.
//!
//! A segment is not asked for again while its files are the same, except after a while.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use slatedb::compactor::SourceId;
use slatedb::manifest::{Segment, SsTableId, SsTableView};
use slatedb::{SstReader, VersionedManifest};
use tokio::time::Instant;

use super::Inner;
use super::compact::{ask, sources};
use crate::error::Result;

/// Below so many bytes it does not matter what is dead.
const SMALL: u64 = 8 << 20;
/// A quiet segment is left as it is while what is not in its largest run is at most such a part of it.
const TRIFLE: u64 = 16;
/// A segment is counted as one that is deleted from when at least one of so many rows is a deletion.
const DELETIONS: u64 = 64;
/// How far such a segment may grow over twice its largest run.
const GROWTH: u64 = 64 << 20;
/// How long after it was asked the compactor is asked again, if it is not at work there: it may have refused what was
/// asked on files that it had just replaced. Twice as long each time.
const PATIENCE: Duration = Duration::from_secs(5);
const MOST_PATIENCE: Duration = Duration::from_secs(600);

/// What is known of the segments between two looks.
#[derive(Default)]
pub(crate) struct Condenser {
    segments: BTreeMap<Bytes, Watched>,
    /// What each file says of itself: read once.
    counts: HashMap<SsTableId, Counts>,
}

struct Watched {
    files: Vec<SourceId>,
    since: Instant,
    /// When it may be asked for again, and how long it is waited after that.
    again: Instant,
    patience: Duration,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    rows: u64,
    deletions: u64,
}

/// The weight of one segment's files.
#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    bytes: u64,
    largest_run: u64,
    rows: u64,
    deletions: u64,
}

impl Weight {
    /// About how many bytes are deleted rows, with their deletions.
    fn dead_bytes(&self) -> u64 {
        let dead = self.deletions.min(self.rows);
        self.bytes.saturating_mul(dead).checked_div(self.rows).unwrap_or(0)
    }

    fn is_mostly_dead(&self) -> bool {
        let is_dead = 2 * self.dead_bytes() >= self.bytes;
        // Deletions of large rows among many small ones weigh less than they should: growth tells as well.
        let has_deletions = DELETIONS * self.deletions >= self.rows.max(1);
        let has_grown = self.bytes >= 2 * self.largest_run + GROWTH;
        self.bytes >= SMALL && (is_dead || has_deletions && has_grown)
    }

    fn is_scattered(&self) -> bool {
        let scattered = self.bytes - self.largest_run.min(self.bytes);
        scattered > 0 && (self.bytes < SMALL || scattered >= self.bytes / TRIFLE)
    }
}

impl Condenser {
    /// Asks the compactor for what is worth it. Returns how many segments it asked for.
    pub(super) async fn look(&mut self, inner: &Inner) -> Result<usize> {
        let quiet = match inner.settings.condense_after_s {
            0 => return Ok(0),
            seconds => Duration::from_secs(seconds),
        };
        let manifest = inner.db.manifest();
        self.forget(&manifest);
        let mut asked = 0;
        for segment in manifest.segments() {
            let key = segment.prefix().clone();
            let files = sources(&manifest, &key);
            let now = Instant::now();
            let watched = self.segments.entry(key.clone()).or_insert_with(|| Watched::new(files.clone(), now));
            if watched.files != files {
                *watched = Watched::new(files.clone(), now);
            }
            let is_one_run = matches!(files.as_slice(), [] | [SourceId::SortedRun(_)]);
            if is_one_run || now < watched.again {
                continue;
            }
            let is_quiet = now - watched.since >= quiet;
            let weight = self.weigh(inner, segment).await?;
            if !(weight.is_mostly_dead() || is_quiet && weight.is_scattered()) {
                continue;
            }
            // Where the compactor is at work itself it is asked again the next time.
            if ask(inner, &manifest, &key, &files).await? {
                asked += 1;
                inner.counters.segments_condensed.fetch_add(1, Ordering::Relaxed);
                if let Some(watched) = self.segments.get_mut(&key) {
                    watched.again = now + watched.patience;
                    watched.patience = MOST_PATIENCE.min(2 * watched.patience);
                }
            }
        }
        Ok(asked)
    }

    fn forget(&mut self, manifest: &VersionedManifest) {
        self.segments.retain(|key, _| manifest.segment(key).is_some());
        let views = || manifest.all_sst_views().map(|view| view.sst.id);
        if self.counts.len() > 2 * views().count() + 64 {
            let named: HashSet<_> = views().collect();
            self.counts.retain(|id, _| named.contains(id));
        }
    }

    async fn weigh(&mut self, inner: &Inner, segment: &Segment) -> Result<Weight> {
        let mut weight = Weight::default();
        for run in segment.compacted() {
            weight.largest_run = weight.largest_run.max(run.estimate_size());
        }
        let of_runs = segment.compacted().iter().flat_map(|run| run.sst_views());
        for view in segment.l0().iter().chain(of_runs) {
            let counts = self.count(inner, view).await?;
            weight.bytes += view.estimate_size();
            weight.rows += counts.rows;
            weight.deletions += counts.deletions;
        }
        Ok(weight)
    }

    async fn count(&mut self, inner: &Inner, view: &SsTableView) -> Result<Counts> {
        let id = view.sst.id;
        if let Some(known) = self.counts.get(&id) {
            return Ok(*known);
        }
        let path = inner.store.slate_path(&inner.path)?;
        let reader = SstReader::new(path, Arc::clone(inner.store.object_store()), None, None);
        let counts = match reader.open_with_handle(view.sst.clone())?.stats().await {
            Ok(Some(stats)) => Counts { rows: stats.num_puts + stats.num_merges, deletions: stats.num_deletes },
            Ok(None) => Counts::default(),
            // A file that a fork shares lies with its origin: then nothing is known of what it holds.
            Err(error) => {
                tracing::debug!(%error, "a file does not say what it holds");
                Counts::default()
            }
        };
        self.counts.insert(id, counts);
        Ok(counts)
    }
}

impl Watched {
    fn new(files: Vec<SourceId>, since: Instant) -> Self {
        Self { files, since, again: since, patience: PATIENCE }
    }
}

#[cfg(test)]
mod tests;
