//! What a query may cost, what it has cost so far, and whether anyone still waits for it.
//!
//! Workers share one budget: it counts with atomics, and every count is also the place where a query that was given up
//! or runs for too long ends.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use opendata_core::{Error, ErrorKind, Result, Timestamp};

use super::EngineConfig;
use super::column::Grid;
use super::value::StepStatistics;

/// A limit of [`EngineConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// [`max_samples`](EngineConfig::max_samples)
    Samples,
    /// [`max_computed`](EngineConfig::max_computed)
    Computed,
    /// [`max_held`](EngineConfig::max_held)
    Held,
    /// [`max_bytes`](EngineConfig::max_bytes)
    Bytes,
    /// [`max_points`](EngineConfig::max_points) or [`max_subquery_points`](EngineConfig::max_subquery_points)
    Points,
    /// [`timeout_ms`](EngineConfig::timeout_ms)
    Time,
}

/// The source of the error of a query that exceeded a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Which one.
    pub limit: Limit,
    /// How much is allowed; milliseconds for [`Limit::Time`].
    pub allowed: u64,
}

impl Exceeded {
    /// What an error says about a limit, if it is about one.
    #[must_use]
    pub fn of(error: &Error) -> Option<&Self> {
        std::error::Error::source(error)?.downcast_ref()
    }

    /// The error of a query or subquery with too many steps.
    pub(crate) fn points(what: String, allowed: usize) -> Error {
        let allowed = u64::try_from(allowed).unwrap_or(u64::MAX);
        Error::invalid(what).with_source(Self { limit: Limit::Points, allowed })
    }

    /// The error.
    pub(crate) fn error(limit: Limit, allowed: usize) -> Error {
        let allowed = u64::try_from(allowed).unwrap_or(u64::MAX);
        let (kind, what) = match limit {
            Limit::Samples => (ErrorKind::Invalid, "query reads too many samples"),
            Limit::Computed => (ErrorKind::Invalid, "query computes too many values"),
            Limit::Held => (ErrorKind::Invalid, "query keeps too many values in memory"),
            Limit::Bytes => (ErrorKind::Invalid, "query needs too much memory"),
            Limit::Points => (ErrorKind::Invalid, "query has too many steps"),
            Limit::Time => (ErrorKind::Unavailable, "query takes too long"),
        };
        Error::new(kind, format!("{what}, limit={allowed}")).with_source(Self { limit, allowed })
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limit exceeded, limit={:?}, allowed={}", self.limit, self.allowed)
    }
}

impl std::error::Error for Exceeded {}

/// Counts against the limits. Kept values are counted over the whole query and never given back: most queries keep rows in
/// one place only, and the limit is there to stop those that would not fit.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) series: AtomicUsize,
    pub(crate) read: AtomicUsize,
    pub(crate) looked: AtomicUsize,
    pub(crate) fresh: AtomicUsize,
    computed: AtomicUsize,
    pub(crate) held: AtomicUsize,
    /// The bytes of what was read and is not decoded.
    stored: AtomicUsize,
    /// By step the samples looked at, and those of them that the step before had not, where they are counted.
    pub(crate) steps: Option<(Grid, Vec<(AtomicUsize, AtomicUsize)>)>,
    limits: Limits,
    deadline: Option<Instant>,
    given_up: Arc<AtomicBool>,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    samples: usize,
    computed: usize,
    held: usize,
    bytes: usize,
    time_ms: u64,
}

impl Budget {
    pub(crate) fn new(config: &EngineConfig, deadline: Option<Instant>, given_up: Arc<AtomicBool>) -> Self {
        let limits = Limits {
            samples: config.max_samples,
            computed: config.max_computed,
            held: config.max_held,
            bytes: config.max_bytes,
            time_ms: config.timeout_ms.unwrap_or(u64::MAX),
        };
        let zero = || AtomicUsize::new(0);
        let (series, read, looked, fresh) = (zero(), zero(), zero(), zero());
        let (computed, held, stored) = (zero(), zero(), zero());
        Self { series, read, looked, fresh, computed, held, stored, steps: None, limits, deadline, given_up }
    }

    /// Counts the samples of a series that was decoded.
    pub(crate) fn read(&self, samples: usize) -> Result<()> {
        let series = self.series.fetch_add(1, Ordering::Relaxed);
        // Looking at the clock for every series would cost more than some series do.
        if series.is_multiple_of(64) {
            self.check_time()?;
        }
        count(&self.read, samples, self.limits.samples, Limit::Samples)
    }

