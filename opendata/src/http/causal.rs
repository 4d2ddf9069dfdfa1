//! Reading one's own writes: what was written answers with a token, and whoever sends it along reads what follows from that write.
//!
//! The token is `<node>@<position>`, as [`Token`] has it. At the node itself it is reached once it can be read; at a node downstream, once every
//! edge on every way between them has applied it.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use opendata_compose::{Ack, Token};
use opendata_core::{Error, Result};

use super::answer::Failed;
use super::{Server, prometheus};
use crate::times;

/// What a write answers with.
const TOKEN: &str = "opendata-token";
/// What a read waits for: tokens, separated by commas.
const AFTER: &str = "opendata-after";
/// How long it waits at most, such as `500ms`.
const TIMEOUT: &str = "opendata-after-timeout";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(300);

/// Waits for what the request names before it is answered, and tells a token after what was written.
pub(super) async fn layer(State(server): State<Server>, request: Request, next: Next) -> Response {
    if let Err(error) = wait(&server, request.headers()).await {
        return Failed::from(error).into_response();
    }
    let writes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !writes {
        return next.run(request).await;
    }
    let before = server.composite().view().position();
    let mut response = next.run(request).await;
    let after = server.composite().view().position();
    // Queries may come by POST as well; they write nothing and are told nothing, unless somebody else wrote meanwhile.
    if after > before && response.status().is_success() {
        let token = Token { node: server.prometheus().node.clone(), position: after };
        if let Ok(value) = HeaderValue::from_str(&token.to_string()) {
            response.headers_mut().insert(TOKEN, value);
        }
    }
    response
}

async fn wait(server: &Server, headers: &HeaderMap) -> Result<()> {
    let mut tokens = Vec::new();
    for value in headers.get_all(AFTER) {
        let text = value.to_str().map_err(|error| Error::invalid(format!("{AFTER} is no text")).with_source(error))?;
        for token in text.split(',').map(str::trim).filter(|token| !token.is_empty()) {
            tokens.push(token.parse::<Token>()?);
        }
    }
    if tokens.is_empty() {
        return Ok(());
    }
    let timeout = match headers.get(TIMEOUT) {
        Some(value) => times::parse_duration(value.to_str().unwrap_or_default())?.min(LONGEST_TIMEOUT),
        None => DEFAULT_TIMEOUT,
    };
    let begun = tokio::time::Instant::now();
    for token in &tokens {
        reach(server, token, timeout.saturating_sub(begun.elapsed())).await?;
    }
    Ok(())
}

async fn reach(server: &Server, token: &Token, timeout: Duration) -> Result<()> {
    let prometheus::Settings { node, joined, .. } = server.prometheus();
    let begun = tokio::time::Instant::now();
    let needed = match joined {
        _ if token.node == *node => token.position,
        Some(joined) => joined.wait_for(token, node, timeout).await?,
        None => return Err(Error::invalid(format!("no edges lead from {} to {node}", token.node))),
    };
    // What is read here is what is durable.
    let mut views = server.composite().slate().watch(Ack::Durable);
    let reached = views.wait_for(|view| view.position() >= needed);
    match tokio::time::timeout(timeout.saturating_sub(begun.elapsed()), reached).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(Error::unavailable(format!("the commit has not arrived in time, token={token}, node={node}"))),
    }
}
