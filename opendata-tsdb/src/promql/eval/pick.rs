//! Aggregations with a parameter, which need all values of a group at once: `topk bottomk limitk limit_ratio quantile count_values`.

use std::cmp::Ordering;
use std::ops::Range;

use opendata_core::{Error, Result};

use super::aggregate::{Groups, Key};
use super::{Eval, Sink};
use crate::histogram::Short;
use crate::labels::Labels;
use crate::promql::ast::{Aggregate, AggregateOp, Expr};
use crate::promql::column::{Bits, Column, Grid, Row, Scalar};
use crate::promql::number::{index, nan_first, quantile, text};

/// Places of rows.
type Members = Vec<usize>;

impl Eval<'_> {
    pub(super) fn pick(&self, aggregate: &Aggregate, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        let Some(parameter) = &aggregate.parameter else { return Ok(()) };
        if aggregate.op == AggregateOp::CountValues {
            return self.count_values(aggregate, self.text(parameter)?, grid, sink);
        }
        let argument = self.scalar(parameter, grid)?;
        self.check_argument(aggregate.op, parameter, &argument, grid)?;
        let mut rows = self.gather(&aggregate.expr, grid)?;
        if matches!(aggregate.op, AggregateOp::TopK | AggregateOp::BottomK | AggregateOp::Quantile) {
            rows.iter_mut().for_each(|row| self.only_floats(&mut row.column, aggregate.op, aggregate.expr.span));
        }
        let key = Key::new(&aggregate.by);
        let mut groups: Groups<Members> = Groups::new();
        for (place, row) in rows.iter().enumerate() {
            groups.update(key.of(&row.labels), Vec::new, |members| members.push(place));
        }
        match aggregate.op {
            AggregateOp::Quantile => self.quantiles(&rows, groups, &argument, grid, sink),
            AggregateOp::LimitRatio => rows.into_iter().try_for_each(|mut row| {
                let share = share(row.labels.fingerprint());
                row.column.retain(|step| in_ratio(share, argument.at(step)));
                self.emit(row, sink)
            }),
            op => self.best(op, rows, &groups, &argument, grid, sink),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "the nearest float is as good a limit")]
    fn check_argument(&self, op: AggregateOp, expr: &Expr, argument: &Scalar, grid: &Grid) -> Result<()> {
        let values = (0..grid.count).map(|step| argument.at(step));
        match op {
            AggregateOp::Quantile => {
                if let Some(phi) = values.into_iter().find(|phi| !(0.0..=1.0).contains(phi)) {
                    self.warn(expr.span, format_args!("quantile value should be between 0 and 1, got {}", Short(phi)));
                }
            }
            _ if values.clone().any(f64::is_nan) => {
                let what = if op == AggregateOp::LimitRatio { "Ratio" } else { "Parameter" };
                return Err(Error::invalid(format!("{what} value is NaN")));
            }
            AggregateOp::TopK | AggregateOp::BottomK | AggregateOp::LimitK => {
                if let Some(k) = values.into_iter().find(|k| k.abs() > i64::MAX as f64) {
                    return Err(Error::invalid(format!("Scalar value {} overflows int64", Short(k))));
                }
            }
            AggregateOp::LimitRatio => {
                if let Some(ratio) = values.into_iter().find(|ratio| !(-1.0..=1.0).contains(ratio)) {
                    let what = "ratio value should be between -1 and 1, got";
                    let cap = if ratio > 0.0 { "1" } else { "-1" };
                    self.warn(expr.span, format_args!("{what} {}, capping to {cap}", Short(ratio)));
                }
            }
            _ => (),
        }
        Ok(())
    }

    fn quantiles(
        &self,
        rows: &[Row],
        groups: Groups<Members>,
        phi: &Scalar,
        grid: &Grid,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let mut values = Vec::new();
        for (labels, members) in groups.into_iter() {
            let members: Vec<&Row> = members.iter().filter_map(|place| rows.get(*place)).collect();
            let mut column = Column::empty(grid.count);
            for step in 0..grid.count {
                values.clear();
                values.extend(members.iter().filter_map(|row| row.column.get(step)));
                if !values.is_empty() {
                    column.set(step, quantile(phi.at(step), &mut values));
                }
            }
            self.emit(Row::new(labels, column), sink)?;
        }
        Ok(())
    }

    /// `topk`, `bottomk`, `limitk`: of each group the first so many in some order, as they are.
    fn best(
        &self,
        op: AggregateOp,
        mut rows: Vec<Row>,
        groups: &Groups<Members>,
        k: &Scalar,
        grid: &Grid,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let order: fn(&f64, &f64) -> Ordering = match op {
            AggregateOp::TopK => |a, b| nan_first(b, a),
            AggregateOp::BottomK => |a, b| a.is_nan().cmp(&b.is_nan()).then_with(|| nan_first(a, b)),
            _ => |_, _| Ordering::Equal,
        };
        let mut chosen = vec![Bits::none(grid.count); rows.len()];
        let mut ranked: Members = Vec::new();
        for (_, members) in groups.iter() {
            for step in 0..grid.count {
                let present = |place: &usize| rows.get(*place).is_some_and(|row| row.column.present.get(step));
                let value = |place: usize| rows.get(place).and_then(|row| row.column.get(step)).unwrap_or(f64::NAN);
                let there = members.iter().filter(|place| present(place));
                let mut values: Vec<(f64, usize)> = there.map(|place| (value(*place), *place)).collect();
                // Of equal values the first by labels: they do not come in that order.
                let by_labels =
                    |a: usize, b: usize| rows.get(a).map(|row| &row.labels).cmp(&rows.get(b).map(|row| &row.labels));
                let ranks = |(a, x): &(f64, usize), (b, y): &(f64, usize)| order(a, b).then_with(|| by_labels(*x, *y));
                let wanted = index(k.at(step));
                if wanted < values.len() {
                    values.select_nth_unstable_by(wanted, ranks);
                    values.truncate(wanted);
                }
                values.sort_unstable_by(ranks);
                for (_, place) in values {
                    chosen.get_mut(place).into_iter().for_each(|bits| bits.set(step));
                    ranked.push(place);
                }
            }
        }
        // At a single step the rank is the order of the answer; over several there is no such order.
        let places = if grid.count == 1 { ranked } else { Range { start: 0, end: rows.len() }.collect() };
        for place in places {
            let (Some(row), Some(bits)) = (rows.get_mut(place), chosen.get(place)) else { continue };
            let mut column = std::mem::take(&mut row.column);
            column.present.and(bits);
            self.emit(Row { labels: row.labels.clone(), column, drop_name: row.drop_name }, sink)?;
        }
        Ok(())
    }

    fn count_values(&self, aggregate: &Aggregate, label: &str, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        let key = Key::new(&aggregate.by);
        let mut counts: Groups<Column> = Groups::new();
        if label.is_empty() {
            return Err(Error::invalid("the label of `count_values` is empty"));
        }
        self.rows(&aggregate.expr, grid, &mut |row| {
            let row = self.settled(row);
            let group = key.of(&row.labels);
            let mut count_one = |step: usize, labels: Labels| {
                let before = counts.len();
                let one_more = |column: &mut Column| column.set(step, column.get(step).unwrap_or(0.0) + 1.0);
                counts.update(labels, || Column::empty(grid.count), one_more);
                self.budget.hold((counts.len() - before) * grid.count)
            };
            for (step, histogram) in row.column.histograms() {
                count_one(step, group.with(label, &histogram.to_string())?)?;
            }
            // A series' value changes seldom: its labels are made once a run of equal values.
            let mut last: Option<(u64, Labels)> = None;
            for (step, value) in row.column.iter() {
                let labels = match &last {
                    Some((bits, labels)) if *bits == value.to_bits() => labels.clone(),
                    _ => group.with(label, &text(value))?,
                };
                last = Some((value.to_bits(), labels.clone()));
                count_one(step, labels)?;
            }
            Ok(())
        })?;
        counts.into_iter().try_for_each(|(labels, column)| self.emit(Row::new(labels, column), sink))
    }
}

/// A number from 0 to 1 that follows from a label set alone.
#[expect(clippy::cast_precision_loss, reason = "a share needs no 64 bits")]
fn share(fingerprint: u64) -> f64 {
    fingerprint as f64 / u64::MAX as f64
}

/// A negative ratio takes what the positive one leaves: `limit_ratio(0.1, x)` and `limit_ratio(-0.9, x)` are all of `x`.
fn in_ratio(share: f64, ratio: f64) -> bool {
    if ratio >= 0.0 { share < ratio } else { share >= 1.0 + ratio }
}
