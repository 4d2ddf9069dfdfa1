//! Windows of event time: aggregates that are kept until the watermark has passed their end, and a while longer for late corrections.
//!
//! ```text
//! state `edge/<id>`, key: 01 | state u32 | end i64 | metric u16 | for each label: name, terminated, value, terminated
//! value: layout 1 | 1 if the result was written, else 0 | kind u8 | kind's own
//!   kind 1 sum: varint count of parts, f64 each | 2 count: varint | 3 min: f64 | 4 max: f64
//! ```
//!
//! Everything that decides (which window, late or not, closed or not) depends on the records and their order only, never on where a transaction ended. A
//! window's result is a sample at its end, written when the watermark reaches the end and again when a late value corrects it; of two samples at one time
//! the later one stands.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result, Timestamp};
use opendata_tsdb::Labels;

use super::spec::Aggregate;
use super::sum::{ExactSum, LIMIT};
use super::transform::{Output, Windowed};

const LAYOUT: u8 = 1;
/// What the keys of windows begin with.
pub(crate) const WINDOW: u8 = 0x01;
/// Results and removals that one transaction takes at most.
const STEP: usize = 8_192;

/// Which window: its end, its metric, its labels.
type Id = (i64, u16, Labels);

/// The open windows of an edge.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    defined: Vec<Windowed>,
    lateness_ms: i64,
    limit: usize,
    open: BTreeMap<Id, Slot>,
    /// Changed since they were stored.
    dirty: BTreeSet<Id>,
    /// Their end is passed and their result is not written.
    due: BTreeSet<Id>,
}

#[derive(Clone, Debug, PartialEq)]
struct Slot {
    value: Aggregated,
    written: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Aggregated {
    Sum(ExactSum),
    Count(u64),
    Min(f64),
    Max(f64),
}

/// What became of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Observed {
    /// It is in all its windows.
    Taken,
    /// At least one of its windows had gone for good.
    Late,
}

/// Rows of state to set or to remove.
pub(crate) type StateRows = Vec<(Bytes, Option<Bytes>)>;

impl Windows {
    pub(crate) fn new(defined: &[Windowed], lateness_ms: u64, limit: u32) -> Self {
        let lateness_ms = i64::try_from(lateness_ms).unwrap_or(i64::MAX);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { defined: defined.to_vec(), lateness_ms, limit, ..Self::default() }
    }

    /// Takes a stored window back.
    pub(crate) fn load(&mut self, key: &[u8], value: &[u8], watermark: Timestamp) -> Result<()> {
        let id = decode_key(key)?;
        let slot = Slot::decode(value)?;
        if !slot.written && id.0 <= watermark.0 {
            self.due.insert(id.clone());
        }
        self.open.insert(id, slot);
        Ok(())
    }

    /// Takes a value of an event at a time.
    ///
    /// # Errors
    /// `Backpressure` if there are more open windows than memory is allowed for.
    pub(crate) fn observe(
        &mut self,
        metric: u16,
        labels: &Labels,
        at: Timestamp,
        value: f64,
        watermark: Timestamp,
    ) -> Result<Observed> {
        let Some(windowed) = self.defined.get(usize::from(metric)).cloned() else {
            return Err(Error::invalid(format!(
                "a transform speaks of a window that it does not define, metric={metric}"
            )));
        };
        let length = i64::try_from(windowed.window.length_ms).unwrap_or(i64::MAX);
        let every = windowed.window.every_ms.map_or(length, |every| i64::try_from(every).unwrap_or(i64::MAX)).max(1);
        let mut observed = Observed::Taken;
        // The last window that holds the event begins at or before it; the others one step earlier each.
        let last = at.0.div_euclid(every) * every;
        let mut start = last;
        while start > at.0.saturating_sub(length) {
            let end = start.saturating_add(length);
            if watermark.0 >= end.saturating_add(self.lateness_ms) {
                observed = Observed::Late;
            } else {
                self.put((end, metric, labels.clone()), windowed.aggregate, value, watermark)?;
            }
            start = start.saturating_sub(every);
        }
        Ok(observed)
    }

    fn put(&mut self, id: Id, aggregate: Aggregate, value: f64, watermark: Timestamp) -> Result<()> {
        match self.open.get_mut(&id) {
            Some(slot) => slot.add(value),
            None => {
                if self.open.len() >= self.limit {
                    return Err(Error::backpressure(format!("too many open windows, limit={}", self.limit)));
                }
                self.open.insert(id.clone(), Slot::new(aggregate, value));
            }
        }
        if id.0 <= watermark.0 {
            self.due.insert(id.clone());
        }
        self.dirty.insert(id);
        Ok(())
    }

