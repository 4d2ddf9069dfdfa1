//! Classic histograms, a series a bucket, put together to native ones with the same bounds.

use std::sync::Arc;

use opendata_core::{Error, Result};
use opendata_tsdb::{Buckets, CUSTOM_BOUNDS, Histogram};

use super::text::bound;

/// What becomes of classic histograms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Classic {
    /// They stay as they are.
    Keep,
    /// They become native ones.
    Convert,
    /// They stay, and native ones stand beside them.
    Both,
}

/// Which part of a classic histogram a series is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part {
    /// How many observations are not above a bound.
    Bucket(f64),
    Sum,
    Count,
}

impl Part {
    /// The part that a series of a histogram is, by its name and its label `le`.
    pub(super) fn of(family: &str, name: &str, le: Option<&str>) -> Option<Self> {
        match (name.strip_prefix(family)?, le) {
            ("_bucket", Some(le)) => bound(le).map(Self::Bucket),
            ("_sum", None) => Some(Self::Sum),
            ("_count", None) => Some(Self::Count),
            _ => None,
        }
    }
}

/// The parts of one histogram.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    buckets: Vec<(f64, f64)>,
    sum: Option<f64>,
    count: Option<f64>,
}

impl Parts {
    pub(super) fn add(&mut self, part: Part, value: f64) {
        match part {
            Part::Bucket(bound) => self.buckets.push((bound, value)),
            Part::Sum => self.sum = Some(value),
            Part::Count => self.count = Some(value),
        }
    }

    /// The histogram of all parts.
    ///
    /// # Errors
    /// `Invalid` if a bucket holds fewer observations than one below it.
    pub(super) fn histogram(mut self) -> Result<Histogram> {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by(|later, first| later.0 == first.0);
        let top = self.buckets.last().map(|(_, count)| *count);
        let count = self.count.or(top).unwrap_or(0.0);
        let finite: Vec<(f64, f64)> = self.buckets.into_iter().filter(|(bound, _)| *bound < f64::INFINITY).collect();
        let (mut below, mut counts) = (0.0, Vec::with_capacity(finite.len() + 1));
        for cumulative in finite.iter().map(|(_, count)| *count).chain([count]) {
            if cumulative < below || cumulative.is_nan() {
                return Err(Error::invalid("the buckets of a classic histogram do not add up"));
            }
            counts.push(cumulative - below);
            below = cumulative;
        }
        let populated = (0_i32..).zip(counts).filter(|(_, count)| *count > 0.0);
        let histogram = Histogram {
            schema: CUSTOM_BOUNDS,
            count,
            sum: self.sum.unwrap_or(f64::NAN),
            positive: Buckets::from_indexed(populated),
            custom_bounds: Arc::from_iter(finite.iter().map(|(bound, _)| *bound)),
            ..Histogram::default()
        };
        histogram.validate().map(|()| histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_taken_apart_in_any_order() {
        let mut parts = Parts::default();
        for (part, value) in [
            (Part::Count, 6.0),
            (Part::Bucket(f64::INFINITY), 6.0),
            (Part::Bucket(10.0), 3.0),
            (Part::Bucket(0.5), 3.0),
            (Part::Bucket(0.1), 1.0),
            (Part::Sum, 7.5),
        ] {
            parts.add(part, value);
        }
        let histogram = parts.histogram().unwrap();
        assert_eq!(*histogram.custom_bounds, [0.1, 0.5, 10.0]);
        assert_eq!(histogram.positive.indexed().collect::<Vec<_>>(), [(0, 1.0), (1, 2.0), (3, 3.0)]);
        assert_eq!((histogram.count, histogram.sum), (6.0, 7.5));
    }

    #[test]
    fn buckets_that_do_not_add_up_are_refused() {
        let mut parts = Parts::default();
        parts.add(Part::Bucket(1.0), 5.0);
        parts.add(Part::Bucket(2.0), 4.0);
        assert!(parts.histogram().is_err());
        assert_eq!(Part::of("h", "h_bucket", Some("+Inf")), Some(Part::Bucket(f64::INFINITY)));
        assert_eq!(Part::of("h", "h_sum", None), Some(Part::Sum));
        assert_eq!(Part::of("h", "h_created", None), None);
        assert_eq!(Part::of("h", "other_sum", None), None);
    }
}
