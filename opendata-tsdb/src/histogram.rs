//! Native histograms: a whole distribution in one sample, as Prometheus's native histogram specification 1.0 defines them.
//!
//! A [`Histogram`] counts with floats (histograms of integers become such when they are ingested). Its buckets follow from its
//! *schema*:
//!
//! - `-4..=8`, exponential: bucket `i` holds `2^((i-1) * 2^-schema) < x <= 2^(i * 2^-schema)`, and its mirror the negative values;
//!   `|x| <= zero_threshold` is the zero bucket;
//! - [`CUSTOM_BOUNDS`] (-53): bucket `i` holds `bounds[i-1] < x <= bounds[i]`, without beginning for the first and without
//!   end for the last; there are no negative buckets and no zero bucket. Classic histograms become these.
//!
//! Only stretches of populated buckets are kept, as [`Span`]s. Histograms of different schemas, or with different zero
//! buckets, are brought to a common one by every operation that takes two, by merging neighbours: the result is exact, but coarser.

use std::fmt;
use std::sync::Arc;

use opendata_core::{Error, Result};

mod arithmetic;
mod bounds;
mod buckets;
mod estimate;
mod reset;
mod total;
mod trim;

pub use arithmetic::{Combined, Incompatible};
pub use buckets::{Bucket, Buckets, Span};
pub(crate) use estimate::{Estimate, NanObservations};
pub(crate) use total::Total;
pub(crate) use trim::TrimSide;

/// The schema of histograms with bounds of their own.
pub const CUSTOM_BOUNDS: i8 = -53;

/// The exponential schemas, from the coarsest to the finest.
pub const EXPONENTIAL_SCHEMAS: std::ops::RangeInclusive<i8> = -4..=8;

/// What is known of a counter between the sample before and this one. Everything but `Gauge` belongs to a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CounterReset {
    /// Nothing is known: whoever needs to know compares the two.
    #[default]
    Unknown,
    /// The counter began anew with this sample.
    Reset,
    /// It did not.
    NotReset,
    /// This is no counter: it may fall.
    Gauge,
}

/// A native histogram.
///
/// Operations keep what [`validate`](Self::validate) demands, except that subtracting and scaling may make counts negative: such
/// a histogram can be computed with, but not stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Counter or gauge, and whether the counter began anew.
    pub counter_reset: CounterReset,
    /// Which buckets there are.
    pub schema: i8,
    /// The half width of the zero bucket.
    pub zero_threshold: f64,
    /// How many observations lie in the zero bucket.
    pub zero_count: f64,
    /// How many observations there are, NaN among them.
    pub count: f64,
    /// The sum of the observations.
    pub sum: f64,
    /// Buckets of positive values, by index; with custom bounds all buckets, from index 0.
    pub positive: Buckets,
    /// Buckets of negative values, by the index of their mirror.
    pub negative: Buckets,
    /// The upper bounds where the schema is [`CUSTOM_BOUNDS`], ascending and finite, without the last one, which is infinity.
    pub custom_bounds: Arc<[f64]>,
}

impl Histogram {
    /// The marker of the end of a series, in the form that histograms have: its sum is [`STALE_NAN`](crate::promql::STALE_NAN).
    #[must_use]
    pub fn stale_marker() -> Self {
        Self { sum: crate::promql::STALE_NAN, ..Self::default() }
    }

