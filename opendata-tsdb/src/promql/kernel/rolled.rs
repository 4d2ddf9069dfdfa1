//! Functions over windows computed of rollups' points instead of samples: those that need nothing else.
//!
//! A window's bounds are bounds of intervals, so it has exactly the samples of its points, and what is computed is what the
//! samples give; sums and differences are rounded in another order.

use opendata_core::Result;

use super::rate::reach_of;
use super::{Slide, seconds};
use crate::promql::column::Column;
use crate::promql::function::Over;
use crate::rollup::RollupPoint;

/// Whether points have all that a function needs.
pub(crate) fn is_rolled(over: Over) -> bool {
    matches!(
        over,
        Over::Rate
            | Over::Increase
            | Over::Delta
            | Over::Avg
            | Over::Sum
            | Over::Min
            | Over::Max
            | Over::Count
            | Over::First
            | Over::Last
            | Over::Present
            | Over::TimeOfFirst
            | Over::TimeOfLast
    )
}

/// The function's value at each step.
pub(super) fn slide(run: &Slide<'_>, over: Over) -> Result<Column> {
    let points = run.samples.points;
    let mut column = Column::empty(run.looks.grid.count);
    let (mut looked, mut known) = (0, 0);
    for step in 0..run.looks.grid.count {
        let until_ms = run.looks.at(step);
        let after_ms = until_ms.saturating_sub(run.range_ms);
        let from = points.partition_point(|point| point.start_ms < after_ms);
        let to = points.partition_point(|point| point.start_ms < until_ms);
        let Some(window) = points.get(from..to).filter(|window| !window.is_empty()) else { continue };
        run.budget.compute(window.len())?;
        let fresh = to.saturating_sub(known.max(from));
        run.budget.look_at(run.looks.grid.time(step), window.len(), fresh);
        (looked, known) = (looked + window.len(), known.max(to));
        if let Some(value) = of_window(over, window, (after_ms, until_ms), run.range_ms) {
            column.set(step, value);
        }
    }
    run.budget.look(looked, points.len().min(looked));
    Ok(column)
}

fn of_window(over: Over, window: &[RollupPoint], bounds: (i64, i64), range_ms: i64) -> Option<f64> {
    let (first, last) = (window.first()?, window.last()?);
    let samples = samples_of(window);
    let sum = || window.iter().map(|point| point.sum).sum::<f64>();
    match over {
        Over::Count => Some(samples),
        Over::Sum => Some(sum()),
        Over::Avg => Some(sum() / samples),
        Over::Min => window.iter().map(|point| point.min).reduce(f64::min),
        Over::Max => window.iter().map(|point| point.max).reduce(f64::max),
        Over::First => Some(first.first),
        Over::Last => Some(last.last),
        Over::TimeOfFirst => Some(seconds(first.first_ms)),
        Over::TimeOfLast => Some(seconds(last.last_ms)),
        Over::Present => Some(1.0),
        Over::Delta => extrapolated(window, bounds, false),
        Over::Increase => extrapolated(window, bounds, true),
        Over::Rate => extrapolated(window, bounds, true).map(|increase| increase / seconds(range_ms)),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "no window holds 2^53 samples")]
fn samples_of(window: &[RollupPoint]) -> f64 {
    window.iter().map(|point| point.count).sum::<u64>() as f64
}

/// The difference over the window, as it is extrapolated from samples.
fn extrapolated(window: &[RollupPoint], bounds: (i64, i64), is_counter: bool) -> Option<f64> {
    let (first, last) = (window.first()?, window.last()?);
    let samples = samples_of(window);
    if samples < 2.0 {
        return None;
    }
    let mut difference = last.last - first.first;
    if is_counter {
        let next = window.iter().skip(1).map(Some).chain([None]);
        difference += window.iter().zip(next).map(|(point, next)| point.lost_until(next)).sum::<f64>();
    }
    let floor = is_counter.then_some((first.first, difference));
    Some(difference * reach_of((first.first_ms, last.last_ms), samples, bounds, floor))
}
