//! Classic histograms: one cumulative counter a bucket, told apart by the label `le`.

use opendata_core::{Error, Result};

use super::aggregate::Groups;
use super::{Eval, Merged, Sink};
use crate::labels::Labels;
use crate::promql::ast::{Call, Expr};
use crate::promql::column::{Column, Grid, Row, Scalar};
use crate::promql::number::text;

/// The label with a bucket's upper bound.
const UPPER_BOUND: &str = "le";

/// A bucket at one step.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// The upper bound, included.
    until: f64,
    /// Observations up to it.
    count: f64,
}

/// The buckets of one histogram: upper bounds with their counts.
type Histogram = Vec<(f64, Column)>;

impl Eval<'_> {
    pub(super) fn histogram_quantile(&self, call: &Call, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        let phi = self.phi(call.arg(0)?, grid)?;
        let histograms = self.histograms(call.arg(1)?, grid)?;
        self.each_histogram(call.arg(1)?, histograms, grid, &|step, buckets| quantile(phi.at(step), buckets), sink)
    }

    pub(super) fn histogram_quantiles(&self, call: &Call, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        let vector = call.arg(0)?;
        let label = self.text(call.arg(1)?)?;
        if label.is_empty() {
            return Err(Error::invalid("the label of `histogram_quantiles` is empty"));
        }
        let histograms = self.histograms(vector, grid)?;
        let mut merged = Merged::new(&self.budget);
        for arg in call.args.iter().skip(2) {
            let phi = self.phi(arg, grid)?;
            let all: Vec<_> = histograms.iter().map(|(labels, buckets)| (labels.clone(), buckets.clone())).collect();
            self.each_histogram(vector, all, grid, &|step, buckets| quantile(phi.at(step), buckets), &mut |row| {
                // The value of the parameter may change from step to step: each step's goes to the series it names.
                let steps: Vec<(usize, f64)> = row.column.iter().collect();
                let mut rest = steps.as_slice();
                while let Some((first, _)) = rest.first() {
                    let value = phi.at(*first);
                    let same = rest.iter().take_while(|(step, _)| phi.at(*step).to_bits() == value.to_bits()).count();
                    let mut column = Column::empty(grid.count);
                    rest.iter().take(same).for_each(|(step, value)| column.set(*step, *value));
                    merged.push(Row { labels: row.labels.with(label, &label_text(value))?, column })?;
                    rest = rest.get(same..).unwrap_or_default();
                }
                Ok(())
            })?;
        }
        merged.emit(sink)
    }

    pub(super) fn histogram_fraction(&self, call: &Call, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        let (lower, upper) = (self.scalar(call.arg(0)?, grid)?, self.scalar(call.arg(1)?, grid)?);
        let histograms = self.histograms(call.arg(2)?, grid)?;
        let of = |step: usize, buckets: &[Bucket]| fraction(lower.at(step), upper.at(step), buckets);
        self.each_histogram(call.arg(2)?, histograms, grid, &of, sink)
    }

    fn phi(&self, expr: &Expr, grid: &Grid) -> Result<Scalar> {
        let phi = self.scalar(expr, grid)?;
        let outside = (0..grid.count).map(|step| phi.at(step)).find(|phi| !(0.0..=1.0).contains(phi));
        if let Some(outside) = outside {
            self.warn(expr.span, format_args!("a quantile lies between 0 and 1, quantile={}", text(outside)));
        }
        Ok(phi)
    }

    /// Gathers buckets into histograms; series that are no buckets are left out with a warning.
    fn histograms(&self, expr: &Expr, grid: &Grid) -> Result<Vec<(Labels, Histogram)>> {
        let mut groups: Groups<Histogram> = Groups::new();
        self.rows(expr, grid, &mut |row| {
            let bound = row.labels.get(UPPER_BOUND).unwrap_or_default();
            match bound.parse::<f64>() {
                Ok(until) => {
                    let key = row.labels.without(&[UPPER_BOUND]);
                    self.budget.hold(grid.count)?;
                    groups.update(key, Vec::new, |buckets| buckets.push((until, row.column)));
                }
                Err(_) => {
                    let what = format_args!("a bucket has no upper bound in its label `le`, le={bound:?}");
                    self.warn(expr.span, what);
                }
            }
            Ok(())
        })?;
        Ok(groups.into_iter().collect())
    }

    fn each_histogram(
        &self,
        expr: &Expr,
        histograms: Vec<(Labels, Histogram)>,
        grid: &Grid,
        of: &dyn Fn(usize, &[Bucket]) -> f64,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let mut merged = Merged::new(&self.budget);
        let mut buckets = Vec::new();
        for (labels, mut histogram) in histograms {
            histogram.sort_by(|(a, _), (b, _)| a.total_cmp(b));
            let mut column = Column::empty(grid.count);
            for step in 0..grid.count {
                buckets.clear();
                let counts = histogram.iter().filter_map(|(until, counts)| Some((*until, counts.get(step)?)));
                buckets.extend(counts.map(|(until, count)| Bucket { until, count }));
                if buckets.is_empty() {
                    continue;
                }
                if repair(&mut buckets) == Repaired::Yes {
                    self.inform(expr.span, "bucket counts were not monotonic and have been corrected");
                }
                column.set(step, of(step, &buckets));
            }
            let row = Row { labels: labels.without_metric_name(), column };
            self.emit(row, &mut |row| merged.push(row))?;
        }
        merged.emit(sink)
    }
}

