//! A script as commands.

use opendata_tsdb::Labels;
use regex_automata::meta::Regex;

use crate::series::{Item, items, labels, number, quoted};

pub(crate) enum Command {
    Clear,
    Load { step_ms: i64, series: Vec<(Labels, Vec<Item>)>, starts: Vec<Starts>, classic_too: bool },
    Eval(Box<Eval>),
}

/// By how many milliseconds each sample of a series began before it (where that is said).
pub(crate) type Starts = (Labels, Vec<Option<i64>>);

/// A command, or why it is none, with its line and how that begins.
pub(crate) struct Entry {
    pub(crate) line: usize,
    pub(crate) first: String,
    pub(crate) command: Result<Command, String>,
}

pub(crate) struct Eval {
    pub(crate) line: usize,
    pub(crate) query: String,
    pub(crate) time: Time,
    pub(crate) expect: Expect,
}

#[derive(Clone, Copy)]
pub(crate) enum Time {
    Instant(i64),
    Range { start: i64, end: i64, step: i64 },
}

/// What must come out.
#[derive(Default)]
pub(crate) struct Expect {
    pub(crate) fail: bool,
    pub(crate) fail_texts: Vec<Wanted>,
    pub(crate) ordered: bool,
    pub(crate) warn: bool,
    pub(crate) warn_texts: Vec<Wanted>,
    pub(crate) info: bool,
    pub(crate) info_texts: Vec<Wanted>,
    pub(crate) no_warn: bool,
    pub(crate) no_info: bool,
    pub(crate) text: Option<String>,
    pub(crate) scalar: Option<f64>,
    pub(crate) series: Vec<(Labels, Vec<Item>)>,
    /// The answer is a range vector with samples at these times.
    pub(crate) range_vector: Option<(i64, i64, i64)>,
}

/// A text that a message must be, or that it must match.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// Nothing in particular.
    Any,
    Text(String),
    Regex(Box<Regex>),
}

impl Wanted {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim_start_matches([':', ' ', '\t']);
        if let Some(text) = text.strip_prefix("msg:") {
            return Ok(Self::Text(text.trim().to_owned()));
        }
        match text.strip_prefix("regex:") {
            Some(pattern) => Self::regex(pattern.trim()),
            None if text.is_empty() => Ok(Self::Any),
            None => Err(format!("neither msg nor regex: {text}")),
        }
    }

    fn regex(pattern: &str) -> Result<Self, String> {
        Regex::new(pattern).map(|regex| Self::Regex(Box::new(regex))).map_err(|error| error.to_string())
    }

    pub(crate) fn matches(&self, message: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Text(text) => text == message,
            Self::Regex(regex) => regex.is_match(message),
        }
    }
}

/// Milliseconds of `1h30m`, or of seconds without a unit.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Ok((seconds * 1000.0).round() as i64);
    }
    let (sign, mut rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let mut total = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(format!("not a duration: {text}"))?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let length = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            "y" => 365 * 86_400_000,
            _ => return Err(format!("not a duration: {text}")),
        };
        total += number.parse::<i64>().map_err(|_| format!("not a duration: {text}"))? * length;
        rest = after;
    }
    Ok(sign * total)
}

/// `-1m`, `-1mx4` (five times), `-1m-30sx4` (each 30 s less), `_` and `_x4` (four unknown).
fn start_offsets(text: &str) -> Result<Vec<Option<i64>>, String> {
    let mut offsets = Vec::new();
    for token in text.split_whitespace() {
        let (head, more) = token.split_once('x').unwrap_or((token, "0"));
        let more = more.parse::<usize>().map_err(|_| format!("not a number of times: {token}"))?;
        if head == "_" {
            offsets.extend(std::iter::repeat_n(None, more.max(1)));
            continue;
        }
        let sign = head.char_indices().skip(1).find(|(_, c)| matches!(c, '+' | '-')).map(|(at, _)| at);
        let (first, step) = sign.map_or((head, "0"), |at| head.split_at(at));
        let (first, step) = (duration(first)?, duration(step.trim_start_matches('+'))?);
        offsets.extend((0_i64..).take(more + 1).map(|n| Some(first + n * step)));
    }
    Ok(offsets)
}

pub(crate) fn parse(text: &str) -> Vec<Entry> {
    let lines: Vec<&str> =
        text.lines().map(str::trim).map(|line| if line.starts_with('#') { "" } else { line }).collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let (line, first) = (at + 1, lines[at]);
        at += 1;
        if first.is_empty() {
            continue;
        }
        let mut block = Vec::new();
        while first != "clear" && at < lines.len() && !lines[at].is_empty() {
            block.push(lines[at]);
            at += 1;
        }
        commands.push(Entry { line, first: first.to_owned(), command: command(line, first, &block) });
    }
    commands
}

