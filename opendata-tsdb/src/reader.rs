//! Reads an instance at one view: series by matchers, their samples, their labels.
//!
//! A query asks the index of each bucket it touches for the ids, reads the labels of those ids, and scans only the
//! windows it needs. Samples that are not sealed yet come from the head: from the writer's memory where the view has
//! it, else from the slabs. Both give the same answer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
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
use crate::promql::{Series, Storage};
use crate::record::deletion::Deletions;
use crate::record::name::Sketch;

mod beside;
mod samples;
mod select;
mod statistics;

pub use statistics::{Statistics, Top};

/// How many buckets of one query are read at a time.
const BUCKETS_AT_ONCE: usize = 8;

/// Reads one TSDB instance at one view. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    view: InstanceView<Tsdb>,
    index: Index,
    calendar: Calendar,
    /// What was read without the writer's state: kept for the next query on this reader.
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    buckets: Option<Arc<Vec<SegmentId>>>,
    heads: HashMap<SegmentId, Arc<Head>>,
    deletions: Option<Arc<Deletions>>,
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
        Self { view, index, calendar, kept: Arc::default() }
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
            for (value, having) in self.postings(bucket, name, "").await? {
                if ids.as_ref().is_none_or(|ids| !ids.is_disjoint(&having)) {
                    values.insert(value);
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
        if let Some(buckets) = &self.kept().buckets {
            return Ok(Arc::clone(buckets));
        }
        let buckets = Arc::new(self.index.buckets().await?);
        self.kept().buckets = Some(Arc::clone(&buckets));
        Ok(buckets)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The deletions that are not carried out yet.
    async fn deletions(&self) -> Result<Arc<Deletions>> {
        if let Some(state) = self.view.state() {
            return Ok(Arc::clone(&state.deletions));
        }
        if let Some(deletions) = &self.kept().deletions {
            return Ok(Arc::clone(deletions));
        }
        let deletions = Arc::new(self.index.deletions().await?);
        self.kept().deletions = Some(Arc::clone(&deletions));
        Ok(deletions)
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
        if let Some(head) = self.kept().heads.get(&bucket) {
            return Ok(Arc::clone(head));
        }
        let head = Arc::new(self.index.head(bucket, &*self.deletions().await?).await?);
        self.kept().heads.insert(bucket, Arc::clone(&head));
        Ok(head)
    }
}

#[async_trait]
impl Storage for Reader {
    async fn select(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Vec<Series>> {
        let buckets = self.buckets_in(start_ms, end_ms).await?;
        let parts: Vec<_> =
            buckets.into_iter().map(|bucket| self.select_bucket(bucket, matchers, (start_ms, end_ms))).collect();
        let mut parts = stream::iter(parts).buffered(BUCKETS_AT_ONCE);
        let mut all: Vec<Series> = Vec::new();
        let mut places: HashMap<Labels, usize> = HashMap::new();
        while let Some(part) = parts.try_next().await? {
            if all.is_empty() {
                all = part;
                continue;
            }
            if places.is_empty() {
                places = all.iter().enumerate().map(|(place, series)| (series.labels.clone(), place)).collect();
            }
            // Buckets come in time order and do not overlap, so their samples follow one another.
            for mut series in part {
                match places.get(&series.labels).and_then(|place| all.get_mut(*place)) {
                    Some(known) => {
                        let offset = u32::try_from(known.timestamps.len()).unwrap_or(u32::MAX);
                        let histograms = series.histograms.into_iter().map(|(at, one)| (offset + at, one));
                        known.histograms.extend(histograms);
                        known.timestamps.append(&mut series.timestamps);
                        known.values.append(&mut series.values);
                    }
                    None => {
                        places.insert(series.labels.clone(), all.len());
                        all.push(series);
                    }
                }
            }
        }
        Ok(all)
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
