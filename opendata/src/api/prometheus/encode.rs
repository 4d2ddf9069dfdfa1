//! Answers to queries as JSON text, written at once: a large answer has millions of numbers, and no tree of values is
//! built for them. [`super::Response`] reads the same text.

use std::fmt::Write as _;

use opendata_tsdb::Labels;
use opendata_tsdb::promql::{Answer, Value};

/// What is said where a limit cut the answer off.
pub(crate) const TRUNCATED: &str = "results truncated due to limit";

/// The whole document.
pub(crate) fn answer(answer: &Answer, truncated: Option<&str>) -> String {
    let mut out = String::with_capacity(256);
    out.push_str("{\"status\":\"success\",\"data\":{\"resultType\":");
    data(&mut out, &answer.value);
    out.push('}');
    texts(&mut out, "warnings", answer.annotations.warnings().chain(truncated));
    texts(&mut out, "infos", answer.annotations.infos());
    out.push('}');
    out
}

/// The kind of result, and the result.
fn data(out: &mut String, value: &Value) {
    match value {
        Value::Scalar { at, value } => {
            out.push_str("\"scalar\",\"result\":");
            point(out, at.0, *value);
        }
        Value::String { at, value } => {
            out.push_str("\"string\",\"result\":[");
            seconds(out, at.0);
            out.push(',');
            string(out, value);
            out.push(']');
        }
        Value::Vector(samples) => {
            out.push_str("\"vector\",\"result\":[");
            each(out, samples, |out, sample| {
                out.push_str("{\"metric\":");
                labels(out, &sample.labels);
                out.push_str(",\"value\":");
                point(out, sample.at.0, sample.value);
                out.push('}');
            });
            out.push(']');
        }
        Value::Matrix(series) => {
            out.push_str("\"matrix\",\"result\":[");
            each(out, series, |out, series| {
                out.push_str("{\"metric\":");
                labels(out, &series.labels);
                out.push_str(",\"values\":[");
                each(out, series.timestamps.iter().zip(&series.values), |out, (at, value)| point(out, *at, *value));
                out.push_str("]}");
            });
            out.push(']');
        }
    }
}

fn each<T>(out: &mut String, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut String, T)) {
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(out, item);
    }
}

fn texts<'a>(out: &mut String, name: &str, texts: impl Iterator<Item = &'a str>) {
    let mut texts = texts.peekable();
    if texts.peek().is_some() {
        // Writing to a string cannot fail; so below.
        let _ = write!(out, ",\"{name}\":[");
        each(out, texts, string);
        out.push(']');
    }
}

/// A label set as an object.
pub(crate) fn labels(out: &mut String, labels: &Labels) {
    out.push('{');
    each(out, labels, |out, label| {
        string(out, label.name());
        out.push(':');
        string(out, label.value());
    });
    out.push('}');
}

/// `[1435781451.781,"1.5"]`
fn point(out: &mut String, at_ms: i64, value: f64) {
    out.push('[');
    seconds(out, at_ms);
    out.push_str(",\"");
    number(out, value);
    out.push_str("\"]");
}

/// Unix seconds, with milliseconds behind the point where there are any.
pub(crate) fn seconds(out: &mut String, at_ms: i64) {
    let _ = match at_ms.unsigned_abs() {
        ms if ms.is_multiple_of(1000) => write!(out, "{}", at_ms / 1000),
        ms => {
            let sign = if at_ms < 0 { "-" } else { "" };
            write!(out, "{sign}{}.{:03}", ms / 1000, ms % 1000)
        }
    };
}

/// A value as the reference writes it: the shortest digits that read as the same number, with an exponent below 1e-6
/// and from 1e21 on.
pub(crate) fn number(out: &mut String, value: f64) {
    let _ = match value {
        value if value.is_nan() => out.write_str("NaN"),
        f64::INFINITY => out.write_str("+Inf"),
        f64::NEG_INFINITY => out.write_str("-Inf"),
        value if value != 0.0 && !(1e-6..1e21).contains(&value.abs()) => {
            let text = format!("{value:e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let (sign, exponent) = exponent.strip_prefix('-').map_or(("+", exponent), |exponent| ("-", exponent));
            write!(out, "{digits}e{sign}{exponent:0>2}")
        }
        value => write!(out, "{value}"),
    };
}

/// A text in double quotes.
pub(crate) fn string(out: &mut String, text: &str) {
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

#[cfg(test)]
mod tests;