fn command(line: usize, first: &str, block: &[&str]) -> Result<Command, String> {
    if first == "clear" {
        return Ok(Command::Clear);
    }
    let (verb, rest) = word(first);
    if matches!(verb, "load" | "load_with_nhcb") {
        let (mut series, mut starts) = (Vec::new(), Vec::<Starts>::new());
        for line in block {
            let (labels, values) = labels(line)?;
            if let Some(offsets) = values.strip_prefix("@st") {
                starts.push((labels, start_offsets(offsets)?));
                continue;
            }
            let items = items(values)?;
            let wanted = starts.last().filter(|(of, _)| *of == labels).map(|(_, offsets)| offsets.len());
            if wanted.is_some_and(|wanted| wanted != items.len()) {
                return Err(format!("{} start times for {} samples", wanted.unwrap_or(0), items.len()));
            }
            series.push((labels, items));
        }
        let classic_too = verb == "load_with_nhcb";
        return Ok(Command::Load { step_ms: duration(rest)?, series, starts, classic_too });
    }
    let mut expect = Expect::default();
    match verb {
        "eval" => {}
        "eval_fail" => expect.fail = true,
        "eval_ordered" => expect.ordered = true,
        "eval_warn" => expect.warn = true,
        "eval_info" => expect.info = true,
        _ => return Err(format!("unknown command: {first}")),
    }
    let (time, query) = time(rest)?;
    for line in block {
        expectation(line, &mut expect)?;
    }
    Ok(Command::Eval(Box::new(Eval { line, query: query.to_owned(), time, expect })))
}

fn time(text: &str) -> Result<(Time, &str), String> {
    let (kind, rest) = word(text);
    match (kind, word(rest)) {
        ("instant", ("at", rest)) => {
            let (at, query) = word(rest);
            Ok((Time::Instant(duration(at)?), query))
        }
        // At the very beginning, where no time is given.
        ("instant", _) => Ok((Time::Instant(0), rest)),
        ("range", ("from", rest)) => {
            let (start, rest) = word(rest);
            let ("to", rest) = word(rest) else { return Err("`to` is missing".to_owned()) };
            let (end, rest) = word(rest);
            let ("step", rest) = word(rest) else { return Err("`step` is missing".to_owned()) };
            let (step, query) = word(rest);
            Ok((Time::Range { start: duration(start)?, end: duration(end)?, step: duration(step)? }, query))
        }
        _ => Err("neither instant nor range".to_owned()),
    }
}

/// The first word, and what stands behind it and any blanks.
fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

fn expectation(line: &str, expect: &mut Expect) -> Result<(), String> {
    if let ("expect", what) = word(line) {
        if let ("string", text) = word(what) {
            expect.text = Some(quoted(text)?.0);
        } else if let ("range", ("vector", range)) = (word(what).0, word(word(what).1)) {
            let (Time::Range { start, end, step }, _) = time(&format!("range {range}"))? else {
                return Err("not a range".to_owned());
            };
            expect.range_vector = Some((start, end, step));
        } else {
            let word = what.split([' ', '\t', ':']).next().unwrap_or_default();
            let wanted =
                if matches!(word, "fail" | "warn" | "info") { Some(Wanted::parse(&what[word.len()..])?) } else { None };
            match word {
                "fail" => {
                    expect.fail = true;
                    expect.fail_texts.extend(wanted);
                }
                "ordered" => expect.ordered = true,
                "warn" => {
                    expect.warn = true;
                    expect.warn_texts.extend(wanted);
                }
                "info" => {
                    expect.info = true;
                    expect.info_texts.extend(wanted);
                }
                "no_warn" => expect.no_warn = true,
                "no_info" => expect.no_info = true,
                _ => return Err(format!("unknown expectation: {line}")),
            }
        }
        return Ok(());
    }
    if let Some(text) = line.strip_prefix("expected_fail_message ") {
        expect.fail_texts.push(Wanted::Text(text.trim().to_owned()));
        return Ok(());
    }
    if let Some(pattern) = line.strip_prefix("expected_fail_regexp ") {
        expect.fail_texts.push(Wanted::regex(pattern.trim())?);
        return Ok(());
    }
    if let Ok(value) = number(line) {
        expect.scalar = Some(value);
        return Ok(());
    }
    let (labels, values) = labels(line)?;
    expect.series.push((labels, items(values)?));
    Ok(())
}
