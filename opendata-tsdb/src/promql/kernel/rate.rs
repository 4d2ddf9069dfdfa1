//! Rates and differences, as the reference documents them for `rate`, `increase`, `delta`, `irate`, `idelta` and `resets`.
//!
//! A counter began anew where its value fell, and where the time since when it counts says so. Of a window's first sample that time, if
//! it lies inside of the window, tells where the counter was zero, so that nothing need be guessed on that side.

use super::{Samples, Window, seconds};
use crate::promql::number::count;

/// The places at which a counter started again.
#[derive(Debug)]
pub(crate) struct Resets(Vec<(usize, f64)>);

/// When a sample was taken, and since when it counts (0: not known).
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) time: i64,
    pub(super) start: i64,
}

impl Counted {
    /// Whether its time alone says that the counter began anew after the sample before.
    ///
    /// A start behind the sample itself says nothing. One at the very time of the sample before is that of the next delta, unless the
    /// sample before does not know its own start: then it stands for the unknown one of a running counter.
    pub(super) fn began_after(self, before: Self) -> bool {
        if self.start == 0 || self.start > self.time {
            return false;
        }
        match self.start.cmp(&before.time) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => before.start != 0 && before.start <= before.time,
        }
    }
}

/// Whether a sample of two neighbours began anew, by its time.
pub(super) fn began_anew(times: &[i64], starts: &[i64], at: usize) -> bool {
    let counted = |at: usize| Some(Counted { time: *times.get(at)?, start: *starts.get(at)? });
    let pair = at.checked_sub(1).and_then(counted).zip(counted(at));
    pair.is_some_and(|(before, after)| after.began_after(before))
}

impl Resets {
    /// Looks through all samples of a series once; most counters never start again, and their windows then need no look inside.
    pub(crate) fn of(samples: Samples<'_>) -> Self {
        Self::among(samples.times, samples.values, samples.starts)
    }

    /// The same of a window that stands for itself.
    pub(super) fn of_window(window: Window<'_>) -> Self {
        Self::among(window.times, window.values, window.starts)
    }

    fn among(times: &[i64], values: &[f64], starts: &[i64]) -> Self {
        let pairs = values.array_windows().enumerate();
        if starts.is_empty() {
            let falls = pairs.filter(|(_, [before, after])| after < before);
            return Self(falls.map(|(at, [before, _])| (at + 1, *before)).collect());
        }
        let resets = pairs.filter(|(at, [before, after])| after < before || began_anew(times, starts, at + 1));
        Self(resets.map(|(at, [before, _])| (at + 1, *before)).collect())
    }

    /// What the counter had reached before each reset inside a window, together.
    fn lost(&self, window: Window<'_>) -> f64 {
        let start = self.0.partition_point(|(at, _)| *at <= window.from);
        let end = window.from + window.values.len();
        self.0.get(start..).unwrap_or_default().iter().take_while(|(at, _)| *at < end).map(|(_, before)| before).sum()
    }
}

/// How often a counter began anew in a window.
pub(super) fn resets(window: Window<'_>) -> f64 {
    count(Resets::of_window(window).0.len())
}

/// When a counter was zero, if the first of these samples says so and it was after a window's left bound.
pub(super) fn begin(times: &[i64], starts: &[i64], after_ms: i64) -> Option<i64> {
    let (first_ms, start_ms) = (*times.first()?, *starts.first()?);
    (start_ms != 0 && start_ms > after_ms && start_ms < first_ms).then_some(start_ms)
}

/// The difference over the whole window, extrapolated from the first and last sample to its bounds.
///
/// Samples do not stand on the bounds. Where the gap to a bound is at most 1.1 times the average distance of samples, the series is
/// taken to go on up to the bound; where it is larger, the series is taken to begin or end half such a distance from its sample.
/// A counter (something with resets) is never extrapolated below zero.
pub(crate) fn extrapolated(window: Window<'_>, resets: Option<&Resets>) -> Option<f64> {
    let (first, last) = (*window.values.first()?, *window.values.last()?);
    if let Some(resets) = resets
        && let Some(begin_ms) = begin(window.times, window.starts, window.after_ms)
    {
        let grown = last + resets.lost(window);
        return Some(grown * reach_from(begin_ms, window.times, window.until_ms)?);
    }
    if window.times.len() < 2 {
        return None;
    }
    let mut difference = last - first;
    difference += resets.map_or(0.0, |resets| resets.lost(window));
    let floor = resets.is_some().then_some((first, difference));
    Some(difference * reach(window.times, window.after_ms, window.until_ms, floor)?)
}

/// How far behind the outermost of samples that many seconds apart a series goes on, of a gap that is to be bridged.
fn bridged(gap: f64, average: f64) -> f64 {
    if gap >= average * 1.1 { average / 2.0 } else { gap }
}

/// By how much a difference between the first and the last of two or more samples grows when it is extrapolated to the bounds.
/// `floor` has a counter's first value and its difference.
pub(super) fn reach(times: &[i64], after_ms: i64, until_ms: i64, floor: Option<(f64, f64)>) -> Option<f64> {
    let ends = (*times.first()?, *times.last()?);
    Some(reach_of(ends, count(times.len()), (after_ms, until_ms), floor))
}

/// The same of so many samples from one time to another, in a window with these bounds.
pub(super) fn reach_of(
    (first_ms, last_ms): (i64, i64),
    samples: f64,
    (after_ms, until_ms): (i64, i64),
    floor: Option<(f64, f64)>,
) -> f64 {
    let sampled = seconds(last_ms.saturating_sub(first_ms));
    let average = sampled / (samples - 1.0);
    let mut before = bridged(seconds(first_ms.saturating_sub(after_ms)), average);
    let after = bridged(seconds(until_ms.saturating_sub(last_ms)), average);
    if let Some((first, difference)) = floor
        && difference > 0.0
        && first >= 0.0
    {
        before = before.min(sampled * (first / difference));
    }
    (sampled + before + after) / sampled
}

/// The same of what grew from zero at a known time: only the right side is extrapolated, and that of a single sample is not.
pub(super) fn reach_from(begin_ms: i64, times: &[i64], until_ms: i64) -> Option<f64> {
    let (first_ms, last_ms) = (*times.first()?, *times.last()?);
    if times.len() < 2 {
        return Some(1.0);
    }
    let average = seconds(last_ms.saturating_sub(first_ms)) / count(times.len() - 1);
    let grown = seconds(last_ms.saturating_sub(begin_ms));
    Some((grown + bridged(seconds(until_ms.saturating_sub(last_ms)), average)) / grown)
}

/// The last two samples with the seconds between them, and whether the last began anew by its time.
fn last_two(window: Window<'_>) -> Option<(f64, f64, f64, bool)> {
    let [.., before_ms, last_ms] = window.times else { return None };
    let [.., before, last] = window.values else { return None };
    let anew = began_anew(window.times, window.starts, window.times.len() - 1);
    Some((*before, *last, seconds(last_ms.saturating_sub(*before_ms)), anew))
}

/// The rate between the last two samples of a counter, a second.
pub(crate) fn last_rate(window: Window<'_>) -> Option<f64> {
    let (before, last, apart, anew) = last_two(window)?;
    let grown = if last < before || anew { last } else { last - before };
    (apart > 0.0).then(|| grown / apart)
}

/// The difference between the last two samples.
pub(crate) fn last_delta(window: Window<'_>) -> Option<f64> {
    let (before, last, _, _) = last_two(window)?;
    Some(last - before)
}
