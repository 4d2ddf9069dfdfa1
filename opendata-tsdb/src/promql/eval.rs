//! The evaluator: one walk over the tree, series by series.
//!
//! An expression of type instant vector *pushes* its rows, one series over all steps at a time, into a sink. Functions of one
//! series pass rows on as they come; an aggregation folds them into one accumulator a group, so a query such as
//! `sum(rate(m[5m]))` never holds more than one row of the input. Joins, `topk` and the like gather rows first.
//!
//! All samples were fetched before ([`super::plan`]); nothing here waits.

use std::cell::RefCell;
use std::collections::HashMap;

use opendata_core::{Error, Result};

use super::ast::{At, BinaryOp, Comparison, Expr, Kind, Selector, Shift, Subquery, Type};
use super::budget::Budget;
use super::column::{Bits, Column, Grid, Row, Scalar};
use super::duration::seconds;
use super::function::Function;
use super::kernel::{Looks, Samples, leading};
use super::lex::Span;
use super::storage::Series;
use super::value::Annotations;
use super::{EngineConfig, is_stale};
use crate::labels::Labels;

mod aggregate;
mod binary;
mod call;
mod histogram;
mod labels;
mod pick;

/// Takes the rows of an expression.
pub(crate) type Sink<'s> = dyn FnMut(Row) -> Result<()> + 's;

/// What stays the same through a query.
pub(crate) struct Eval<'a> {
    pub(crate) query: &'a str,
    pub(crate) config: &'a EngineConfig,
    /// The query's own bounds, for `@ start()` and `@ end()`.
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    /// The series of each selector.
    pub(crate) series: &'a [&'a [Series]],
    pub(crate) budget: Budget,
    pub(crate) annotations: RefCell<Annotations>,
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

