//! The evaluator: one walk over the tree, series by series.
//!
//! An expression of type instant vector *pushes* its rows, one series over all steps at a time, into a sink. Functions of one
//! series pass rows on as they come; an aggregation folds them into one accumulator a group, so a query such as
//! `sum(rate(m[5m]))` never holds more than one row of the input. Joins, `topk` and the like gather rows first.
//!
//! All samples were fetched before ([`super::plan`]); nothing here waits.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opendata_core::{Error, Result};

use super::ast::{At, BinaryOp, Bounds, Comparison, Expr, Kind, Selector, Shift, Subquery, Type};
use super::budget::Budget;
use super::column::{Cell, Column, Grid, Row};
use super::duration::seconds;
use super::function::Over;
use super::kernel::{Extended, Looks, Notes, Samples, at, leading, points};
use super::lex::Span;
use super::storage::{Found, SampleValue, Series};
use super::value::Annotations;
use super::{EngineConfig, is_stale};
use crate::chunk::Wanted;
use crate::histogram::{CounterReset, Histogram};
use crate::labels::Labels;

mod aggregate;
mod binary;
mod call;
mod classic;
mod histogram;
mod info;
mod labels;
mod pick;
mod remark;
mod scalar;
mod shared;
mod spread;

use remark::Named;
pub(crate) use shared::Shared;

/// Takes the rows of an expression.
pub(crate) type Sink<'s> = dyn FnMut(Row) -> Result<()> + 's;

/// What stays the same through a query.
pub(crate) struct Eval<'a> {
    pub(crate) query: &'a str,
    pub(crate) config: &'a EngineConfig,
    /// The query's own bounds, for `@ start()` and `@ end()`.
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    /// The query's own step, for `step()`; zero for an instant query.
    pub(crate) step_ms: i64,
    /// The series of each selector.
    pub(crate) series: &'a [Option<&'a Found>],
    /// What the expression needs of its samples.
    pub(crate) wanted: Wanted,
    /// What is computed once and used again.
    pub(crate) shared: &'a Shared,
    /// In a worker: which of each selector's series.
    pub(crate) only: Option<Range<usize>>,
    pub(crate) budget: &'a Budget,
    pub(crate) annotations: &'a Mutex<Annotations>,
}

/// The times at which a shifted selector or subquery looks.
pub(crate) fn looks(shift: Shift, grid: Grid, start_ms: i64, end_ms: i64) -> Looks {
    let fixed_ms = shift.at.map(|at| match at {
        At::Start => start_ms,
        At::End => end_ms,
        At::Time(ms) => ms,
    });
    Looks { grid, fixed_ms, offset_ms: shift.offset_ms.unwrap_or(0) }
}

/// The steps at which a subquery's expression is computed: multiples of its step that any of its windows holds.
pub(crate) fn subquery_grid(subquery: &Subquery, looks: &Looks, config: &EngineConfig) -> Grid {
    let step_ms = subquery.step_ms.unwrap_or(config.subquery_step_ms).max(1);
    if looks.grid.count == 0 {
        return Grid { start_ms: 0, step_ms, count: 0 };
    }
    let (first_ms, last_ms) = looks.bounds();
    let after_ms = first_ms.saturating_sub(subquery.range_ms);
    let start_ms = after_ms.div_euclid(step_ms).saturating_add(1).saturating_mul(step_ms);
    Grid::new(start_ms, last_ms, step_ms)
}

/// What a function over windows needs of the samples of its range.
pub(crate) fn wanted_by(over: Over, range: &Expr, grid: &Grid, config: &EngineConfig) -> Wanted {
    let Kind::Range(selector, _) = &range.kind else { return Wanted::All };
    if selector.bounds != Bounds::Samples || !config.shortcuts {
        return Wanted::All;
    }
    // Then what is read is what the window holds.
    let is_one_window = grid.count == 1 || selector.shift.at.is_some();
    match over {
        _ if !over.looks_at_values() => Wanted::Times,
        Over::Min if is_one_window => Wanted::Lowest,
        Over::Max if is_one_window => Wanted::Highest,
        _ => Wanted::All,
    }
}

