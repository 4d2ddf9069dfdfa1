//! HTTP endpoints: where edges deliver to, and where embeddings come from.

#[cfg(test)]
pub(crate) mod played;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use opendata_core::{Error, Result};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

/// An endpoint that takes POST requests.
pub(crate) struct Endpoint {
    client: reqwest::Client,
    url: String,
    headers: HeaderMap,
}

impl Endpoint {
    /// Headers' values `${NAME}` are taken from the environment.
    pub(crate) fn new(url: &str, headers: &BTreeMap<String, String>, timeout_ms: u64) -> Result<Self> {
        let client = reqwest::Client::builder().timeout(Duration::from_millis(timeout_ms)).build();
        let client = client.map_err(|error| Error::invalid("no HTTP client can be made").with_source(error))?;
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let wrong = || Error::invalid(format!("a header cannot be sent, header={name}"));
            let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            let mut value = HeaderValue::from_str(&expand(value)?).map_err(|_| wrong())?;
            value.set_sensitive(true);
            map.insert(key, value);
        }
        Ok(Self { client, url: url.to_owned(), headers: map })
    }

    /// Posts a body and returns the answer's.
    ///
    /// # Errors
    /// `Unavailable` if it may work another time, `Invalid` if the endpoint refuses this very body.
    pub(crate) async fn post(&self, headers: &[(&'static str, String)], body: Bytes) -> Result<Bytes> {
        #[cfg(test)]
        if let Some((after, answer)) = played::take(headers, &body) {
            tokio::time::sleep(after).await;
            return answer;
        }
        let mut request = self.client.post(&self.url).headers(self.headers.clone()).body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let unavailable = |error: reqwest::Error| {
            Error::unavailable(format!("the endpoint did not answer, url={}", self.url)).with_source(error)
        };
        let answer = request.send().await.map_err(unavailable)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(unavailable)?;
        if status.is_success() {
            return Ok(body);
        }
        let text = String::from_utf8_lossy(body.get(..body.len().min(200)).unwrap_or_default()).trim().to_owned();
        let message = format!("the endpoint refused, status={}, answer={text}, url={}", status.as_u16(), self.url);
        // 408 and 429 ask to come again; so does what is no fault of the request, a wrong key or path among them.
        match status.as_u16() {
            400 | 413 | 415 | 422 => Err(Error::invalid(message)),
            _ => Err(Error::unavailable(message)),
        }
    }
}

/// Puts the environment's values in place of `${NAME}`.
fn expand(value: &str) -> Result<String> {
    let mut expanded = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else { break };
        let found = std::env::var(name)
            .map_err(|_| Error::invalid(format!("the environment has no such variable, name={name}")))?;
        expanded.push_str(before);
        expanded.push_str(&found);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}
