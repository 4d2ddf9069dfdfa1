//! What this server is, how it is set up, and what an instance holds.

use std::collections::BTreeMap;

use axum::extract::State;
use chrono::{DateTime, SecondsFormat};
use opendata_core::{Result, Timestamp};
use opendata_tsdb::Top;
use serde_json::{Value, json};

use super::ask::Asked;
use super::refused::Refused;
use crate::api::prometheus::Response;
use crate::http::Server;
use crate::http::answer::Json;

type Told = Json<Response<Value>>;

fn told(data: Value) -> Told {
    Json(Response::success(data))
}

/// The version of Prometheus whose interface this is: clients turn features on by it.
const COMPATIBLE: &str = "3.5.0";

pub(super) async fn buildinfo() -> Told {
    told(json!({
        "version": COMPATIBLE,
        "revision": env!("CARGO_PKG_VERSION"),
        "branch": "opendata",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}

/// The composition file.
pub(super) async fn config(State(server): State<Server>) -> Told {
    told(json!({"yaml": &*server.prometheus().composition}))
}

pub(super) async fn flags(State(server): State<Server>) -> Told {
    let flags: BTreeMap<&str, &str> =
        server.prometheus().flags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    told(json!(flags))
}

pub(super) async fn runtimeinfo(asked: Asked) -> Result<Told, Refused> {
    let settings = asked.server().prometheus();
    let retention_ms = asked.config()?.retention_ms;
    Ok(told(json!({
        "startTime": rfc3339(settings.started),
        "CWD": std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default(),
        "hostname": std::env::var("HOSTNAME").unwrap_or_default(),
        "serverTime": rfc3339(crate::times::now()),
        "reloadConfigSuccess": true,
        "lastConfigTime": rfc3339(settings.started),
        "corruptionCount": 0,
        "goroutineCount": tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        "GOMAXPROCS": tokio::runtime::Handle::current().metrics().num_workers(),
        "GOMEMLIMIT": i64::MAX,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": retention_ms.map_or_else(|| "forever".to_owned(), |ms| format!("{}s", ms / 1000)),
    })))
}

pub(super) async fn tsdb(asked: Asked) -> Result<Told, Refused> {
    let limit = asked.limit("limit")?.unwrap_or(10).min(10_000);
    let held = asked.reader()?.statistics(limit).await?;
    let list = |top: Vec<Top>| {
        top.into_iter().map(|Top { name, value }| json!({"name": name, "value": value})).collect::<Vec<_>>()
    };
    Ok(told(json!({
        "headStats": {
            "numSeries": held.series,
            "numLabelPairs": held.label_pairs,
            "chunkCount": held.unsealed_samples,
            "minTime": held.min_time_ms,
            "maxTime": held.max_time_ms,
        },
        "seriesCountByMetricName": list(held.series_by_metric),
        "labelValueCountByLabelName": list(held.values_by_label),
        "memoryInBytesByLabelName": list(held.bytes_by_label),
        "seriesCountByLabelValuePair": list(held.series_by_pair),
    })))
}

/// A slate is replayed before it is served.
pub(super) async fn walreplay() -> Told {
    told(json!({"min": 0, "max": 0, "current": 0, "state": "done"}))
}

/// What this server can do, by group.
pub(super) async fn features() -> Told {
    told(json!({
        "api": {
            "admin": true, "exemplars": true, "format_query": true, "lifecycle": false, "metadata": true,
            "otlp_write_receiver": true, "query_stats": true, "remote_read": true, "remote_write_receiver": true,
            "rules": true, "targets": true,
        },
        "prometheus": {"agent_mode": false, "native_histograms": true, "utf8_names": true},
        "promql": {
            "at_modifier": true, "bool": true, "by": true, "fill": true, "group_left": true, "group_right": true,
            "ignoring": true, "negative_offset": true, "offset": true, "on": true, "subqueries": true, "without": true,
        },
        "tsdb": {"delayed_compaction": false, "exemplar_storage": true, "native_histograms": true, "out_of_order": true},
    }))
}

fn rfc3339(time: Timestamp) -> String {
    let time = DateTime::from_timestamp_millis(time.0).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
