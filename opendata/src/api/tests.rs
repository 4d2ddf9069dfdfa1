use bytes::Bytes;
use opendata_core::Timestamp;
use serde_json::json;

use super::bytes::Text;
use super::commit::CommitIn;
use super::number::Number;
use super::record::{RecordIn, Selection};

#[test]
fn bytes_are_text_where_they_can_be() {
    for (bytes, expected) in [(&b"a\nb"[..], json!("a\nb")), (b"", json!("")), (b"\xff\x00", json!({"base64": "/wA="}))]
    {
        let text = Text(Bytes::copy_from_slice(bytes));
        assert_eq!(serde_json::to_value(&text).unwrap(), expected);
        assert_eq!(serde_json::from_value::<Text>(expected).unwrap(), text);
    }
    assert!(serde_json::from_str::<Text>("7").is_err());
    assert!(serde_json::from_str::<Text>(r#"{"base64": "?"}"#).is_err());
}

#[test]
fn numbers_have_no_gaps() {
    for value in [0.0, -0.0, 1.5, 1e300, f64::MIN_POSITIVE, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
        let text = serde_json::to_string(&Number(value)).unwrap();
        let read: Number = serde_json::from_str(&text).unwrap();
        assert!(read.0.to_bits() == value.to_bits() || value.is_nan() && read.0.is_nan(), "{text}");
    }
    assert_eq!(serde_json::from_str::<Number>("42").unwrap().0, 42.0);
    assert!(serde_json::from_str::<Number>("\"inf\"").is_err());
}

#[test]
fn a_commit_takes_one_or_many_and_no_unknown_word() {
    let text = r#"{"operations": [
        {"instance": "events", "append": {"stream": "s", "payload": "p", "headers": [["k", "v"]]}},
        {"instance": "usage", "add": [{"labels": {"__name__": "n"}, "value": 1}, {"labels": {"__name__": "n"}, "value": 2}]}
    ]}"#;
    let commit: CommitIn = serde_json::from_str(text).unwrap();
    assert_eq!(commit.operations[0].append.as_ref().map(|list| list.0.len()), Some(1));
    assert_eq!(commit.operations[1].add.as_ref().map(|list| list.0.len()), Some(2));
    for (wrong, expected) in [
        (text.replace("payload", "paylod"), "unknown field `paylod`"),
        (text.replace("append", "apend"), "unknown field `apend`"),
        (text.replace("\"value\": 1", "\"value\": \"one\""), "invalid value: string \"one\""),
        (text.replace("\"operations\"", "\"ack\": \"now\", \"operations\""), "unknown variant `now`"),
    ] {
        let error = serde_json::from_str::<CommitIn>(&wrong).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_record_in_and_a_selection_know_their_fields() {
    let record: RecordIn = serde_json::from_str(r#"{"payload": "p", "event_time": 5}"#).unwrap();
    assert_eq!((record.payload.show().as_str(), record.event_time), ("p", Some(Timestamp(5))));
    assert!(serde_json::from_str::<RecordIn>(r#"{"payload": "p", "time": 5}"#).is_err());
    let both = Selection { from: Some(1), since: Some("1h".to_owned()), ..Selection::default() };
    assert!(both.scan_options(opendata_log::Streams::All).is_err());
}
