//! Rates and differences, as the reference documents them for `rate`, `increase`, `delta`, `irate` and `idelta`.

use super::{Window, seconds};
use crate::promql::number::count;

/// What the samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// A value that only grows, or starts again from zero.
    Counter,
    Gauge,
}

/// The difference over the whole window, extrapolated from the first and last sample to its bounds.
///
/// Samples do not stand on the bounds. Where the gap to a bound is at most 1.1 times the average distance of samples, the series is
/// taken to go on up to the bound; where it is larger, the series is taken to begin or end half such a distance from its sample.
/// A counter is never extrapolated below zero.
pub(crate) fn extrapolated(window: Window<'_>, of: Of) -> Option<f64> {
    let (first_ms, last_ms) = (*window.times.first()?, *window.times.last()?);
    let (first, last) = (*window.values.first()?, *window.values.last()?);
    if window.times.len() < 2 {
        return None;
    }
    let mut difference = last - first;
    if of == Of::Counter {
        difference += window.values.array_windows().filter(|[a, b]| b < a).map(|[a, _]| a).sum::<f64>();
    }
    let sampled = seconds(last_ms - first_ms);
    let average = sampled / count(window.times.len() - 1);
    let reach = |gap: f64| if gap >= average * 1.1 { average / 2.0 } else { gap };
    let mut before = reach(seconds(first_ms - window.after_ms));
    let after = reach(seconds(window.until_ms - last_ms));
    if of == Of::Counter && difference > 0.0 && first >= 0.0 {
        before = before.min(sampled * (first / difference));
    }
    Some(difference * ((sampled + before + after) / sampled))
}

/// The last two samples with the seconds between them.
fn last_two(window: Window<'_>) -> Option<(f64, f64, f64)> {
    let [.., before_ms, last_ms] = window.times else { return None };
    let [.., before, last] = window.values else { return None };
    Some((*before, *last, seconds(last_ms - before_ms)))
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
