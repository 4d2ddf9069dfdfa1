//! The message of version 1.0, `prometheus.WriteRequest`.
//!
//! ```text
//! WriteRequest { repeated TimeSeries 1, repeated MetricMetadata 3 }
//! TimeSeries { repeated Label 1, repeated Sample 2, repeated Exemplar 3, repeated Histogram 4 }
//! Sample { double value 1, int64 timestamp 2 }
//! Exemplar { repeated Label 1, double value 2, int64 timestamp 3 }
//! MetricMetadata { type 1, string metric 2, string help 4, string unit 5 }
//! ```

use opendata_core::Timestamp;

use super::receiver::Batch;
use super::{distribution, labels};
use crate::proto::{Malformed, Message, Value, put_bytes};

/// What is gathered of a series, kept from one to the next for its memory.
#[derive(Default)]
struct Scratch<'a> {
    /// The labels, where they do not stand one behind the other.
    labels: Vec<u8>,
    samples: Vec<(Timestamp, f64)>,
    histograms: Vec<&'a [u8]>,
    exemplars: Vec<&'a [u8]>,
}

/// Reads a message into a batch.
pub(super) fn decode(bytes: &[u8], batch: &mut Batch<'_>) -> Result<(), Malformed> {
    let mut message = Message::new(bytes);
    let mut scratch = Scratch::default();
    while let Some((number, value)) = message.next()? {
        match number {
            1 => series(value.bytes()?, &mut scratch, batch)?,
            3 => metadata(value.bytes()?, batch)?,
            _ => {}
        }
    }
    Ok(())
}

fn series<'a>(bytes: &'a [u8], scratch: &mut Scratch<'a>, batch: &mut Batch<'_>) -> Result<(), Malformed> {
    scratch.labels.clear();
    scratch.samples.clear();
    scratch.histograms.clear();
    scratch.exemplars.clear();
    let mut message = Message::new(bytes);
    // Mostly they do, and are looked up where they lie.
    let (mut together, mut scattered) = (0..0, false);
    loop {
        let begin = bytes.len() - message.left();
        let Some((number, value)) = message.next()? else { break };
        match number {
            1 => {
                value.bytes()?;
                let first = if together.is_empty() { begin } else { together.start };
                scattered |= !together.is_empty() && together.end != begin;
                together = first..bytes.len() - message.left();
            }
            2 => {
                let (at, value, _) = sample(value)?;
                scratch.samples.push((at, value));
            }
            3 => scratch.exemplars.push(value.bytes()?),
            4 => scratch.histograms.push(value.bytes()?),
            _ => {}
        }
    }
    if scattered {
        gather(bytes, &mut scratch.labels)?;
    }
    let labels = if scattered { &scratch.labels } else { bytes.get(together).unwrap_or_default() };
    let Some(series) = batch.labels(labels) else {
        batch.refuse((scratch.samples.len() + scratch.histograms.len() + scratch.exemplars.len()) as u64);
        return Ok(());
    };
    for bytes in &scratch.histograms {
        let (at, _, histogram) = distribution::decode(bytes)?;
        batch.histogram(&series, Timestamp(0), Timestamp(at), histogram);
    }
    for bytes in &scratch.exemplars {
        let (exemplar, at, value) = exemplar(bytes)?;
        batch.exemplar(&series, labels::of_exemplar(&exemplar), at, value);
    }
    if !scratch.samples.is_empty() {
        batch.samples(series, Timestamp(0), &scratch.samples);
    }
    Ok(())
}

/// Puts the labels of a series one behind the other.
fn gather(bytes: &[u8], labels: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut message = Message::new(bytes);
    while let Some((number, value)) = message.next()? {
        if number == 1 {
            put_bytes(labels, 1, value.bytes()?);
        }
    }
    Ok(())
}

fn exemplar(bytes: &[u8]) -> Result<(Vec<u8>, Timestamp, f64), Malformed> {
    let mut message = Message::new(bytes);
    let (mut labels, mut at, mut number) = (Vec::new(), 0, 0.0);
    while let Some((field, value)) = message.next()? {
        match field {
            1 => put_bytes(&mut labels, 1, value.bytes()?),
            2 => number = value.double()?,
            3 => at = value.signed()?,
            _ => {}
        }
    }
    Ok((labels, Timestamp(at), number))
}

fn metadata(bytes: &[u8], batch: &mut Batch<'_>) -> Result<(), Malformed> {
    let mut message = Message::new(bytes);
    let (mut kind, mut metric, mut help, mut unit) = (0, "", "", "");
    while let Some((field, value)) = message.next()? {
        match field {
            1 => kind = value.unsigned()?,
            2 => metric = value.text()?,
            4 => help = value.text()?,
            5 => unit = value.text()?,
            _ => {}
        }
    }
    batch.metadata(metric, kind, unit, help);
    Ok(())
}

/// A sample, as both versions have it: time, value, and since when it counts, which only version 2.0 says.
pub(super) fn sample(value: Value<'_>) -> Result<(Timestamp, f64, Timestamp), Malformed> {
    let mut message = Message::new(value.bytes()?);
    let (mut at, mut number, mut start) = (0, 0.0, 0);
    while let Some((field, value)) = message.next()? {
        match field {
            1 => number = value.double()?,
            2 => at = value.signed()?,
            3 => start = value.signed()?,
            _ => {}
        }
    }
    Ok((Timestamp(at), number, Timestamp(start)))
}
