//! What the tests of edges share: slates on a store, and how their rows are read back.

use std::collections::BTreeMap;
use std::time::Duration;

use opendata_compose::edge::{Edge, EdgeParts, EdgeSpec, EdgeStatus, RunningEdge, SourceAt, Trouble};
use opendata_compose::tsdb::promql::Storage;
use opendata_compose::{Handle, Log, Settings, Store, Tsdb, log, tsdb};
use opendata_core::slate::{Ack, At, Slate, SlateReader};
use opendata_core::{Position, Result};

/// Long enough for anything here to end, short enough to say that it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn settings() -> Settings {
    Settings {
        maintenance_interval_ms: 0,
        flush_interval_ms: 5,
        poll_interval_ms: 50,
        store_retries: 0,
        garbage_interval_s: 0,
        files_timeout_ms: 300,
        ..Settings::default()
    }
}

/// Opens a slate with a log `log` and a TSDB `tsdb` in it.
pub(crate) async fn open(store: &Store, path: &str) -> Result<Slate> {
    Slate::builder(store, path)
        .settings(settings())
        .system::<Log>("log", log::Config::default())
        .system::<Tsdb>("tsdb", tsdb::Config::default())
        .open()
        .await
}

pub(crate) fn memory() -> Store {
    Store::from_url("memory:").unwrap()
}

pub(crate) fn events(slate: &Slate) -> Handle<Log> {
    slate.get("log").unwrap()
}

/// Appends JSON objects `{"n": n}` for a range, a commit each.
pub(crate) async fn append(slate: &Slate, stream: &str, numbers: std::ops::Range<u64>) -> Position {
    let log = events(slate);
    let mut last = Position::ZERO;
    for n in numbers {
        let mut tx = slate.begin();
        tx.on(&log).append(stream, format!("{{\"n\": {n}}}"));
        last = tx.commit_with(Ack::Written).await.unwrap().position();
    }
    slate.flush().await.unwrap();
    last
}

/// An edge from the log of one node to an instance of another.
pub(crate) fn edge(id: &str, sink: &str) -> EdgeSpec {
    let mut spec = EdgeSpec::new(id, ("source", "log"), ("sink", sink));
    spec.retry.first_ms = 1;
    spec.retry.max_ms = 20;
    spec.retry.rest_ms = 20;
    spec
}

/// An edge that counts `n` into the counter `total`.
pub(crate) fn adding(id: &str) -> EdgeSpec {
    let steps = r#"[{"to_metrics": {"metrics": [
        {"name": "total", "kind": "add", "value": "payload.n"}, {"name": "records", "kind": "add", "value": "1"}
    ]}}]"#;
    edge(id, "tsdb").transform(serde_json::from_str::<Vec<_>>(steps).unwrap())
}

pub(crate) fn start(spec: &EdgeSpec, source: &Slate, sink: &Slate) -> RunningEdge {
    start_at(spec, SourceAt::Open(source.clone()), sink)
}

pub(crate) fn start_at(spec: &EdgeSpec, source: SourceAt, sink: &Slate) -> RunningEdge {
    Edge::start(EdgeParts::new(spec.clone(), source, sink.clone())).unwrap()
}

/// Waits until an edge has applied everything before a position.
pub(crate) async fn caught_up(edge: &RunningEdge, position: Position) -> EdgeStatus {
    let waited = tokio::time::timeout(PATIENCE, edge.wait_for(position.next())).await;
    waited.unwrap_or_else(|_| panic!("the edge hangs: {:?}", edge.status())).unwrap()
}

/// Waits until an edge is over, and says why in words.
pub(crate) async fn failed(edge: &RunningEdge) -> String {
    let mut watch = edge.watch();
    let ended = tokio::time::timeout(PATIENCE, watch.wait_for(|status| status.state.is_over())).await;
    let state = ended.unwrap_or_else(|_| panic!("the edge goes on: {:?}", edge.status())).unwrap().state.clone();
    state.problem().unwrap_or_else(|| state.name().to_owned())
}

/// Waits until nothing is written down any more as keeping an edge from going on.
pub(crate) async fn untroubled(sink: &Slate, instance: &str, edge: &str) {
    let gone = async {
        while Trouble::read(&sink.view(), instance, edge).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap_or_else(|_| panic!("trouble stays written down, edge={edge}"));
}

/// The payloads of a log, in order of position, as another process reads them.
pub(crate) async fn payloads(store: &Store, path: &str) -> Vec<String> {
    let reader = SlateReader::builder(store, path).register::<Log>().register::<Tsdb>();
    let reader = reader.open(At::Latest).await.unwrap();
    let view = reader.view();
    let scan = view.get_reader::<Log>("log").unwrap().scan_all(..).await.unwrap();
    let records = scan.collect().await.unwrap();
    records.iter().map(|record| String::from_utf8(record.payload.to_vec()).unwrap()).collect()
}

/// The samples of a metric by time, as the writer's process reads them.
pub(crate) async fn samples(slate: &Slate, metric: &str) -> BTreeMap<String, Vec<(i64, f64)>> {
    let view = slate.view();
    let reader = view.get_reader::<Tsdb>("tsdb").unwrap();
    let matcher = tsdb::Matcher::new("__name__", tsdb::MatchOp::Equal, metric).unwrap();
    let found = reader.select(&[matcher], 0, i64::MAX / 4).await.unwrap();
    let pairs = |series: &tsdb::promql::Series| {
        series.timestamps.iter().copied().zip(series.values.iter().copied()).collect::<Vec<_>>()
    };
    found.iter().map(|series| (series.labels.to_string(), pairs(series))).collect()
}

/// The newest value of a counter without labels.
pub(crate) async fn counter(slate: &Slate, metric: &str) -> f64 {
    let samples = samples(slate, metric).await;
    samples.values().next().and_then(|samples| samples.last()).map_or(0.0, |(_, value)| *value)
}
