use super::*;

#[test]
fn the_default_is_valid() {
    Config::default().validate().unwrap();
}

#[test]
fn wrong_settings_are_refused() {
    let check = |change: fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        assert!(config.validate().is_err(), "{config:?}");
    };
    check(|config| config.window_ms = 59_999);
    check(|config| config.bucket_ms += 1);
    check(|config| config.bucket_ms = 0);
    check(|config| config.bucket_ms = 257 * config.window_ms);
    check(|config| config.retention_ms = Some(config.bucket_ms - 1));
    check(|config| config.max_series = 0);
}

#[test]
fn bucket_and_window_cannot_change() {
    let old = Config::default();
    let longer = Config { bucket_ms: 2 * DAY_MS, ..old.clone() };
    assert!(Config::reconfigure(&old, &longer).is_err());
    let retained = Config { retention_ms: Some(DAY_MS), ..old.clone() };
    assert!(Config::reconfigure(&old, &retained).is_ok());
}

#[test]
fn times_have_buckets_and_windows() {
    let calendar = Config::default().calendar();
    let day = i64::try_from(DAY_MS).unwrap();
    assert_eq!(calendar.segment(0), Some(SegmentId(1 << 31)));
    assert_eq!(calendar.segment(-1), Some(SegmentId((1 << 31) - 1)));
    assert_eq!(calendar.segment(day), Some(SegmentId((1 << 31) + 1)));
    assert_eq!(calendar.segment(i64::MAX), None);
    assert_eq!(calendar.segment(i64::MIN), None);
    assert_eq!((calendar.window(0), calendar.window(day - 1), calendar.window(-1)), (0, 11, 11));
    let today = SegmentId(1 << 31);
    assert_eq!((calendar.start_ms(today), calendar.last_ms(today)), (0, day - 1));
    assert_eq!(calendar.windows(today, -5, 7_200_000), 0..=1);
    assert!(calendar.windows(today, day, day + 5).is_empty());
    assert!(calendar.windows(today, -9, -1).is_empty());
    assert_eq!(calendar.windows(today, i64::MIN, i64::MAX), 0..=11);
}
