//! Reads an instance at one view: series by matchers, their samples, their labels.
//!
//! A query asks the index of each bucket it touches for the ids, reads the labels of those ids, and scans only the
//! windows it needs. Samples that are not sealed yet come from the head: from the writer's memory where the view has
//! it, else from the slabs. Both give the same answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use opendata_core::key::SegmentId;
use opendata_core::slate::InstanceView;
use opendata_core::{Position, Result};

use crate::Tsdb;
use crate::config::Calendar;
use crate::head::Head;
use crate::index::{Index, at};
use crate::key::{Key, Keys};
use crate::labels::Labels;
use crate::matcher::Matcher;
use crate::record::deletion::Deletions;
use crate::record::name::Sketch;

mod ahead;
mod beside;
mod breakdown;
mod cache;
mod found;
mod narrow;
mod rollups;
mod samples;
mod select;
mod statistics;

pub use breakdown::{Breakdown, Records};
pub use rollups::{RollupSeries, UseRollups};
pub use statistics::{Statistics, Top};

use cache::{Cache, Stored};

/// Reads one TSDB instance at one view. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    view: InstanceView<Tsdb>,
    index: Index,
    calendar: Calendar,
    cache: Arc<Cache>,
    use_rollups: UseRollups,
}

/// What a bucket holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketStats {
    /// Its first time in milliseconds.
    pub start_ms: i64,
    /// Its last time in milliseconds.
    pub last_ms: i64,
    /// How many series it has.
    pub series: u64,
    /// Samples in slabs, waiting to be sealed into chunks.
    pub unsealed_samples: u64,
    /// The slabs they wait in.
    pub unsealed_slabs: u64,
}

impl Reader {
    pub(crate) fn new(view: InstanceView<Tsdb>) -> Self {
        let index = Index { view: view.view().clone(), keys: Keys::new(view.prefix(SegmentId::CONTROL)) };
        let calendar = view.config().calendar();
        let cache = view.cache();
        Self { view, index, calendar, cache, use_rollups: UseRollups::default() }
    }

    /// The position this reader shows.
    #[must_use]
    pub fn position(&self) -> Position {
        self.view.position()
    }

