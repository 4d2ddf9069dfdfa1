//! What can be said of the observations from their buckets: quantiles, shares, spread.
//!
//! Inside a bucket, observations are taken to be spread evenly where bounds are custom and in the zero bucket, and evenly over the
//! logarithm in exponential buckets (section "Interpolation within a bucket" of the specification).

use super::{Bucket, Histogram};

/// An estimate, and how observations of NaN, which are in no bucket, have touched it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) value: f64,
    pub(crate) nan: NanObservations,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NanObservations {
    None,
    /// The value is higher than without them.
    Skew,
    /// There is no value because of them.
    NoResult,
}

impl Estimate {
    fn plain(value: f64) -> Self {
        Self { value, nan: NanObservations::None }
    }
}

impl Histogram {
    /// A bucket as interpolation sees it: a zero bucket holds no values of a sign that no other bucket has, and a lowest custom
    /// bucket with a positive bound begins at zero.
    pub(super) fn narrowed(&self, mut bucket: Bucket) -> Bucket {
        if self.has_custom_bounds() {
            if bucket.lower == f64::NEG_INFINITY && bucket.upper > 0.0 {
                bucket.lower = 0.0;
            }
        } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
            let populated = |counts: &[f64]| counts.iter().any(|count| *count != 0.0);
            match (populated(&self.negative.counts), populated(&self.positive.counts)) {
                (false, true) => bucket.lower = 0.0,
                (true, false) => bucket.upper = 0.0,
                _ => {}
            }
        }
        bucket
    }

    fn is_linear(&self, bucket: &Bucket) -> bool {
        self.has_custom_bounds() || (bucket.lower <= 0.0 && bucket.upper >= 0.0)
    }

    /// The value at a share of a bucket's observations.
    fn value_at(&self, bucket: &Bucket, share: f64) -> f64 {
        let Bucket { lower, upper, .. } = *bucket;
        if self.is_linear(bucket) {
            return lower + (upper - lower) * share;
        }
        let (log_lower, log_upper) = (lower.abs().log2(), upper.abs().log2());
        if lower > 0.0 {
            return (log_lower + (log_upper - log_lower) * share).exp2();
        }
        -(log_upper + (log_lower - log_upper) * (1.0 - share)).exp2()
    }

    /// The share of a bucket's observations below a value inside of it.
    pub(super) fn share_below(&self, bucket: &Bucket, value: f64) -> f64 {
        let Bucket { lower, upper, .. } = *bucket;
        if self.is_linear(bucket) {
            // In a bucket without an end nobody knows where its observations lie: all of them on its finite side.
            return match (lower.is_finite(), upper.is_finite()) {
                (true, true) => (value - lower) / (upper - lower),
                (true, false) => 0.0,
                (false, _) => 1.0,
            };
        }
        let (log_lower, log_upper, log) = (lower.abs().log2(), upper.abs().log2(), value.abs().log2());
        if value > 0.0 {
            (log - log_lower) / (log_upper - log_lower)
        } else {
            1.0 - (log - log_upper) / (log_lower - log_upper)
        }
    }

    /// The value below which a share of the observations lies.
    pub(crate) fn quantile(&self, phi: f64) -> Estimate {
        if phi < 0.0 {
            return Estimate::plain(f64::NEG_INFINITY);
        }
        if phi > 1.0 {
            return Estimate::plain(f64::INFINITY);
        }
        if self.count == 0.0 || phi.is_nan() {
            return Estimate::plain(f64::NAN);
        }
        let has_nan = self.sum.is_nan() && !self.has_custom_bounds();
        // From the nearer end, because that adds fewer roundings; with NaN among the observations, which count as the largest, from below.
        let forward = self.sum.is_nan() || phi < 0.5;
        let wanted = if forward { phi * self.count } else { (1.0 - phi) * self.count };
        let mut buckets: Vec<Bucket> = self.buckets().collect();
        if !forward {
            buckets.reverse();
        }
        let mut count = 0.0;
        let mut found = None;
        for bucket in buckets {
            count += bucket.count;
            found = Some(bucket);
            if count >= wanted {
                break;
            }
        }
        let Some(bucket) = found else { return Estimate::plain(f64::NAN) };
        let count = count.min(self.count);
        if count < wanted {
            // Only observations that are in no bucket can lie here.
            return match self.sum.is_nan() {
                true if has_nan => Estimate { value: f64::NAN, nan: NanObservations::NoResult },
                true => Estimate::plain(f64::NAN),
                // Or there are fewer than none, as after `delta`: whichever end was begun from, it is the upper bound.
                false => Estimate::plain(bucket.upper),
            };
        }
        let rank = if forward { wanted - (count - bucket.count) } else { count - wanted };
        let nan = if has_nan { NanObservations::Skew } else { NanObservations::None };
        let bucket = self.narrowed(bucket);
        let value = match (bucket.lower.is_finite(), bucket.upper.is_finite()) {
            (false, _) if self.has_custom_bounds() => bucket.upper,
            (_, false) if self.has_custom_bounds() => bucket.lower,
            _ => self.value_at(&bucket, rank / bucket.count),
        };
        Estimate { value, nan }
    }

    /// The share of the observations between two values. Observations of NaN are between no values, but count among all.
    pub(crate) fn fraction(&self, lower: f64, upper: f64) -> Estimate {
        if self.count == 0.0 || lower.is_nan() || upper.is_nan() {
            return Estimate::plain(f64::NAN);
        }
        let nan =
            if self.sum.is_nan() && !self.has_custom_bounds() { NanObservations::Skew } else { NanObservations::None };
        if lower >= upper {
            return Estimate { value: 0.0, nan };
        }
        // No rank is above the count, be it by rounding or because there are fewer than no observations, as after `delta`.
        let rank = |value| self.rank(value).min(self.count);
        Estimate { value: (rank(upper) - rank(lower)) / self.count, nan }
    }

    /// How many observations lie below a value.
    fn rank(&self, value: f64) -> f64 {
        let mut rank = 0.0;
        for bucket in self.buckets() {
            let bucket = self.narrowed(bucket);
            if bucket.lower >= value {
                break;
            }
            if bucket.upper > value {
                return rank + bucket.count * self.share_below(&bucket, value);
            }
            rank += bucket.count;
        }
        rank
    }

    /// Where the observations of a bucket lie, as one value.
    pub(super) fn middle(&self, bucket: &Bucket) -> f64 {
        let Bucket { lower, upper, .. } = *bucket;
        if self.has_custom_bounds() {
            return match (lower.is_finite(), upper.is_finite()) {
                (true, true) => f64::midpoint(lower, upper),
                (true, false) => lower,
                (false, _) => upper,
            };
        }
        if lower <= 0.0 && upper >= 0.0 {
            return f64::midpoint(lower, upper);
        }
        let middle = (lower.abs().sqrt()) * (upper.abs().sqrt());
        if upper < 0.0 { -middle } else { middle }
    }

    /// The variance of the observations, each taken to lie in the middle of its bucket.
    pub(crate) fn variance(&self) -> f64 {
        let mean = self.sum / self.count;
        let mut squares = crate::promql::Kahan::default();
        for bucket in self.buckets() {
            let bucket = if self.has_custom_bounds() { self.narrowed(bucket) } else { bucket };
            let delta = self.middle(&bucket) - mean;
            squares.add(bucket.count * delta * delta);
        }
        squares.value() / self.count
    }
}