/// A float as a label value in the style of OpenMetrics: `1.0`, `0.25`, `+Inf`.
fn label_text(value: f64) -> String {
    let text = text(value);
    if value.is_finite() && !text.contains('.') { format!("{text}.0") } else { text }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repaired {
    Yes,
    No,
}

/// Adds up buckets of one bound and makes counts grow. Differences within 1e-12 of the counts are rounding and not worth a word.
fn repair(buckets: &mut Vec<Bucket>) -> Repaired {
    buckets.dedup_by(|later, first| {
        #[expect(clippy::float_cmp, reason = "the same number in two spellings is exactly the same")]
        let same = later.until == first.until;
        if same {
            first.count += later.count;
        }
        same
    });
    let mut repaired = Repaired::No;
    let Some(first) = buckets.first() else { return repaired };
    let mut highest = first.count;
    for bucket in buckets.iter_mut().skip(1) {
        let apart = (bucket.count - highest).abs();
        let rounding = apart <= 1e-12 * (bucket.count.abs() + highest.abs());
        if rounding {
            bucket.count = highest;
        } else if bucket.count < highest {
            bucket.count = highest;
            repaired = Repaired::Yes;
        } else {
            highest = bucket.count;
        }
    }
    repaired
}

/// The φ-quantile, interpolated linearly inside its bucket; the lowest bucket begins at 0 where its bound is positive.
fn quantile(phi: f64, buckets: &[Bucket]) -> f64 {
    if phi.is_nan() {
        return f64::NAN;
    }
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    let [inner @ .., last] = buckets else { return f64::NAN };
    let Some(highest) = inner.last() else { return f64::NAN };
    if last.until != f64::INFINITY || last.count == 0.0 || last.count.is_nan() {
        return f64::NAN;
    }
    let rank = phi * last.count;
    let at = inner.partition_point(|bucket| bucket.count < rank);
    let Some(bucket) = inner.get(at) else { return highest.until };
    let below = at.checked_sub(1).and_then(|at| inner.get(at));
    match below {
        None if bucket.until <= 0.0 => bucket.until,
        None => bucket.until * (rank / bucket.count),
        Some(below) => {
            below.until + (bucket.until - below.until) * ((rank - below.count) / (bucket.count - below.count))
        }
    }
}

/// The share of observations between two values, interpolated linearly inside buckets of finite width.
fn fraction(lower: f64, upper: f64, buckets: &[Bucket]) -> f64 {
    let Some(last) = buckets.last() else { return f64::NAN };
    if last.until != f64::INFINITY || last.count == 0.0 || [lower, upper, last.count].iter().any(|x| x.is_nan()) {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank(upper, buckets) - rank(lower, buckets)) / last.count
}

/// How many observations lie below a value.
fn rank(value: f64, buckets: &[Bucket]) -> f64 {
    if value == f64::NEG_INFINITY {
        return 0.0;
    }
    let (mut from, mut before) = (f64::NEG_INFINITY, 0.0);
    if buckets.first().is_some_and(|first| first.until > 0.0) {
        from = 0.0;
    }
    for bucket in buckets {
        if value <= from {
            return before;
        }
        if value < bucket.until {
            // In a bucket without end nobody knows where its observations lie: all of them on its finite side.
            return match (from.is_finite(), bucket.until.is_finite()) {
                (true, true) => before + (bucket.count - before) * ((value - from) / (bucket.until - from)),
                (true, false) => before,
                (false, _) => bucket.count,
            };
        }
        (from, before) = (bucket.until, bucket.count);
    }
    before
}
