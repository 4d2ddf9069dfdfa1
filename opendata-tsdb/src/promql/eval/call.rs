//! Function calls.

use std::cmp::Ordering;

use opendata_core::{Error, Result};

use super::labels::natural;
use super::{Eval, Instant, Merged, Named, Sink, wanted_by};
use crate::histogram::Short;
use crate::labels::{Labels, METRIC_TYPE, Quoted};
use crate::matcher::MatchOp;
use crate::promql::ast::{Call, Expr, Kind, Type};
use crate::promql::calendar::Civil;
use crate::promql::column::{Bits, Column, Grid, Row, Scalar};
use crate::promql::duration::seconds;
use crate::promql::function::{Direction, Function, Over};
use crate::promql::kernel::{Arguments, Note, Notes, extended, slide};
use crate::promql::lex::Span;
use crate::promql::number::{nan_first, text};

impl Eval<'_> {
    pub(super) fn call(&self, call: &Call, span: Span, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        match call.function {
            Function::Math(f) => self.mapped(call.arg(0)?, grid, |_, value| Some(f(value)), sink),
            Function::Date(part) => self.date(call, part, grid, sink),
            Function::Over(over) => self.over(call, over, grid, sink),
            Function::Absent => self.absent(call.arg(0)?, grid, sink),
            Function::AbsentOverTime => self.absent_over_time(call.arg(0)?, grid, sink),
            Function::Clamp => {
                let (low, high) = (self.scalar(call.arg(1)?, grid)?, self.scalar(call.arg(2)?, grid)?);
                self.mapped(call.arg(0)?, grid, |step, value| clamp(value, low.at(step), high.at(step)), sink)
            }
            Function::ClampMin => {
                let low = self.scalar(call.arg(1)?, grid)?;
                self.mapped(call.arg(0)?, grid, |step, value| clamp(value, low.at(step), f64::INFINITY), sink)
            }
            Function::ClampMax => {
                let high = self.scalar(call.arg(1)?, grid)?;
                self.mapped(call.arg(0)?, grid, |step, value| clamp(value, f64::NEG_INFINITY, high.at(step)), sink)
            }
            Function::Round => {
                let to = call.args.get(1).map_or(Ok(Scalar::Constant(1.0)), |to| self.scalar(to, grid))?;
                self.mapped(call.arg(0)?, grid, |step, value| Some(round(value, to.at(step))), sink)
            }
            Function::Timestamp => self.timestamp(call.arg(0)?, Instant::Time, grid, sink),
            Function::StartTimestamp => self.timestamp(call.arg(0)?, Instant::Start, grid, sink),
            Function::LabelReplace => self.label_replace(call, grid, sink),
            Function::LabelJoin => self.label_join(call, grid, sink),
            Function::Sort(direction) => self.sort(call.arg(0)?, direction, span, grid, sink),
            Function::SortByLabel(direction) => self.sort_by_label(call, direction, span, grid, sink),
            Function::HistogramQuantile => self.histogram_quantile(call, grid, sink),
            Function::HistogramQuantiles => self.histogram_quantiles(call, grid, sink),
            Function::HistogramFraction => self.histogram_fraction(call, grid, sink),
            Function::OfHistogram(of) => self.of_histogram(call.arg(0)?, of, grid, sink),
            Function::Vector => {
                let values = self.scalar(call.arg(0)?, grid)?.into_values(grid.count);
                self.emit(Row::new(Labels::empty(), Column::full(values)), sink)
            }
            Function::Info => self.info(call, grid, sink),
            Function::Scalar
            | Function::Time
            | Function::Pi
            | Function::Query(_)
            | Function::MinOf
            | Function::MaxOf => Err(Error::invalid("a scalar stands for a vector")),
        }
    }

    /// Each value by itself; the name goes.
    fn mapped(
        &self,
        expr: &Expr,
        grid: &Grid,
        f: impl Fn(usize, f64) -> Option<f64>,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        self.renamed(
            expr,
            grid,
            &|mut row| {
                row.column.update(&f);
                Ok(Some(row))
            },
            sink,
        )
    }

    fn date(&self, call: &Call, part: fn(&Civil) -> i64, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "parts of dates are small; a cast saturates"
        )]
        let of =
            |value: f64| if value.is_finite() { part(&Civil::from_seconds(value as i64)) as f64 } else { f64::NAN };
        match call.args.first() {
            Some(expr) => self.mapped(expr, grid, |_, value| Some(of(value)), sink),
            None => {
                let values = (0..grid.count).map(|step| of(seconds(grid.time(step)))).collect();
                self.emit(Row::new(Labels::empty(), Column::full(values)), sink)
            }
        }
    }

    fn over(&self, call: &Call, over: Over, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        let matrix = call.args.iter().find(|arg| arg.ty() == Type::Matrix);
        let Some(matrix) = matrix else { return Err(Error::invalid("argument missing")) };
        let mut scalars = Vec::new();
        for arg in call.args.iter().filter(|arg| arg.ty() == Type::Scalar) {
            scalars.push((self.scalar(arg, grid)?, arg.span));
        }
        let none = Scalar::Constant(0.0);
        let scalar = |index: usize| scalars.get(index).map_or(&none, |(scalar, _)| scalar);
        let args = Arguments { first: scalar(0), second: scalar(1) };
        self.check_over(over, args, scalars.first().map(|(_, span)| *span), grid)?;
        let merge = !over.keeps_name() && !self.config.delayed_name_removal && !matrix.is_distinct_without_name();
        let mut merged = merge.then(|| Merged::new(self.budget));
        let wanted = wanted_by(over, matrix, grid, self.config);
        self.wanting(wanted).windows(matrix, grid, |origin, samples, looks, range_ms| {
            let mut notes = Notes::new();
            let column = match self.extended(matrix) {
                Some(bounds) => extended(over, bounds, samples, looks, range_ms, &mut notes)?,
                None => slide(over, samples, looks, range_ms, args, self.budget, &mut notes)?,
            };
            self.report(notes, origin.labels, matrix.span);
            self.check_counter(over, &column, origin.labels, matrix.span);
            let drop_name = origin.drop_name || !over.keeps_name();
            let row = Row { labels: origin.labels.clone(), column, drop_name };
            match &mut merged {
                Some(merged) => self.emit(row.nameless(), &mut |row| merged.push(row)),
                None => self.emit(row, sink),
            }
        })?;
        merged.map_or(Ok(()), |merged| merged.emit(sink))
    }

    fn check_over(&self, over: Over, args: Arguments<'_>, span: Option<Span>, grid: &Grid) -> Result<()> {
        let span = span.unwrap_or_default();
        match over {
            Over::Quantile => {
                let mut values = (0..grid.count).map(|step| args.first.at(step));
                if let Some(phi) = values.find(|phi| !(0.0..=1.0).contains(phi)) {
                    self.warn(span, format_args!("quantile value should be between 0 and 1, got {}", Short(phi)));
                }
            }
            Over::DoubleExponentialSmoothing => {
                let factors = (0..grid.count).flat_map(|step| [args.first.at(step), args.second.at(step)]);
                if let Some(factor) = factors.into_iter().find(|factor| !(*factor > 0.0 && *factor < 1.0)) {
                    let place = span.place(self.query);
                    let what = format!("a smoothing factor lies between 0 and 1, factor={}, at={place}", text(factor));
                    return Err(Error::invalid(what));
                }
            }
            _ => (),
        }
        Ok(())
    }

    /// Tells what windows of histograms had to be told.
    pub(super) fn report(&self, notes: Notes, labels: &Labels, span: Span) {
        if notes.is_empty() {
            return;
        }
        let name = Named(labels.metric_name().unwrap_or_default());
        let quoted = Quoted(labels.metric_name().unwrap_or_default());
        for note in notes {
            match note {
                Note::Mixed => self.warn(span, format_args!("encountered a mix of histograms and floats{name}")),
                Note::Ignored => self.inform(
                    span,
                    format_args!("ignored histograms in a range containing both floats and histograms{name}"),
                ),
                Note::NotCounter => {
                    self.warn(span, format_args!("this native histogram metric is not a counter: {quoted}"));
                }
                Note::NotGauge => {
                    self.warn(span, format_args!("this native histogram metric is not a gauge: {quoted}"));
                }
                Note::MixedSchemas => self.warn_mixed_schemas(labels, span),
                Note::BoundsReduced(step) => self.inform_bounds(step, span),
                Note::ResetsConflict(step) => self.warn_resets(step, span),
            }
        }
    }

    /// A rate of something that does not say that it is a counter, by its type or else by its name, may be a mistake.
    fn check_counter(&self, over: Over, column: &Column, labels: &Labels, span: Span) {
        if !matches!(over, Over::Rate | Over::Increase) || column.iter().next().is_none() {
            return;
        }
        let Some(name) = labels.metric_name() else { return };
        match labels.get(METRIC_TYPE) {
            Some("counter" | "histogram") => {}
            Some(ty) => {
                let what = "metric might not be a counter, __type__ label is not set to";
                let (ty, name) = (Quoted(ty), Quoted(name));
                self.inform(span, format_args!("{what} \"counter\" or \"histogram\", got {ty}: {name}"));
            }
            None if ["_total", "_sum", "_count", "_bucket"].iter().any(|end| name.ends_with(end)) => {}
            None => {
                let what = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket";
                self.inform(span, format_args!("{what}: {}", Quoted(name)));
            }
        }
    }

    /// 1 where nothing is; with the labels that the selector demands.
    fn absent(&self, expr: &Expr, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        let mut there = Bits::none(grid.count);
        self.for_times(expr, grid).rows(expr, grid, &mut |row| {
            there.or(&row.column.present);
            Ok(())
        })?;
        self.emit_absent(expr, &there, grid, sink)
    }

    fn absent_over_time(&self, expr: &Expr, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        let mut there = Bits::none(grid.count);
        let none = Scalar::Constant(0.0);
        self.for_times(expr, grid).windows(expr, grid, |_, samples, looks, range_ms| {
            let args = Arguments { first: &none, second: &none };
            let mut notes = Notes::new();
            there.or(&slide(Over::Present, samples, looks, range_ms, args, self.budget, &mut notes)?.present);
            Ok(())
        })?;
        self.emit_absent(expr, &there, grid, sink)
    }

    fn emit_absent(&self, expr: &Expr, there: &Bits, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        let mut column = Column::full(vec![1.0; grid.count]);
        column.present.and_not(there);
        let labels = match &expr.kind {
            Kind::Instant(selector) | Kind::Range(selector, _) => {
                let once = |name: &str| selector.matchers.iter().filter(|other| other.name() == name).count() == 1;
                let demanded = selector.matchers.iter().filter(|m| m.op() == MatchOp::Equal && once(m.name()));
                Labels::last_wins(demanded.map(|m| (m.name(), m.value()))).without_metric_name()
            }
            _ => Labels::empty(),
        };
        self.emit(Row::new(labels, column), sink)
    }

    /// The time of the sample where a selector stands, else of the step.
    fn timestamp(&self, expr: &Expr, what: Instant, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        let Kind::Instant(selector) = &expr.kind else {
            return self.mapped(expr, grid, |step, _| Some(seconds(grid.time(step))), sink);
        };
        let by_time = if what == Instant::Time { Some(self.for_times(expr, grid)) } else { None };
        let eval = by_time.as_ref().unwrap_or(self);
        if self.config.delayed_name_removal || expr.is_distinct_without_name() {
            return eval.instant(selector, expr.span, grid, what, sink);
        }
        let mut merged = Merged::new(self.budget);
        eval.instant(selector, expr.span, grid, what, &mut |row| merged.push(row.nameless()))?;
        merged.emit(sink)
    }

    fn sort(&self, expr: &Expr, direction: Direction, span: Span, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        let mut rows = self.sortable(expr, span, grid)?;
        rows.iter_mut().for_each(|row| row.column.drop_histograms());
        rows.retain(|row| !row.column.present.is_none());
        rows.sort_by(|a, b| {
            let (a, b) = (a.column.get(0).unwrap_or(f64::NAN), b.column.get(0).unwrap_or(f64::NAN));
            // NaN comes last in both directions.
            a.is_nan().cmp(&b.is_nan()).then_with(|| turned(nan_first(&a, &b), direction))
        });
        rows.into_iter().try_for_each(sink)
    }

    fn sort_by_label(
        &self,
        call: &Call,
        direction: Direction,
        span: Span,
        grid: &Grid,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let mut rows = self.sortable(call.arg(0)?, span, grid)?;
        let names: Result<Vec<&str>> = call.args.iter().skip(1).map(|arg| self.text(arg)).collect();
        let names = names?;
        rows.sort_by(|a, b| {
            let by_name =
                |name: &&str| natural(a.labels.get(name).unwrap_or_default(), b.labels.get(name).unwrap_or_default());
            let order = names.iter().map(by_name).find(|order| order.is_ne()).unwrap_or(Ordering::Equal);
            turned(order.then_with(|| a.labels.cmp(&b.labels)), direction)
        });
        rows.into_iter().try_for_each(sink)
    }

    fn sortable(&self, expr: &Expr, span: Span, grid: &Grid) -> Result<Vec<Row>> {
        if self.start_ms != self.end_ms {
            self.warn(span, "sort is ineffective for range queries since results are always ordered by labels");
        }
        let mut rows = self.gather(expr, grid)?;
        rows.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(rows)
    }
}

fn turned(order: Ordering, direction: Direction) -> Ordering {
    match direction {
        Direction::Ascending => order,
        Direction::Descending => order.reverse(),
    }
}

/// Nothing where the bounds are the wrong way round; NaN where one of them is.
fn clamp(value: f64, low: f64, high: f64) -> Option<f64> {
    if high < low {
        return None;
    }
    if low.is_nan() || high.is_nan() || value.is_nan() {
        return Some(f64::NAN);
    }
    Some(value.max(low).min(high))
}

/// To a multiple of `to`, halves upward. Computed with the inverse, so that 0.1 gives 5.3 and not 5.300000000000001.
fn round(value: f64, to: f64) -> f64 {
    let inverse = 1.0 / to;
    (value * inverse + 0.5).floor() / inverse
}
