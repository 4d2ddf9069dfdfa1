//! Prometheus remote write, version 1.0 of its specification: a `WriteRequest` in Protocol Buffers, compressed with Snappy's block format.

use std::collections::BTreeMap;

use bytes::Bytes;
use opendata_core::{Error, Result};
use opendata_tsdb::Labels;
use prost::Message;

use crate::edge::transform::Output;

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

pub(super) fn headers() -> [(&'static str, String); 3] {
    [
        ("content-type", "application/x-protobuf".to_owned()),
        ("content-encoding", "snappy".to_owned()),
        ("x-prometheus-remote-write-version", "0.1.0".to_owned()),
    ]
}

/// The samples of each series in order of time, one for each time: the last that was made.
pub(super) fn body(outputs: Vec<Output>) -> Result<Bytes> {
    let mut series: BTreeMap<Labels, BTreeMap<i64, f64>> = BTreeMap::new();
    for output in outputs {
        let Output::Sample(labels, at, value) = output else {
            return Err(Error::invalid("remote write takes samples only"));
        };
        series.entry(labels).or_default().insert(at.0, value);
    }
    let timeseries = series.into_iter().map(|(labels, samples)| TimeSeries {
        labels: labels
            .iter()
            .map(|label| Label { name: label.name().to_owned(), value: label.value().to_owned() })
            .collect(),
        samples: samples.into_iter().map(|(timestamp, value)| Sample { value, timestamp }).collect(),
    });
    let request = WriteRequest { timeseries: timeseries.collect() };
    let compressed = snap::raw::Encoder::new().compress_vec(&request.encode_to_vec());
    compressed.map(Bytes::from).map_err(|error| Error::invalid("samples cannot be compressed").with_source(error))
}
