//! Metrics as protocol buffers: messages `io.prometheus.client.MetricFamily`, each with its length in front
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/#protobuf-format>). The only format that shows native histograms.
//!
//! What is read becomes the text that says the same, which whoever reads text reads on, and native histograms, for which there is no text.

use std::fmt::Write as _;

use opendata_core::{Error, Result};
use opendata_tsdb::{Histogram, Labels, METRIC_NAME};

use self::parts::Parts;
use super::text::{escaped, series};
use crate::api::prometheus::encode;
use crate::proto::{Malformed, Message};

mod parts;
mod write;

pub(crate) use self::write::{Told, cumulative, write};

/// What the format is called.
pub(crate) const MEDIA_TYPE: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// A native histogram of a target.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Native {
    /// With the name.
    pub(crate) labels: Labels,
    pub(crate) time_ms: Option<i64>,
    pub(crate) histogram: Histogram,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Families {
    /// Everything but native histograms, as OpenMetrics text.
    pub(crate) text: String,
    pub(crate) natives: Vec<Native>,
}

/// What is done with a histogram that has both kinds of buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The classic ones only.
    Classic,
    /// The native ones only.
    Native,
    Both,
}

/// A metric's kind, by its number.
fn kind(number: u64) -> &'static str {
    match number {
        0 => "counter",
        1 => "gauge",
        2 => "summary",
        4 => "histogram",
        5 => "gaugehistogram",
        _ => "unknown",
    }
}

/// Reads what a target answers.
///
/// # Errors
/// `Invalid` if it is malformed.
pub(crate) fn read(bytes: &[u8], wanted: Wanted) -> Result<Families> {
    let malformed = |Malformed(what)| Error::invalid(format!("the answer is malformed: {what}"));
    let mut families = Families::default();
    let mut all = Message::new(bytes);
    while all.left() > 0 {
        let family = all.delimited().map_err(malformed)?;
        families.family(family, wanted).map_err(malformed)?;
    }
    families.text.push_str("# EOF\n");
    Ok(families)
}

impl Families {
    fn family(&mut self, bytes: &[u8], wanted: Wanted) -> Result<(), Malformed> {
        let (mut name, mut help, mut unit, mut of, mut metrics) = ("", "", "", 0, Vec::new());
        let mut message = Message::new(bytes);
        while let Some((number, value)) = message.next()? {
            match number {
                1 => name = value.text()?,
                2 => help = value.text()?,
                3 => of = value.unsigned()?,
                4 => metrics.push(value.bytes()?),
                5 => unit = value.text()?,
                _ => {}
            }
        }
        let is_gauge = of == 5;
        let (text, shown) = (&mut self.text, shown_name(name));
        // Writing to a string cannot fail; so below.
        let _ = writeln!(text, "# TYPE {shown} {}", kind(of));
        if !help.is_empty() {
            let _ = writeln!(text, "# HELP {shown} {}", help.replace('\\', "\\\\").replace('\n', "\\n"));
        }
        if !unit.is_empty() {
            let _ = writeln!(text, "# UNIT {shown} {unit}");
        }
        metrics.into_iter().try_for_each(|metric| self.metric(name, metric, is_gauge, wanted))
    }

    fn metric(&mut self, name: &str, bytes: &[u8], is_gauge: bool, wanted: Wanted) -> Result<(), Malformed> {
        let (mut pairs, mut values, mut time_ms) = (Vec::new(), Vec::new(), None);
        let mut message = Message::new(bytes);
        while let Some((number, value)) = message.next()? {
            match number {
                1 => pairs.push(label(value.bytes()?)?),
                6 => time_ms = Some(value.signed()?).filter(|time| *time != 0),
                2..=5 | 7 => values.push((number, value.bytes()?)),
                _ => {}
            }
        }
        let mut metric = Metric { name, pairs, time_ms, text: &mut self.text };
        for (number, value) in values {
            match number {
                4 => metric.summary(value)?,
                7 => {
                    let parts = Parts::read(value)?;
                    let is_native = parts.is_native() && wanted != Wanted::Classic;
                    if !is_native || (wanted == Wanted::Both && !parts.buckets.is_empty()) {
                        metric.classic(&parts)?;
                    }
                    if is_native {
                        let labels = metric.labels("", None)?;
                        self.natives.push(Native { labels, time_ms, histogram: parts.native(is_gauge) });
                        return Ok(());
                    }
                }
                _ => metric.plain(value)?,
            }
        }
        Ok(())
    }
}

fn label(bytes: &[u8]) -> Result<(String, String), Malformed> {
    let (mut name, mut value) = (String::new(), String::new());
    let mut message = Message::new(bytes);
    while let Some((number, field)) = message.next()? {
        match number {
            1 => name = field.text()?.to_owned(),
            2 => value = field.text()?.to_owned(),
            _ => {}
        }
    }
    Ok((name, value))
}

