//! Federation: the newest sample of each series that is asked for, as another Prometheus scrapes it: as text, or as protocol buffers, which alone
//! show native histograms whole.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use opendata_core::Result;
use opendata_tsdb::promql::{EngineConfig, SampleValue, Storage, is_stale};
use opendata_tsdb::{Histogram, Labels, METRIC_NAME, Metadata, MetricKind, is_legacy_metric_name};

use super::ask::Asked;
use super::refused::Refused;
use crate::api::prometheus::encode;
use crate::exposition::family::{self, Told};
use crate::exposition::text::{escaped, series};
use crate::times;

const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8";

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Plain,
    OpenMetrics,
    /// Protocol buffers, which alone show native histograms.
    Families,
}

/// The newest sample of a series.
#[derive(Clone, Debug)]
enum Newest {
    Float(f64),
    Histogram(Arc<Histogram>),
}

type Samples<'a> = Vec<(&'a Labels, i64, &'a Newest)>;

pub(super) async fn federate(headers: HeaderMap, asked: Asked) -> Result<Response, Refused> {
    let (selectors, reader) = (asked.selectors()?, asked.reader()?);
    // Without a selector there is nothing to tell, as in the reference.
    let (now, lookback_ms) = (times::now(), EngineConfig::default().lookback_ms);
    let mut newest: BTreeMap<Labels, (i64, Newest)> = BTreeMap::new();
    for matchers in &selectors {
        for series in reader.select(matchers, now.0 - lookback_ms + 1, now.0).await? {
            let found = match series.samples().last() {
                Some((at, SampleValue::Float(value))) if !is_stale(value) => (at, Newest::Float(value)),
                Some((at, SampleValue::Histogram(one))) if !one.is_stale() => (at, Newest::Histogram(Arc::clone(one))),
                _ => continue,
            };
            newest.insert(series.labels, found);
        }
    }
    let format = format(headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default());
    let known = reader.metadata(None).await?;
    let samples: Samples<'_> = newest.iter().map(|(labels, (at, value))| (labels, *at, value)).collect();
    let (content_type, body) = match format {
        Format::Plain => (PLAIN, exposition(&samples, &known, format).into_bytes()),
        Format::OpenMetrics => (OPEN_METRICS, exposition(&samples, &known, format).into_bytes()),
        Format::Families => (family::MEDIA_TYPE, families(&samples, &known)),
    };
    if format != Format::Families {
        let reduced = samples.iter().filter(|(_, _, value)| is_reduced(value)).count();
        asked.server().prometheus().reduced_histograms.fetch_add(reduced as u64, Ordering::Relaxed);
    }
    Ok(([(CONTENT_TYPE, content_type)], body).into_response())
}

/// What the client wants most of what can be had; plain text, if it does not say.
fn format(accept: &str) -> Format {
    let mut best: Option<(f64, Format)> = None;
    for part in accept.split(',') {
        let mut words = part.split(';').map(str::trim);
        let media = words.next().unwrap_or_default().to_ascii_lowercase();
        let weight = words.clone().find_map(|word| word.strip_prefix("q=")).and_then(|q| q.parse().ok()).unwrap_or(1.0);
        let format = match media.as_str() {
            "application/openmetrics-text" => Format::OpenMetrics,
            "text/plain" => Format::Plain,
            "application/vnd.google.protobuf" => {
                let is_delimited = words.clone().any(|word| word == "encoding=delimited");
                if !(is_delimited && words.any(|word| word == "proto=io.prometheus.client.MetricFamily")) {
                    continue;
                }
                Format::Families
            }
            _ => continue,
        };
        if weight > 0.0 && best.is_none_or(|(known, _)| weight > known) {
            best = Some((weight, format));
        }
    }
    best.map_or(Format::Plain, |(_, format)| format)
}

/// Whether text tells only the count and the sum of a histogram.
fn is_reduced(value: &Newest) -> bool {
    matches!(value, Newest::Histogram(histogram) if !histogram.has_custom_bounds())
}

