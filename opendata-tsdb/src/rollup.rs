//! Rollups: what a series did in each interval of five minutes or an hour, kept longer than its samples.
//!
//! They are made by maintenance once a bucket is over and sealed, and made again for the series that late samples or
//! deletions have changed. Each point depends on the samples of its interval alone, so that making it again gives the
//! same. An interval begins behind its beginning and includes its end, as the windows of PromQL do: a window whose bounds
//! are bounds of intervals has exactly their samples. Histograms are not rolled up.
//!
//! Rollups lie in segments of their own, each for [`BUCKETS_A_SEGMENT`] buckets, with ids and an index as a bucket has
//! them: they outlive the buckets they were made from. `ROLLUP`, one row a series, bucket and resolution:
//! ```text
//! layout 1 · points varint · interval: first signed varint, integer column
//!          · samples, time of the first and of the last after the interval's beginning: integer columns likewise
//!          · first, last, min, max, sum, increase: value columns
//! ```

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::chunk::{Effort, Scratch, ints, values};
use crate::columns::Samples;
use crate::promql::is_stale;

const LAYOUT: u8 = 1;

/// How many buckets of samples share a segment of rollups.
pub(crate) const BUCKETS_A_SEGMENT: i64 = 32;

/// The length of the intervals of a rollup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Resolution {
    /// Five minutes.
    #[serde(rename = "5m")]
    FiveMinutes,
    /// One hour.
    #[serde(rename = "1h")]
    OneHour,
}

impl Resolution {
    /// All of them, the finest first.
    pub const ALL: [Self; 2] = [Self::FiveMinutes, Self::OneHour];

    /// The length of an interval in milliseconds.
    #[must_use]
    pub fn length_ms(self) -> i64 {
        match self {
            Self::FiveMinutes => 300_000,
            Self::OneHour => 3_600_000,
        }
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::FiveMinutes => 1,
            Self::OneHour => 2,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.code() == code)
    }
}

/// A rollup that an instance keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollup {
    /// The length of its intervals.
    pub resolution: Resolution,
    /// How old points may become in milliseconds, at least; they go many buckets at a time. None keeps all.
    #[serde(default)]
    pub retention_ms: Option<u64>,
}

/// What a series did in one interval. NaN is left out of `min` and `max` where there are other values; stale markers
/// are left out of everything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RollupPoint {
    /// The time behind which the interval begins, a multiple of its length; a sample at this very time is of the one before.
    pub start_ms: i64,
    /// How many samples there were.
    pub count: u64,
    /// The time of the first of them.
    pub first_ms: i64,
    /// The time of the last of them.
    pub last_ms: i64,
    /// The first value.
    pub first: f64,
    /// The last value.
    pub last: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
    /// The sum of the values.
    pub sum: f64,
    /// How much a counter grew from the first sample to the last, where falling means that it began at zero again.
    pub increase: f64,
}

/// What a counter had reached before it began anew, each time, together.
fn lost(before: f64, after: f64) -> f64 {
    if after < before { before } else { 0.0 }
}

impl RollupPoint {
    fn of(start_ms: i64, time_ms: i64, value: f64) -> Self {
        Self {
            start_ms,
            count: 1,
            first_ms: time_ms,
            last_ms: time_ms,
            first: value,
            last: value,
            min: value,
            max: value,
            sum: value,
            increase: 0.0,
        }
    }

    fn add(&mut self, time_ms: i64, value: f64, lost: f64) {
        self.increase = value - self.first + lost;
        self.count += 1;
        (self.last_ms, self.last) = (time_ms, value);
        (self.min, self.max) = (self.min.min(value), self.max.max(value));
        self.sum += value;
    }

    /// How much a counter grew up to the first sample of the next point.
    #[must_use]
    pub fn increase_until(&self, next: &Self) -> f64 {
        next.first - self.last + lost(self.last, next.first)
    }

    /// What the counter had reached before it began anew, inside of the interval and between it and the next.
    pub(crate) fn lost_until(&self, next: Option<&Self>) -> f64 {
        let inside = self.increase - (self.last - self.first);
        // Not a number if a value was none: then nothing is known to be lost.
        let inside = if inside > 0.0 { inside } else { 0.0 };
        inside + next.map_or(0.0, |next| lost(self.last, next.first))
    }
}

