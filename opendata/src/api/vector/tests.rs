use opendata_compose::vector::{AttributeType, Document, Metric, Schema, TextField, Value, VectorField};
use opendata_core::Timestamp;

use super::*;

fn schema() -> Schema {
    Schema::default()
        .vector("v", VectorField::new(2, Metric::L2))
        .attribute("year", AttributeType::I64)
        .attribute("at", AttributeType::Timestamp)
        .attribute("tags", AttributeType::Strings)
        .text("body", TextField::default())
        .sparse("s")
}

fn read(text: &str) -> Result<Document> {
    serde_json::from_str::<DocumentJson>(text).map_err(|error| Error::invalid(error.to_string()))?.document(&schema())
}

#[test]
fn a_document_is_written_as_it_is_read() {
    let text = r#"{"id":"a","at":1769860800000,"body":"fox","s":{"indices":[3,17],"values":[0.1,2.0]},"tags":["x","y"],"v":[0.1,16777216.0],"year":1999}"#;
    let document = read(text).unwrap();
    assert_eq!(document.vectors["v"], [0.1f32, 16_777_216.0]);
    assert_eq!(document.attributes["at"], Value::Timestamp(Timestamp(1_769_860_800_000)));
    let written = serde_json::to_string(&DocumentJson::try_from(&document).unwrap()).unwrap();
    assert_eq!(written, text);
    let same = read(
        r#"{"at":"2026-01-31T12:00:00Z","v":[0.1,16777216],"id":"a","body":"fox","tags":["x","y"],"s":{"values":[0.1,2],"indices":[3,17]},"year":1999}"#,
    );
    assert_eq!(same.unwrap(), document);
    let binary = read(r#"{"id":{"base64":"/wA="},"year":null}"#).unwrap();
    assert_eq!((&binary.id[..], binary.attributes.len()), (&b"\xff\x00"[..], 0));
}

#[test]
fn what_is_wrong_is_named_with_its_document_and_field() {
    for (text, expected) in [
        (r#"{"year":1}"#, "missing field `id`"),
        (r#"{"id":"a","id":"b"}"#, "`id` stands in the document twice"),
        (r#"{"id":"a","year":1,"year":2}"#, "`year` stands in the document twice"),
        (r#"{"id":"a","colour":1}"#, "document a: no such field in the schema, field=colour"),
        (r#"{"id":"a","v":[1,"x"]}"#, "document a: invalid type: string \"x\", expected f32, field=v"),
        (r#"{"id":"a","v":[1,null]}"#, "document a: invalid type: null, expected f32, field=v"),
        (r#"{"id":"a","year":1.5}"#, "document a: invalid type: floating point `1.5`, expected i64, field=year"),
        (r#"{"id":"a","at":"noon"}"#, "document a: not a moment as in RFC 3339, attribute=at"),
        (r#"{"id":"a","body":7}"#, "document a: invalid type: integer `7`, expected a string, field=body"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.message().contains(expected), "{text}: {error}");
    }
}
