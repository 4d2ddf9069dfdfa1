//! Remote read (<https://prometheus.io/docs/prometheus/latest/querying/remote_read_api/>): raw samples by matchers and
//! times, whole or as a stream of chunks.
//!
//! ```text
//! ReadRequest { repeated Query 1, repeated ResponseType accepted 2 }
//! Query { int64 start_ms 1, int64 end_ms 2, repeated LabelMatcher 3, ReadHints 4 }
//! LabelMatcher { type 1, string name 2, string value 3 }
//! ReadResponse { repeated QueryResult 1 { repeated TimeSeries 1 { labels 1, samples 2, histograms 4 } } }
//! ChunkedReadResponse { repeated ChunkedSeries 1 { labels 1, chunks 2 { min 1, max 2, encoding 3, data 4 } }, int64 query 2 }
//! ```
//!
//! A stream is made of frames: length (varint), checksum (CRC-32 Castagnoli of the message, big-endian), message. A
//! client that takes streams gets one; series with native histograms are told as samples to whoever takes those as well.

mod xor;

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::stream;
use opendata_compose::Tsdb;
use opendata_core::{Error, Result};
use opendata_tsdb::promql::{SampleValue, Series, Storage};
use opendata_tsdb::{Labels, MatchOp, Matcher};

use super::ask::instance_of_path;
use super::refused::Refused;
use super::write::{distribution, unpack};
use crate::http::Server;
use crate::proto::{Malformed, Message, Value, put_bytes, put_double, put_label, put_unsigned};

/// Samples in a chunk.
const CHUNK: usize = 120;
/// About how large a frame becomes.
const FRAME_BYTES: usize = 1 << 20;
/// The most samples that one answer may hold in memory.
const MAX_SAMPLES: usize = 50_000_000;

/// What the client asks for.
#[derive(Default)]
struct Asked {
    queries: Vec<Query>,
    takes_samples: bool,
    takes_stream: bool,
}

#[derive(Default)]
struct Query {
    start_ms: i64,
    end_ms: i64,
    matchers: Vec<Matcher>,
}

/// Answers with samples.
pub(super) async fn read(State(server): State<Server>, request: Request) -> Result<Response, Response> {
    let path = request.uri().path().to_owned();
    let body = Bytes::from_request(request, &server).await.map_err(IntoResponse::into_response)?;
    let body = unpack(&body, server.body_limit()).map_err(IntoResponse::into_response)?;
    let asked = asked(&body).map_err(|why| Refused::bad_data(why).into_response())?;
    let results = select(&server, &path, &asked.queries).await.map_err(|error| Refused::from(error).into_response())?;
    let has_histograms = results.iter().flatten().any(|series| !series.histograms.is_empty());
    match (asked.takes_stream, asked.takes_samples) {
        (true, samples) if !(has_histograms && samples) => match has_histograms {
            true => {
                Err(Refused::bad_data("native histograms are only told as samples, which the client does not take")
                    .into_response())
            }
            false => Ok(streamed(results)),
        },
        _ => sampled(&results).map_err(|error| Refused::from(error).into_response()),
    }
}

async fn select(server: &Server, path: &str, queries: &[Query]) -> Result<Vec<Vec<Series>>> {
    let view = server.view();
    let reader = view.get_reader::<Tsdb>(&instance_of_path(server, path)?)?;
    let (mut results, mut samples) = (Vec::with_capacity(queries.len()), 0);
    for query in queries {
        let mut found = reader.select(&query.matchers, query.start_ms, query.end_ms).await?;
        samples += found.iter().map(|series| series.timestamps.len()).sum::<usize>();
        if samples > MAX_SAMPLES {
            return Err(Error::invalid(format!("too many samples for one answer, limit={MAX_SAMPLES}")));
        }
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        results.push(found);
    }
    Ok(results)
}

fn asked(body: &[u8]) -> Result<Asked, String> {
    let malformed = |Malformed(why)| format!("the body is no prometheus.ReadRequest: {why}");
    let (mut message, mut asked) = (Message::new(body), Asked::default());
    let mut takes = Vec::new();
    while let Some((number, value)) = message.next().map_err(malformed)? {
        match number {
            1 => asked.queries.push(query(value)?),
            2 => crate::proto::repeated(value, |kind| takes.push(kind)).map_err(malformed)?,
            _ => {}
        }
    }
    asked.takes_samples = takes.is_empty() || takes.contains(&0);
    asked.takes_stream = takes.contains(&1);
    Ok(asked)
}

