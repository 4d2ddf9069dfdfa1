//! The notation of series: `name{a="b"} 1 2+3x4 _ stale {{...}}`.

use opendata_tsdb::promql::STALE_NAN;
use opendata_tsdb::{Histogram, Labels};

/// One value of a series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item {
    Float(f64),
    Gap,
    Histogram(Histogram),
}

/// Takes the labels that a line begins with.
pub(crate) fn labels(line: &str) -> Result<(Labels, &str), String> {
    let name_end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(line.len());
    let (name, mut rest) = line.split_at(name_end);
    let mut pairs = Vec::new();
    if !name.is_empty() {
        pairs.push(("__name__".to_owned(), name.to_owned()));
    }
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside.trim_start();
        while !rest.starts_with('}') {
            let (label, after) = if rest.starts_with('"') {
                quoted(rest)?
            } else {
                let end = rest.find(['=', ' ', '}']).ok_or("a label has no value")?;
                (rest[..end].to_owned(), &rest[end..])
            };
            let after = after.trim_start();
            if let Some(value) = after.strip_prefix('=') {
                let (value, after) = quoted(value.trim_start())?;
                pairs.push((label, value));
                rest = after.trim_start();
            } else {
                pairs.push(("__name__".to_owned(), label));
                rest = after;
            }
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        }
        rest = &rest[1..];
    }
    let labels = Labels::new(pairs).map_err(|error| error.to_string())?;
    Ok((labels, rest))
}

/// Takes a string in any of the three quotes.
pub(crate) fn quoted(text: &str) -> Result<(String, &str), String> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\'' | '`')).ok_or("a string is missing")?;
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((out, &text[at + 1..])),
            '\\' if quote != '`' => match chars.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, 't')) => out.push('\t'),
                Some((_, 'r')) => out.push('\r'),
                Some((_, 'a')) => out.push('\u{7}'),
                Some((_, 'b')) => out.push('\u{8}'),
                Some((_, 'f')) => out.push('\u{c}'),
                Some((_, 'v')) => out.push('\u{b}'),
                Some((_, c @ ('x' | 'u' | 'U'))) => {
                    let digits = match c {
                        'x' => 2,
                        'u' => 4,
                        _ => 8,
                    };
                    let code: String = chars.by_ref().take(digits).map(|(_, digit)| digit).collect();
                    let code = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
                    out.push(code.ok_or(format!("not a character: {text}"))?);
                }
                Some((_, c)) => out.push(c),
                None => break,
            },
            c => out.push(c),
        }
    }
    Err(format!("a string does not end: {text}"))
}

/// All values of a line.
pub(crate) fn items(text: &str) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        // Inside of braces, blanks are part of a histogram.
        let mut depth = 0_usize;
        let end = rest.char_indices().find(|(_, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && c.is_whitespace()
        });
        let (token, after) = rest.split_at(end.map_or(rest.len(), |(at, _)| at));
        item(token, &mut items)?;
        rest = after.trim_start();
    }
    Ok(items)
}

fn item(token: &str, items: &mut Vec<Item>) -> Result<(), String> {
    let repeat = token.rfind('x').and_then(|at| Some((&token[..at], token[at + 1..].parse::<usize>().ok()?)));
    if token.starts_with("{{") {
        return histograms(token, items);
    }
    match (token, repeat) {
        ("_", _) => items.push(Item::Gap),
        ("stale", _) => items.push(Item::Float(STALE_NAN)),
        (_, Some(("_", times))) => items.extend(std::iter::repeat_n(Item::Gap, times)),
        (_, Some(("stale", times))) => items.extend(std::iter::repeat_n(Item::Float(STALE_NAN), times + 1)),
        (_, Some((head, times))) => {
            let sign = head
                .char_indices()
                .skip(1)
                .find(|(at, c)| matches!(c, '+' | '-') && !matches!(head.as_bytes().get(at - 1), Some(b'e' | b'E')));
            let (first, step) = match sign {
                Some((at, _)) => (number(&head[..at])?, number(&head[at..])?),
                None => (number(head)?, 0.0),
            };
            let mut value = first;
            for _ in 0..=times {
                items.push(Item::Float(value));
                value += step;
            }
        }
        (token, None) => items.push(Item::Float(number(token)?)),
    }
    Ok(())
}

/// `{{..}}`, `{{..}}x3` (four times the same), `{{..}}+{{..}}x3` (each one more).
fn histograms(token: &str, items: &mut Vec<Item>) -> Result<(), String> {
    let (first, mut rest) = braced(token)?;
    let mut step = None;
    if rest.starts_with(['+', '-']) {
        let (mut by, after) = braced(&rest[1..])?;
        if rest.starts_with('-') {
            by.scale(-1.0);
        }
        by.counter_reset = first.counter_reset;
        step = Some(by);
        rest = after;
    }
    let times = match rest.strip_prefix('x') {
        Some(times) => times.parse::<usize>().map_err(|_| format!("not a number of times: {times}"))?,
        None if rest.is_empty() => 0,
        None => return Err(format!("unexpected after a histogram: {rest}")),
    };
    let mut histogram = first;
    for _ in 0..=times {
        items.push(Item::Histogram(histogram.clone()));
        if let Some(step) = &step {
            histogram.add(step).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

fn braced(text: &str) -> Result<(Histogram, &str), String> {
    let inside = text.strip_prefix("{{").ok_or("a histogram is missing")?;
    let (inside, rest) = inside.split_once("}}").ok_or("a histogram does not end")?;
    Ok((crate::histogram::parse(inside)?, rest))
}

/// A number as scripts write it.
pub(crate) fn number(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let plain = text.replace('_', "");
    let (sign, digits) = plain.strip_prefix('-').map_or((1.0, plain.as_str()), |digits| (-1.0, digits));
    if let Some(hexadecimal) = digits.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok()) {
        return Ok(sign * hexadecimal as f64);
    }
    plain.parse().map_err(|_| format!("not a number: {text}"))
}
