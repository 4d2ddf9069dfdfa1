//! What a query reads: the time range of each of its selectors, found before anything is evaluated.
//!
//! A selector is evaluated exactly once, over a grid that follows from its place in the tree (subqueries make their own), so its
//! range is known in advance. Selectors that read the same are read once.

use std::collections::HashMap;

use opendata_core::Result;

use super::EngineConfig;
use super::ast::{Bounds, Expr, Kind, Selector};
use super::budget::Exceeded;
use super::column::Grid;
use super::eval::{looks, subquery_grid};
use super::parse::Parsed;
use crate::matcher::Matcher;

/// One read of the storage.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Read {
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
}

/// All reads of a query, and which of them each selector uses.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) reads: Vec<Read>,
    /// By selector; `None` for one that no step looks at.
    pub(crate) read_of: Vec<Option<usize>>,
    known: HashMap<Read, usize>,
}

/// Plans the reads of a query.
pub(crate) fn plan(parsed: &Parsed, grid: &Grid, config: &EngineConfig) -> Result<Plan> {
    let mut plan = Plan { read_of: vec![None; parsed.selectors], ..Plan::default() };
    let walk = Walk { start_ms: grid.start_ms, end_ms: parsed.time.end_ms(grid), config };
    walk.expr(&parsed.expr, grid, &mut plan)?;
    Ok(plan)
}

struct Walk<'a> {
    start_ms: i64,
    end_ms: i64,
    config: &'a EngineConfig,
}

impl Walk<'_> {
    fn expr(&self, expr: &Expr, grid: &Grid, plan: &mut Plan) -> Result<()> {
        match &expr.kind {
            Kind::Number(_) | Kind::Text(_) => Ok(()),
            Kind::Instant(selector) => {
                self.read(selector, grid, self.config.lookback_ms, plan);
                Ok(())
            }
            Kind::Range(selector, range_ms) => {
                let back_ms = match selector.bounds {
                    Bounds::Samples => *range_ms,
                    Bounds::Anchored | Bounds::Smoothed => range_ms.saturating_add(self.config.lookback_ms),
                };
                self.read(selector, grid, back_ms, plan);
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
            Kind::Call(call) => call.args.iter().try_for_each(|arg| self.expr(arg, grid, plan)),
        }
    }

    fn read(&self, selector: &Selector, grid: &Grid, back_ms: i64, plan: &mut Plan) {
        if grid.count == 0 {
            return;
        }
        let (first_ms, last_ms) = looks(selector.shift, *grid, self.start_ms, self.end_ms).bounds();
        let start_ms = first_ms.saturating_sub(back_ms).saturating_add(1);
        let forth_ms = if selector.bounds == Bounds::Smoothed { self.config.lookback_ms } else { 0 };
        let end_ms = last_ms.saturating_add(forth_ms);
        let read = Read { matchers: selector.matchers.clone(), start_ms, end_ms };
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