impl Eval<'_> {
    /// Pushes the rows of an instant vector. Rows without any value are left out.
    pub(crate) fn rows(&self, expr: &Expr, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        match &expr.kind {
            Kind::Instant(selector) => self.instant(selector, grid, |_, value| value, sink),
            Kind::Negate(inner) => self.renamed(
                inner,
                grid,
                &|mut row: Row| {
                    row.column.update(|_, value| Some(-value));
                    Ok(Some(row))
                },
                sink,
            ),
            Kind::Binary(binary) => self.binary(binary, grid, sink),
            Kind::Aggregate(aggregate) => self.aggregate(aggregate, grid, sink),
            Kind::Call(call) => self.call(call, expr.span, grid, sink),
            Kind::Number(_) | Kind::Text(_) | Kind::Range(..) | Kind::Subquery(_) => {
                Err(self.unexpected(expr, Type::Vector))
            }
        }
    }

    /// The rows of an instant vector, gathered.
    pub(crate) fn gather(&self, expr: &Expr, grid: &Grid) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        self.rows(expr, grid, &mut |row| {
            self.budget.hold(row.column.values.len())?;
            rows.push(row);
            Ok(())
        })?;
        Ok(rows)
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
            let Some(mut row) = change(row)? else { return Ok(()) };
            row.labels = row.labels.without_metric_name();
            self.emit(row, sink)
        };
        if inner.is_distinct_without_name() {
            return self.rows(inner, grid, &mut |row| pass(row, sink));
        }
        let mut merged = Merged::new(&self.budget);
        self.rows(inner, grid, &mut |row| pass(row, &mut |row| merged.push(row)))?;
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

    /// A scalar at each step.
    pub(crate) fn scalar(&self, expr: &Expr, grid: &Grid) -> Result<Scalar> {
        match &expr.kind {
            Kind::Number(number) => Ok(Scalar::Constant(*number)),
            Kind::Negate(inner) => Ok(self.scalar(inner, grid)?.zip(Scalar::Constant(-1.0), |a, b| a * b)),
            Kind::Binary(both) => {
                let (left, right) = (self.scalar(&both.left, grid)?, self.scalar(&both.right, grid)?);
                Ok(left.zip(right, |a, b| match both.comparison {
                    Comparison::Filter => binary::arithmetic(both.op, a, b),
                    Comparison::Bool => f64::from(u8::from(binary::compare(both.op, a, b))),
                }))
            }
            Kind::Call(call) => match call.function {
                Function::Pi => Ok(Scalar::Constant(std::f64::consts::PI)),
                Function::Time => Ok(Scalar::Steps((0..grid.count).map(|step| seconds(grid.time(step))).collect())),
                Function::Scalar => self.only_value(call.arg(0)?, grid),
                _ => Err(self.unexpected(expr, Type::Scalar)),
            },
            _ => Err(self.unexpected(expr, Type::Scalar)),
        }
    }

    /// The value of the only series at each step; NaN where there is none or more than one.
    fn only_value(&self, expr: &Expr, grid: &Grid) -> Result<Scalar> {
        let mut values = vec![f64::NAN; grid.count];
        let mut seen = Bits::none(grid.count);
        self.rows(expr, grid, &mut |row| {
            for (step, value) in row.column.iter() {
                if let Some(slot) = values.get_mut(step) {
                    *slot = if seen.get(step) { f64::NAN } else { value };
                }
            }
            seen.or(&row.column.present);
            Ok(())
        })?;
        Ok(Scalar::Steps(values))
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

    fn series_of(&self, selector: &Selector) -> &[Series] {
        self.series.get(selector.id).copied().unwrap_or_default()
    }

    /// Pushes, for each series, what `of` makes of the newest sample (time, value) that is not older than the lookback.
    fn instant(
        &self,
        selector: &Selector,
        grid: &Grid,
        of: impl Fn(i64, f64) -> f64,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let looks = self.looks(selector.shift, grid);
        for series in self.series_of(selector) {
            let mut column = Column::empty(grid.count);
            let mut next = 0;
            for step in 0..grid.count {
                let at = looks.at(step);
                next += leading(&series.timestamps, next, |time| time <= at);
                let Some(newest) = next.checked_sub(1) else { continue };
                let (Some(time), Some(value)) = (series.timestamps.get(newest), series.values.get(newest)) else {
                    break;
                };
                if at.saturating_sub(*time) < self.config.lookback_ms && !is_stale(*value) {
                    column.set(step, of(*time, *value));
                }
            }
            self.emit(Row { labels: series.labels.clone(), column }, sink)?;
        }
        Ok(())
    }

    /// Calls `f` with the samples of each series of a range vector, stale markers left out.
    fn windows(
        &self,
        expr: &Expr,
        grid: &Grid,
        mut f: impl FnMut(&Labels, Samples<'_>, &Looks, i64) -> Result<()>,
    ) -> Result<()> {
        match &expr.kind {
            Kind::Range(selector, range_ms) => {
                let looks = self.looks(selector.shift, grid);
                for series in self.series_of(selector) {
                    if series.values.iter().any(|value| is_stale(*value)) {
                        let live = series.timestamps.iter().zip(&series.values).filter(|(_, value)| !is_stale(**value));
                        let (times, values): (Vec<i64>, Vec<f64>) = live.unzip();
                        f(&series.labels, Samples { times: &times, values: &values }, &looks, *range_ms)?;
                    } else {
                        let samples = Samples { times: &series.timestamps, values: &series.values };
                        f(&series.labels, samples, &looks, *range_ms)?;
                    }
                }
                Ok(())
            }
            Kind::Subquery(subquery) => {
                let looks = self.looks(subquery.shift, grid);
                let inner = subquery_grid(subquery, &looks, self.config);
                self.rows(&subquery.expr, &inner, &mut |row| {
                    let (times, values): (Vec<i64>, Vec<f64>) =
                        row.column.iter().map(|(step, value)| (inner.time(step), value)).unzip();
                    f(&row.labels, Samples { times: &times, values: &values }, &looks, subquery.range_ms)
                })
            }
            _ => Err(self.unexpected(expr, Type::Matrix)),
        }
    }

    /// The samples of a range vector at one step, as series.
    pub(crate) fn matrix(&self, expr: &Expr, grid: &Grid) -> Result<Vec<Series>> {
        let mut all = Vec::new();
        self.windows(expr, grid, |labels, samples, looks, range_ms| {
            let (_, until) = looks.bounds();
            let after = until.saturating_sub(range_ms);
            let inside = samples.times.iter().zip(samples.values).filter(|(time, _)| **time > after && **time <= until);
            let (times, values): (Vec<i64>, Vec<f64>) = inside.unzip();
            if !times.is_empty() {
                all.push(Series::floats(labels.clone(), times, values));
            }
            Ok(())
        })?;
        Ok(all)
    }

    fn unexpected(&self, expr: &Expr, wanted: Type) -> Error {
        let place = expr.span.place(self.query);
        Error::invalid(format!("expected {wanted}, found {}, at={place}", expr.ty()))
    }

    /// A warning at a place of the query.
    pub(crate) fn warn(&self, span: Span, what: impl std::fmt::Display) {
        self.annotations.borrow_mut().warn(format!("{what}, at={}", span.place(self.query)));
    }

    /// A hint at a place of the query.
    pub(crate) fn inform(&self, span: Span, what: impl std::fmt::Display) {
        self.annotations.borrow_mut().inform(format!("{what}, at={}", span.place(self.query)));
    }
}

/// Rows of which several may have the same labels, at different steps.
pub(crate) struct Merged<'a> {
    rows: Vec<Row>,
    places: HashMap<Labels, usize>,
    budget: &'a Budget,
}

impl<'a> Merged<'a> {
    pub(crate) fn new(budget: &'a Budget) -> Self {
        Self { rows: Vec::new(), places: HashMap::new(), budget }
    }

    /// Adds a row; refuses two values of one label set at one step.
    pub(crate) fn push(&mut self, row: Row) -> Result<()> {
        let place = self.places.get(&row.labels).and_then(|at| self.rows.get_mut(*at));
        let Some(first) = place else {
            self.budget.hold(row.column.values.len())?;
            self.places.insert(row.labels.clone(), self.rows.len());
            self.rows.push(row);
            return Ok(());
        };
        if first.column.present.overlaps(&row.column.present) {
            return Err(Error::invalid(format!(
                "two series of the result have the same labels, labels={}",
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
    !op.is_set() && (!op.is_comparison() || comparison == Comparison::Bool)
}