fn query(value: Value<'_>) -> Result<Query, String> {
    let malformed = |Malformed(why)| format!("a query cannot be read: {why}");
    let (mut message, mut query) = (Message::new(value.bytes().map_err(malformed)?), Query::default());
    while let Some((number, value)) = message.next().map_err(malformed)? {
        match number {
            1 => query.start_ms = value.signed().map_err(malformed)?,
            2 => query.end_ms = value.signed().map_err(malformed)?,
            3 => query.matchers.push(matcher(value)?),
            _ => {}
        }
    }
    Ok(query)
}

fn matcher(value: Value<'_>) -> Result<Matcher, String> {
    let malformed = |Malformed(why)| format!("a matcher cannot be read: {why}");
    let mut message = Message::new(value.bytes().map_err(malformed)?);
    let (mut op, mut name, mut pattern) = (MatchOp::Equal, "", "");
    while let Some((number, value)) = message.next().map_err(malformed)? {
        match number {
            1 => {
                op = match value.unsigned().map_err(malformed)? {
                    0 => MatchOp::Equal,
                    1 => MatchOp::NotEqual,
                    2 => MatchOp::Regex,
                    3 => MatchOp::NotRegex,
                    other => return Err(format!("a matcher is of an unknown type, type={other}")),
                }
            }
            2 => name = value.text().map_err(malformed)?,
            3 => pattern = value.text().map_err(malformed)?,
            _ => {}
        }
    }
    Matcher::new(name, op, pattern).map_err(|error| error.message().to_owned())
}

/// Everything as one message, compressed.
fn sampled(results: &[Vec<Series>]) -> Result<Response> {
    let mut message = Vec::new();
    for result in results {
        let mut query_result = Vec::new();
        for series in result {
            put_bytes(&mut query_result, 1, &time_series(series));
        }
        put_bytes(&mut message, 1, &query_result);
    }
    let packed = snap::raw::Encoder::new()
        .compress_vec(&message)
        .map_err(|error| Error::invalid("the answer is too large to be told as samples").with_source(error))?;
    let mut response = Response::new(Body::from(packed));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    Ok(response)
}

fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    labels.iter().for_each(|label| put_label(out, 1, label.name(), label.value()));
}

fn time_series(series: &Series) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + 18 * series.timestamps.len());
    put_labels(&mut out, &series.labels);
    let mut message = Vec::with_capacity(24);
    for (at, value) in series.samples() {
        match value {
            SampleValue::Float(value) => {
                message.clear();
                put_double(&mut message, 1, value);
                put_unsigned(&mut message, 2, at.cast_unsigned());
                put_bytes(&mut out, 2, &message);
            }
            SampleValue::Histogram(histogram) => put_bytes(&mut out, 4, &distribution::encode(at, histogram)),
        }
    }
    out
}

/// Everything as frames of chunks, made as they are sent.
fn streamed(results: Vec<Vec<Series>>) -> Response {
    let series =
        results.into_iter().zip(0_u64..).flat_map(|(result, query)| result.into_iter().map(move |one| (query, one)));
    let frames = series.flat_map(|(query, series)| frames(query, &series)).map(Ok::<_, Infallible>);
    let mut response = Response::new(Body::from_stream(stream::iter(frames)));
    *response.status_mut() = StatusCode::OK;
    let kind = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// The frames of one series: one, or more where it is long. A series is never in one frame with another.
fn frames(query: u64, series: &Series) -> Vec<Bytes> {
    let mut labels = Vec::new();
    put_labels(&mut labels, &series.labels);
    let (mut frames, mut chunked) = (Vec::new(), labels.clone());
    for (times, values) in series.timestamps.chunks(CHUNK).zip(series.values.chunks(CHUNK)) {
        let mut chunk = Vec::with_capacity(256);
        put_unsigned(&mut chunk, 1, times.first().copied().unwrap_or_default().cast_unsigned());
        put_unsigned(&mut chunk, 2, times.last().copied().unwrap_or_default().cast_unsigned());
        put_unsigned(&mut chunk, 3, 1);
        put_bytes(&mut chunk, 4, &xor::encode(times, values));
        put_bytes(&mut chunked, 2, &chunk);
        if chunked.len() >= FRAME_BYTES {
            frames.push(frame(query, &chunked));
            chunked.clone_from(&labels);
        }
    }
    if chunked.len() > labels.len() {
        frames.push(frame(query, &chunked));
    }
    frames
}

fn frame(query: u64, chunked_series: &[u8]) -> Bytes {
    let mut message = Vec::with_capacity(chunked_series.len() + 16);
    put_bytes(&mut message, 1, chunked_series);
    put_unsigned(&mut message, 2, query);
    let mut frame = Vec::with_capacity(message.len() + 16);
    crate::proto::put_varint(&mut frame, message.len() as u64);
    frame.extend_from_slice(&crc32c::crc32c(&message).to_be_bytes());
    frame.extend_from_slice(&message);
    frame.into()
}
