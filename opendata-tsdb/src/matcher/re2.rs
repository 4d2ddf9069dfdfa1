//! RE2's syntax written in the syntax of Rust's `regex-syntax`.
//!
//! The two differ in a few spots, and each would be a silent difference in what a selector finds: `\d \w \s \b` are ASCII in RE2
//! and Unicode here; `[`, `&&`, `--` and `~~` in a class are letters there and operators here; `{` without a count is a
//! letter there and an error here; `\Q...\E` quotes there. Reference: <https://github.com/google/re2/wiki/Syntax>.

use std::iter::Peekable;
use std::str::Chars;

/// The same expression for `regex-syntax`, or what is wrong with it.
pub(super) fn translate(source: &str) -> Result<String, String> {
    let mut out = String::with_capacity(source.len() + 8);
    let mut rest = source.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => escape(&mut rest, &mut out)?,
            '[' => class(&mut rest, &mut out)?,
            '{' if !is_count(rest.clone()) => out.push_str(r"\{"),
            '{' => {
                out.push('{');
                out.extend(rest.by_ref().take_while(|c| *c != '}'));
                out.push('}');
            }
            '}' => out.push_str(r"\}"),
            '(' => {
                out.push('(');
                flags(&rest)?;
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

/// After `(`: the flags of RE2 are `i m s U`; `regex-syntax` knows more, which RE2 refuses.
fn flags(rest: &Peekable<Chars<'_>>) -> Result<(), String> {
    let mut rest = rest.clone();
    if rest.next() != Some('?') {
        return Ok(());
    }
    match rest.find(|c| !matches!(c, 'i' | 'm' | 's' | 'U' | '-')) {
        Some(c @ ('u' | 'x' | 'R')) => Err(format!("unknown flag `{c}`")),
        Some('=' | '!') => Err("look-around is not supported".to_owned()),
        _ => Ok(()),
    }
}

/// Whether `n}`, `n,}` or `n,m}` follows.
fn is_count(mut rest: Peekable<Chars<'_>>) -> bool {
    let mut digits = 0;
    while rest.next_if(char::is_ascii_digit).is_some() {
        digits += 1;
    }
    if digits == 0 {
        return false;
    }
    if rest.next_if_eq(&',').is_some() {
        while rest.next_if(char::is_ascii_digit).is_some() {}
    }
    rest.next() == Some('}')
}

fn perl_class(letter: char) -> Option<&'static str> {
    match letter.to_ascii_lowercase() {
        'd' => Some("0-9"),
        'w' => Some("0-9A-Za-z_"),
        's' => Some(r"\t\n\f\r "),
        _ => None,
    }
}

/// After `\` outside of a class.
fn escape(rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<(), String> {
    let Some(c) = rest.next() else { return Err("trailing backslash at the end".to_owned()) };
    match c {
        'Q' => quote(rest, out),
        'b' | 'B' => out.extend(["(?-u:\\", if c == 'b' { "b" } else { "B" }, ")"]),
        'C' | 'Z' | 'G' | 'X' => return Err(format!("unknown escape `\\{c}`")),
        c => match perl_class(c) {
            Some(set) => out.extend(["[", if c.is_ascii_uppercase() { "^" } else { "" }, set, "]"]),
            None => out.extend(['\\', c]),
        },
    }
    Ok(())
}

/// After `\Q`: letters up to `\E` or the end.
fn quote(rest: &mut Peekable<Chars<'_>>, out: &mut String) {
    while let Some(c) = rest.next() {
        if c == '\\' && rest.next_if_eq(&'E').is_some() {
            return;
        }
        out.push_str(&regex_syntax::escape(c.encode_utf8(&mut [0; 4])));
    }
}

/// After `[`.
fn class(rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<(), String> {
    out.push('[');
    if rest.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut first = true;
    loop {
        let Some(c) = rest.next() else { return Err("missing closing `]`".to_owned()) };
        match c {
            ']' if !first => break,
            ']' => out.push_str(r"\]"),
            '[' => match posix_class(rest) {
                Some(name) => out.extend(["[:", &name, ":]"]),
                None => out.push_str(r"\["),
            },
            '&' | '~' => out.extend(['\\', c]),
            '-' if first || out.ends_with('-') || rest.peek() == Some(&']') => out.push_str(r"\-"),
            '\\' => match rest.next() {
                None => return Err("missing closing `]`".to_owned()),
                Some(c) => match perl_class(c) {
                    Some(set) if c.is_ascii_uppercase() => out.extend(["[^", set, "]"]),
                    Some(set) => out.push_str(set),
                    None => out.extend(['\\', c]),
                },
            },
            c => out.push(c),
        }
        first = false;
    }
    out.push(']');
    Ok(())
}

/// After `[` in a class: takes `:name:]` if it stands there.
fn posix_class(rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut ahead = rest.clone();
    if ahead.next() != Some(':') {
        return None;
    }
    let name: String = ahead.by_ref().take_while(|c| *c != ':').collect();
    if ahead.next() != Some(']') || !name.chars().all(|c| c.is_ascii_lowercase() || c == '^') {
        return None;
    }
    *rest = ahead;
    Some(name)
}
