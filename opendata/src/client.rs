//! The client of a running `opendata run`, for `--server`.
//!
//! A request that may have reached the server and got no answer is `OutcomeUnknown` if it writes, `Unavailable` if it
//! only reads; one that never reached it is `Unavailable` in any case.

use opendata_core::{DataSystem, Error, ErrorKind, Result};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::api::slate::StatsOut;
use crate::api::{ErrorBody, prometheus};
use crate::failure::kind_of_name;

/// What JSON lines are called in `Accept` and `Content-Type`.
pub(crate) const JSON_LINES: &str = "application/x-ndjson";
const JSON: &str = "application/json";

/// A server.
pub(crate) struct Client {
    base: Url,
    http: reqwest::Client,
}

impl Client {
    /// A server at a URL such as `http://127.0.0.1:8080`.
    pub(crate) fn new(url: &str) -> Result<Self> {
        let wrong = || format!("not the URL of a server, as in http://127.0.0.1:8080, server={url}");
        let base = Url::parse(url).map_err(|error| Error::invalid(wrong()).with_source(error))?;
        if base.cannot_be_a_base() || !matches!(base.scheme(), "http" | "https") {
            return Err(Error::invalid(wrong()));
        }
        let http = reqwest::Client::builder().connect_timeout(std::time::Duration::from_secs(10)).build();
        let http = http.map_err(|error| Error::invalid("the HTTP client cannot be made").with_source(error))?;
        Ok(Self { base, http })
    }

    /// The instance of a system: the one that is named, or the server's only one.
    pub(crate) async fn instance_of<S: DataSystem>(&self, named: Option<&str>) -> Result<String> {
        if let Some(name) = named {
            return Ok(name.to_owned());
        }
        let stats: StatsOut = self.get("/v1/stats").await?;
        let instances = stats.instances.iter().map(|found| (found.name.as_str(), found.system.as_str()));
        crate::cli::instance_of::<S>(None, instances).map(str::to_owned)
    }

    /// Reads a resource.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.query(&segments(path), &[]).await
    }

    /// Reads a resource with options.
    pub(crate) async fn query<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, &str)]) -> Result<T> {
        let mut url = self.url(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        answer(Method::GET, self.http.get(url)).await
    }

    /// Asks for a change.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Error::invalid("the request cannot be written as JSON").with_source(error))?;
        let request = self.http.post(self.url(&segments(path))?).header(CONTENT_TYPE, JSON).body(body);
        answer(Method::POST, request).await
    }

    /// Asks a question whose options are a document: it changes nothing.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, path: &[&str], question: &impl Serialize) -> Result<T> {
        let body = serde_json::to_vec(question)
            .map_err(|error| Error::invalid("the request cannot be written as JSON").with_source(error))?;
        let request = self.http.post(self.url(path)?).header(CONTENT_TYPE, JSON).body(body);
        answer(Method::GET, request).await
    }

    /// Sends JSON lines.
    pub(crate) async fn post_lines<T: DeserializeOwned>(&self, path: &[&str], lines: Vec<u8>) -> Result<T> {
        answer(Method::POST, self.http.post(self.url(path)?).header(CONTENT_TYPE, JSON_LINES).body(lines)).await
    }

    /// Sends a text.
    pub(crate) async fn post_text<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        text: String,
    ) -> Result<T> {
        let mut url = self.url(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        answer(Method::POST, self.http.post(url).header(CONTENT_TYPE, "text/plain; charset=utf-8").body(text)).await
    }

    /// Asks for something to be removed.
    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T> {
        answer(Method::DELETE, self.http.delete(self.url(path)?)).await
    }

    /// Reads JSON lines as they come.
    pub(crate) async fn lines(&self, path: &[&str], query: &impl Serialize) -> Result<JsonLines> {
        let mut url = self.url(path)?;
        let query = serde_json::to_value(query)
            .map_err(|error| Error::invalid("the request cannot be written").with_source(error))?;
        for (name, value) in query.as_object().into_iter().flatten() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            url.query_pairs_mut().append_pair(name, &value);
        }
        let response = send(Method::GET, self.http.get(url).header(ACCEPT, JSON_LINES)).await?;
        Ok(JsonLines { response, rest: Vec::new() })
    }

    fn url(&self, path: &[&str]) -> Result<Url> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => segments.pop_if_empty().extend(path),
            Err(()) => return Err(Error::invalid("the URL of a server has a path")),
        };
        Ok(url)
    }
}

