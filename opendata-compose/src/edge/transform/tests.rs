use bytes::Bytes;
use opendata_core::Position;

use super::*;
use crate::edge::spec::{EdgeSpec, Step};

fn record(position: u64, payload: &str) -> Record {
    Record {
        stream: Bytes::from_static(b"s"),
        position: Position(position),
        ingest_time: Timestamp(2_000),
        event_time: Timestamp(1_000),
        schema_id: 0,
        headers: Default::default(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        control: None,
        derived: false,
    }
}

async fn run(steps: &str, payloads: &[&str]) -> Vec<String> {
    let steps: Vec<Step> = serde_json::from_str(steps).unwrap();
    let pipeline = Pipeline::new(&EdgeSpec::new("e", ("a", "b"), ("c", "d")).transform(steps)).unwrap();
    let records: Vec<Record> = payloads.iter().zip(1..).map(|(payload, at)| record(at, payload)).collect();
    let mut outputs = Outputs::of(records.len());
    pipeline.apply(&records, &mut outputs).await.unwrap();
    let (mut outcomes, mut made) = (outputs.into_outcomes(), Vec::new());
    records
        .iter()
        .map(|_| match outcomes.next(&mut made).fate {
            Fate::Filtered => "filtered".to_owned(),
            Fate::Refused(reason) => format!("refused: {reason}"),
            Fate::Made => {
                let made = std::mem::take(&mut made);
                let made = made.iter().map(|output| match output {
                    Output::Append(stream, record) => format!("{} {record:?}", stream.escape_ascii()),
                    Output::Sample(labels, at, value) => format!("{labels} {at} {value}"),
                    Output::Add(labels, at, value) => format!("{labels} {at} +{value}"),
                    Output::Observe(metric, labels, value) => format!("{labels} #{metric} {value}"),
                    Output::Upsert(document) => format!("{document:?}"),
                    Output::Delete(id) => format!("delete {}", id.escape_ascii()),
                });
                made.collect::<Vec<_>>().join("; ")
            }
        })
        .collect()
}

#[tokio::test]
async fn records_are_filtered_mapped_split_and_routed() {
    let steps = r#"[
        {"filter": "payload.ok"},
        {"split": "payload.items"},
        {"map": {"keep": true, "fields": {"twice": "payload.n * 2"}, "drop": ["x"]}},
        {"route": {"stream": "payload.n > 1 ? ['big', 'all'] : ['all']"}}
    ]"#;
    let payloads = [
        r#"{"ok": false}"#,
        r#"{"ok": true, "items": [{"n": 1, "x": 9}, {"n": 2}]}"#,
        r#"{"ok": true, "items": 5}"#,
        r#"{"ok": 1}"#,
        "not json",
    ];
    let made = run(steps, &payloads).await;
    assert_eq!(made[0], "filtered");
    assert!(made[1].starts_with("all "), "{}", made[1]);
    assert_eq!(made[1].matches("; ").count(), 2, "{}", made[1]);
    assert!(made[1].contains(r#"{\"n\":1,\"twice\":2}"#) && made[1].contains("big "), "{}", made[1]);
    assert_eq!(made[2], "refused: what is to be split is no list");
    assert_eq!(made[3], "refused: payload.ok is neither true nor false: 1");
    assert!(made[4].starts_with("refused: the payload is no JSON"), "{}", made[4]);
}

#[tokio::test]
async fn metrics_have_labels_values_and_times() {
    let steps = r#"[{"to_metrics": {"metrics": [
        {"name": "t", "kind": "add", "value": "payload.n", "labels": {"who": "payload.who", "odd": "payload.n % 2 == 1"}},
        {"name": "s", "kind": "sample", "value": "payload.n", "time": "payload.at", "when": "has(payload.at)"},
        {"name": "w", "kind": "count", "window": {"length_ms": 10}}
    ]}}]"#;
    let made = run(steps, &[r#"{"n": 3, "who": "x", "at": 7}"#, r#"{"n": 4, "who": null}"#, r#"{"n": "x"}"#]).await;
    assert_eq!(made[0], r#"t{odd="true", who="x"} 1000 +3; s 7 3; w #0 1"#);
    assert_eq!(made[1], r#"t{odd="false"} 1000 +4; w #0 1"#);
    assert_eq!(made[2], "refused: payload.n is no number: \"x\"", "and nothing of the record is left");
}

#[tokio::test]
async fn documents_have_texts_attributes_and_vectors() {
    let steps = r#"[{"to_documents": {
        "id": "payload.id", "texts": {"body": "payload.body"}, "attributes": {"n": "payload.n", "tags": "payload.tags"},
        "vectors": {"v": {"embed": {"text": "payload.body", "with": {"hashing": {"dimensions": 8}}}}, "w": {"value": "payload.w"}},
        "delete_when": "has(payload.gone)"
    }}]"#;
    let payloads = [
        r#"{"id": 7, "body": "two apples", "n": 2, "tags": ["a", "b"], "w": [1, 0.5]}"#,
        r#"{"id": "x", "gone": true}"#,
        r#"{"body": "no id"}"#,
        r#"{"id": "y", "n": {}}"#,
    ];
    let made = run(steps, &payloads).await;
    assert!(made[0].contains("two apples") && made[0].contains("Strings([\"a\", \"b\"])"), "{}", made[0]);
    assert!(made[0].contains("[1.0, 0.5]"), "{}", made[0]);
    assert_eq!(made[1], "delete x");
    assert_eq!(made[2], "refused: the document has no id");
    assert_eq!(made[3], "refused: attribute n is an object");
}

#[test]
fn the_hashing_embedder_never_changes_and_brings_likes_together() {
    let hashing = crate::edge::embed::Hashing::new(64);
    let close = |a: &str, b: &str| -> f32 { hashing.vector(a).iter().zip(hashing.vector(b)).map(|(a, b)| a * b).sum() };
    assert!((close("two red apples", "Two red apples!") - 1.0).abs() < 1e-6);
    assert!(close("two red apples", "two green apples") > close("two red apples", "a fast horse"));
    let golden: Vec<i32> = hashing.vector("two red apples").iter().map(|x| (x * 1000.0).round() as i32).collect();
    let places: Vec<(usize, i32)> = golden.into_iter().enumerate().filter(|(_, x)| *x != 0).collect();
    assert_eq!(
        places,
        [(0, 535), (5, -267), (11, -535), (42, -535), (56, 267)],
        "what was embedded before would no longer be comparable"
    );
}
