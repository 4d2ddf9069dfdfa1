//! What the query engine reads: series of all buckets a range touches, decoded when the engine comes to them.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use opendata_core::Result;

use super::Reader;
use super::samples::Part;
use crate::columns::Columns;
use crate::labels::Labels;
use crate::matcher::Matcher;
use crate::promql::storage::{Buffer, Unpack};
use crate::promql::{Found, Narrowed, Series, Storage};

/// How many buckets of one query are read at a time.
const BUCKETS_AT_ONCE: usize = 8;

/// Series of one or several buckets.
struct Packed {
    /// In the order of their times, which do not overlap.
    parts: Vec<Part>,
    /// Where there are several parts: the labels of each series.
    labels: Vec<Labels>,
    /// Where there are several parts: by part and series, its place in the part's selection and one.
    places: Vec<Vec<u32>>,
}

impl Unpack for Packed {
    fn labels(&self, series: usize) -> Option<&Labels> {
        match self.parts.as_slice() {
            [part] => part.selection.series.get(series).map(|(_, entry)| &entry.labels),
            _ => self.labels.get(series),
        }
    }

    fn unpack(&self, series: usize, buffer: &mut Buffer) -> Result<()> {
        let into = &mut buffer.series;
        let mut columns = Columns {
            times: std::mem::take(&mut into.timestamps),
            values: std::mem::take(&mut into.values),
            histograms: std::mem::take(&mut into.histograms),
            starts: std::mem::take(&mut into.start_times),
        };
        columns.clear();
        if let ([part], []) = (self.parts.as_slice(), self.places.as_slice()) {
            part.read(series, &mut buffer.scratch, &mut columns)?;
        }
        for (part, places) in self.parts.iter().zip(&self.places) {
            let place = places.get(series).copied().unwrap_or(0);
            if let Some(place) = place.checked_sub(1) {
                let mut of_part = Columns::default();
                part.read(place as usize, &mut buffer.scratch, &mut of_part)?;
                columns.append(of_part);
            }
        }
        if !columns.starts.is_empty() {
            columns.starts.resize(columns.times.len(), 0);
        }
        (into.timestamps, into.values) = (columns.times, columns.values);
        (into.histograms, into.start_times) = (columns.histograms, columns.starts);
        Ok(())
    }

    fn stored(&self) -> (usize, usize) {
        let of_parts = self.parts.iter().map(Part::chunk_rows);
        of_parts.fold((0, 0), |(rows, bytes), (more_rows, more_bytes)| (rows + more_rows, bytes + more_bytes))
    }
}

impl Packed {
    fn of(parts: Vec<Part>) -> Self {
        if parts.len() == 1 {
            return Self { parts, labels: Vec::new(), places: Vec::new() };
        }
        let mut labels: Vec<Labels> = Vec::new();
        let mut known: HashMap<Labels, usize> = HashMap::new();
        let mut places = Vec::with_capacity(parts.len());
        for part in &parts {
            let mut of_part = vec![0; labels.len()];
            for ((_, entry), place) in part.selection.series.iter().zip(1..) {
                let next = labels.len();
                let series = *known.entry(entry.labels.clone()).or_insert(next);
                if series == next {
                    labels.push(entry.labels.clone());
                    of_part.push(0);
                }
                if let Some(slot) = of_part.get_mut(series) {
                    *slot = place;
                }
            }
            places.push(of_part);
        }
        Self { parts, labels, places }
    }

    fn len(&self) -> usize {
        match self.parts.as_slice() {
            [part] => part.selection.series.len(),
            _ => self.labels.len(),
        }
    }
}

#[async_trait]
impl Storage for Reader {
    async fn select(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Vec<Series>> {
        let found = self.find(matchers, start_ms, end_ms).await?;
        let mut buffer = Buffer::default();
        let mut all = Vec::with_capacity(found.len());
        for series in 0..found.len() {
            found.with(series, &mut buffer, |series| {
                if !series.timestamps.is_empty() {
                    all.push(series.clone());
                }
                Ok(())
            })?;
        }
        Ok(all)
    }

    async fn find(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Found> {
        let expired = self.expired_series(matchers, start_ms, end_ms);
        let (expired, kept) = futures::try_join!(expired, self.find_kept(matchers, start_ms, end_ms))?;
        if expired.is_empty() { Ok(kept) } else { behind(expired, &kept) }
    }

    fn has_rollups(&self) -> bool {
        self.uses_rollups()
    }

    async fn find_rolled(
        &self,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
        unit_ms: i64,
    ) -> Result<Option<Found>> {
        self.rolled_series(matchers, start_ms, end_ms, unit_ms).await
    }

    async fn label_sets(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Option<Vec<Labels>>> {
        // What rollups keep of series that have expired is not in the index.
        if self.uses_rollups() {
            return Ok(None);
        }
        self.series(matchers, start_ms, end_ms).await.map(Some)
    }

    async fn narrowing(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Vec<Narrowed>> {
        self.narrowed(matchers, start_ms, end_ms).await
    }
}

impl Reader {
    /// The series that retention has left.
    pub(super) async fn find_kept(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Found> {
        let buckets = self.buckets_in(start_ms, end_ms).await?;
        let parts: Vec<_> = buckets.into_iter().map(|bucket| self.part(bucket, matchers, (start_ms, end_ms))).collect();
        let parts: Vec<Part> = stream::iter(parts).buffered(BUCKETS_AT_ONCE).try_collect().await?;
        let packed = Packed::of(parts);
        Ok(Found::packed(packed.len(), Arc::new(packed)))
    }
}

/// The series with what stands for their expired samples in front.
fn behind(expired: Vec<Series>, kept: &Found) -> Result<Found> {
    let mut all = expired;
    let places: HashMap<Labels, usize> = all.iter().map(|series| series.labels.clone()).zip(0..).collect();
    let mut buffer = Buffer::default();
    for series in 0..kept.len() {
        kept.with(series, &mut buffer, |series| {
            match places.get(&series.labels).and_then(|place| all.get_mut(*place)) {
                Some(known) => {
                    let offset = u32::try_from(known.timestamps.len()).unwrap_or(u32::MAX);
                    let histograms = series.histograms.iter().map(|(at, one)| (offset + at, Arc::clone(one)));
                    known.histograms.extend(histograms);
                    if !series.start_times.is_empty() {
                        known.start_times.resize(known.timestamps.len(), 0);
                        known.start_times.extend_from_slice(&series.start_times);
                    }
                    known.timestamps.extend_from_slice(&series.timestamps);
                    known.values.extend_from_slice(&series.values);
                    if !known.start_times.is_empty() {
                        known.start_times.resize(known.timestamps.len(), 0);
                    }
                }
                None => all.push(series.clone()),
            }
            Ok(())
        })?;
    }
    Ok(Found::stood_for(all))
}
