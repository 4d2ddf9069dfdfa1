//! What an instance holds, for whoever wonders where the series come from. Read from the index of one bucket: a scan
//! of its posting lists, no labels and no samples.

use std::collections::{BTreeMap, HashMap};

use opendata_core::Result;

use super::Reader;
use crate::key::Key;
use crate::labels::METRIC_NAME;
use crate::record::posting;

/// One line of a list of the largest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    /// What it is about: a metric, a label's name, or `name=value`.
    pub name: String,
    /// How much it has.
    pub value: u64,
}

/// What the newest bucket holds. The lists are sorted, largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// How many series there are.
    pub series: u64,
    /// How many different pairs of label name and value there are.
    pub label_pairs: u64,
    /// Samples that are not sealed into chunks yet.
    pub unsealed_samples: u64,
    /// The first time of the bucket.
    pub min_time_ms: i64,
    /// Its last time.
    pub max_time_ms: i64,
    /// The metrics with the most series.
    pub series_by_metric: Vec<Top>,
    /// The labels with the most values.
    pub values_by_label: Vec<Top>,
    /// The labels whose values take the most bytes, over all series that have them.
    pub bytes_by_label: Vec<Top>,
    /// The pairs of label name and value with the most series.
    pub series_by_pair: Vec<Top>,
    /// The sources that created the most series, where operations name theirs.
    pub series_by_source: Vec<Top>,
}

impl Reader {
    /// Counts what the newest bucket that has begun holds, with lists of the `top` largest of each kind.
    ///
    /// # Errors
    /// What reading returned.
    pub async fn statistics(&self, top: usize) -> Result<Statistics> {
        let buckets = self.buckets_in(i64::MIN, i64::MAX).await?;
        let Some(mut bucket) = buckets.last().copied() else { return Ok(Statistics::default()) };
        // The newest bucket may have been prepared for series that still write to the one before.
        if let (true, Some(before)) = (self.head(bucket).await?.slabs.is_none(), buckets.iter().rev().nth(1))
            && self.head(*before).await?.slabs.is_some()
        {
            bucket = *before;
        }
        let mut pairs = Largest::new(top);
        let mut metrics = Largest::new(top);
        let mut values: HashMap<String, u64> = HashMap::new();
        let mut bytes: HashMap<String, u64> = HashMap::new();
        let mut label_pairs = 0;
        self.index
            .for_each(self.index.keys.all_postings(bucket), |key, ids| {
                let Key::Posting { name, value, .. } = key else { return Ok(()) };
                let series = posting::count(ids)?;
                label_pairs += 1;
                if name == METRIC_NAME {
                    metrics.offer(series, || value.clone());
                }
                pairs.offer(series, || format!("{name}={value}"));
                *bytes.entry(name.clone()).or_default() += value.len() as u64 * series;
                *values.entry(name).or_default() += 1;
                Ok(())
            })
            .await?;
        let mut sources = Largest::new(top);
        self.index
            .for_each(self.index.keys.sources(bucket), |key, ids| {
                if let Key::Source { source, .. } = key {
                    sources.offer(posting::count(ids)?, || source.clone());
                }
                Ok(())
            })
            .await?;
        Ok(Statistics {
            series: u64::from(self.series_count(bucket).await?),
            label_pairs,
            unsealed_samples: self.head(bucket).await?.samples,
            min_time_ms: self.calendar.start_ms(bucket),
            max_time_ms: self.calendar.last_ms(bucket),
            series_by_metric: metrics.finish(),
            values_by_label: Largest::of(top, values),
            bytes_by_label: Largest::of(top, bytes),
            series_by_pair: pairs.finish(),
            series_by_source: sources.finish(),
        })
    }
}

/// The few largest of many.
struct Largest {
    top: usize,
    /// By value, then name: the smallest is the first to go.
    kept: BTreeMap<(u64, std::cmp::Reverse<String>), ()>,
}

impl Largest {
    fn new(top: usize) -> Self {
        Self { top, kept: BTreeMap::new() }
    }

    fn of(top: usize, all: HashMap<String, u64>) -> Vec<Top> {
        let mut largest = Self::new(top);
        for (name, value) in all {
            largest.offer(value, || name.clone());
        }
        largest.finish()
    }

    fn offer(&mut self, value: u64, name: impl Fn() -> String) {
        let smallest = self.kept.first_key_value().map(|((smallest, _), ())| *smallest);
        if self.kept.len() >= self.top && smallest.is_none_or(|smallest| value < smallest) {
            return;
        }
        self.kept.insert((value, std::cmp::Reverse(name())), ());
        if self.kept.len() > self.top {
            self.kept.pop_first();
        }
    }

    fn finish(self) -> Vec<Top> {
        self.kept.into_keys().rev().map(|(value, name)| Top { name: name.0, value }).collect()
    }
}
