//! Columns of samples: times and values of equal length, and beside them the few samples that are histograms, and since
//! when samples count.
//!
//! A sample whose place is in `histograms` is a histogram, and its value is zero and means nothing. Of most series it is
//! not known since when they count. Either column then costs one look at its length.

use std::ops::Range;
use std::sync::Arc;

use crate::histogram::Histogram;

/// Samples as columns of equal length.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Columns {
    pub(crate) times: Vec<i64>,
    pub(crate) values: Vec<f64>,
    /// The samples that are histograms, by their place, ascending.
    pub(crate) histograms: Vec<(u32, Arc<Histogram>)>,
    /// Since when samples count, in milliseconds; 0 where that is not known. Those behind its end are not known.
    pub(crate) starts: Vec<i64>,
}

/// A stretch of such columns.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Samples<'a> {
    pub(crate) times: &'a [i64],
    pub(crate) values: &'a [f64],
    histograms: &'a [(u32, Arc<Histogram>)],
    /// As that of [`Columns`].
    starts: &'a [i64],
    /// The place of the stretch's first sample, as `histograms` counts.
    first: u32,
}

fn place(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

impl<'a> Samples<'a> {
    /// Samples without histograms, of equal length.
    pub(crate) fn floats(times: &'a [i64], values: &'a [f64]) -> Self {
        Self { times, values, ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// The samples from place to place.
    pub(crate) fn range(self, range: Range<usize>) -> Self {
        let end = range.end.min(self.len());
        let range = range.start.min(end)..end;
        let (first, end) = (self.first + place(range.start), self.first + place(range.end));
        let histograms = match self.histograms {
            [] => self.histograms,
            all => {
                let begin = all.partition_point(|(at, _)| *at < first);
                let end = all.partition_point(|(at, _)| *at < end);
                all.get(begin..end).unwrap_or_default()
            }
        };
        let times = self.times.get(range.clone()).unwrap_or_default();
        let known = range.start.min(self.starts.len())..range.end.min(self.starts.len());
        let starts = self.starts.get(known).unwrap_or_default();
        Self { times, values: self.values.get(range).unwrap_or_default(), histograms, starts, first }
    }

    /// The samples whose time is in `start_ms ..= end_ms`. They must be in time order.
    pub(crate) fn within(self, (start_ms, end_ms): (i64, i64)) -> Self {
        let begin = self.times.partition_point(|time| *time < start_ms);
        let end = self.times.partition_point(|time| *time <= end_ms).max(begin);
        self.range(begin..end)
    }

    pub(crate) fn split_at(self, at: usize) -> (Self, Self) {
        (self.range(0..at), self.range(at..self.len()))
    }

    /// The places of the samples that are histograms, with them.
    pub(crate) fn histograms(self) -> impl Iterator<Item = (usize, &'a Arc<Histogram>)> + Clone {
        let first = self.first;
        self.histograms.iter().map(move |(at, histogram)| (at.saturating_sub(first) as usize, histogram))
    }

    /// Since when the sample at a place counts; 0 if that is not known.
    pub(crate) fn start(self, index: usize) -> i64 {
        self.starts.get(index).copied().unwrap_or(0)
    }

    /// The same of the samples up to the last of which it is known.
    pub(crate) fn starts(self) -> &'a [i64] {
        let known = self.starts.iter().rposition(|start| *start != 0).map_or(0, |last| last + 1);
        self.starts.get(..known).unwrap_or_default()
    }

    /// Whether any sample is a histogram.
    pub(crate) fn has_histograms(&self) -> bool {
        !self.histograms.is_empty()
    }

    /// The histogram at a place, if the sample is one.
    pub(crate) fn histogram(self, index: usize) -> Option<&'a Arc<Histogram>> {
        let at = self.first + place(index);
        let found = self.histograms.binary_search_by_key(&at, |(at, _)| *at).ok()?;
        self.histograms.get(found).map(|(_, histogram)| histogram)
    }
}

impl Columns {
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
        self.histograms.clear();
        self.starts.clear();
    }

    pub(crate) fn as_samples(&self) -> Samples<'_> {
        let Self { times, values, histograms, starts } = self;
        Samples { times, values, histograms, starts, first: 0 }
    }

    pub(crate) fn push(&mut self, time_ms: i64, value: f64) {
        self.times.push(time_ms);
        self.values.push(value);
    }

    pub(crate) fn push_histogram(&mut self, time_ms: i64, histogram: Arc<Histogram>) {
        self.histograms.push((place(self.len()), histogram));
        self.push(time_ms, 0.0);
    }

    /// Says since when the last sample counts.
    pub(crate) fn start_last(&mut self, start_ms: i64) {
        if start_ms != 0 && !self.is_empty() {
            self.starts.resize(self.len() - 1, 0);
            self.starts.push(start_ms);
        }
    }

    /// Appends a sample of another stretch.
    fn push_from(&mut self, samples: Samples<'_>, index: usize) {
        let (Some(time), Some(value)) = (samples.times.get(index), samples.values.get(index)) else { return };
        match samples.histogram(index) {
            Some(histogram) => self.push_histogram(*time, Arc::clone(histogram)),
            None => self.push(*time, *value),
        }
        self.start_last(samples.start(index));
    }

    pub(crate) fn extend(&mut self, samples: Samples<'_>) {
        if samples.has_histograms() {
            let offset = self.len();
            self.histograms.extend(samples.histograms().map(|(at, one)| (place(offset + at), Arc::clone(one))));
        }
        if !samples.starts.is_empty() {
            self.starts.resize(self.len(), 0);
            self.starts.extend_from_slice(samples.starts);
        }
        self.times.extend_from_slice(samples.times);
        self.values.extend_from_slice(samples.values);
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        let offset = place(self.len());
        self.histograms.extend(other.histograms.into_iter().map(|(at, one)| (offset + at, one)));
        if !other.starts.is_empty() {
            self.starts.resize(self.len(), 0);
            self.starts.append(&mut other.starts);
        }
        self.times.append(&mut other.times);
        self.values.append(&mut other.values);
    }

    /// Takes out the samples from place `from` on whose time is outside `start_ms ..= end_ms`. From there on they
    /// must be in time order.
    pub(crate) fn clip(&mut self, from: usize, start_ms: i64, end_ms: i64) {
        let tail = self.times.get(from..).unwrap_or_default();
        let begin = from + tail.partition_point(|time| *time < start_ms);
        let end = from + tail.partition_point(|time| *time <= end_ms);
        self.cut(end..self.len());
        self.cut(from..begin);
    }

    /// Takes out the samples whose time is in `start_ms ..= end_ms`. They must be in time order.
    pub(crate) fn remove(&mut self, (start_ms, end_ms): (i64, i64)) {
        let begin = self.times.partition_point(|time| *time < start_ms);
        let end = self.times.partition_point(|time| *time <= end_ms);
        self.cut(begin..end.max(begin));
    }

    fn cut(&mut self, range: Range<usize>) {
        if range.start >= range.end {
            return;
        }
        self.times.drain(range.clone());
        self.values.drain(range.clone());
        self.starts.drain(range.start.min(self.starts.len())..range.end.min(self.starts.len()));
        if !self.histograms.is_empty() {
            let (start, end) = (place(range.start), place(range.end));
            self.histograms.retain(|(at, _)| !(start..end).contains(at));
            for (at, _) in self.histograms.iter_mut().filter(|(at, _)| *at >= end) {
                *at -= end - start;
            }
        }
    }

    /// Keeps the samples that `keep` says by their place.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        let mut kept = Self::default();
        for index in (0..self.len()).filter(|index| keep(*index)) {
            kept.push_from(self.as_samples(), index);
        }
        *self = kept;
    }

    /// Brings the samples into strictly ascending time order; of equal times the one that stood last wins.
    pub(crate) fn settle(&mut self) {
        if self.times.is_sorted_by(|a, b| a < b) {
            return;
        }
        let mut order: Vec<(i64, u32)> = self.times.iter().copied().zip(0u32..).collect();
        // Places are distinct, so of equal times the later one stands last. This sort is quick where runs are sorted.
        order.sort();
        self.gather(&order, |(time, at), next| (*at, next.is_none_or(|(other, _)| other != time)));
    }

    /// Whether there is no more than times and values.
    fn is_plain(&self) -> bool {
        self.histograms.is_empty() && self.starts.is_empty()
    }

    /// The samples by the places they go to, which are all there are, each once; none if there is more to move than times and values.
    pub(crate) fn scatter(&self, places: impl Iterator<Item = usize>) -> Option<Self> {
        if !self.is_plain() {
            return None;
        }
        let mut moved = Self { times: vec![0; self.len()], values: vec![0.0; self.len()], ..Self::default() };
        for (place, (time, value)) in places.zip(self.times.iter().zip(&self.values)) {
            *moved.times.get_mut(place)? = *time;
            *moved.values.get_mut(place)? = *value;
        }
        Some(moved)
    }

    /// Becomes the samples at the places of `order` that `pick` keeps, given each with the one behind it.
    pub(crate) fn gather<T>(&mut self, order: &[T], pick: impl Fn(&T, Option<&T>) -> (u32, bool)) {
        let mut sorted = Self::default();
        sorted.times.reserve(order.len());
        sorted.values.reserve(order.len());
        let is_plain = self.is_plain();
        for (index, one) in order.iter().enumerate() {
            let (at, true) = pick(one, order.get(index + 1)) else { continue };
            match (self.times.get(at as usize), self.values.get(at as usize)) {
                (Some(time), Some(value)) if is_plain => sorted.push(*time, *value),
                _ => sorted.push_from(self.as_samples(), at as usize),
            }
        }
        *self = sorted;
    }
}

#[cfg(test)]
mod tests;
