use super::*;

#[test]
fn durations_are_read() {
    for (text, ms) in
        [("5m", 300_000), ("1h30m", 5_400_000), ("1d12h5ms", 129_600_005), ("1y", 31_536_000_000), ("0s", 0)]
    {
        assert_eq!(parse(text), Ok(ms), "{text}");
    }
}

#[test]
fn wrong_durations_are_refused() {
    for text in ["", "5", "m", "5x", "1m1h", "5m5m", "1.5h", "99999999999999999999s", "9999999999999y", "5mm"] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn numbers_are_read() {
    for (text, number) in [("1_000", 1000.0), (".5", 0.5), ("2.", 2.0), ("12.34e-6", 12.34e-6), ("1e3", 1000.0)] {
        assert_eq!(parse_number(text), Some(number), "{text}");
    }
    for text in ["5m", "1__0", "1_", "0x10", "", "e"] {
        assert_eq!(parse_number(text), None, "{text}");
    }
}

#[test]
fn durations_are_shown() {
    for (ms, text) in [(0, "0s"), (90_000, "1m30s"), (-5, "-5ms"), (86_400_000 * 8, "8d"), (86_400_000 * 7, "1w")] {
        assert_eq!(Ms(ms).to_string(), text);
    }
}
