//! Where an edge may go on: never beyond the end, below the trim point or in another lineage without being told to; and one runner at a time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use opendata_compose::Position;
use opendata_compose::edge::spec::StartFrom;
use opendata_compose::edge::{Barriers, Cursor, Edge, EdgeParts, EdgeState, SourceAt, Trouble, TroubleKind, reset};
use opendata_core::env::Env;
use opendata_core::slate::Slate;

use super::bed::{
    PATIENCE, adding, append, caught_up, counter, edge, events, failed, memory, open, payloads, start, untroubled,
};

#[tokio::test]
async fn below_the_trim_point_an_edge_stands_still_until_it_is_reset() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    let position = append(&source, "s", 0..10).await;
    let running = start(&edge("copy", "log"), &source, &sink);
    caught_up(&running, position).await;
    running.stop().await;
    append(&source, "s", 10..20).await;
    let mut tx = source.begin();
    tx.on(&events(&source)).trim_all(Position::MAX);
    tx.commit().await.unwrap();
    append(&source, "s", 20..25).await;
    let why = failed(&start(&edge("copy", "log"), &source, &sink)).await;
    assert!(why.contains("no longer has what comes next"), "{why}");
    let trouble = Trouble::read(&sink.view(), "log", "copy").await.unwrap().unwrap();
    assert_eq!((trouble.kind, trouble.generation, trouble.reason), (TroubleKind::Failed, 1, why));
    let at = SourceAt::Open(source.clone());
    let cursor = reset(&sink, &edge("copy", "log"), None, &at, StartFrom::Oldest, &Env::system()).await.unwrap();
    assert_eq!(cursor.generation, 2);
    let stale = failed(&start(&edge("copy", "log"), &source, &sink)).await;
    assert!(stale.contains("another runner"), "an older generation writes no more: {stale}");
    let mut parts = EdgeParts::new(edge("copy", "log"), at, sink.clone());
    parts.generation = cursor.generation;
    let running = Edge::start(parts).unwrap();
    let position = append(&source, "s", 25..26).await;
    caught_up(&running, position).await;
    assert_eq!(payloads(&store, "sink").await.len(), 16);
    untroubled(&sink, "log", "copy").await;
}

#[tokio::test]
async fn a_source_that_lost_what_the_sink_has_seen_is_an_error() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    append(&source, "s", 0..5).await;
    source.fork("fork").await.unwrap();
    let position = append(&source, "s", 5..10).await;
    let running = start(&edge("copy", "log"), &source, &sink);
    caught_up(&running, position).await;
    running.stop().await;
    let fork = open(&store, "fork").await.unwrap();
    append(&fork, "s", 50..90).await;
    let why = failed(&start(&edge("copy", "log"), &fork, &sink)).await;
    assert!(why.contains("forked before the cursor"), "{why}");
    let other = open(&store, "other").await.unwrap();
    append(&other, "s", 0..100).await;
    let why = failed(&start(&edge("copy", "log"), &other, &sink)).await;
    assert!(why.contains("another slate"), "{why}");
}

#[tokio::test]
async fn on_a_fork_the_parents_cursor_is_good_up_to_the_fork() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    let position = append(&source, "s", 0..5).await;
    let running = start(&edge("copy", "log"), &source, &sink);
    caught_up(&running, position).await;
    running.stop().await;
    source.fork("fork").await.unwrap();
    let fork = open(&store, "fork").await.unwrap();
    let position = append(&fork, "s", 5..8).await;
    let running = start(&edge("copy", "log"), &fork, &sink);
    let status = caught_up(&running, position).await;
    assert_eq!(status.cursor.unwrap().source, fork.id());
    assert_eq!(payloads(&store, "sink").await.len(), 8);
}

#[tokio::test]
async fn of_two_runners_the_older_one_ends_and_nothing_is_doubled() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    append(&source, "s", 0..50).await;
    let first = start(&adding("add"), &source, &sink);
    let mut watch = first.watch();
    watch.wait_for(|status| matches!(status.state, EdgeState::Running)).await.unwrap();
    let second = start(&adding("add"), &source, &sink);
    let mut watch = second.watch();
    watch.wait_for(|status| matches!(status.state, EdgeState::Running)).await.unwrap();
    let position = append(&source, "s", 50..100).await;
    let why = failed(&first).await;
    assert!(why.contains("another runner"), "{why}");
    caught_up(&second, position).await;
    assert_eq!(counter(&sink, "records").await, 100.0);
}

