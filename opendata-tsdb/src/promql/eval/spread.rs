//! Where the evaluator meets the samples: series are decoded one by one, and an expression that treats each series by
//! itself is computed by several workers.
//!
//! Workers take pieces of the series in turn and decode, slide and map them; the thread that asked receives the rows in
//! the order of the series, so that what it makes of them does not depend on the number of workers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use opendata_core::Result;

use super::{Eval, Sink};
use crate::promql::ast::{Call, Expr, Kind, Selector, Type};
use crate::promql::column::{Grid, Row};
use crate::promql::function::Function;
use crate::promql::storage::{Buffer, Series};

/// How many series a worker takes at a time.
const PIECE: usize = 128;
/// Below so many values, series times steps and a few samples each, one thread is faster than handing rows over.
const WORTH_SPREADING: usize = 100_000;

impl Eval<'_> {
    /// Calls `f` with each series of a selector, decoded; in a worker with those of its piece.
    pub(super) fn each_series(&self, selector: &Selector, mut f: impl FnMut(&Series) -> Result<()>) -> Result<()> {
        let Some(found) = self.series.get(selector.id).copied().flatten() else { return Ok(()) };
        let mut buffer = Buffer::default();
        buffer.scratch.wanted = self.wanted;
        for place in self.only.clone().unwrap_or(0..found.len()) {
            found.with(place, &mut buffer, |series| {
                self.budget.read(series.weight())?;
                f(series)
            })?;
        }
        Ok(())
    }

    /// How many series an expression treats each by itself, if that is worth several workers.
    pub(super) fn spreads_over(&self, expr: &Expr, grid: &Grid) -> Option<usize> {
        if self.only.is_some() || self.config.workers < 2 {
            return None;
        }
        let selector = self.each_by_itself(expr)?;
        let series = self.series.get(selector.id).copied().flatten()?.len();
        (series.saturating_mul(grid.count + 32) >= WORTH_SPREADING).then_some(series)
    }

    /// The selector of which an expression maps each series to one row, if it does.
    fn each_by_itself<'e>(&self, expr: &'e Expr) -> Option<&'e Selector> {
        let keeps_apart = |inner: &Expr| self.config.delayed_name_removal || inner.is_distinct_without_name();
        match &expr.kind {
            Kind::Instant(selector) => Some(selector),
            Kind::Negate(inner) if keeps_apart(inner) => self.each_by_itself(inner),
            Kind::Call(call) if call.args.iter().all(|arg| arg.ty() != Type::Scalar || is_constant(arg)) => {
                let inner = first_vector(call)?;
                match (call.function, &inner.kind) {
                    (Function::Over(_), Kind::Range(selector, _)) if keeps_apart(inner) => Some(selector),
                    (Function::Math(_) | Function::Round | Function::ClampMin | Function::ClampMax, _)
                        if keeps_apart(inner) =>
                    {
                        self.each_by_itself(inner)
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The rows of such an expression.
    pub(super) fn rows_by_workers(&self, expr: &Expr, grid: &Grid, series: usize, sink: &mut Sink<'_>) -> Result<()> {
        let workers = self.config.workers.min(series.div_ceil(PIECE)).max(1);
        let next = AtomicUsize::new(0);
        let (sender, receiver) = sync_channel::<(usize, Result<Vec<Row>>)>(4 * workers);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                let (sender, next) = (sender.clone(), &next);
                scope.spawn(move || {
                    loop {
                        let piece = next.fetch_add(1, Ordering::Relaxed);
                        let only = piece * PIECE..((piece + 1) * PIECE).min(series);
                        if only.is_empty() {
                            return;
                        }
                        let rows = self.piece(only, expr, grid);
                        let is_last = rows.is_err();
                        if sender.send((piece, rows)).is_err() || is_last {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            let (mut waiting, mut due) = (BTreeMap::new(), 0);
            // Moved in here, so that the workers stop when the sink refuses a row.
            let receiver = receiver;
            for (piece, rows) in &receiver {
                waiting.insert(piece, rows);
                while let Some(rows) = waiting.remove(&due) {
                    due += 1;
                    rows?.into_iter().try_for_each(&mut *sink)?;
                }
            }
            Ok(())
        })
    }

    fn piece(&self, only: Range<usize>, expr: &Expr, grid: &Grid) -> Result<Vec<Row>> {
        let mut rows = Vec::with_capacity(only.len());
        let worker = Eval { only: Some(only), ..*self };
        worker.rows(expr, grid, &mut |row| {
            rows.push(row);
            Ok(())
        })?;
        Ok(rows)
    }
}

fn is_constant(expr: &Expr) -> bool {
    matches!(expr.kind, Kind::Number(_))
}

fn first_vector(call: &Call) -> Option<&Expr> {
    call.args.iter().find(|arg| matches!(arg.ty(), Type::Vector | Type::Matrix))
}
