//! What made the series of a query few: for whoever asks why a query costs what it costs.

use opendata_core::Result;

use super::Reader;
use crate::matcher::Matcher;
use crate::promql::{MatcherFacts, Narrowed};

impl Reader {
    /// For each bucket that a range of times touches how many series it has, how many each matcher leaves by itself, and how many
    /// all of them.
    pub(super) async fn narrowed(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Vec<Narrowed>> {
        let mut all = Vec::new();
        for bucket in self.buckets_in(start_ms, end_ms).await? {
            let mut facts = Vec::with_capacity(matchers.len());
            for matcher in matchers {
                let series = self.ids(bucket, std::slice::from_ref(matcher)).await?.len();
                facts.push(MatcherFacts::new(matcher, series));
            }
            all.push(Narrowed {
                start_ms: self.calendar.start_ms(bucket),
                series: u64::from(self.series_count(bucket).await?),
                matched: self.ids(bucket, matchers).await?.len(),
                matchers: facts,
            });
        }
        Ok(all)
    }
}
