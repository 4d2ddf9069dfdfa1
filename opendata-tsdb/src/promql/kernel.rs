//! Functions over the samples of a window, for one series at a time.
//!
//! A window holds the samples with `after < t <= until` (open on the left). Its bounds only move forward from
//! step to step, so sliding costs one pass over the samples; a step whose window is the one before is not computed again
//! where the function looks at nothing but the samples.

use std::collections::VecDeque;
use std::sync::Arc;

use opendata_core::Result;

use super::budget::Budget;
use super::column::{Column, Grid, Scalar};
use super::duration::seconds;
use super::function::Over;
use super::number::{Kahan, Mean, Variance, quantile};
use super::storage::Series;
use crate::histogram::Histogram;
use crate::labels::Labels;
use crate::rollup::RollupPoint;

mod extended;
mod floats;
mod mixed;
mod rate;
mod regression;
mod rolled;

pub(crate) use extended::{Extended, at, extended, points};
pub(crate) use mixed::{Either, Note, Notes, Step};
pub(crate) use rolled::is_rolled;

/// The samples of one window. Never empty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window<'a> {
    /// The place of the first sample among all of the series.
    pub(crate) from: usize,
    pub(crate) times: &'a [i64],
    pub(crate) values: &'a [f64],
    /// Those that are histograms, by their place among all of the series.
    pub(crate) histograms: &'a [(u32, Arc<Histogram>)],
    /// Since when each sample counts; empty where that is not known of any.
    pub(crate) starts: &'a [i64],
    /// The left bound; not included.
    pub(crate) after_ms: i64,
    /// The right bound; included.
    pub(crate) until_ms: i64,
    /// The step's time, which differs from `until_ms` by offset and `@`.
    pub(crate) step_ms: i64,
}

/// Where a selector or subquery looks at each step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looks {
    pub(crate) grid: Grid,
    pub(crate) fixed_ms: Option<i64>,
    pub(crate) offset_ms: i64,
}

impl Looks {
    pub(crate) fn at(&self, step: usize) -> i64 {
        self.fixed_ms.unwrap_or_else(|| self.grid.time(step)).saturating_sub(self.offset_ms)
    }

    /// The first and the last time looked at.
    pub(crate) fn bounds(&self) -> (i64, i64) {
        (self.at(0), self.at(self.grid.count.saturating_sub(1)))
    }
}

/// A series as a function over windows sees it: without stale markers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Samples<'a> {
    pub(crate) times: &'a [i64],
    pub(crate) values: &'a [f64],
    /// Those that are histograms, by their place among all samples of the series.
    pub(crate) histograms: &'a [(u32, Arc<Histogram>)],
    /// Since when each sample counts; empty where that is not known of any.
    pub(crate) starts: &'a [i64],
    /// What stands for the samples, if rollups were read.
    pub(crate) points: &'a [RollupPoint],
    /// The place of the first sample.
    from: usize,
}

impl<'a> Samples<'a> {
    /// All samples of a series without stale markers.
    pub(crate) fn of(series: &'a Series) -> Self {
        Self {
            times: &series.timestamps,
            values: &series.values,
            histograms: &series.histograms,
            starts: &series.start_times,
            points: &series.points,
            from: 0,
        }
    }

    /// The sample at a place.
    pub(crate) fn sample(&self, at: usize) -> Option<(i64, Either<'a>)> {
        let (time, value) = (*self.times.get(at)?, *self.values.get(at)?);
        if self.histograms.is_empty() {
            return Some((time, Either::Float(value)));
        }
        let place = self.from + at;
        let found = self.histograms.binary_search_by_key(&place, |(place, _)| *place as usize).ok();
        let histogram = found.and_then(|found| self.histograms.get(found));
        Some((time, histogram.map_or(Either::Float(value), |(_, histogram)| Either::Histogram(histogram))))
    }

    /// Time and value of each sample.
    pub(crate) fn each(&self) -> impl Iterator<Item = (i64, Either<'a>)> + use<'a> {
        mixed::each(self.times, self.values, self.histograms, self.from)
    }

    /// Those from one place to another.
    pub(crate) fn cut(&self, from: usize, to: usize) -> Self {
        let first = self.histograms.partition_point(|(place, _)| (*place as usize) < self.from + from);
        let last = self.histograms.partition_point(|(place, _)| (*place as usize) < self.from + to);
        Self {
            times: self.times.get(from..to).unwrap_or_default(),
            values: self.values.get(from..to).unwrap_or_default(),
            histograms: self.histograms.get(first..last).unwrap_or_default(),
            starts: self.starts.get(from..to).unwrap_or_default(),
            points: &[],
            from: self.from + from,
        }
    }

    /// The same as a series of their own.
    pub(crate) fn to_series(self, labels: Labels) -> Series {
        let place = |place: u32| u32::try_from(place as usize - self.from).unwrap_or(u32::MAX);
        let histograms = self.histograms.iter().map(|(at, histogram)| (place(*at), Arc::clone(histogram))).collect();
        let series = Series::mixed(labels, self.times.to_vec(), self.values.to_vec(), histograms);
        series.with_start_times(self.starts.to_vec())
    }
}

/// What a function over windows needs besides the samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments<'a> {
    pub(crate) first: &'a Scalar,
    pub(crate) second: &'a Scalar,
}

