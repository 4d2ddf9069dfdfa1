//! Filters as text.
//!
//! ```text
//! filter     = all_of { "or" all_of }
//! all_of     = one { "and" one }
//! one        = "not" one | "(" filter ")" | "all" | "none" | attribute test
//! test       = ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=") value
//!            | ["not"] "in" ( "(" [ value { "," value } ] ")" | value ".." ["="] value )
//!            | "prefix" string | "contains" value | "exists"
//! attribute  = letter or "_", then letters, digits and "_"; in backquotes where it would be a word of the language
//! value      = string | number | "true" | "false"
//! string     = in single or double quotes; \\ \' \" \n \r \t stand for what they are elsewhere
//! ```
//!
//! Words of the language are read in any case. `a..b` leaves `b` out, `a..=b` takes it in. A moment is a number of milliseconds, or a
//! string as in RFC 3339. Errors say at which character they stand, counted from 1.

use opendata_core::{Error, Result};

use super::{Comparison, FILTER_DEPTH_LIMIT, Filter};
use crate::document::Value;

pub(super) const WORDS: [&str; 11] =
    ["and", "or", "not", "in", "prefix", "contains", "exists", "all", "none", "true", "false"];

/// A piece of the text.
#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A word of the language, in lower case.
    Word(&'static str),
    Name(String),
    Value(Value),
    Sign(&'static str),
}

struct Parser {
    /// Each with the character it begins at, in reverse.
    tokens: Vec<(usize, Token)>,
    end: usize,
    depth: usize,
}

impl std::str::FromStr for Filter {
    type Err = Error;

    /// Reads a filter as text.
    ///
    /// # Errors
    /// `Invalid`, saying at which character.
    fn from_str(text: &str) -> Result<Self> {
        let mut tokens = Lexer { text, at: 0 }.all()?;
        tokens.reverse();
        let mut parser = Parser { tokens, end: text.chars().count() + 1, depth: 0 };
        let filter = parser.any_of()?;
        match parser.tokens.last() {
            None => Ok(filter),
            Some((at, token)) => Err(wrong(*at, &format!("expected `and`, `or` or the end, found {}", token.show()))),
        }
    }
}

fn wrong(at: usize, what: &str) -> Error {
    Error::invalid(format!("in the filter, at character {at}: {what}"))
}

impl Token {
    fn show(&self) -> String {
        match self {
            Self::Word(word) | Self::Sign(word) => format!("`{word}`"),
            Self::Name(name) => format!("`{name}`"),
            Self::Value(_) => "a value".to_owned(),
        }
    }
}

impl Parser {
    fn next_is(&mut self, wanted: &Token) -> bool {
        let found = self.tokens.last().is_some_and(|(_, token)| token == wanted);
        if found {
            self.tokens.pop();
        }
        found
    }

    fn word(&mut self, word: &'static str) -> bool {
        self.next_is(&Token::Word(word))
    }

    fn sign(&mut self, sign: &'static str) -> bool {
        self.next_is(&Token::Sign(sign))
    }

    /// An error about what comes next.
    fn expected(&self, what: &str) -> Error {
        match self.tokens.last() {
            Some((at, token)) => wrong(*at, &format!("expected {what}, found {}", token.show())),
            None => wrong(self.end, &format!("expected {what}, found the end")),
        }
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.depth += 1;
        if self.depth > FILTER_DEPTH_LIMIT {
            let at = self.tokens.last().map_or(self.end, |(at, _)| *at);
            return Err(wrong(at, &format!("nested too deeply, limit={FILTER_DEPTH_LIMIT}")));
        }
        let done = inner(self)?;
        self.depth -= 1;
        Ok(done)
    }

    fn any_of(&mut self) -> Result<Filter> {
        let mut all = vec![self.all_of()?];
        while self.word("or") {
            all.push(self.all_of()?);
        }
        Ok(if all.len() == 1 { all.swap_remove(0) } else { Filter::Or(all) })
    }

    fn all_of(&mut self) -> Result<Filter> {
        let mut all = vec![self.one()?];
        while self.word("and") {
            all.push(self.one()?);
        }
        Ok(if all.len() == 1 { all.swap_remove(0) } else { Filter::And(all) })
    }

    fn one(&mut self) -> Result<Filter> {
        if self.word("not") {
            return self.deeper(Self::one).map(Filter::not);
        }
        if self.sign("(") {
            let inner = self.deeper(Self::any_of)?;
            return if self.sign(")") { Ok(inner) } else { Err(self.expected("`and`, `or` or `)`")) };
        }
        if self.word("all") {
            return Ok(Filter::all());
        }
        if self.word("none") {
            return Ok(Filter::Or(Vec::new()));
        }
        match self.tokens.pop() {
            Some((_, Token::Name(attribute))) => self.test(attribute),
            Some(other) => {
                self.tokens.push(other);
                Err(self.expected("an attribute, `not` or `(`"))
            }
            None => Err(self.expected("an attribute, `not` or `(`")),
        }
    }

    fn test(&mut self, attribute: String) -> Result<Filter> {
        for (sign, comparison) in COMPARISONS {
            if self.sign(sign) {
                return Ok(Filter::Compare { attribute, comparison, value: self.value()? });
            }
        }
        if self.word("not") {
            return if self.word("in") { self.is_in(attribute).map(Filter::not) } else { Err(self.expected("`in`")) };
        }
        if self.word("in") {
            return self.is_in(attribute);
        }
        if self.word("prefix") {
            return match self.tokens.pop() {
                Some((_, Token::Value(Value::String(beginning)))) => Ok(Filter::Prefix { attribute, beginning }),
                other => {
                    self.tokens.extend(other);
                    Err(self.expected("a string"))
                }
            };
        }
        if self.word("contains") {
            return Ok(Filter::Contains { attribute, value: self.value()? });
        }
        if self.word("exists") {
            return Ok(Filter::Exists { attribute });
        }
        Err(self.expected("a comparison, `in`, `prefix`, `contains` or `exists`"))
    }

    fn is_in(&mut self, attribute: String) -> Result<Filter> {
        if !self.sign("(") {
            let least = self.value()?;
            let comparison = if self.sign("..=") {
                Comparison::LessOrEqual
            } else if self.sign("..") {
                Comparison::Less
            } else {
                return Err(self.expected("`..` or `..=`"));
            };
            let most = Filter::compare(&attribute, comparison, self.value()?);
            return Ok(Filter::And(vec![Filter::ge(&attribute, least), most]));
        }
        let mut values = Vec::new();
        if self.sign(")") {
            return Ok(Filter::In { attribute, values });
        }
        loop {
            values.push(self.value()?);
            if self.sign(")") {
                return Ok(Filter::In { attribute, values });
            }
            if !self.sign(",") {
                return Err(self.expected("`,` or `)`"));
            }
        }
    }

    fn value(&mut self) -> Result<Value> {
        match self.tokens.pop() {
            Some((_, Token::Value(value))) => Ok(value),
            Some((_, Token::Word("true"))) => Ok(Value::Bool(true)),
            Some((_, Token::Word("false"))) => Ok(Value::Bool(false)),
            other => {
                self.tokens.extend(other);
                Err(self.expected("a string, a number, `true` or `false`"))
            }
        }
    }
}

const COMPARISONS: [(&str, Comparison); 7] = [
    ("=", Comparison::Equal),
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<", Comparison::Less),
    ("<=", Comparison::LessOrEqual),
    (">", Comparison::Greater),
    (">=", Comparison::GreaterOrEqual),
];

/// Longer ones first.
const SIGNS: [&str; 12] = ["..=", "==", "!=", "<=", ">=", "..", "=", "<", ">", "(", ")", ","];

struct Lexer<'a> {
    text: &'a str,
    /// The character that is next, counted from 0.
    at: usize,
}

