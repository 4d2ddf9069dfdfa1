//! Label sets that were seen before.
//!
//! A sender repeats the labels of every series in each request. What stands for them in the message, bytes, is looked
//! up here, so that a known series costs one hash and one comparison, and no allocation. Bounded: what was not used
//! while as much else was is forgotten.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;
use opendata_tsdb::{Labels, METRIC_NAME};

use crate::proto::{Malformed, Message};

/// In so many parts, so that requests side by side do not wait for one another.
const PARTS: usize = 16;

/// Label sets by the bytes of their message.
#[derive(Debug)]
pub(super) struct LabelCache {
    hasher: RandomState,
    parts: Vec<Mutex<Part>>,
    /// Bytes of keys in one generation of one part.
    most: usize,
}

#[derive(Debug, Default)]
struct Part {
    young: Generation,
    old: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    /// By the hash of their bytes. Of two with the same hash the one that was asked for last is known.
    sets: HashMap<u64, Known, RandomState>,
    texts: HashSet<Arc<str>, RandomState>,
    bytes: usize,
}

#[derive(Debug)]
struct Known {
    fields: Box<[u8]>,
    labels: Labels,
}

impl Generation {
    fn get(&self, hash: u64, fields: &[u8]) -> Option<&Labels> {
        self.sets.get(&hash).filter(|known| *known.fields == *fields).map(|known| &known.labels)
    }
}

impl LabelCache {
    /// A cache for about so many bytes of labels.
    pub(super) fn new(bytes: usize) -> Self {
        let parts = (0..PARTS).map(|_| Mutex::default()).collect();
        Self { hasher: RandomState::default(), parts, most: bytes / (2 * PARTS) }
    }

    /// The label set of a message's `labels` fields, one after the other: `0a` (the field), length, label.
    ///
    /// # Errors
    /// Why no series can have these labels.
    pub(super) fn get(&self, fields: &[u8]) -> Result<Labels, String> {
        let hash = self.hasher.hash_one(fields);
        let at = usize::try_from(hash >> 60).unwrap_or(0);
        let Some(part) = self.parts.get(at % PARTS) else { return decode(fields, |text| text.into()) };
        let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(labels) = part.young.get(hash, fields) {
            return Ok(labels.clone());
        }
        let labels = match part.old.get(hash, fields) {
            Some(labels) => labels.clone(),
            None => decode(fields, |text| part.text(text))?,
        };
        part.young.bytes += fields.len();
        part.young.sets.insert(hash, Known { fields: fields.into(), labels: labels.clone() });
        if part.young.bytes > self.most {
            part.old = std::mem::take(&mut part.young);
        }
        Ok(labels)
    }
}

impl Part {
    /// A text, shared with the label sets that have it too.
    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.young.texts.get(text) {
            return Arc::clone(known);
        }
        let shared = match self.old.texts.get(text) {
            Some(known) => Arc::clone(known),
            None => Arc::from(text),
        };
        self.young.bytes += text.len();
        self.young.texts.insert(Arc::clone(&shared));
        shared
    }
}

/// The label set of an exemplar, which need not name a metric.
pub(super) fn of_exemplar(fields: &[u8]) -> Result<Labels, String> {
    Labels::new(pairs(fields, |text| Arc::from(text))?).map_err(|error| error.message().to_owned())
}

/// The label set of a series: what a sender may not leave out or repeat is checked.
fn decode(fields: &[u8], shared: impl FnMut(&str) -> Arc<str>) -> Result<Labels, String> {
    let labels = Labels::new(pairs(fields, shared)?).map_err(|error| error.message().to_owned())?;
    match labels.get(METRIC_NAME) {
        Some(_) => Ok(labels),
        None => Err(format!("a series has no metric name, series={labels}")),
    }
}

type Pairs = Vec<(Arc<str>, Arc<str>)>;

/// Takes the fields apart.
fn pairs(fields: &[u8], mut shared: impl FnMut(&str) -> Arc<str>) -> Result<Pairs, String> {
    let malformed = |error: Malformed| error.0.to_owned();
    let mut message = Message::new(fields);
    let mut pairs = Pairs::with_capacity(16);
    while let Some((_, label)) = message.next().map_err(malformed)? {
        let mut label = Message::new(label.bytes().map_err(malformed)?);
        let (mut name, mut value) = ("", "");
        while let Some((number, field)) = label.next().map_err(malformed)? {
            match number {
                1 => name = field.text().map_err(malformed)?,
                2 => value = field.text().map_err(malformed)?,
                _ => {}
            }
        }
        pairs.push((shared(name), shared(value)));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests;
