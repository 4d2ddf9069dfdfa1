use super::*;

#[test]
fn times_are_seconds_or_rfc_3339() {
    for (text, ms) in [
        ("1435781451.781", 1_435_781_451_781),
        ("0", 0),
        ("-1.5", -1500),
        ("2015-07-01T20:10:51.781Z", 1_435_781_451_781),
        ("2015-07-01T22:10:51.781+02:00", 1_435_781_451_781),
        (MIN_TEXT, MIN_TIME.0),
        (MAX_TEXT, MAX_TIME.0),
    ] {
        assert_eq!(time(text), Ok(Timestamp(ms)), "{text}");
    }
    for text in ["", "foo", "NaN", "Inf", "2015-13-01T00:00:00Z"] {
        assert!(time(text).is_err(), "{text}");
    }
}

#[test]
fn durations_are_seconds_or_words_from_long_to_short() {
    for (text, ms) in [
        ("1", 1000),
        ("123.456", 123_456),
        ("15s", 15_000),
        ("1h30m", 5_400_000),
        ("1y1w1d", (365 + 7 + 1) * 86_400_000),
        ("250ms", 250),
        ("0", 0),
        ("-5", -5000),
    ] {
        assert_eq!(duration_ms(text), Ok(ms), "{text}");
    }
    for text in ["", "5x", "m5", "1m1h", "1s1s", "1h 30m", "inf", "1e300", "99999999999y"] {
        assert!(duration_ms(text).is_err(), "{text}");
    }
}

#[test]
fn names_in_paths_are_unescaped() {
    for (escaped, name) in [
        ("job", "job"),
        ("U__http_2e_status__code", "http.status_code"),
        ("U__http_2e_status_3a_cpu", "http.status:cpu"),
        ("U___1f600_", "\u{1f600}"),
        ("U__bad_zz_", "U__bad_zz_"),
        ("U__open_2e", "U__open_2e"),
        ("U__surrogate_d900_", "U__surrogate_d900_"),
    ] {
        assert_eq!(unescaped_name(escaped), name, "{escaped}");
    }
}
