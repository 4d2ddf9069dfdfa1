//! Times, durations and names, as clients of Prometheus write them.

use opendata_core::Timestamp;

use crate::times;

/// The earliest time there is, which clients write as `MIN_TEXT`.
pub(super) const MIN_TIME: Timestamp = Timestamp(i64::MIN / 4);
/// The latest time there is.
pub(super) const MAX_TIME: Timestamp = Timestamp(i64::MAX / 4);

const MIN_TEXT: &str = "-292273086-05-16T16:47:06Z";
const MAX_TEXT: &str = "+292277025-08-18T07:12:54.999999999Z";

/// A time: Unix seconds with a fraction, or RFC 3339.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    if text.is_empty() {
        return Err("cannot parse \"\" to a valid timestamp".to_owned());
    }
    if let Ok(time) = times::unix_seconds(text) {
        return Ok(time);
    }
    match text {
        MIN_TEXT => Ok(MIN_TIME),
        MAX_TEXT => Ok(MAX_TIME),
        _ => times::rfc3339(text).ok_or_else(|| format!("cannot parse {text:?} to a valid timestamp")),
    }
}

/// A duration in milliseconds: seconds with a fraction, or `1h30m`.
pub(super) fn duration_ms(text: &str) -> Result<i64, String> {
    let wrong = || format!("cannot parse {text:?} to a valid duration");
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = seconds * 1000.0;
        // What does not fit into nanoseconds does not fit for the reference either.
        if !ms.is_finite() || ms.abs() > 9.2e12 {
            return Err(format!("cannot parse {text:?} to a valid duration. It overflows int64"));
        }
        #[expect(clippy::cast_possible_truncation, reason = "its range was checked just now")]
        return Ok(ms.round() as i64);
    }
    words_ms(text).ok_or_else(wrong)
}

/// `1y2w3d4h5m6s7ms`: each unit at most once, from long to short.
fn words_ms(text: &str) -> Option<i64> {
    const UNITS: &[(&str, i64)] = &[
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    let (mut rest, mut total, mut next) = (text, 0_i64, 0);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let at = UNITS.iter().position(|(known, _)| *known == unit).filter(|at| *at >= next)?;
        let (_, length) = UNITS.get(at)?;
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(*length)?)?;
        next = at + 1;
        rest = tail;
    }
    Some(total)
}

/// A name of a label as it stands in a path: `U__` and escapes for what is no plain word
/// (<https://prometheus.io/docs/instrumenting/escaping_schemes/>, values escaping). What is not escaped properly is meant as it stands.
pub(super) fn unescaped_name(name: &str) -> String {
    name.strip_prefix("U__").and_then(unescape).unwrap_or_else(|| name.to_owned())
}

fn unescape(escaped: &str) -> Option<String> {
    let mut name = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = rest.find('_') {
        let (plain, tail) = rest.split_at(at);
        name.push_str(plain);
        let tail = tail.get(1..)?;
        if let Some(tail) = tail.strip_prefix('_') {
            name.push('_');
            rest = tail;
            continue;
        }
        let (code, tail) = tail.split_once('_')?;
        if code.is_empty() || code.len() > 6 || !code.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        name.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
        rest = tail;
    }
    name.push_str(rest);
    Some(name)
}

#[cfg(test)]
mod tests;
