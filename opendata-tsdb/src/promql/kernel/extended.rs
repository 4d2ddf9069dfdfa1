//! Range selectors with `anchored` or `smoothed`: windows whose bounds have values of their own.
//!
//! *Anchored*, the value at the left bound is the newest sample up to it that is not older than the lookback, and the value at the
//! right bound the last inside. *Smoothed*, the line between the neighbours of a bound gives its value. Where there is no neighbour
//! outside, the outermost sample inside stands for it. Nothing is extrapolated, and stale markers are passed over.

use opendata_core::Result;

use super::{Looks, Note, Notes, Over, Samples};
use crate::promql::ast::Bounds;
use crate::promql::budget::Budget;
use crate::promql::column::Column;
use crate::promql::duration::seconds;
use crate::promql::number::count;

/// How a selector's bounds get their values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extended<'a> {
    pub(crate) bounds: Bounds,
    pub(crate) lookback_ms: i64,
    pub(crate) budget: &'a Budget,
}

/// Whether a counter's fall between two samples is a new beginning, for the line through them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Gauge,
    CounterLeft,
    CounterRight,
}

/// The floats of a series without its histograms, which bounds know nothing of.
struct Floats {
    times: Vec<i64>,
    values: Vec<f64>,
}

/// The samples inside of a window, and the values at its bounds.
#[derive(Debug, PartialEq)]
pub(crate) struct Bounded<'a> {
    pub(crate) left: f64,
    pub(crate) times: &'a [i64],
    pub(crate) values: &'a [f64],
    pub(crate) right: f64,
}

impl Floats {
    fn of(samples: Samples<'_>, notes: &mut Notes) -> Self {
        if !samples.histograms.is_empty() {
            notes.insert(Note::Ignored);
        }
        let is_float = |at: usize| samples.histograms.binary_search_by_key(&at, |(place, _)| *place as usize).is_err();
        let all = samples.times.iter().zip(samples.values).enumerate().filter(|(at, _)| is_float(*at));
        let (times, values) = all.map(|(_, (time, value))| (*time, *value)).unzip();
        Self { times, values }
    }

    fn sample(&self, at: usize) -> Option<(i64, f64)> {
        Some((*self.times.get(at)?, *self.values.get(at)?))
    }