/// One metric of a family, as text.
struct Metric<'a> {
    name: &'a str,
    pairs: Vec<(String, String)>,
    time_ms: Option<i64>,
    text: &'a mut String,
}

impl Metric<'_> {
    fn labels(&self, suffix: &str, more: Option<(&str, String)>) -> Result<Labels, Malformed> {
        let name = (METRIC_NAME.to_owned(), format!("{}{suffix}", self.name));
        let more = more.map(|(name, value)| (name.to_owned(), value));
        Labels::new(self.pairs.iter().cloned().chain([name]).chain(more))
            .map_err(|_| Malformed("the labels of a metric are none"))
    }

    fn line(
        &mut self,
        suffix: &str,
        more: Option<(&str, String)>,
        value: f64,
        exemplar: Option<&[u8]>,
    ) -> Result<(), Malformed> {
        let labels = self.labels(suffix, more)?;
        series(self.text, &labels);
        self.text.push(' ');
        encode::number(self.text, value);
        if let Some(time_ms) = self.time_ms {
            self.text.push(' ');
            encode::seconds(self.text, time_ms);
        }
        if let Some(exemplar) = exemplar {
            self.exemplar(exemplar)?;
        }
        self.text.push('\n');
        Ok(())
    }

    fn exemplar(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let (mut pairs, mut value, mut time_ms) = (Vec::new(), 0.0, None);
        let mut message = Message::new(bytes);
        while let Some((number, field)) = message.next()? {
            match number {
                1 => pairs.push(label(field.bytes()?)?),
                2 => value = field.double()?,
                3 => time_ms = Some(timestamp(field.bytes()?)?),
                _ => {}
            }
        }
        let labels: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let _ = write!(self.text, " # {{{}}} ", labels.join(","));
        encode::number(self.text, value);
        if let Some(time_ms) = time_ms {
            self.text.push(' ');
            encode::seconds(self.text, time_ms);
        }
        Ok(())
    }

    /// A counter, a gauge, or what nobody knows.
    fn plain(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let (mut number, mut exemplar) = (0.0, None);
        let mut message = Message::new(bytes);
        while let Some((field, value)) = message.next()? {
            match field {
                1 => number = value.double()?,
                2 => exemplar = Some(value.bytes()?),
                _ => {}
            }
        }
        self.line("", None, number, exemplar)
    }

    #[expect(clippy::cast_precision_loss, reason = "samples are floats")]
    fn summary(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let (mut count, mut sum, mut quantiles) = (0, 0.0, Vec::new());
        let mut message = Message::new(bytes);
        while let Some((field, value)) = message.next()? {
            match field {
                1 => count = value.unsigned()?,
                2 => sum = value.double()?,
                3 => quantiles.push(value.bytes()?),
                _ => {}
            }
        }
        for quantile in quantiles {
            let (mut rank, mut number) = (0.0, 0.0);
            let mut message = Message::new(quantile);
            while let Some((field, value)) = message.next()? {
                match field {
                    1 => rank = value.double()?,
                    2 => number = value.double()?,
                    _ => {}
                }
            }
            self.line("", Some(("quantile", text_of(rank))), number, None)?;
        }
        self.line("_sum", None, sum, None)?;
        self.line("_count", None, count as f64, None)
    }

    fn classic(&mut self, parts: &Parts<'_>) -> Result<(), Malformed> {
        let mut is_complete = false;
        for bucket in &parts.buckets {
            is_complete |= bucket.until == f64::INFINITY;
            self.line("_bucket", Some(("le", text_of(bucket.until))), bucket.count, bucket.exemplar)?;
        }
        if !is_complete {
            self.line("_bucket", Some(("le", "+Inf".to_owned())), parts.histogram.count, None)?;
        }
        self.line("_sum", None, parts.histogram.sum, None)?;
        self.line("_count", None, parts.histogram.count, None)
    }
}

fn text_of(value: f64) -> String {
    let mut text = String::new();
    encode::number(&mut text, value);
    text
}

fn shown_name(name: &str) -> String {
    if opendata_tsdb::is_legacy_metric_name(name) { name.to_owned() } else { escaped(name) }
}

/// `google.protobuf.Timestamp` in milliseconds.
fn timestamp(bytes: &[u8]) -> Result<i64, Malformed> {
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    let mut message = Message::new(bytes);
    while let Some((field, value)) = message.next()? {
        match field {
            1 => seconds = value.signed()?,
            2 => nanos = value.signed()?,
            _ => {}
        }
    }
    Ok(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000))
}

#[cfg(test)]
mod tests;
