use super::*;

fn schema(fields: &str) -> Schema {
    Schema::new(1, serde_json::from_str(fields).unwrap()).unwrap()
}

#[test]
fn a_field_may_be_added_if_optional_and_a_type_widened() {
    let old = schema(r#"{"a": "int32", "b": {"c": "string"}, "d": "list<int32>"}"#);
    let accepted = [
        r#"{"a": "int32", "b": {"c": "string"}, "d": "list<int32>"}"#,
        r#"{"a": "int64", "b": {"c": "string"}, "d": "list<int32>"}"#,
        r#"{"a": "float64", "b": {"c": "string", "x": "bool?"}, "d": "list<int64>", "y": "string?"}"#,
    ];
    for newer in accepted {
        old.accepts(&schema(newer)).unwrap();
    }
    let refused = [
        (r#"{"b": {"c": "string"}, "d": "list<int32>"}"#, "a field is gone, field=a"),
        (r#"{"a": "int32?", "b": {"c": "string"}, "d": "list<int32>"}"#, "became optional, field=a"),
        (r#"{"a": "int32", "b": {"c": "bool"}, "d": "list<int32>"}"#, "became another, field=b.c"),
        (r#"{"a": "int32", "b": {"c": "string"}, "d": "list<string>"}"#, "became another, field=d"),
        (r#"{"a": "int32", "b": {"c": "string"}, "d": "list<int32>", "e": "bool"}"#, "not optional, field=e"),
    ];
    for (newer, why) in refused {
        let error = old.accepts(&schema(newer)).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_payload_fits_or_the_reason_is_said() {
    let schema = schema(
        r#"{"n": "int32", "at": "timestamp", "note": "string?", "of": {"who": "string"}, "l": "list<float64>"}"#,
    );
    let check = |payload: &str| schema.fits(&serde_json::from_str(payload).unwrap());
    check(r#"{"n": 1, "at": 5, "of": {"who": "x"}, "l": [1, 2.5], "more": true}"#).unwrap();
    check(r#"{"n": 1, "at": "2024-05-01T00:00:00Z", "note": null, "of": {"who": "x"}, "l": []}"#).unwrap();
    let refused = [
        ("[]", "the payload is no object"),
        (r#"{"at": 5}"#, "field of is no object"),
        (r#"{"n": 3000000000, "at": 5, "of": {"who": "x"}, "l": []}"#, "field n is not of type Int32"),
        (r#"{"n": 1, "at": "yesterday", "of": {"who": "x"}, "l": []}"#, "field at is not"),
        (r#"{"n": 1, "at": 5, "of": {}, "l": []}"#, "field of.who is missing"),
        (r#"{"n": 1, "at": 5, "of": {"who": "x"}, "l": ["a"]}"#, "field l is not"),
    ];
    for (payload, _) in refused {
        assert!(check(payload).is_err(), "{payload}");
    }
    for (payload, why) in refused.iter().skip(2) {
        assert!(check(payload).unwrap_err().contains(why), "{payload}");
    }
}

#[test]
fn a_type_that_is_not_there_is_refused() {
    let error = Schema::new(1, serde_json::from_str(r#"{"a": {"b": "text"}}"#).unwrap()).unwrap_err();
    assert!(error.to_string().contains("unknown type of a field, field=a.b, type=text"), "{error}");
}
