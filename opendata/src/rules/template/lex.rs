//! Words of templates.

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    Text(String),
    /// What stands between two braces: its words, and its line.
    Action(Vec<Word>, usize),
}

/// A word of an action.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    /// `if`, `humanize`, `true`
    Name(String),
    /// `.Labels.job`: the names after the dots; none for `.` alone.
    Field(Vec<String>),
    /// `$labels.job`: the variable with its `$`, and the fields.
    Variable(String, Vec<String>),
    Text(String),
    Int(i64),
    Float(f64),
    Open,
    /// `)`, and the fields behind it.
    Close(Vec<String>),
    Pipe,
    Comma,
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

/// Cuts a template into pieces.
pub(super) fn pieces(template: &str) -> Result<Vec<Piece>, String> {
    let (mut pieces, mut rest, mut line, mut trims) = (Vec::new(), template, 1, false);
    loop {
        let (text, more) = match rest.find("{{") {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (begin, opens_trim) = match more.strip_prefix("{{-").filter(|more| more.starts_with(char::is_whitespace)) {
            Some(more) => (more, true),
            None => (more.strip_prefix("{{").unwrap_or_default(), false),
        };
        line += text.matches('\n').count();
        let mut shown = if trims { text.trim_start() } else { text };
        if opens_trim {
            shown = shown.trim_end();
        }
        if !shown.is_empty() {
            pieces.push(Piece::Text(shown.to_owned()));
        }
        if more.is_empty() {
            return Ok(pieces);
        }
        let at = |what: String| format!("line {line}: {what}");
        let (words, more, closes_trim) = action(begin).map_err(at)?;
        if !words.is_empty() {
            pieces.push(Piece::Action(words, line));
        }
        line += begin.get(..begin.len() - more.len()).unwrap_or_default().matches('\n').count();
        (rest, trims) = (more, closes_trim);
    }
}

type Action<'a> = (Vec<Word>, &'a str, bool);

/// The words up to the closing braces, what stands behind them, and whether space is to be taken away there.
fn action(text: &str) -> Result<Action<'_>, String> {
    let mut rest = text;
    if let Some(comment) = rest.trim_start().strip_prefix("/*") {
        let end = comment.find("*/").ok_or("a comment has no end")?;
        let after = comment.get(end + 2..).unwrap_or_default();
        return match closed(after) {
            Some((more, trims)) => Ok((Vec::new(), more, trims)),
            None => Err("something stands behind a comment".to_owned()),
        };
    }
    let mut words = Vec::new();
    loop {
        if let Some((more, trims)) = closed(rest) {
            if words.is_empty() {
                return Err("an action is empty".to_owned());
            }
            return Ok((words, more, trims));
        }
        rest = rest.trim_start();
        if rest.is_empty() {
            return Err("an action has no end".to_owned());
        }
        let (word, more) = word(rest)?;
        words.push(word);
        rest = more;
    }
}

/// What stands behind the closing braces, if they are next.
fn closed(text: &str) -> Option<(&str, bool)> {
    let spaced = text.trim_start();
    if spaced.len() < text.len()
        && let Some(more) = spaced.strip_prefix("-}}")
    {
        return Some((more, true));
    }
    Some((spaced.strip_prefix("}}")?, false))
}

fn word(text: &str) -> Result<(Word, &str), String> {
    let first = text.chars().next().unwrap_or_default();
    let behind = |count: usize| text.get(count..).unwrap_or_default();
    Ok(match first {
        '(' => (Word::Open, behind(1)),
        ')' => {
            let (fields, more) = fields(behind(1));
            (Word::Close(fields), more)
        }
        '|' => (Word::Pipe, behind(1)),
        ',' => (Word::Comma, behind(1)),
        ':' if text.starts_with(":=") => (Word::Declare, behind(2)),
        '=' => (Word::Assign, behind(1)),
        '.' if !behind(1).starts_with(|c: char| c.is_ascii_digit()) => {
            let (fields, more) = fields(text);
            if fields.is_empty() { (Word::Field(fields), behind(1)) } else { (Word::Field(fields), more) }
        }
        '$' => {
            let (name, more) = name(behind(1));
            let (fields, more) = fields(more);
            (Word::Variable(format!("${name}"), fields), more)
        }
        '"' | '`' | '\'' => quoted(text, first)?,
        c if c.is_ascii_digit() || matches!(c, '+' | '-' | '.') => number(text)?,
        c if c.is_alphabetic() || c == '_' => {
            let (name, more) = name(text);
            (Word::Name(name.to_owned()), more)
        }
        c => return Err(format!("unexpected character {c:?}")),
    })
}

fn name(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len()))
}

/// `.a.b`: the names, and what stands behind them.
fn fields(mut text: &str) -> (Vec<String>, &str) {
    let mut fields = Vec::new();
    while let Some(more) = text.strip_prefix('.') {
        let (field, more) = name(more);
        if field.is_empty() {
            break;
        }
        fields.push(field.to_owned());
        text = more;
    }
    (fields, text)
}

fn number(text: &str) -> Result<(Word, &str), String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_');
    let (word, more) = text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()));
    let plain = word.replace('_', "");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let radix = |prefix: &str, radix| i64::from_str_radix(digits.strip_prefix(prefix)?, radix).ok();
    let whole = radix("0x", 16).or_else(|| radix("0b", 2)).or_else(|| radix("0o", 8)).or_else(|| digits.parse().ok());
    if let Some(whole) = whole {
        return Ok((Word::Int(sign * whole), more));
    }
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    match plain.parse::<f64>() {
        Ok(number) if is_number => Ok((Word::Float(number), more)),
        _ => Err(format!("not a number, number={word}")),
    }
}

fn quoted(text: &str, quote: char) -> Result<(Word, &str), String> {
    let inner = text.get(1..).unwrap_or_default();
    if quote == '`' {
        let end = inner.find('`').ok_or("a text in quotes has no end")?;
        return Ok((
            Word::Text(inner.get(..end).unwrap_or_default().to_owned()),
            inner.get(end + 1..).unwrap_or_default(),
        ));
    }
    let mut value = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\n' => break,
            '\\' => value.push(escaped(&mut chars)?),
            c if c == quote => {
                let more = inner.get(at + 1..).unwrap_or_default();
                if quote == '"' {
                    return Ok((Word::Text(value), more));
                }
                let mut chars = value.chars();
                return match (chars.next(), chars.next()) {
                    (Some(only), None) => Ok((Word::Int(i64::from(u32::from(only))), more)),
                    _ => Err("a character in quotes is not one".to_owned()),
                };
            }
            c => value.push(c),
        }
    }
    Err("a text in quotes has no end".to_owned())
}

fn escaped(chars: &mut std::str::CharIndices<'_>) -> Result<char, String> {
    let mut next = || chars.next().map(|(_, c)| c);
    let c = next().ok_or("a text in quotes has no end")?;
    let digits = match c {
        'n' => return Ok('\n'),
        't' => return Ok('\t'),
        'r' => return Ok('\r'),
        '\\' | '"' | '\'' => return Ok(c),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => return Err(format!("unknown escape \\{c}")),
    };
    let mut code = 0;
    for _ in 0..digits {
        let digit = next().and_then(|c| c.to_digit(16)).ok_or("an escape lacks digits")?;
        code = code << 4 | digit;
    }
    char::from_u32(code).ok_or_else(|| "an escape is no character".to_owned())
}
