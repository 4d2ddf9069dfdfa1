//! Whether a counter began anew between two histograms (section "Counter reset considerations" of the specification).

use std::sync::Arc;

use super::buckets::pairs;
use super::{Buckets, CounterReset, Histogram, bounds};

impl Histogram {
    /// Whether this histogram began anew after `before`: by its hint, or by a count that fell.
    ///
    /// That the hint denies it is no proof: samples may have come late, or been deleted, since it was made.
    ///
    /// A change of schema or zero bucket counts only where it is none that a client makes to save buckets (coarser, wider). Gauges
    /// are looked at as if they were counters.
    #[must_use]
    pub fn is_reset_after(&self, before: &Self) -> bool {
        self.counter_reset == CounterReset::Reset || self.fell_below(before)
    }

    /// The same without believing the hint, as for histograms that need not have followed one another when they were stored.
    #[must_use]
    pub fn fell_below(&self, before: &Self) -> bool {
        if self.count < before.count {
            return true;
        }
        match (self.has_custom_bounds(), before.has_custom_bounds()) {
            (true, true) => return self.custom_fell_below(before),
            (false, false) => {}
            _ => return true,
        }
        if self.schema > before.schema || self.zero_threshold < before.zero_threshold {
            return true;
        }
        if self.schema == before.schema && self.zero_threshold == before.zero_threshold {
            return self.zero_count < before.zero_count
                || fell(&before.positive, &self.positive)
                || fell(&before.negative, &self.negative);
        }
        let (zero_count, threshold) = before.wider_zero(self.zero_threshold);
        if threshold != self.zero_threshold || self.zero_count < zero_count {
            return true;
        }
        let coarse = |buckets: &Buckets| {
            let steps = u32::from(before.schema.abs_diff(self.schema));
            let lower = |index: i32| bounds::exponential(index.saturating_sub(1), before.schema);
            let mut coarse =
                Buckets::from_indexed(buckets.indexed().filter(|(index, _)| lower(*index) >= self.zero_threshold));
            coarse.regroup(|index| bounds::coarser(index, steps));
            coarse
        };
        fell(&coarse(&before.positive), &self.positive) || fell(&coarse(&before.negative), &self.negative)
    }

    /// With different bounds, those are compared that both have.
    fn custom_fell_below(&self, before: &Self) -> bool {
        if bounds::equal(&self.custom_bounds, &before.custom_bounds) {
            return fell(&before.positive, &self.positive);
        }
        let shared: Arc<[f64]> = bounds::shared(&self.custom_bounds, &before.custom_bounds).into();
        let (mut now, mut before) = (self.clone(), before.clone());
        now.reduce_bounds(&shared);
        before.reduce_bounds(&shared);
        fell(&before.positive, &now.positive)
    }
}

fn fell(before: &Buckets, now: &Buckets) -> bool {
    if before.spans == now.spans {
        return before.counts.iter().zip(&now.counts).any(|(before, now)| now < before);
    }
    pairs(before, now).any(|(_, before, now)| now < before)
}
