//! Backfill with an exact cut-over, recomputing, holds of retention, and documents.

use std::sync::Arc;

use opendata_compose::edge::backfill::{beside, switch};
use opendata_compose::edge::hold::{Held, hold, release};
use opendata_compose::edge::spec::{DetachSpec, OnHold, StartFrom, Step};
use opendata_compose::edge::transform::{Kind, Output, SharedTransform, each};
use opendata_compose::edge::verify::{Options, Subject, Verdict, verify};
use opendata_compose::edge::{self, Cursor, Edge, EdgeParts, EdgeSpec, SourceAt};
use opendata_compose::{Ack, Log, Timestamp, Tsdb, Vector, labels, log, tsdb, vector};
use opendata_core::env::Env;
use opendata_core::slate::Slate;

use super::bed::{
    adding, append, caught_up, counter, edge as edge_to, events, failed, memory, open, payloads, settings, start,
};

#[tokio::test]
async fn a_second_generation_takes_over_in_one_commit() {
    let store = memory();
    let source = open(&store, "source").await.unwrap();
    let builder = Slate::builder(&store, "sink").settings(settings());
    let builder =
        builder.system::<Tsdb>("tsdb", tsdb::Config::default()).system::<Tsdb>("tsdb2", tsdb::Config::default());
    let sink = builder.open().await.unwrap();
    let old = adding("add");
    let mut new = old.clone();
    new.to.instance = Some("tsdb2".to_owned());
    let text = serde_json::to_string(&new.transform).unwrap().replace("\"payload.n\"", "\"payload.n * 2\"");
    new.transform = serde_json::from_str(&text).unwrap();
    append(&source, "s", 0..50).await;
    let first = start(&old, &source, &sink);
    let second = start(&beside(&new), &source, &sink);
    let position = append(&source, "s", 50..80).await;
    caught_up(&first, position).await;
    let met = first.pause().await.cursor.unwrap();
    let last = append(&source, "s", 80..90).await;
    second.wait_for(met.next).await.unwrap();
    second.stop().await;
    let cursor = switch(&sink, &old, &new, None).await.unwrap();
    assert!(cursor.next >= met.next && cursor.generation == 2);
    assert!(Cursor::read(&sink.view(), "tsdb", "add").await.unwrap().is_none(), "the old cursor is gone");
    first.resume();
    let why = failed(&first).await;
    assert!(why.contains("another runner") || why.contains("stopped"), "the old generation writes no more: {why}");
    let mut parts = EdgeParts::new(new, SourceAt::Open(source.clone()), sink.clone());
    parts.generation = cursor.generation;
    let running = Edge::start(parts).unwrap();
    caught_up(&running, last).await;
    let view = sink.view();
    let at = Timestamp(i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap() + 1000);
    let total = view.get_reader::<Tsdb>("tsdb2").unwrap().query("total", at).await.unwrap();
    let tsdb::promql::Value::Vector(samples) = total.value else { panic!("no vector") };
    assert_eq!(samples[0].value, 2.0 * (0..90).sum::<u64>() as f64);
    assert_eq!(counter(&sink, "records").await, 80.0, "and the old one stands where it was");
}

/// A transform in Rust that counts what it sees, times a factor.
fn counting(factor: u64) -> SharedTransform {
    let name = format!("counting/{factor}");
    Arc::new(each(&name, Kind::Samples, move |_, out| {
        let labels = labels! { "__name__" => "seen" };
        out.push(Output::Add(labels, Timestamp(1_700_000_000_000), factor as f64));
        Ok(())
    }))
}

#[tokio::test]
async fn an_edge_with_a_transform_in_rust_goes_on_after_a_reset_and_a_backfill() {
    let store = memory();
    let source = open(&store, "source").await.unwrap();
    let builder = Slate::builder(&store, "sink").settings(settings());
    let builder =
        builder.system::<Tsdb>("tsdb", tsdb::Config::default()).system::<Tsdb>("tsdb2", tsdb::Config::default());
    let sink = builder.open().await.unwrap();
    let spec = edge_to("count", "tsdb");
    let run = |spec: &EdgeSpec, transform: &SharedTransform, generation: u64| {
        let mut parts = EdgeParts::new(spec.clone(), SourceAt::Open(source.clone()), sink.clone());
        (parts.transform, parts.generation) = (Some(Arc::clone(transform)), generation);
        Edge::start(parts).unwrap()
    };
    let (one, ten) = (counting(1), counting(10));
    let position = append(&source, "s", 0..5).await;
    let first = run(&spec, &one, 1);
    caught_up(&first, position).await;
    first.stop().await;
    let at = SourceAt::Open(source.clone());
    let reset = edge::reset(&sink, &spec, Some(one.as_ref()), &at, StartFrom::Oldest, &Env::system()).await.unwrap();
    let again = run(&spec, &one, reset.generation);
    caught_up(&again, position).await;
    assert_eq!(counter(&sink, "seen").await, 10.0, "read again, as was said");
    let why = failed(&run(&spec, &ten, reset.generation)).await;
    assert!(why.contains("give it a new one") || why.contains("another runner"), "another transform is told: {why}");
    again.stop().await;

    let mut new = spec.clone();
    new.to.instance = Some("tsdb2".to_owned());
    let second = run(&beside(&new), &ten, 1);
    caught_up(&second, position).await;
    second.stop().await;
    let cursor = switch(&sink, &spec, &new, Some(ten.as_ref())).await.unwrap();
    let last = append(&source, "s", 5..7).await;
    let running = run(&new, &ten, cursor.generation);
    caught_up(&running, last).await;
    running.stop().await;
    let subject = Subject { spec: new, transform: Some(ten), source: source.view(), sink: sink.view() };
    let report = verify(&[subject], &Options::in_memory().unwrap(), &mut |_| {}).await.unwrap().remove(0);
    assert_eq!((report.verdict, report.records), (Verdict::Equal, 7), "{report:?}");
}

