//! Errors of a composition file: where, what, the line itself, and what was probably meant.

use std::fmt::Write as _;

use opendata_core::{Error, Result};
use serde::de::DeserializeOwned;
use serde_saphyr::{Error as Yaml, Location};

/// How different a word may be and still be taken for a slip (Jaro-Winkler similarity).
const SIMILAR: f64 = 0.75;

/// The text of a file, and what to call it.
pub(crate) struct Source<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
}

impl Source<'_> {
    /// Reads the whole file.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_saphyr::from_str(self.text).map_err(|error| {
            let error = error.without_snippet();
            let at = error.location();
            self.wrong(&at.unwrap_or(Location::UNKNOWN), &explain(error))
        })
    }

    /// An error at a word behind a place of the file; at that place if the word is not there.
    pub(crate) fn wrong_at_word(&self, from: &Location, word: &str, why: &str) -> Error {
        let is_part =
            |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(byte));
        let lines = self.text.lines().enumerate().skip(usize::try_from(from.line().saturating_sub(1)).unwrap_or(0));
        for (index, line) in lines {
            let whole = line.match_indices(word).find(|(at, _)| {
                let bytes = line.as_bytes();
                let before = at.checked_sub(1).and_then(|before| bytes.get(before));
                !is_part(before) && !is_part(bytes.get(at + word.len())) && !word.is_empty()
            });
            if let Some((at, _)) = whole {
                let column = line.get(..at).map_or(1, |before| before.chars().count() + 1);
                return self.wrong_at((index + 1) as u64, column as u64, why);
            }
        }
        self.wrong(from, why)
    }

    /// An error in what begins at a place, at the line of the field that the message names, if it names one.
    pub(crate) fn wrong_in(&self, from: &Location, why: &str) -> Error {
        let path = why.split_whitespace().find(|word| word.contains('.') || word.contains('['));
        let mut names = path.unwrap_or_default().trim_end_matches(':').rsplit(['.', '[', ']']);
        let is_field = |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        match names.find(is_field) {
            Some(field) => self.wrong_at_word(from, field, why),
            None => self.wrong(from, why),
        }
    }

    /// An error at a place of the file.
    pub(crate) fn wrong(&self, at: &Location, why: &str) -> Error {
        self.wrong_at(at.line(), at.column(), why)
    }

    fn wrong_at(&self, line: u64, column: u64, why: &str) -> Error {
        if line == 0 {
            return Error::invalid(format!("{}: {why}", self.name));
        }
        let mut message = format!("{}:{line}:{column}: {why}", self.name);
        let index = usize::try_from(line - 1).unwrap_or(usize::MAX);
        if let Some(text) = self.text.lines().nth(index) {
            let gutter = " ".repeat(line.to_string().len());
            let indent = " ".repeat(usize::try_from(column.saturating_sub(1)).unwrap_or(0));
            // Writing to a string cannot fail.
            let _ = write!(message, "\n {gutter} |\n {line} | {text}\n {gutter} | {indent}^");
        }
        Error::invalid(message)
    }
}

/// An error in our words where we can do better than the reader of YAML.
fn explain(error: &Yaml) -> String {
    match error {
        Yaml::SerdeUnknownField { field, expected, .. } => unknown("field", field, expected),
        Yaml::SerdeUnknownVariant { variant, expected, .. } => unknown("value", variant, expected),
        Yaml::SerdeMissingField { field, .. } => format!("field `{field}` is missing"),
        Yaml::DuplicateMappingKey { key: Some(key), .. } => format!("`{key}` stands here twice"),
        Yaml::SerdeInvalidType { unexpected, expected, .. } | Yaml::SerdeInvalidValue { unexpected, expected, .. } => {
            format!("expected {expected}, found {unexpected}")
        }
        Yaml::Message { msg, .. } => msg.clone(),
        Yaml::Unexpected { expected, .. } => match *expected {
            "mapping start" => {
                "expected fields here, as in `{name: value}` or `name: value` in lines of their own".to_owned()
            }
            "sequence start" => "expected a list here, as in `[one, two]` or `- one` in lines of their own".to_owned(),
            other => format!("expected {other}"),
        },
        other => {
            let text = other.to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            text.lines().next().unwrap_or(text).to_owned()
        }
    }
}

/// What to say about a word that is none of those there are.
pub(super) fn unknown(what: &str, found: &str, known: &[&str]) -> String {
    let best = known
        .iter()
        .map(|word| (strsim::jaro_winkler(word, found), word))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .filter(|(similarity, _)| *similarity >= SIMILAR);
    let list = known.join(", ");
    match best {
        Some((_, word)) => format!("unknown {what} `{found}`, did you mean `{word}`? (there are: {list})"),
        None if known.is_empty() => format!("unknown {what} `{found}`: there are none here"),
        None => format!("unknown {what} `{found}` (there are: {list})"),
    }
}
