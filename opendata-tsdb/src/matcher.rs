//! Label matchers: the conditions of a selector.
//!
//! A label that a series does not have matches as the empty text. Regular expressions are RE2's (translated in
//! [`re2`]), match the whole value, and `.` matches a newline too, as in the reference. Besides testing a value, a
//! matcher says what an index needs to read less: the finite set of values that can match, or a prefix of them.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use opendata_core::{Error, Result};
use regex_automata::meta::Regex;
use regex_syntax::hir::Hir;
use regex_syntax::hir::literal::{ExtractKind, Extractor};

use crate::labels::{METRIC_NAME, Quoted, is_legacy_label_name};

mod pattern;
mod re2;

use pattern::Pattern;

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// Whether the matcher holds for the values that its text does *not* describe.
    #[must_use]
    pub fn is_negative(self) -> bool {
        matches!(self, Self::NotEqual | Self::NotRegex)
    }
}

impl fmt::Display for MatchOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        })
    }
}

/// A condition on one label. Cloning shares the compiled expression.
#[derive(Clone)]
pub struct Matcher {
    name: Arc<str>,
    op: MatchOp,
    value: Arc<str>,
    test: Arc<Test>,
}

/// What the text describes, before negation.
enum Test {
    /// Exactly these values, sorted; a single one for `=` and `!=`.
    Literals { list: Vec<String>, set: HashSet<String> },
    /// An expression that says no more than a pattern, so that it is not compiled, and the prefix every match begins with.
    Pattern { pattern: Pattern, prefix: String },
    /// An expression over the whole value, the prefix every match begins with, and what else is known of every match.
    Regex { regex: Regex, prefix: String, pattern: Option<Pattern> },
}

impl Matcher {
    /// A matcher; compiles the expression if it is one.
    ///
    /// # Errors
    /// `Invalid` when the name is empty or the regular expression does not parse or is too large.
    pub fn new(name: &str, op: MatchOp, value: &str) -> Result<Self> {
        if name.is_empty() {
            return Err(Error::invalid("the label name of a matcher is empty"));
        }
        let test = match op {
            MatchOp::Equal | MatchOp::NotEqual => Test::literals([value.to_owned()]),
            MatchOp::Regex | MatchOp::NotRegex => Test::regex(value)?,
        };
        Ok(Self { name: name.into(), op, value: value.into(), test: Arc::new(test) })
    }

    /// The matcher `__name__="name"`.
    #[must_use]
    pub fn metric(name: &str) -> Self {
        Self {
            name: METRIC_NAME.into(),
            op: MatchOp::Equal,
            value: name.into(),
            test: Arc::new(Test::literals([name.to_owned()])),
        }
    }

    /// The label it looks at.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it compares.
    #[must_use]
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// The text it compares with: a value, or the source of an expression.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether a value satisfies the condition. A missing label has the empty value.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        self.test.describes(value) != self.op.is_negative()
    }

    /// Whether series without the label satisfy the condition.
    #[must_use]
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }

    /// All values that the text describes, sorted, where they are a short finite list: `a|b|c`, `x[12]`, or the one value of `=`.
    ///
    /// For a negative matcher these are exactly the values that do *not* satisfy it.
    #[must_use]
    pub fn literals(&self) -> Option<&[String]> {
        match self.test.as_ref() {
            Test::Literals { list, .. } => Some(list),
            Test::Pattern { .. } | Test::Regex { .. } => None,
        }
    }

    /// How each value of the label is tested, for [`explain`](crate::promql::Engine::explain).
    pub(crate) fn way(&self) -> &'static str {
        match self.test.as_ref() {
            Test::Literals { .. } => "by comparing",
            Test::Pattern { .. } => "by looking for the texts in it",
            Test::Regex { pattern: Some(_), .. } => "by the expression where it has the texts in it",
            Test::Regex { pattern: None, .. } => "by the expression",
        }
    }

    /// What every value that the text describes begins with; often empty. For a negative matcher only values that begin with it fail.
    #[must_use]
    pub fn prefix(&self) -> &str {
        match self.test.as_ref() {
            Test::Literals { list, .. } => match list.as_slice() {
                [one] => one,
                [first, .., last] => common_prefix(first, last),
                [] => "",
            },
            Test::Pattern { prefix, .. } | Test::Regex { prefix, .. } => prefix,
        }
    }
}