impl<'a> Lexer<'a> {
    fn all(mut self) -> Result<Vec<(usize, Token)>> {
        let mut tokens = Vec::new();
        loop {
            self.take(char::is_whitespace);
            let at = self.at + 1;
            match self.text.chars().next() {
                None => return Ok(tokens),
                Some(first) => tokens.push((at, self.token(first)?)),
            }
        }
    }

    /// Takes characters from the beginning.
    fn take(&mut self, mut is_in: impl FnMut(char) -> bool) -> &'a str {
        let end = self.text.find(|c| !is_in(c)).unwrap_or(self.text.len());
        let (taken, rest) = self.text.split_at_checked(end).unwrap_or((self.text, ""));
        (self.text, self.at) = (rest, self.at + taken.chars().count());
        taken
    }

    fn token(&mut self, first: char) -> Result<Token> {
        match first {
            '\'' | '"' => self.string(first).map(|text| Token::Value(Value::String(text))),
            '`' => self.quoted_name(),
            '0'..='9' | '-' | '+' => self.number(),
            c if c.is_ascii_alphabetic() || c == '_' => {
                let name = self.take(|c| c.is_ascii_alphanumeric() || c == '_');
                let word = WORDS.iter().find(|word| word.eq_ignore_ascii_case(name));
                Ok(word.map_or_else(|| Token::Name(name.to_owned()), |word| Token::Word(word)))
            }
            c => {
                let found = SIGNS.iter().find_map(|sign| Some((*sign, self.text.strip_prefix(sign)?)));
                let (sign, rest) =
                    found.ok_or_else(|| wrong(self.at + 1, &format!("a character that means nothing here: {c:?}")))?;
                (self.text, self.at) = (rest, self.at + sign.len());
                Ok(Token::Sign(sign))
            }
        }
    }

    fn quoted_name(&mut self) -> Result<Token> {
        let begin = self.at + 1;
        let mut ticks = 0;
        let quoted = self.take(|c| {
            let open = ticks < 2;
            ticks += usize::from(c == '`');
            open
        });
        match quoted.strip_prefix('`').and_then(|name| name.strip_suffix('`')) {
            Some(name) if quoted.len() > 1 => Ok(Token::Name(name.to_owned())),
            _ => Err(wrong(begin, "the name has no closing backquote")),
        }
    }

    fn string(&mut self, quote: char) -> Result<String> {
        let begin = self.at + 1;
        let mut text = String::new();
        let mut chars = self.text.chars();
        let mut taken = 1;
        chars.next();
        while let Some(c) = chars.next() {
            taken += 1;
            match c {
                c if c == quote => {
                    (self.text, self.at) = (chars.as_str(), self.at + taken);
                    return Ok(text);
                }
                '\\' => {
                    taken += 1;
                    text.push(match chars.next() {
                        Some('n') => '\n',
                        Some('r') => '\r',
                        Some('t') => '\t',
                        Some(c @ ('\\' | '\'' | '"')) => c,
                        _ => return Err(wrong(begin + taken - 2, r#"unknown escape: there are \\ \' \" \n \r \t"#)),
                    });
                }
                c => text.push(c),
            }
        }
        Err(wrong(begin, "the string has no closing quote"))
    }

    fn number(&mut self) -> Result<Token> {
        let begin = self.at + 1;
        // Two dots are the sign of a range, and end the number.
        let range = self.text.find("..").unwrap_or(self.text.len());
        let (mut size, mut before) = (0, ' ');
        let text = self.take(|c| {
            let is_sign = matches!(c, '-' | '+') && (size == 0 || matches!(before, 'e' | 'E'));
            let is_in = size < range && (is_sign || c.is_ascii_alphanumeric() || c == '.');
            (size, before) = (size + c.len_utf8(), c);
            is_in
        });
        let is_whole = !text.contains(['.', 'e', 'E']);
        let value = match is_whole {
            true => text.parse().map(Value::I64).ok(),
            false => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::F64),
        };
        value.map(Token::Value).ok_or_else(|| wrong(begin, &format!("not a number that can be stored: {text}")))
    }
}

#[cfg(test)]
pub(super) mod tests;
