//! Durations as Prometheus's configuration has them: `1h30m`, `15s`, `500ms`, `0`.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

/// A duration in whole milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Span {
    ms: u64,
}

/// Units from the longest to the shortest, in milliseconds. A year has 365 days.
const UNITS: &[(&str, u64)] = &[
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl Span {
    pub(crate) const fn from_secs(seconds: u64) -> Self {
        Self { ms: seconds * 1000 }
    }

    pub(crate) fn as_ms(self) -> u64 {
        self.ms
    }

    /// The milliseconds as times are counted.
    pub(crate) fn as_ms_signed(self) -> i64 {
        i64::try_from(self.ms).unwrap_or(i64::MAX)
    }

    pub(crate) fn as_duration(self) -> Duration {
        Duration::from_millis(self.ms)
    }

    #[expect(clippy::cast_precision_loss, reason = "seconds are shown as a float")]
    pub(crate) fn as_secs_f64(self) -> f64 {
        self.ms as f64 / 1000.0
    }

    /// Reads a duration: numbers with units, each unit once, the longer ones first.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "0" {
            return Some(Self::default());
        }
        let (mut rest, mut ms, mut units) = (text, 0_u64, UNITS);
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let (number, more) = rest.split_at(digits);
            let end = more.find(|c: char| c.is_ascii_digit()).unwrap_or(more.len());
            let (unit, more) = more.split_at(end);
            let at = units.iter().position(|(name, _)| *name == unit)?;
            let (_, length) = units.get(at)?;
            ms = ms.checked_add(number.parse::<u64>().ok()?.checked_mul(*length)?)?;
            units = units.get(at + 1..)?;
            rest = more;
        }
        Some(Self { ms })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ms == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.ms;
        for (unit, length) in UNITS {
            let count = rest / length;
            // Weeks and years are shown only where nothing else is.
            let whole = !matches!(*unit, "y" | "w" | "d") || rest.is_multiple_of(*length);
            if count > 0 && whole {
                write!(f, "{count}{unit}")?;
                rest %= length;
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| de::Error::custom(format!("not a duration, such as 15s or 1h30m, duration={text:?}")))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::Span;

    #[test]
    fn durations_are_read_and_shown_as_the_reference_does() {
        for (text, ms, shown) in [
            ("0", 0, "0s"),
            ("15s", 15_000, "15s"),
            ("1h30m", 5_400_000, "1h30m"),
            ("500ms", 500, "500ms"),
            ("1m500ms", 60_500, "1m500ms"),
            ("90m", 5_400_000, "1h30m"),
            ("7d", 604_800_000, "1w"),
            ("36h", 129_600_000, "36h"),
            ("1y", 31_536_000_000, "1y"),
        ] {
            let span = Span::parse(text).expect(text);
            assert_eq!((span.as_ms(), span.to_string().as_str()), (ms, shown));
        }
        for wrong in ["", "s", "1", "1s1s", "1s1m", "1.5s", "-1s", "1 s", "1x", "99999999999y"] {
            assert_eq!(Span::parse(wrong), None, "{wrong}");
        }
    }
}