    /// The watermark moved on.
    pub(crate) fn advance(&mut self, from: Timestamp, to: Timestamp) {
        if to <= from || self.open.is_empty() {
            return;
        }
        let from = (from.0.saturating_add(1), 0, Labels::empty());
        let passed = self.open.range((Bound::Included(from), Bound::Unbounded));
        let passed = passed.take_while(|((end, ..), _)| *end <= to.0);
        let due: Vec<Id> = passed.filter(|(_, slot)| !slot.written).map(|(id, _)| id.clone()).collect();
        self.due.extend(due);
    }

    /// Whether there is anything to write.
    pub(crate) fn is_due(&self, watermark: Timestamp) -> bool {
        !self.due.is_empty() || self.open.keys().next().is_some_and(|id| self.is_gone(id, watermark))
    }

    fn is_gone(&self, id: &Id, watermark: Timestamp) -> bool {
        watermark.0 >= id.0.saturating_add(self.lateness_ms)
    }

    /// What a transaction has to write: results that are due, windows that changed, and windows to forget.
    pub(crate) fn flush(&mut self, state: u32, watermark: Timestamp, outputs: &mut Vec<Output>) -> StateRows {
        let mut rows = StateRows::new();
        for _ in 0..STEP {
            let Some(id) = self.due.pop_first() else { break };
            if let Some(slot) = self.open.get_mut(&id) {
                slot.written = true;
                outputs.push(Output::Sample(id.2.clone(), Timestamp(id.0), slot.value()));
                self.dirty.insert(id);
            }
        }
        while rows.len() < STEP {
            let Some(entry) = self.open.first_entry() else { break };
            let gone = watermark.0 >= entry.key().0.saturating_add(self.lateness_ms);
            if !gone || !entry.get().written {
                break;
            }
            let (id, _) = entry.remove_entry();
            self.dirty.remove(&id);
            rows.push((encode_key(state, &id), None));
        }
        rows.extend(self.store(state));
        rows
    }

    /// The windows that changed.
    pub(crate) fn store(&mut self, state: u32) -> StateRows {
        let dirty = std::mem::take(&mut self.dirty);
        let row = |id: Id| Some((encode_key(state, &id), Some(self.open.get(&id)?.encode())));
        dirty.into_iter().filter_map(row).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// How these windows differ from others: each that does in words, with what is here and what is there. Whether a result was written yet is no difference.
    pub(crate) fn differences(&self, other: &Self) -> Vec<(String, Option<String>, Option<String>)> {
        let ids: BTreeSet<&Id> = self.open.keys().chain(other.open.keys()).collect();
        let value = |windows: &Self, id: &Id| windows.open.get(id).map(|slot| slot.value.clone());
        let unlike = ids.into_iter().filter(|id| value(self, id) != value(other, id));
        let words = |slot: Option<&Slot>| slot.map(|slot| slot.value().to_string());
        unlike.map(|id| (describe(id), words(self.open.get(id)), words(other.open.get(id)))).collect()
    }

    /// Forgets windows that have gone, whether their result was written or not.
    pub(crate) fn forget_gone(&mut self, watermark: Timestamp) {
        let lateness_ms = self.lateness_ms;
        self.open.retain(|id, _| watermark.0 < id.0.saturating_add(lateness_ms));
    }

    /// The windows whose results are due and still to be written.
    pub(crate) fn only_unwritten(&self, watermark: Timestamp) -> Self {
        let due = |(id, slot): &(&Id, &Slot)| !slot.written && id.0 <= watermark.0;
        let open = self.open.iter().filter(due).map(|(id, slot)| (id.clone(), slot.clone())).collect();
        Self { open, ..Self::default() }
    }

    /// The times at which windows of these labels end.
    pub(crate) fn ends_of(&self, labels: &Labels) -> BTreeSet<i64> {
        self.open.keys().filter(|id| id.2 == *labels).map(|id| id.0).collect()
    }
}

/// A value that no window can take.
pub(crate) fn check_value(value: f64) -> Result<(), String> {
    if value.is_finite() && value.abs() <= LIMIT {
        return Ok(());
    }
    Err(format!("a window cannot take the value {value}"))
}

impl Slot {
    fn new(aggregate: Aggregate, value: f64) -> Self {
        let value = match aggregate {
            Aggregate::Count => Aggregated::Count(1),
            Aggregate::Min => Aggregated::Min(value),
            Aggregate::Max => Aggregated::Max(value),
            _ => {
                let mut sum = ExactSum::default();
                sum.add(value);
                Aggregated::Sum(sum)
            }
        };
        Self { value, written: false }
    }

