//! What is read beside samples: metadata of metrics, exemplars, and this process's counters.

use std::collections::BTreeMap;

use opendata_core::Result;

use super::{Reader, at};
use crate::counts::WriteCounters;
use crate::exemplar::{self, Exemplar};
use crate::key::Key;
use crate::labels::Labels;
use crate::matcher::Matcher;
use crate::metadata::Metadata;

impl Reader {
    /// What metrics are, by name: one metric, or all of which anything is known.
    ///
    /// # Errors
    /// What reading returned.
    pub async fn metadata(&self, metric: Option<&str>) -> Result<BTreeMap<String, Metadata>> {
        let mut all = BTreeMap::new();
        if let Some(metric) = metric {
            let key = self.index.keys.metadata(metric);
            if let Some(value) = self.view.get(&key).await? {
                all.insert(metric.to_owned(), Metadata::decode(&value).map_err(|error| at(&key, error))?);
            }
            return Ok(all);
        }
        self.index
            .for_each(self.index.keys.all_metadata(), |key, value| {
                if let Key::Metadata { metric } = key {
                    all.insert(metric, Metadata::decode(value)?);
                }
                Ok(())
            })
            .await?;
        Ok(all)
    }

    /// The exemplars of the series that satisfy every matcher, in a range of times, by series and time. Of each series
    /// and bucket the newest 128 are kept.
    ///
    /// # Errors
    /// What reading returned.
    pub async fn exemplars(
        &self,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>> {
        let mut all: BTreeMap<Labels, Vec<Exemplar>> = BTreeMap::new();
        for bucket in self.buckets_in(start_ms, end_ms).await? {
            let mut kept = BTreeMap::new();
            self.index
                .for_each(self.index.keys.exemplars(bucket), |key, value| {
                    if let Key::Exemplar { series, .. } = key {
                        kept.insert(series, exemplar::decode(value)?);
                    }
                    Ok(())
                })
                .await?;
            if kept.is_empty() {
                continue;
            }
            let ids = self.ids(bucket, matchers).await? & kept.keys().copied().collect::<roaring::RoaringBitmap>();
            for (id, entry) in self.entries(bucket, &ids).await? {
                let mut of_one = kept.remove(&id).unwrap_or_default();
                of_one.retain(|one| (start_ms..=end_ms).contains(&one.at.0));
                if !of_one.is_empty() {
                    all.entry(entry.labels).or_default().append(&mut of_one);
                }
            }
        }
        Ok(all.into_iter().collect())
    }

    /// What this process has written and refused since it opened the slate; none where it does not write.
    #[must_use]
    pub fn write_counters(&self) -> Option<WriteCounters> {
        self.view.state().map(|state| state.counters.read())
    }
}
