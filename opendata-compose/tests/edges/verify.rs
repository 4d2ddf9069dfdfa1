//! Verification finds what is lost, doubled and changed in a sink of any system, and says what it cannot know.

use std::sync::Arc;

use opendata_compose::edge::spec::{EmbedderSpec, StartFrom, Step};
use opendata_compose::edge::transform::{Kind as Makes, Output, each};
use opendata_compose::edge::verify::{
    Difference, Done, EdgeReport, Kind, Options, Others, Subject, Unverified, Verdict, verify,
};
use opendata_compose::edge::{Edge, EdgeParts, EdgeSpec, Letter, SourceAt, drop_letters, reset};
use opendata_compose::log::NewRecord;
use opendata_compose::vector::Document;
use opendata_compose::{Ack, Log, Store, Timestamp, Tsdb, Vector, labels, log, tsdb, vector};
use opendata_core::env::Env;
use opendata_core::slate::{At, Slate, SlateReader, View};

use super::bed::{adding, append, caught_up, edge, events, memory, open, settings, start};

/// What is in a slate, as another process reads it.
async fn stored(store: &Store, path: &str) -> View {
    let reader = SlateReader::builder(store, path).register::<Log>().register::<Tsdb>().register::<Vector>();
    reader.open(At::Latest).await.unwrap().view()
}

async fn look(store: &Store, specs: &[EdgeSpec]) -> Vec<EdgeReport> {
    look_with(store, specs, Others::Allowed).await
}

async fn look_with(store: &Store, specs: &[EdgeSpec], others: Others) -> Vec<EdgeReport> {
    let sink = stored(store, "sink").await;
    let source = stored(store, "source").await;
    let subject =
        |spec: &EdgeSpec| Subject { spec: spec.clone(), transform: None, source: source.clone(), sink: sink.clone() };
    let subjects: Vec<Subject> = specs.iter().map(subject).collect();
    let options = Options { others, ..Options::in_memory().unwrap() };
    let (mut told, mut expected, mut passed) = (0, 0, 0);
    let mut tell = |done: Done<'_>| {
        (told, expected, passed) = (told + done.records, expected + done.expected, passed + done.passed);
        assert!(passed <= expected, "no more is done than was to be done");
    };
    let reports = verify(&subjects, &options, &mut tell).await.unwrap();
    assert_eq!(passed, expected, "progress ends where it was said to end");
    assert!(told >= reports.iter().map(|report| report.records).sum());
    reports
}

#[track_caller]
fn equal(report: &EdgeReport) {
    assert_eq!((report.verdict, &report.first), (Verdict::Equal, &None), "{report:?}");
}

#[track_caller]
fn differs(report: &EdgeReport) -> &Difference {
    assert_eq!(report.verdict, Verdict::Differs, "{report:?}");
    report.first.as_ref().unwrap()
}

/// Runs an edge over everything its source holds.
async fn carry(spec: &EdgeSpec, source: &Slate, sink: &Slate) {
    let running = start(spec, source, sink);
    caught_up(&running, source.view().position()).await;
    running.stop().await;
}

#[tokio::test]
async fn a_log_that_agrees_is_equal_and_one_more_record_is_found() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    append(&source, "s", 0..40).await;
    append(&source, "t", 0..40).await;
    let spec = edge("copy", "log");
    carry(&spec, &source, &sink).await;
    let report = &look(&store, std::slice::from_ref(&spec)).await[0];
    equal(report);
    assert_eq!((report.records, report.rows, report.until), (80, 80, source.view().position().next()));
    // Somebody else's stream is nobody's business, unless it is said that there is nobody else.
    append(&sink, "other", 0..3).await;
    let report = &look(&store, std::slice::from_ref(&spec)).await[0];
    equal(report);
    assert_eq!(report.unverified, [Unverified::Others { rows: 3 }]);
    let strict = look_with(&store, std::slice::from_ref(&spec), Others::None).await;
    assert_eq!(differs(&strict[0]).kind, Kind::Extra);

    // One record again, as it was: it stands at the end of its stream.
    let again =
        source.view().get_reader::<Log>("log").unwrap().scan("t", ..).await.unwrap().next().await.unwrap().unwrap();
    let mut tx = sink.begin();
    tx.on(&events(&sink)).append_record("t", NewRecord::copy_of(&again));
    let at = tx.commit_with(Ack::Durable).await.unwrap().position();
    let reports = look(&store, &[spec]).await;
    let found = differs(&reports[0]);
    assert_eq!((found.kind, found.place.as_str()), (Kind::Doubled, format!("stream t, position {at}").as_str()));
    assert_eq!(found.found.as_deref(), Some("{\"n\": 0}"));
}

