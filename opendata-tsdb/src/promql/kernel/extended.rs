//! Range selectors with `anchored` or `smoothed`: windows whose bounds have values of their own.
//!
//! *Anchored*, the value at the left bound is the newest sample up to it that is not older than the lookback, and the value at the
//! right bound the last inside. *Smoothed*, the line between the neighbours of a bound gives its value. Where there is no neighbour
//! outside, the outermost sample inside stands for it. Nothing is extrapolated, and stale markers are passed over. A counter that began
//! anew between two neighbours was zero at the first of them, as far as the line is concerned.

use std::sync::Arc;

use opendata_core::Result;

use super::mixed::{self, Either};
use super::{Looks, Note, Notes, Over, Samples};
use crate::histogram::{CounterReset, Histogram};
use crate::labels::Labels;
use crate::promql::ast::Bounds;
use crate::promql::budget::Budget;
use crate::promql::column::{Cell, Column};
use crate::promql::duration::seconds;
use crate::promql::number::count;
use crate::promql::storage::Series;

/// How a selector's bounds get their values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extended<'a> {
    pub(crate) bounds: Bounds,
    pub(crate) lookback_ms: i64,
    pub(crate) budget: &'a Budget,
}

/// What a value is taken for between two samples.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gauge,
    Counter,
}

/// A value at a bound.
#[derive(Clone, Debug)]
enum Value {
    Float(f64),
    Histogram(Arc<Histogram>),
}

impl Value {
    fn of(sample: Either<'_>) -> Self {
        match sample {
            Either::Float(value) => Self::Float(value),
            Either::Histogram(histogram) => Self::Histogram(Arc::clone(histogram)),
        }
    }

    fn either(&self) -> Either<'_> {
        match self {
            Self::Float(value) => Either::Float(*value),
            Self::Histogram(histogram) => Either::Histogram(histogram),
        }
    }
}

impl From<Value> for Cell {
    fn from(value: Value) -> Self {
        match value {
            Value::Float(value) => Self::Float(value),
            Value::Histogram(histogram) => Self::Histogram(histogram),
        }
    }
}

/// The samples inside of a window, and the values at its bounds.
struct Bounded<'a> {
    left: Value,
    inside: Samples<'a>,
    right: Value,
}

type Sample<'a> = (i64, Either<'a>);

/// The window after one time and up to another.
fn window<'a>(
    extended: Extended<'_>,
    samples: Samples<'a>,
    kind: Kind,
    after_ms: i64,
    until_ms: i64,
    notes: &mut Notes,
) -> Option<Bounded<'a>> {
    let from = samples.times.partition_point(|time| *time <= after_ms);
    let to = samples.times.partition_point(|time| *time <= until_ms).max(from);
    let near =
        |sample: &Sample<'_>, bound_ms: i64| sample.0.saturating_sub(bound_ms).saturating_abs() < extended.lookback_ms;
    let before = from.checked_sub(1).and_then(|at| samples.sample(at)).filter(|sample| near(sample, after_ms));
    let next = samples.sample(to).filter(|sample| near(sample, until_ms));
    let outermost = if from < to { samples.sample(from).zip(samples.sample(to - 1)) } else { None };
    let mut on_line = |a: Sample<'_>, b: Sample<'_>, at_ms: i64| line(a, b, at_ms, kind, notes);
    let (left, right) = match (extended.bounds, outermost) {
        (Bounds::Smoothed, Some((first, last))) => (
            before.map_or(Some(Value::of(first.1)), |before| on_line(before, first, after_ms))?,
            next.map_or(Some(Value::of(last.1)), |next| on_line(last, next, until_ms))?,
        ),
        (Bounds::Smoothed, None) => {
            let (before, next) = (before?, next?);
            (on_line(before, next, after_ms)?, on_line(before, next, until_ms)?)
        }
        (_, outermost) => {
            let (first, last) = outermost?;
            (Value::of(before.map_or(first.1, |before| before.1)), Value::of(last.1))
        }
    };
    Some(Bounded { left, inside: samples.cut(from, to), right })
}

/// The value at a time on the line through two samples. A counter that began anew between them was zero at the first.
fn line((t1, v1): Sample<'_>, (t2, v2): Sample<'_>, at_ms: i64, kind: Kind, notes: &mut Notes) -> Option<Value> {
    let share = seconds(at_ms.saturating_sub(t1)) / seconds(t2.saturating_sub(t1));
    match (v1, v2) {
        (Either::Float(v1), Either::Float(v2)) => {
            let v1 = if kind == Kind::Counter && v2 < v1 { 0.0 } else { v1 };
            Some(Value::Float(v1 + (v2 - v1) * share))
        }
        (Either::Histogram(v1), Either::Histogram(v2)) => {
            let mut value = Histogram::clone(v2);
            if kind == Kind::Counter && v2.is_reset_after(v1) {
                value.scale(share);
                // Whoever compares it with the first of the two must know.
                value.counter_reset = if v2.is_gauge() { CounterReset::Gauge } else { CounterReset::Reset };
                return Some(Value::Histogram(Arc::new(value)));
            }
            let kept = if v1.is_gauge() || v2.is_gauge() { CounterReset::Gauge } else { CounterReset::Unknown };
            mixed::subtract(&mut value, v1, notes)?;
            value.scale(share);
            mixed::add(&mut value, v1, notes)?;
            value.counter_reset = kept;
            Some(Value::Histogram(Arc::new(value)))
        }
        _ => {
            notes.insert(Note::Mixed);
            None
        }
    }
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
    let kind = if matches!(over, Over::Rate | Over::Increase) { Kind::Counter } else { Kind::Gauge };
    let mut column = Column::empty(looks.grid.count);
    let mut seen_until = i64::MIN;
    for step in 0..looks.grid.count {
        let until_ms = looks.at(step);
        let after_ms = until_ms.saturating_sub(range_ms);
        let Some(window) = window(extended, samples, kind, after_ms, until_ms, notes) else { continue };
        extended.budget.compute(window.inside.times.len())?;
        let len = window.inside.times.len();
        let known = window.inside.times.partition_point(|time| *time <= seen_until);
        seen_until = until_ms;
        extended.budget.look(len, len - known);
        extended.budget.look_at(looks.grid.time(step), len, len - known);
        let value = match over {
            Over::Rate => grown(&window, extended.bounds, kind, 1.0 / seconds(range_ms), notes),
            Over::Increase | Over::Delta => grown(&window, extended.bounds, kind, 1.0, notes),
            Over::Resets => Some(Cell::Float(pairs(&window, mixed::is_reset))),
            Over::Changes => Some(Cell::Float(pairs(&window, mixed::is_change))),
            _ => None,
        };
        if let Some(value) = value {
            column.set_cell(step, value);
        }
    }
    Ok(column)
}