impl Eval<'_> {
    /// Pushes the rows of an instant vector. Rows without any value are left out.
    pub(crate) fn rows(&self, expr: &Expr, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        match self.shared.place(expr) {
            Some(place) if self.only.is_none() && self.wanted == Wanted::All => self.rows_once(place, expr, grid, sink),
            _ => self.rows_anew(expr, grid, sink),
        }
    }

    fn rows_anew(&self, expr: &Expr, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        if let Some(series) = self.spreads_over(expr, grid) {
            return self.rows_by_workers(expr, grid, series, sink);
        }
        match &expr.kind {
            Kind::Instant(selector) => self.instant(selector, expr.span, grid, Instant::Value, sink),
            Kind::Negate(inner) => self.renamed(
                inner,
                grid,
                &|mut row: Row| {
                    if row.column.is_float() {
                        row.column.update(|_, value| Some(-value));
                    } else {
                        row.column.update_cells(|_, cell| Some(negated(cell)));
                    }
                    Ok(Some(row))
                },
                sink,
            ),
            Kind::Binary(binary) => self.binary(binary, expr.span, grid, sink),
            Kind::Aggregate(aggregate) => self.aggregate(aggregate, grid, sink),
            Kind::Call(call) => self.call(call, expr.span, grid, sink),
            Kind::Number(_) | Kind::Text(_) | Kind::Range(..) | Kind::Subquery(_) => {
                Err(self.unexpected(expr, Type::Vector))
            }
        }
    }

    /// The same evaluation, of which only so much is wanted of samples.
    pub(crate) fn wanting(&self, wanted: Wanted) -> Self {
        Self { wanted, only: self.only.clone(), ..*self }
    }

    /// The same evaluation for an expression that looks at the times of samples only, where `expr` is a plain selector.
    pub(crate) fn for_times(&self, expr: &Expr, grid: &Grid) -> Self {
        let is_plain = |selector: &Selector| selector.bounds == Bounds::Samples && self.config.shortcuts;
        let wanted = match &expr.kind {
            Kind::Instant(selector) if is_plain(selector) && grid.count == 1 => Wanted::Newest,
            Kind::Instant(selector) | Kind::Range(selector, _) if is_plain(selector) => Wanted::Times,
            _ => self.wanted,
        };
        self.wanting(wanted)
    }

    /// The rows of an instant vector, gathered.
    pub(crate) fn gather(&self, expr: &Expr, grid: &Grid) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        self.rows(expr, grid, &mut |row| {
            self.budget.hold(row.column.weight())?;
            rows.push(self.settled(row));
            Ok(())
        })?;
        Ok(rows)
    }

    /// A row as those see it who look at its labels: without its name, if that is dropped and nobody waits for the end with it.
    pub(crate) fn settled(&self, row: Row) -> Row {
        if self.config.delayed_name_removal { row } else { row.nameless() }
    }

    /// The rows of `inner`, changed one by one and without their metric's name.
    fn renamed(
        &self,
        inner: &Expr,
        grid: &Grid,
        change: &dyn Fn(Row) -> Result<Option<Row>>,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let pass = |row: Row, sink: &mut Sink<'_>| {
            let Some(row) = change(row)? else { return Ok(()) };
            self.emit(Row { drop_name: true, ..row }, sink)
        };
        if self.config.delayed_name_removal || inner.is_distinct_without_name() {
            return self.rows(inner, grid, &mut |row| pass(row, sink));
        }
        let mut merged = Merged::new(self.budget);
        self.rows(inner, grid, &mut |row| pass(row, &mut |row| merged.push(row.nameless())))?;
        merged.emit(sink)
    }

    /// Hands a row on, if it has any value, and counts it against the limit.
    fn emit(&self, row: Row, sink: &mut Sink<'_>) -> Result<()> {
        if row.column.present.is_none() {
            return Ok(());
        }
        self.budget.compute(row.column.values.len())?;
        sink(row)
    }

    /// A string.
    pub(crate) fn text<'e>(&self, expr: &'e Expr) -> Result<&'e str> {
        match &expr.kind {
            Kind::Text(text) => Ok(text),
            _ => Err(self.unexpected(expr, Type::Text)),
        }
    }

    pub(crate) fn looks(&self, shift: Shift, grid: &Grid) -> Looks {
        looks(shift, *grid, self.start_ms, self.end_ms)
    }

    /// Pushes, for each series, the newest sample that is not older than the lookback, or its time.
    fn instant(&self, selector: &Selector, span: Span, grid: &Grid, what: Instant, sink: &mut Sink<'_>) -> Result<()> {
        if selector.bounds != Bounds::Samples {
            return self.instant_between(selector, span, grid, what, sink);
        }
        let looks = self.looks(selector.shift, grid);
        self.each_series(selector, |series| {
            let mut column = Column::empty(grid.count);
            let histograms = if what == Instant::Value { series.histograms.as_slice() } else { &[] };
            let (mut next, mut shown, mut needed) = (0, None, 0);
            for step in 0..grid.count {
                let at = looks.at(step);
                next += leading(&series.timestamps, next, |time| time <= at);
                let Some(newest) = next.checked_sub(1) else { continue };
                let (Some(time), Some(value)) = (series.timestamps.get(newest), series.values.get(newest)) else {
                    break;
                };
                if at.saturating_sub(*time) >= self.config.lookback_ms || is_stale(*value) {
                    continue;
                }
                let fresh = usize::from(shown != Some(newest));
                shown = Some(newest);
                needed += fresh;
                self.budget.look_at(grid.time(step), 1, fresh);
                match (what, histogram_at(histograms, newest)) {
                    (_, Some(histogram)) => column.set_histogram(step, Arc::clone(histogram)),
                    (Instant::Value, None) => column.set(step, *value),
                    (Instant::Time, None) => column.set(step, seconds(*time)),
                    (Instant::Start, None) => {
                        column.set(step, seconds(series.start_times.get(newest).copied().unwrap_or(0)));
                    }
                }
            }
            self.budget.look(column.present.count(), needed);
            self.emit(Row { drop_name: what != Instant::Value, ..Row::new(series.labels.clone(), column) }, sink)
        })
    }

    /// The same for `anchored` and `smoothed`, which pass over stale markers.
    fn instant_between(
        &self,
        selector: &Selector,
        span: Span,
        grid: &Grid,
        what: Instant,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let looks = self.looks(selector.shift, grid);
        self.each_series(selector, |series| {
            let live = without_stale(series);
            let mut column = Column::empty(grid.count);
            let mut notes = Notes::new();
            for step in 0..grid.count {
                let at_ms = looks.at(step);
                let value = at(selector.bounds, self.config.lookback_ms, Samples::of(&live), at_ms, &mut notes);
                match (what, value) {
                    (_, None) => {}
                    (Instant::Value, Some(value)) => column.set_cell(step, value),
                    (Instant::Time, Some(_)) => column.set(step, seconds(at_ms)),
                    (Instant::Start, Some(_)) => column.set(step, 0.0),
                }
            }
            self.report(notes, &series.labels, span);
            self.budget.look(column.present.count(), column.present.count().min(live.timestamps.len()));
            self.emit(Row { drop_name: what != Instant::Value, ..Row::new(series.labels.clone(), column) }, sink)
        })
    }

    /// Calls `f` with the samples of each series of a range vector, stale markers left out.
    fn windows(
        &self,
        expr: &Expr,
        grid: &Grid,
        mut f: impl FnMut(Origin<'_>, Samples<'_>, &Looks, i64) -> Result<()>,
    ) -> Result<()> {
        match &expr.kind {
            Kind::Range(selector, range_ms) => {
                let looks = self.looks(selector.shift, grid);
                self.each_series(selector, |series| {
                    if series.values.iter().any(|value| is_stale(*value)) {
                        let live = without_stale(series);
                        f(Origin::of(&series.labels), Samples::of(&live), &looks, *range_ms)
                    } else {
                        f(Origin::of(&series.labels), Samples::of(series), &looks, *range_ms)
                    }
                })
            }
            Kind::Subquery(subquery) => {
                let looks = self.looks(subquery.shift, grid);
                let inner = subquery_grid(subquery, &looks, self.config);
                self.rows(&subquery.expr, &inner, &mut |row| {
                    let row = self.settled(row);
                    let series = of_subquery(&row, &inner);
                    let origin = Origin { labels: &row.labels, drop_name: row.drop_name };
                    f(origin, Samples::of(&series), &looks, subquery.range_ms)
                })
            }
            _ => Err(self.unexpected(expr, Type::Matrix)),
        }
    }

    /// The samples of a range vector at one step, as series.
    pub(crate) fn matrix(&self, expr: &Expr, grid: &Grid) -> Result<Vec<Series>> {
        let mut all = Vec::new();
        self.windows(expr, grid, |origin, samples, looks, range_ms| {
            let (_, until) = looks.bounds();
            let after = until.saturating_sub(range_ms);
            let labels = if origin.drop_name { origin.labels.without_metadata() } else { origin.labels.clone() };
            if let Some(extended) = self.extended(expr) {
                let mut notes = Notes::new();
                all.extend(points(extended, samples, labels, after, until, &mut notes));
                self.report(notes, origin.labels, expr.span);
                return Ok(());
            }
            let from = samples.times.partition_point(|time| *time <= after);
            let to = samples.times.partition_point(|time| *time <= until).max(from);
            let inside = samples.cut(from, to);
            if !inside.times.is_empty() {
                all.push(inside.to_series(labels));
            }
            Ok(())
        })?;
        Ok(all)
    }

    /// How the bounds of a range selector get values, if they do.
    fn extended(&self, expr: &Expr) -> Option<Extended<'_>> {
        match &expr.kind {
            Kind::Range(Selector { bounds, .. }, _) if *bounds != Bounds::Samples => {
                let lookback_ms = self.config.lookback_ms;
                Some(Extended { bounds: *bounds, lookback_ms, budget: self.budget })
            }
            _ => None,
        }
    }

    fn notes(&self) -> MutexGuard<'_, Annotations> {
        self.annotations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unexpected(&self, expr: &Expr, wanted: Type) -> Error {
        let place = expr.span.place(self.query);
        Error::invalid(format!("expected {wanted}, found {}, at={place}", expr.ty()))
    }
}