/// The function's value at each step.
///
/// # Errors
/// `Invalid` when the budget does not allow it.
pub(crate) fn slide(
    over: Over,
    samples: Samples<'_>,
    looks: &Looks,
    range_ms: i64,
    args: Arguments<'_>,
    budget: &Budget,
    notes: &mut Notes,
) -> Result<Column> {
    let run = Slide { samples, looks, range_ms, budget };
    if !samples.points.is_empty() {
        return rolled::slide(&run, over);
    }
    if !samples.histograms.is_empty() {
        return mixed::slide(&run, over, args, notes);
    }
    match over {
        Over::Rate => {
            let resets = rate::Resets::of(samples);
            run.same(|w| rate::extrapolated(w, Some(&resets)).map(|x| x / seconds(range_ms)))
        }
        Over::Increase => {
            let resets = rate::Resets::of(samples);
            run.same(|w| rate::extrapolated(w, Some(&resets)))
        }
        Over::Delta => run.same(|w| rate::extrapolated(w, None)),
        Over::Irate => run.same(rate::last_rate),
        Over::Idelta => run.same(rate::last_delta),
        Over::Resets => run.all(|w| Some(rate::resets(w))),
        Over::Changes => run.all(|w| Some(count_pairs(w, |a, b| a != b && !(a.is_nan() && b.is_nan())))),
        Over::Deriv => run.all(|w| {
            let first = *w.times.first()?;
            regression::line(w, first).map(|line| line.slope)
        }),
        Over::PredictLinear => run.each(|step, w| {
            let line = regression::line(w, w.step_ms)?;
            Some(line.slope * args.first.at(step) + line.intercept)
        }),
        Over::DoubleExponentialSmoothing => {
            run.each(|step, w| regression::smooth(w, args.first.at(step), args.second.at(step)))
        }
        Over::Avg => run.all(|w| Some(w.values.iter().copied().collect::<Mean>().value())),
        Over::Sum => run.all(|w| Some(w.values.iter().copied().collect::<Kahan>().value())),
        Over::Min => run.best(|new, best| new < best, |_, value| value),
        Over::Max => run.best(|new, best| new > best, |_, value| value),
        Over::TimeOfMin => run.best(|new, best| new <= best, |time, _| seconds(time)),
        Over::TimeOfMax => run.best(|new, best| new >= best, |time, _| seconds(time)),
        #[expect(clippy::cast_precision_loss, reason = "no window holds 2^53 samples")]
        Over::Count => run.same(|w| Some(w.values.len() as f64)),
        Over::First => run.same(|w| w.values.first().copied()),
        Over::Last => run.same(|w| w.values.last().copied()),
        Over::TimeOfFirst => run.same(|w| w.times.first().map(|time| seconds(*time))),
        Over::TimeOfLast => run.same(|w| w.times.last().map(|time| seconds(*time))),
        Over::Present => run.same(|_| Some(1.0)),
        Over::Stddev => run.all(|w| Some(w.values.iter().copied().collect::<Variance>().value().sqrt())),
        Over::Stdvar => run.all(|w| Some(w.values.iter().copied().collect::<Variance>().value())),
        Over::Mad => run.all(|w| Some(floats::deviation(w.values))),
        Over::Quantile => run.each(|step, w| Some(quantile(args.first.at(step), &mut w.values.to_vec()))),
    }
}

struct Slide<'a> {
    samples: Samples<'a>,
    looks: &'a Looks,
    range_ms: i64,
    budget: &'a Budget,
}

