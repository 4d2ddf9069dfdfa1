//! Numbers and durations as text: `1h30m`, `500ms`, `1_000.5e3`.

use std::fmt;

/// Units from large to small, with their length in milliseconds. A year has 365 days.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The milliseconds of a duration: whole numbers with units, each unit at most once, larger ones first.
pub(crate) fn parse(text: &str) -> Result<i64, &'static str> {
    let mut rest = text;
    let mut total = 0_i64;
    let mut units = UNITS.as_slice();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or("a duration needs a unit")?;
        let (number, after) = rest.split_at(digits);
        let number: i64 = number.parse().map_err(|_| "not a number or duration")?;
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let at = units.iter().position(|(name, _)| *name == unit);
        let Some((_, length)) = at.and_then(|at| units.get(at)) else {
            return Err("not a number or duration (units are y w d h m s ms, each once, in this order)");
        };
        units = at.and_then(|at| units.get(at + 1..)).unwrap_or_default();
        total = number.checked_mul(*length).and_then(|ms| total.checked_add(ms)).ok_or("a duration is too long")?;
        rest = after;
    }
    if text.is_empty() { Err("a duration is empty") } else { Ok(total) }
}

/// A decimal number, or `None` where the text is something else. With a zero in front, whole numbers are octal where they can be, as
/// in Go: `017` is 15, `018` is 18.
pub(crate) fn parse_number(text: &str) -> Option<f64> {
    let allowed = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-' | '_');
    if !text.chars().all(allowed) || text.contains("__") || text.ends_with('_') {
        return None;
    }
    let digits = text.replace('_', "");
    if let Some(octal) = digits.strip_prefix('0').and_then(|digits| u32::from_str_radix(digits, 8).ok()) {
        return Some(f64::from(octal));
    }
    digits.parse().ok()
}

/// The milliseconds of a number of seconds, if they can be said.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "the bounds are checked first")]
pub(crate) fn from_seconds(seconds: f64) -> Option<i64> {
    let ms = (seconds * 1000.0).round();
    (ms.is_finite() && ms.abs() < (i64::MAX / 4) as f64).then_some(ms as i64)
}

/// Milliseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "times up to the year 280,000 are exact")]
pub(crate) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// Milliseconds shown as a duration.
pub(crate) struct Ms(pub(crate) i64);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let mut rest = self.0.unsigned_abs();
        for (unit, length) in UNITS {
            let length = length.unsigned_abs();
            // Years and weeks do not divide evenly into one another: they are only used where nothing is left over.
            if matches!(unit, "y" | "w") && !rest.is_multiple_of(length) {
                continue;
            }
            if rest >= length {
                write!(f, "{}{unit}", rest / length)?;
                rest %= length;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
