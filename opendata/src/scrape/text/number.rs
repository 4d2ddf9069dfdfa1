//! Numbers of an exposition, and how the reference writes the bounds of buckets.

/// A value: Prometheus's own words for what is no number, and no others of Rust's.
pub(crate) fn value(word: &str) -> Option<f64> {
    if word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
        && let Ok(value) = word.parse::<f64>()
        && !word.ends_with(['n', 'N', 'f', 'F', 'y', 'Y'])
    {
        return Some(value);
    }
    Some(match word.to_ascii_lowercase().as_str() {
        "nan" => f64::NAN,
        "inf" | "+inf" | "infinity" | "+infinity" => f64::INFINITY,
        "-inf" | "-infinity" => f64::NEG_INFINITY,
        _ => return None,
    })
}

/// A time in seconds, in milliseconds.
pub(super) fn seconds(word: &str) -> Option<i64> {
    let seconds = value(word).filter(|seconds| seconds.is_finite() && seconds.abs() < 1e15)?;
    #[expect(clippy::cast_possible_truncation, reason = "its range was checked just now")]
    let ms = (seconds * 1000.0).round() as i64;
    Some(ms)
}

/// A bound as OpenMetrics writes it: `1` is `1.0`, a million is `1e+06`. None if it is no number.
pub(crate) fn canonical(word: &str) -> Option<String> {
    let number = value(word)?;
    if number.is_nan() {
        return Some("NaN".to_owned());
    }
    if number.is_infinite() {
        return Some(if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned());
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    if number != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return Some(format!("{digits}e{sign}{:02}", exponent.abs()));
    }
    let plain = number.to_string();
    Some(if plain.contains('.') { plain } else { format!("{plain}.0") })
}
