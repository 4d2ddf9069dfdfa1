//! One line of an exposition.

use std::borrow::Cow;

use opendata_tsdb::{METRIC_NAME, is_legacy_label_name, is_legacy_metric_name};

use super::{Entry, Exemplar, Format, Kind, Sample, number};

/// What a line holds.
pub(super) enum Content<'a> {
    Entry(Entry<'a>),
    /// Nothing, or a comment.
    Nothing,
    /// `# EOF`
    End,
}

/// What is left of a line.
pub(super) struct Line<'a> {
    rest: &'a str,
    format: Format,
}

type Outcome<T> = Result<T, String>;

impl<'a> Line<'a> {
    pub(super) fn new(line: &'a str, format: Format) -> Self {
        let rest = match format {
            Format::Text => line.strip_suffix('\r').unwrap_or(line).trim_start_matches([' ', '\t']),
            Format::OpenMetrics => line,
        };
        Self { rest, format }
    }

    pub(super) fn entry(&mut self) -> Outcome<Content<'a>> {
        if self.rest.is_empty() {
            return match self.format {
                Format::Text => Ok(Content::Nothing),
                Format::OpenMetrics => Err("an empty line".to_owned()),
            };
        }
        match self.rest.strip_prefix('#') {
            Some(rest) => {
                self.rest = rest;
                self.comment()
            }
            None => Ok(Content::Entry(Entry::Sample(self.sample()?))),
        }
    }

    fn comment(&mut self) -> Outcome<Content<'a>> {
        if self.format == Format::OpenMetrics && self.rest == " EOF" {
            return Ok(Content::End);
        }
        let spaced = self.rest.starts_with([' ', '\t']);
        self.space();
        let keyword = match self.rest {
            rest if !spaced => rest.get(..0),
            rest => rest.find([' ', '\t']).and_then(|end| rest.get(..end)),
        };
        let keyword = keyword.filter(|word| matches!(*word, "TYPE" | "HELP" | "UNIT")).unwrap_or_default();
        if keyword.is_empty() || keyword == "UNIT" && self.format == Format::Text {
            return match self.format {
                Format::Text => Ok(Content::Nothing),
                Format::OpenMetrics => {
                    Err("a comment that is none of `# TYPE`, `# HELP`, `# UNIT`, `# EOF`".to_owned())
                }
            };
        }
        self.rest = self.rest.get(keyword.len()..).unwrap_or_default();
        self.space();
        let metric = self.metric_name()?;
        let is_spaced = self.rest.is_empty() || self.rest.starts_with([' ', '\t']);
        if !is_spaced {
            return Err(format!("expected a space behind the metric's name, found {:?}", self.first()));
        }
        self.one_space();
        let rest = self.rest;
        Ok(Content::Entry(match keyword {
            "TYPE" => {
                let word = rest.trim_end_matches([' ', '\t']);
                let kind =
                    Kind::of(word, self.format).ok_or_else(|| format!("unknown type of a metric, type={word:?}"))?;
                Entry::Kind { metric, kind }
            }
            "HELP" => Entry::Help { metric, text: unescaped(rest, self.format == Format::OpenMetrics)? },
            _ => Entry::Unit { metric, unit: rest },
        }))
    }

    /// The name of a metric, plain or in quotes.
    fn metric_name(&mut self) -> Outcome<Cow<'a, str>> {
        if self.rest.starts_with('"') {
            let end = quoted_end(self.rest)?;
            let (text, rest) = self.rest.split_at(end);
            self.rest = rest;
            return unquoted(text);
        }
        let end = self.rest.find([' ', '\t']).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        if !is_legacy_metric_name(name) {
            return Err(format!("not a metric name, name={name:?}"));
        }
        self.rest = rest;
        Ok(Cow::Borrowed(name))
    }

    fn sample(&mut self) -> Outcome<Sample<'a>> {
        let end = series_end(self.rest)?;
        let (series, rest) = self.rest.split_at(end);
        self.rest = rest;
        let series = series.trim_end_matches([' ', '\t']);
        self.between(series.ends_with('}'))?;
        let value = self.value()?;
        let time_ms = self.time()?;
        let exemplar = match self.format {
            Format::OpenMetrics => self.exemplar()?,
            Format::Text => None,
        };
        if self.format == Format::Text {
            self.space();
        }
        match self.first() {
            None => Ok(Sample { series, value, time_ms, exemplar }),
            Some(found) => Err(format!("expected the end of the line, found {found:?}")),
        }
    }

    /// What stands between a series and its value. Braces need no space behind them in the text format.
    fn between(&mut self, after_brace: bool) -> Outcome<()> {
        if self.rest.starts_with([' ', '\t']) {
            self.one_space();
            return Ok(());
        }
        match self.format {
            Format::Text if after_brace => Ok(()),
            _ => Err("expected a space and a value behind the series".to_owned()),
        }
    }

    fn value(&mut self) -> Outcome<f64> {
        let word = self.word();
        number::value(word).ok_or_else(|| format!("not a value, value={word:?}"))
    }

    /// The time behind a value, in milliseconds.
    fn time(&mut self) -> Outcome<Option<i64>> {
        if !self.rest.starts_with([' ', '\t']) {
            return Ok(None);
        }
        let before = self.rest;
        self.one_space();
        if self.rest.is_empty() || self.rest.starts_with('#') {
            self.rest = before;
            return Ok(None);
        }
        let word = self.word();
        let time = match self.format {
            Format::Text => word.parse().ok(),
            Format::OpenMetrics => number::seconds(word),
        };
        time.map(Some).ok_or_else(|| format!("not a time, time={word:?}"))
    }

    fn exemplar(&mut self) -> Outcome<Option<Exemplar<'a>>> {
        let Some(rest) = self.rest.strip_prefix(" # ") else { return Ok(None) };
        if !rest.starts_with('{') {
            return Err("expected the labels of an exemplar".to_owned());
        }
        let (labels, rest) = rest.split_at(series_end(rest)?);
        self.rest = rest;
        self.between(false)?;
        let value = self.value()?;
        let time_ms = self.time()?;
        Ok(Some(Exemplar { labels, value, time_ms }))
    }

    fn word(&mut self) -> &'a str {
        let end = self.rest.find([' ', '\t']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    /// The space between two parts: OpenMetrics has one, the text format any.
    fn one_space(&mut self) {
        match self.format {
            Format::Text => self.space(),
            Format::OpenMetrics => self.rest = self.rest.strip_prefix(' ').unwrap_or(self.rest),
        }
    }

    fn first(&self) -> Option<char> {
        self.rest.chars().next()
    }
}

