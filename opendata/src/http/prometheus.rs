//! Prometheus's HTTP interface: what Grafana, promtool and other Prometheus servers speak to.
//!
//! Every time series instance answers below `/v1/tsdb/{instance}`, which is the address to give to a client. At the root
//! answers the instance that `server.default_tsdb` names, or the only one there is. In short, with the prefix left out:
//!
//! | | |
//! |---|---|
//! | `GET`, `POST /api/v1/query`, `query_range`, `series`, `labels`, `query_exemplars`, `format_query`, `parse_query` | |
//! | `GET /api/v1/label/{name}/values`, `metadata` | |
//! | `GET /api/v1/status/{buildinfo,config,flags,runtimeinfo,tsdb,walreplay}`, `features` | |
//! | `GET /api/v1/targets`, `targets/metadata`, `scrape_pools`, `rules`, `alerts`, `alertmanagers`, `notifications` | |
//! | `POST`, `PUT /api/v1/admin/tsdb/{snapshot,delete_series,clean_tombstones}` | |
//! | `POST /api/v1/write`, `/api/v1/read` | remote write 1.0 and 2.0 ([`mod@write`]), remote read ([`read`]) |
//! | `GET /federate` | |
//! | `GET /-/healthy`, `/-/ready` | |
//!
//! Shapes, status codes and names of errors are those of Prometheus 3
//! (<https://prometheus.io/docs/prometheus/latest/querying/api/>). Answers are compressed for whoever takes gzip.

mod admin;
mod ask;
mod discovery;
mod federate;
mod monitoring;
mod query;
mod read;
mod refused;
mod status;
mod syntax;
mod text;
mod write;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::Router;
use axum::routing::{MethodRouter, any, get, post};
use opendata_core::Timestamp;
use tower_http::compression::CompressionLayer;
use tower_http::decompression::RequestDecompressionLayer;

use self::refused::Refused;
pub(super) use self::write::Receivers;
use super::{Server, metrics};
use crate::api::prometheus::monitor::Monitors;

/// What this part of the server needs besides the slate.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The instance that answers at the root; none: the only one.
    pub(crate) default_instance: Option<String>,
    /// Targets, rules and alerts of the instances.
    pub(crate) monitors: Arc<Monitors>,
    /// The composition, as its file has it.
    pub(crate) composition: Arc<str>,
    /// The options of the command line.
    pub(crate) flags: Vec<(String, String)>,
    /// When the server began.
    pub(crate) started: Timestamp,
    /// The node that is served.
    pub(crate) node: String,
    /// The joined composition that the slate is a node of.
    pub(crate) joined: Option<opendata_compose::ExternalComposite>,
    /// How long a query may take that does not ask for less.
    pub(crate) query_timeout: Duration,
    /// Native histograms of which federation told only count and sum, because the client takes text.
    pub(crate) reduced_histograms: Arc<AtomicU64>,
}

/// Where an instance has its own address.
pub(super) const PREFIX: &str = "/v1/tsdb/{instance}";

/// All paths, below the prefix and at the root.
pub(super) fn routes() -> Router<Server> {
    let mut router = Router::new();
    for (path, methods) in api() {
        router = router.route(&format!("{PREFIX}{path}"), methods.clone()).route(path, methods);
    }
    router
        .route(&format!("{PREFIX}/-/healthy"), get(metrics::healthy))
        .route(&format!("{PREFIX}/-/ready"), get(metrics::ready))
        .layer(CompressionLayer::new().gzip(true))
        .layer(RequestDecompressionLayer::new().gzip(true).pass_through_unaccepted(true))
        .merge(protocols())
}

/// Remote write and remote read, which compress in their own way.
fn protocols() -> Router<Server> {
    let mut router = Router::new();
    for prefix in [PREFIX, ""] {
        router = router
            .route(&format!("{prefix}/api/v1/write"), post(write::write))
            .route(&format!("{prefix}/api/v1/read"), post(read::read));
    }
    router
}

fn api() -> Vec<(&'static str, MethodRouter<Server>)> {
    let mut all = vec![
        ("/api/v1/query", both(query::query)),
        ("/api/v1/query_range", both(query::query_range)),
        ("/api/v1/format_query", both(syntax::format_query)),
        ("/api/v1/parse_query", both(syntax::parse_query)),
        ("/api/v1/series", both(discovery::series)),
        ("/api/v1/labels", both(discovery::labels)),
        ("/api/v1/label/{name}/values", get(discovery::label_values)),
        ("/api/v1/metadata", get(discovery::metadata)),
        ("/api/v1/query_exemplars", both(discovery::exemplars)),
        ("/api/v1/status/buildinfo", get(status::buildinfo)),
        ("/api/v1/status/config", get(status::config)),
        ("/api/v1/status/flags", get(status::flags)),
        ("/api/v1/status/runtimeinfo", get(status::runtimeinfo)),
        ("/api/v1/status/tsdb", get(status::tsdb)),
        ("/api/v1/status/walreplay", get(status::walreplay)),
        ("/api/v1/features", get(status::features)),
        ("/api/v1/targets", get(monitoring::targets)),
        ("/api/v1/targets/metadata", get(monitoring::targets_metadata)),
        ("/api/v1/scrape_pools", get(monitoring::scrape_pools)),
        ("/api/v1/rules", get(monitoring::rules)),
        ("/api/v1/alerts", get(monitoring::alerts)),
        ("/api/v1/alertmanagers", get(monitoring::alertmanagers)),
        ("/api/v1/notifications", get(monitoring::notifications)),
    ];
    all.push(("/api/v1/admin/tsdb/snapshot", post(admin::snapshot).put(admin::snapshot)));
    for (path, handler) in [
        ("/api/v1/admin/tsdb/delete_series", post(admin::delete_series).put(admin::delete_series)),
        ("/api/v1/admin/tsdb/clean_tombstones", post(admin::clean_tombstones).put(admin::clean_tombstones)),
    ] {
        all.push((path, handler));
    }
    all.push(("/federate", get(federate::federate)));
    all.push(("/api/v1/{*rest}", any(unknown)));
    all
}

fn both<H, T>(handler: H) -> MethodRouter<Server>
where
    H: axum::handler::Handler<T, Server> + Copy,
    T: 'static,
{
    get(handler).post(handler)
}

/// What no other path took.
async fn unknown() -> Refused {
    Refused::not_found("there is nothing at this path")
}
