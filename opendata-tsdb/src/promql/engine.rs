//! The engine: parse, plan, read, evaluate.

use std::cell::RefCell;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use opendata_core::{Error, Result, Timestamp};

use super::ast::{Expr, Type};
use super::budget::Budget;
use super::column::{Cell, Grid, Row};
use super::eval::{Eval, Merged};
use super::parse::{Parsed, QueryTime, parse};
use super::plan::plan;
use super::storage::{Series, Storage};
use super::value::{Annotations, Answer, Sample, Value};
use crate::labels::Labels;

/// What the engine is allowed, and its defaults. All limits refuse a query as `Invalid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// How long a sample stays the current value of its series, in milliseconds. 5 minutes.
    pub lookback_ms: i64,
    /// The step of a subquery that names none, in milliseconds. 1 minute.
    pub subquery_step_ms: i64,
    /// The most steps of a range query. 11,000.
    pub max_points: usize,
    /// The most steps of a subquery. 1,000,000.
    pub max_subquery_points: usize,
    /// The most samples that a query may read. 50 million.
    pub max_samples: usize,
    /// The most values that a query may compute, and samples that it may look at to compute them: series times steps, times the samples
    /// of a window for functions such as `sum_over_time`, over all parts of the query. 10 billion, which is the work of a minute.
    pub max_computed: usize,
    /// The most values that a query may keep in memory: series times steps of its result, of joins, of `topk`, of accumulators. 50 million.
    pub max_held: usize,
    /// How many selectors are read at the same time. 8.
    pub concurrent_reads: usize,
    /// Whether the metric's name stays with a computed value until the end of the query, where functions such as `label_replace` can
    /// still see it: the reference's feature `promql-delayed-name-removal`. Off.
    pub delayed_name_removal: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            lookback_ms: 300_000,
            subquery_step_ms: 60_000,
            max_points: 11_000,
            max_subquery_points: 1_000_000,
            max_samples: 50_000_000,
            max_computed: 10_000_000_000,
            max_held: 50_000_000,
            concurrent_reads: 8,
            delayed_name_removal: false,
        }
    }
}

/// Answers queries over a [`Storage`].
#[derive(Clone, Debug, Default)]
pub struct Engine {
    config: EngineConfig,
}

