//! Settings of an instance, and the calendar that follows from them.
//!
//! Time is cut into *buckets* (a day by default): each is a segment with its own series ids and index, and what
//! retention drops as a whole. A bucket is cut into *windows* (2 h): a series' samples of one window are one row.

use opendata_core::key::SegmentId;
use opendata_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::rollup::{BUCKETS_A_SEGMENT, Rollup};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Settings of a TSDB instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Length of a bucket in milliseconds: 1 to 256 windows. Longer buckets write the index of stable series less
    /// often; retention is a whole number of buckets. Fixed at creation.
    pub bucket_ms: u64,
    /// Length of a window in milliseconds, at least a minute. Fixed at creation.
    pub window_ms: u64,
    /// How old a bucket's end may become before the bucket is dropped, in milliseconds; none keeps everything.
    pub retention_ms: Option<u64>,
    /// How far behind the slate's clock a sample may be; older ones are refused. None takes all within retention.
    pub late_limit_ms: Option<u64>,
    /// How far ahead of the slate's clock a sample may be, two days by default; later ones are refused, for their
    /// buckets would stay when all others have gone. None takes all.
    pub future_limit_ms: Option<u64>,
    /// The most series in one bucket. What would create more is refused with `Backpressure`; so for the other limits.
    pub max_series: u32,
    /// The most series of one metric in one bucket.
    pub max_series_per_metric: Option<u32>,
    /// The most series in one bucket that one [source](crate::Op::source) may create.
    pub max_series_per_source: Option<u32>,
    /// How many series a second may be new on average, over some ten seconds. Series that another bucket in memory
    /// has, as all have at midnight, are not new. A transaction that begins within the limit is not stopped halfway.
    pub max_new_series_per_second: Option<u32>,
    /// The rollups that are made of each bucket once it is over, one for each resolution at most. A bucket that was over
    /// before a rollup was asked for gets it only where late samples come.
    pub rollups: Vec<Rollup>,
    /// How long before a bucket ends the next one is prepared for the series that are written to, in milliseconds; 0
    /// does not prepare.
    pub prepare_ahead_ms: u64,
    /// Samples that may wait in memory before the fullest bucket is sealed into chunks.
    pub seal_samples: u64,
    /// Commits whose samples may wait in one bucket before it is sealed.
    pub seal_slabs: u64,
    /// How long samples may wait before their bucket is sealed, in milliseconds.
    pub seal_after_ms: u64,
    /// About how many bytes of chunks one commit of sealing writes: others wait that long for their turn.
    pub seal_step_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bucket_ms: DAY_MS,
            window_ms: 2 * HOUR_MS,
            retention_ms: None,
            late_limit_ms: None,
            future_limit_ms: Some(2 * DAY_MS),
            max_series: 10_000_000,
            max_series_per_metric: None,
            max_series_per_source: None,
            max_new_series_per_second: None,
            rollups: Vec::new(),
            prepare_ahead_ms: HOUR_MS,
            seal_samples: 8_000_000,
            seal_slabs: 4096,
            seal_after_ms: HOUR_MS / 2,
            seal_step_bytes: 2 << 20,
        }
    }
}

impl Config {
    pub(crate) fn validate(&self) -> Result<()> {
        let check = |holds: bool, rule: &'static str| if holds { Ok(()) } else { Err(Error::invalid(rule)) };
        check(self.window_ms >= 60_000, "window_ms must be at least a minute")?;
        check(self.bucket_ms.is_multiple_of(self.window_ms), "bucket_ms must be a multiple of window_ms")?;
        check((1..=256).contains(&(self.bucket_ms / self.window_ms)), "bucket_ms must be 1 to 256 times window_ms")?;
        check(self.bucket_ms <= 366 * DAY_MS, "bucket_ms must be at most 366 days")?;
        check(self.retention_ms.is_none_or(|ms| ms >= self.bucket_ms), "retention_ms must be at least bucket_ms")?;
        check(self.max_series > 0, "max_series must be at least 1")?;
        let limits = [self.max_series_per_metric, self.max_series_per_source, self.max_new_series_per_second];
        check(limits.iter().all(|limit| *limit != Some(0)), "a limit of series must be at least 1")?;
        let twice = |a: &Rollup| self.rollups.iter().filter(|b| a.resolution == b.resolution).count() > 1;
        check(!self.rollups.iter().any(twice), "rollups may name a resolution only once")?;
        let short = |rollup: &Rollup| rollup.retention_ms.is_some_and(|ms| ms < self.bucket_ms);
        check(!self.rollups.iter().any(short), "retention_ms of a rollup must be at least bucket_ms")?;
        check(self.seal_samples > 0, "seal_samples must be at least 1")?;
        check(self.seal_slabs > 0, "seal_slabs must be at least 1")?;
        check((1..=16 << 20).contains(&self.seal_step_bytes), "seal_step_bytes must be 1 to 16 MiB")
    }

