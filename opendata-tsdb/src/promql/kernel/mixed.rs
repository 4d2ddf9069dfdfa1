//! Windows that hold native histograms, alone or among floats.
//!
//! Rare, so each window is looked at by itself. What the reference says about mixtures: `rate` and the like, sums and averages refuse
//! them (a warning), `resets` and `changes` count them, functions of numbers pass the histograms over (a hint).

use std::sync::Arc;

use opendata_core::Result;

use super::{Arguments, Over, Slide, Window, floats, rate};
use crate::histogram::{Combined, CounterReset, Histogram, Total};
use crate::promql::column::{Cell, Column};
use crate::promql::duration::seconds;
use crate::promql::number::count;

/// What the user must be told about windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Note {
    /// Floats and histograms where only one kind can be computed with.
    Mixed,
    /// Histograms that a function of floats left out.
    Ignored,
    NotCounter,
    NotGauge,
    MixedSchemas,
    BoundsReduced(Step),
    ResetsConflict(Step),
}

/// In which kind of computation it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Addition,
    Subtraction,
    Aggregation,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Addition => "addition",
            Self::Subtraction => "subtraction",
            Self::Aggregation => "aggregation",
        })
    }
}

/// Each note once.
pub(crate) type Notes = std::collections::BTreeSet<Note>;

/// Notes what was remarkable about a combination.
pub(crate) fn note(notes: &mut Notes, combined: Combined, step: Step) {
    if combined.bounds_reduced {
        notes.insert(Note::BoundsReduced(step));
    }
    if combined.resets_conflict {
        notes.insert(Note::ResetsConflict(step));
    }
}

/// A window taken apart by kind.
struct Parts<'a> {
    all: Window<'a>,
    times: Vec<i64>,
    values: Vec<f64>,
    histogram_times: Vec<i64>,
    histograms: Vec<&'a Arc<Histogram>>,
}

impl<'a> Parts<'a> {
    fn of(window: Window<'a>) -> Self {
        let mut parts = Self {
            all: window,
            times: Vec::new(),
            values: Vec::new(),
            histogram_times: Vec::new(),
            histograms: Vec::new(),
        };
        for (time, sample) in window.samples() {
            match sample {
                Either::Float(value) => {
                    parts.times.push(time);
                    parts.values.push(value);
                }
                Either::Histogram(histogram) => {
                    parts.histogram_times.push(time);
                    parts.histograms.push(histogram);
                }
            }
        }
        parts
    }

    /// The floats as a window of their own.
    fn floats(&self) -> Window<'_> {
        Window { from: 0, times: &self.times, values: &self.values, histograms: &[], ..self.all }
    }

    fn is_mixed(&self) -> bool {
        !self.times.is_empty() && !self.histograms.is_empty()
    }
}

/// One sample of a window.
#[derive(Clone, Copy)]
pub(crate) enum Either<'a> {
    Float(f64),
    Histogram(&'a Arc<Histogram>),
}

impl<'a> Window<'a> {
    /// Time and value of each sample.
    fn samples(self) -> impl Iterator<Item = (i64, Either<'a>)> {
        let mut histograms = self.histograms.iter().peekable();
        self.times.iter().zip(self.values).enumerate().map(move |(at, (time, value))| {
            match histograms.next_if(|(place, _)| *place as usize == self.from + at) {
                Some((_, histogram)) => (*time, Either::Histogram(histogram)),
                None => (*time, Either::Float(*value)),
            }
        })
    }
}

/// The function's value at each step, of a series that holds histograms.
pub(super) fn slide(run: &Slide<'_>, over: Over, args: Arguments<'_>, notes: &mut Notes) -> Result<Column> {
    let mut column = Column::empty(run.looks.grid.count);
    run.each_window(|step, window| {
        run.budget.compute(window.values.len() + weight(window))?;
        if let Some(cell) = value(over, window, step, run.range_ms, args, notes) {
            column.set_cell(step, cell);
        }
        Ok(())
    })?;
    Ok(column)
}

