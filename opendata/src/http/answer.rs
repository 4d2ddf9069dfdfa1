//! Answers: JSON, and errors with the status that fits their kind.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use opendata_core::{Error, ErrorKind};
use serde::Serialize;

use crate::api::{ErrorBody, ErrorText};
use crate::failure::kind_name;

/// A request that was refused or failed.
#[derive(Debug)]
pub(super) struct Failed {
    status: StatusCode,
    error: Error,
}

/// What a handler gives.
pub(super) type Answer<T> = Result<T, Failed>;

impl Failed {
    pub(super) fn with_status(status: StatusCode, error: Error) -> Self {
        Self { status, error }
    }

    pub(super) fn method_not_allowed() -> Self {
        let error = Error::invalid("this path knows other methods");
        Self::with_status(StatusCode::METHOD_NOT_ALLOWED, error)
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn error(&self) -> &Error {
        &self.error
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { status: status(error.kind()), error }
    }
}

/// The status of a kind of error.
pub(super) fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Backpressure => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Fenced | ErrorKind::Unavailable | ErrorKind::Closed => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// An error as JSON.
pub(super) fn error_body(error: &Error) -> ErrorBody {
    let kind = kind_name(error.kind()).to_owned();
    ErrorBody { error: ErrorText { kind, message: error.message().to_owned() } }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            tracing::warn!(error = ?self.error, "request failed");
        }
        let mut response = Json(error_body(&self.error)).into_response();
        *response.status_mut() = self.status;
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// A JSON document.
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let (status, text) = match serde_json::to_vec(&self.0) {
            Ok(text) => (StatusCode::OK, text),
            // Nothing that we answer has keys that are no strings, which is all that could fail.
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string().into_bytes()),
        };
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}
