//! The message of version 2.0, `io.prometheus.write.v2.Request`: texts stand once, in a table.
//!
//! ```text
//! Request { repeated string symbols 4, repeated TimeSeries 5 }
//! TimeSeries { repeated uint32 labels_refs 1, repeated Sample 2, repeated Histogram 3, repeated Exemplar 4, Metadata 5 }
//! Metadata { type 1, uint32 help_ref 3, uint32 unit_ref 4 }
//! ```

use opendata_core::Timestamp;

use super::receiver::Batch;
use super::{distribution, v1};
use crate::http::prometheus::proto::{Malformed, Message, put_label, repeated};

#[derive(Default)]
struct Scratch<'a> {
    refs: Vec<u64>,
    labels: Vec<u8>,
    samples: Vec<(Timestamp, f64)>,
    histograms: Vec<&'a [u8]>,
    exemplars: u64,
}

/// Reads a message into a batch.
pub(super) fn decode(bytes: &[u8], batch: &mut Batch<'_>) -> Result<(), Malformed> {
    // The table may stand behind the series, so it is read first.
    let mut symbols = Vec::new();
    let mut message = Message::new(bytes);
    while let Some((number, value)) = message.next()? {
        if number == 4 {
            symbols.push(value.text()?);
        }
    }
    let mut message = Message::new(bytes);
    let mut scratch = Scratch::default();
    while let Some((number, value)) = message.next()? {
        if number == 5 {
            series(value.bytes()?, &symbols, &mut scratch, batch)?;
        }
    }
    Ok(())
}

fn series<'a>(
    bytes: &'a [u8],
    symbols: &[&str],
    scratch: &mut Scratch<'a>,
    batch: &mut Batch<'_>,
) -> Result<(), Malformed> {
    scratch.refs.clear();
    scratch.samples.clear();
    scratch.histograms.clear();
    scratch.exemplars = 0;
    let mut message = Message::new(bytes);
    while let Some((number, value)) = message.next()? {
        match number {
            1 => repeated(value, |symbol| scratch.refs.push(symbol))?,
            2 => scratch.samples.push(v1::sample(value)?),
            3 => scratch.histograms.push(value.bytes()?),
            4 => scratch.exemplars += 1,
            _ => {}
        }
    }
    let samples = (scratch.samples.len() + scratch.histograms.len()) as u64;
    let labels = match label_fields(&scratch.refs, symbols, &mut scratch.labels) {
        Ok(()) => batch.labels(&scratch.labels),
        Err(why) => {
            batch.reason(why.to_owned());
            None
        }
    };
    let Some(labels) = labels else {
        batch.refuse((samples + scratch.exemplars).max(1));
        return Ok(());
    };
    if samples == 0 {
        batch.refuse(scratch.exemplars.max(1));
        batch.reason(format!("a series has neither samples nor histograms, series={labels}"));
        return Ok(());
    }
    for bytes in &scratch.histograms {
        let (at, histogram) = distribution::decode(bytes)?;
        batch.histogram(&labels, Timestamp(at), histogram);
    }
    if !scratch.samples.is_empty() {
        batch.samples(labels, &scratch.samples);
    }
    Ok(())
}

/// The labels as version 1.0 has them, by which they are known.
fn label_fields(refs: &[u64], symbols: &[&str], out: &mut Vec<u8>) -> Result<(), &'static str> {
    out.clear();
    let text = |symbol: u64| {
        let text = usize::try_from(symbol).ok().and_then(|symbol| symbols.get(symbol));
        text.copied().ok_or("a label refers to a symbol that is not there")
    };
    let (pairs, odd) = refs.as_chunks::<2>();
    if !odd.is_empty() {
        return Err("a label has a name and no value");
    }
    for [name, value] in pairs {
        put_label(out, 1, text(*name)?, text(*value)?);
    }
    Ok(())
}