impl Engine {
    /// An engine with these limits.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        Self { config }
    }

    /// Whether a query parses and its types fit.
    ///
    /// # Errors
    /// `Invalid`, with the place in the query as `line:column`.
    pub fn check(&self, query: &str) -> Result<()> {
        // Any step will do, as long as it is one.
        parse(query, QueryTime { step_ms: 60_000, range_ms: 3_600_000 }).map(|_| ())
    }

    /// The value of a query at one time.
    ///
    /// # Errors
    /// `Invalid` when the query does not parse, does not evaluate (two series with the same labels, an ambiguous match), or exceeds a
    /// limit; and whatever the storage fails with.
    pub async fn instant(&self, storage: &dyn Storage, query: &str, at: Timestamp) -> Result<Answer> {
        let parsed = parse(query, QueryTime::default())?;
        let grid = Grid { start_ms: at.0, step_ms: 1, count: 1 };
        let (raw, annotations) = self.run(storage, query, &parsed, &grid).await?;
        let value = match raw {
            Raw::Scalar(values) => Value::Scalar { at, value: values.first().copied().unwrap_or(f64::NAN) },
            Raw::Text(value) => Value::String { at, value },
            Raw::Matrix(mut series) => {
                series.sort_by(|a, b| a.labels.cmp(&b.labels));
                Value::Matrix(series)
            }
            Raw::Rows(rows) => Value::Vector(rows.into_iter().filter_map(|row| to_sample(row, at)).collect()),
        };
        Ok(Answer { value, annotations })
    }

    /// The values of a query from `start` to `end`, both included, every `step_ms` milliseconds: a matrix.
    ///
    /// # Errors
    /// As [`Engine::instant`]; and `Invalid` when the step is not positive, the end is before the start, there are too many points, or the
    /// query is of a type that has no value at each step.
    pub async fn range(
        &self,
        storage: &dyn Storage,
        query: &str,
        start: Timestamp,
        end: Timestamp,
        step_ms: i64,
    ) -> Result<Answer> {
        let grid = self.range_grid(start, end, step_ms)?;
        let parsed = parse(query, QueryTime { step_ms, range_ms: end.0.saturating_sub(start.0) })?;
        if !matches!(parsed.expr.ty(), Type::Scalar | Type::Vector) {
            let ty = parsed.expr.ty();
            return Err(Error::invalid(format!("a range query needs a scalar or an instant vector, found {ty}")));
        }
        let (raw, annotations) = self.run(storage, query, &parsed, &grid).await?;
        let series = match raw {
            Raw::Scalar(values) => {
                let times = (0..grid.count).map(|step| grid.time(step)).collect();
                vec![Series::floats(Labels::empty(), times, values)]
            }
            Raw::Rows(rows) => rows.into_iter().map(|row| to_series(row, &grid)).collect(),
            Raw::Text(_) | Raw::Matrix(_) => Vec::new(),
        };
        Ok(Answer { value: Value::Matrix(series), annotations })
    }

    fn range_grid(&self, start: Timestamp, end: Timestamp, step_ms: i64) -> Result<Grid> {
        if step_ms <= 0 {
            return Err(Error::invalid(format!("step must be longer than zero, step_ms={step_ms}")));
        }
        if end < start {
            return Err(Error::invalid(format!("end is before start, start={start}, end={end}")));
        }
        let grid = Grid::new(start.0, end.0, step_ms);
        if grid.count > self.config.max_points || grid.count == 0 {
            let limit = self.config.max_points;
            return Err(Error::invalid(format!("query has too many points, limit={limit}, points={}", grid.count)));
        }
        Ok(grid)
    }

    async fn run(
        &self,
        storage: &dyn Storage,
        query: &str,
        parsed: &Parsed,
        grid: &Grid,
    ) -> Result<(Raw, Annotations)> {
        let plan = plan(&parsed.expr, parsed.selectors, grid, &self.config)?;
        let mut read = Vec::with_capacity(plan.reads.len());
        let reads: Vec<_> =
            plan.reads.iter().map(|read| storage.select(&read.matchers, read.start_ms, read.end_ms)).collect();
        let mut reads = stream::iter(reads).buffered(self.config.concurrent_reads.max(1));
        let mut samples = 0_usize;
        while let Some(mut series) = reads.try_next().await? {
            samples = series.iter().fold(samples, |samples, one| samples.saturating_add(one.timestamps.len()));
            if samples > self.config.max_samples {
                let limit = self.config.max_samples;
                return Err(Error::invalid(format!("query reads too many samples, limit={limit}")));
            }
            series.sort_by(|a, b| a.labels.cmp(&b.labels));
            read.push(series);
        }
        drop(reads);
        let by_selector: Vec<&[Series]> = plan
            .read_of
            .iter()
            .map(|at| at.and_then(|at| read.get(at)).map(Vec::as_slice).unwrap_or_default())
            .collect();
        let eval = Eval {
            query,
            config: &self.config,
            start_ms: grid.start_ms,
            end_ms: grid.end_ms(),
            step_ms: parsed.time.step_ms,
            series: &by_selector,
            budget: Budget::new(self.config.max_computed, self.config.max_held),
            annotations: RefCell::default(),
        };
        let raw = top(&eval, &parsed.expr, grid)?;
        Ok((raw, eval.annotations.into_inner()))
    }
}

/// A result over the steps.
enum Raw {
    Scalar(Vec<f64>),
    Text(String),
    Rows(Vec<Row>),
    Matrix(Vec<Series>),
}

fn top(eval: &Eval<'_>, expr: &Expr, grid: &Grid) -> Result<Raw> {
    Ok(match expr.ty() {
        Type::Scalar => Raw::Scalar(eval.scalar(expr, grid)?.into_values(grid.count)),
        Type::Text => Raw::Text(eval.text(expr)?.to_owned()),
        Type::Matrix => Raw::Matrix(eval.matrix(expr, grid)?),
        Type::Vector => {
            let mut merged = Merged::new(&eval.budget);
            eval.rows(expr, grid, &mut |row| merged.push(row.nameless()))?;
            let mut rows = merged.into_rows();
            if grid.count != 1 || !expr.is_ordered() {
                rows.sort_by(|a, b| a.labels.cmp(&b.labels));
            }
            Raw::Rows(rows)
        }
    })
}

fn to_sample(row: Row, at: Timestamp) -> Option<Sample> {
    let (value, histogram) = match row.column.cell(0)? {
        Cell::Float(value) => (value, None),
        Cell::Histogram(histogram) => (f64::NAN, Some(histogram)),
    };
    Some(Sample { labels: row.labels, at, value, histogram })
}

fn to_series(row: Row, grid: &Grid) -> Series {
    let (mut times, mut values, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
    for step in row.column.present.iter() {
        if let Some(histogram) = row.column.histogram(step) {
            histograms.push((u32::try_from(times.len()).unwrap_or(u32::MAX), Arc::clone(histogram)));
        }
        times.push(grid.time(step));
        values.push(row.column.values.get(step).copied().unwrap_or(f64::NAN));
    }
    Series::mixed(row.labels, times, values, histograms)
}

#[cfg(test)]
mod tests;
