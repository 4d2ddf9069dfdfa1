//! Records that go out as they come: as JSON lines, or as server-sent events.
//!
//! An error in the middle is the last line (the last event, of type `error`). A feed that has nothing to say says an
//! empty line now and then, so that whoever is gone is noticed.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream};
use opendata_core::{Error, Position};
use opendata_log::{Follower, Record, Scan};
use serde::Serialize;
use tokio::sync::watch;

use super::answer::error_body;
use super::request::Shape;
use crate::api::record::RecordOut;
use crate::client::JSON_LINES;

/// How long a feed may be silent.
const SILENCE: Duration = Duration::from_secs(15);

/// All records of a scan, as JSON lines.
pub(super) fn scan(scan: Scan) -> Response {
    let parts = stream::unfold(Some(scan), async |scan| {
        let mut scan = scan?;
        match scan.next_batch().await {
            Ok(Some(records)) => Some((lines(&records), Some(scan))),
            Ok(None) => None,
            Err(error) => Some((line(&error_body(&error)), None)),
        }
    });
    respond(parts, JSON_LINES)
}

/// What a follower gets, until the client or the server ends.
pub(super) fn follow(follower: Follower, ending: watch::Receiver<bool>, shape: Shape) -> Response {
    let (content_type, format): (_, fn(&Outcome) -> Bytes) = match shape {
        Shape::Events => ("text/event-stream", event),
        Shape::Lines | Shape::Page => (JSON_LINES, outcome_lines),
    };
    let parts = stream::unfold(Some((follower, ending, format)), async |state| {
        let (mut follower, mut ending, format) = state?;
        let outcome = tokio::select! {
            batch = follower.next_batch() => match batch {
                Ok(batch) => Outcome::Records(batch.records, batch.next),
                Err(error) => Outcome::Failed(error),
            },
            () = tokio::time::sleep(SILENCE) => Outcome::Silence,
            _ = ending.wait_for(|ending| *ending) => return None,
        };
        let goes_on = !matches!(outcome, Outcome::Failed(_));
        Some((format(&outcome), goes_on.then_some((follower, ending, format))))
    });
    respond(parts, content_type)
}

/// What a follower gave.
enum Outcome {
    Records(Vec<Record>, Position),
    Failed(Error),
    Silence,
}

fn outcome_lines(outcome: &Outcome) -> Bytes {
    match outcome {
        Outcome::Records(records, _) => lines(records),
        Outcome::Failed(error) => line(&error_body(error)),
        Outcome::Silence => Bytes::from_static(b"\n"),
    }
}

/// Server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>). The id of each is where to
/// go on behind it.
fn event(outcome: &Outcome) -> Bytes {
    let mut text = Vec::new();
    match outcome {
        Outcome::Records(records, next) => {
            for (at, record) in records.iter().enumerate() {
                let id = if at + 1 == records.len() { *next } else { record.position.next() };
                text.extend_from_slice(format!("id: {id}\ndata: ").as_bytes());
                text.extend_from_slice(&line(&RecordOut::from(record)));
                text.push(b'\n');
            }
        }
        Outcome::Failed(error) => {
            text.extend_from_slice(b"event: error\ndata: ");
            text.extend_from_slice(&line(&error_body(error)));
            text.push(b'\n');
        }
        Outcome::Silence => text.extend_from_slice(b":\n\n"),
    }
    text.into()
}

fn lines(records: &[Record]) -> Bytes {
    records.iter().flat_map(|record| line(&RecordOut::from(record))).collect()
}

fn line(value: &impl Serialize) -> Bytes {
    // Nothing that we say has keys that are no strings, which is all that could fail.
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

fn respond(parts: impl Stream<Item = Bytes> + Send + 'static, content_type: &'static str) -> Response {
    use futures::StreamExt;
    let body = Body::from_stream(parts.map(Ok::<_, Infallible>));
    ([(CONTENT_TYPE, content_type)], body).into_response()
}
