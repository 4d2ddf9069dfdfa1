//! Functions of histograms, classic and native.
//!
//! The floats of a vector are buckets of classic histograms, gathered by their labels without `le`; its histograms stand for
//! themselves. One label set cannot be both at one step.

use std::sync::Arc;

use opendata_core::{Error, Result};

use super::aggregate::Groups;
use super::classic::{self, Bucket, Raised};
use super::{Eval, Merged, Named, Sink};
use crate::histogram::{Estimate, Histogram, NanObservations, Short};
use crate::labels::{Labels, Quoted};
use crate::promql::ast::{Call, Expr};
use crate::promql::column::{Column, Grid, Row, Scalar};
use crate::promql::function::OfHistogram;
use crate::promql::lex::Span;
use crate::promql::number::text;
use crate::promql::value::Repaired;

/// The label with a bucket's upper bound.
const UPPER_BOUND: &str = "le";

/// What belongs to one label set: upper bounds with their counts, and native histograms.
#[derive(Default)]
struct Group {
    buckets: Vec<(f64, Column)>,
    native: Option<Column>,
    drop_name: bool,
}

/// What is computed of a histogram.
#[derive(Clone, Copy)]
enum What<'a> {
    Quantile(&'a Scalar),
    Fraction(&'a Scalar, &'a Scalar),
}

impl What<'_> {
    fn classic(self, step: usize, buckets: &[Bucket]) -> f64 {
        match self {
            Self::Quantile(phi) => classic::quantile(phi.at(step), buckets),
            Self::Fraction(lower, upper) => classic::fraction(lower.at(step), upper.at(step), buckets),
        }
    }

    fn native(self, step: usize, histogram: &Histogram) -> Estimate {
        match self {
            Self::Quantile(phi) => histogram.quantile(phi.at(step)),
            Self::Fraction(lower, upper) => histogram.fraction(lower.at(step), upper.at(step)),
        }
    }
}