/// Whose samples they are.
#[derive(Clone, Copy)]
struct Origin<'a> {
    labels: &'a Labels,
    drop_name: bool,
}

impl<'a> Origin<'a> {
    fn of(labels: &'a Labels) -> Self {
        Self { labels, drop_name: false }
    }
}

/// What an instant selector yields of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instant {
    Value,
    Time,
    /// Since when the sample counts.
    Start,
}

fn negated(cell: Cell) -> Cell {
    match cell {
        Cell::Float(value) => Cell::Float(-value),
        Cell::Histogram(histogram) => {
            let mut histogram = Arc::unwrap_or_clone(histogram);
            histogram.scale(-1.0);
            Cell::Histogram(Arc::new(histogram))
        }
    }
}

/// The histogram of the sample at a place.
fn histogram_at(histograms: &[(u32, Arc<Histogram>)], place: usize) -> Option<&Arc<Histogram>> {
    let place = u32::try_from(place).ok()?;
    let at = histograms.binary_search_by_key(&place, |(place, _)| *place).ok()?;
    histograms.get(at).map(|(_, histogram)| histogram)
}

/// The samples that are no stale markers.
fn without_stale(series: &Series) -> Series {
    let (mut times, mut values, mut histograms, mut starts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (at, (time, value)) in series.samples().enumerate() {
        match value {
            SampleValue::Float(value) if is_stale(value) => continue,
            SampleValue::Float(value) => values.push(value),
            SampleValue::Histogram(histogram) => {
                histograms.push((u32::try_from(times.len()).unwrap_or(u32::MAX), Arc::clone(histogram)));
                values.push(0.0);
            }
        }
        times.push(time);
        starts.extend(series.start_times.get(at));
    }
    Series::mixed(series.labels.clone(), times, values, histograms).with_start_times(starts)
}

/// The values of a subquery's row as samples. What hints say of the sample before is not true of the step before, so they go.
fn of_subquery(row: &Row, grid: &Grid) -> Series {
    let column = &row.column;
    let (mut times, mut values, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
    for step in column.present.iter() {
        if let Some(histogram) = column.histogram(step) {
            let mut histogram = Arc::clone(histogram);
            if !matches!(histogram.counter_reset, CounterReset::Gauge | CounterReset::Unknown) {
                Arc::make_mut(&mut histogram).counter_reset = CounterReset::Unknown;
            }
            histograms.push((u32::try_from(times.len()).unwrap_or(u32::MAX), histogram));
        }
        times.push(grid.time(step));
        values.push(column.values.get(step).copied().unwrap_or(f64::NAN));
    }
    Series::mixed(row.labels.clone(), times, values, histograms)
}

/// Rows of which several may have the same labels, at different steps.
pub(crate) struct Merged<'a> {
    rows: Vec<Row>,
    /// By labels, and whether the name among them goes: a series that keeps it is another one.
    places: HashMap<(Labels, bool), usize>,
    budget: &'a Budget,
}

impl<'a> Merged<'a> {
    pub(crate) fn new(budget: &'a Budget) -> Self {
        Self { rows: Vec::new(), places: HashMap::new(), budget }
    }

    /// Adds a row; refuses two values of one label set at one step.
    pub(crate) fn push(&mut self, row: Row) -> Result<()> {
        let key = (row.labels.clone(), row.drop_name);
        let place = self.places.get(&key).and_then(|at| self.rows.get_mut(*at));
        let Some(first) = place else {
            self.budget.hold(row.column.weight())?;
            self.places.insert(key, self.rows.len());
            self.rows.push(row);
            return Ok(());
        };
        if first.column.present.overlaps(&row.column.present) {
            return Err(Error::invalid(format!(
                "vector cannot contain metrics with the same labelset, labels={}",
                row.labels
            )));
        }
        first.column.fill_from(&row.column);
        Ok(())
    }

    pub(crate) fn emit(self, sink: &mut Sink<'_>) -> Result<()> {
        self.rows.into_iter().try_for_each(sink)
    }

    pub(crate) fn into_rows(self) -> Vec<Row> {
        self.rows
    }
}

/// Whether an operator's result is a new value, which the metric's name no longer describes.
fn drops_name(op: BinaryOp, comparison: Comparison) -> bool {
    !op.is_set() && !op.is_trim() && (!op.is_comparison() || comparison == Comparison::Bool)
}
