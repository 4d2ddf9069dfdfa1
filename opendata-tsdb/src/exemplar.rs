//! Exemplars: single observations behind a series, with labels of their own, such as the trace they come from.
//!
//! `EXEMPLAR`, one row a series and bucket, by time; the newest [`MOST_EXEMPLARS`] are kept:
//! ```text
//! layout 1 · exemplar*
//! exemplar = time after the one before signed varint · value f64 · labels: count varint, (name bytes · value bytes)*
//! ```
//! Merging unites and keeps the newest, which is associative and takes an exemplar twice without harm.

use std::cmp::Ordering;

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result, Timestamp};

use crate::labels::Labels;

const LAYOUT: u8 = 1;

/// How many exemplars of a series are kept in a bucket.
pub(crate) const MOST_EXEMPLARS: usize = 128;
/// The most characters that the labels of an exemplar may have, as OpenMetrics has it.
pub(crate) const EXEMPLAR_CHARACTERS: usize = 128;

/// A single observation.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Where it comes from: `trace_id` and the like, up to 128 characters in all.
    pub labels: Labels,
    /// What was observed.
    pub value: f64,
    /// When.
    pub at: Timestamp,
}

impl Exemplar {
    pub(crate) fn characters(&self) -> usize {
        self.labels.iter().map(|label| label.name().chars().count() + label.value().chars().count()).sum()
    }

    fn order(&self, other: &Self) -> Ordering {
        let key = |one: &Self| (one.at.0, one.value.to_bits());
        key(self).cmp(&key(other)).then_with(|| self.labels.cmp(&other.labels))
    }
}

/// Writes exemplars; they must be in order.
fn encode(exemplars: &[Exemplar]) -> Bytes {
    let mut value = Encoder::new(LAYOUT);
    let mut last = 0i64;
    for one in exemplars {
        value.signed(one.at.0.wrapping_sub(last)).f64(one.value).varint(one.labels.len() as u64);
        for label in &one.labels {
            value.bytes(label.name().as_bytes()).bytes(label.value().as_bytes());
        }
        last = one.at.0;
    }
    value.finish()
}

/// What a group of transactions does to the row of one series.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// What is left of the stored row, if something was deleted from it.
    pub(crate) left: Option<Option<Bytes>>,
    pub(crate) added: Vec<Exemplar>,
}

/// A row of some exemplars.
pub(crate) fn row(mut exemplars: Vec<Exemplar>) -> Bytes {
    settle(&mut exemplars);
    encode(&exemplars)
}

/// The exemplars of a row, by time.
///
/// # Errors
/// `Corrupt` if the value cannot be read.
pub(crate) fn decode(value: &[u8]) -> Result<Vec<Exemplar>> {
    let mut fields = Decoder::new(value);
    fields.layout(LAYOUT)?;
    let mut exemplars = Vec::new();
    let mut time_ms = 0i64;
    while !fields.rest().is_empty() {
        time_ms = time_ms.wrapping_add(fields.signed()?);
        let value = fields.f64()?;
        let mut pairs = Vec::new();
        for _ in 0..fields.count()? {
            pairs.push((text(fields.bytes()?)?, text(fields.bytes()?)?));
        }
        let labels = Labels::new(pairs).map_err(|error| Error::corrupt("labels of an exemplar").with_source(error))?;
        exemplars.push(Exemplar { labels, value, at: Timestamp(time_ms) });
    }
    Ok(exemplars)
}

fn text(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::corrupt("label of an exemplar is not UTF-8"))
}

/// Unites rows.
///
/// # Errors
/// `Corrupt` if a value cannot be read.
pub(crate) fn merge<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Bytes> {
    let mut all = Vec::new();
    for value in values {
        all.extend(decode(value)?);
    }
    settle(&mut all);
    Ok(encode(&all))
}

/// Brings exemplars into order, each once, and keeps the newest.
fn settle(all: &mut Vec<Exemplar>) {
    all.sort_by(Exemplar::order);
    all.dedup_by(|a, b| a.order(b) == Ordering::Equal);
    all.drain(..all.len().saturating_sub(MOST_EXEMPLARS));
}

/// The row without the exemplars in a range of times; none if nothing is left.
///
/// # Errors
/// `Corrupt` if the value cannot be read.
pub(crate) fn without(value: &[u8], (start_ms, end_ms): (i64, i64)) -> Result<Option<Bytes>> {
    let mut left = decode(value)?;
    left.retain(|one| !(start_ms..=end_ms).contains(&one.at.0));
    Ok((!left.is_empty()).then(|| encode(&left)))
}

#[cfg(test)]
mod tests;
