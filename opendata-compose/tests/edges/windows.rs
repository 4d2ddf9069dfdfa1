//! Event time: the same windows for any order within the allowed disorder, wherever transactions end and however often the edge is started anew.

use std::collections::BTreeMap;

use opendata_compose::Timestamp;
use opendata_compose::edge::spec::Step;
use opendata_compose::edge::{EdgeSpec, Letter, LetterKind};
use opendata_compose::log::NewRecord;
use opendata_core::slate::Slate;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::bed::{caught_up, edge, events, memory, open, samples, start};

const BASE: i64 = 1_700_000_000_000;

fn windowed(id: &str, disorder_ms: u64, lateness_ms: u64) -> EdgeSpec {
    let steps = r#"[{"to_metrics": {"metrics": [
        {"name": "sum", "kind": "sum", "value": "payload.v", "labels": {"k": "payload.k"}, "window": {"length_ms": 1000}},
        {"name": "seen", "kind": "count", "window": {"length_ms": 1000, "every_ms": 250}},
        {"name": "most", "kind": "max", "value": "payload.v", "window": {"length_ms": 500}}
    ]}}]"#;
    let mut spec = edge(id, "tsdb").transform(serde_json::from_str::<Vec<Step>>(steps).unwrap());
    spec.event_time.disorder_ms = disorder_ms;
    spec.event_time.lateness_ms = lateness_ms;
    spec
}

async fn put(slate: &Slate, at: i64, k: u64, v: f64) -> opendata_core::Position {
    let mut tx = slate.begin();
    let record = NewRecord::new(format!("{{\"k\": {k}, \"v\": {v:?}}}")).event_time(Timestamp(BASE + at));
    tx.on(&events(slate)).append_record("s", record);
    tx.commit_with(opendata_compose::Ack::Written).await.unwrap().position()
}

type Results = Vec<BTreeMap<String, Vec<(i64, f64)>>>;

async fn results(slate: &Slate) -> Results {
    let mut all = Vec::new();
    for metric in ["sum", "seen", "most"] {
        all.push(samples(slate, metric).await);
    }
    all
}

/// Carries events in an order through windows, starting the edge anew now and then, with transactions of a size.
async fn run(events: &[(i64, u64, f64)], batch: u32, restarts: usize) -> (Results, u64) {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    let mut spec = windowed("windows", 700, 0);
    spec.batch.max_records = batch;
    let mut late = 0;
    for part in events.chunks(events.len().div_ceil(restarts + 1)) {
        let mut position = opendata_core::Position::ZERO;
        for (at, k, v) in part {
            position = put(&source, *at, *k, *v).await;
        }
        source.flush().await.unwrap();
        let running = start(&spec, &source, &sink);
        late = caught_up(&running, position).await.cursor.unwrap().counts.late;
        running.stop().await;
    }
    (results(&sink).await, late)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_are_the_same_in_any_order_within_the_disorder_and_after_any_restart() {
    let seed = std::env::var("OPENDATA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("OPENDATA_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut ordered: Vec<(i64, u64, f64)> = (0..120)
        .map(|n| (n * 40 + random.random_range(0..40), random.random_range(0..3), random.random_range(-1e9..1e9)))
        .collect();
    ordered.sort_by_key(|event| event.0);
    // The last event closes all windows before it.
    let closing = (20_000, 0, 0.0);
    ordered.push(closing);
    let (expected, late) = run(&ordered, 1_000, 0).await;
    assert_eq!(late, 0);
    assert!(expected.iter().all(|metric| !metric.is_empty()), "there are results");
    for (batch, restarts) in [(1, 2), (7, 5), (1_000, 3)] {
        let mut shuffled = ordered.clone();
        shuffled.pop();
        // Neighbours less than the allowed disorder apart change places.
        for part in shuffled.chunks_mut(15) {
            part.shuffle(&mut random);
        }
        shuffled.push(closing);
        let (found, late) = run(&shuffled, batch, restarts).await;
        assert_eq!(late, 0, "nothing was out of order by more than is allowed");
        assert_eq!(found, expected, "batch={batch}, restarts={restarts}");
    }
}

#[tokio::test]
async fn late_values_correct_their_window_and_later_ones_are_kept() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    let spec = windowed("windows", 0, 2_000);
    let running = start(&spec, &source, &sink);
    put(&source, 100, 1, 1.0).await;
    let position = put(&source, 1_500, 1, 2.0).await;
    source.flush().await.unwrap();
    caught_up(&running, position).await;
    let sum = |samples: BTreeMap<String, Vec<(i64, f64)>>| samples.into_values().next().unwrap_or_default();
    assert_eq!(sum(samples(&sink, "sum").await), [(BASE + 1_000, 1.0)]);
    let position = put(&source, 200, 1, 4.0).await;
    source.flush().await.unwrap();
    caught_up(&running, position).await;
    assert_eq!(sum(samples(&sink, "sum").await), [(BASE + 1_000, 5.0)], "a correction");
    put(&source, 9_000, 1, 8.0).await;
    let position = put(&source, 300, 1, 16.0).await;
    source.flush().await.unwrap();
    let status = caught_up(&running, position).await;
    assert_eq!(sum(samples(&sink, "sum").await)[0], (BASE + 1_000, 5.0), "the window is closed for good");
    let counts = status.cursor.unwrap().counts;
    assert!(counts.late >= 1 && counts.waiting == counts.late && counts.refused == 0, "{counts:?}");
    let letters = Letter::list(&sink.view(), "tsdb", "windows", None, 10).await.unwrap();
    assert!(letters.iter().all(|letter| letter.kind == LetterKind::Late && letter.position == position), "{letters:?}");
}

#[tokio::test]
async fn time_goes_on_with_the_log_where_the_edge_has_nothing_to_read() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    let mut spec = windowed("windows", 0, 0);
    spec.from.streams = opendata_compose::edge::spec::StreamsSpec::One("s".to_owned());
    spec.event_time.idle_ms = Some(10_000);
    let running = start(&spec, &source, &sink);
    let position = put(&source, 100, 1, 1.0).await;
    source.flush().await.unwrap();
    caught_up(&running, position).await;
    assert!(samples(&sink, "sum").await.is_empty(), "no later event, no result");
    let mut tx = source.begin();
    tx.on(&events(&source)).watermark(Timestamp(BASE + 5_000));
    let position = tx.commit().await.unwrap().position();
    caught_up(&running, position).await;
    assert_eq!(samples(&sink, "sum").await.len(), 1, "a watermark in the log closes windows");
}
