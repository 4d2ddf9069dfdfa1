//! The HTTP interface of a slate whose writer runs here.
//!
//! | | |
//! |---|---|
//! | `GET /-/healthy`, `GET /-/ready` | the process lives; the slate can be written |
//! | `GET /metrics` | counters, in Prometheus's text format |
//! | `POST /v1/commit` | one atomic transaction over several instances, see [`crate::api::commit`] |
//! | `GET`, `POST /v1/checkpoints`, `DELETE /v1/checkpoints/{name}` | |
//! | `POST /v1/forks`, `GET /v1/stats` | |
//! | `GET /v1/log/{instance}/streams` | names: `prefix`, `after` (JSON of the last name), `limit` |
//! | `GET`, `POST /v1/log/{instance}/streams/{stream}` | scan, append |
//! | `GET /v1/log/{instance}/records` | scan of all streams, or of a `prefix` |
//! | `GET .../streams/{stream}/tail`, `GET /v1/log/{instance}/tail` | follow, as JSON lines or server-sent events |
//! | `POST /v1/tsdb/{instance}/write` | samples as text; `mode=add` adds them to counters |
//! | `POST /v1/tsdb/{instance}/otlp/v1/metrics` | OpenTelemetry's metrics; also at `/api/v1/otlp/v1/metrics`, as Prometheus has it |
//! | `/v1/tsdb/{instance}/api/v1/..`, `/api/v1/..` | Prometheus's interface, see [`prometheus`] |
//! | `POST /v1/vector/{instance}/upsert`, `/patch`, `/delete` | one transaction; documents, a list of them, or JSON lines |
//! | `POST /v1/vector/{instance}/import` | JSON lines; wrong rows are reported, the others are written |
//! | `POST /v1/vector/{instance}/get`, `/scan`, `/count`, `/search`, `GET .../stats`, `.../documents/{id}` | see [`crate::api::vector`] |
//!
//! What is read is durable. A write answers with a token in `opendata-token`; a request with `opendata-after: <token>` waits until what follows
//! from that write can be read. Errors are `{"error": {"kind": .., "message": ..}}`, below `/api/v1` they have Prometheus's shape.
//! Handlers take requests apart and put answers together; what happens between is done by the slate.

mod answer;
mod causal;
mod feed;
mod log;
mod metrics;
mod otlp;
pub(crate) mod prometheus;
mod request;
mod serve;
mod slate;
mod tsdb;
mod vector;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use opendata_compose::{InternalComposite, View};
use opendata_core::Error;
use tokio::sync::watch;

pub(crate) use self::serve::{Serve, listen};
use crate::intake::Intake;

use self::answer::Failed;

/// What all handlers share.
#[derive(Clone)]
struct Server(Arc<Shared>);

struct Shared {
    composite: InternalComposite,
    /// Views that searches go on in, page after page.
    pages: vector::Pages,
    intake: Arc<Intake>,
    /// The most bytes that a request may have.
    body_limit: usize,
    prometheus: prometheus::Settings,
    receivers: prometheus::Receivers,
    /// Becomes true when the server begins to end: what would go on for ever ends then.
    ending: watch::Receiver<bool>,
}

impl Server {
    fn composite(&self) -> &InternalComposite {
        &self.0.composite
    }

    /// What leaves this process is read from what is durable.
    fn view(&self) -> View {
        self.0.composite.durable_view()
    }

    fn intake(&self) -> &Intake {
        &self.0.intake
    }

    fn body_limit(&self) -> usize {
        self.0.body_limit
    }

    fn prometheus(&self) -> &prometheus::Settings {
        &self.0.prometheus
    }

    fn receivers(&self) -> &prometheus::Receivers {
        &self.0.receivers
    }

    fn ending(&self) -> watch::Receiver<bool> {
        self.0.ending.clone()
    }
}

/// Clients of Prometheus get the text they know.
async fn other_method(uri: Uri) -> Response {
    let path = uri.path();
    if path.contains("/api/v1/") || path.ends_with("/federate") {
        return (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n").into_response();
    }
    Failed::method_not_allowed().into_response()
}

fn router(server: Server, body_limit: usize) -> Router {
    Router::new()
        .route("/-/healthy", get(metrics::healthy))
        .route("/-/ready", get(metrics::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/v1/commit", post(slate::commit))
        .route("/v1/checkpoints", get(slate::checkpoints).post(slate::checkpoint))
        .route("/v1/checkpoints/{name}", delete(slate::release))
        .route("/v1/forks", post(slate::fork))
        .route("/v1/stats", get(slate::stats))
        .route("/v1/log/{instance}/streams", get(log::streams))
        .route("/v1/log/{instance}/streams/{stream}", get(log::scan_stream).post(log::append))
        .route("/v1/log/{instance}/streams/{stream}/tail", get(log::tail_stream))
        .route("/v1/log/{instance}/records", get(log::scan_all))
        .route("/v1/log/{instance}/tail", get(log::tail_all))
        .route("/v1/tsdb/{instance}/write", post(tsdb::write))
        .route("/v1/tsdb/{instance}/otlp/v1/metrics", post(otlp::export))
        .route("/v1/tsdb/{instance}/api/v1/otlp/v1/metrics", post(otlp::export))
        .route("/api/v1/otlp/v1/metrics", post(otlp::export))
        .merge(prometheus::routes())
        .merge(vector::routes())
        .fallback(async || Failed::from(Error::not_found("there is nothing at this path")))
        .method_not_allowed_fallback(other_method)
        .layer(DefaultBodyLimit::max(body_limit))
        .layer(axum::middleware::from_fn_with_state(server.clone(), causal::layer))
        .layer(axum::middleware::from_fn(request::same_origin))
        .with_state(server)
}