    /// The label sets of all series that satisfy every matcher, in order. A series belongs to a range of times if it
    /// was written to in a bucket that the range touches.
    ///
    /// # Errors
    /// What reading returned.
    pub async fn series(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Vec<Labels>> {
        let mut series = BTreeSet::new();
        for bucket in self.buckets_in(start_ms, end_ms).await? {
            let ids = self.ids(bucket, matchers).await?;
            series.extend(self.entries(bucket, &ids).await?.into_iter().map(|(_, entry)| entry.labels));
        }
        Ok(series.into_iter().collect())
    }

    /// The names of the labels of the series that satisfy every matcher, in order; see [`series`](Self::series).
    ///
    /// # Errors
    /// What reading returned.
    pub async fn label_names(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Vec<String>> {
        let mut names = BTreeSet::new();
        for bucket in self.buckets_in(start_ms, end_ms).await? {
            if matchers.is_empty() {
                self.index
                    .for_each(self.index.keys.names(bucket), |key, _| {
                        if let Key::Name { name, .. } = key {
                            names.insert(name);
                        }
                        Ok(())
                    })
                    .await?;
                continue;
            }
            let ids = self.ids(bucket, matchers).await?;
            for (_, entry) in self.entries(bucket, &ids).await? {
                names.extend(entry.labels.iter().map(|label| label.name().to_owned()));
            }
        }
        Ok(names.into_iter().collect())
    }

    /// The values of a label among the series that satisfy every matcher, in order; see [`series`](Self::series).
    ///
    /// # Errors
    /// What reading returned.
    pub async fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<String>> {
        let mut values = BTreeSet::new();
        for bucket in self.buckets_in(start_ms, end_ms).await? {
            let ids = match matchers {
                [] => None,
                _ => Some(self.ids(bucket, matchers).await?),
            };
            let count = self.series_count(bucket).await?;
            for (value, having) in self.values(bucket, name, "", count).await?.iter() {
                let is_there = match &ids {
                    Some(ids) => !ids.is_disjoint(having),
                    None => having.min().is_some_and(|first| first < count),
                };
                if is_there && !values.contains(value.as_ref()) {
                    values.insert(value.to_string());
                }
            }
        }
        Ok(values.into_iter().collect())
    }

    /// About how many values each label has over a range of times: exact below 64, else within about 13 %. It reads
    /// one row a label and bucket.
    ///
    /// # Errors
    /// What reading returned.
    pub async fn label_cardinality(&self, start_ms: i64, end_ms: i64) -> Result<BTreeMap<String, u64>> {
        let mut sketches: BTreeMap<String, Sketch> = BTreeMap::new();
        for bucket in self.buckets_in(start_ms, end_ms).await? {
            self.index
                .for_each(self.index.keys.names(bucket), |key, value| {
                    if let Key::Name { name, .. } = key {
                        sketches.entry(name).or_default().unite(&Sketch::decode(value)?);
                    }
                    Ok(())
                })
                .await?;
        }
        Ok(sketches.into_iter().map(|(name, sketch)| (name, sketch.estimate())).collect())
    }

    /// What each bucket holds, oldest first.
    ///
    /// # Errors
    /// What reading returned.
    pub async fn buckets(&self) -> Result<Vec<BucketStats>> {
        let mut all = Vec::new();
        for bucket in self.buckets_in(i64::MIN, i64::MAX).await? {
            let head = self.head(bucket).await?;
            all.push(BucketStats {
                start_ms: self.calendar.start_ms(bucket),
                last_ms: self.calendar.last_ms(bucket),
                series: u64::from(self.series_count(bucket).await?),
                unsealed_samples: head.samples,
                unsealed_slabs: head.slabs.map_or(0, |slabs| slabs.count),
            });
        }
        Ok(all)
    }

    /// The buckets that a range of times touches, ascending.
    async fn buckets_in(&self, start_ms: i64, end_ms: i64) -> Result<Vec<SegmentId>> {
        if start_ms > end_ms {
            return Ok(Vec::new());
        }
        let first = self.calendar.nearest_segment(start_ms);
        let last = self.calendar.nearest_segment(end_ms);
        let all = match self.view.state() {
            Some(state) => Arc::clone(&state.buckets),
            None => self.stored_buckets().await?,
        };
        Ok(all.iter().copied().filter(|bucket| (first..=last).contains(bucket)).collect())
    }

    async fn stored_buckets(&self) -> Result<Arc<Vec<SegmentId>>> {
        let position = self.position();
        if let Some((_, buckets)) = self.cache.buckets.get(&()).filter(|(at, _)| *at == position) {
            return Ok(buckets);
        }
        let buckets = Arc::new(self.index.buckets().await?);
        self.cache.buckets.put((), (position, Arc::clone(&buckets)));
        Ok(buckets)
    }

    /// What is known of a bucket at this position without the writer's memory.
    fn stored(&self, bucket: SegmentId) -> Stored {
        let position = self.position();
        let known = self.cache.stored.get(&bucket).filter(|known| known.position == position);
        known.unwrap_or(Stored { position, series: None, head: None })
    }

    async fn stored_count(&self, bucket: SegmentId) -> Result<u32> {
        if let Some(series) = self.stored(bucket).series {
            return Ok(series);
        }
        let series = self.index.count(bucket).await?;
        self.cache.stored.put(bucket, Stored { series: Some(series), ..self.stored(bucket) });
        Ok(series)
    }

    /// The deletions that are not carried out yet.
    async fn deletions(&self) -> Result<Arc<Deletions>> {
        if let Some(state) = self.view.state() {
            return Ok(Arc::clone(&state.deletions));
        }
        let position = self.position();
        if let Some((_, deletions)) = self.cache.deletions.get(&()).filter(|(at, _)| *at == position) {
            return Ok(deletions);
        }
        let deletions = Arc::new(self.index.deletions().await?);
        self.cache.deletions.put((), (position, Arc::clone(&deletions)));
        Ok(deletions)
    }

    /// The segments that hold rollups, ascending.
    async fn rolled(&self) -> Result<Arc<Vec<SegmentId>>> {
        match self.view.state() {
            Some(state) => Ok(Arc::clone(&state.rolled)),
            None => self.index.rolled().await.map(Arc::new),
        }
    }

    /// The first bucket that retention has left.
    async fn live(&self) -> Result<SegmentId> {
        match self.view.state() {
            Some(state) => Ok(state.live),
            None => self.index.live().await,
        }
    }

    /// How many deletions background work has not carried out in the files yet, counted in each bucket. No reader
    /// sees what they delete.
    ///
    /// # Errors
    /// What reading returned.
    pub async fn pending_deletions(&self) -> Result<u64> {
        Ok(self.deletions().await?.values().map(|of_bucket| of_bucket.len() as u64).sum())
    }

    /// The unsealed samples of a bucket.
    async fn head(&self, bucket: SegmentId) -> Result<Arc<Head>> {
        if let Some(state) = self.view.state() {
            return Ok(state.heads.get(&bucket).cloned().unwrap_or_default());
        }
        if let Some(head) = self.stored(bucket).head {
            return Ok(head);
        }
        let head = Arc::new(self.index.head(bucket, &*self.deletions().await?).await?);
        self.cache.stored.put(bucket, Stored { head: Some(Arc::clone(&head)), ..self.stored(bucket) });
        Ok(head)
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("position", &self.position()).finish_non_exhaustive()
    }
}

fn corrupt_row(key: &[u8]) -> impl FnOnce(opendata_core::Error) -> opendata_core::Error {
    move |error| at(key, error)
}
