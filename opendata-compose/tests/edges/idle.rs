//! Time that goes on by the records of others: judged by the log alone, so that reading it again gives the same windows.

use std::sync::Arc;

use opendata_compose::edge::EdgeSpec;
use opendata_compose::edge::spec::{Step, StreamsSpec};
use opendata_compose::edge::verify::{Options, Subject, Verdict, verify};
use opendata_compose::log::NewRecord;
use opendata_compose::{Ack, Log, Timestamp, log};
use opendata_core::env::{Env, ManualClock};
use opendata_core::slate::Slate;

use super::bed::{caught_up, edge, events, memory, open, samples, settings, start};

const BASE: i64 = 1_700_000_000_000;
const IDLE_MS: u64 = 10_000;

fn windowed() -> EdgeSpec {
    let steps = r#"[{"to_metrics": {"metrics": [{"name": "seen", "kind": "count", "window": {"length_ms": 1000}}]}}]"#;
    let mut spec = edge("windows", "tsdb").transform(serde_json::from_str::<Vec<Step>>(steps).unwrap());
    spec.from.streams = StreamsSpec::One("mine".to_owned());
    spec.event_time.idle_ms = Some(IDLE_MS);
    spec
}

#[tokio::test]
async fn an_edge_without_records_of_its_own_goes_on_once_the_log_has_for_long_enough() {
    let store = memory();
    let clock = Arc::new(ManualClock::at(Timestamp(BASE)));
    let builder = Slate::builder(&store, "source").settings(settings()).env(Env::seeded(Arc::clone(&clock) as _, 1));
    let source = builder.system::<Log>("log", log::Config::default()).open().await.unwrap();
    let sink = open(&store, "sink").await.unwrap();
    let put = async |stream: &str, after_ms: i64| {
        clock.set(Timestamp(BASE + after_ms));
        let mut tx = source.begin();
        let record = NewRecord::new("{}").event_time(Timestamp(BASE + after_ms.min(500)));
        tx.on(&events(&source)).append_record(stream, record);
        tx.commit_with(Ack::Durable).await.unwrap().position()
    };
    let spec = windowed();
    let running = start(&spec, &source, &sink);
    put("mine", 100).await;
    let position = put("other", 10_099).await;
    caught_up(&running, position).await;
    let cursor = running.status().cursor.unwrap();
    assert_eq!(cursor.watermark, Timestamp(BASE + 100), "not for long enough: {cursor:?}");
    assert!(samples(&sink, "seen").await.is_empty());
    // Its own record sets the wait back.
    put("mine", 10_200).await;
    let position = put("other", 20_199).await;
    caught_up(&running, position).await;
    assert!(samples(&sink, "seen").await.is_empty(), "only ten seconds after its last record");
    let position = put("other", 21_600).await;
    caught_up(&running, position).await;
    assert_eq!(running.status().cursor.unwrap().watermark, Timestamp(BASE + 11_600));
    let seen = samples(&sink, "seen").await;
    assert_eq!(seen.values().next().unwrap(), &[(BASE + 1_000, 2.0)]);
    // A value of the window that has gone is late, although nothing newer of the edge's own ever came.
    let position = put("mine", 21_700).await;
    let counts = caught_up(&running, position).await.cursor.unwrap().counts;
    assert_eq!((counts.late, counts.applied), (1, 3));
    running.stop().await;

    // Read again in one piece, it is the same.
    let again = open(&store, "again").await.unwrap();
    let running = start(&spec, &source, &again);
    caught_up(&running, position).await;
    running.stop().await;
    assert_eq!(samples(&again, "seen").await, seen);
    for sink in [&sink, &again] {
        let subject = Subject { spec: spec.clone(), transform: None, source: source.view(), sink: sink.view() };
        let report = verify(&[subject], &Options::in_memory().unwrap(), &mut |_| {}).await.unwrap().remove(0);
        assert_eq!(report.verdict, Verdict::Equal, "{report:?}");
    }
}
