use opendata_core::ErrorKind;

use super::*;

#[test]
fn the_default_is_valid() {
    Config::default().validate().unwrap();
}

#[test]
fn a_setting_out_of_range_is_named() {
    let check = |config: Config, setting: &str| {
        let error = config.validate().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(&format!("setting={setting},")), "{error}");
    };
    check(Config { segment_bytes: 1, ..Config::default() }, "segment_bytes");
    check(Config { segment_streams: 0, ..Config::default() }, "segment_streams");
    check(Config { chunk_bytes: 0, ..Config::default() }, "chunk_bytes");
    check(Config { max_record_bytes: RECORD_LIMIT_BYTES + 1, ..Config::default() }, "max_record_bytes");
    check(Config { segment_age_ms: Some(0), ..Config::default() }, "segment_age_ms");
    check(Config { retain_age_ms: Some(0), ..Config::default() }, "retain_age_ms");
    check(Config { producer_idle_ms: 0, ..Config::default() }, "producer_idle_ms");
    check(Config { ring_bytes: u64::MAX, ..Config::default() }, "ring_bytes");
}