/// Histograms are counted by their buckets.
fn weight(window: Window<'_>) -> usize {
    window.histograms.iter().map(|(_, histogram)| histogram.size_bytes() / 8).sum()
}

fn value(
    over: Over,
    window: Window<'_>,
    step: usize,
    range_ms: i64,
    args: Arguments<'_>,
    notes: &mut Notes,
) -> Option<Cell> {
    let cell = |either: Either<'_>| match either {
        Either::Float(value) => Cell::Float(value),
        Either::Histogram(histogram) => Cell::Histogram(Arc::clone(histogram)),
    };
    match over {
        Over::Count => return Some(Cell::Float(count(window.values.len()))),
        Over::Present => return Some(Cell::Float(1.0)),
        Over::First => return window.samples().next().map(|(_, sample)| cell(sample)),
        Over::Last => return window.samples().last().map(|(_, sample)| cell(sample)),
        Over::TimeOfFirst => return window.times.first().map(|time| Cell::Float(seconds(*time))),
        Over::TimeOfLast => return window.times.last().map(|time| Cell::Float(seconds(*time))),
        Over::Resets => return Some(Cell::Float(pairs(window, is_reset))),
        Over::Changes => return Some(Cell::Float(pairs(window, is_change))),
        Over::Irate => return last_two(window, true, notes),
        Over::Idelta => return last_two(window, false, notes),
        _ => {}
    }
    let parts = Parts::of(window);
    match over {
        Over::Rate | Over::Increase | Over::Delta | Over::Sum | Over::Avg if parts.is_mixed() => {
            notes.insert(Note::Mixed);
            None
        }
        _ if parts.histograms.is_empty() => floats::value(over, parts.floats(), step, range_ms, args).map(Cell::Float),
        Over::Rate => extrapolated(&parts, true, notes).map(|histogram| scaled(histogram, 1.0 / seconds(range_ms))),
        Over::Increase => extrapolated(&parts, true, notes).map(|histogram| scaled(histogram, 1.0)),
        Over::Delta => extrapolated(&parts, false, notes).map(|histogram| scaled(histogram, 1.0)),
        Over::Sum => total(&parts, notes).map(|histogram| scaled(histogram, 1.0)),
        Over::Avg => {
            let mut histogram = total(&parts, notes)?;
            histogram.divide(count(parts.histograms.len()));
            Some(Cell::Histogram(Arc::new(histogram)))
        }
        _ if parts.times.is_empty() => None,
        _ => {
            notes.insert(Note::Ignored);
            floats::value(over, parts.floats(), step, range_ms, args).map(Cell::Float)
        }
    }
}

fn scaled(mut histogram: Histogram, factor: f64) -> Cell {
    if factor != 1.0 {
        histogram.scale(factor);
    }
    Cell::Histogram(Arc::new(histogram))
}

/// How many neighbours satisfy a condition.
fn pairs(window: Window<'_>, wanted: fn(Either<'_>, Either<'_>) -> bool) -> f64 {
    let after = window.samples().skip(1);
    count(window.samples().zip(after).filter(|((_, a), (_, b))| wanted(*a, *b)).count())
}

fn is_reset(before: Either<'_>, after: Either<'_>) -> bool {
    match (before, after) {
        (Either::Float(before), Either::Float(after)) => after < before,
        (Either::Histogram(before), Either::Histogram(after)) => {
            before.is_gauge() != after.is_gauge() || after.is_reset_after(before)
        }
        _ => true,
    }
}

fn is_change(before: Either<'_>, after: Either<'_>) -> bool {
    match (before, after) {
        (Either::Float(before), Either::Float(after)) => before != after && !(before.is_nan() && after.is_nan()),
        (Either::Histogram(before), Either::Histogram(after)) => !after.same_values(before),
        _ => true,
    }
}

