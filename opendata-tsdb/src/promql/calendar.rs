//! Dates of the proleptic Gregorian calendar, UTC.
//!
//! The conversion counts in eras of 400 years from 1 March, so that the leap day is the last of its year
//! (Howard Hinnant, "chrono-compatible low-level date algorithms").

use std::fmt;

/// A moment as people say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// From 1.
    pub(crate) month: i64,
    /// From 1.
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    /// Days since 1 January 1970.
    epoch_day: i64,
}

impl Civil {
    /// The moment so many seconds after the start of 1970.
    pub(crate) fn from_seconds(seconds: i64) -> Self {
        let epoch_day = seconds.div_euclid(86_400);
        let second = seconds.rem_euclid(86_400);
        let shifted = epoch_day + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * march_month + 2) / 5 + 1,
            hour: second / 3_600,
            minute: second % 3_600 / 60,
            epoch_day,
        }
    }

    /// 0 is Sunday.
    pub(crate) fn weekday(&self) -> i64 {
        (self.epoch_day + 4).rem_euclid(7)
    }

    fn is_leap(&self) -> bool {
        self.year.rem_euclid(4) == 0 && (self.year.rem_euclid(100) != 0 || self.year.rem_euclid(400) == 0)
    }

    pub(crate) fn days_in_month(&self) -> i64 {
        match self.month {
            2 => 28 + i64::from(self.is_leap()),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    /// From 1.
    pub(crate) fn day_of_year(&self) -> i64 {
        (1..self.month).map(|month| Self { month, ..*self }.days_in_month()).sum::<i64>() + self.day
    }
}

/// A time in milliseconds, shown as `2023-12-25T00:00:00.5Z`.
pub(crate) struct Moment(pub(crate) i64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, ms) = (self.0.div_euclid(1000), self.0.rem_euclid(1000));
        let Civil { year, month, day, hour, minute, .. } = Civil::from_seconds(seconds);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}", seconds.rem_euclid(60))?;
        if ms != 0 {
            write!(f, ".{}", format!("{ms:03}").trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

#[cfg(test)]
mod tests;
