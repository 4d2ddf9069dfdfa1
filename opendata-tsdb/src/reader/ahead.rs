//! Reading side by side what a view without the writer's memory would read one after the other: what a later step needs is
//! asked for while an earlier one is still waited for. What is read ahead goes to the caches, and answers nothing by itself.

use futures::{StreamExt, stream};
use opendata_core::key::SegmentId;
use roaring::RoaringBitmap;

use super::Reader;
use super::samples::WINDOWS_AT_ONCE;
use super::select::names_values;
use crate::labels::METRIC_NAME;
use crate::matcher::Matcher;

/// More posting lists than that are left to the step that knows whether they are needed.
const MOST_POSTINGS: usize = 16;

impl Reader {
    /// Reads the posting lists that matchers name outright. Whether that works out is seen when they are needed.
    pub(super) async fn postings_ahead(&self, bucket: SegmentId, matchers: &[Matcher]) {
        if self.view.state().is_some() {
            return;
        }
        let named = matchers.iter().filter(|matcher| names_values(matcher));
        let reads: Vec<_> = named
            .flat_map(|matcher| matcher.literals().unwrap_or_default().iter().map(|value| (matcher.name(), value)))
            .take(MOST_POSTINGS)
            .map(|(name, value)| self.index.posting(bucket, name, value))
            .collect();
        futures::future::join_all(reads).await;
    }

    /// Reads the chunks of series of one metric that a matcher names, while their labels are read.
    pub(super) async fn windows_ahead(
        &self,
        bucket: SegmentId,
        matchers: &[Matcher],
        ids: &RoaringBitmap,
        (start_ms, end_ms): (i64, i64),
    ) {
        let name = matchers.iter().find(|matcher| matcher.name() == METRIC_NAME && names_values(matcher));
        let (None, Some([name])) = (self.view.state(), name.and_then(Matcher::literals)) else { return };
        // A metric is named by its first series.
        let Ok(of_metric) = self.index.posting(bucket, METRIC_NAME, name).await else { return };
        let Some(metric) = of_metric.min() else { return };
        let ids: Vec<u32> = ids.iter().collect();
        let windows = self.calendar.windows(bucket, start_ms, end_ms);
        let reads: Vec<_> = windows.map(|window| self.window(bucket, metric, window, &ids)).collect();
        stream::iter(reads).buffer_unordered(WINDOWS_AT_ONCE).for_each(async |_| ()).await;
    }
}
