//! Remote write, versions 1.0 and 2.0
//! (<https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/>).
//!
//! A request is one transaction, and is answered once it is durable. What cannot be a sample (labels that no series can
//! have, damaged histograms) is left out, counted, and told with status 400; the rest of the request is written: "partial
//! write". A message that is no message is refused whole. Samples may be late, out of order and repeated: the one
//! written last wins. What should be sent again is told with 429 (a limit is full) and 503 (the store does not answer).

pub(super) mod distribution;
mod labels;
mod receiver;
mod v1;
mod v2;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use opendata_core::{Error, ErrorKind};

pub(in crate::http) use self::receiver::Receivers;
use self::receiver::{Batch, Written};
use super::ask::instance_of_path;
use crate::http::Server;
use crate::http::answer::status;
use crate::proto::Malformed;

/// Which message a request holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// Takes samples.
pub(super) async fn write(State(server): State<Server>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let outcome = match instance_of_path(&server, &path).and_then(|name| server.receivers().of(&server, &name)) {
        Err(error) => Err(error.into()),
        Ok(receiver) => {
            let outcome = match take(&server, request).await {
                Ok((version, body)) => receiver.write(|batch| decode(version, &body, batch)).await.map_err(Into::into),
                Err(refused) => Err(refused),
            };
            receiver.count(outcome.as_ref().map_err(|refused| refused.0));
            outcome
        }
    };
    match outcome {
        Ok(written) => answer(&written),
        Err(refused) => refused.into_response(),
    }
}

fn decode(version: Version, body: &[u8], batch: &mut Batch<'_>) -> Result<(), Malformed> {
    match version {
        Version::V1 => v1::decode(body, batch),
        Version::V2 => v2::decode(body, batch),
    }
}

/// Reads a request: its version, and its message, no longer compressed.
async fn take(server: &Server, request: Request) -> Result<(Version, Vec<u8>), Refused> {
    let version = version(request.headers())?;
    let encoding = request.headers().get(CONTENT_ENCODING).map_or(Ok("snappy"), HeaderValue::to_str);
    if encoding.ok() != Some("snappy") {
        let why = "the body must be compressed with snappy (content-encoding)";
        return Err(Refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, why.to_owned()));
    }
    let body = Bytes::from_request(request, server)
        .await
        .map_err(|rejection| Refused(rejection.status(), rejection.body_text()))?;
    Ok((version, unpack(&body, server.body_limit())?))
}

/// Decompresses a block of snappy, if it says that it is no larger than the limit.
pub(super) fn unpack(body: &[u8], limit: usize) -> Result<Vec<u8>, Refused> {
    let damaged =
        |error: snap::Error| Refused(StatusCode::BAD_REQUEST, format!("the body is no snappy block: {error}"));
    if snap::raw::decompress_len(body).map_err(damaged)? > limit {
        let why = format!("the message is larger than a transaction may be (transaction_bytes), limit={limit}");
        return Err(Refused(StatusCode::PAYLOAD_TOO_LARGE, why));
    }
    snap::raw::Decoder::new().decompress_vec(body).map_err(damaged)
}

/// `application/x-protobuf`, which may name its message.
fn version(headers: &HeaderMap) -> Result<Version, Refused> {
    let unsupported = |found: &str| {
        let why =
            "the body must be application/x-protobuf, of prometheus.WriteRequest or io.prometheus.write.v2.Request";
        Refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("{why}, content-type={found:?}"))
    };
    // A sender of 1.0 may leave it out.
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Version::V1) };
    let value = value.to_str().map_err(|_| unsupported(""))?;
    let mut parts = value.split(';').map(str::trim);
    if !parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/x-protobuf")) {
        return Err(unsupported(value));
    }
    let message = parts.find_map(|parameter| parameter.strip_prefix("proto="));
    match message.map(|message| message.trim_matches('"')) {
        None | Some("prometheus.WriteRequest") => Ok(Version::V1),
        Some("io.prometheus.write.v2.Request") => Ok(Version::V2),
        Some(_) => Err(unsupported(value)),
    }
}

/// How much was written, and what was not.
fn answer(written: &Written) -> Response {
    let mut response = match &written.refused {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(partial) => (partial.status, format!("{}\n", partial.why)).into_response(),
    };
    if response.status() == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    for (name, count) in [
        ("x-prometheus-remote-write-samples-written", written.samples),
        ("x-prometheus-remote-write-histograms-written", written.histograms),
        ("x-prometheus-remote-write-exemplars-written", written.exemplars),
    ] {
        response.headers_mut().insert(name, HeaderValue::from(count));
    }
    response
}

/// Why nothing was written.
#[derive(Debug)]
pub(super) struct Refused(pub(super) StatusCode, pub(super) String);

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        if matches!(
            error.kind(),
            ErrorKind::Fenced | ErrorKind::Unavailable | ErrorKind::OutcomeUnknown | ErrorKind::Corrupt
        ) {
            tracing::warn!(?error, "remote write failed");
        }
        // Whether the samples are in is not known; writing them again does no harm.
        let status = if error.kind() == ErrorKind::OutcomeUnknown {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            status(error.kind())
        };
        Self(status, error.message().to_owned())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, why) = self;
        let mut response = (status, format!("{why}\n")).into_response();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        // Version 2.0 wants to know in any case how much was written.
        for name in ["samples", "histograms", "exemplars"] {
            if let Ok(name) = format!("x-prometheus-remote-write-{name}-written").parse::<axum::http::HeaderName>() {
                response.headers_mut().insert(name, HeaderValue::from(0));
            }
        }
        response
    }
}

#[cfg(test)]
mod tests;
