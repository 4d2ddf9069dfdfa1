//! Trends: least squares and double exponential smoothing.

use super::{Window, seconds};
use crate::promql::number::{Kahan, count};

/// `value = slope * seconds + intercept`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// A second.
    pub(crate) slope: f64,
    /// The value at the time that counts as zero.
    pub(crate) intercept: f64,
}

/// The line of least squares through two or more samples; seconds count from `zero_ms`.
pub(crate) fn line(window: Window<'_>, zero_ms: i64) -> Option<Line> {
    let first = *window.values.first()?;
    if window.values.len() < 2 {
        return None;
    }
    // A constant has no slope, whatever the rounding of the sums says.
    if window.values.iter().all(|value| *value == first) {
        return Some(if first.is_infinite() {
            Line { slope: f64::NAN, intercept: f64::NAN }
        } else {
            Line { slope: 0.0, intercept: first }
        });
    }
    let n = count(window.values.len());
    let (mut x, mut y, mut xy, mut xx) = (Kahan::default(), Kahan::default(), Kahan::default(), Kahan::default());
    for (time, value) in window.times.iter().zip(window.values) {
        let at = seconds(time.saturating_sub(zero_ms));
        x.add(at);
        y.add(*value);
        xy.add(at * value);
        xx.add(at * at);
    }
    let (x, y, xy, xx) = (x.value(), y.value(), xy.value(), xx.value());
    let slope = (xy - x * y / n) / (xx - x * x / n);
    Some(Line { slope, intercept: y / n - slope * x / n })
}

/// Holt's linear trend: the level after two or more samples. `None` where a factor does not lie between 0 and 1.
pub(crate) fn smooth(window: Window<'_>, level_factor: f64, trend_factor: f64) -> Option<f64> {
    let [first, second, rest @ ..] = window.values else { return None };
    let inside = |factor: f64| factor > 0.0 && factor < 1.0;
    if !inside(level_factor) || !inside(trend_factor) {
        return None;
    }
    let (mut before, mut level, mut trend) = (0.0, *first, second - first);
    for (index, value) in std::iter::once(second).chain(rest).enumerate() {
        if index > 0 {
            trend = trend_factor * (level - before) + (1.0 - trend_factor) * trend;
        }
        before = level;
        level = level_factor * value + (1.0 - level_factor) * (level + trend);
    }
    Some(level)
}
