//! What the engine evaluates over: anything that can select series by matchers.

use std::sync::Arc;

use async_trait::async_trait;
use opendata_core::Result;

use crate::chunk::Scratch;
use crate::histogram::Histogram;
use crate::labels::Labels;
use crate::matcher::Matcher;

use super::explain::Narrowed;
use crate::rollup::{Resolution, RollupPoint};

/// One series with the samples of a time range, as columns of equal length.
///
/// Stale markers (the NaN of [`STALE_NAN`](crate::promql::STALE_NAN)) are handed over as they were stored; the engine
/// gives them their meaning. A sample is a float, or a native histogram: then its value is meaningless, and `histograms` has it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Series {
    /// What identifies the series, the metric's name included.
    pub labels: Labels,
    /// Milliseconds since the epoch, strictly ascending.
    pub timestamps: Vec<i64>,
    /// The value at each timestamp.
    pub values: Vec<f64>,
    /// The samples that are histograms, by their place in `timestamps`, ascending. Empty for nearly all series.
    pub histograms: Vec<(u32, Arc<Histogram>)>,
    /// Since when each sample counts, as OpenTelemetry and OpenMetrics know it of counters: milliseconds, 0 where it is not known.
    /// Empty where it is known of no sample.
    pub start_times: Vec<i64>,
    /// What stands for the samples where a function can be computed of rollups: then there are no samples.
    pub(crate) points: Vec<RollupPoint>,
}

impl Series {
    /// A series of floats. The columns must be of one length; the longer one is cut off, so that they are.
    #[must_use]
    pub fn floats(labels: Labels, mut timestamps: Vec<i64>, mut values: Vec<f64>) -> Self {
        debug_assert_eq!(timestamps.len(), values.len(), "columns of one length");
        let len = timestamps.len().min(values.len());
        timestamps.truncate(len);
        values.truncate(len);
        Self { labels, timestamps, values, ..Self::default() }
    }

    /// The same with the time since when each sample counts. There must be one a sample, or none at all; if there are fewer, the others
    /// are not known.
    #[must_use]
    pub fn with_start_times(mut self, mut start_times: Vec<i64>) -> Self {
        if start_times.iter().any(|start| *start != 0) {
            debug_assert_eq!(start_times.len(), self.timestamps.len(), "columns of one length");
            start_times.resize(self.timestamps.len(), 0);
            self.start_times = start_times;
        }
        self
    }

    /// A series that holds histograms, each with the place of its sample, ascending. A place beyond the timestamps is left out.
    #[must_use]
    pub fn mixed(
        labels: Labels,
        timestamps: Vec<i64>,
        values: Vec<f64>,
        mut histograms: Vec<(u32, Arc<Histogram>)>,
    ) -> Self {
        let floats = Self::floats(labels, timestamps, values);
        debug_assert!(histograms.is_sorted_by_key(|(place, _)| *place), "histograms in the order of their samples");
        histograms.retain(|(place, _)| usize::try_from(*place).is_ok_and(|place| place < floats.timestamps.len()));
        Self { histograms, ..floats }
    }

    /// What reading the series counts against the limit of samples: one a float, and a histogram as many as would take its memory.
    pub(crate) fn weight(&self) -> usize {
        let histograms = self.histograms.iter().map(|(_, histogram)| histogram.size_bytes() / 16);
        self.timestamps.len() + 5 * self.points.len() + histograms.sum::<usize>()
    }

    /// The samples in order: time and value.
    pub fn samples(&self) -> impl Iterator<Item = (i64, SampleValue<'_>)> + '_ {
        let mut histograms = self.histograms.iter().peekable();
        self.timestamps.iter().zip(&self.values).zip(0_u32..).map(move |((time, value), place)| {
            match histograms.next_if(|(at, _)| *at == place) {
                Some((_, histogram)) => (*time, SampleValue::Histogram(histogram)),
                None => (*time, SampleValue::Float(*value)),
            }
        })
    }
}

/// What a sample holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SampleValue<'a> {
    /// A number.
    Float(f64),
    /// A distribution.
    Histogram(&'a Arc<Histogram>),
}

/// Series that were found, decoded or not.
pub struct Found(Contents);

enum Contents {
    Ready(Vec<Series>),
    /// Expired samples are stood for by others at the bounds of intervals.
    StoodFor(Vec<Series>),
    /// Points of rollups.
    Rolled(Vec<Series>, Resolution),
    /// So many series.
    Packed(usize, Arc<dyn Unpack>),
}

/// Decodes series, by their places.
pub(crate) trait Unpack: Send + Sync {
    /// The labels of a series; none behind the last one.
    fn labels(&self, series: usize) -> Option<&Labels>;

    /// Puts the samples of a series into the buffer.
    fn unpack(&self, series: usize, buffer: &mut Buffer) -> Result<()>;

    /// The rows that were read for all series, and their bytes.
    fn stored(&self) -> (usize, usize);
}

/// What one worker decodes into, series after series.
#[derive(Default)]
pub(crate) struct Buffer {
    pub(crate) series: Series,
    pub(crate) scratch: Scratch,
}

impl Found {
    /// So many series.
    pub(crate) fn packed(count: usize, source: Arc<dyn Unpack>) -> Self {
        Self(Contents::Packed(count, source))
    }

    /// Series of points.
    pub(crate) fn rolled(series: Vec<Series>, resolution: Resolution) -> Self {
        Self(Contents::Rolled(series, resolution))
    }

    /// Series with samples that stand for expired ones.
    pub(crate) fn stood_for(series: Vec<Series>) -> Self {
        Self(Contents::StoodFor(series))
    }

