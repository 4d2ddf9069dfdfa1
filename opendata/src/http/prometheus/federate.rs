//! Federation: the newest sample of each series that is asked for, as text that another Prometheus scrapes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use opendata_core::Result;
use opendata_tsdb::promql::{EngineConfig, SampleValue, Storage, is_stale};
use opendata_tsdb::{Labels, METRIC_NAME, Metadata, MetricKind, is_legacy_label_name, is_legacy_metric_name};

use super::ask::Asked;
use super::refused::Refused;
use crate::api::prometheus::encode;
use crate::times;

const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8";

/// How the text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Plain,
    OpenMetrics,
}

pub(super) async fn federate(headers: HeaderMap, asked: Asked) -> Result<Response, Refused> {
    let (selectors, reader) = (asked.selectors()?, asked.reader()?);
    if selectors.is_empty() {
        return Err(Refused::bad_data("no match[] parameter provided"));
    }
    let (now, lookback_ms) = (times::now(), EngineConfig::default().lookback_ms);
    let mut newest: BTreeMap<Labels, (i64, f64)> = BTreeMap::new();
    for matchers in &selectors {
        for series in reader.select(matchers, now.0 - lookback_ms + 1, now.0).await? {
            // Text has no form for native histograms.
            if let Some((at, SampleValue::Float(value))) = series.samples().last()
                && !is_stale(value)
            {
                newest.insert(series.labels, (at, value));
            }
        }
    }
    let accepts = |what: &str| {
        headers.get(ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains(what))
    };
    let (format, content_type) = match accepts("application/openmetrics-text") {
        true => (Format::OpenMetrics, OPEN_METRICS),
        false => (Format::Plain, PLAIN),
    };
    let known = reader.metadata(None).await?;
    let samples: Vec<_> = newest.iter().map(|(labels, (at, value))| (labels, *at, *value)).collect();
    Ok(([(CONTENT_TYPE, content_type)], exposition(&samples, &known, format)).into_response())
}

/// Samples by metric, which stand together below one heading.
fn exposition(samples: &[(&Labels, i64, f64)], known: &BTreeMap<String, Metadata>, format: Format) -> String {
    let mut by_metric: BTreeMap<&str, Vec<&(&Labels, i64, f64)>> = BTreeMap::new();
    for sample in samples {
        by_metric.entry(sample.0.metric_name().unwrap_or_default()).or_default().push(sample);
    }
    let mut out = String::new();
    for (metric, samples) in by_metric {
        // A single sample of a distribution is none, and OpenMetrics wants counters to be named as such.
        let kind = match (format, known.get(metric).map(|known| known.kind)) {
            (_, Some(MetricKind::Gauge)) => "gauge",
            (Format::Plain, Some(MetricKind::Counter)) => "counter",
            (Format::Plain, _) => "untyped",
            (Format::OpenMetrics, _) => "unknown",
        };
        let name = if is_legacy_metric_name(metric) { metric.to_owned() } else { quoted(metric) };
        // Writing to a string cannot fail; so below.
        let _ = writeln!(out, "# TYPE {name} {kind}");
        for (labels, at, value) in samples {
            series(&mut out, labels);
            out.push(' ');
            encode::number(&mut out, *value);
            out.push(' ');
            match format {
                Format::Plain => {
                    let _ = write!(out, "{at}");
                }
                Format::OpenMetrics => encode::seconds(&mut out, *at),
            }
            out.push('\n');
        }
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

/// `name{label="value"}`, or `{"a name", label="value"}` where the name is no plain word.
fn series(out: &mut String, labels: &Labels) {
    let name = labels.metric_name().unwrap_or_default();
    let mut parts: Vec<String> = Vec::with_capacity(labels.len());
    if is_legacy_metric_name(name) {
        out.push_str(name);
    } else {
        parts.push(quoted(name));
    }
    for label in labels.iter().filter(|label| label.name() != METRIC_NAME) {
        let value = quoted(label.value());
        parts.push(match is_legacy_label_name(label.name()) {
            true => format!("{}={value}", label.name()),
            false => format!("{}={value}", quoted(label.name())),
        });
    }
    if !parts.is_empty() {
        let _ = write!(out, "{{{}}}", parts.join(","));
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\""))
}

#[cfg(test)]
mod tests;
