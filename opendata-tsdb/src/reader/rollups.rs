//! Reading rollups.

use std::collections::BTreeMap;

use opendata_core::Result;
use opendata_core::key::SegmentId;
use opendata_core::slate::Access;

use super::{Reader, at};
use crate::columns::{Columns, Samples};
use crate::key::Key;
use crate::labels::Labels;
use crate::matcher::Matcher;
use crate::promql::storage::Buffer;
use crate::promql::{Found, Series};
use crate::rollup::{self, Resolution, RollupPoint};

/// A series of a rollup.
#[derive(Clone, Debug, PartialEq)]
pub struct RollupSeries {
    /// What identifies the series.
    pub labels: Labels,
    /// Its points by time; none where an interval has no samples.
    pub points: Vec<RollupPoint>,
}

/// Where queries read rollups instead of samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UseRollups {
    /// Nowhere.
    Never,
    /// Where retention has dropped the samples, in an instance that makes rollups.
    #[default]
    Expired,
}

impl Reader {
    /// The same reader, whose queries use rollups as said.
    ///
    /// The functions `count`, `sum`, `avg`, `min`, `max`, `first`, `last`, `present_over_time`, `delta`, `increase` and `rate` are
    /// computed of the rollups' points where their windows begin and end with intervals at every step: of the coarsest rollup
    /// that allows it. They give what the samples gave, except that numbers are added up in another order.
    ///
    /// Elsewhere a query sees the finest rollup that is left as the first and the last sample of each interval, at their times; for
    /// a counter (a metric whose name ends with `_total`, `_count`, `_sum` or `_bucket`) that began anew in between also the value
    /// it must have had before, so that `rate` and `increase` over many intervals come close to what the samples gave. The
    /// answer then has a warning. Histograms are in no rollup, and neither is since when a sample counts.
    #[must_use]
    pub fn with_rollups(mut self, use_rollups: UseRollups) -> Self {
        self.use_rollups = use_rollups;
        self
    }

    pub(super) fn uses_rollups(&self) -> bool {
        self.use_rollups != UseRollups::Never && !self.view.config().rollups.is_empty()
    }

    /// Points instead of samples, if some of the range has expired and a rollup's intervals divide `unit_ms`. What has not
    /// expired is rolled up while it is read.
    pub(super) async fn rolled_series(
        &self,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
        unit_ms: i64,
    ) -> Result<Option<Found>> {
        if !self.uses_rollups() {
            return Ok(None);
        }
        let live = self.live().await?;
        let live_ms = self.calendar.start_ms(live);
        if start_ms >= live_ms {
            return Ok(None);
        }
        let last_expired = SegmentId(live.0.saturating_sub(1));
        let Some(resolution) = self.coarsest(unit_ms, (start_ms, end_ms.min(live_ms - 1))).await? else {
            return Ok(None);
        };
        // Windows are open on the left: the first interval begins right before the range.
        let begin_ms = start_ms.saturating_sub(1);
        let expired =
            (self.calendar.nearest_segment(start_ms), last_expired.min(self.calendar.nearest_segment(end_ms)));
        let mut all = self.points(matchers, resolution, expired).await?;
        if end_ms >= live_ms {
            let kept = self.find_kept(matchers, live_ms, end_ms).await?;
            let mut buffer = Buffer::default();
            let mut has_histograms = false;
            for series in 0..kept.len() {
                kept.with(series, &mut buffer, |series| {
                    has_histograms |= !series.histograms.is_empty();
                    let samples = Samples::floats(&series.timestamps, &series.values);
                    let points = rollup::points(samples, resolution);
                    if !points.is_empty() {
                        all.entry(series.labels.clone()).or_default().extend(points);
                    }
                    Ok(())
                })?;
            }
            if has_histograms {
                return Ok(None);
            }
        }
        let series = all.into_iter().map(|(labels, points)| {
            let mut points = rollup::join(points);
            points.retain(|point| (begin_ms..end_ms).contains(&point.start_ms));
            Series { labels, points, ..Series::default() }
        });
        Ok(Some(Found::rolled(series.filter(|series| !series.points.is_empty()).collect(), resolution)))
    }

    /// The coarsest rollup of which intervals divide `unit_ms`, if every segment of the range that has rollups has this one.
    async fn coarsest(&self, unit_ms: i64, (start_ms, end_ms): (i64, i64)) -> Result<Option<Resolution>> {
        let mut left: Vec<Resolution> =
            Resolution::ALL.into_iter().filter(|one| unit_ms % one.length_ms() == 0).collect();
        let mut any = false;
        for segment in self.rolled().await?.iter().copied() {
            if self.calendar.first_rolled_ms(segment) > end_ms || self.calendar.last_rolled_ms(segment) < start_ms {
                continue;
            }
            let mut there = Vec::new();
            for resolution in Resolution::ALL {
                let mut rows = self.index.rows(self.index.keys.rollups(segment, resolution), Access::Point).await?;
                if rows.next().await?.is_some() {
                    there.push(resolution);
                }
            }
            any |= !there.is_empty();
            left.retain(|one| there.is_empty() || there.contains(one));
        }
        Ok(left.last().copied().filter(|_| any))
    }

