//! Native histograms: exponential ones of OpenTelemetry, and such with bounds of their own.
//!
//! OpenTelemetry's bucket `i` at `offset` holds (base^(offset + i), base^(offset + i + 1)], Prometheus's bucket `k` holds
//! (base^(k - 1), base^k]: so `k = offset + i + 1`. The scale is the schema, from -4 to 8; a finer one is made coarser by
//! joining neighbours, a coarser one cannot be said.

use super::message::{Buckets, ExponentialPoint, HistogramPoint};

/// What lies nearer to zero than this counts as zero where a point does not say it.
const ZERO_THRESHOLD: f64 = 1e-128;
const FINEST: i32 = 8;
const COARSEST: i32 = -4;
/// The schema of histograms with bounds of their own.
const CUSTOM: i32 = -53;
/// The most buckets that one point may have on a side.
const MOST_BUCKETS: usize = 65_536;

/// A native histogram, as a point says it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Native {
    /// Whether the series has ended.
    pub(crate) is_stale: bool,
    /// Whether it counts since the point before it.
    pub(crate) is_delta: bool,
    pub(crate) schema: i32,
    pub(crate) zero_threshold: f64,
    pub(crate) zero_count: f64,
    pub(crate) count: f64,
    pub(crate) sum: f64,
    /// Number and count of each bucket that is not empty, ascending.
    pub(crate) positive: Vec<(i32, f64)>,
    pub(crate) negative: Vec<(i32, f64)>,
    /// The upper bounds of a histogram with bounds of its own.
    pub(crate) bounds: Vec<f64>,
}

/// The native histogram of an exponential point.
#[expect(clippy::cast_precision_loss, reason = "counts of native histograms are floats here")]
pub(super) fn native(point: &ExponentialPoint, is_stale: bool, is_delta: bool) -> Result<Native, String> {
    if point.scale < COARSEST {
        return Err(format!("the scale of an exponential histogram is below {COARSEST}, scale={}", point.scale));
    }
    let schema = point.scale.min(FINEST);
    let shift = u32::try_from(point.scale - schema).unwrap_or(0);
    let buckets = |side: &Option<Buckets>| side.as_ref().map_or_else(|| Ok(Vec::new()), |side| numbered(side, shift));
    Ok(Native {
        is_stale,
        is_delta,
        schema,
        zero_threshold: if point.zero_threshold > 0.0 { point.zero_threshold } else { ZERO_THRESHOLD },
        zero_count: point.zero_count as f64,
        count: point.count as f64,
        // Without a sum nothing is known of it; the format has no other word for that.
        sum: point.sum.unwrap_or(f64::NAN),
        positive: buckets(&point.positive)?,
        negative: buckets(&point.negative)?,
        bounds: Vec::new(),
    })
}

/// Prometheus's numbers of the buckets of a side, with `2^shift` neighbours joined.
#[expect(clippy::cast_precision_loss, reason = "counts of native histograms are floats here")]
fn numbered(side: &Buckets, shift: u32) -> Result<Vec<(i32, f64)>, String> {
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
pub(super) fn custom(point: &HistogramPoint, is_stale: bool, is_delta: bool) -> Result<Native, String> {
    let mut bounds = point.explicit_bounds.clone();
    let infinite = bounds.last().is_some_and(|last| *last == f64::INFINITY);
    if infinite {
        bounds.pop();
    }
    let mut positive: Vec<(i32, f64)> = Vec::new();
    let last = bounds.len();
    for (at, count) in point.bucket_counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let index = i32::try_from(at.min(last)).map_err(|_| "a histogram has too many buckets".to_owned())?;
        match positive.last_mut() {
            Some((known, total)) if *known == index => *total += *count as f64,
            _ => positive.push((index, *count as f64)),
        }
    }
    if point.bucket_counts.is_empty() && point.count > 0 {
        // No bounds at all: one bucket holds everything.
        positive.push((0, point.count as f64));
    }
    Ok(Native {
        is_stale,
        is_delta,
        schema: CUSTOM,
        count: point.count as f64,
        sum: point.sum.unwrap_or(f64::NAN),
        positive,
        bounds,
        ..Native::default()
    })
}
