//! What is fuzzed: none of it may panic, whatever the bytes are.

use opendata_core::DataSystem;
use opendata_vector::{Cursor, Filter, Vector};

/// Keys of every kind of record, without the system, the version and the instance: segment, tag and fields.
const KEYS: [&[u8]; 18] = [
    b"\0\0\0\0\x10",
    b"\0\0\0\0\x11v\0\0",
    b"\0\0\0\0\x12\0\0\0\0\0\x01",
    b"\0\0\0\0\x13",
    b"\0\0\0\0\x14v\0\0",
    b"\0\0\0\0\x15\0\0\0\0\0\x01",
    b"\0\0\0\x01\x20id",
    b"\0\0\0\x01\x21\0\0\0\0\0\0\0\x01",
    b"\0\0\0\x01\x22v\0\0\0\0\0\0\0\0\0\x01",
    b"\0\0\0\x01\x23\0\0\0\0\0\0\0\x01",
    b"\0\0\0\x02\x30v\0\0\0\0\0\x01",
    b"\0\0\0\x02\x31v\0\0\0\0\0\x01",
    b"\0\0\0\x02\x32k\0\0\x01\x01\0\0\0\0\0\x01",
    b"\0\0\0\x02\x32k\0\0\x04x\0\0\0\0\0\0\0\x01",
    b"\0\0\0\x02\x33k\0\0\0\0\0\0\0\x01",
    b"\0\0\0\x02\x34t\0\0fox\0\0\0\0\0\0\0\x01",
    b"\0\0\0\x02\x35k\0\0\0\0\0\0\0\x01",
    b"\0\0\0\x02\x36s\0\0\0\0\0\x07\0\0\0\0\0\x01",
];

/// As the value of every kind of record, and as a key.
pub(crate) fn records(bytes: &[u8]) {
    for fields in KEYS {
        record(&[b"\x02\x01\0\x01", fields].concat(), bytes);
    }
    let _ = Vector::describe(bytes, b"");
    let _ = Vector::describe(&[b"\x02\x01\0\x01", bytes].concat(), b"\x01");
}

/// As the value of a key. What merges can be read, and merges again to the same.
pub(crate) fn record(key: &[u8], value: &[u8]) {
    let is_read = Vector::describe(key, value).is_ok();
    if let Ok(merged) = Vector::merge(key, None, &[value.to_vec().into()]) {
        assert!(Vector::describe(key, &merged).is_ok() || !is_read, "what was merged of a good value cannot be read");
        if is_read {
            let again = Vector::merge(key, Some(&merged), &[]);
            assert_eq!(again.ok().as_ref(), Some(&merged), "merging is not stable");
        }
    }
}

/// As a filter and as a cursor. What is shown reads as the same.
pub(crate) fn texts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(filter) = text.parse::<Filter>() {
        let shown = filter.to_string();
        assert_eq!(shown.parse::<Filter>().ok().as_ref(), Some(&filter), "{shown}");
    }
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string().parse::<Cursor>().ok(), Some(cursor));
    }
}