/// How many neighbours satisfy a condition, the left bound and the samples inside.
fn pairs(window: &Bounded<'_>, wanted: fn(Either<'_>, Either<'_>) -> bool) -> f64 {
    let mut before = window.left.either();
    let mut found = 0;
    for (_, value) in window.inside.each() {
        found += usize::from(wanted(before, value));
        before = value;
    }
    count(found)
}

/// The difference between the bounds; a counter's with what it had reached before each new beginning.
fn grown(window: &Bounded<'_>, bounds: Bounds, kind: Kind, factor: f64, notes: &mut Notes) -> Option<Cell> {
    let all = || {
        let inside = window.inside.each().map(|(_, value)| value);
        std::iter::once(window.left.either()).chain(inside).chain([window.right.either()])
    };
    let histograms = all().filter(|value| matches!(value, Either::Histogram(_))).count();
    match (&window.left, &window.right) {
        (Value::Float(left), Value::Float(right)) if histograms == 0 => {
            let lost = if kind == Kind::Counter { lost(window) } else { 0.0 };
            Some(Cell::Float((right - left + lost) * factor))
        }
        (Value::Histogram(left), Value::Histogram(right)) if histograms == window.inside.times.len() + 2 => {
            let histograms: Vec<&Arc<Histogram>> = all().filter_map(Either::histogram).collect();
            mixed::check_kind(histograms.iter().copied(), kind == Kind::Counter, notes);
            let mut grown = Histogram::clone(right);
            mixed::subtract(&mut grown, left, notes)?;
            if kind == Kind::Counter {
                // A smoothed bound lies on the line to the first sample, and that begins after a reset.
                let skipped = usize::from(bounds == Bounds::Smoothed && !window.inside.times.is_empty());
                for pair in histograms.array_windows().skip(skipped) {
                    let [before, after] = pair;
                    if !Arc::ptr_eq(before, after) && after.is_reset_after(before) {
                        mixed::add(&mut grown, before, notes)?;
                    }
                }
            }
            if factor != 1.0 {
                grown.scale(factor);
            }
            grown.counter_reset = CounterReset::Gauge;
            grown.compact();
            Some(Cell::Histogram(Arc::new(grown)))
        }
        _ => {
            notes.insert(Note::Mixed);
            None
        }
    }
}

/// What a counter of floats had reached before each of its new beginnings, together.
fn lost(window: &Bounded<'_>) -> f64 {
    let (Value::Float(left), Value::Float(right)) = (&window.left, &window.right) else { return 0.0 };
    let mut before = *left;
    let mut lost = 0.0;
    for value in window.inside.values.iter().chain([right]) {
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
    labels: Labels,
    after_ms: i64,
    until_ms: i64,
    notes: &mut Notes,
) -> Option<Series> {
    let window = window(extended, samples, Kind::Gauge, after_ms, until_ms, notes)?;
    let inner = window.inside.each().filter(|(time, _)| *time < until_ms);
    let all = std::iter::once((after_ms, window.left.either())).chain(inner).chain([(until_ms, window.right.either())]);
    let (mut times, mut values, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
    for (time, value) in all {
        match value {
            Either::Float(value) => values.push(value),
            Either::Histogram(histogram) => {
                histograms.push((u32::try_from(times.len()).unwrap_or(u32::MAX), Arc::clone(histogram)));
                values.push(0.0);
            }
        }
        times.push(time);
    }
    Some(Series::mixed(labels, times, values, histograms))
}

/// What an instant selector with such bounds finds at a time. Of a float and a histogram there is no mean: then the first holds.
pub(crate) fn at(
    bounds: Bounds,
    lookback_ms: i64,
    samples: Samples<'_>,
    at_ms: i64,
    notes: &mut Notes,
) -> Option<Cell> {
    let next = samples.times.partition_point(|time| *time <= at_ms);
    let near = |sample: &Sample<'_>| sample.0.saturating_sub(at_ms).saturating_abs() < lookback_ms;
    let before = next.checked_sub(1).and_then(|at| samples.sample(at)).filter(near)?;
    let next = samples.sample(next).filter(near).filter(|_| bounds == Bounds::Smoothed);
    let value = match next {
        Some(next) if before.0 != at_ms && before.1.histogram().is_some() == next.1.histogram().is_some() => {
            line(before, next, at_ms, Kind::Gauge, notes)?
        }
        _ => Value::of(before.1),
    };
    Some(value.into())
}