    fn add(&mut self, value: f64) {
        match &mut self.value {
            Aggregated::Sum(sum) => sum.add(value),
            Aggregated::Count(count) => *count += 1,
            Aggregated::Min(least) => *least = least.min(value),
            Aggregated::Max(most) => *most = most.max(value),
        }
        self.written = false;
    }

    #[expect(clippy::cast_precision_loss, reason = "a count beyond 2^53 is rounded as any number of a TSDB")]
    fn value(&self) -> f64 {
        match &self.value {
            Aggregated::Sum(sum) => sum.value(),
            Aggregated::Count(count) => *count as f64,
            Aggregated::Min(value) | Aggregated::Max(value) => *value,
        }
    }

    fn encode(&self) -> Bytes {
        let mut value = Encoder::new(LAYOUT);
        value.u8(u8::from(self.written));
        match &self.value {
            Aggregated::Sum(sum) => {
                value.u8(1).varint(sum.parts().len() as u64);
                sum.parts().iter().for_each(|part| {
                    value.f64(*part);
                });
            }
            Aggregated::Count(count) => drop(value.u8(2).varint(*count)),
            Aggregated::Min(least) => drop(value.u8(3).f64(*least)),
            Aggregated::Max(most) => drop(value.u8(4).f64(*most)),
        }
        value.finish()
    }

    fn decode(value: &[u8]) -> Result<Self> {
        let mut fields = Decoder::new(value);
        fields.layout(LAYOUT)?;
        let written = fields.u8()? == 1;
        let value = match fields.u8()? {
            1 => {
                let count = fields.count()?;
                let mut parts = Vec::new();
                for _ in 0..count {
                    parts.push(fields.f64()?);
                }
                Aggregated::Sum(ExactSum::from_parts(parts))
            }
            2 => Aggregated::Count(fields.varint()?),
            3 => Aggregated::Min(fields.f64()?),
            4 => Aggregated::Max(fields.f64()?),
            kind => return Err(Error::corrupt(format!("unknown kind of a window, kind={kind}"))),
        };
        fields.finish()?;
        Ok(Self { value, written })
    }
}

/// What the keys of the windows of one number begin with.
pub(crate) fn key_prefix(state: u32) -> Bytes {
    let mut key = vec![WINDOW];
    key.extend_from_slice(&state.to_be_bytes());
    key.into()
}

fn encode_key(state: u32, (end, metric, labels): &Id) -> Bytes {
    let mut key = key_prefix(state).to_vec();
    key.extend_from_slice(&(end.cast_unsigned() ^ (1 << 63)).to_be_bytes());
    key.extend_from_slice(&metric.to_be_bytes());
    for label in labels.iter() {
        for text in [label.name(), label.value()] {
            // A zero is followed by ff inside a text and by another zero at its end: as core's terminated fields.
            for byte in text.bytes() {
                key.push(byte);
                if byte == 0 {
                    key.push(0xff);
                }
            }
            key.extend_from_slice(&[0, 0]);
        }
    }
    key.into()
}

fn describe((end, metric, labels): &Id) -> String {
    format!("{labels}, number {metric}, that ends at {end}")
}

fn decode_key(key: &[u8]) -> Result<Id> {
    let ends = || Error::corrupt("the key of a window ends inside a field");
    let rest = key.get(5..).ok_or_else(ends)?;
    let (end, rest) = rest.split_first_chunk::<8>().ok_or_else(ends)?;
    let (metric, mut rest) = rest.split_first_chunk::<2>().ok_or_else(ends)?;
    let mut texts = Vec::new();
    let mut text = Vec::new();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != 0 {
            text.push(*byte);
            continue;
        }
        let (mark, after) = rest.split_first().ok_or_else(ends)?;
        rest = after;
        match mark {
            0 => texts
                .push(String::from_utf8(std::mem::take(&mut text)).map_err(|_| Error::corrupt("a label is no text"))?),
            _ => text.push(0),
        }
    }
    let mut pairs = Vec::with_capacity(texts.len() / 2);
    let mut texts = texts.into_iter();
    while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
        pairs.push((name, value));
    }
    let end = (u64::from_be_bytes(*end) ^ (1 << 63)).cast_signed();
    Ok((end, u16::from_be_bytes(*metric), Labels::new(pairs)?))
}

#[cfg(test)]
mod tests;
