use super::*;
use crate::edge::schema::{Schema, SchemaSpec};

fn usage() -> EdgeSpec {
    serde_json::from_str(
        r#"{
            "id": "usage-of-events",
            "from": {"node": "ingest", "instance": "events", "streams": {"prefix": "tenant/"}},
            "to": {"node": "billing", "instance": "usage"},
            "transform": [
                {"filter": "payload.kind == 'use'"},
                {"to_metrics": {"metrics": [
                    {"name": "tokens_total", "kind": "add", "value": "payload.tokens", "labels": {"tenant": "payload.tenant"}},
                    {"name": "requests_1m", "kind": "count", "window": {"length_ms": 60000}}
                ]}}
            ],
            "event_time": {"from": "payload.at", "disorder_ms": 5000}
        }"#,
    )
    .unwrap()
}

fn refused(change: impl FnOnce(&mut EdgeSpec)) -> String {
    let mut spec = usage();
    change(&mut spec);
    spec.validate().unwrap_err().to_string()
}

#[test]
fn a_specification_reads_as_it_was_written() {
    let spec = usage();
    spec.validate().unwrap();
    let json = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<EdgeSpec>(&json).unwrap(), spec);
    assert_eq!((spec.runs_on(), spec.state_instance(), spec.guarantee()), ("billing", "usage", Guarantee::ExactlyOnce));
    assert!(serde_json::from_str::<EdgeSpec>(&json.replace("\"from\"", "\"form\"")).is_err());
}

#[test]
fn the_digest_covers_what_is_made_and_not_how_fast() {
    let spec = usage();
    let digest = spec.digest().unwrap();
    assert_eq!(digest.to_string(), "6ef88190ae7e60af8394a41c1282ea83", "a digest that changes orphans every cursor");
    let mut faster = spec.clone();
    faster.batch.in_flight = 9;
    faster.retry.attempts = 99;
    assert_eq!(faster.digest().unwrap(), digest);
    let mut other = spec.clone();
    other.from.streams = StreamsSpec::All;
    assert_ne!(other.digest().unwrap(), digest);
    let mut other = spec;
    other.event_time.disorder_ms += 1;
    assert_ne!(other.digest().unwrap(), digest);
}

#[test]
fn what_makes_no_sense_is_refused_with_its_place() {
    assert!(refused(|spec| spec.id = "a/b".to_owned()).contains("id is 1 to 200"));
    assert!(refused(|spec| spec.to.instance = None).contains("needs both node and instance"));
    assert!(refused(|spec| spec.to.webhook = Some(HttpSink::at("http://x"))).contains("to must be one of"));
    assert!(refused(|spec| spec.batch.in_flight = 0).contains("batch.in_flight is 1 to 64"));
    let shard = ShardSpec { index: 2, of: 2, prefix: String::new() };
    assert!(refused(|spec| spec.from.streams = StreamsSpec::Shard(shard)).contains("must be below `of`"));
    assert!(refused(|spec| spec.transform.reverse()).contains("must be the last step"));
    let text = refused(|spec| spec.transform.insert(0, Step::Filter("payload.kind = 'use'".to_owned())));
    assert!(text.contains("the expression of transform[0].filter cannot be read"), "{text}");
    let text = refused(|spec| spec.transform.insert(0, Step::Filter("payloud.kind == 'use'".to_owned())));
    assert!(text.contains("unknown name, name=payloud"), "{text}");
    let webhook = SinkSpec { webhook: Some(HttpSink::at("http://x")), ..SinkSpec::default() };
    let text = refused(|spec| {
        spec.to = webhook;
        spec.require = Some(Guarantee::ExactlyOnce);
    });
    assert!(text.contains("require cannot be given by this sink, found=exactly once"), "{text}");
}

#[test]
fn an_edge_is_held_against_what_the_nodes_hold() {
    let fields = r#"{"kind": "string", "tenant": "string", "tokens": "int64", "at": "timestamp"}"#;
    let schema = |fields: &str| Schema::new(1, serde_json::from_str::<SchemaSpec>(fields).unwrap()).unwrap();
    let catalog = |fields: &str, sink: &str| {
        let mut catalog = Catalog::default();
        catalog.add("ingest", "events", "log", Some(schema(fields))).add("billing", "usage", sink, None);
        catalog
    };
    usage().validate_in(&catalog(fields, "tsdb")).unwrap();
    let refused = |fields: &str, sink: &str| usage().validate_in(&catalog(fields, sink)).unwrap_err().to_string();
    assert!(refused(fields, "log").contains("do not make what the sink takes, steps=tsdb, sink=log"));
    let text = refused(&fields.replace("tokens", "tonkens"), "tsdb");
    assert!(text.contains("no such field, field=tokens, known=at kind tenant tonkens"), "{text}");
    let text = refused(&fields.replace("int64", "list<string>"), "tsdb");
    assert!(text.contains("to_metrics.tokens_total.value gives another type"), "{text}");
    let text = refused(&fields.replace(r#""kind": "string""#, r#""kind": "int64""#), "tsdb");
    assert!(text.contains("two types cannot be compared"), "{text}");
}
