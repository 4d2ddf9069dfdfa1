//! Requests, taken apart: whatever is wrong with one is answered with an error of ours.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::header::{ACCEPT, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use opendata_core::Error;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::answer::Failed;
use crate::client::JSON_LINES;

/// The options in a query.
pub(super) struct Params<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failed> {
        let query = Query::try_from_uri(&parts.uri)
            .map_err(|rejection| Error::invalid(format!("in the query: {}", rejection.body_text())))?;
        Ok(Self(query.0))
    }
}

/// The body, up to the limit of a transaction.
pub(super) struct Content(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Content {
    type Rejection = Failed;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failed> {
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(Failed::with_status(
                StatusCode::PAYLOAD_TOO_LARGE,
                Error::invalid("the body is larger than a transaction may be (transaction_bytes)"),
            )),
            Err(rejection) => Err(Error::invalid(rejection.body_text()).into()),
        }
    }
}

impl Content {
    /// The body as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Failed> {
        Ok(serde_json::from_slice(&self.0)
            .map_err(|error| Error::invalid(format!("in the body: {error}")).with_source(error))?)
    }

    /// The body as text.
    pub(super) fn text(&self) -> Result<&str, Failed> {
        Ok(std::str::from_utf8(&self.0).map_err(|error| Error::invalid("the body is not UTF-8").with_source(error))?)
    }
}

/// A part of the path, counted from 0, without its percent signs: any bytes. (The framework's own parts are UTF-8 only.)
pub(super) struct PathPart<const N: usize>(pub(super) Bytes);

impl<S: Sync, const N: usize> FromRequestParts<S> for PathPart<N> {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failed> {
        let part = parts.uri.path().split('/').nth(N + 1).unwrap_or_default();
        Ok(Self(percent_decode_str(part).collect::<Vec<u8>>().into()))
    }
}

/// The name of an instance: the third part of the path.
pub(super) struct InstanceName(pub(super) String);

impl<S: Sync> FromRequestParts<S> for InstanceName {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failed> {
        let PathPart(name) = PathPart::<2>::from_request_parts(parts, state).await?;
        let name = String::from_utf8(name.into())
            .map_err(|error| Error::not_found("no such instance: its name is not UTF-8").with_source(error))?;
        Ok(Self(name))
    }
}

/// How a client wants many records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A page, as one document.
    Page,
    /// A document a line, as they come.
    Lines,
    /// Server-sent events.
    Events,
}

impl Shape {
    /// What the client says it takes.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let accepts = |what: &str| {
            headers.get_all(ACCEPT).iter().any(|value| value.to_str().is_ok_and(|value| value.contains(what)))
        };
        if accepts("text/event-stream") {
            Self::Events
        } else if accepts(JSON_LINES) {
            Self::Lines
        } else {
            Self::Page
        }
    }
}

/// Whether a body is JSON lines.
pub(super) fn is_json_lines(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| value.starts_with(JSON_LINES))
}

/// Refuses what a web page of elsewhere makes a browser send here: this server listens on the user's own machine, and
/// has no passwords.
pub(super) async fn same_origin(request: Request, next: Next) -> Response {
    let headers = request.headers();
    if let Some(origin) = headers.get(ORIGIN) {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let own = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
        if own.is_none() || own != host {
            let error = Error::invalid("a browser sent this from a page of elsewhere");
            return Failed::with_status(StatusCode::FORBIDDEN, error).into_response();
        }
    }
    next.run(request).await
}