#[tokio::test]
async fn what_an_edge_made_can_be_recomputed_up_to_its_cursor() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    let running = start(&adding("add"), &source, &sink);
    let position = append(&source, "s", 0..33).await;
    caught_up(&running, position).await;
    let cursor = running.stop().await.cursor.unwrap();
    append(&source, "s", 33..70).await;
    let scratch = open(&memory(), "scratch").await.unwrap();
    let parts = EdgeParts::new(adding("add"), SourceAt::Open(source.clone()), scratch.clone());
    let status = Edge::run_until(parts, cursor.next).await.unwrap();
    assert_eq!(status.cursor.unwrap().counts, cursor.counts);
    for metric in ["total", "records"] {
        assert_eq!(counter(&scratch, metric).await, counter(&sink, metric).await);
    }
}

#[tokio::test]
async fn a_source_is_held_at_its_edges_and_lets_go_of_one_that_lags_too_far() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    let position = append(&source, "s", 0..10).await;
    let mut spec = edge_to("copy", "log");
    let running = start(&spec, &source, &sink);
    caught_up(&running, position).await;
    let cursor = running.stop().await.cursor.unwrap();
    let log = events(&source);
    let name = Cursor::name("copy");
    assert_eq!(hold(&source, &log, &[(&spec, Some(&cursor))]).await.unwrap(), [Held::At(cursor.next)]);
    let held = source.view().on(&log).unwrap().cursor(&name).await.unwrap().unwrap();
    assert_eq!((held.position, held.hold), (cursor.next, log::Hold::Yes));
    append(&source, "s", 10..30).await;
    spec.on_hold = OnHold::Detach(DetachSpec { after_bytes: 10 });
    let held = hold(&source, &log, &[(&spec, Some(&cursor))]).await.unwrap();
    assert!(matches!(held[0], Held::Detached { behind_bytes, .. } if behind_bytes > 10), "{held:?}");
    assert!(source.view().on(&log).unwrap().cursor(&name).await.unwrap().is_none());
    release(&source, &log, "copy").await.unwrap();
}

#[tokio::test]
async fn documents_are_embedded_and_deleted() {
    let store = memory();
    let source = open(&store, "source").await.unwrap();
    let schema = r#"{"vectors": {"v": {"dims": 16}}, "texts": {"body": {}}, "attributes": {"n": "i64"}}"#;
    let config = vector::Config::new(serde_json::from_str(schema).unwrap());
    let builder = Slate::builder(&store, "sink").settings(settings()).system::<Log>("log", log::Config::default());
    let sink = builder.system::<Vector>("docs", config).open().await.unwrap();
    let steps = r#"[{"to_documents": {"id": "payload.id", "texts": {"body": "payload.body"}, "attributes": {"n": "payload.n"},
        "vectors": {"v": {"embed": {"text": "payload.body", "with": {"hashing": {"dimensions": 16}}}}},
        "delete_when": "has(payload.gone)"}}]"#;
    let spec = edge_to("docs", "docs").transform(serde_json::from_str::<Vec<Step>>(steps).unwrap());
    let running = start(&spec, &source, &sink);
    let mut tx = source.begin();
    for payload in [
        r#"{"id": "a", "body": "two apples", "n": 1}"#,
        r#"{"id": "b", "body": "a horse", "n": 2}"#,
        r#"{"id": "c", "body": "wrong", "n": "text"}"#,
        r#"{"id": "b", "gone": true}"#,
    ] {
        tx.on(&events(&source)).append("s", payload);
    }
    let position = tx.commit_with(Ack::Durable).await.unwrap().position();
    let counts = caught_up(&running, position).await.cursor.unwrap().counts;
    assert_eq!((counts.applied, counts.refused), (3, 1), "an attribute of another type is found and kept as a letter");
    let view = sink.view();
    let docs = view.get_reader::<Vector>("docs").unwrap();
    assert!(docs.get("a").await.unwrap().is_some());
    assert!(docs.get("b").await.unwrap().is_none());
    assert!(payloads(&store, "sink").await.is_empty());
}
