//! Records that do not fit: kept with the reason in the transaction that passes over them, replayed, dropped, never lost.

use opendata_compose::edge::schema::{Registration, SchemaSpec, register};
use opendata_compose::edge::spec::Step;
use opendata_compose::edge::{Edge, EdgeParts, Letter, LetterKind, SourceAt, drop_letters, replay_letters};
use opendata_compose::{Log, Tsdb, log, tsdb};
use opendata_core::slate::Slate;

use super::bed::{adding, append, caught_up, counter, edge, events, failed, memory, open, payloads, settings, start};

async fn put(slate: &Slate, payload: &str) -> opendata_core::Position {
    let mut tx = slate.begin();
    tx.on(&events(slate)).append("s", payload.to_owned());
    tx.commit().await.unwrap().position()
}

#[tokio::test]
async fn poison_is_kept_and_can_be_replayed_and_dropped() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    append(&source, "s", 0..10).await;
    put(&source, "no json").await;
    put(&source, r#"{"n": "7"}"#).await;
    let position = append(&source, "s", 10..20).await;
    let spec = adding("add");
    let running = start(&spec, &source, &sink);
    let counts = caught_up(&running, position).await.cursor.unwrap().counts;
    assert_eq!((counts.applied, counts.refused, counts.waiting, counts.records()), (20, 2, 2, 22));
    let letters = Letter::list(&sink.view(), "tsdb", "add", None, 10).await.unwrap();
    assert_eq!(letters.len(), 2);
    assert!(letters[0].reason.contains("no JSON") && letters[0].payload.as_ref() == b"no json", "{letters:?}");
    assert!(letters[1].reason.contains("no number") && letters[1].kind == LetterKind::Refused, "{letters:?}");

    let unchanged = replay_letters(&sink, &spec, None, |_| true).await.unwrap();
    assert_eq!((unchanged.removed, unchanged.kept), (0, 2), "what does not fit stays");
    let text = serde_json::to_string(&spec.transform).unwrap();
    let lenient = text.replace("\"payload.n\"", "\"double(payload.n)\"");
    let lenient = spec.clone().transform(serde_json::from_str::<Vec<Step>>(&lenient).unwrap());
    let replayed = replay_letters(&sink, &lenient, None, |_| true).await.unwrap();
    assert_eq!((replayed.removed, replayed.kept), (1, 1));
    assert_eq!((counter(&sink, "records").await, counter(&sink, "total").await), (21.0, 197.0));
    let dropped = drop_letters(&sink, &spec, |letter| letter.position < position).await.unwrap();
    assert_eq!(dropped.removed, 1);

    let position = append(&source, "s", 20..21).await;
    let counts = caught_up(&running, position).await.cursor.unwrap().counts;
    assert_eq!((counts.applied, counts.refused, counts.waiting), (22, 1, 0), "the runner goes on beside it");
    assert_eq!(counter(&sink, "records").await, 22.0);
}

#[tokio::test]
async fn a_record_that_the_sink_refuses_is_found_among_the_others() {
    let store = memory();
    let source = open(&store, "source").await.unwrap();
    let small = log::Config { max_record_bytes: 100, ..log::Config::default() };
    let builder = Slate::builder(&store, "sink").settings(settings()).system::<Log>("log", small);
    let sink = builder.system::<Tsdb>("tsdb", tsdb::Config::default()).open().await.unwrap();
    let mut expected = Vec::new();
    for n in 0..100 {
        if n % 37 == 5 {
            put(&source, &"x".repeat(200)).await;
        } else {
            put(&source, &format!("{n}")).await;
            expected.push(format!("{n}"));
        }
    }
    let position = put(&source, "last").await;
    expected.push("last".to_owned());
    let running = start(&edge("copy", "log"), &source, &sink);
    let status = caught_up(&running, position).await;
    let counts = status.cursor.unwrap().counts;
    assert_eq!((counts.applied, counts.refused, counts.waiting), (98, 3, 3));
    assert_eq!(payloads(&store, "sink").await, expected);
    let letters = Letter::list(&sink.view(), "log", "copy", None, 10).await.unwrap();
    assert!(
        letters.iter().all(|letter| letter.reason.contains("record") && letter.payload.len() == 200),
        "{letters:?}"
    );
}

#[tokio::test]
async fn too_many_letters_stop_the_edge_and_nothing_is_skipped() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    for _ in 0..5 {
        put(&source, "no json").await;
    }
    let position = append(&source, "s", 0..3).await;
    let mut spec = adding("add");
    spec.dead_letters.limit = 4;
    spec.batch.max_records = 1;
    let why = failed(&start(&spec, &source, &sink)).await;
    assert!(why.contains("too many letters wait"), "{why}");
    drop_letters(&sink, &spec, |_| true).await.unwrap();
    let running = start(&spec, &source, &sink);
    let counts = caught_up(&running, position).await.cursor.unwrap().counts;
    assert_eq!((counts.applied, counts.refused, counts.waiting), (3, 5, 1));
}

#[tokio::test]
async fn records_are_held_against_the_schema_of_their_log() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    let schema = |text: &str| serde_json::from_str::<SchemaSpec>(text).unwrap();
    let log = events(&source);
    let first = register(&source, &log, schema(r#"{"n": "int64"}"#), Registration::Compatible).await.unwrap();
    assert_eq!(first.version(), 1);
    append(&source, "s", 0..3).await;
    let position = put(&source, r#"{"m": 1}"#).await;
    let running = start(&edge("copy", "log"), &source, &sink);
    let cursor = caught_up(&running, position).await.cursor.unwrap();
    assert_eq!((cursor.counts.applied, cursor.counts.refused, cursor.schema_version), (3, 1, 1));
    running.stop().await;
    let refused = register(&source, &log, schema(r#"{"m": "int64"}"#), Registration::Compatible).await;
    assert_eq!(refused.unwrap_err().kind(), opendata_core::ErrorKind::Conflict);
    let broken = register(&source, &log, schema(r#"{"m": "int64"}"#), Registration::Breaking).await.unwrap();
    assert_eq!(broken.version(), 2);
    let parts = EdgeParts::new(adding("add"), SourceAt::Open(source.clone()), sink.clone());
    let why = failed(&Edge::start(parts).unwrap()).await;
    assert!(why.contains("the schema of the source does not fit") && why.contains("field=n"), "{why}");
}
