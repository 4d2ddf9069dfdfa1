//! Functions that make labels from labels.

use std::cmp::Ordering;

use opendata_core::{Error, Result};
use regex_automata::meta::Regex;

use super::{Eval, Merged, Sink};
use crate::labels::Labels;
use crate::matcher::whole_value_regex;
use crate::promql::ast::Call;
use crate::promql::column::Grid;

impl Eval<'_> {
    /// `label_replace(v, dst, replacement, src, regex)`
    pub(super) fn label_replace(&self, call: &Call, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        let (to, replacement) = (self.text(call.arg(1)?)?, self.text(call.arg(2)?)?);
        let (from, source) = (self.text(call.arg(3)?)?, self.text(call.arg(4)?)?);
        let place = |error: Error, arg: usize| {
            let at = call.args.get(arg).map(|arg| arg.span.place(self.query).to_string()).unwrap_or_default();
            Error::invalid(format!("{}, at={at}", error.message())).with_source(error)
        };
        let regex = whole_value_regex(source).map_err(|error| place(error, 4))?;
        if to.is_empty() {
            return Err(place(Error::invalid("a label name is empty"), 1));
        }
        self.relabeled(
            call,
            grid,
            &|labels| match expand(&regex, labels.get(from).unwrap_or_default(), replacement) {
                Some(value) => labels.with(to, &value),
                None => Ok(labels.clone()),
            },
            sink,
        )
    }

    /// `label_join(v, dst, separator, src...)`
    pub(super) fn label_join(&self, call: &Call, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        let (to, separator) = (self.text(call.arg(1)?)?, self.text(call.arg(2)?)?);
        let from: Result<Vec<&str>> = call.args.iter().skip(3).map(|arg| self.text(arg)).collect();
        let from = from?;
        self.relabeled(
            call,
            grid,
            &|labels| {
                let values: Vec<&str> = from.iter().map(|name| labels.get(name).unwrap_or_default()).collect();
                labels.with(to, &values.join(separator))
            },
            sink,
        )
    }

    fn relabeled(
        &self,
        call: &Call,
        grid: &Grid,
        change: &dyn Fn(&Labels) -> Result<Labels>,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let mut merged = Merged::new(self.budget);
        self.rows(call.arg(0)?, grid, &mut |row| {
            let mut row = self.settled(row);
            let labels = change(&row.labels)?;
            // A name that was given stays.
            row.drop_name &= labels.metric_name() == row.labels.metric_name();
            row.labels = labels;
            self.emit(row, &mut |row| merged.push(row))
        })?;
        merged.emit(sink)
    }
}

/// The replacement with `$1` and `${name}` filled in; `None` where the value does not match.
fn expand(regex: &Regex, value: &str, replacement: &str) -> Option<String> {
    let mut captures = regex.create_captures();
    regex.captures(value, &mut captures);
    captures.is_match().then(|| captures.interpolate_string(value, replacement))
}

/// Compares texts so that numbers in them count as numbers: `a2` before `a10`.
pub(super) fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        if a.is_empty() || b.is_empty() {
            return a.len().cmp(&b.len());
        }
        let (chunk_a, chunk_b) = (chunk(&mut a), chunk(&mut b));
        let order = match (number(chunk_a), number(chunk_b)) {
            (Some(a), Some(b)) => {
                a.len().cmp(&b.len()).then_with(|| a.cmp(b)).then_with(|| chunk_a.len().cmp(&chunk_b.len()))
            }
            _ => chunk_a.cmp(chunk_b),
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Takes the digits, or the letters, that a text begins with.
fn chunk<'a>(text: &mut &'a str) -> &'a str {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let len = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    let (chunk, rest) = text.split_at(len);
    *text = rest;
    chunk
}

/// Digits without leading zeros.
fn number(chunk: &str) -> Option<&str> {
    chunk.starts_with(|c: char| c.is_ascii_digit()).then(|| chunk.trim_start_matches('0'))
}

#[cfg(test)]
mod tests;
