//! Numbers as Go and Prometheus write them for people.

/// Go's `%g`: `precision` digits, or as many as say the number, which has an exponent from a million on.
pub(super) fn general(number: f64, precision: Option<usize>) -> String {
    if let Some(word) = special(number) {
        return word;
    }
    let scientific = match precision {
        Some(digits) => format!("{number:.*e}", digits.max(1) - 1),
        None => format!("{number:e}"),
    };
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mantissa = match mantissa.contains('.') {
        true => mantissa.trim_end_matches('0').trim_end_matches('.'),
        false => mantissa,
    };
    let large = precision.map_or(6, |digits| i32::try_from(digits.max(1)).unwrap_or(6));
    if number != 0.0 && (exponent < -4 || exponent >= large) {
        return with_exponent(mantissa, exponent);
    }
    // The rounded number says itself.
    scientific.parse::<f64>().unwrap_or(number).to_string()
}

/// Go's `%e` with as many digits as say the number: `1e+00`.
pub(crate) fn shortest_scientific(number: f64) -> String {
    if let Some(word) = special(number) {
        return word;
    }
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => with_exponent(mantissa, exponent.parse().unwrap_or(0)),
        None => text,
    }
}

/// Go's `%e`.
pub(super) fn scientific(number: f64, precision: usize) -> String {
    if let Some(word) = special(number) {
        return word;
    }
    let text = format!("{number:.precision$e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => with_exponent(mantissa, exponent.parse().unwrap_or(0)),
        None => text,
    }
}

/// Go's `%f`.
pub(super) fn fixed(number: f64, precision: usize) -> String {
    special(number).unwrap_or_else(|| format!("{number:.precision$}"))
}

fn special(number: f64) -> Option<String> {
    if number.is_nan() {
        return Some("NaN".to_owned());
    }
    number.is_infinite().then(|| if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned())
}

fn with_exponent(mantissa: &str, exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// Four digits, which is what the functions for people show.
fn short(number: f64) -> String {
    general(number, Some(4))
}

const LARGE: &[&str] = &["k", "M", "G", "T", "P", "E", "Z", "Y"];
const LARGE_1024: &[&str] = &["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
const SMALL: &[&str] = &["m", "u", "n", "p", "f", "a", "z", "y"];

pub(super) fn humanize(mut number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return short(number);
    }
    let mut prefix = "";
    if number.abs() >= 1.0 {
        for larger in LARGE {
            if number.abs() < 1000.0 {
                break;
            }
            prefix = larger;
            number /= 1000.0;
        }
    } else {
        for smaller in SMALL {
            if number.abs() >= 1.0 {
                break;
            }
            prefix = smaller;
            number *= 1000.0;
        }
    }
    format!("{}{prefix}", short(number))
}

pub(super) fn humanize_1024(mut number: f64) -> String {
    if number.abs() <= 1.0 || !number.is_finite() {
        return short(number);
    }
    let mut prefix = "";
    for larger in LARGE_1024 {
        if number.abs() < 1024.0 {
            break;
        }
        prefix = larger;
        number /= 1024.0;
    }
    format!("{}{prefix}", short(number))
}

pub(super) fn humanize_duration(number: f64) -> String {
    if !number.is_finite() {
        return short(number);
    }
    if number == 0.0 {
        return "0s".to_owned();
    }
    if number.abs() < 1.0 {
        return format!("{}s", humanize(number));
    }
    let sign = if number < 0.0 { "-" } else { "" };
    let whole = number.abs().trunc();
    let part = |divisor: f64, modulus: f64| (whole / divisor).trunc() % modulus;
    let (seconds, minutes, hours) = (part(1.0, 60.0), part(60.0, 60.0), part(3600.0, 24.0));
    let days = (whole / 86_400.0).trunc();
    if days > 0.0 {
        format!("{sign}{days}d {hours}h {minutes}m {seconds}s")
    } else if hours > 0.0 {
        format!("{sign}{hours}h {minutes}m {seconds}s")
    } else if minutes > 0.0 {
        format!("{sign}{minutes}m {seconds}s")
    } else {
        format!("{}s", short(number))
    }
}

pub(super) fn humanize_percentage(number: f64) -> String {
    format!("{}%", short(number * 100.0))
}
