//! `FORWARD`: the labels of up to 128 series of a bucket, by their ids.
//!
//! ```text
//! layout 1 · run*
//! run    = place of its first series in the block u8 · count u8 · series*
//! series = id - metric varint · number of labels varint · per label one of
//!          0: the same as the last series' label at this index
//!          1: the same name; length of the value's beginning that is shared varint · rest of the value bytes
//!          2: name bytes · value bytes
//! ```
//! Labels are written relative to the series before them in the run, so that the hundredth series of a metric costs
//! what is different. The metric is the first series of the bucket with this metric name. Merging unites; the result is
//! canonical (runs as long as possible, in order).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result};

use crate::key::BLOCK_SERIES;
use crate::labels::Labels;

const LAYOUT: u8 = 1;

/// A series of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The first series of the bucket with the same metric name, which names the metric in keys.
    pub(crate) metric: u32,
    pub(crate) labels: Labels,
}

/// Writes series of one block; the ids must ascend.
pub(crate) fn encode<'a>(series: impl Iterator<Item = (u32, &'a Entry)>) -> Bytes {
    let mut value = Encoder::new(LAYOUT);
    let mut run = Encoder::default();
    let (mut first, mut count, mut next) = (0, 0u8, None);
    let mut last: Option<&Labels> = None;
    for (id, entry) in series {
        if next != Some(id) {
            flush(&mut value, first, count, &run);
            (run, first, count, last) = (Encoder::default(), id, 0, None);
        }
        write_series(&mut run, id, entry, last);
        (next, count, last) = (id.checked_add(1), count + 1, Some(&entry.labels));
    }
    flush(&mut value, first, count, &run);
    value.finish()
}

fn flush(value: &mut Encoder, first: u32, count: u8, run: &Encoder) {
    if count > 0 {
        let place = u8::try_from(first % BLOCK_SERIES).unwrap_or(0);
        value.u8(place).u8(count).raw(run.as_slice());
    }
}

fn write_series(run: &mut Encoder, id: u32, entry: &Entry, last: Option<&Labels>) {
    run.varint(u64::from(id.saturating_sub(entry.metric))).varint(entry.labels.len() as u64);
    let mut before = last.map(Labels::iter);
    for label in &entry.labels {
        match before.as_mut().and_then(Iterator::next) {
            Some(old) if old == label => {
                run.u8(0);
            }
            Some(old) if old.name() == label.name() => {
                let (old, new) = (old.value().as_bytes(), label.value().as_bytes());
                let shared = old.iter().zip(new).take_while(|(old, new)| old == new).count();
                run.u8(1).varint(shared as u64).bytes(new.get(shared..).unwrap_or_default());
            }
            _ => {
                run.u8(2).bytes(label.name().as_bytes()).bytes(label.value().as_bytes());
            }
        }
    }
}

/// The series of a block, in the order of their ids.
///
/// # Errors
/// `Corrupt` if the value cannot be read.
pub(crate) fn decode(block: u32, value: &[u8]) -> Result<Vec<(u32, Entry)>> {
    let mut fields = Decoder::new(value);
    fields.layout(LAYOUT)?;
    let base = block.checked_mul(BLOCK_SERIES).ok_or_else(|| Error::corrupt("block of series is out of range"))?;
    let mut series = Vec::new();
    while !fields.rest().is_empty() {
        let (place, count) = (u32::from(fields.u8()?), u32::from(fields.u8()?));
        if place + count > BLOCK_SERIES {
            return Err(Error::corrupt("run of series reaches over its block"));
        }
        let mut last: Vec<(Arc<str>, Arc<str>)> = Vec::new();
        for id in base + place..base + place + count {
            series.push((id, read_series(&mut fields, id, &mut last)?));
        }
    }
    Ok(series)
}

fn read_series(fields: &mut Decoder<'_>, id: u32, last: &mut Vec<(Arc<str>, Arc<str>)>) -> Result<Entry> {
    let back = u32::try_from(fields.varint()?).ok().and_then(|back| id.checked_sub(back));
    let metric = back.ok_or_else(|| Error::corrupt("series names a metric before the first"))?;
    let count = fields.count()?;
    if count > fields.rest().len() {
        return Err(Error::corrupt("series has more labels than bytes"));
    }
    let mut pairs = Vec::with_capacity(count);
    for index in 0..count {
        let before = last.get(index);
        let pair = match (fields.u8()?, before) {
            (0, Some(before)) => before.clone(),
            (1, Some((name, value))) => {
                let shared = fields.count()?;
                let shared = value.as_bytes().get(..shared).ok_or_else(|| Error::corrupt("label shares too much"))?;
                (Arc::clone(name), text(&[shared, fields.bytes()?].concat())?)
            }
            (2, _) => (text(fields.bytes()?)?, text(fields.bytes()?)?),
            _ => return Err(Error::corrupt("label refers to a label that is not there")),
        };
        pairs.push(pair);
    }
    let labels =
        Labels::new(pairs.iter().cloned()).map_err(|error| Error::corrupt("labels of a series").with_source(error))?;
    *last = pairs;
    Ok(Entry { metric, labels })
}

fn text(bytes: &[u8]) -> Result<Arc<str>> {
    std::str::from_utf8(bytes).map(Arc::from).map_err(|_| Error::corrupt("label is not UTF-8"))
}

/// Unites blocks.
///
/// # Errors
/// `Corrupt` if a value cannot be read.
pub(crate) fn merge<'a>(block: u32, values: impl Iterator<Item = &'a [u8]>) -> Result<Bytes> {
    let mut series = BTreeMap::new();
    for value in values {
        series.extend(decode(block, value)?);
    }
    Ok(encode(series.iter().map(|(id, entry)| (*id, entry))))
}

#[cfg(test)]
mod tests;
