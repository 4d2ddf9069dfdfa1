//! The functions of templates: those of Go, and those of Prometheus.

use std::rc::Rc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use regex_automata::meta::Regex;

use super::value::Value;
use super::{Scope, format};
use crate::times::Span;

mod compare;
mod print;

const NAMES: &[&str] = &[
    "and",
    "or",
    "not",
    "len",
    "index",
    "slice",
    "print",
    "printf",
    "println",
    "html",
    "js",
    "urlquery",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "query",
    "first",
    "label",
    "value",
    "strvalue",
    "sortByLabel",
    "args",
    "tmpl",
    "title",
    "toUpper",
    "toLower",
    "match",
    "reReplaceAll",
    "graphLink",
    "tableLink",
    "stripPort",
    "stripDomain",
    "parseDuration",
    "parseDurationTime",
    "humanize",
    "humanize1024",
    "humanizeDuration",
    "humanizePercentage",
    "humanizeTimestamp",
    "toTime",
    "toDuration",
    "now",
    "pathPrefix",
    "externalURL",
    "safeHtml",
    "urlQueryEscape",
];

/// What is left as it is in a part of a URL.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

pub(super) fn is_known(name: &str) -> bool {
    NAMES.contains(&name)
}

type Outcome = Result<Value, String>;

/// The value of a function. `and`, `or` and `tmpl` are not here: they need more than values.
pub(super) fn call(name: &str, args: &[Value], scope: &Scope<'_>) -> Outcome {
    match (name, args) {
        ("eq" | "ne" | "lt" | "le" | "gt" | "ge", args) => compare::call(name, args).map(Value::Bool),
        ("print" | "println" | "printf", args) => print::call(name, args),
        ("not", [value]) => Ok(Value::Bool(!value.is_true())),
        ("len", [value]) => len(value),
        ("index", [of, keys @ ..]) => keys.iter().try_fold(of.clone(), |of, key| index(&of, key)),
        ("slice", [of, bounds @ ..]) => slice(of, bounds),
        ("html", args) => Ok(Value::text(escape_html(&joined(args)))),
        ("js", args) => Ok(Value::text(escape_js(&joined(args)))),
        ("urlquery", args) => Ok(Value::text(escape_url(&joined(args)))),
        ("args", args) => Ok(Value::Map(Rc::new(
            args.iter().enumerate().map(|(at, value)| (format!("arg{at}"), value.clone())).collect(),
        ))),
        ("now", []) => Ok(Value::Float(seconds(scope.now.0))),
        ("externalURL", []) => Ok(Value::text(scope.external_url)),
        ("pathPrefix", []) => Ok(Value::text(path_of(scope.external_url))),
        ("query", [query]) => {
            let samples = scope.ask.query(&text(query)?).map_err(|error| error.message().to_owned())?;
            Ok(Value::list(samples.iter().map(|(labels, value)| Value::sample(labels, *value)).collect()))
        }
        ("first", [Value::List(list)]) => {
            list.first().cloned().ok_or_else(|| "first() called on vector with no elements".to_owned())
        }
        ("label", [name, sample]) => Ok(label(&text(name)?, sample)),
        ("strvalue", [sample]) => Ok(label("__value__", sample)),
        ("value", [sample]) => index(sample, &Value::text("Value")),
        ("sortByLabel", [name, Value::List(list)]) => {
            let name = text(name)?;
            let mut sorted: Vec<Value> = list.to_vec();
            sorted.sort_by_key(|sample| label(&name, sample).show());
            Ok(Value::list(sorted))
        }
        ("match", [pattern, of]) => Ok(Value::Bool(regex(&text(pattern)?)?.is_match(text(of)?.as_bytes()))),
        ("reReplaceAll", [pattern, replacement, of]) => {
            Ok(Value::text(replace_all(&regex(&text(pattern)?)?, &text(replacement)?, &text(of)?)))
        }
        ("parseDuration", [of]) => Ok(Value::Float(duration(&text(of)?)?.as_secs_f64())),
        ("parseDurationTime", [of]) => Ok(Value::text(go_duration(duration(&text(of)?)?.as_secs_f64()))),
        ("toDuration", [of]) => Ok(Value::text(go_duration(number(of)?))),
        ("toTime", [of]) => Ok(time(number(of)?).map_or_else(|| Value::text(format::humanize(f64::NAN)), Value::Time)),
        ("humanizeTimestamp", [of]) => {
            let of = number(of)?;
            Ok(time(of)
                .map_or_else(|| Value::text(format::general(of, Some(4))), |ms| Value::text(crate::times::show_go(ms))))
        }
        (name, [of]) => single(name, of),
        (name, args) => Err(format!("wrong number of arguments, function={name}, arguments={}", args.len())),
    }
}

