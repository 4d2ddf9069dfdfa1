use axum::http::HeaderValue;

use super::*;

fn headers(content_type: &str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap())])
}

#[test]
fn the_content_type_tells_the_version() {
    for (content_type, expected) in [
        ("application/x-protobuf", Version::V1),
        ("application/x-protobuf;proto=prometheus.WriteRequest", Version::V1),
        ("application/x-protobuf;proto=io.prometheus.write.v2.Request", Version::V2),
        ("Application/X-Protobuf; proto=\"io.prometheus.write.v2.Request\"", Version::V2),
    ] {
        assert_eq!(version(&headers(content_type)).unwrap(), expected, "{content_type}");
    }
    assert_eq!(version(&HeaderMap::new()).unwrap(), Version::V1);
    for content_type in ["application/json", "application/x-protobuf;proto=other.Message", ""] {
        assert_eq!(
            version(&headers(content_type)).unwrap_err().0,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{content_type}"
        );
    }
}

#[test]
fn a_block_that_claims_too_much_is_refused_before_it_is_unpacked() {
    let block = snap::raw::Encoder::new().compress_vec(&vec![0; 100_000]).unwrap();
    assert_eq!(unpack(&block, 100_000).unwrap().len(), 100_000);
    assert_eq!(unpack(&block, 99_999).unwrap_err().0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(unpack(b"\xff\xff\xff\xff\xff\xff", 10).unwrap_err().0, StatusCode::BAD_REQUEST);
    assert_eq!(unpack(&block[..50], 1 << 20).unwrap_err().0, StatusCode::BAD_REQUEST);
}
