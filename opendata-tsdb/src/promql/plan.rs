//! What a query reads: the time range of each of its selectors, found before anything is evaluated.
//!
//! A selector is evaluated exactly once, over a grid that follows from its place in the tree (subqueries make their own), so its
//! range is known in advance. Selectors that read the same are read once.

use std::collections::HashMap;

use opendata_core::Result;

use super::EngineConfig;
use super::ast::{Bounds, Call, Expr, Kind, Selector};
use super::budget::Exceeded;
use super::column::Grid;
use super::eval::{looks, subquery_grid};
use super::function::Function;
use super::kernel::is_rolled;
use super::parse::Parsed;
use super::storage::{Found, Storage};
use crate::matcher::Matcher;
use crate::rollup::Resolution;

/// One read of the storage.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Read {
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    /// Points of rollups will do, if their intervals divide this.
    pub(crate) unit_ms: Option<i64>,
}

impl Read {
    /// Reads it: points of rollups where these will do and the storage chooses to have them so.
    pub(crate) async fn run(&self, storage: &dyn Storage) -> Result<Found> {
        if let Some(unit_ms) = self.unit_ms
            && let Some(found) = storage.find_rolled(&self.matchers, self.start_ms, self.end_ms, unit_ms).await?
        {
            return Ok(found);
        }
        storage.find(&self.matchers, self.start_ms, self.end_ms).await
    }
}

/// All reads of a query, and which of them each selector uses.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) reads: Vec<Read>,
    /// By selector; `None` for one that no step looks at.
    pub(crate) read_of: Vec<Option<usize>>,
    known: HashMap<Read, usize>,
}

/// Plans the reads of a query; where the storage has rollups, those that these may answer are reads of their own.
pub(crate) fn plan(parsed: &Parsed, grid: &Grid, config: &EngineConfig, has_rollups: bool) -> Result<Plan> {
    let mut plan = Plan { read_of: vec![None; parsed.selectors], ..Plan::default() };
    let walk = Walk { start_ms: grid.start_ms, end_ms: parsed.time.end_ms(grid), config, has_rollups };
    walk.expr(&parsed.expr, grid, &mut plan)?;
    Ok(plan)
}

struct Walk<'a> {
    start_ms: i64,
    end_ms: i64,
    config: &'a EngineConfig,
    has_rollups: bool,
}

impl Walk<'_> {
    fn expr(&self, expr: &Expr, grid: &Grid, plan: &mut Plan) -> Result<()> {
        match &expr.kind {
            Kind::Number(_) | Kind::Text(_) => Ok(()),
            Kind::Instant(selector) => {
                self.read(selector, grid, self.config.lookback_ms, None, plan);
                Ok(())
            }
            Kind::Range(selector, range_ms) => {
                let back_ms = match selector.bounds {
                    Bounds::Samples => *range_ms,
                    Bounds::Anchored | Bounds::Smoothed => range_ms.saturating_add(self.config.lookback_ms),
                };
                self.read(selector, grid, back_ms, None, plan);
                Ok(())
            }
            Kind::Subquery(subquery) => {
                let looks = looks(subquery.shift, *grid, self.start_ms, self.end_ms);
                let inner = subquery_grid(subquery, &looks, self.config);
                if inner.count > self.config.max_subquery_points {
                    let limit = self.config.max_subquery_points;
                    let what = format!("subquery has too many steps, limit={limit}, steps={}", inner.count);
                    return Err(Exceeded::points(what, limit));
                }
                self.expr(&subquery.expr, &inner, plan)
            }
            Kind::Negate(inner) => self.expr(inner, grid, plan),
            Kind::Binary(binary) => {
                self.expr(&binary.left, grid, plan)?;
                self.expr(&binary.right, grid, plan)
            }
            Kind::Aggregate(aggregate) => {
                aggregate.parameter.iter().try_for_each(|parameter| self.expr(parameter, grid, plan))?;
                self.expr(&aggregate.expr, grid, plan)
            }
            Kind::Call(call) => call.args.iter().try_for_each(|arg| self.argument(call, arg, grid, plan)),
        }
    }

    /// A range of samples of which a function needs no more than rollups have is marked as such.
    fn argument(&self, call: &Call, arg: &Expr, grid: &Grid, plan: &mut Plan) -> Result<()> {
        if let (Function::Over(over), Kind::Range(selector, range_ms)) = (call.function, &arg.kind)
            && is_rolled(over)
            && self.has_rollups
            && selector.bounds == Bounds::Samples
        {
            let looks = looks(selector.shift, *grid, self.start_ms, self.end_ms);
            let step_ms = if grid.count > 1 && looks.fixed_ms.is_none() { grid.step_ms } else { 0 };
            let unit_ms = [looks.at(0), step_ms].into_iter().fold(*range_ms, common);
            self.read(selector, grid, *range_ms, Some(unit_ms), plan);
            return Ok(());
        }
        self.expr(arg, grid, plan)
    }

    fn read(&self, selector: &Selector, grid: &Grid, back_ms: i64, unit_ms: Option<i64>, plan: &mut Plan) {
        if grid.count == 0 {
            return;
        }
        let (first_ms, last_ms) = looks(selector.shift, *grid, self.start_ms, self.end_ms).bounds();
        let start_ms = first_ms.saturating_sub(back_ms).saturating_add(1);
        let forth_ms = if selector.bounds == Bounds::Smoothed { self.config.lookback_ms } else { 0 };
        let end_ms = last_ms.saturating_add(forth_ms);
        // No rollup is finer than this, and reads that are alike shall be one.
        let finest_ms = Resolution::FiveMinutes.length_ms();
        let unit_ms = unit_ms.filter(|unit_ms| *unit_ms > 0 && unit_ms % finest_ms == 0);
        let read = Read { matchers: selector.matchers.clone(), start_ms, end_ms, unit_ms };
        let next = plan.reads.len();
        let at = *plan.known.entry(read.clone()).or_insert(next);
        if at == next {
            plan.reads.push(read);
        }
        if let Some(slot) = plan.read_of.get_mut(selector.id) {
            *slot = Some(at);
        }
    }
}

/// The largest number that divides both.
fn common(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.saturating_abs(), b.saturating_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