/// The points of samples in time order.
pub(crate) fn points(samples: Samples<'_>, resolution: Resolution) -> Vec<RollupPoint> {
    let mut points: Vec<RollupPoint> = Vec::new();
    let mut lost_inside = 0.0;
    let length = resolution.length_ms();
    for (at, (time, value)) in samples.times.iter().zip(samples.values).enumerate() {
        if is_stale(*value) || (samples.has_histograms() && samples.histogram(at).is_some()) {
            continue;
        }
        let start_ms = time.saturating_sub(1).div_euclid(length).saturating_mul(length);
        match points.last_mut().filter(|last| last.start_ms == start_ms) {
            Some(last) => {
                lost_inside += lost(last.last, *value);
                last.add(*time, *value, lost_inside);
            }
            None => {
                lost_inside = 0.0;
                points.push(RollupPoint::of(start_ms, *time, *value));
            }
        }
    }
    points
}

/// Joins points of one interval, which two buckets hold if their border lies in it. By time.
pub(crate) fn join(points: Vec<RollupPoint>) -> Vec<RollupPoint> {
    let mut joined: Vec<RollupPoint> = Vec::with_capacity(points.len());
    for point in points {
        match joined.last_mut().filter(|last| last.start_ms == point.start_ms) {
            Some(last) => {
                last.increase += last.increase_until(&point) + point.increase;
                last.count += point.count;
                (last.last_ms, last.last) = (point.last_ms, point.last);
                (last.min, last.max) = (last.min.min(point.min), last.max.max(point.max));
                last.sum += point.sum;
            }
            None => joined.push(point),
        }
    }
    joined
}

/// The value columns of a row, in their order.
type Field = (fn(&RollupPoint) -> f64, fn(&mut RollupPoint, f64));

const FIELDS: [Field; 6] = [
    (|point| point.first, |point, value| point.first = value),
    (|point| point.last, |point, value| point.last = value),
    (|point| point.min, |point, value| point.min = value),
    (|point| point.max, |point, value| point.max = value),
    (|point| point.sum, |point, value| point.sum = value),
    (|point| point.increase, |point, value| point.increase = value),
];

/// Writes the points of one bucket.
pub(crate) fn encode(points: &[RollupPoint], resolution: Resolution) -> Bytes {
    let mut out = Encoder::with_capacity(LAYOUT, 32 + points.len() * 12);
    out.varint(points.len() as u64);
    let interval = |point: &RollupPoint| point.start_ms / resolution.length_ms();
    let count = |point: &RollupPoint| i64::try_from(point.count).unwrap_or(i64::MAX);
    let columns: [&dyn Fn(&RollupPoint) -> i64; 4] =
        [&interval, &count, &|point| point.first_ms.wrapping_sub(point.start_ms), &|point| {
            point.last_ms.wrapping_sub(point.start_ms)
        }];
    for column in columns {
        let column: Vec<i64> = points.iter().map(column).collect();
        out.signed(column.first().copied().unwrap_or(0));
        ints::encode(&mut out, &column, Effort::Small);
    }
    for (get, _) in FIELDS {
        values::encode(&mut out, &points.iter().map(get).collect::<Vec<_>>(), Effort::Small);
    }
    out.finish()
}

/// Reads the points of one bucket.
///
/// # Errors
/// `Corrupt` if the value cannot be read.
pub(crate) fn decode(value: &[u8], resolution: Resolution) -> Result<Vec<RollupPoint>> {
    let mut fields = Decoder::new(value);
    fields.layout(LAYOUT)?;
    let count = fields.count()?;
    // A bucket has 366 days at most, and an interval may begin before it.
    if count == 0 || count > 366 * 288 + 2 {
        return Err(Error::corrupt(format!("rollup with a wrong number of points, count={count}")));
    }
    let mut scratch = Scratch::default();
    let mut column = || -> Result<Vec<i64>> {
        let mut column = Vec::new();
        let first = fields.signed()?;
        ints::decode(&mut fields, first, count, &mut scratch.words, &mut column)?;
        Ok(column)
    };
    let (intervals, counts, firsts, lasts) = (column()?, column()?, column()?, column()?);
    let mut points = Vec::with_capacity(count);
    for (((interval, count), first), last) in intervals.iter().zip(&counts).zip(&firsts).zip(&lasts) {
        let start_ms = interval.wrapping_mul(resolution.length_ms());
        let mut point = RollupPoint::of(start_ms, start_ms.wrapping_add(*first), 0.0);
        point.last_ms = start_ms.wrapping_add(*last);
        point.count = count.unsigned_abs();
        points.push(point);
    }
    for (_, set) in FIELDS {
        let mut column = Vec::new();
        values::decode(&mut fields, count, &mut scratch, &mut column)?;
        points.iter_mut().zip(column).for_each(|(point, value)| set(point, value));
    }
    fields.finish()?;
    Ok(points)
}

#[cfg(test)]
mod tests;
