//! Templates of labels and annotations: the language of Go's `text/template`
//! (<https://pkg.go.dev/text/template>) with Prometheus's functions
//! (<https://prometheus.io/docs/prometheus/latest/configuration/template_reference/>).
//!
//! Read once ([`Template::parse`]), expanded for each alert. There are texts, actions with pipelines, variables, `if`, `with`, `range`,
//! `break`, `continue`, `define` and `template`, trim markers and comments. Values are those that Prometheus has: texts, numbers, lists,
//! maps, times, and samples of a query.

mod eval;
mod format;
mod function;
mod lex;
mod parse;
mod value;

use std::collections::BTreeMap;

use opendata_core::{Result, Timestamp};

pub(crate) use self::format::shortest_scientific as scientific;
pub(crate) use self::value::Value;

/// A template that was read.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    body: Vec<parse::Node>,
    defined: BTreeMap<String, Vec<parse::Node>>,
}

/// Asks queries for templates. It may block: templates are expanded on a thread that may.
pub(crate) trait Ask {
    /// The samples of a query: labels and value.
    fn query(&self, query: &str) -> Result<Vec<(BTreeMap<String, String>, f64)>>;
}

/// What a template knows.
pub(crate) struct Scope<'a> {
    pub(crate) ask: &'a dyn Ask,
    /// What `.` is.
    pub(crate) data: Value,
    /// Variables that are there from the beginning: `$labels`, `$value`, ..
    pub(crate) variables: Vec<(&'static str, Value)>,
    pub(crate) now: Timestamp,
    pub(crate) external_url: &'a str,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it, and in which line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        parse::parse(text).map(|(body, defined)| Self { body, defined })
    }

    /// The text of a template.
    ///
    /// # Errors
    /// What could not be done.
    pub(crate) fn expand(&self, scope: &Scope<'_>) -> Result<String, String> {
        eval::expand(&self.body, &self.defined, scope)
    }
}

#[cfg(test)]
mod tests;