    pub(crate) fn reconfigure(old: &Self, new: &Self) -> Result<()> {
        if (old.bucket_ms, old.window_ms) == (new.bucket_ms, new.window_ms) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "bucket_ms and window_ms are fixed at creation, bucket_ms={}, window_ms={}",
            old.bucket_ms, old.window_ms
        )))
    }

    pub(crate) fn calendar(&self) -> Calendar {
        Calendar {
            bucket_ms: i64::try_from(self.bucket_ms).unwrap_or(i64::MAX).max(1),
            window_ms: i64::try_from(self.window_ms).unwrap_or(i64::MAX).max(1),
        }
    }
}

/// Which bucket and window a time falls into.
///
/// Segment = bucket number + 2^31, so that times before 1970 have segments too; segment 0 is never reached. Rollups lie
/// 2^30 further on, so that dropping buckets never reaches them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Calendar {
    bucket_ms: i64,
    window_ms: i64,
}

/// The segment of the bucket that begins in 1970.
const EPOCH_SEGMENT: i64 = 1 << 31;
/// The segment of the rollups that begin in 1970.
const EPOCH_ROLLED: i64 = EPOCH_SEGMENT + (1 << 30);
/// The last segment of a bucket.
const LAST_BUCKET: SegmentId = SegmentId((1 << 31) + (1 << 29));

/// Whether a segment holds rollups, not samples.
pub(crate) fn is_rolled(segment: SegmentId) -> bool {
    segment > LAST_BUCKET
}

impl Calendar {
    /// The bucket of a time; none where the calendar ends.
    #[inline]
    pub(crate) fn segment(self, time_ms: i64) -> Option<SegmentId> {
        let segment = time_ms.div_euclid(self.bucket_ms) + EPOCH_SEGMENT;
        let segment = u32::try_from(segment).ok().map(SegmentId)?;
        (SegmentId::FIRST_DATA..=LAST_BUCKET).contains(&segment).then_some(segment)
    }

    /// The bucket of a time, or the first or last one there is.
    pub(crate) fn nearest_segment(self, time_ms: i64) -> SegmentId {
        let end = if time_ms < 0 { SegmentId::FIRST_DATA } else { LAST_BUCKET };
        self.segment(time_ms).unwrap_or(end)
    }

    /// The segment of a bucket's rollups, and the bucket's place in it.
    pub(crate) fn rolled(self, bucket: SegmentId) -> (SegmentId, u8) {
        let number = i64::from(bucket.0) - EPOCH_SEGMENT;
        let segment = EPOCH_ROLLED + number.div_euclid(BUCKETS_A_SEGMENT);
        let place = number.rem_euclid(BUCKETS_A_SEGMENT);
        (SegmentId(u32::try_from(segment).unwrap_or(u32::MAX)), u8::try_from(place).unwrap_or(u8::MAX))
    }

    /// The first time of a segment of rollups.
    pub(crate) fn first_rolled_ms(self, segment: SegmentId) -> i64 {
        self.last_rolled_ms(SegmentId(segment.0.saturating_sub(1))).saturating_add(1)
    }

    /// The last time of a segment of rollups.
    pub(crate) fn last_rolled_ms(self, segment: SegmentId) -> i64 {
        let after = (i64::from(segment.0) - EPOCH_ROLLED + 1).saturating_mul(BUCKETS_A_SEGMENT);
        after.saturating_mul(self.bucket_ms).saturating_sub(1)
    }

    /// The first time of a bucket.
    pub(crate) fn start_ms(self, segment: SegmentId) -> i64 {
        (i64::from(segment.0) - EPOCH_SEGMENT).saturating_mul(self.bucket_ms)
    }

    /// The last time of a bucket.
    pub(crate) fn last_ms(self, segment: SegmentId) -> i64 {
        self.start_ms(segment).saturating_add(self.bucket_ms - 1)
    }

    /// The window of a time inside its bucket.
    #[inline]
    pub(crate) fn window(self, time_ms: i64) -> u8 {
        u8::try_from(time_ms.rem_euclid(self.bucket_ms) / self.window_ms).unwrap_or(u8::MAX)
    }

    /// How many windows a bucket has, less one.
    pub(crate) fn last_window(self) -> u8 {
        self.window(self.bucket_ms - 1)
    }

    pub(crate) fn window_ms(self) -> i64 {
        self.window_ms
    }

    /// The first time after a window.
    pub(crate) fn window_end_ms(self, segment: SegmentId, window: u8) -> i64 {
        self.start_ms(segment).saturating_add((i64::from(window) + 1) * self.window_ms)
    }

    /// The windows of a bucket that a range of times touches; empty (start above end) if it touches none.
    pub(crate) fn windows(self, segment: SegmentId, start_ms: i64, end_ms: i64) -> std::ops::RangeInclusive<u8> {
        let (first, last) = (self.start_ms(segment), self.last_ms(segment));
        if start_ms > last || end_ms < first || start_ms > end_ms {
            #[expect(clippy::reversed_empty_ranges, reason = "an empty range is what is meant")]
            return 1..=0;
        }
        self.window(start_ms.max(first))..=self.window(end_ms.min(last))
    }
}

#[cfg(test)]
mod tests;