    /// Whether some samples stand for others, so that what is computed of them is near to the truth at best.
    pub(crate) fn is_stood_for(&self) -> bool {
        matches!(self.0, Contents::StoodFor(_))
    }

    /// The rollup that was read, if one was.
    pub(crate) fn resolution(&self) -> Option<Resolution> {
        match &self.0 {
            Contents::Rolled(_, resolution) => Some(*resolution),
            _ => None,
        }
    }

    /// How many series there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Contents::Ready(series) | Contents::StoodFor(series) | Contents::Rolled(series, _) => series.len(),
            Contents::Packed(count, _) => *count,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `f` with a series, decoded.
    pub(crate) fn with<R>(
        &self,
        place: usize,
        buffer: &mut Buffer,
        f: impl FnOnce(&Series) -> Result<R>,
    ) -> Result<Option<R>> {
        match &self.0 {
            Contents::Ready(series) | Contents::StoodFor(series) | Contents::Rolled(series, _) => {
                series.get(place).map(f).transpose()
            }
            Contents::Packed(_, source) => {
                let Some(labels) = source.labels(place) else { return Ok(None) };
                source.unpack(place, buffer)?;
                buffer.series.labels = labels.clone();
                f(&buffer.series).map(Some)
            }
        }
    }

    /// The rows of chunks that were read, and their bytes; none where the storage does not say.
    pub(crate) fn stored(&self) -> (usize, usize) {
        match &self.0 {
            Contents::Packed(_, source) => source.stored(),
            _ => (0, 0),
        }
    }
}

impl From<Vec<Series>> for Found {
    fn from(series: Vec<Series>) -> Self {
        Self(Contents::Ready(series))
    }
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Found").field("series", &self.len()).finish_non_exhaustive()
    }
}

/// Selects series. One storage is one instant: every call of one query sees the same data.
#[async_trait]
pub trait Storage: Send + Sync {
    /// The series that satisfy every matcher, with their samples from `start_ms` to `end_ms`, both included, stale
    /// markers too. In any order, each label set at most once; a series without samples in the range may be left out.
    ///
    /// # Errors
    /// Whatever reading fails with; the engine hands it on.
    async fn select(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Vec<Series>>;

    /// The same series, maybe not decoded yet: what the engine calls. A storage that can decode one series at a time
    /// saves the memory of all of them, and the engine's workers share the decoding.
    ///
    /// # Errors
    /// Whatever reading fails with; the engine hands it on.
    async fn find(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Found> {
        Ok(Found::from(self.select(matchers, start_ms, end_ms).await?))
    }

    /// Whether [`find_rolled`](Self::find_rolled) may find something.
    fn has_rollups(&self) -> bool {
        false
    }

    /// The same as points of a rollup, for functions that can be computed of these, where the windows of all steps begin and end at
    /// multiples of `unit_ms`. None where samples are to be read instead; the engine then calls [`find`](Self::find).
    ///
    /// # Errors
    /// Whatever reading fails with; the engine hands it on.
    async fn find_rolled(
        &self,
        _matchers: &[Matcher],
        _start_ms: i64,
        _end_ms: i64,
        _unit_ms: i64,
    ) -> Result<Option<Found>> {
        Ok(None)
    }

    /// The label sets of all series that [`find`](Self::find) would find, and maybe of more, without reading samples. None if the storage cannot tell;
    /// then joins are read as they stand.
    ///
    /// # Errors
    /// Whatever reading fails with; the engine hands it on.
    async fn label_sets(&self, _matchers: &[Matcher], _start_ms: i64, _end_ms: i64) -> Result<Option<Vec<Labels>>> {
        Ok(None)
    }

    /// What makes the series of such a selection few, for [`Engine::explain`](crate::promql::Engine::explain). Nothing, if the storage
    /// has no index to tell of.
    ///
    /// # Errors
    /// Whatever reading fails with.
    async fn narrowing(&self, _matchers: &[Matcher], _start_ms: i64, _end_ms: i64) -> Result<Vec<Narrowed>> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl<S: Storage + ?Sized> Storage for Arc<S> {
    async fn select(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Vec<Series>> {
        (**self).select(matchers, start_ms, end_ms).await
    }

    async fn find(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Found> {
        (**self).find(matchers, start_ms, end_ms).await
    }

    fn has_rollups(&self) -> bool {
        (**self).has_rollups()
    }

    async fn find_rolled(
        &self,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
        unit_ms: i64,
    ) -> Result<Option<Found>> {
        (**self).find_rolled(matchers, start_ms, end_ms, unit_ms).await
    }

    async fn label_sets(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Option<Vec<Labels>>> {
        (**self).label_sets(matchers, start_ms, end_ms).await
    }

    async fn narrowing(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Vec<Narrowed>> {
        (**self).narrowing(matchers, start_ms, end_ms).await
    }
}

#[async_trait]
impl<S: Storage + ?Sized> Storage for &S {
    async fn select(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Vec<Series>> {
        (**self).select(matchers, start_ms, end_ms).await
    }

    async fn find(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Found> {
        (**self).find(matchers, start_ms, end_ms).await
    }

    fn has_rollups(&self) -> bool {
        (**self).has_rollups()
    }

    async fn find_rolled(
        &self,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
        unit_ms: i64,
    ) -> Result<Option<Found>> {
        (**self).find_rolled(matchers, start_ms, end_ms, unit_ms).await
    }

    async fn label_sets(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Option<Vec<Labels>>> {
        (**self).label_sets(matchers, start_ms, end_ms).await
    }

    async fn narrowing(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Vec<Narrowed>> {
        (**self).narrowing(matchers, start_ms, end_ms).await
    }
}