/// Functions of one value that need nothing else.
fn single(name: &str, of: &Value) -> Outcome {
    Ok(Value::text(match name {
        "humanize" => format::humanize(number(of)?),
        "humanize1024" => format::humanize_1024(number(of)?),
        "humanizeDuration" => format::humanize_duration(number(of)?),
        "humanizePercentage" => format::humanize_percentage(number(of)?),
        "title" => title(&text(of)?),
        "toUpper" => text(of)?.to_uppercase(),
        "toLower" => text(of)?.to_lowercase(),
        "graphLink" => format!("/graph?g0.expr={}&g0.tab=0", escape_url(&text(of)?)),
        "tableLink" => format!("/graph?g0.expr={}&g0.tab=1", escape_url(&text(of)?)),
        "stripPort" => strip_port(&text(of)?),
        "stripDomain" => strip_domain(&text(of)?),
        "safeHtml" => text(of)?,
        "urlQueryEscape" => escape_url(&text(of)?),
        name => return Err(format!("wrong arguments, function={name}, argument={}", of.kind())),
    }))
}

pub(super) fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) => Ok(text.to_string()),
        other => Err(format!("expected a text, found {}", other.kind())),
    }
}

/// A number, also one that is written as a text.
#[expect(clippy::cast_precision_loss, reason = "templates count in floats")]
fn number(value: &Value) -> Result<f64, String> {
    match value {
        Value::Float(number) => Ok(*number),
        Value::Int(number) => Ok(*number as f64),
        Value::Text(text) => text.parse().map_err(|_| format!("not a number, text={text:?}")),
        other => Err(format!("expected a number, found {}", other.kind())),
    }
}

#[expect(clippy::cast_precision_loss, reason = "times are shown in seconds")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// Seconds as milliseconds, if they are a time.
fn time(seconds: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "its range is checked")]
    (seconds.is_finite() && seconds.abs() < 1e12).then(|| (seconds * 1000.0).round() as i64)
}

fn len(value: &Value) -> Outcome {
    let len = match value {
        Value::Text(text) => text.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.len(),
        other => return Err(format!("nothing has a length in {}", other.kind())),
    };
    Ok(Value::Int(i64::try_from(len).unwrap_or(i64::MAX)))
}

/// A field of a map, or a place of a list. What a map does not have is empty.
pub(super) fn index(of: &Value, key: &Value) -> Outcome {
    match (of, key) {
        (Value::Map(map), Value::Text(key)) => Ok(map.get(key.as_ref()).cloned().unwrap_or_else(|| Value::text(""))),
        (Value::List(list), Value::Int(at)) => {
            let found = usize::try_from(*at).ok().and_then(|at| list.get(at)).cloned();
            found.ok_or_else(|| format!("out of range, index={at}, length={}", list.len()))
        }
        (of, key) => Err(format!("{} has no place for {}", of.kind(), key.kind())),
    }
}

