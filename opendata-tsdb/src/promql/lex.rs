//! The query's text as tokens with their places.
//!
//! Keywords are words here: PromQL lets most of them be metric and label names too, so only the parser can tell.

use std::fmt;

use opendata_core::{Error, Result};

use super::duration;

/// A range of bytes of the query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) fn to(self, other: Self) -> Self {
        Self { start: self.start, end: other.end }
    }

    /// Line and column of the first byte, both from 1; columns count characters.
    pub(crate) fn place(self, source: &str) -> Place {
        let before = source.get(..self.start.min(source.len())).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Place { line: before.matches('\n').count() + 1, column }
    }
}

/// A place in the query, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    line: usize,
    column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TokenKind {
    /// A name or keyword; may hold colons.
    Word(String),
    Number(f64),
    /// Milliseconds.
    Duration(i64),
    Text(String),
    /// An operator or bracket.
    Sign(&'static str),
    End,
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => write!(f, "`{word}`"),
            Self::Number(number) => write!(f, "number {number}"),
            Self::Duration(ms) => write!(f, "duration {}", duration::Ms(*ms)),
            Self::Text(_) => f.write_str("a string"),
            Self::Sign(sign) => write!(f, "`{sign}`"),
            Self::End => f.write_str("the end"),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

/// A parse error at a place of the query.
pub(crate) fn error_at(source: &str, span: Span, what: impl fmt::Display) -> Error {
    Error::invalid(format!("query does not parse: {what}, at={}", span.place(source)))
}

/// All tokens, the last one [`TokenKind::End`].
pub(crate) fn tokens(source: &str) -> Result<Vec<Token>> {
    let mut lexer = Lexer { source, at: 0, brackets: 0 };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next_token()?;
        let end = token.kind == TokenKind::End;
        tokens.push(token);
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    /// Inside `[...]` a colon separates range and step; elsewhere it belongs to a name.
    brackets: usize,
}

/// Two letters before one, so that the longer sign is found first.
const SIGNS: [&str; 23] = [
    "==", "!=", "=~", "!~", "<=", ">=", "</", ">/", "+", "-", "*", "/", "%", "^", "=", "<", ">", "(", ")", "{", "}",
    ",", "@",
];

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn next_token(&mut self) -> Result<Token> {
        self.skip_blank();
        let start = self.at;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(Token { kind: TokenKind::End, span: Span { start, end: start } });
        };
        let kind = match first {
            '"' | '\'' | '`' => self.text(first)?,
            '0'..='9' => self.number()?,
            '.' if rest.chars().nth(1).is_some_and(|c| c.is_ascii_digit()) => self.number()?,
            '[' => self.sign("[", 1),
            ']' => self.sign("]", 0),
            ':' if self.brackets > 0 => self.sign(":", 1),
            'a'..='z' | 'A'..='Z' | '_' | ':' => self.word(),
            _ => match SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
                Some(sign) => self.sign(sign, self.brackets),
                None => {
                    let span = Span { start, end: start + first.len_utf8() };
                    return Err(error_at(self.source, span, format_args!("unexpected character {first:?}")));
                }
            },
        };
        Ok(Token { kind, span: Span { start, end: self.at } })
    }

    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn sign(&mut self, sign: &'static str, brackets: usize) -> TokenKind {
        self.at += sign.len();
        self.brackets = brackets;
        TokenKind::Sign(sign)
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += len;
        rest.get(..len).unwrap_or_default()
    }

    fn word(&mut self) -> TokenKind {
        let colons = self.brackets == 0;
        let word = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_' || (c == ':' && colons));
        if word.eq_ignore_ascii_case("inf") {
            TokenKind::Number(f64::INFINITY)
        } else if word.eq_ignore_ascii_case("nan") {
            TokenKind::Number(f64::NAN)
        } else {
            TokenKind::Word(word.to_owned())
        }
    }

    /// A number (decimal, hexadecimal, with `_` between digits) or a duration such as `1h30m`.
    fn number(&mut self) -> Result<TokenKind> {
        let start = self.at;
        let rest = self.rest();
        let hexadecimal = rest.starts_with("0x") || rest.starts_with("0X");
        let text = if hexadecimal {
            self.at += 2;
            self.take_while(|c| c.is_ascii_hexdigit() || c == '_');
            self.take_while(|c| c.is_ascii_alphanumeric());
            self.source.get(start..self.at).unwrap_or_default()
        } else {
            self.decimal(start)
        };
        let refuse = |what: &dyn fmt::Display| {
            error_at(self.source, Span { start, end: self.at }, format_args!("{what}, text={text}"))
        };
        if hexadecimal {
            let digits: String = text.chars().skip(2).filter(|c| *c != '_').collect();
            let number = u64::from_str_radix(&digits, 16).map_err(|_| refuse(&"not a hexadecimal number"))?;
            #[expect(clippy::cast_precision_loss, reason = "a literal beyond 2^53 is rounded, like a decimal one")]
            return Ok(TokenKind::Number(number as f64));
        }
        if let Some(number) = duration::parse_number(text) {
            return Ok(TokenKind::Number(number));
        }
        duration::parse(text).map(TokenKind::Duration).map_err(|what| refuse(&what))
    }

    fn decimal(&mut self, start: usize) -> &'a str {
        self.take_while(|c| c.is_ascii_digit() || c == '_');
        if self.rest().starts_with('.') {
            self.at += 1;
            self.take_while(|c| c.is_ascii_digit() || c == '_');
        }
        let mut exponent = self.rest().chars();
        if matches!(exponent.next(), Some('e' | 'E')) {
            let sign_or_digit = exponent.next();
            if sign_or_digit.is_some_and(|c| c.is_ascii_digit())
                || (matches!(sign_or_digit, Some('+' | '-')) && exponent.next().is_some_and(|c| c.is_ascii_digit()))
            {
                self.at += 2;
            }
        }
        self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
        self.source.get(start..self.at).unwrap_or_default()
    }

    fn text(&mut self, quote: char) -> Result<TokenKind> {
        let start = self.at;
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            let Some(c) = self.rest().chars().next() else {
                return Err(error_at(self.source, Span { start, end: self.at }, "a string does not end"));
            };
            self.at += c.len_utf8();
            match c {
                c if c == quote => break,
                '\\' if quote != '`' => self.escape(quote, &mut bytes)?,
                '\n' if quote != '`' => {
                    return Err(error_at(
                        self.source,
                        Span { start, end: self.at },
                        "a string does not end on its line",
                    ));
                }
                c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        String::from_utf8(bytes)
            .map(TokenKind::Text)
            .map_err(|_| error_at(self.source, Span { start, end: self.at }, "a string is not UTF-8"))
    }

    /// After the backslash: the escapes of Go's string literals.
    fn escape(&mut self, quote: char, bytes: &mut Vec<u8>) -> Result<()> {
        let start = self.at - 1;
        let c = self.rest().chars().next().unwrap_or('\0');
        self.at += c.len_utf8().min(self.rest().len());
        let refuse = |lexer: &Self| error_at(lexer.source, Span { start, end: lexer.at }, "unknown escape in a string");
        match c {
            'a' => bytes.push(7),
            'b' => bytes.push(8),
            'f' => bytes.push(12),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'v' => bytes.push(11),
            '\\' => bytes.push(b'\\'),
            c if c == quote => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            '0'..='7' => {
                self.at -= 1;
                let value = self.digits(3, 8).and_then(|value| u8::try_from(value).ok());
                bytes.push(value.ok_or_else(|| refuse(self))?);
            }
            'x' => {
                let value = self.digits(2, 16).and_then(|value| u8::try_from(value).ok());
                bytes.push(value.ok_or_else(|| refuse(self))?);
            }
            'u' | 'U' => {
                let value = self.digits(if c == 'u' { 4 } else { 8 }, 16).and_then(char::from_u32);
                let value = value.ok_or_else(|| refuse(self))?;
                bytes.extend_from_slice(value.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => return Err(refuse(self)),
        }
        Ok(())
    }

    fn digits(&mut self, count: usize, radix: u32) -> Option<u32> {
        let text = self.rest().get(..count)?;
        self.at += count;
        u32::from_str_radix(text, radix).ok()
    }
}

#[cfg(test)]
mod tests;
