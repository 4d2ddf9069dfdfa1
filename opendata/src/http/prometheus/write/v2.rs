//! The message of version 2.0, `io.prometheus.write.v2.Request`: texts stand once, in a table.
//!
//! ```text
//! Request { repeated string symbols 4, repeated TimeSeries 5 }
//! TimeSeries { repeated uint32 labels_refs 1, repeated Sample 2, repeated Histogram 3, repeated Exemplar 4, Metadata 5,
//!              int64 created_timestamp 6 }
//! Sample { double value 1, int64 timestamp 2, int64 start_timestamp 3 }
//! Exemplar { repeated uint32 labels_refs 1, double value 2, int64 timestamp 3 }
//! Metadata { type 1, uint32 help_ref 3, uint32 unit_ref 4 }
//! ```
//! Since when a sample counts is said by itself, or for all samples of its series (which is how the specification began).

use opendata_core::Timestamp;
use opendata_tsdb::Labels;

use super::receiver::Batch;
use super::{distribution, labels, v1};
use crate::proto::{Malformed, Message, put_label, repeated};

#[derive(Default)]
struct Scratch<'a> {
    refs: Vec<u64>,
    labels: Vec<u8>,
    samples: Vec<(Timestamp, f64)>,
    /// Since when each of them counts; 0 if it does not say.
    starts: Vec<Timestamp>,
    histograms: Vec<&'a [u8]>,
    exemplars: Vec<&'a [u8]>,
    metadata: Option<&'a [u8]>,
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
    scratch.starts.clear();
    scratch.histograms.clear();
    scratch.exemplars.clear();
    scratch.metadata = None;
    let mut message = Message::new(bytes);
    let mut created = Timestamp(0);
    while let Some((number, value)) = message.next()? {
        match number {
            1 => repeated(value, |symbol| scratch.refs.push(symbol))?,
            2 => {
                let (at, value, start) = v1::sample(value)?;
                scratch.samples.push((at, value));
                scratch.starts.push(start);
            }
            3 => scratch.histograms.push(value.bytes()?),
            4 => scratch.exemplars.push(value.bytes()?),
            5 => scratch.metadata = Some(value.bytes()?),
            6 => created = Timestamp(value.signed()?),
            _ => {}
        }
    }
    let samples = (scratch.samples.len() + scratch.histograms.len()) as u64;
    let found = match label_fields(&scratch.refs, symbols, &mut scratch.labels) {
        Ok(()) => batch.labels(&scratch.labels),
        Err(why) => {
            batch.reason(why.to_owned());
            None
        }
    };
    let Some(series) = found else {
        batch.refuse((samples + scratch.exemplars.len() as u64).max(1));
        return Ok(());
    };
    if samples == 0 {
        batch.refuse(1.max(scratch.exemplars.len() as u64));
        batch.reason(format!("a series has neither samples nor histograms, series={series}"));
        return Ok(());
    }
    for bytes in &scratch.histograms {
        let (at, start, histogram) = distribution::decode(bytes)?;
        batch.histogram(&series, since(Timestamp(start), created), Timestamp(at), histogram);
    }
    for bytes in &scratch.exemplars {
        exemplar(bytes, symbols, &series, batch)?;
    }
    if let Some(bytes) = scratch.metadata {
        metadata(bytes, symbols, &series, batch)?;
    }
    scratch.starts.iter_mut().for_each(|start| *start = since(*start, created));
    let mut samples = scratch.samples.as_slice();
    for alike in scratch.starts.chunk_by(|one, next| one == next) {
        let (now, later) = samples.split_at_checked(alike.len()).unwrap_or_default();
        if let Some(start) = alike.first() {
            batch.samples(series.clone(), *start, now);
        }
        samples = later;
    }
    Ok(())
}

/// What a sample says itself, or else its series.
fn since(own: Timestamp, of_series: Timestamp) -> Timestamp {
    if own.0 == 0 { of_series } else { own }
}

fn exemplar(bytes: &[u8], symbols: &[&str], series: &Labels, batch: &mut Batch<'_>) -> Result<(), Malformed> {
    let mut message = Message::new(bytes);
    let (mut refs, mut at, mut number) = (Vec::new(), 0, 0.0);
    while let Some((field, value)) = message.next()? {
        match field {
            1 => repeated(value, |symbol| refs.push(symbol))?,
            2 => number = value.double()?,
            3 => at = value.signed()?,
            _ => {}
        }
    }
    let mut fields = Vec::new();
    let found = label_fields(&refs, symbols, &mut fields).map_err(str::to_owned);
    batch.exemplar(series, found.and_then(|()| labels::of_exemplar(&fields)), Timestamp(at), number);
    Ok(())
}

fn metadata(bytes: &[u8], symbols: &[&str], series: &Labels, batch: &mut Batch<'_>) -> Result<(), Malformed> {
    let mut message = Message::new(bytes);
    let (mut kind, mut help, mut unit) = (0, 0, 0);
    while let Some((field, value)) = message.next()? {
        match field {
            1 => kind = value.unsigned()?,
            3 => help = value.unsigned()?,
            4 => unit = value.unsigned()?,
            _ => {}
        }
    }
    match (series.metric_name(), text(symbols, unit), text(symbols, help)) {
        // A sender that knows nothing about a metric says this of it.
        (_, Ok(""), Ok("")) if kind == 0 => {}
        (Some(metric), Ok(unit), Ok(help)) => batch.metadata(metric, kind, unit, help),
        _ => {
            batch.refuse(1);
            batch.reason(format!("metadata refers to a symbol that is not there, series={series}"));
        }
    }
    Ok(())
}

fn text<'a>(symbols: &[&'a str], symbol: u64) -> Result<&'a str, &'static str> {
    let text = usize::try_from(symbol).ok().and_then(|symbol| symbols.get(symbol));
    text.copied().ok_or("a label refers to a symbol that is not there")
}

/// The labels as version 1.0 has them, by which they are known.
fn label_fields(refs: &[u64], symbols: &[&str], out: &mut Vec<u8>) -> Result<(), &'static str> {
    out.clear();
    let (pairs, odd) = refs.as_chunks::<2>();
    if !odd.is_empty() {
        return Err("a label has a name and no value");
    }
    for [name, value] in pairs {
        put_label(out, 1, text(symbols, *name)?, text(symbols, *value)?);
    }
    Ok(())
}