/// An edge whose code once had a fault: what it makes of the seventh record is not what it says.
async fn faulty(fault: fn(u64) -> Vec<u64>) -> EdgeReport {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    append(&source, "s", 0..20).await;
    let make = move |fault: fn(u64) -> Vec<u64>| {
        each("copies/1", Makes::Records, move |record, out| {
            let number: serde_json::Value =
                serde_json::from_slice(&record.payload).map_err(|error| error.to_string())?;
            for n in fault(number["n"].as_u64().unwrap()) {
                out.push(Output::Append("out".into(), NewRecord::new(format!("{n}"))));
            }
            Ok(())
        })
    };
    let spec = edge("copy", "log");
    let mut parts = EdgeParts::new(spec.clone(), SourceAt::Open(source.clone()), sink.clone());
    parts.transform = Some(Arc::new(make(fault)));
    let running = Edge::start(parts).unwrap();
    caught_up(&running, source.view().position()).await;
    running.stop().await;
    let transform: opendata_compose::edge::transform::SharedTransform = Arc::new(make(|n| vec![n]));
    let (sink, source) = (stored(&store, "sink").await, stored(&store, "source").await);
    let subject = Subject { spec, transform: Some(transform), source, sink };
    verify(&[subject], &Options::in_memory().unwrap(), &mut |_| {}).await.unwrap().remove(0)
}

#[tokio::test]
async fn a_record_that_is_lost_doubled_or_changed_in_the_middle_is_named() {
    equal(&faulty(|n| vec![n]).await);
    let report = faulty(|n| if n == 7 { vec![] } else { vec![n] }).await;
    let lost = differs(&report);
    assert_eq!((lost.kind, lost.expected.as_deref()), (Kind::Missing, Some("7")), "{lost}");
    assert!(lost.source.is_some() && report.differences >= 1);
    let report = faulty(|n| if n == 7 { vec![n, n] } else { vec![n] }).await;
    assert_eq!((differs(&report).kind, differs(&report).found.as_deref()), (Kind::Doubled, Some("7")));
    let report = faulty(|n| if n == 7 { vec![70] } else { vec![n] }).await;
    let changed = differs(&report);
    assert_eq!(
        (changed.kind, changed.expected.as_deref(), changed.found.as_deref()),
        (Kind::Changed, Some("7"), Some("70"))
    );
    let report = faulty(|n| if n == 19 { vec![] } else { vec![n] }).await;
    assert_eq!(
        (differs(&report).kind, differs(&report).expected.as_deref()),
        (Kind::Missing, Some("19")),
        "the last one"
    );
}

#[tokio::test]
async fn a_counter_that_was_added_to_twice_and_a_sample_that_is_gone_are_found() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    append(&source, "s", 0..30).await;
    let spec = adding("add");
    carry(&spec, &source, &sink).await;
    let report = &look(&store, std::slice::from_ref(&spec)).await[0];
    equal(report);
    assert!(report.rows >= 2, "{report:?}");
    let handle = sink.get::<Tsdb>("tsdb").unwrap();
    let mut tx = sink.begin();
    tx.on(&handle).add(labels! { "__name__" => "total" }, Timestamp(0), 1.0);
    tx.commit_with(Ack::Durable).await.unwrap();
    let reports = look(&store, std::slice::from_ref(&spec)).await;
    let found = differs(&reports[0]);
    assert_eq!(found.kind, Kind::Changed);
    assert!(found.place.starts_with("total at "), "{found}");
    assert!(found.source.is_some(), "{found}");
    // Running it again over the same records would double them: nothing is compared that was not made by one generation.
    let at = SourceAt::Open(source.clone());
    reset(&sink, &spec, None, &at, StartFrom::Oldest, &Env::system()).await.unwrap();
    let mut parts = EdgeParts::new(spec.clone(), at, sink.clone());
    parts.generation = 2;
    let running = Edge::start(parts).unwrap();
    caught_up(&running, source.view().position()).await;
    running.stop().await;
    let report = &look(&store, &[spec]).await[0];
    equal(report);
    assert!(report.unverified.contains(&Unverified::Earlier { records: 30 }), "{report:?}");
    assert!(report.unverified.contains(&Unverified::Totals { series: 2 }), "{report:?}");
}