    /// Counts the bytes that were read and wait to be decoded.
    pub(crate) fn store(&self, bytes: usize) -> Result<()> {
        self.stored.fetch_add(bytes, Ordering::Relaxed);
        self.check_bytes()
    }

    /// Counts samples as the reference counts them: those in each window of each step.
    ///
    /// Of those, `fresh` were not in the window of the step before: together they are the samples that were needed.
    pub(crate) fn look(&self, samples: usize, fresh: usize) {
        self.looked.fetch_add(samples, Ordering::Relaxed);
        self.fresh.fetch_add(fresh, Ordering::Relaxed);
    }

    /// The same for the step that they were looked at for, if steps are counted: of a subquery's own steps, the first step of the query
    /// that is not before it.
    pub(crate) fn look_at(&self, time_ms: i64, samples: usize, fresh: usize) {
        let Some((grid, steps)) = &self.steps else { return };
        let behind = time_ms.saturating_sub(grid.start_ms).max(0);
        let step = behind / grid.step_ms.max(1) + i64::from(behind % grid.step_ms.max(1) != 0);
        let last = steps.len().saturating_sub(1);
        let step = usize::try_from(step).unwrap_or(usize::MAX).min(last);
        if let Some((looked, needed)) = steps.get(step) {
            looked.fetch_add(samples, Ordering::Relaxed);
            needed.fetch_add(fresh, Ordering::Relaxed);
        }
    }

    /// Counts the samples of each step, too.
    pub(crate) fn count_steps(&mut self, grid: Grid) {
        self.steps = Some((grid, (0..grid.count).map(|_| Default::default()).collect()));
    }

    /// The samples of each step, where they are counted.
    pub(crate) fn by_step(&self) -> Vec<StepStatistics> {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed) as u64;
        let Some((grid, steps)) = &self.steps else { return Vec::new() };
        let of = |(step, (looked, needed)): (usize, &(AtomicUsize, AtomicUsize))| StepStatistics {
            at: Timestamp(grid.time(step)),
            samples_queried: count(looked),
            samples_needed: count(needed),
        };
        steps.iter().enumerate().map(of).collect()
    }

    /// Counts values that are computed, and samples that are looked at to compute them.
    pub(crate) fn compute(&self, values: usize) -> Result<()> {
        let before = self.computed.load(Ordering::Relaxed);
        // About once every 2^16 values.
        if (before ^ before.saturating_add(values)) >> 16 != 0 {
            self.check_time()?;
        }
        count(&self.computed, values, self.limits.computed, Limit::Computed)
    }

    /// Counts values that are kept in memory.
    pub(crate) fn hold(&self, values: usize) -> Result<()> {
        if values == 0 {
            return Ok(());
        }
        count(&self.held, values, self.limits.held, Limit::Held)?;
        self.check_bytes()
    }

    fn check_bytes(&self) -> Result<()> {
        let values = self.held.load(Ordering::Relaxed).saturating_mul(size_of::<f64>());
        let bytes = self.stored.load(Ordering::Relaxed).saturating_add(values);
        if bytes > self.limits.bytes { Err(Exceeded::error(Limit::Bytes, self.limits.bytes)) } else { Ok(()) }
    }

    /// Whether there is time left, and someone who waits.
    pub(crate) fn check_time(&self) -> Result<()> {
        if self.given_up.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Closed, "nobody waits for the query any more"));
        }
        match self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            true => Err(Exceeded::error(Limit::Time, usize::try_from(self.limits.time_ms).unwrap_or(usize::MAX))),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
impl Budget {
    /// For tests: so many values computed and held, and nothing else bounded.
    pub(crate) fn of(max_computed: usize, max_held: usize) -> Self {
        let config = EngineConfig { max_computed, max_held, ..EngineConfig::default() };
        Self::new(&config, None, Arc::default())
    }
}

fn count(counter: &AtomicUsize, values: usize, allowed: usize, limit: Limit) -> Result<()> {
    let total = counter.fetch_add(values, Ordering::Relaxed).saturating_add(values);
    if total > allowed { Err(Exceeded::error(limit, allowed)) } else { Ok(()) }
}