/// `irate` and `idelta`.
fn last_two(window: Window<'_>, is_rate: bool, notes: &mut Notes) -> Option<Cell> {
    let from = window.values.len().checked_sub(2)?;
    let mut samples = window.samples().skip(from);
    let ((before_ms, before), (after_ms, after)) = (samples.next()?, samples.next()?);
    let apart = seconds(after_ms.saturating_sub(before_ms));
    match (before, after) {
        (Either::Float(before), Either::Float(after)) => {
            let grown = if is_rate && after < before { after } else { after - before };
            Some(Cell::Float(if is_rate { grown / apart } else { grown }))
        }
        (Either::Histogram(before), Either::Histogram(after)) => {
            check_kind([before, after].into_iter(), is_rate, notes);
            let mut grown = Histogram::clone(after);
            if !(is_rate && after.is_reset_after(before)) {
                subtract(&mut grown, before, notes)?;
            }
            grown.counter_reset = CounterReset::Gauge;
            grown.compact();
            Some(scaled(grown, if is_rate { 1.0 / apart } else { 1.0 }))
        }
        _ => {
            notes.insert(Note::Mixed);
            None
        }
    }
}

/// Counters are for rates, gauges for differences; it is computed all the same.
fn check_kind<'a>(histograms: impl Iterator<Item = &'a Arc<Histogram>>, is_rate: bool, notes: &mut Notes) {
    for histogram in histograms {
        if is_rate && histogram.is_gauge() {
            notes.insert(Note::NotCounter);
        }
        if !is_rate && !histogram.is_gauge() {
            notes.insert(Note::NotGauge);
        }
    }
}

fn subtract(from: &mut Histogram, other: &Histogram, notes: &mut Notes) -> Option<()> {
    match from.sub(other) {
        // That counters went on and began anew between first and last is no contradiction here.
        Ok(combined) => note(notes, Combined { resets_conflict: false, ..combined }, Step::Subtraction),
        Err(_) => {
            notes.insert(Note::MixedSchemas);
            return None;
        }
    }
    Some(())
}

/// The difference over the window, as [`rate::extrapolated`] has it for floats. The count decides how far down a counter goes.
fn extrapolated(parts: &Parts<'_>, is_counter: bool, notes: &mut Notes) -> Option<Histogram> {
    let (first, last) = (*parts.histograms.first()?, *parts.histograms.last()?);
    if parts.histograms.len() < 2 {
        return None;
    }
    check_kind(parts.histograms.iter().copied(), is_counter, notes);
    let restarted = is_counter && parts.histograms.get(1).is_some_and(|second| second.is_reset_after(first));
    let used = parts.histograms.get(usize::from(restarted)..).unwrap_or_default();
    let custom = used.iter().filter(|histogram| histogram.has_custom_bounds()).count();
    if custom != 0 && custom != used.len() {
        notes.insert(Note::MixedSchemas);
        return None;
    }
    let mut grown = Histogram::clone(last);
    if !restarted {
        subtract(&mut grown, first, notes)?;
    }
    if is_counter {
        for pair in used.array_windows() {
            let [before, after] = pair;
            if after.is_reset_after(before) {
                match grown.add(before) {
                    Ok(combined) => note(notes, Combined { resets_conflict: false, ..combined }, Step::Addition),
                    Err(_) => return None,
                }
            }
        }
    }
    let times = &parts.histogram_times;
    let floor = is_counter.then_some((first.count, grown.count));
    let factor = rate::reach(times, parts.all.after_ms, parts.all.until_ms, floor)?;
    grown.scale(factor);
    grown.counter_reset = CounterReset::Gauge;
    grown.compact();
    Some(grown)
}

fn total(parts: &Parts<'_>, notes: &mut Notes) -> Option<Histogram> {
    let [first, rest @ ..] = parts.histograms.as_slice() else { return None };
    let mut total = Total::new(first);
    for histogram in rest {
        if total.add(histogram).is_err() {
            notes.insert(Note::MixedSchemas);
            return None;
        }
    }
    let (sum, combined) = total.finish();
    note(notes, combined, Step::Aggregation);
    Some(sum)
}
