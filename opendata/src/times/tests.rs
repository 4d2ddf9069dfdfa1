use super::*;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

#[test]
fn every_form_of_a_time() {
    let cases = [
        ("now", NOW.0),
        ("15m", NOW.0 - 900_000),
        ("7d", NOW.0 - 7 * 86_400_000),
        ("@1700000000", NOW.0),
        ("@1700000000.25", NOW.0 + 250),
        ("@-1", -1000),
        ("2023-11-14T22:13:20Z", NOW.0),
        ("2023-11-14T23:13:20.5+01:00", NOW.0 + 500),
        ("1970-01-02", 86_400_000),
    ];
    for (text, expected) in cases {
        assert_eq!(parse_time_at(text, NOW).unwrap(), Timestamp(expected), "{text}");
    }
    for wrong in ["", "yesterday", "1700000000", "@", "@nan", "@1e300", "2023-13-01", "2023-11-14 22:13:20"] {
        assert!(parse_time_at(wrong, NOW).is_err(), "{wrong}");
    }
}

#[test]
fn a_time_is_shown_as_it_can_be_read() {
    for time in [0, NOW.0 + 7, -1, -62_135_596_800_000] {
        let text = show(Timestamp(time));
        assert_eq!(parse_time_at(&text, NOW).unwrap(), Timestamp(time), "{text}");
    }
    assert_eq!(show(Timestamp(i64::MAX)), "9223372036854775807ms");
}

#[test]
fn ticks_are_an_interval_apart_wherever_one_begins() {
    for now in [0_i64, 1, 999, 1000, 12_345, -7] {
        let first = next_tick(now, 1000, 250);
        assert!(first >= now && first - now < 1000);
        assert_eq!(first.rem_euclid(1000), 250);
        assert_eq!(next_tick(first + 1, 1000, 250), first + 1000);
    }
}
