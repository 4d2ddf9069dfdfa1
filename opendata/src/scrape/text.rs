//! What targets expose: Prometheus's text format (version 0.0.4) and OpenMetrics 1.0, read a line at a time without copying.
//!
//! | | |
//! |---|---|
//! | <https://prometheus.io/docs/instrumenting/exposition_formats/> | times in milliseconds, any white space, any comment |
//! | <https://prometheus.io/docs/specs/om/open_metrics_spec/> | times in seconds, one space, exemplars, `# EOF` at the end |
//!
//! A sample's series is handed over as it is written ([`Sample::series`]): who has seen that text before needs not take it apart
//! ([`labels`]) again. Names that are no plain words stand in quotes: `{"http.requests", path="/"} 1`. Whatever comes
//! in, the answer is entries or an error that names its line.

use std::borrow::Cow;
use std::fmt;

mod line;
mod number;

use line::Line;
pub(crate) use line::labels;
pub(crate) use number::{canonical, value as bound};

/// In which format a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    OpenMetrics,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry<'a> {
    Kind { metric: Cow<'a, str>, kind: Kind },
    Help { metric: Cow<'a, str>, text: Cow<'a, str> },
    Unit { metric: Cow<'a, str>, unit: &'a str },
    Sample(Sample<'a>),
}

/// What a metric is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Unknown,
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    StateSet,
}

/// A value of a series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample<'a> {
    /// Name and labels, as written.
    pub(crate) series: &'a str,
    pub(crate) value: f64,
    pub(crate) time_ms: Option<i64>,
    pub(crate) exemplar: Option<Exemplar<'a>>,
}

/// One measurement among those that a sample sums up.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exemplar<'a> {
    /// Its labels, as written.
    pub(crate) labels: &'a str,
    pub(crate) value: f64,
    pub(crate) time_ms: Option<i64>,
}

/// What is wrong with a text, and in which line, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// Reads a text, entry by entry.
pub(crate) struct Parser<'a> {
    rest: &'a str,
    format: Format,
    line: usize,
    has_ended: bool,
}

impl<'a> Parser<'a> {
    pub(crate) fn new(text: &'a str, format: Format) -> Self {
        Self { rest: text, format, line: 0, has_ended: false }
    }

    /// The next entry; none at the end. After an error there is nothing more to read.
    pub(crate) fn next(&mut self) -> Result<Option<Entry<'a>>, Wrong> {
        loop {
            if self.rest.is_empty() {
                return match self.format {
                    Format::OpenMetrics if !self.has_ended => Err(self.wrong("the text does not end with `# EOF`")),
                    _ => Ok(None),
                };
            }
            let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
            self.line += 1;
            self.rest = rest;
            if self.has_ended {
                return Err(self.wrong("something stands behind `# EOF`"));
            }
            let mut line = Line::new(line, self.format);
            match line.entry() {
                Ok(line::Content::Entry(entry)) => return Ok(Some(entry)),
                Ok(line::Content::Nothing) => {}
                Ok(line::Content::End) => self.has_ended = true,
                Err(what) => {
                    self.rest = "";
                    self.has_ended = true;
                    return Err(self.wrong(what));
                }
            }
        }
    }

    /// The line that was read last.
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    fn wrong(&self, what: impl Into<String>) -> Wrong {
        Wrong { line: self.line, what: what.into() }
    }
}

impl Kind {
    /// The kind of a word after `# TYPE`.
    fn of(word: &str, format: Format) -> Option<Self> {
        Some(match word {
            "counter" => Self::Counter,
            "gauge" => Self::Gauge,
            "histogram" => Self::Histogram,
            "summary" => Self::Summary,
            "untyped" if format == Format::Text => Self::Unknown,
            "unknown" => Self::Unknown,
            "gaugehistogram" => Self::GaugeHistogram,
            "info" => Self::Info,
            "stateset" => Self::StateSet,
            _ => return None,
        })
    }

    /// The word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
        }
    }
}

#[cfg(test)]
mod tests;