#[tokio::test]
async fn windows_letters_and_late_values_are_verified_as_well() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    let steps = r#"[{"to_metrics": {"metrics": [
        {"name": "sum", "kind": "sum", "value": "payload.v", "window": {"length_ms": 1000}},
        {"name": "seen", "kind": "count", "window": {"length_ms": 1000, "every_ms": 250}}
    ]}}]"#;
    let mut spec = edge("windows", "tsdb").transform(serde_json::from_str::<Vec<Step>>(steps).unwrap());
    spec.event_time.disorder_ms = 300;
    let base = 1_700_000_000_000;
    for (at, payload) in (0..60).map(|n| (base + n * 170 - (n % 7) * 200, format!("{{\"v\": {n}}}"))) {
        let mut tx = source.begin();
        tx.on(&events(&source)).append_record("s", NewRecord::new(payload).event_time(Timestamp(at)));
        tx.commit_with(Ack::Written).await.unwrap();
    }
    let mut tx = source.begin();
    tx.on(&events(&source))
        .append("s", "no json")
        .append_record("s", NewRecord::new("{\"v\": 1}").event_time(Timestamp(base)));
    tx.commit_with(Ack::Durable).await.unwrap();
    carry(&spec, &source, &sink).await;
    let report = &look(&store, std::slice::from_ref(&spec)).await[0];
    equal(report);
    assert!(report.windows > 0 && report.letters > 2 && report.rows > 10, "{report:?}");

    // A result of a window that was overwritten.
    let handle = sink.get::<Tsdb>("tsdb").unwrap();
    let mut tx = sink.begin();
    tx.on(&handle).sample(labels! { "__name__" => "sum" }, Timestamp(base + 2000), 1e9);
    tx.commit_with(Ack::Durable).await.unwrap();
    let reports = look(&store, std::slice::from_ref(&spec)).await;
    assert_eq!((differs(&reports[0]).kind, differs(&reports[0]).found.as_deref()), (Kind::Changed, Some("1000000000")));

    // A letter that somebody dropped in order is no difference; one that is gone without a word is.
    let letters = Letter::list(&sink.view(), "tsdb", "windows", None, 100).await.unwrap();
    let first = letters[0].clone();
    drop_letters(&sink, &spec, |letter| letter.id() == first.id()).await.unwrap();
    let reports = look(&store, std::slice::from_ref(&spec)).await;
    assert!(reports[0].unverified.contains(&Unverified::LettersGone { letters: 1 }), "{:?}", reports[0]);
    let mut key = vec![2];
    key.extend_from_slice(&letters[1].position.0.to_be_bytes());
    key.extend_from_slice(&letters[1].generation.to_be_bytes());
    key.extend_from_slice(&letters[1].part.to_be_bytes());
    let mut tx = sink.begin();
    tx.delete_state(&handle, "edge/windows", key.into());
    tx.commit_with(Ack::Durable).await.unwrap();
    let reports = look(&store, &[spec]).await;
    assert_eq!((differs(&reports[0]).kind, differs(&reports[0]).what), (Kind::Missing, "letter"));
}

fn documents(with: &EmbedderSpec) -> EdgeSpec {
    let with = serde_json::to_value(with).unwrap();
    let steps = serde_json::json!([{"to_documents": {"id": "payload.id", "texts": {"body": "payload.body"}, "attributes": {"n": "payload.n"},
        "vectors": {"v": {"embed": {"text": "payload.body", "with": with}}}, "delete_when": "has(payload.gone)"}}]);
    edge("docs", "docs").transform(serde_json::from_value::<Vec<Step>>(steps).unwrap())
}

