//! Names: how OpenTelemetry's become Prometheus's
//! (<https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>, and the words of Prometheus's
//! `otlp.translation_strategy`).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// What becomes of names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Strategy {
    /// `http.server.duration` in `ms` becomes `http_server_duration_milliseconds`.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// It becomes `http_server_duration`.
    UnderscoreEscapingWithoutSuffixes,
    /// It becomes `http.server.duration_milliseconds`.
    NoUTF8EscapingWithSuffixes,
    /// It stays as it is.
    NoTranslation,
}

impl Strategy {
    fn escapes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::UnderscoreEscapingWithoutSuffixes)
    }

    fn has_suffixes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::NoUTF8EscapingWithSuffixes)
    }
}

/// What a metric is, as far as its name is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only grows.
    Counter,
    Gauge,
    Other,
}

/// The name of a metric.
pub(crate) fn metric(name: &str, unit: &str, kind: Kind, strategy: Strategy) -> String {
    if !strategy.has_suffixes() {
        return if strategy.escapes() { escaped(name) } else { name.to_owned() };
    }
    let unit = unit.trim();
    let (main, per) = unit_words(unit, strategy);
    if !strategy.escapes() {
        return with_suffixes(name.to_owned(), &main, &per, unit, kind);
    }
    let mut words: Vec<&str> =
        name.split(|c: char| !c.is_ascii_alphanumeric() && c != ':').filter(|word| !word.is_empty()).collect();
    if !main.is_empty() && !words.contains(&main.as_ref()) {
        words.push(&main);
    }
    if !per.is_empty() && !words.contains(&per.as_ref()) {
        words.extend(["per", &per]);
    }
    let last = match kind {
        Kind::Counter => Some("total"),
        Kind::Gauge if unit == "1" => Some("ratio"),
        _ => None,
    };
    if let Some(last) = last {
        words.retain(|word| *word != last);
        words.push(last);
    }
    not_a_digit_first(words.join("_"))
}

fn with_suffixes(mut name: String, main: &str, per: &str, unit: &str, kind: Kind) -> String {
    let take_off = |name: &mut String, suffix: &str| {
        if let Some(rest) = name.strip_suffix(suffix) {
            name.truncate(rest.len());
        }
    };
    if kind == Kind::Counter {
        take_off(&mut name, "_total");
    }
    for (lead, word) in [("_", main), ("_per_", per)] {
        let suffix = format!("{lead}{word}");
        if !word.is_empty() && !name.ends_with(&suffix) {
            name.push_str(&suffix);
        }
    }
    match kind {
        Kind::Counter => name.push_str("_total"),
        Kind::Gauge if unit == "1" => {
            take_off(&mut name, "_ratio");
            name.push_str("_ratio");
        }
        _ => {}
    }
    name
}

fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        let keeps = c.is_ascii_alphanumeric() || c == ':';
        if keeps || !text.ends_with('_') {
            text.push(if keeps { c } else { '_' });
        }
    }
    not_a_digit_first(text)
}

fn not_a_digit_first(name: String) -> String {
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// The words that a unit adds to a name: of what, and per what.
fn unit_words(unit: &str, strategy: Strategy) -> (Cow<'_, str>, Cow<'_, str>) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let known = |text: &str| text.trim().contains(['{', '}']);
    let clean = |word: &'static str, text: &str| -> Cow<'static, str> {
        if word.is_empty() && !text.is_empty() {
            let text = if strategy.escapes() { escaped(text) } else { text.to_owned() };
            return Cow::Owned(text.trim_matches('_').to_owned());
        }
        Cow::Borrowed(word)
    };
    let main = match main.trim() {
        "" | "1" => Cow::Borrowed(""),
        text if known(text) => Cow::Borrowed(""),
        text => clean(unit_word(text), text),
    };
    let per = match per.trim() {
        "" => Cow::Borrowed(""),
        text if known(text) => Cow::Borrowed(""),
        text => clean(per_word(text), text),
    };
    (main, per)
}

/// Units of UCUM that have a word in Prometheus; empty where there is none.
fn unit_word(unit: &str) -> &'static str {
    match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tibibytes",
        "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "%" => "percent",
        _ => "",
    }
}

fn per_word(unit: &str) -> &'static str {
    match unit {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        _ => "",
    }
}

/// How label names are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LabelNames {
    pub(crate) strategy: Strategy,
    /// Whether a single underscore in front is written `key_`.
    pub(crate) guards_underscore: bool,
    /// Whether several underscores in a row stay as they are.
    pub(crate) keeps_underscores: bool,
}

impl LabelNames {
    /// The name of a label.
    pub(crate) fn label<'a>(&self, name: &'a str) -> Cow<'a, str> {
        if !self.strategy.escapes()
            || opendata_tsdb::is_legacy_label_name(name) && !name.starts_with('_') && !name.contains("__")
        {
            return Cow::Borrowed(name);
        }
        let mut text = String::with_capacity(name.len() + 4);
        for c in name.chars() {
            let c = if c.is_ascii_alphanumeric() { c } else { '_' };
            if c != '_' || self.keeps_underscores || !text.ends_with('_') {
                text.push(c);
            }
        }
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            text.insert_str(0, "key_");
        } else if self.guards_underscore && text.starts_with('_') && !text.starts_with("__") {
            text.insert_str(0, "key");
        }
        Cow::Owned(text)
    }
}