impl Test {
    fn literals(values: impl IntoIterator<Item = String>) -> Self {
        let set: HashSet<String> = values.into_iter().collect();
        let mut list: Vec<String> = set.iter().cloned().collect();
        list.sort_unstable();
        Self::Literals { list, set }
    }

    fn regex(source: &str) -> Result<Self> {
        let (translated, hir) = parse(source)?;
        let literals = Extractor::new().kind(ExtractKind::Prefix).extract(&hir);
        if hir.properties().look_set().is_empty()
            && literals.is_exact()
            && let Some(list) = literals.literals()
        {
            let texts: Result<Vec<String>, _> =
                list.iter().map(|literal| String::from_utf8(literal.as_bytes().to_vec())).collect();
            if let Ok(texts) = texts {
                return Ok(Self::literals(texts));
            }
        }
        let prefix = literals.longest_common_prefix().map(longest_text).unwrap_or_default();
        match Pattern::of(&hir) {
            Some(pattern) if pattern.is_whole => Ok(Self::Pattern { pattern, prefix }),
            pattern => Ok(Self::Regex { regex: compile(source, &translated)?, prefix, pattern }),
        }
    }

    fn describes(&self, value: &str) -> bool {
        match self {
            Self::Literals { list, set } => match list.as_slice() {
                [one] => one == value,
                _ => set.contains(value),
            },
            Self::Regex { regex, prefix, pattern: None } => value.starts_with(prefix.as_str()) && regex.is_match(value),
            Self::Regex { regex, pattern: Some(pattern), .. } => pattern.fits(value) && regex.is_match(value),
            Self::Pattern { pattern, .. } => pattern.fits(value),
        }
    }
}

/// A regular expression of the query language that matches whole values, for whoever needs its groups.
///
/// # Errors
/// `Invalid` when it does not parse or is too large.
pub fn whole_value_regex(source: &str) -> Result<Regex> {
    let (translated, _) = parse(source)?;
    compile(source, &translated)
}

/// The expression in the syntax of `regex-syntax`, and its meaning.
fn parse(source: &str) -> Result<(String, Hir)> {
    let translated = re2::translate(source).map_err(|what| refused(source, what))?;
    let mut parser = regex_syntax::ParserBuilder::new().dot_matches_new_line(true).utf8(false).build();
    match parser.parse(&translated) {
        Ok(hir) => Ok((translated, hir)),
        Err(error) => {
            let text = error.to_string();
            let what = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            Err(refused(source, what).with_source(error))
        }
    }
}

fn compile(source: &str, translated: &str) -> Result<Regex> {
    Regex::builder()
        .syntax(regex_automata::util::syntax::Config::new().dot_matches_new_line(true).utf8(false))
        .configure(Regex::config().utf8_empty(false).nfa_size_limit(Some(10 << 20)))
        .build(&format!(r"\A(?:{translated})\z"))
        .map_err(|error| refused(source, &error).with_source(error))
}

fn refused(source: &str, what: impl fmt::Display) -> Error {
    Error::invalid(format!("regular expression does not parse: {what}, expression={}", Quoted(source)))
}

/// As much of the bytes as is whole characters.
fn longest_text(bytes: &[u8]) -> String {
    bytes.utf8_chunks().next().map(|chunk| chunk.valid().to_owned()).unwrap_or_default()
}

fn common_prefix<'a>(a: &'a str, b: &str) -> &'a str {
    let end = a.char_indices().zip(b.chars()).find(|((_, x), y)| x != y).map(|((at, _), _)| at);
    a.get(..end.unwrap_or(a.len().min(b.len()))).unwrap_or_default()
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl Eq for Matcher {}

impl std::hash::Hash for Matcher {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (&self.name, self.op, &self.value).hash(state);
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_legacy_label_name(&self.name) {
            f.write_str(&self.name)?;
        } else {
            Quoted(&self.name).fmt(f)?;
        }
        write!(f, "{}{}", self.op, Quoted(&self.value))
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
