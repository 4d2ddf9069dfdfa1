//! Samples as text: a line a sample, in Prometheus's text exposition format (version 0.0.4).
//!
//! ```text
//! # HELP and # TYPE lines, and empty ones, are passed over
//! tokens_total{tenant="7", model="a\"b"} 42 1700000000000
//! up 1
//! ```
//!
//! The timestamp is in milliseconds since the Unix epoch; a sample without one is of the time it is written at. Label
//! values know the escapes `\\`, `\"` and `\n`. A name that is no plain word may stand in quotes inside
//! the braces: `{"http.requests", path="/"} 1`.

pub(crate) mod family;
pub(crate) mod text;

use opendata_core::{Error, Result, Timestamp};
use opendata_tsdb::{Labels, METRIC_NAME, is_legacy_metric_name};

/// A sample of a line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) labels: Labels,
    pub(crate) value: f64,
    pub(crate) time: Option<Timestamp>,
}

/// The samples of a text. Errors name the line.
pub(crate) fn parse(text: &str) -> Result<Vec<Line>> {
    let lines = text.lines().enumerate();
    let parsed = lines.filter_map(|(at, line)| {
        parse_line(line).map_err(|error| error.context(format_args!("line {}", at + 1))).transpose()
    });
    parsed.collect()
}

/// The sample of one line; none if it holds none.
pub(crate) fn parse_line(line: &str) -> Result<Option<Line>> {
    let mut rest = Rest { line, text: line.trim_start_matches([' ', '\t']) };
    if rest.text.is_empty() || rest.text.starts_with('#') || rest.text == "\r" {
        return Ok(None);
    }
    let mut pairs: Vec<(String, String)> = Vec::new();
    let name = rest.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'));
    if !name.is_empty() {
        if !is_legacy_metric_name(name) {
            return Err(Error::invalid(format!("not a metric name, name={name}, line={line:?}")));
        }
        pairs.push((METRIC_NAME.to_owned(), name.to_owned()));
    }
    rest.skip_space();
    if rest.skip('{') {
        rest.labels(&mut pairs)?;
    } else if pairs.is_empty() {
        return Err(rest.wrong("the name of a metric"));
    }
    if !pairs.iter().any(|(name, value)| name == METRIC_NAME && !value.is_empty()) {
        return Err(Error::invalid(format!("a sample has no metric name, line={line:?}")));
    }
    rest.skip_space();
    let value = rest.word();
    let value = number(value).ok_or_else(|| Error::invalid(format!("not a value, value={value:?}, line={line:?}")))?;
    rest.skip_space();
    let time = match rest.word() {
        "" => None,
        word => {
            let wrong = |_| Error::invalid(format!("not a time in milliseconds, time={word:?}, line={line:?}"));
            Some(Timestamp(word.parse().map_err(wrong)?))
        }
    };
    rest.skip_space();
    if !rest.text.is_empty() {
        return Err(rest.wrong("the end of the line"));
    }
    Ok(Some(Line { labels: Labels::new(pairs)?, value, time }))
}

/// A value as Go reads it: Prometheus's own words, and no others of Rust's.
fn number(word: &str) -> Option<f64> {
    match word.to_ascii_lowercase().as_str() {
        "nan" => Some(f64::NAN),
        "inf" | "+inf" | "infinity" | "+infinity" => Some(f64::INFINITY),
        "-inf" | "-infinity" => Some(f64::NEG_INFINITY),
        _ if word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) => word.parse().ok(),
        _ => None,
    }
}

/// What is left of a line.
struct Rest<'a> {
    line: &'a str,
    text: &'a str,
}

impl<'a> Rest<'a> {
    fn wrong(&self, expected: &str) -> Error {
        let column = self.line.len() - self.text.len() + 1;
        Error::invalid(format!("expected {expected}, column={column}, line={:?}", self.line))
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.text.find(|c| !belongs(c)).unwrap_or(self.text.len());
        let (taken, rest) = self.text.split_at(end);
        self.text = rest;
        taken
    }

    fn word(&mut self) -> &'a str {
        self.take_while(|c| !matches!(c, ' ' | '\t' | '\r'))
    }

    fn skip_space(&mut self) {
        self.text = self.text.trim_start_matches([' ', '\t', '\r']);
    }

    fn skip(&mut self, c: char) -> bool {
        match self.text.strip_prefix(c) {
            Some(rest) => {
                self.text = rest;
                true
            }
            None => false,
        }
    }

    /// `a="b", "c.d"="e", "metric name"}`
    fn labels(&mut self, pairs: &mut Vec<(String, String)>) -> Result<()> {
        loop {
            self.skip_space();
            if self.skip('}') {
                return Ok(());
            }
            let is_quoted = self.text.starts_with('"');
            let name = if is_quoted {
                self.quoted()?
            } else {
                self.take_while(|c| c.is_ascii_alphanumeric() || c == '_').to_owned()
            };
            if name.is_empty() {
                return Err(self.wrong("the name of a label"));
            }
            self.skip_space();
            if self.skip('=') {
                self.skip_space();
                let value = self.quoted()?;
                pairs.push((name, value));
            } else if is_quoted {
                pairs.push((METRIC_NAME.to_owned(), name));
            } else {
                return Err(self.wrong("`=`"));
            }
            self.skip_space();
            if !self.skip(',') && !self.text.starts_with('}') {
                return Err(self.wrong("`,` or `}`"));
            }
        }
    }

    fn quoted(&mut self) -> Result<String> {
        if !self.skip('"') {
            return Err(self.wrong("a text in double quotes"));
        }
        let mut value = String::new();
        loop {
            value.push_str(self.take_while(|c| !matches!(c, '"' | '\\')));
            if self.skip('"') {
                return Ok(value);
            }
            if !self.skip('\\') {
                return Err(self.wrong("the end of a text in double quotes"));
            }
            let escaped = self.text.chars().next().and_then(|c| match c {
                '\\' | '"' => Some(c),
                'n' => Some('\n'),
                _ => None,
            });
            let escaped = escaped.ok_or_else(|| self.wrong("one of the escapes \\\\, \\\" and \\n"))?;
            value.push(escaped);
            self.text = self.text.get(1..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests;