    /// The window after one time and up to another.
    fn window(&self, extended: Extended<'_>, lines: [Line; 2], after_ms: i64, until_ms: i64) -> Option<Bounded<'_>> {
        let from = self.times.partition_point(|time| *time <= after_ms);
        let to = self.times.partition_point(|time| *time <= until_ms).max(from);
        let near = |sample: &(i64, f64), bound_ms: i64| {
            sample.0.saturating_sub(bound_ms).saturating_abs() < extended.lookback_ms
        };
        let before = from.checked_sub(1).and_then(|at| self.sample(at)).filter(|sample| near(sample, after_ms));
        let next = self.sample(to).filter(|sample| near(sample, until_ms));
        let inside = (from < to).then(|| (self.sample(from), self.sample(to - 1)));
        let [left_line, right_line] = lines;
        let (left, right) = match (extended.bounds, inside) {
            (Bounds::Smoothed, Some((Some(first), Some(last)))) => (
                before.map_or(first.1, |before| line(before, first, after_ms, left_line)),
                next.map_or(last.1, |next| line(last, next, until_ms, right_line)),
            ),
            (Bounds::Smoothed, _) => {
                let (before, next) = (before?, next?);
                (line(before, next, after_ms, left_line), line(before, next, until_ms, left_line))
            }
            (_, Some((Some(first), Some(last)))) => (before.map_or(first.1, |before| before.1), last.1),
            _ => return None,
        };
        let (times, values) = (self.times.get(from..to)?, self.values.get(from..to)?);
        Some(Bounded { left, times, values, right })
    }
}

/// The value at a time on the line through two samples. A counter that fell between them was zero at the first, seen from the left
/// bound, and goes on from the first, seen from the right one.
fn line((t1, v1): (i64, f64), (t2, v2): (i64, f64), at_ms: i64, line: Line) -> f64 {
    let (v1, v2) = match line {
        Line::CounterLeft if v2 < v1 => (0.0, v2),
        Line::CounterRight if v2 < v1 => (v1, v2 + v1),
        _ => (v1, v2),
    };
    let share = seconds(at_ms.saturating_sub(t1)) / seconds(t2.saturating_sub(t1));
    v1 + (v2 - v1) * share
}

/// The function's value at each step. Others than `rate increase delta resets changes` have none: the parser refuses them.
pub(crate) fn extended(
    over: Over,
    extended: Extended<'_>,
    samples: Samples<'_>,
    looks: &Looks,
    range_ms: i64,
    notes: &mut Notes,
) -> Result<Column> {
    let floats = Floats::of(samples, notes);
    let is_counter = matches!(over, Over::Rate | Over::Increase);
    let lines = if is_counter { [Line::CounterLeft, Line::CounterRight] } else { [Line::Gauge; 2] };
    let mut column = Column::empty(looks.grid.count);
    for step in 0..looks.grid.count {
        let until_ms = looks.at(step);
        let after_ms = until_ms.saturating_sub(range_ms);
        let Some(window) = floats.window(extended, lines, after_ms, until_ms) else { continue };
        extended.budget.compute(window.values.len())?;
        let grown = || window.right - window.left + if is_counter { lost(&window) } else { 0.0 };
        let pairs = |wanted: fn(f64, f64) -> bool| {
            let all = std::iter::once(&window.left).chain(window.values);
            count(all.zip(window.values).filter(|(a, b)| wanted(**a, **b)).count())
        };
        let value = match over {
            Over::Rate => grown() / seconds(range_ms),
            Over::Increase | Over::Delta => grown(),
            Over::Resets => pairs(|a, b| b < a),
            Over::Changes => pairs(|a, b| a != b && !(a.is_nan() && b.is_nan())),
            _ => continue,
        };
        column.set(step, value);
    }
    Ok(column)
}

/// What a counter had reached before each of its new beginnings, together.
fn lost(window: &Bounded<'_>) -> f64 {
    let mut before = window.left;
    let mut lost = 0.0;
    for value in window.values.iter().chain([&window.right]) {
        if *value < before {
            lost += before;
        }
        before = *value;
    }
    lost
}

/// The window itself as samples: the bounds with their values, and what stands between them.
pub(crate) fn points(
    extended: Extended<'_>,
    samples: Samples<'_>,
    after_ms: i64,
    until_ms: i64,
    notes: &mut Notes,
) -> (Vec<i64>, Vec<f64>) {
    let floats = Floats::of(samples, notes);
    let Some(window) = floats.window(extended, [Line::Gauge; 2], after_ms, until_ms) else {
        return (Vec::new(), Vec::new());
    };
    let inner = window.times.iter().zip(window.values).filter(|(time, _)| **time < until_ms);
    let inner = inner.map(|(time, value)| (*time, *value));
    std::iter::once((after_ms, window.left)).chain(inner).chain([(until_ms, window.right)]).unzip()
}

/// What an instant selector with such bounds finds at a time.
pub(crate) fn at(bounds: Bounds, lookback_ms: i64, times: &[i64], values: &[f64], at_ms: i64) -> Option<f64> {
    let next = times.partition_point(|time| *time <= at_ms);
    let sample = |at: usize| Some((*times.get(at)?, *values.get(at)?));
    let near = |sample: &(i64, f64)| sample.0.saturating_sub(at_ms).saturating_abs() < lookback_ms;
    let before = next.checked_sub(1).and_then(sample).filter(near)?;
    let next = sample(next).filter(near).filter(|_| bounds == Bounds::Smoothed);
    Some(next.map_or(before.1, |next| line(before, next, at_ms, Line::Gauge)))
}
