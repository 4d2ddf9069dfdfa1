//! Answers to queries as JSON text, written at once: a large answer has millions of numbers, and no tree of values is
//! built for them. [`super::Response`] reads the same text.

use std::fmt::Write as _;

use opendata_tsdb::promql::{Answer, SampleValue, Series, Statistics, StepStatistics, Value};
use opendata_tsdb::{Histogram, Labels};

use super::{Explanation, Seconds};

/// What is said where a limit cut the answer off.
pub(crate) const TRUNCATED: &str = "results truncated due to limit";

/// Whether an answer says what it cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stats {
    Off,
    Totals,
    /// Of each step, too.
    Steps,
}

/// The whole document.
pub(crate) fn answer<'a>(
    answer: &'a Answer,
    remarks: impl Iterator<Item = &'a str>,
    stats: Stats,
    explanation: Option<&Explanation>,
) -> String {
    let mut out = String::with_capacity(256);
    out.push_str("{\"status\":\"success\",\"data\":{\"resultType\":");
    data(&mut out, &answer.value);
    if stats != Stats::Off {
        statistics(&mut out, &answer.statistics, stats);
    }
    if let Some(explanation) = explanation.and_then(|explanation| serde_json::to_string(explanation).ok()) {
        // Writing to a string cannot fail; so below.
        let _ = write!(out, ",\"explanation\":{explanation}");
    }
    out.push('}');
    texts(&mut out, "warnings", answer.annotations.warnings().chain(remarks));
    texts(&mut out, "infos", answer.annotations.infos());
    out.push('}');
    out
}

/// What the answer cost, in seconds and samples.
fn statistics(out: &mut String, cost: &Statistics, stats: Stats) {
    let total = cost.total_time.as_secs_f64();
    let (read, evaluated) = (cost.read_time.as_secs_f64(), cost.evaluation_time.as_secs_f64());
    let mut samples = serde_json::json!({
        "totalQueryableSamples": cost.samples_queried,
        "peakSamples": cost.values_held,
        "samplesRead": cost.samples_needed,
    });
    if let (Stats::Steps, Some(samples)) = (stats, samples.as_object_mut()) {
        let by_step = |of: fn(&StepStatistics) -> u64| {
            cost.steps.iter().map(|step| serde_json::json!([Seconds::of(step.at), of(step)])).collect()
        };
        samples.insert("totalQueryableSamplesPerStep".to_owned(), by_step(|step| step.samples_queried));
        samples.insert("samplesReadPerStep".to_owned(), by_step(|step| step.samples_needed));
    }
    let stats = serde_json::json!({
        "timings": {
            "evalTotalTime": read + evaluated,
            "resultSortTime": 0.0,
            "queryPreparationTime": read,
            "innerEvalTime": evaluated,
            "execQueueTime": 0.0,
            "execTotalTime": total,
        },
        "samples": samples,
    });
    // Writing to a string cannot fail.
    let _ = write!(out, ",\"stats\":{stats}");
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
                match &sample.histogram {
                    None => {
                        out.push_str(",\"value\":");
                        point(out, sample.at.0, sample.value);
                    }
                    Some(histogram) => {
                        out.push_str(",\"histogram\":");
                        distribution(out, sample.at.0, histogram);
                    }
                }
                out.push('}');
            });
            out.push(']');
        }
        Value::Matrix(series) => {
            out.push_str("\"matrix\",\"result\":[");
            each(out, series, one_series);
            out.push(']');
        }
    }
}

/// Floats and histograms of a series stand apart.
fn one_series(out: &mut String, series: &Series) {
    out.push_str("{\"metric\":");
    labels(out, &series.labels);
    if series.histograms.len() < series.timestamps.len() {
        out.push_str(",\"values\":[");
        let floats = series.samples().filter_map(|(at, value)| match value {
            SampleValue::Float(value) => Some((at, value)),
            SampleValue::Histogram(_) => None,
        });
        each(out, floats, |out, (at, value)| point(out, at, value));
        out.push(']');
    }
    if !series.histograms.is_empty() {
        out.push_str(",\"histograms\":[");
        let histograms = series.samples().filter_map(|(at, value)| match value {
            SampleValue::Float(_) => None,
            SampleValue::Histogram(histogram) => Some((at, histogram)),
        });
        each(out, histograms, |out, (at, histogram)| distribution(out, at, histogram));
        out.push(']');
    }
    out.push('}');
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

/// `[1435781451,{"count":"3","sum":"5","buckets":[[0,"1","2","3"]]}]`, each bucket with the rule of its bounds in front.
fn distribution(out: &mut String, at_ms: i64, histogram: &Histogram) {
    out.push('[');
    seconds(out, at_ms);
    out.push_str(",{\"count\":\"");
    number(out, histogram.count);
    out.push_str("\",\"sum\":\"");
    number(out, histogram.sum);
    out.push('"');
    let mut buckets = histogram.buckets().filter(|bucket| bucket.count != 0.0).peekable();
    if buckets.peek().is_some() {
        out.push_str(",\"buckets\":[");
        each(out, buckets, |out, bucket| {
            let _ = write!(out, "[{}", bucket.boundary_rule());
            for value in [bucket.lower, bucket.upper, bucket.count] {
                out.push_str(",\"");
                number(out, value);
                out.push('"');
            }
            out.push(']');
        });
        out.push(']');
    }
    out.push_str("}]");
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
