//! OpenTelemetry's metrics over HTTP: protocol buffers or JSON, plain or gzip, answered in the form they came in.

use std::io::Read as _;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use flate2::read::MultiGzDecoder;
use opendata_core::{Error, ErrorKind, Result};
use percent_encoding::percent_decode_str;
use prost::Message;
use serde::Serialize;

use super::Server;
use super::answer::status;
use super::request::Content;
use crate::otlp::grpc::code;
use crate::otlp::message::{ExportRequest, ExportResponse, Status};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// In which of its two forms a client speaks.
#[derive(Clone, Copy)]
enum Form {
    Protobuf,
    Json,
}

/// Takes an export, for the instance in the path or the only one.
pub(super) async fn export(
    State(server): State<Server>,
    uri: Uri,
    headers: HeaderMap,
    content: Result<Content, super::answer::Failed>,
) -> Response {
    let form = match headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default() {
        kind if kind.starts_with(PROTOBUF) => Form::Protobuf,
        kind if kind.starts_with(JSON) => Form::Json,
        kind => {
            let error = Error::invalid(format!("the content type is neither {PROTOBUF} nor {JSON}, found={kind:?}"));
            return Form::Json.refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, &error);
        }
    };
    let Content(body) = match content {
        Ok(content) => content,
        Err(failed) => return form.refused(failed.status(), failed.error()),
    };
    match take(&server, &uri, &headers, body, form).await {
        Ok(response) => form.answer(StatusCode::OK, &response),
        Err(error) => form.refused(refusal(error.kind()), &error),
    }
}

/// What an exporter may send again is a 503; its other errors are final.
fn refusal(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::OutcomeUnknown => StatusCode::SERVICE_UNAVAILABLE,
        kind => status(kind),
    }
}

async fn take(server: &Server, uri: &Uri, headers: &HeaderMap, body: Bytes, form: Form) -> Result<ExportResponse> {
    let instance = match uri.path().strip_prefix("/v1/tsdb/").and_then(|rest| rest.split('/').next()) {
        Some(name) => Some(
            percent_decode_str(name)
                .decode_utf8()
                .map_err(|error| Error::not_found("no such instance: its name is not UTF-8").with_source(error))?,
        ),
        None => None,
    };
    let receiver = server.intake().otlp(instance.as_deref())?;
    let body = plain(headers, body, server.body_limit())?;
    let request = match form {
        Form::Protobuf => ExportRequest::decode(body)
            .map_err(|error| Error::invalid(format!("in the body: {error}")).with_source(error))?,
        Form::Json => serde_json::from_slice(&body)
            .map_err(|error| Error::invalid(format!("in the body: {error}")).with_source(error))?,
    };
    receiver.export(&request).await
}

/// The body as it was before it was compressed.
fn plain(headers: &HeaderMap, body: Bytes, limit: usize) -> Result<Bytes> {
    match headers.get(CONTENT_ENCODING).map_or(b"identity".as_slice(), HeaderValue::as_bytes) {
        b"identity" | b"" => Ok(body),
        b"gzip" => {
            let mut plain = Vec::new();
            MultiGzDecoder::new(body.as_ref())
                .take(limit as u64 + 1)
                .read_to_end(&mut plain)
                .map_err(|error| Error::invalid(format!("the body is no gzip: {error}")).with_source(error))?;
            if plain.len() > limit {
                return Err(Error::invalid(format!("the body is too large once it is unpacked, limit_bytes={limit}")));
            }
            Ok(plain.into())
        }
        other => {
            let other = String::from_utf8_lossy(other);
            Err(Error::invalid(format!("the content encoding is neither gzip nor identity, found={other:?}")))
        }
    }
}

impl Form {
    fn answer<T: Message + Serialize>(self, status: StatusCode, message: &T) -> Response {
        let (kind, body) = match self {
            Self::Protobuf => (PROTOBUF, message.encode_to_vec()),
            // Our own messages have keys that are texts, which is all that could fail.
            Self::Json => (JSON, serde_json::to_vec(message).unwrap_or_default()),
        };
        (status, [(CONTENT_TYPE, kind)], body).into_response()
    }

    fn refused(self, status: StatusCode, error: &Error) -> Response {
        if status.is_server_error() {
            tracing::warn!(?error, "metrics were refused");
        }
        let message = Status { code: code(error.kind()) as i32, message: error.message().to_owned() };
        let mut response = self.answer(status, &message);
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