fn slice(of: &Value, bounds: &[Value]) -> Outcome {
    let bound = |at: usize, default: usize| match bounds.get(at) {
        None => Ok(default),
        Some(Value::Int(bound)) => usize::try_from(*bound).map_err(|_| format!("out of range, index={bound}")),
        Some(other) => Err(format!("expected an integer, found {}", other.kind())),
    };
    let outside = || "out of range of what is sliced".to_owned();
    match of {
        Value::Text(text) => {
            let part = text.get(bound(0, 0)?..bound(1, text.len())?).ok_or_else(outside)?;
            Ok(Value::text(part))
        }
        Value::List(list) => {
            let part = list.get(bound(0, 0)?..bound(1, list.len())?).ok_or_else(outside)?;
            Ok(Value::list(part.to_vec()))
        }
        other => Err(format!("{} cannot be sliced", other.kind())),
    }
}

fn label(name: &str, sample: &Value) -> Value {
    let labels = index(sample, &Value::text("Labels"));
    labels.and_then(|labels| index(&labels, &Value::text(name))).unwrap_or_else(|_| Value::text(""))
}

fn regex(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| format!("not a regular expression: {error}, expression={pattern:?}"))
}

fn replace_all(regex: &Regex, replacement: &str, of: &str) -> String {
    let (mut text, mut last) = (String::new(), 0);
    for captures in regex.captures_iter(of) {
        let Some(found) = captures.get_match() else { continue };
        text.push_str(of.get(last..found.start()).unwrap_or_default());
        captures.interpolate_string_into(of, replacement, &mut text);
        last = found.end();
    }
    text.push_str(of.get(last..).unwrap_or_default());
    text
}

fn duration(text: &str) -> Result<Span, String> {
    Span::parse(text).ok_or_else(|| format!("not a duration, such as 15s or 1h30m, duration={text:?}"))
}

/// A duration as Go prints it: `1h30m0s`.
fn go_duration(seconds: f64) -> String {
    if seconds == 0.0 {
        return "0s".to_owned();
    }
    if seconds.abs() < 1.0 {
        return format::humanize_duration(seconds);
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let all = seconds.abs();
    let (hours, minutes, rest) = ((all / 3600.0).trunc(), (all / 60.0).trunc() % 60.0, all % 60.0);
    if hours > 0.0 {
        format!("{sign}{hours}h{minutes}m{rest}s")
    } else if minutes > 0.0 {
        format!("{sign}{minutes}m{rest}s")
    } else {
        format!("{sign}{rest}s")
    }
}

fn title(text: &str) -> String {
    let mut is_first = true;
    let mut titled = String::with_capacity(text.len());
    for c in text.chars() {
        if is_first {
            titled.extend(c.to_uppercase());
        } else {
            titled.push(c);
        }
        is_first = !(c.is_alphanumeric() || matches!(c, '_' | '\''));
    }
    titled
}

fn strip_port(host: &str) -> String {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => (name, port),
        _ => return host.to_owned(),
    };
    let is_bare_v6 = name.contains(':') && !name.starts_with('[');
    if is_bare_v6 || port.is_empty() { host.to_owned() } else { name.trim_matches(['[', ']']).to_owned() }
}

fn strip_domain(host: &str) -> String {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) => (name, format!(":{port}")),
        None => (host, String::new()),
    };
    if name.parse::<std::net::IpAddr>().is_ok() || name.starts_with('[') {
        return host.to_owned();
    }
    format!("{}{port}", name.split('.').next().unwrap_or_default())
}

fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default()
}

fn joined(args: &[Value]) -> String {
    print::plain(args)
}

fn escape_url(text: &str) -> String {
    utf8_percent_encode(text, QUERY).to_string().replace("%20", "+")
}

fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn escape_js(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '\'' => escaped.push_str("\\'"),
            '"' => escaped.push_str("\\\""),
            '<' | '>' | '&' | '=' => escaped.push_str(&format!("\\u{:04X}", u32::from(c))),
            c if c.is_control() => escaped.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => escaped.push(c),
        }
    }
    escaped
}
