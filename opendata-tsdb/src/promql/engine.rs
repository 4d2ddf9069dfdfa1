//! The engine: parse, plan, read, evaluate.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt, TryStreamExt};
use opendata_core::{Error, Result, Timestamp};

use super::ast::{Expr, Type};
use super::budget::{Budget, Exceeded};
use super::column::{Cell, Grid, Row};
use super::eval::{Eval, Merged, Shared};
use super::parse::{Parsed, QueryTime, parse};
use super::plan::Plan;
use super::propagate::plan_reads;
use super::storage::{Found, Series, Storage};
use super::value::{Annotations, Answer, Sample, Statistics, Value};
use crate::chunk::Wanted;
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
    /// The most memory that a query may need, in bytes: for what it reads, which is decoded series by series, and for the values it
    /// keeps. 4 GiB.
    pub max_bytes: usize,
    /// How long a query may take, in milliseconds; none for as long as it needs. Two minutes.
    pub timeout_ms: Option<u64>,
    /// How many selectors are read at the same time. 8.
    pub concurrent_reads: usize,
    /// How many threads a query may use. As many as the machine has processors.
    pub workers: usize,
    /// Whether the metric's name stays with a computed value until the end of the query, where functions such as `label_replace` can
    /// still see it: the reference's feature `promql-delayed-name-removal`. Off.
    pub delayed_name_removal: bool,
    /// Whether a query may be answered in a quicker way than its text says, with the same answer: matchers of one side of a join asked of
    /// the other, equal parts computed once, values not
    /// decoded where only times count, nor chunks of which a minimum or maximum is enough, which then count as one sample.
    /// On; off is there to compare.
    pub shortcuts: bool,
    /// Whether [`Statistics`] says of each step how many samples it took. Off.
    pub count_steps: bool,
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
            max_bytes: 4 << 30,
            timeout_ms: Some(120_000),
            concurrent_reads: 8,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            delayed_name_removal: false,
            shortcuts: true,
            count_steps: false,
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

    pub(crate) fn config(&self) -> &EngineConfig {
        &self.config
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
        let Evaluated { raw, annotations, statistics } = self.run(storage, query, parsed, grid).await?;
        let value = match raw {
            Raw::Scalar(values) => Value::Scalar { at, value: values.first().copied().unwrap_or(f64::NAN) },
            Raw::Text(value) => Value::String { at, value },
            Raw::Matrix(mut series) => {
                series.sort_by(|a, b| a.labels.cmp(&b.labels));
                Value::Matrix(series)
            }
            Raw::Rows(rows) => Value::Vector(rows.into_iter().filter_map(|row| to_sample(row, at)).collect()),
        };
        Ok(Answer { value, annotations, statistics })
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
        let Evaluated { raw, annotations, statistics } = self.run(storage, query, parsed, grid).await?;
        let series = match raw {
            Raw::Scalar(values) => {
                let times = (0..grid.count).map(|step| grid.time(step)).collect();
                vec![Series::floats(Labels::empty(), times, values)]
            }
            Raw::Rows(rows) => rows.into_iter().map(|row| to_series(row, &grid)).collect(),
            Raw::Text(_) | Raw::Matrix(_) => Vec::new(),
        };
        Ok(Answer { value: Value::Matrix(series), annotations, statistics })
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
            let what = format!("query has too many points, limit={limit}, points={}", grid.count);
            return Err(Exceeded::points(what, limit));
        }
        Ok(grid)
    }

    async fn run(&self, storage: &dyn Storage, query: &str, parsed: Parsed, grid: Grid) -> Result<Evaluated> {
        let begun = Instant::now();
        let deadline = self.config.timeout_ms.and_then(|ms| begun.checked_add(Duration::from_millis(ms)));
        // Dropped with this future: then the threads that evaluate stop soon.
        let waiting = Waiting::default();
        let mut budget = Budget::new(&self.config, deadline, Arc::clone(&waiting.0));
        if self.config.count_steps {
            budget.count_steps(grid);
        }
        let plan = plan_reads(&parsed, &grid, &self.config, storage).await?;
        let found = self.read(storage, &plan).await?;
        budget.check_time()?;
        let (mut chunk_rows, mut chunk_bytes) = (0, 0);
        for (rows, bytes) in found.iter().map(Found::stored) {
            chunk_rows += rows;
            chunk_bytes += bytes;
        }
        budget.store(chunk_bytes)?;
        let read_time = begun.elapsed();
        let series: usize = found.iter().map(Found::len).sum();
        let work = Work { query: query.to_owned(), config: self.config.clone(), parsed, grid, plan, found, budget };
        let is_small = series.saturating_mul(grid.count + FEW_SAMPLES) < WORTH_A_THREAD;
        let mut evaluated = match tokio::runtime::Handle::try_current() {
            Ok(runtime) if !is_small => {
                let evaluation = runtime.spawn_blocking(move || work.evaluate());
                evaluation.await.map_err(|error| Error::unavailable("query was stopped").with_source(error))??
            }
            _ => work.evaluate()?,
        };
        let statistics = &mut evaluated.statistics;
        (statistics.chunk_rows, statistics.chunk_bytes) = (chunk_rows as u64, chunk_bytes as u64);
        statistics.read_time = read_time;
        statistics.total_time = begun.elapsed();
        Ok(evaluated)
    }

    async fn read(&self, storage: &dyn Storage, plan: &Plan) -> Result<Vec<Found>> {
        let reads: Vec<_> = plan.reads.iter().map(|read| read.run(storage)).collect();
        stream::iter(reads).buffered(self.config.concurrent_reads.max(1)).try_collect().await
    }
}