async fn library(store: &Store) -> (Slate, Slate) {
    let source = open(store, "source").await.unwrap();
    let schema = r#"{"vectors": {"v": {"dims": 16}}, "texts": {"body": {}}, "attributes": {"n": "i64"}}"#;
    let config = vector::Config::new(serde_json::from_str(schema).unwrap());
    let builder = Slate::builder(store, "sink").settings(settings()).system::<Log>("log", log::Config::default());
    let sink =
        builder.system::<Tsdb>("tsdb", tsdb::Config::default()).system::<Vector>("docs", config).open().await.unwrap();
    for n in 0..20 {
        let mut tx = source.begin();
        tx.on(&events(&source)).append("s", format!(r#"{{"id": "d{}", "body": "about {n}", "n": {n}}}"#, n % 10));
        tx.commit_with(Ack::Written).await.unwrap();
    }
    let mut tx = source.begin();
    tx.on(&events(&source))
        .append("s", r#"{"id": "d3", "gone": true}"#)
        .append("s", r#"{"id": "x", "body": "y", "n": "no number"}"#);
    tx.commit_with(Ack::Durable).await.unwrap();
    (source, sink)
}

#[tokio::test]
async fn documents_that_are_lost_changed_or_come_back_are_found() {
    let store = memory();
    let (source, sink) = library(&store).await;
    let spec = documents(&EmbedderSpec::Hashing { dimensions: 16 });
    carry(&spec, &source, &sink).await;
    let report = &look(&store, std::slice::from_ref(&spec)).await[0];
    equal(report);
    assert_eq!((report.rows, report.letters), (9, 1), "{report:?}");
    let docs = sink.get::<Vector>("docs").unwrap();
    let write = async |change: &dyn Fn(&mut opendata_core::slate::Transaction)| {
        let mut tx = sink.begin();
        change(&mut tx);
        tx.commit_with(Ack::Durable).await.unwrap();
    };
    let held = sink.view().get_reader::<Vector>("docs").unwrap();
    let whole = held.get_selected("d5", &vector::Select::Everything).await.unwrap().unwrap().document;
    write(&|tx| {
        tx.on(&docs).delete("d5");
    })
    .await;
    let reports = look(&store, std::slice::from_ref(&spec)).await;
    let lost = differs(&reports[0]);
    assert_eq!((lost.kind, lost.place.as_str()), (Kind::Missing, "document d5"));
    assert!(lost.source.is_some());
    write(&|tx| {
        tx.on(&docs).upsert(whole.clone().attribute("n", 999_i64));
    })
    .await;
    let reports = look(&store, std::slice::from_ref(&spec)).await;
    let changed = differs(&reports[0]);
    assert_eq!((changed.kind, changed.place.as_str()), (Kind::Changed, "document d5, fields n"));
    write(&|tx| {
        tx.on(&docs).upsert(whole.clone());
    })
    .await;
    equal(&look(&store, std::slice::from_ref(&spec)).await[0]);
    write(&|tx| {
        tx.on(&docs).upsert(Document::new("d3").text("body", "back again"));
    })
    .await;
    let reports = look(&store, std::slice::from_ref(&spec)).await;
    assert_eq!((differs(&reports[0]).kind, reports[0].differences), (Kind::Extra, 1));
}

#[tokio::test]
async fn vectors_from_outside_are_not_made_again_and_all_else_is() {
    let store = memory();
    let (source, sink) = library(&store).await;
    // A program that answers as it likes.
    let script = r#"while read line; do n=$(echo "$line" | grep -o '"about [0-9]*"' | wc -l); v="[0.$RANDOM"; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do v="$v,1"; done; v="$v]"; o="$v"; i=1; while [ $i -lt $n ]; do o="$o,$v"; i=$((i+1)); done; echo "[$o]"; done"#;
    let command = ["bash", "-c", script].map(str::to_owned).to_vec();
    let spec = documents(&EmbedderSpec::Command { command, dimensions: 16, timeout_ms: 10_000 });
    let mut only = spec.clone();
    only.transform.insert(0, Step::Filter("has(payload.gone) || payload.body.startsWith('about')".into()));
    carry(&only, &source, &sink).await;
    let report = &look(&store, std::slice::from_ref(&only)).await[0];
    equal(report);
    assert_eq!(report.unverified, [Unverified::Embedded { field: "v".into() }]);
    let docs = sink.get::<Vector>("docs").unwrap();
    let mut tx = sink.begin();
    tx.on(&docs).patch("d5", vector::Patch::new().text("body", Some("something else".into())));
    tx.commit_with(Ack::Durable).await.unwrap();
    assert_eq!(differs(&look(&store, &[only]).await[0]).place, "document d5, fields body");
}

#[tokio::test]
async fn several_edges_into_one_instance_are_looked_at_together() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    append(&source, "a", 0..10).await;
    append(&source, "b", 0..10).await;
    let mut one = edge("one", "log");
    one.from.streams = opendata_compose::edge::spec::StreamsSpec::One("a".into());
    let mut two = edge("two", "log");
    two.from.streams = opendata_compose::edge::spec::StreamsSpec::One("b".into());
    let both = [one, two]
        .map(|spec| spec.transform([Step::Route(serde_json::from_str(r#"{"stream": "['both', stream]"}"#).unwrap())]));
    for spec in &both {
        carry(spec, &source, &sink).await;
    }
    let reports = look(&store, &both).await;
    reports.iter().for_each(equal);
    assert_eq!(reports.iter().map(|report| report.rows).sum::<u64>(), 40, "{reports:?}");
    append(&sink, "both", 0..1).await;
    let reports = look(&store, &both).await;
    assert_eq!(differs(&reports[0]).kind, Kind::Extra);
}

#[tokio::test]
async fn what_the_source_has_trimmed_is_said_and_the_rest_is_compared() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    let middle = append(&source, "s", 0..20).await;
    append(&source, "s", 20..40).await;
    let spec = edge("copy", "log");
    carry(&spec, &source, &sink).await;
    let mut tx = source.begin();
    tx.on(&events(&source)).trim_all(middle.next());
    tx.commit_with(Ack::Durable).await.unwrap();
    let report = &look(&store, std::slice::from_ref(&spec)).await[0];
    equal(report);
    assert!(matches!(report.unverified[..], [Unverified::Trimmed { .. }]), "{report:?}");
    assert_eq!((report.records, report.rows), (20, 20));
    append(&sink, "s", 39..40).await;
    assert_eq!(differs(&look(&store, std::slice::from_ref(&spec)).await[0]).what, "record");
    let never = edge("never", "log");
    assert_eq!(look(&store, &[never]).await[0].verdict, Verdict::Unverified);
}
