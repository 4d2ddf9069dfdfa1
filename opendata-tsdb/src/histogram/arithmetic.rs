//! Sums, differences and multiples of histograms.

use std::fmt;
use std::sync::Arc;

use super::{Buckets, CounterReset, Histogram, bounds};

/// Two histograms that cannot be brought to common buckets: one has exponential buckets, the other custom bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incompatible;

impl fmt::Display for Incompatible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("exponential and custom buckets do not mix")
    }
}

impl std::error::Error for Incompatible {}

/// What was remarkable about combining two histograms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Combined {
    /// One counter began anew where the other did not.
    pub resets_conflict: bool,
    /// Different custom bounds were reduced to those that both have.
    pub bounds_reduced: bool,
}

impl CounterReset {
    /// What holds for a sum of two, and whether they contradict one another.
    pub(crate) fn joined(self, other: Self) -> (Self, bool) {
        match (self, other) {
            (a, b) if a == b => (a, false),
            (Self::Gauge, _) | (_, Self::Gauge) => (Self::Gauge, false),
            (Self::Unknown, _) | (_, Self::Unknown) => (Self::Unknown, false),
            _ => (Self::Unknown, true),
        }
    }
}

impl Histogram {
    /// Adds another histogram, bucket by bucket.
    ///
    /// # Errors
    /// [`Incompatible`] where only one of them has custom bounds.
    pub fn add(&mut self, other: &Self) -> Result<Combined, Incompatible> {
        self.combine(other, |a, b| a + b)
    }

    /// Subtracts another histogram. The kind of the result is that of a sum; whoever needs a gauge says so.
    ///
    /// # Errors
    /// As [`Histogram::add`].
    pub fn sub(&mut self, other: &Self) -> Result<Combined, Incompatible> {
        self.combine(other, |a, b| a - b)
    }

    fn combine(&mut self, other: &Self, f: impl Fn(f64, f64) -> f64 + Copy) -> Result<Combined, Incompatible> {
        let (counter_reset, resets_conflict) = self.counter_reset.joined(other.counter_reset);
        let bounds_reduced;
        let aligned;
        let other = if self.has_layout_of(other) {
            bounds_reduced = false;
            other
        } else {
            let mut copy = other.clone();
            bounds_reduced = self.align(&mut copy)?;
            aligned = copy;
            &aligned
        };
        self.counter_reset = counter_reset;
        self.zero_count = f(self.zero_count, other.zero_count);
        self.count = f(self.count, other.count);
        self.sum = f(self.sum, other.sum);
        self.positive.merge(&other.positive, f);
        self.negative.merge(&other.negative, f);
        Ok(Combined { resets_conflict, bounds_reduced })
    }

    /// Multiplies all counts and the sum. With a negative factor the result is a gauge.
    pub fn scale(&mut self, factor: f64) {
        self.each(|x| x * factor);
        if factor < 0.0 {
            self.counter_reset = CounterReset::Gauge;
        }
    }

    /// Divides all counts and the sum. By zero, no regular bucket is left and the rest is infinite (or NaN, if it was zero). By
    /// something negative, the result is a gauge.
    pub fn divide(&mut self, by: f64) {
        self.each(|x| x / by);
        if by == 0.0 {
            self.positive = Buckets::default();
            self.negative = Buckets::default();
        }
        if by < 0.0 {
            self.counter_reset = CounterReset::Gauge;
        }
    }

    fn each(&mut self, f: impl Fn(f64) -> f64 + Copy) {
        self.zero_count = f(self.zero_count);
        self.count = f(self.count);
        self.sum = f(self.sum);
        self.positive.scale(f);
        self.negative.scale(f);
    }

    /// Whether both have the same schema, zero bucket and bounds. The buckets they keep may differ.
    pub(super) fn has_layout_of(&self, other: &Self) -> bool {
        self.schema == other.schema
            && (self.has_custom_bounds() || self.zero_threshold == other.zero_threshold)
            && bounds::equal(&self.custom_bounds, &other.custom_bounds)
    }

    /// Gives both the finest layout that both can have; tells whether custom bounds were given up for it.
    pub(super) fn align(&mut self, other: &mut Self) -> Result<bool, Incompatible> {
        match (self.has_custom_bounds(), other.has_custom_bounds()) {
            (true, true) => {
                if bounds::equal(&self.custom_bounds, &other.custom_bounds) {
                    return Ok(false);
                }
                let shared: Arc<[f64]> = bounds::shared(&self.custom_bounds, &other.custom_bounds).into();
                self.reduce_bounds(&shared);
                other.reduce_bounds(&shared);
                Ok(true)
            }
            (false, false) => {
                while self.zero_threshold != other.zero_threshold {
                    if self.zero_threshold < other.zero_threshold {
                        self.widen_zero(other.zero_threshold);
                    } else {
                        other.widen_zero(self.zero_threshold);
                    }
                }
                let schema = self.schema.min(other.schema);
                self.reduce_schema(schema);
                other.reduce_schema(schema);
                Ok(false)
            }
            _ => Err(Incompatible),
        }
    }

    /// Merges buckets down to some of the custom bounds.
    pub(super) fn reduce_bounds(&mut self, bounds: &Arc<[f64]>) {
        let old = Arc::clone(&self.custom_bounds);
        self.positive.regroup(|index| bounds::place(index, &old, bounds));
        self.custom_bounds = Arc::clone(bounds);
    }

    /// Merges neighbours until the schema is this one. Does nothing to a histogram that is not finer, or has custom bounds.
    pub fn reduce_schema(&mut self, schema: i8) {
        if self.has_custom_bounds() || schema >= self.schema {
            return;
        }
        let steps = u32::from(self.schema.abs_diff(schema));
        self.positive.regroup(|index| bounds::coarser(index, steps));
        self.negative.regroup(|index| bounds::coarser(index, steps));
        self.schema = schema;
    }

    /// The zero bucket's count and threshold if its threshold were raised to at least `threshold`: further where that lies inside of
    /// a populated bucket, which cannot be divided.
    pub(super) fn wider_zero(&self, threshold: f64) -> (f64, f64) {
        let mut threshold = threshold;
        loop {
            let before = threshold;
            let mut count = self.zero_count;
            for buckets in [&self.positive, &self.negative] {
                for (index, inside) in buckets.indexed() {
                    if bounds::exponential(index.saturating_sub(1), self.schema) >= threshold {
                        break;
                    }
                    count += inside;
                    if inside != 0.0 {
                        threshold = threshold.max(bounds::exponential(index, self.schema));
                    }
                }
            }
            if threshold == before {
                return (count, threshold);
            }
        }
    }

    /// Widens the zero bucket, which swallows what it then covers.
    fn widen_zero(&mut self, threshold: f64) {
        let (count, threshold) = self.wider_zero(threshold);
        self.zero_count = count;
        self.zero_threshold = threshold;
        let schema = self.schema;
        for buckets in [&mut self.positive, &mut self.negative] {
            let outside = |(index, _): &(i32, f64)| bounds::exponential(index.saturating_sub(1), schema) >= threshold;
            *buckets = Buckets::from_indexed(buckets.indexed().filter(outside));
        }
    }
}