#[tokio::test]
async fn a_changed_transform_needs_a_new_generation() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    let position = append(&source, "s", 0..5).await;
    let running = start(&adding("add"), &source, &sink);
    caught_up(&running, position).await;
    running.stop().await;
    let mut changed = adding("add");
    changed.event_time.disorder_ms = 1;
    let why = failed(&start(&changed, &source, &sink)).await;
    assert!(why.contains("give it a new one"), "{why}");
    let mut parts = EdgeParts::new(changed, SourceAt::Open(source.clone()), sink.clone());
    parts.generation = 2;
    let running = Edge::start(parts).unwrap();
    let position = append(&source, "s", 5..7).await;
    caught_up(&running, position).await;
    assert_eq!(counter(&sink, "records").await, 7.0, "it goes on where the old one was");
}

#[tokio::test]
async fn an_edge_begins_where_it_is_told_to() {
    let store = memory();
    let source = open(&store, "source").await.unwrap();
    let fifth = append(&source, "s", 0..5).await;
    append(&source, "s", 5..8).await;
    for (start_from, expected) in [
        (StartFrom::Oldest, 9),
        (StartFrom::Tail, 1),
        (StartFrom::position(fifth), 5),
        (StartFrom::Time(i64::MAX / 4), 1),
    ] {
        let path = format!("sink{expected}-{start_from:?}").replace(['(', ')'], "-");
        let sink = open(&store, &path).await.unwrap();
        let mut spec = edge("copy", "log");
        spec.start = start_from;
        let running = start(&spec, &source, &sink);
        let mut watch = running.watch();
        watch.wait_for(|status| matches!(status.state, EdgeState::Running)).await.unwrap();
        let position = append(&source, "s", 8..9).await;
        caught_up(&running, position).await;
        running.stop().await;
        let count = payloads(&store, &path).await.len();
        // Each turn appends one more.
        assert!(count >= expected, "{start_from:?}: {count}");
        if expected == 1 {
            assert_eq!(count, 1, "{start_from:?}");
        }
    }
}

#[tokio::test]
async fn a_paused_edge_stands_still_at_a_committed_cursor() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    let running = start(&adding("add"), &source, &sink);
    let position = append(&source, "s", 0..20).await;
    caught_up(&running, position).await;
    let status = running.pause().await;
    assert!(matches!(status.state, EdgeState::Paused));
    let cursor = status.cursor.unwrap();
    let last = append(&source, "s", 20..30).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(Cursor::read(&sink.view(), "tsdb", "add").await.unwrap().unwrap(), cursor);
    running.resume();
    caught_up(&running, last).await;
    assert_eq!(counter(&sink, "records").await, 30.0);
}

/// Remembers what the sink held when the edge met a barrier, and holds the edge for a while.
struct Gate(Slate, Mutex<Vec<(Vec<u8>, f64, Position)>>);

#[async_trait::async_trait]
impl Barriers for Gate {
    async fn arrived(&self, _edge: &str, barrier: &[u8], at: Position) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let applied = counter(&self.0, "records").await;
        self.1.lock().unwrap().push((barrier.to_vec(), applied, at));
    }
}

#[tokio::test]
async fn a_barrier_is_met_with_everything_before_it_and_nothing_behind() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    let gate = Arc::new(Gate(sink.clone(), Mutex::default()));
    let mut parts = EdgeParts::new(adding("add"), SourceAt::Open(source.clone()), sink.clone());
    parts.barriers = gate.clone();
    append(&source, "s", 0..10).await;
    let mut tx = source.begin();
    tx.on(&events(&source)).append("s", "{\"n\": 10}").barrier("cut-1").append("s", "{\"n\": 11}");
    tx.commit().await.unwrap();
    let position = append(&source, "s", 12..20).await;
    let running = Edge::start(parts).unwrap();
    caught_up(&running, position).await;
    let mut tx = source.begin();
    let barrier = tx.on(&events(&source)).barrier("cut-2").records();
    let position = tx.commit().await.unwrap().position();
    caught_up(&running, position).await;
    let wait = async {
        while gate.1.lock().unwrap().len() < 1 + barrier {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    let met = gate.1.lock().unwrap().clone();
    assert_eq!((met[0].0.as_slice(), met[0].1), (&b"cut-1"[..], 11.0));
    assert_eq!((met[1].0.as_slice(), met[1].1, met[1].2), (&b"cut-2"[..], 20.0, position));
    assert_eq!(counter(&sink, "records").await, 20.0);
}
