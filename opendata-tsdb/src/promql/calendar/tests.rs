use super::*;

#[test]
fn dates_around_leap_days_and_eras() {
    for (seconds, date, weekday, day_of_year, days) in [
        (0, (1970, 1, 1, 0, 0), 4, 1, 31),
        (951_782_399, (2000, 2, 28, 23, 59), 1, 59, 29),
        (951_868_799, (2000, 2, 29, 23, 59), 2, 60, 29),
        (4_107_542_400, (2100, 3, 1, 0, 0), 1, 60, 31),
        (-1, (1969, 12, 31, 23, 59), 3, 365, 31),
        (-62_135_596_800, (1, 1, 1, 0, 0), 1, 1, 31),
    ] {
        let civil = Civil::from_seconds(seconds);
        assert_eq!((civil.year, civil.month, civil.day, civil.hour, civil.minute), date, "{seconds}");
        assert_eq!((civil.weekday(), civil.day_of_year(), civil.days_in_month()), (weekday, day_of_year, days));
    }
}

/// Counting day by day through 400 years agrees with the formula.
#[test]
fn every_day_of_an_era_follows_the_one_before() {
    let mut last = Civil::from_seconds(0);
    for day in 1..=146_097 {
        let next = Civil::from_seconds(day * 86_400);
        let expected = if last.day < last.days_in_month() {
            (last.year, last.month, last.day + 1)
        } else if last.month < 12 {
            (last.year, last.month + 1, 1)
        } else {
            (last.year + 1, 1, 1)
        };
        assert_eq!((next.year, next.month, next.day), expected);
        last = next;
    }
}