/// Below so much work, series times steps and samples, a query is evaluated where it was asked.
const WORTH_A_THREAD: usize = 50_000;
/// A series has samples even where there is one step.
const FEW_SAMPLES: usize = 32;

const STOOD_FOR: &str = "PromQL warning: samples have expired, and the first and the last of each interval of a rollup stand for them: \
    what is computed of them is approximate. Ranges and steps of whole intervals (5m, 1h), at such times, are answered from rollups \
    exactly, for count, sum, avg, min, max, first, last, present, delta, increase and rate";

/// Says when nobody waits any more.
#[derive(Default)]
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A query of which everything was read.
struct Work {
    query: String,
    config: EngineConfig,
    parsed: Parsed,
    grid: Grid,
    plan: Plan,
    found: Vec<Found>,
    budget: Budget,
}

struct Evaluated {
    raw: Raw,
    annotations: Annotations,
    statistics: Statistics,
}

impl Work {
    fn evaluate(self) -> Result<Evaluated> {
        let begun = Instant::now();
        let of = |at: &Option<usize>| at.and_then(|at| self.found.get(at));
        let series: Vec<Option<&Found>> = self.plan.read_of.iter().map(of).collect();
        let annotations = Mutex::default();
        let end_ms = self.parsed.time.end_ms(&self.grid);
        let shared = match self.config.shortcuts {
            true => Shared::of(&self.parsed.expr, &self.grid, (self.grid.start_ms, end_ms), &self.config),
            false => Shared::default(),
        };
        let eval = Eval {
            query: &self.query,
            config: &self.config,
            start_ms: self.grid.start_ms,
            end_ms,
            step_ms: self.parsed.time.step_ms,
            series: &series,
            wanted: Wanted::All,
            shared: &shared,
            only: None,
            budget: &self.budget,
            annotations: &annotations,
        };
        let raw = top(&eval, &self.parsed.expr, &self.grid)?;
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed) as u64;
        let statistics = Statistics {
            series: count(&self.budget.series),
            samples_decoded: count(&self.budget.read),
            samples_queried: count(&self.budget.looked),
            samples_needed: count(&self.budget.fresh),
            steps: self.budget.by_step(),
            values_held: count(&self.budget.held),
            evaluation_time: begun.elapsed(),
            ..Statistics::default()
        };
        let mut annotations = annotations.into_inner().unwrap_or_else(PoisonError::into_inner);
        if self.found.iter().any(Found::is_stood_for) {
            annotations.warn(STOOD_FOR.to_owned());
        }
        annotations.settle();
        Ok(Evaluated { raw, annotations, statistics })
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
            let mut merged = Merged::new(eval.budget);
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
