//! A storage in memory: the simplest thing that can be queried.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use opendata_core::Result;
use opendata_tsdb::promql::{Series, Storage, is_stale};
use opendata_tsdb::{CounterReset, Histogram, Labels, Matcher};

use crate::series::Item;

#[derive(Clone)]
enum Stored {
    Float(f64),
    Histogram(Arc<Histogram>),
}

#[derive(Default)]
pub(crate) struct Memory {
    series: BTreeMap<Labels, BTreeMap<i64, Stored>>,
    /// Since when samples count.
    starts: BTreeMap<Labels, BTreeMap<i64, i64>>,
}

impl Memory {
    pub(crate) fn insert(&mut self, labels: &Labels, time_ms: i64, item: &Item) {
        let stored = match item {
            Item::Gap => return,
            Item::Float(value) => Stored::Float(*value),
            Item::Histogram(histogram) => Stored::Histogram(Arc::new(histogram.clone())),
        };
        self.series.entry(labels.clone()).or_default().insert(time_ms, stored);
    }

    /// Says since when a sample counts.
    pub(crate) fn start(&mut self, labels: &Labels, time_ms: i64, start_ms: i64) {
        self.starts.entry(labels.clone()).or_default().insert(time_ms, start_ms);
    }
}

/// The hint that a database gives with a histogram: whether a counter went on since the sample before, as far as it looked.
fn hinted(histogram: &Histogram, before: Option<&Stored>) -> Arc<Histogram> {
    let counter_reset = match before {
        _ if histogram.is_gauge() => CounterReset::Gauge,
        Some(Stored::Histogram(before)) => {
            let same_layout = before.schema == histogram.schema
                && before.zero_threshold == histogram.zero_threshold
                && before.custom_bounds == histogram.custom_bounds
                && !before.is_gauge();
            if same_layout && !histogram.is_reset_after(before) {
                CounterReset::NotReset
            } else if histogram.counter_reset == CounterReset::Reset {
                CounterReset::Reset
            } else {
                CounterReset::Unknown
            }
        }
        Some(Stored::Float(_)) | None => CounterReset::Unknown,
    };
    Arc::new(Histogram { counter_reset, ..histogram.clone() })
}

#[async_trait]
impl Storage for Memory {
    async fn select(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Vec<Series>> {
        let wanted = |labels: &Labels| {
            matchers.iter().all(|matcher| matcher.matches(labels.get(matcher.name()).unwrap_or_default()))
        };
        let series = self.series.iter().filter(|(labels, _)| wanted(labels)).map(|(labels, samples)| {
            let (mut times, mut values, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
            let mut before = None;
            for (time, stored) in samples {
                if (start_ms..=end_ms).contains(time) {
                    match stored {
                        Stored::Float(value) => values.push(*value),
                        Stored::Histogram(histogram) => {
                            histograms.push((u32::try_from(times.len()).unwrap(), hinted(histogram, before)));
                            values.push(0.0);
                        }
                    }
                    times.push(*time);
                }
                before = Some(stored).filter(|stored| !matches!(stored, Stored::Float(value) if is_stale(*value)));
            }
            let starts = self.starts.get(labels);
            let start = |time: &i64| starts.and_then(|starts| starts.get(time)).copied().unwrap_or(0);
            let starts = times.iter().map(start).collect();
            Series::mixed(labels.clone(), times, values, histograms).with_start_times(starts)
        });
        Ok(series.filter(|series| !series.timestamps.is_empty()).collect())
    }
}