    /// What stands for the samples that retention has dropped.
    pub(super) async fn expired_series(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Vec<Series>> {
        if !self.uses_rollups() {
            return Ok(Vec::new());
        }
        let live = self.live().await?;
        let end_ms = end_ms.min(self.calendar.start_ms(live).saturating_sub(1));
        if start_ms > end_ms {
            return Ok(Vec::new());
        }
        let mut all: BTreeMap<Labels, Columns> = BTreeMap::new();
        for segment in self.rolled().await?.iter().copied() {
            let start_ms = start_ms.max(self.calendar.first_rolled_ms(segment));
            let end_ms = end_ms.min(self.calendar.last_rolled_ms(segment));
            for resolution in Resolution::ALL {
                let mut any = self.index.rows(self.index.keys.rollups(segment, resolution), Access::Point).await?;
                if start_ms > end_ms || any.next().await?.is_none() {
                    continue;
                }
                let buckets = [start_ms, end_ms].map(|time_ms| self.calendar.nearest_segment(time_ms));
                for (labels, points) in self.points(matchers, resolution, buckets.into()).await? {
                    let is_counter = is_counter(&labels);
                    let samples = all.entry(labels).or_default();
                    let before = samples.len();
                    rollup::join(points).iter().for_each(|point| stand_in(point, is_counter, samples));
                    samples.clip(before, start_ms, end_ms);
                }
                break;
            }
        }
        let series = all.into_iter().filter(|(_, samples)| !samples.is_empty());
        Ok(series.map(|(labels, samples)| Series::floats(labels, samples.times, samples.values)).collect())
    }

    /// The rollups of the series that satisfy every matcher, whose intervals begin in `start_ms ..= end_ms`, by series
    /// and time. Rollups are there for buckets that are over and sealed, also where retention has dropped the samples.
    ///
    /// # Errors
    /// What reading returned.
    pub async fn rollups(
        &self,
        matchers: &[Matcher],
        resolution: Resolution,
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<RollupSeries>> {
        if start_ms > end_ms {
            return Ok(Vec::new());
        }
        // A point may begin in the bucket before the one whose samples it holds, or in its own.
        let buckets = [start_ms, end_ms.saturating_add(resolution.length_ms())];
        let buckets = buckets.map(|time_ms| self.calendar.nearest_segment(time_ms));
        let in_range = |point: &RollupPoint| (start_ms..=end_ms).contains(&point.start_ms);
        let all = self.points(matchers, resolution, buckets.into()).await?;
        let series = all.into_iter().map(|(labels, points)| {
            let points = rollup::join(points).into_iter().filter(in_range).collect();
            RollupSeries { labels, points }
        });
        Ok(series.filter(|series| !series.points.is_empty()).collect())
    }

    /// The points of the series that satisfy every matcher, of some buckets, both included, by time. Where an interval lies across the
    /// border of two buckets it has a point of each.
    async fn points(
        &self,
        matchers: &[Matcher],
        resolution: Resolution,
        (first, last): (SegmentId, SegmentId),
    ) -> Result<BTreeMap<Labels, Vec<RollupPoint>>> {
        let mut all: BTreeMap<Labels, Vec<RollupPoint>> = BTreeMap::new();
        let [first, last] = [first, last].map(|bucket| self.calendar.rolled(bucket));
        for segment in self.rolled().await?.iter().copied().filter(|one| (first.0..=last.0).contains(one)) {
            let ids = self.ids(segment, matchers).await?;
            let entries = self.entries(segment, &ids).await?;
            let mut metrics: Vec<u32> = entries.iter().map(|(_, entry)| entry.metric).collect();
            metrics.sort_unstable();
            metrics.dedup();
            let from = if segment == first.0 { first.1 } else { 0 };
            let to = if segment == last.0 { last.1 } else { u8::MAX };
            for metric in metrics {
                let range = self.index.keys.rollups_of(segment, resolution, metric, from, to);
                let mut rows = self.index.rows(range, Access::Bulk).await?;
                while let Some(row) = rows.next().await? {
                    let Key::Rollup { series, .. } = Key::decode(&row.key)? else { break };
                    let Ok(place) = entries.binary_search_by_key(&series, |(id, _)| *id) else { continue };
                    let Some((_, entry)) = entries.get(place) else { continue };
                    let points = rollup::decode(&row.value, resolution).map_err(|error| at(&row.key, error))?;
                    all.entry(entry.labels.clone()).or_default().extend(points);
                }
            }
        }
        Ok(all)
    }
}

/// By the suffixes that Prometheus's conventions give to counters.
fn is_counter(labels: &Labels) -> bool {
    let name = labels.metric_name().unwrap_or_default();
    ["_total", "_count", "_sum", "_bucket"].iter().any(|suffix| name.ends_with(suffix))
}

/// The samples that stand for an interval.
fn stand_in(point: &RollupPoint, is_counter: bool, out: &mut Columns) {
    out.push(point.first_ms, point.first);
    // The growth that first and last do not tell: first -> peak, then from zero -> last.
    let peak = point.increase - point.last + point.first;
    let direct = if point.last < point.first { point.last } else { point.last - point.first };
    if is_counter && point.increase > direct && point.last_ms - point.first_ms > 1 && peak > point.last {
        out.push(point.last_ms - 1, peak);
    }
    if point.last_ms > point.first_ms {
        out.push(point.last_ms, point.last);
    }
}
