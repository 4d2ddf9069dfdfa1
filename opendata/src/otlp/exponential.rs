//! Native histograms: exponential ones of OpenTelemetry, and such with bounds of their own.
//!
//! OpenTelemetry's bucket `i` at `offset` holds (base^(offset + i), base^(offset + i + 1)], Prometheus's bucket `k` holds
//! (base^(k - 1), base^k]: so `k = offset + i + 1`. The scale is the schema, from -4 to 8; a finer one is made coarser by
//! joining neighbours, a coarser one cannot be said.

use std::sync::Arc;

use opendata_tsdb::{Buckets, CUSTOM_BOUNDS, Histogram};

use super::message::{self, ExponentialPoint, HistogramPoint};

/// What lies nearer to zero than this counts as zero where a point does not say it.
const ZERO_THRESHOLD: f64 = 1e-128;
const FINEST: i32 = 8;
const COARSEST: i32 = -4;
/// The most buckets that one point may have on a side.
const MOST_BUCKETS: usize = 65_536;

/// The native histogram of an exponential point.
#[expect(clippy::cast_precision_loss, reason = "counts of native histograms are floats here")]
pub(super) fn native(point: &ExponentialPoint) -> Result<Histogram, String> {
    if point.scale < COARSEST {
        return Err(format!("the scale of an exponential histogram is below {COARSEST}, scale={}", point.scale));
    }
    let schema = point.scale.min(FINEST);
    let shift = u32::try_from(point.scale - schema).unwrap_or(0);
    let buckets = |side: &Option<message::Buckets>| match side {
        Some(side) => numbered(side, shift).map(Buckets::from_indexed),
        None => Ok(Buckets::default()),
    };
    valid(Histogram {
        schema: i8::try_from(schema).unwrap_or(0),
        zero_threshold: if point.zero_threshold > 0.0 { point.zero_threshold } else { ZERO_THRESHOLD },
        zero_count: point.zero_count as f64,
        count: point.count as f64,
        // Without a sum nothing is known of it; the format has no other word for that.
        sum: point.sum.unwrap_or(f64::NAN),
        positive: buckets(&point.positive)?,
        negative: buckets(&point.negative)?,
        ..Histogram::default()
    })
}

fn valid(histogram: Histogram) -> Result<Histogram, String> {
    histogram.validate().map(|()| histogram).map_err(|error| error.message().to_owned())
}

/// Prometheus's numbers of the buckets of a side, with `2^shift` neighbours joined.
#[expect(clippy::cast_precision_loss, reason = "counts of native histograms are floats here")]
fn numbered(side: &message::Buckets, shift: u32) -> Result<Vec<(i32, f64)>, String> {
    if side.bucket_counts.len() > MOST_BUCKETS {
        return Err(format!("an exponential histogram has more than {MOST_BUCKETS} buckets"));
    }
    let mut found: Vec<(i32, f64)> = Vec::new();
    for (at, count) in side.bucket_counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let index = i64::from(side.offset) + i64::try_from(at).unwrap_or(i64::MAX);
        let index = i32::try_from((index >> shift.min(63)) + 1)
            .map_err(|_| "the offset of an exponential histogram is out of range".to_owned())?;
        match found.last_mut() {
            Some((last, total)) if *last == index => *total += *count as f64,
            _ => found.push((index, *count as f64)),
        }
    }
    Ok(found)
}

/// A native histogram with the bounds of an explicit one.
#[expect(clippy::cast_precision_loss, reason = "counts of native histograms are floats here")]
pub(super) fn custom(point: &HistogramPoint) -> Result<Histogram, String> {
    let bounds: Vec<f64> = point.explicit_bounds.iter().copied().filter(|bound| *bound < f64::INFINITY).collect();
    let mut positive: Vec<(i32, f64)> = Vec::new();
    for (at, count) in point.bucket_counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let index = i32::try_from(at.min(bounds.len())).map_err(|_| "a histogram has too many buckets".to_owned())?;
        match positive.last_mut() {
            Some((known, total)) if *known == index => *total += *count as f64,
            _ => positive.push((index, *count as f64)),
        }
    }
    if point.bucket_counts.is_empty() && point.count > 0 {
        // No bounds at all: one bucket holds everything.
        positive.push((0, point.count as f64));
    }
    valid(Histogram {
        schema: CUSTOM_BOUNDS,
        count: point.count as f64,
        sum: point.sum.unwrap_or(f64::NAN),
        positive: Buckets::from_indexed(positive),
        custom_bounds: Arc::from(bounds),
        ..Histogram::default()
    })
}
