//! The message of version 1.0, `prometheus.WriteRequest`.
//!
//! ```text
//! WriteRequest { repeated TimeSeries 1, repeated MetricMetadata 3 }
//! TimeSeries { repeated Label 1, repeated Sample 2, repeated Exemplar 3, repeated Histogram 4 }
//! Sample { double value 1, int64 timestamp 2 }
//! ```

use opendata_core::Timestamp;

use super::distribution;
use super::receiver::Batch;
use crate::http::prometheus::proto::{Malformed, Message, Value, put_bytes};

/// What is gathered of a series, kept from one to the next for its memory.
#[derive(Default)]
struct Scratch<'a> {
    labels: Vec<u8>,
    samples: Vec<(Timestamp, f64)>,
    histograms: Vec<&'a [u8]>,
    exemplars: u64,
}

/// Reads a message into a batch.
pub(super) fn decode(bytes: &[u8], batch: &mut Batch<'_>) -> Result<(), Malformed> {
    let mut message = Message::new(bytes);
    let mut scratch = Scratch::default();
    while let Some((number, value)) = message.next()? {
        if number == 1 {
            series(value.bytes()?, &mut scratch, batch)?;
        }
    }
    Ok(())
}

fn series<'a>(bytes: &'a [u8], scratch: &mut Scratch<'a>, batch: &mut Batch<'_>) -> Result<(), Malformed> {
    scratch.labels.clear();
    scratch.samples.clear();
    scratch.histograms.clear();
    scratch.exemplars = 0;
    let mut message = Message::new(bytes);
    while let Some((number, value)) = message.next()? {
        match number {
            1 => put_bytes(&mut scratch.labels, 1, value.bytes()?),
            2 => scratch.samples.push(sample(value)?),
            3 => scratch.exemplars += 1,
            4 => scratch.histograms.push(value.bytes()?),
            _ => {}
        }
    }
    let Some(labels) = batch.labels(&scratch.labels) else {
        batch.refuse((scratch.samples.len() + scratch.histograms.len()) as u64 + scratch.exemplars);
        return Ok(());
    };
    for bytes in &scratch.histograms {
        let (at, histogram) = distribution::decode(bytes)?;
        batch.histogram(&labels, Timestamp(at), histogram);
    }
    if !scratch.samples.is_empty() {
        batch.samples(labels, &scratch.samples);
    }
    Ok(())
}

/// A sample, as both versions have it.
pub(super) fn sample(value: Value<'_>) -> Result<(Timestamp, f64), Malformed> {
    let mut message = Message::new(value.bytes()?);
    let (mut at, mut number) = (0, 0.0);
    while let Some((field, value)) = message.next()? {
        match field {
            1 => number = value.double()?,
            2 => at = value.signed()?,
            _ => {}
        }
    }
    Ok((Timestamp(at), number))
}