fn segments(path: &str) -> Vec<&str> {
    path.split('/').filter(|segment| !segment.is_empty()).collect()
}

async fn send(method: Method, request: RequestBuilder) -> Result<Response> {
    let response = request.send().await.map_err(|error| {
        let (kind, message) = match method == Method::GET || error.is_connect() || error.is_builder() {
            true => (ErrorKind::Unavailable, "the server does not answer"),
            false => (ErrorKind::OutcomeUnknown, "the server did not answer: read before writing again"),
        };
        Error::new(kind, message).with_source(error)
    })?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = response.text().await.unwrap_or_default();
    Err(failure(&text).unwrap_or_else(|| {
        let beginning: String = text.chars().take(200).collect();
        Error::unavailable(format!("the server answers what opendata never would, status={status}, body={beginning}"))
    }))
}

/// The error in a body, in our shape or in Prometheus's.
fn failure(text: &str) -> Option<Error> {
    let (kind, message) = match serde_json::from_str::<ErrorBody>(text) {
        Ok(body) => (body.error.kind, body.error.message),
        Err(_) => match serde_json::from_str::<prometheus::Response<IgnoredAny>>(text).ok()? {
            prometheus::Response::Error { kind, error, .. } => (kind, error),
            prometheus::Response::Success { .. } => return None,
        },
    };
    Some(Error::new(kind_of_name(&kind).unwrap_or(ErrorKind::Unavailable), message))
}

async fn answer<T: DeserializeOwned>(method: Method, request: RequestBuilder) -> Result<T> {
    let response = send(method.clone(), request).await?;
    let kind = if method == Method::GET { ErrorKind::Unavailable } else { ErrorKind::OutcomeUnknown };
    let body = response.bytes().await;
    let body = body.map_err(|error| Error::new(kind, "the server's answer broke off").with_source(error))?;
    serde_json::from_slice(&body).map_err(|error| {
        Error::unsupported("the server's answer cannot be read; is it of another version?").with_source(error)
    })
}

/// JSON lines that a server sends.
pub(crate) struct JsonLines {
    response: Response,
    /// The beginning of a line whose end has not come yet.
    rest: Vec<u8>,
}

impl JsonLines {
    /// The next lines: at least one, waiting for it. None at the end.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<Vec<T>>> {
        loop {
            let part = self.response.chunk().await;
            let part = part.map_err(|error| Error::unavailable("the server's answer broke off").with_source(error))?;
            let Some(part) = part else {
                return if self.rest.is_empty() {
                    Ok(None)
                } else {
                    Err(Error::unavailable("the server's answer broke off in the middle of a line"))
                };
            };
            let mut lines = Vec::new();
            for piece in part.split_inclusive(|byte| *byte == b'\n') {
                self.rest.extend_from_slice(piece);
                if piece.ends_with(b"\n") {
                    lines.extend(line(&std::mem::take(&mut self.rest))?);
                }
            }
            if !lines.is_empty() {
                return Ok(Some(lines));
            }
        }
    }
}

/// A line, unless it is empty, as the server sends them to see whether anyone is there; or the error that ends the answer.
fn line<T: DeserializeOwned>(line: &[u8]) -> Result<Option<T>> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    match serde_json::from_slice(line) {
        Ok(value) => Ok(Some(value)),
        Err(error) => Err(std::str::from_utf8(line).ok().and_then(failure).unwrap_or_else(|| {
            Error::unsupported("the server's answer cannot be read; is it of another version?").with_source(error)
        })),
    }
}

#[cfg(test)]
mod tests;