impl Slide<'_> {
    /// A function of the window alone that looks at all of its samples.
    fn all(&self, f: impl Fn(Window<'_>) -> Option<f64>) -> Result<Column> {
        self.same_or(|window| {
            self.budget.compute(window.values.len())?;
            Ok(f(window))
        })
    }

    /// A function of the window alone that looks at a few of its samples.
    fn same(&self, f: impl Fn(Window<'_>) -> Option<f64>) -> Result<Column> {
        self.same_or(|window| Ok(f(window)))
    }

    fn same_or(&self, f: impl Fn(Window<'_>) -> Result<Option<f64>>) -> Result<Column> {
        let mut last: Option<((usize, usize, i64), Option<f64>)> = None;
        self.windows(|_, window| {
            let key = (window.from, window.values.len(), window.until_ms);
            if let Some((last_key, value)) = last
                && last_key == key
            {
                return Ok(value);
            }
            let value = f(window)?;
            last = Some((key, value));
            Ok(value)
        })
    }

    /// A function of the step and of all samples of the window.
    fn each(&self, f: impl Fn(usize, Window<'_>) -> Option<f64>) -> Result<Column> {
        self.windows(|step, window| {
            self.budget.compute(window.values.len())?;
            Ok(f(step, window))
        })
    }

    /// The sample of each window that is better than all others. Any number is better than NaN.
    ///
    /// A queue holds the samples that may still become the best of a window: each is worse than the one before it and stands behind
    /// it. Every sample enters and leaves it once, however long the window is.
    fn best(&self, better: impl Fn(f64, f64) -> bool, of: impl Fn(i64, f64) -> f64) -> Result<Column> {
        let mut queue: VecDeque<(usize, i64, f64)> = VecDeque::new();
        let mut entered = 0;
        self.windows(|_, window| {
            while queue.front().is_some_and(|(at, _, _)| *at < window.from) {
                queue.pop_front();
            }
            let skip = entered.max(window.from) - window.from;
            let samples = window.times.iter().zip(window.values).enumerate().skip(skip);
            for (at, (time, value)) in samples.filter(|(_, (_, value))| !value.is_nan()) {
                while queue.back().is_some_and(|(_, _, worse)| better(*value, *worse)) {
                    queue.pop_back();
                }
                queue.push_back((window.from + at, *time, *value));
            }
            entered = window.from + window.values.len();
            let best = queue.front().map(|(_, time, value)| (*time, *value));
            let best = best.or_else(|| Some((*window.times.last()?, f64::NAN)));
            Ok(best.map(|(time, value)| of(time, value)))
        })
    }

    fn windows(&self, mut f: impl FnMut(usize, Window<'_>) -> Result<Option<f64>>) -> Result<Column> {
        let mut column = Column::empty(self.looks.grid.count);
        self.each_window(|step, window| {
            if let Some(value) = f(step, window)? {
                column.set(step, value);
            }
            Ok(())
        })?;
        Ok(column)
    }

    fn each_window(&self, mut f: impl FnMut(usize, Window<'_>) -> Result<()>) -> Result<()> {
        let Samples { times, values, histograms: all, starts, .. } = self.samples;
        let (mut from, mut to, mut looked, mut needed) = (0, 0, 0, 0);
        for step in 0..self.looks.grid.count {
            let until_ms = self.looks.at(step);
            let after_ms = until_ms.saturating_sub(self.range_ms);
            from += leading(times, from, |time| time <= after_ms);
            to = to.max(from);
            let known = to;
            to += leading(times, to, |time| time <= until_ms);
            let (Some(times), Some(values)) = (times.get(from..to), values.get(from..to)) else { break };
            if times.is_empty() {
                continue;
            }
            looked += times.len();
            let step_ms = self.looks.grid.time(step);
            let fresh = if looked == times.len() { times.len() } else { to - known };
            needed += fresh;
            self.budget.look_at(step_ms, times.len(), fresh);
            let histograms = if all.is_empty() { all } else { self.samples.cut(from, to).histograms };
            let starts = starts.get(from..to).unwrap_or_default();
            let window = Window { from, times, values, histograms, starts, after_ms, until_ms, step_ms };
            f(step, window)?;
        }
        self.budget.look(looked, needed);
        Ok(())
    }
}

/// How many samples from a place on satisfy a condition that holds for none after the first for which it does not.
///
/// From step to step a window mostly moves by a few samples, so those are tried one by one; a longer way is searched by halving.
pub(crate) fn leading(times: &[i64], from: usize, wanted: impl Fn(i64) -> bool) -> usize {
    const ONE_BY_ONE: usize = 8;
    let rest = times.get(from..).unwrap_or_default();
    let near = rest.iter().take(ONE_BY_ONE).take_while(|time| wanted(**time)).count();
    if near < ONE_BY_ONE {
        return near;
    }
    near + rest.get(near..).unwrap_or_default().partition_point(|time| wanted(*time))
}

/// How many neighbours satisfy a condition.
#[expect(clippy::cast_precision_loss, reason = "no window holds 2^53 samples")]
fn count_pairs(window: Window<'_>, wanted: impl Fn(f64, f64) -> bool) -> f64 {
    window.values.array_windows().filter(|[a, b]| wanted(*a, *b)).count() as f64
}

#[cfg(test)]
mod tests;
