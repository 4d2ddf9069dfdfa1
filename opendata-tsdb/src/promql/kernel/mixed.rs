//! Windows that hold native histograms, alone or among floats.
//!
//! Rare, so each window is looked at by itself. What the reference says about mixtures: `rate` and the like, sums and averages refuse
//! them (a warning), `resets` and `changes` count them, functions of numbers pass the histograms over (a hint).

use std::sync::Arc;

use super::{Arguments, Over, Slide, Window, floats, rate};
use crate::histogram::{Combined, CounterReset, Histogram, Incompatible, Total};
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
    starts: Vec<i64>,
    histogram_times: Vec<i64>,
    histograms: Vec<&'a Arc<Histogram>>,
    histogram_starts: Vec<i64>,
}

impl<'a> Parts<'a> {
    fn of(window: Window<'a>) -> Self {
        let mut parts = Self {
            all: window,
            times: Vec::new(),
            values: Vec::new(),
            starts: Vec::new(),
            histogram_times: Vec::new(),
            histograms: Vec::new(),
            histogram_starts: Vec::new(),
        };
        for (at, (time, sample)) in window.samples().enumerate() {
            let start = window.starts.get(at);
            match sample {
                Either::Float(value) => {
                    parts.times.push(time);
                    parts.values.push(value);
                    parts.starts.extend(start);
                }
                Either::Histogram(histogram) => {
                    parts.histogram_times.push(time);
                    parts.histograms.push(histogram);
                    parts.histogram_starts.extend(start);
                }
            }
        }
        parts
    }

    /// The floats as a window of their own.
    fn floats(&self) -> Window<'_> {
        let (times, values, starts) = (&self.times, &self.values, &self.starts);
        Window { from: 0, times, values, histograms: &[], starts, ..self.all }
    }

    fn is_mixed(&self) -> bool {
        !self.times.is_empty() && !self.histograms.is_empty()
    }

    /// Whether a histogram began anew, by its time or by its counts.
    fn began_anew(&self, at: usize) -> bool {
        let pair = at.checked_sub(1).and_then(|before| self.histograms.get(before)).zip(self.histograms.get(at));
        pair.is_some_and(|(before, after)| after.is_reset_after(before))
            || rate::began_anew(&self.histogram_times, &self.histogram_starts, at)
    }
}

/// One sample of a window.
#[derive(Clone, Copy)]
pub(crate) enum Either<'a> {
    Float(f64),
    Histogram(&'a Arc<Histogram>),
}

impl<'a> Either<'a> {
    pub(crate) fn histogram(self) -> Option<&'a Arc<Histogram>> {
        match self {
            Self::Float(_) => None,
            Self::Histogram(histogram) => Some(histogram),
        }
    }
}