impl Eval<'_> {
    /// One number of each native histogram; floats are left out.
    pub(super) fn of_histogram(&self, expr: &Expr, of: OfHistogram, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        let value = |histogram: &Arc<Histogram>| match of {
            OfHistogram::Average => histogram.sum / histogram.count,
            OfHistogram::Count => histogram.count,
            OfHistogram::Sum => histogram.sum,
            OfHistogram::Deviation => histogram.variance().sqrt(),
            OfHistogram::Variance => histogram.variance(),
        };
        let change = |row: Row| {
            if row.column.is_float() {
                return Ok(None);
            }
            let mut column = Column::empty(grid.count);
            row.column.histograms().for_each(|(step, histogram)| column.set(step, value(histogram)));
            Ok(Some(Row { column, ..row }))
        };
        self.renamed(expr, grid, &change, sink)
    }

    pub(super) fn histogram_quantile(&self, call: &Call, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        let phi = self.phi(call.arg(0)?, grid)?;
        let vector = call.arg(1)?;
        let groups = self.histograms(vector, grid)?;
        let mut merged = Merged::new(self.budget);
        for (labels, group) in groups {
            let row = self.estimate(labels, &group, What::Quantile(&phi), vector.span, grid);
            self.emit(row, &mut |row| merged.push(row))?;
        }
        merged.emit(sink)
    }

    pub(super) fn histogram_quantiles(&self, call: &Call, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        let vector = call.arg(0)?;
        let label = self.text(call.arg(1)?)?;
        if label.is_empty() {
            return Err(Error::invalid("the label of `histogram_quantiles` is empty"));
        }
        let groups = self.histograms(vector, grid)?;
        let mut merged = Merged::new(self.budget);
        for arg in call.args.iter().skip(2) {
            let phi = self.phi(arg, grid)?;
            for (labels, group) in &groups {
                let row = self.estimate(labels.clone(), group, What::Quantile(&phi), vector.span, grid);
                // The value of the parameter may change from step to step: each step's goes to the series it names.
                let steps: Vec<(usize, f64)> = row.column.iter().collect();
                for run in steps.chunk_by(|(a, _), (b, _)| phi.at(*a).to_bits() == phi.at(*b).to_bits()) {
                    let Some((first, _)) = run.first() else { continue };
                    let mut column = Column::empty(grid.count);
                    run.iter().for_each(|(step, value)| column.set(*step, *value));
                    let labels = row.labels.with(label, &label_text(phi.at(*first)))?;
                    let row = Row { drop_name: row.drop_name, ..Row::new(labels, column) };
                    self.emit(row, &mut |row| merged.push(row))?;
                }
            }
        }
        merged.emit(sink)
    }

    pub(super) fn histogram_fraction(&self, call: &Call, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        let (lower, upper) = (self.scalar(call.arg(0)?, grid)?, self.scalar(call.arg(1)?, grid)?);
        let vector = call.arg(2)?;
        let groups = self.histograms(vector, grid)?;
        let mut merged = Merged::new(self.budget);
        for (labels, group) in groups {
            let row = self.estimate(labels, &group, What::Fraction(&lower, &upper), vector.span, grid);
            self.emit(row, &mut |row| merged.push(row))?;
        }
        merged.emit(sink)
    }

    fn phi(&self, expr: &Expr, grid: &Grid) -> Result<Scalar> {
        let phi = self.scalar(expr, grid)?;
        let outside = (0..grid.count).map(|step| phi.at(step)).find(|phi| !(0.0..=1.0).contains(phi));
        if let Some(outside) = outside {
            let what = "quantile value should be between 0 and 1, got";
            self.warn(expr.span, format_args!("{what} {}", Short(outside)));
        }
        Ok(phi)
    }

    /// Gathers classic buckets and native histograms by label set; series of floats that are no buckets are left out with a warning.
    fn histograms(&self, expr: &Expr, grid: &Grid) -> Result<Vec<(Labels, Group)>> {
        let mut groups: Groups<Group> = Groups::new();
        self.rows(expr, grid, &mut |row| {
            let mut row = self.settled(row);
            self.budget.hold(row.column.weight())?;
            if !row.column.is_float() {
                let mut native = Column::empty(grid.count);
                let histograms = row.column.histograms();
                histograms.for_each(|(step, histogram)| native.set_histogram(step, Arc::clone(histogram)));
                groups.update(row.labels.clone(), Group::default, |group| {
                    group.drop_name |= row.drop_name;
                    group.native = Some(native);
                });
                row.column.drop_histograms();
            }
            if row.column.present.is_none() {
                return Ok(());
            }
            let bound = row.labels.get(UPPER_BOUND).unwrap_or_default();
            let Ok(until) = bound.parse::<f64>() else {
                let name = Named(row.labels.metric_name().unwrap_or_default());
                let what = "bucket label \"le\" is missing or has a malformed value of";
                self.warn(expr.span, format_args!("{what} {}{name}", Quoted(bound)));
                return Ok(());
            };
            groups.update(row.labels.without(&[UPPER_BOUND]), Group::default, |group| {
                group.drop_name |= row.drop_name;
                group.buckets.push((until, row.column));
            });
            Ok(())
        })?;
        let mut all: Vec<(Labels, Group)> = groups.into_iter().collect();
        all.iter_mut().for_each(|(_, group)| group.buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b)));
        Ok(all)
    }

    /// The estimates over the steps, without the metric's name.
    fn estimate(&self, labels: Labels, group: &Group, what: What<'_>, span: Span, grid: &Grid) -> Row {
        let mut column = Column::empty(grid.count);
        let mut buckets = Vec::new();
        for step in 0..grid.count {
            let native = group.native.as_ref().and_then(|native| native.histogram(step));
            buckets.clear();
            let counts = group.buckets.iter().filter_map(|(until, counts)| Some((*until, counts.get(step)?)));
            buckets.extend(counts.map(|(until, count)| Bucket { until, count }));
            match (native, buckets.is_empty()) {
                (Some(_), false) => {
                    let name = Named(labels.metric_name().unwrap_or_default());
                    self.warn(span, format_args!("vector contains a mix of classic and native histograms{name}"));
                }
                (Some(histogram), true) => {
                    let Estimate { value, nan } = what.native(step, histogram);
                    self.inform_nan(what, nan, &labels, span);
                    column.set(step, value);
                }
                (None, false) => {
                    classic::unite(&mut buckets);
                    // A fraction is taken of the counts as they are.
                    let raised = if let What::Quantile(_) = what { classic::repair(&mut buckets) } else { None };
                    let is_bounded = buckets.last().is_some_and(|last| last.until == f64::INFINITY);
                    if let (Some(raised), What::Quantile(phi)) = (raised, what)
                        && is_bounded
                        && (0.0..=1.0).contains(&phi.at(step))
                    {
                        self.inform_repaired(&labels, raised, grid.time(step), span);
                    }
                    column.set(step, what.classic(step, &buckets));
                }
                (None, true) => {}
            }
        }
        let row = Row { drop_name: true, ..Row::new(labels, column) };
        self.settled(row)
    }

    /// Of one metric and place, all steps and histograms are told of together.
    fn inform_repaired(&self, labels: &Labels, raised: Raised, at_ms: i64, span: Span) {
        let name = Named(labels.metric_name().unwrap_or_default());
        let what = "PromQL info: input to histogram_quantile needed to be fixed for monotonicity \
            (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
        let Raised { buckets, most } = raised;
        let repaired = Repaired { buckets, most, steps: 1, times: (at_ms, at_ms) };
        self.notes().repair(format!("{what}{name}"), span.place(self.query).to_string(), repaired);
    }

    fn inform_nan(&self, what: What<'_>, nan: NanObservations, labels: &Labels, span: Span) {
        let text = match (what, nan) {
            (_, NanObservations::None) => return,
            (What::Fraction(..), _) => {
                "input to histogram_fraction has NaN observations, which are excluded from all fractions"
            }
            (What::Quantile(_), NanObservations::Skew) => {
                "input to histogram_quantile has NaN observations, result is skewed higher"
            }
            (What::Quantile(_), NanObservations::NoResult) => {
                "input to histogram_quantile has NaN observations, result is NaN"
            }
        };
        self.inform(span, format_args!("{text}{}", Named(labels.metric_name().unwrap_or_default())));
    }
}

/// A float as a label value in the style of OpenMetrics: `1.0`, `0.25`, `+Inf`.
fn label_text(value: f64) -> String {
    let text = text(value);
    if value.is_finite() && !text.contains('.') { format!("{text}.0") } else { text }
}
