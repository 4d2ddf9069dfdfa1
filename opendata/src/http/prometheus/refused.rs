//! Errors in the shape of Prometheus's API.

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use opendata_core::{Error, ErrorKind};
use opendata_tsdb::promql::{Exceeded, Limit};

use crate::api::prometheus::{QueryData, Response as Body};
use crate::failure::kind_name;
use crate::http::answer::{Failed, Json};

/// What went wrong, in Prometheus's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErrorType {
    BadData,
    Execution,
    Timeout,
    NotFound,
    Unavailable,
    TooMany,
    Internal,
}

impl ErrorType {
    fn name(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution => "execution",
            Self::Timeout => "timeout",
            Self::NotFound => "not_found",
            Self::Unavailable | Self::TooMany => "unavailable",
            Self::Internal => "internal",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadData => StatusCode::BAD_REQUEST,
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Timeout | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Invalid | ErrorKind::Conflict => Self::BadData,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Backpressure => Self::TooMany,
            ErrorKind::Unavailable | ErrorKind::Fenced | ErrorKind::Closed => Self::Unavailable,
            _ => Self::Internal,
        }
    }
}

/// A request that was refused or failed.
#[derive(Debug)]
pub(super) struct Refused {
    error_type: ErrorType,
    error: Error,
}

impl Refused {
    /// The request is wrong.
    pub(super) fn bad_data(message: impl Into<String>) -> Self {
        Self { error_type: ErrorType::BadData, error: Error::invalid(message.into()) }
    }

    /// A parameter of the request is wrong.
    pub(super) fn parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter \"{name}\": {why}"))
    }

    /// What was asked for is not there.
    pub(super) fn not_found(message: &'static str) -> Self {
        Self { error_type: ErrorType::NotFound, error: Error::not_found(message) }
    }

    /// The query is in order, and could not be answered.
    pub(super) fn execution(error: Error) -> Self {
        match (Exceeded::of(&error).map(|exceeded| exceeded.limit), error.kind()) {
            (Some(Limit::Time), _) => Self::timeout(),
            (Some(Limit::Points), _) => error.into(),
            (Some(_), _) | (None, ErrorKind::Invalid) => Self { error_type: ErrorType::Execution, error },
            (None, _) => error.into(),
        }
    }

    /// The query took too long.
    pub(super) fn timeout() -> Self {
        let error = Error::unavailable("query timed out in expression evaluation");
        Self { error_type: ErrorType::Timeout, error }
    }
}

impl<E: Into<Failed>> From<E> for Refused {
    fn from(error: E) -> Self {
        let error = error.into().error().clone();
        Self { error_type: ErrorType::of(error.kind()), error }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self { error_type, error } = self;
        if error_type == ErrorType::Internal || error_type == ErrorType::Unavailable {
            tracing::warn!(?error, "request failed");
        }
        let body = Body::<QueryData>::Error {
            error_type: error_type.name().to_owned(),
            error: error.message().to_owned(),
            kind: kind_name(error.kind()).to_owned(),
        };
        let mut response = (error_type.status(), Json(body)).into_response();
        if error_type == ErrorType::TooMany {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