/// Time and value of each sample; `from` is the first one's place, as `histograms` counts.
pub(super) fn each<'a>(
    times: &'a [i64],
    values: &'a [f64],
    histograms: &'a [(u32, Arc<Histogram>)],
    from: usize,
) -> impl Iterator<Item = (i64, Either<'a>)> + use<'a> {
    let mut histograms = histograms.iter().peekable();
    times.iter().zip(values).enumerate().map(move |(at, (time, value))| {
        match histograms.next_if(|(place, _)| *place as usize == from + at) {
            Some((_, histogram)) => (*time, Either::Histogram(histogram)),
            None => (*time, Either::Float(*value)),
        }
    })
}

impl<'a> Window<'a> {
    /// Time and value of each sample.
    fn samples(self) -> impl Iterator<Item = (i64, Either<'a>)> + use<'a> {
        each(self.times, self.values, self.histograms, self.from)
    }
}

/// The function's value at each step, of a series that holds histograms.
pub(super) fn slide(
    run: &Slide<'_>,
    over: Over,
    args: Arguments<'_>,
    notes: &mut Notes,
) -> opendata_core::Result<Column> {
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
        Over::Resets => return Some(Cell::Float(pairs(window, is_reset, window.starts))),
        Over::Changes => return Some(Cell::Float(pairs(window, is_change, &[]))),
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

/// How many neighbours satisfy a condition, or began anew by their times.
fn pairs(window: Window<'_>, wanted: fn(Either<'_>, Either<'_>) -> bool, starts: &[i64]) -> f64 {
    let pairs = window.samples().zip(window.samples().skip(1)).zip(1..);
    let found = pairs.filter(|(((_, a), (_, b)), at)| wanted(*a, *b) || rate::began_anew(window.times, starts, *at));
    count(found.count())
}

pub(super) fn is_reset(before: Either<'_>, after: Either<'_>) -> bool {
    match (before, after) {
        (Either::Float(before), Either::Float(after)) => after < before,
        (Either::Histogram(before), Either::Histogram(after)) => {
            before.is_gauge() != after.is_gauge() || after.is_reset_after(before)
        }
        _ => true,
    }
}

pub(super) fn is_change(before: Either<'_>, after: Either<'_>) -> bool {
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
    let anew = rate::began_anew(window.times, window.starts, from + 1);
    match (before, after) {
        (Either::Float(before), Either::Float(after)) => {
            let grown = if is_rate && (after < before || anew) { after } else { after - before };
            Some(Cell::Float(if is_rate { grown / apart } else { grown }))
        }
        (Either::Histogram(before), Either::Histogram(after)) => {
            check_kind([before, after].into_iter(), is_rate, notes);
            let mut grown = Histogram::clone(after);
            if !(is_rate && (anew || after.is_reset_after(before))) {
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
pub(super) fn check_kind<'a>(histograms: impl Iterator<Item = &'a Arc<Histogram>>, is_rate: bool, notes: &mut Notes) {
    for histogram in histograms {
        if is_rate && histogram.is_gauge() {
            notes.insert(Note::NotCounter);
        }
        if !is_rate && !histogram.is_gauge() {
            notes.insert(Note::NotGauge);
        }
    }
}

/// Subtracts; nothing where the two do not go together, which is noted.
pub(super) fn subtract(from: &mut Histogram, other: &Histogram, notes: &mut Notes) -> Option<()> {
    combined(from.sub(other), Step::Subtraction, notes)
}

/// Adds; nothing where the two do not go together, which is noted.
pub(super) fn add(to: &mut Histogram, other: &Histogram, notes: &mut Notes) -> Option<()> {
    combined(to.add(other), Step::Addition, notes)
}

fn combined(combined: Result<Combined, Incompatible>, step: Step, notes: &mut Notes) -> Option<()> {
    match combined {
        // That counters went on and began anew between first and last is no contradiction here.
        Ok(combined) => note(notes, Combined { resets_conflict: false, ..combined }, step),
        Err(Incompatible) => {
            notes.insert(Note::MixedSchemas);
            return None;
        }
    }
    Some(())
}

/// The difference over the window, as [`rate::extrapolated`] has it for floats. The count decides how far down a counter goes.
fn extrapolated(parts: &Parts<'_>, is_counter: bool, notes: &mut Notes) -> Option<Histogram> {
    let (first, last) = (*parts.histograms.first()?, *parts.histograms.last()?);
    let times = &parts.histogram_times;
    let begin_ms = rate::begin(times, &parts.histogram_starts, parts.all.after_ms).filter(|_| is_counter);
    if parts.histograms.len() < 2 && begin_ms.is_none() {
        return None;
    }
    check_kind(parts.histograms.iter().copied(), is_counter, notes);
    let restarted = is_counter && begin_ms.is_none() && parts.began_anew(1);
    let first_used = usize::from(restarted);
    let used = parts.histograms.get(first_used..).unwrap_or_default();
    let custom = used.iter().filter(|histogram| histogram.has_custom_bounds()).count();
    if custom != 0 && custom != used.len() {
        notes.insert(Note::MixedSchemas);
        return None;
    }
    let mut grown = Histogram::clone(last);
    if !restarted && begin_ms.is_none() {
        subtract(&mut grown, first, notes)?;
    }
    if is_counter {
        for (pair, at) in used.array_windows().zip(first_used + 1..) {
            let [before, _] = pair;
            if parts.began_anew(at) {
                add(&mut grown, before, notes)?;
            }
        }
    }
    let factor = match begin_ms {
        Some(begin_ms) => rate::reach_from(begin_ms, times, parts.all.until_ms)?,
        None => {
            let floor = is_counter.then_some((first.count, grown.count));
            rate::reach(times, parts.all.after_ms, parts.all.until_ms, floor)?
        }
    };
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
