//! The samples of chosen series of one bucket.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use opendata_core::Result;
use opendata_core::key::SegmentId;
use opendata_core::slate::Access;

use super::{Reader, corrupt_row};
use crate::chunk::{self, Scratch};
use crate::columns::Columns;
use crate::key::Key;
use crate::matcher::Matcher;
use crate::promql::Series;
use crate::record::deletion;
use crate::record::forward::Entry;

/// From so many series of a metric on, a window is scanned; below, each series is read by its key.
const SCAN_FROM: usize = 8;
/// A scan may read over so many series for each one that is asked for.
const SCAN_OVER: usize = 16;
const WINDOWS_AT_ONCE: usize = 8;
const ROWS_AT_ONCE: usize = 16;

impl Reader {
    /// The series of a bucket that satisfy every matcher, with their samples in a range of times; those without are
    /// left out.
    pub(super) async fn select_bucket(
        &self,
        bucket: SegmentId,
        matchers: &[Matcher],
        range: (i64, i64),
    ) -> Result<Vec<Series>> {
        let ids = self.ids(bucket, matchers).await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let entries = self.entries(bucket, &ids).await?;
        let mut samples = vec![Columns::default(); entries.len()];
        self.read_chunks(bucket, &entries, range, &mut samples).await?;
        let head = self.head(bucket).await?;
        let deletions = self.deletions().await?.get(&bucket).cloned().unwrap_or_default();
        let mut series = Vec::with_capacity(entries.len());
        for ((id, entry), mut samples) in entries.into_iter().zip(samples) {
            deletion::apply(&deletions, id, &mut samples);
            let sealed = samples.len();
            head.collect(id, range, &mut samples);
            if samples.len() > sealed {
                // What is not sealed is newer than what is, so it stands behind and wins.
                samples.settle();
            }
            if !samples.is_empty() {
                series.push(Series::mixed(entry.labels, samples.times, samples.values, samples.histograms));
            }
        }
        Ok(series)
    }

    /// Reads the chunks of a range of times: window by window, so that each series' samples come in order.
    async fn read_chunks(
        &self,
        bucket: SegmentId,
        entries: &[(u32, Entry)],
        (start_ms, end_ms): (i64, i64),
        samples: &mut [Columns],
    ) -> Result<()> {
        let metrics = by_metric(entries);
        let windows = self.calendar.windows(bucket, start_ms, end_ms);
        let mut reads = Vec::new();
        for window in windows {
            reads.extend(metrics.iter().map(|(metric, ids)| self.read_window(bucket, *metric, window, ids)));
        }
        let mut reads = stream::iter(reads).buffered(WINDOWS_AT_ONCE);
        let mut scratch = Scratch::default();
        while let Some(rows) = reads.try_next().await? {
            for (id, row) in rows {
                let place = entries.binary_search_by_key(&id, |(id, _)| *id);
                if let Some(samples) = place.ok().and_then(|place| samples.get_mut(place)) {
                    let read = chunk::decode_range(&row, (start_ms, end_ms), &mut scratch, samples);
                    read.map_err(|error| error.context(format_args!("series {id} in bucket {}", bucket.0)))?;
                }
            }
        }
        Ok(())
    }

    /// The rows of some series of one metric in one window.
    async fn read_window(&self, bucket: SegmentId, metric: u32, window: u8, ids: &[u32]) -> Result<Vec<(u32, Bytes)>> {
        let (Some(first), Some(last)) = (ids.first(), ids.last()) else { return Ok(Vec::new()) };
        let span = (last - first) as usize + 1;
        let mut found = Vec::new();
        if ids.len() >= SCAN_FROM && span <= SCAN_OVER * ids.len() {
            let range = self.index.keys.data_range(bucket, metric, window, *first, *last);
            let mut rows = self.index.rows(range, Access::Bulk).await?;
            while let Some(row) = rows.next().await? {
                let Key::Data { series, .. } = Key::decode(&row.key).map_err(corrupt_row(&row.key))? else { break };
                if ids.len() == span || ids.binary_search(&series).is_ok() {
                    found.push((series, row.value));
                }
            }
            return Ok(found);
        }
        let reads: Vec<_> = ids.iter().map(|id| self.index.chunks(bucket, metric, window, *id)).collect();
        let mut reads = stream::iter(reads).buffered(ROWS_AT_ONCE);
        let mut asked = ids.iter();
        while let (Some(id), Some(row)) = (asked.next(), reads.try_next().await?) {
            found.extend(row.map(|row| (*id, row)));
        }
        Ok(found)
    }
}

/// The ids of each metric, in order.
fn by_metric(entries: &[(u32, Entry)]) -> Vec<(u32, Vec<u32>)> {
    let mut pairs: Vec<(u32, u32)> = entries.iter().map(|(id, entry)| (entry.metric, *id)).collect();
    pairs.sort_unstable();
    let metrics = pairs.chunk_by(|a, b| a.0 == b.0);
    metrics.filter_map(|of_one| Some((of_one.first()?.0, of_one.iter().map(|(_, id)| *id).collect()))).collect()
}
