//! Times and durations as people write and read them.
//!
//! A time is RFC 3339 (`2026-01-31T12:00:00Z`), a date (`2026-01-31`, midnight UTC), `now`, a duration that lies so long ago
//! (`90m`, `7d`), or `@` and Unix seconds (`@1700000000.5`).

mod span;

use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat};
use opendata_core::env::{Clock, SystemClock};
use opendata_core::{Error, Result, Timestamp};

pub(crate) use self::span::Span;

/// Now, by the machine's clock.
pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

/// Reads a time.
pub(crate) fn parse_time(text: &str) -> Result<Timestamp> {
    parse_time_at(text, now())
}

fn parse_time_at(text: &str, now: Timestamp) -> Result<Timestamp> {
    if text == "now" {
        return Ok(now);
    }
    if let Some(seconds) = text.strip_prefix('@') {
        return unix_seconds(seconds);
    }
    if let Some(time) = rfc3339(text) {
        return Ok(time);
    }
    if let Ok(ago) = humantime::parse_duration(text) {
        let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        return Ok(now.plus_ms(-ago));
    }
    Err(Error::invalid(format!(
        "not a time, such as 2026-01-31T12:00:00Z, 2026-01-31, now, 15m (ago) or @1700000000, time={text:?}"
    )))
}

/// Reads RFC 3339, or a date.
pub(crate) fn rfc3339(text: &str) -> Option<Timestamp> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(Timestamp(time.timestamp_millis()));
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(Timestamp(date.and_time(NaiveTime::MIN).and_utc().timestamp_millis()))
}

/// Reads Unix seconds, also with a fraction.
pub(crate) fn unix_seconds(text: &str) -> Result<Timestamp> {
    let seconds: f64 = text
        .parse()
        .ok()
        .filter(|seconds: &f64| seconds.is_finite() && seconds.abs() < 1e15)
        .ok_or_else(|| Error::invalid(format!("not Unix seconds, time={text:?}")))?;
    #[expect(clippy::cast_possible_truncation, reason = "its range was checked just now")]
    let ms = (seconds * 1000.0).round() as i64;
    Ok(Timestamp(ms))
}

/// Reads a duration: `5m`, `1h 30m`, `7d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration> {
    humantime::parse_duration(text)
        .map_err(|error| Error::invalid(format!("not a duration, such as 90s, 15m or 7d, duration={text:?}: {error}")))
}

/// A time as RFC 3339 in UTC; in milliseconds if it lies outside what that can say.
pub(crate) fn show(time: Timestamp) -> String {
    match DateTime::from_timestamp_millis(time.0) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::Millis, true),
        None => format!("{}ms", time.0),
    }
}

/// A time as Go prints it, in UTC.
pub(crate) fn show_go(ms: i64) -> String {
    match DateTime::from_timestamp_millis(ms) {
        Some(time) => {
            let text = time.format("%Y-%m-%d %H:%M:%S%.3f").to_string();
            let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
            format!("{text} +0000 UTC")
        }
        None => format!("{ms}ms"),
    }
}

/// The first time from `now` on that lies `offset` behind the beginning of an interval.
pub(crate) fn next_tick(now: i64, interval: i64, offset: i64) -> i64 {
    let since = (now - offset).rem_euclid(interval);
    if since == 0 { now } else { now + interval - since }
}

#[cfg(test)]
mod tests;
