//! Rates and differences, as the reference documents them for `rate`, `increase`, `delta`, `irate` and `idelta`.

use super::{Window, seconds};
use crate::promql::number::count;

/// The places at which a counter started again: the value fell.
#[derive(Debug)]
pub(crate) struct Resets(Vec<(usize, f64)>);

impl Resets {
    /// Looks through all samples of a series once; most counters never start again, and their windows then need no look inside.
    pub(crate) fn of(values: &[f64]) -> Self {
        let falls = values.array_windows().enumerate().filter(|(_, [before, after])| after < before);
        Self(falls.map(|(at, [before, _])| (at + 1, *before)).collect())
    }

    /// What the counter had reached before each reset inside a window, together.
    fn lost(&self, window: Window<'_>) -> f64 {
        let start = self.0.partition_point(|(at, _)| *at <= window.from);
        let end = window.from + window.values.len();
        self.0.get(start..).unwrap_or_default().iter().take_while(|(at, _)| *at < end).map(|(_, before)| before).sum()
    }
}

/// The difference over the whole window, extrapolated from the first and last sample to its bounds.
///
/// Samples do not stand on the bounds. Where the gap to a bound is at most 1.1 times the average distance of samples, the series is
/// taken to go on up to the bound; where it is larger, the series is taken to begin or end half such a distance from its sample.
/// A counter (something with resets) is never extrapolated below zero.
pub(crate) fn extrapolated(window: Window<'_>, resets: Option<&Resets>) -> Option<f64> {
    let (first, last) = (*window.values.first()?, *window.values.last()?);
    if window.times.len() < 2 {
        return None;
    }
    let mut difference = last - first;
    difference += resets.map_or(0.0, |resets| resets.lost(window));
    let floor = resets.is_some().then_some((first, difference));
    Some(difference * reach(window.times, window.after_ms, window.until_ms, floor)?)
}

/// By how much a difference between the first and the last of two or more samples grows when it is extrapolated to the bounds.
/// `floor` has a counter's first value and its difference.
pub(super) fn reach(times: &[i64], after_ms: i64, until_ms: i64, floor: Option<(f64, f64)>) -> Option<f64> {
    let (first_ms, last_ms) = (*times.first()?, *times.last()?);
    let sampled = seconds(last_ms.saturating_sub(first_ms));
    let average = sampled / count(times.len().saturating_sub(1));
    let reach = |gap: f64| if gap >= average * 1.1 { average / 2.0 } else { gap };
    let mut before = reach(seconds(first_ms.saturating_sub(after_ms)));
    let after = reach(seconds(until_ms.saturating_sub(last_ms)));
    if let Some((first, difference)) = floor
        && difference > 0.0
        && first >= 0.0
    {
        before = before.min(sampled * (first / difference));
    }
    Some((sampled + before + after) / sampled)
}

/// The last two samples with the seconds between them.
fn last_two(window: Window<'_>) -> Option<(f64, f64, f64)> {
    let [.., before_ms, last_ms] = window.times else { return None };
    let [.., before, last] = window.values else { return None };
    Some((*before, *last, seconds(last_ms.saturating_sub(*before_ms))))
}

/// The rate between the last two samples of a counter, a second.
pub(crate) fn last_rate(window: Window<'_>) -> Option<f64> {
    let (before, last, apart) = last_two(window)?;
    let grown = if last < before { last } else { last - before };
    (apart > 0.0).then(|| grown / apart)
}

/// The difference between the last two samples.
pub(crate) fn last_delta(window: Window<'_>) -> Option<f64> {
    let (before, last, _) = last_two(window)?;
    Some(last - before)
}
