//! Series as text.

use std::fmt::Write as _;

use opendata_tsdb::{Labels, METRIC_NAME, is_legacy_label_name, is_legacy_metric_name};

/// `name{label="value"}`, or `{"a name", label="value"}` where the name is no plain word.
pub(crate) fn series(out: &mut String, labels: &Labels) {
    let name = labels.metric_name().unwrap_or_default();
    let mut parts: Vec<String> = Vec::with_capacity(labels.len());
    if is_legacy_metric_name(name) {
        out.push_str(name);
    } else {
        parts.push(escaped(name));
    }
    for label in labels.iter().filter(|label| label.name() != METRIC_NAME) {
        let value = escaped(label.value());
        parts.push(match is_legacy_label_name(label.name()) {
            true => format!("{}={value}", label.name()),
            false => format!("{}={value}", escaped(label.name())),
        });
    }
    if !parts.is_empty() {
        let _ = write!(out, "{{{}}}", parts.join(","));
    }
}

/// A text in quotes.
pub(crate) fn escaped(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\""))
}
