//! A storage in memory: the simplest thing that can be queried.

use std::collections::BTreeMap;

use async_trait::async_trait;
use opendata_core::Result;
use opendata_tsdb::promql::{Series, Storage};
use opendata_tsdb::{Labels, Matcher};

#[derive(Default)]
pub(crate) struct Memory {
    series: BTreeMap<Labels, BTreeMap<i64, f64>>,
}

impl Memory {
    pub(crate) fn insert(&mut self, labels: Labels, time_ms: i64, value: f64) {
        self.series.entry(labels).or_default().insert(time_ms, value);
    }
}

#[async_trait]
impl Storage for Memory {
    async fn select(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Vec<Series>> {
        let wanted = |labels: &Labels| {
            matchers.iter().all(|matcher| matcher.matches(labels.get(matcher.name()).unwrap_or_default()))
        };
        let series = self.series.iter().filter(|(labels, _)| wanted(labels)).map(|(labels, samples)| {
            let (times, values) =
                if start_ms <= end_ms { samples.range(start_ms..=end_ms).unzip() } else { (vec![], vec![]) };
            Series::floats(labels.clone(), times, values)
        });
        Ok(series.filter(|series| !series.timestamps.is_empty()).collect())
    }
}
