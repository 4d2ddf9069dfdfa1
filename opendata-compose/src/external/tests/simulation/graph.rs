//! Random graphs, and what their edges make of a record.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;

use crate::edge::EdgeSpec;
use crate::edge::spec::{HttpSink, SinkSpec, Step};
use crate::spec::{Composition, InstanceSpec, NodeSpec};

pub(super) const NODES: [&str; 4] = ["a", "b", "c", "d"];

/// What a node's metrics store is called when it is a node of its own.
pub(super) fn part(node: &str) -> String {
    format!("{node}-t")
}

/// Nodes with a log and a metrics store each, and edges that lead from earlier names to later ones; a metrics store may be fed from the log beside it.
pub(super) fn random(rng: &mut StdRng) -> Composition {
    let instances =
        BTreeMap::from([("l".to_owned(), InstanceSpec::of("log")), ("t".to_owned(), InstanceSpec::of("tsdb"))]);
    let node = |name: &&str| ((*name).to_owned(), NodeSpec { path: None, instances: instances.clone() });
    let mut edges = Vec::new();
    for (at, from) in NODES.iter().enumerate() {
        for to in &NODES[at..] {
            if from != to && rng.random_bool(0.5) {
                edges.push(copying(from, to, rng.random_bool(0.4)));
            }
            if rng.random_bool(0.25) {
                edges.push(counting(from, to));
            }
        }
    }
    // What is outside does not change what else a seed gives.
    let told = rng.clone().random_range(0..NODES.len());
    edges.extend(NODES.iter().enumerate().filter(|(at, _)| at % NODES.len() == told).map(|(_, from)| telling(from)));
    // At least one of each kind.
    if !edges.iter().any(|edge: &EdgeSpec| edge.id.starts_with("copy")) {
        edges.push(copying("a", "b", false));
    }
    if !edges.iter().any(|edge| edge.id.starts_with("count")) {
        edges.push(counting("a", "b"));
    }
    for edge in &mut edges {
        edge.retry.first_ms = 20;
        edge.retry.max_ms = 500;
        edge.retry.rest_ms = 1_000;
        edge.batch.max_records = rng.random_range(1..20);
    }
    Composition { nodes: NODES.iter().map(node).collect(), edges, cuts: None }
}

/// Copies records into a stream of its own, all of them or those of which `k` is not 2.
fn copying(from: &str, to: &str, some: bool) -> EdgeSpec {
    let id = format!("copy{}-{from}-{to}", if some { "-some" } else { "" });
    let route = format!(r#"{{"route": {{"stream": "'{id}'"}}}}"#);
    let steps = if some { format!(r#"[{{"filter": "payload.k != 2"}}, {route}]"#) } else { format!("[{route}]") };
    EdgeSpec::new(&id, (from, "l"), (to, "l")).transform(serde_json::from_str::<Vec<Step>>(&steps).unwrap())
}

/// Adds up `k` in a counter of its own.
fn counting(from: &str, to: &str) -> EdgeSpec {
    let id = format!("count-{from}-{to}");
    let steps = format!(
        r#"[{{"to_metrics": {{"metrics": [{{"name": "{}", "kind": "add", "value": "payload.k"}}]}}}}]"#,
        metric(&id)
    );
    EdgeSpec::new(&id, (from, "l"), (to, "t")).transform(serde_json::from_str::<Vec<Step>>(&steps).unwrap())
}

/// Tells every record to the outside.
fn telling(from: &str) -> EdgeSpec {
    let to = SinkSpec { webhook: Some(HttpSink::at("http://outside/")), ..SinkSpec::default() };
    EdgeSpec { to, ..EdgeSpec::new(&format!("tell-{from}"), (from, "l"), (from, "l")) }
}

pub(super) fn metric(edge: &str) -> String {
    edge.replace('-', "_")
}

/// What shall become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Applied(u64),
    Filtered,
    Refused,
}

/// What an edge makes of a payload: told here once more, in a few lines.
pub(super) fn fate(edge: &str, payload: &[u8]) -> Fate {
    let k = serde_json::from_slice::<serde_json::Value>(payload).ok().and_then(|value| value["k"].as_u64());
    if edge.starts_with("tell") {
        return Fate::Applied(0);
    }
    match (edge.starts_with("copy-some"), edge.starts_with("copy"), k) {
        (true, _, Some(2)) => Fate::Filtered,
        (false, true, _) => Fate::Applied(0),
        (_, _, Some(k)) => Fate::Applied(k),
        (_, _, None) => Fate::Refused,
    }
}
