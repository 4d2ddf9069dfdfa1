use bytes::Bytes;
use opendata_core::Position;
use opendata_log::Record;

use super::*;

fn record(payload: &str) -> Record {
    Record {
        stream: Bytes::from_static(b"tenant/7"),
        position: Position(42),
        ingest_time: Timestamp(2_000),
        event_time: Timestamp(1_000),
        schema_id: 0,
        headers: Default::default(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        control: None,
        derived: false,
    }
}

fn value(text: &str, payload: &str) -> Result<Value, String> {
    let record = record(payload);
    let mut expr = Expr::parse("test", text).unwrap();
    let in_whole = expr.value(&Item::new(&record, None, Vec::new()));
    let mut paths = Paths::default();
    expr.join(&mut paths);
    assert_eq!(expr.value(&Item::new(&record, Some(&paths), Vec::new())).is_ok(), in_whole.is_ok(), "{text}");
    if in_whole.is_ok() {
        assert_eq!(expr.value(&Item::new(&record, Some(&paths), Vec::new())), in_whole, "{text}");
    }
    in_whole
}

#[test]
fn expressions_see_the_record() {
    let payload = r#"{"a": {"b": 3}, "tags": ["x", "y"], "price": 1.5, "big": 18446744073709551615}"#;
    let cases = [
        ("payload.a.b", "3"),
        ("payload.a.b + 4", "7"),
        ("payload.price * 2.0", "3.0"),
        ("payload.a.b > 2 && stream.startsWith('tenant/')", "true"),
        ("payload.missing", "null"),
        ("has(payload.missing) ? payload.missing : 'none'", "\"none\""),
        ("payload.tags.exists(tag, tag == 'y')", "true"),
        ("payload.tags.map(tag, tag + '!')", "[\"x!\",\"y!\"]"),
        ("position + event_time + ingest_time", "3042"),
        ("payload.big", "18446744073709551615"),
        ("{'stream': stream, 'b': payload.a.b}.b", "3"),
        ("size(headers)", "0"),
    ];
    for (text, wanted) in cases {
        assert_eq!(value(text, payload).map(|value| value.to_string()).as_deref(), Ok(wanted), "{text}");
    }
}

#[test]
fn what_an_expression_cannot_do_is_a_reason_and_not_a_panic() {
    for (text, payload) in [
        ("payload.a + 'x'", r#"{"a": 1}"#),
        ("payload.a.b + 1", r#"{"a": 1}"#),
        ("1 / payload.a", r#"{"a": 0}"#),
        ("payload.a / 0.0", r#"{"a": 1.0}"#),
        ("payload.a", "no json"),
        ("9223372036854775807 + payload.a", r#"{"a": 1}"#),
    ] {
        assert!(value(text, payload).is_err(), "{text}");
    }
}

#[test]
fn times_are_milliseconds_or_rfc_3339() {
    assert_eq!(time_of(&Value::from(5)), Some(Timestamp(5)));
    assert_eq!(time_of(&Value::from("1970-01-01T00:00:01.5+00:00")), Some(Timestamp(1_500)));
    assert_eq!(time_of(&Value::from("1970-01-01")), None);
    assert_eq!(time_of(&Value::from(1.5)), None);
}