/// Samples by metric.
fn by_metric<'a>(samples: &Samples<'a>) -> BTreeMap<&'a str, Samples<'a>> {
    let mut all: BTreeMap<&str, Samples<'a>> = BTreeMap::new();
    for sample in samples.iter().copied() {
        all.entry(sample.0.metric_name().unwrap_or_default()).or_default().push(sample);
    }
    all
}

fn families(samples: &Samples<'_>, known: &BTreeMap<String, Metadata>) -> Vec<u8> {
    let mut out = Vec::new();
    for (metric, samples) in by_metric(samples) {
        let told = samples.iter().map(|(labels, at, value)| match value {
            Newest::Float(value) => (*labels, *at, Told::Float(*value)),
            Newest::Histogram(histogram) => (*labels, *at, Told::Histogram(histogram)),
        });
        let told: Vec<_> = told.collect();
        family::write(&mut out, metric, known.get(metric), &told);
    }
    out
}

/// Samples by metric, which stand together below one heading.
fn exposition(samples: &Samples<'_>, known: &BTreeMap<String, Metadata>, format: Format) -> String {
    let mut out = String::new();
    for (metric, samples) in by_metric(samples) {
        // A single sample of a distribution is none, and OpenMetrics wants counters to be named as such.
        let kind = match (format, known.get(metric).map(|known| known.kind)) {
            (_, Some(MetricKind::Gauge)) => "gauge",
            (Format::Plain, Some(MetricKind::Counter)) => "counter",
            (Format::Plain, _) => "untyped",
            (_, _) => "unknown",
        };
        let name = if is_legacy_metric_name(metric) { metric.to_owned() } else { escaped(metric) };
        let (floats, histograms): (Vec<_>, Vec<_>) =
            samples.into_iter().partition(|(_, _, value)| matches!(value, Newest::Float(_)));
        if !floats.is_empty() {
            // Writing to a string cannot fail; so below.
            let _ = writeln!(out, "# TYPE {name} {kind}");
        }
        for (labels, at, value) in floats {
            if let Newest::Float(value) = value {
                line(&mut out, labels, at, *value, format);
            }
        }
        if !histograms.is_empty() {
            let _ = writeln!(out, "# TYPE {name} histogram");
        }
        for (labels, at, value) in histograms {
            if let Newest::Histogram(histogram) = value {
                distribution(&mut out, labels, at, histogram, format);
            }
        }
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

/// A native histogram as the classic one that says as much as there is a form for: all buckets where it has bounds of its own, else
/// only how many observations there are.
fn distribution(out: &mut String, labels: &Labels, at_ms: i64, histogram: &Histogram, format: Format) {
    let name = labels.metric_name().unwrap_or_default();
    let named = |suffix: &str, bound: Option<&str>| {
        let pairs = labels.iter().map(|label| (label.name(), label.value())).filter(|(name, _)| *name != METRIC_NAME);
        let name = format!("{name}{suffix}");
        Labels::last_wins(pairs.chain([(METRIC_NAME, name.as_str())]).chain(bound.map(|bound| ("le", bound))))
    };
    let buckets = match histogram.has_custom_bounds() {
        true => family::cumulative(histogram),
        false => vec![(f64::INFINITY, histogram.count)],
    };
    for (until, count) in buckets {
        let mut bound = String::new();
        encode::number(&mut bound, until);
        line(out, &named("_bucket", Some(&bound)), at_ms, count, format);
    }
    line(out, &named("_sum", None), at_ms, histogram.sum, format);
    line(out, &named("_count", None), at_ms, histogram.count, format);
}

fn line(out: &mut String, labels: &Labels, at_ms: i64, value: f64, format: Format) {
    series(out, labels);
    out.push(' ');
    encode::number(out, value);
    out.push(' ');
    match format {
        Format::OpenMetrics => encode::seconds(out, at_ms),
        Format::Plain | Format::Families => {
            let _ = write!(out, "{at_ms}");
        }
    }
    out.push('\n');
}

#[cfg(test)]
mod tests;
