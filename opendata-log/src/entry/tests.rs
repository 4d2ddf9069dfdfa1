use opendata_core::ErrorKind;

use super::*;

#[test]
fn headers_keep_their_order_and_may_repeat() {
    let record = NewRecord::new("x").header("a", "1").header("b", b"\xff\0").header("a", "");
    let headers = Headers::decode(Bytes::copy_from_slice(record.about.headers())).unwrap();
    let all: Vec<_> = headers.iter().collect();
    assert_eq!(all, [("a", b"1".as_slice()), ("b", b"\xff\0"), ("a", b"")]);
    assert_eq!(headers.get("a"), Some(b"1".as_slice()));
    assert_eq!(headers.get("c"), None);
    assert_eq!(format!("{headers:?}"), r#"{"a": "1", "b": "\\xff\\x00", "a": ""}"#);
}

#[test]
fn damaged_headers_are_corrupt() {
    for blob in [&[5, b'a'][..], &[1, b'a'], &[1, 0xff, 0]] {
        let error = Headers::decode(Bytes::copy_from_slice(blob)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{blob:?}");
    }
}

#[test]
fn control_records_round_trip() {
    let barrier = Control::Barrier("cut-7".into());
    assert_eq!(barrier.encode().as_ref(), b"\x01cut-7");
    assert_eq!(Control::decode(&barrier.encode()).unwrap(), barrier);
    let watermark = Control::Watermark(Timestamp(-2));
    assert_eq!(watermark.encode().as_ref(), b"\x02\xfe\xff\xff\xff\xff\xff\xff\xff");
    assert_eq!(Control::decode(&watermark.encode()).unwrap(), watermark);
    assert_eq!(Control::decode(&Bytes::from_static(b"\x09")).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(Control::decode(&Bytes::new()).unwrap_err().kind(), ErrorKind::Corrupt);
}
