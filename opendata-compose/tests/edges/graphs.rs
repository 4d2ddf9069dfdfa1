//! Shapes: one to many, many to one, chains, diamonds, cycles, and a source and a sink in one slate.

use opendata_compose::edge::spec::{RouteStep, Step, StreamsSpec};
use opendata_core::slate::Slate;

use super::bed::{adding, append, caught_up, counter, edge, failed, memory, open, payloads, start};

fn routed(id: &str, from: &str, to: &str) -> opendata_compose::edge::EdgeSpec {
    let mut spec = edge(id, "log").transform([Step::Route(RouteStep { stream: format!("'{to}'") })]);
    spec.from.streams = StreamsSpec::One(from.to_owned());
    spec
}

async fn end(slate: &Slate) -> opendata_core::Position {
    slate.flush().await.unwrap()
}

#[tokio::test]
async fn a_diamond_brings_each_record_by_both_ways() {
    let store = memory();
    let source = open(&store, "source").await.unwrap();
    let (left, right) = (open(&store, "left").await.unwrap(), open(&store, "right").await.unwrap());
    let sink = open(&store, "sink").await.unwrap();
    let edges = [
        start(&edge("to-left", "log"), &source, &left),
        start(&edge("to-right", "log"), &source, &right),
        start(&adding("from-left"), &left, &sink),
        start(&adding("from-right"), &right, &sink),
    ];
    let position = append(&source, "s", 0..100).await;
    caught_up(&edges[0], position).await;
    caught_up(&edges[1], position).await;
    caught_up(&edges[2], end(&left).await).await;
    caught_up(&edges[3], end(&right).await).await;
    assert_eq!(counter(&sink, "records").await, 200.0);
    assert_eq!(counter(&sink, "total").await, 2.0 * (0..100).sum::<u64>() as f64);
}

#[tokio::test]
async fn a_view_is_kept_up_in_the_slate_of_its_source() {
    let store = memory();
    let slate = open(&store, "slate").await.unwrap();
    let running = start(&adding("view"), &slate, &slate);
    let position = append(&slate, "s", 0..50).await;
    caught_up(&running, position).await;
    assert_eq!(counter(&slate, "records").await, 50.0);
    let status = running.stop().await;
    assert!(status.totals.commits < 120, "its own commits do not set it going: {}", status.totals.commits);
}

#[tokio::test]
async fn records_go_around_a_cycle_and_come_to_rest() {
    let store = memory();
    let (a, b) = (open(&store, "a").await.unwrap(), open(&store, "b").await.unwrap());
    let there = start(&routed("there", "in", "work"), &a, &b);
    let back = start(&routed("back", "work", "out"), &b, &a);
    let position = append(&a, "in", 0..30).await;
    caught_up(&there, position).await;
    caught_up(&back, end(&b).await).await;
    assert_eq!(payloads(&store, "a").await.len(), 60);
    assert_eq!(payloads(&store, "b").await.len(), 30);
}

#[tokio::test]
async fn a_log_feeds_another_of_its_own_streams() {
    let store = memory();
    let slate = open(&store, "slate").await.unwrap();
    let running = start(&routed("loop", "in", "out"), &slate, &slate);
    let position = append(&slate, "in", 0..30).await;
    caught_up(&running, position).await;
    assert_eq!(payloads(&store, "slate").await.len(), 60);
}

#[tokio::test]
async fn one_dead_sink_stops_no_other() {
    let store = memory();
    let source = open(&store, "source").await.unwrap();
    let (dead, alive) = (open(&store, "dead").await.unwrap(), open(&store, "alive").await.unwrap());
    let (first, second) = (start(&adding("dead"), &source, &dead), start(&adding("alive"), &source, &alive));
    let position = append(&source, "s", 0..10).await;
    caught_up(&first, position).await;
    // Somebody else takes the sink over, as after a network split.
    let taken = open(&store, "dead").await.unwrap();
    let position = append(&source, "s", 10..20).await;
    let why = failed(&first).await;
    assert!(why.contains("sink's writer has ended"), "{why}");
    caught_up(&second, position).await;
    assert_eq!(counter(&alive, "records").await, 20.0);
    let again = start(&adding("dead"), &source, &taken);
    caught_up(&again, position).await;
    assert_eq!(counter(&taken, "records").await, 20.0);
}