    /// Whether this marks the end of the series.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        crate::promql::is_stale(self.sum)
    }

    /// Whether the schema is [`CUSTOM_BOUNDS`].
    #[must_use]
    pub fn has_custom_bounds(&self) -> bool {
        self.schema == CUSTOM_BOUNDS
    }

    /// Whether this is a gauge.
    #[must_use]
    pub fn is_gauge(&self) -> bool {
        self.counter_reset == CounterReset::Gauge
    }

    /// All populated buckets from the lowest to the highest, the zero bucket among them. A negative zero bucket, which only arithmetic
    /// makes, is not shown, as in the reference.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        let negative = self.negative.indexed_backward().map(|(index, count)| self.bucket(index, count).mirrored());
        let zero = Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_included: true,
            upper_included: true,
            count: self.zero_count,
        };
        let positive = self.positive.indexed().map(|(index, count)| self.bucket(index, count));
        let zero = std::iter::once(zero).filter(|zero| zero.count > 0.0);
        negative.chain(zero).chain(positive).filter(|bucket| bucket.count != 0.0)
    }

    /// The bucket of positive values with an index.
    fn bucket(&self, index: i32, count: f64) -> Bucket {
        let (lower, upper) = if self.has_custom_bounds() {
            (bounds::custom(index.saturating_sub(1), &self.custom_bounds), bounds::custom(index, &self.custom_bounds))
        } else {
            (bounds::exponential(index.saturating_sub(1), self.schema), bounds::exponential(index, self.schema))
        };
        // The reference says so of every bound: one on the far side of zero belongs to the bucket.
        Bucket { lower, upper, lower_included: lower < 0.0, upper_included: upper > 0.0, count }
    }

    /// Whether this can be stored.
    ///
    /// # Errors
    /// `Invalid` where the schema is unknown, spans and counts do not fit one another, a count is negative or NaN, bounds are not
    /// ascending and finite, or something is there that the schema does not have.
    pub fn validate(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::invalid(format!("histogram is not valid: {what}")));
        self.positive.validate()?;
        self.negative.validate()?;
        if self.has_custom_bounds() {
            self.validate_custom()?;
        } else if !EXPONENTIAL_SCHEMAS.contains(&self.schema) {
            return Err(Error::invalid(format!("histogram is not valid: unknown schema, schema={}", self.schema)));
        } else if !self.custom_bounds.is_empty() {
            return refuse("an exponential schema has no bounds of its own");
        }
        if !(self.zero_threshold >= 0.0 && self.zero_threshold.is_finite()) {
            return refuse("the threshold of the zero bucket is not a positive number");
        }
        let count = |count: f64| count >= 0.0;
        if !count(self.zero_count) || !count(self.count) {
            return refuse("a count is negative or not a number");
        }
        Ok(())
    }

    fn validate_custom(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::invalid(format!("histogram is not valid: {what}")));
        if !self.negative.spans.is_empty() || !self.negative.counts.is_empty() {
            return refuse("custom bounds have no negative buckets");
        }
        if self.zero_count != 0.0 || self.zero_threshold != 0.0 {
            return refuse("custom bounds have no zero bucket");
        }
        if self.custom_bounds.iter().any(|bound| !bound.is_finite()) {
            return refuse("a custom bound is not finite");
        }
        if self.custom_bounds.array_windows().any(|[a, b]| a >= b) {
            return refuse("custom bounds are not ascending");
        }
        let last = self.positive.indexed().last().map_or(0, |(index, _)| index);
        let first = self.positive.indexed().next().map_or(0, |(index, _)| index);
        if first < 0 || usize::try_from(last).is_ok_and(|last| last > self.custom_bounds.len()) {
            return refuse("a bucket lies outside of the custom bounds");
        }
        Ok(())
    }

    /// Forgets empty buckets.
    pub fn compact(&mut self) {
        self.positive.compact();
        self.negative.compact();
    }

    /// Whether two histograms say the same: everything but [`counter_reset`](Self::counter_reset) is equal, where a bucket that is
    /// not kept is an empty one. NaN equals NaN.
    #[must_use]
    pub fn same_values(&self, other: &Self) -> bool {
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits();
        self.schema == other.schema
            && same(self.count, other.count)
            && same(self.sum, other.sum)
            && bounds::equal(&self.custom_bounds, &other.custom_bounds)
            && (self.has_custom_bounds()
                || (self.zero_threshold == other.zero_threshold && self.zero_count == other.zero_count))
            && self.positive.same_values(&other.positive)
            && self.negative.same_values(&other.negative)
    }

    /// The bytes this takes in memory, roughly.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let buckets = |buckets: &Buckets| buckets.spans.len() * 8 + buckets.counts.len() * 8;
        size_of::<Self>() + buckets(&self.positive) + buckets(&self.negative) + self.custom_bounds.len() * 8
    }
}

/// `{count:20, sum:10, [-2,-1):2, [-0.001,0.001]:2, (0.5,1]:1}`: as `count_values` and templates show a histogram.
impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", Short(self.count), Short(self.sum))?;
        for bucket in self.buckets() {
            let (open, close) =
                (if bucket.lower_included { '[' } else { '(' }, if bucket.upper_included { ']' } else { ')' });
            write!(f, ", {open}{},{}{close}:{}", Short(bucket.lower), Short(bucket.upper), Short(bucket.count))?;
        }
        f.write_str("}")
    }
}

/// A float in its shortest form, with an exponent of two digits or more below 0.0001 and from 1,000,000 on (`1e+06`): the
/// notation that the reference gives histograms in.
pub(crate) struct Short(pub(crate) f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value) = *self;
        if value.is_nan() {
            return f.write_str("NaN");
        }
        if value.is_infinite() {
            return f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" });
        }
        let scientific = format!("{value:e}");
        let Some((digits, exponent)) = scientific.split_once('e') else { return f.write_str(&scientific) };
        let exponent: i32 = exponent.parse().unwrap_or(0);
        if (-4..6).contains(&exponent) {
            return write!(f, "{value}");
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(f, "{digits}e{sign}{:02}", exponent.unsigned_abs())
    }
}

/// A float to two digits, in the notation of [`Short`].
pub(crate) struct Rounded(pub(crate) f64);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounded = format!("{:.1e}", self.0);
        let value: f64 = rounded.parse().unwrap_or(self.0);
        match rounded.split_once('e').and_then(|(digits, exponent)| Some((digits, exponent.parse::<i32>().ok()?))) {
            // Two digits are not enough to write it without an exponent.
            Some((digits, exponent)) if exponent >= 2 => write!(f, "{}e+{exponent:02}", digits.trim_end_matches(".0")),
            _ => Short(value).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
