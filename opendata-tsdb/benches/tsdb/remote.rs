//! Remote write, version 1: what every peer takes.

use opendata_tsdb::Labels;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    series: Vec<TimeSeries>,
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
    time_ms: i64,
}

pub(crate) const HEADERS: &str = "Content-Encoding: snappy\r\nContent-Type: application/x-protobuf\r\n\
                                  X-Prometheus-Remote-Write-Version: 0.1.0\r\nUser-Agent: bench\r\n";

/// A request body with these samples.
pub(crate) fn body<'a>(samples: impl Iterator<Item = (&'a Labels, &'a [(i64, f64)])>) -> Vec<u8> {
    let series = samples
        .map(|(labels, samples)| TimeSeries {
            labels: labels
                .iter()
                .map(|label| Label { name: label.name().to_owned(), value: label.value().to_owned() })
                .collect(),
            samples: samples.iter().map(|(time_ms, value)| Sample { value: *value, time_ms: *time_ms }).collect(),
        })
        .collect();
    let message = WriteRequest { series }.encode_to_vec();
    snap::raw::Encoder::new().compress_vec(&message).unwrap()
}