/// Where a series ends: behind its labels, or behind its name.
fn series_end(text: &str) -> Outcome<usize> {
    let bytes = text.as_bytes();
    let name = bytes.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'{')).unwrap_or(bytes.len());
    let open = name + bytes.iter().skip(name).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    if bytes.get(open) != Some(&b'{') {
        return match name {
            0 => Err("expected the name of a metric".to_owned()),
            name => Ok(name),
        };
    }
    let mut at = open + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at += quoted_end(text.get(at..).unwrap_or_default())?,
            b'}' => return Ok(at + 1),
            _ => at += 1,
        }
    }
    Err("the labels have no end".to_owned())
}

/// Where a text in quotes ends, behind the second quote.
fn quoted_end(text: &str) -> Outcome<usize> {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return Ok(at + 1),
            _ => {}
        }
    }
    Err("a text in quotes has no end".to_owned())
}

/// A text without its quotes and escapes.
fn unquoted(quoted: &str) -> Outcome<Cow<'_, str>> {
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    unescaped(inner, true)
}

/// A text without its escapes: `\\`, `\n`, and `\"` where quotes can be escaped.
fn unescaped(text: &str, has_quotes: bool) -> Outcome<Cow<'_, str>> {
    if !text.contains('\\') {
        return Ok(Cow::Borrowed(text));
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => plain.push('\n'),
            Some('\\') => plain.push('\\'),
            Some('"') if has_quotes => plain.push('"'),
            // The reference leaves what it does not know as it is.
            Some(other) => plain.extend(['\\', other]),
            None => return Err("a backslash at the end of a text".to_owned()),
        }
    }
    Ok(Cow::Owned(plain))
}

/// Names and values of a series' labels, the metric's name among them, in the order they are written in. With
/// `needs_name`, a series without the name of a metric is an error.
pub(crate) fn labels(series: &str, needs_name: bool) -> Outcome<Vec<(Cow<'_, str>, Cow<'_, str>)>> {
    let open = series.find('{').unwrap_or(series.len());
    let (name, rest) = series.split_at(open);
    let name = name.trim_end_matches([' ', '\t']);
    let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
    if !name.is_empty() {
        if !is_legacy_metric_name(name) {
            return Err(format!("not a metric name, name={name:?}"));
        }
        pairs.push((Cow::Borrowed(METRIC_NAME), Cow::Borrowed(name)));
    }
    let mut rest = rest.strip_prefix('{').unwrap_or_default().trim_start_matches([' ', '\t']);
    while !rest.is_empty() && !rest.starts_with('}') {
        rest = pair(rest, &mut pairs)?.trim_start_matches([' ', '\t']);
        match rest.strip_prefix(',') {
            Some(more) => rest = more.trim_start_matches([' ', '\t']),
            None if rest.starts_with('}') => {}
            None => return Err("expected `,` or `}` behind a label".to_owned()),
        }
    }
    if needs_name && !pairs.iter().any(|(name, value)| name == METRIC_NAME && !value.is_empty()) {
        return Err("a series without the name of a metric".to_owned());
    }
    Ok(pairs)
}

/// One label, or the name of the metric in quotes; what is left behind it.
fn pair<'a>(text: &'a str, pairs: &mut Vec<(Cow<'a, str>, Cow<'a, str>)>) -> Outcome<&'a str> {
    let is_quoted = text.starts_with('"');
    let end = match is_quoted {
        true => quoted_end(text)?,
        false => text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len()),
    };
    let (name, rest) = text.split_at(end);
    let name = match is_quoted {
        true => unquoted(name)?,
        false if is_legacy_label_name(name) => Cow::Borrowed(name),
        false => return Err(format!("not the name of a label, name={name:?}")),
    };
    let rest = rest.trim_start_matches([' ', '\t']);
    let Some(rest) = rest.strip_prefix('=') else {
        if !is_quoted {
            return Err(format!("expected `=` behind the name of a label, name={name:?}"));
        }
        pairs.push((Cow::Borrowed(METRIC_NAME), name));
        return Ok(rest);
    };
    let rest = rest.trim_start_matches([' ', '\t']);
    if !rest.starts_with('"') {
        return Err(format!("expected a value in quotes, label={name:?}"));
    }
    if name.is_empty() {
        return Err("a label's name is empty".to_owned());
    }
    let (value, rest) = rest.split_at(quoted_end(rest)?);
    pairs.push((name, unquoted(value)?));
    Ok(rest)
}
