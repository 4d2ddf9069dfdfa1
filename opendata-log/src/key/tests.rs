use opendata_core::key::{InstanceId, SystemId};
use proptest::prelude::*;

use super::*;

fn prefix(segment: u32) -> Prefix {
    Prefix { system: SystemId::LOG, version: 1, instance: InstanceId(7), segment: SegmentId(segment) }
}

fn hex(key: &[u8]) -> String {
    opendata_core::Hex(key).to_string()
}

#[test]
fn golden_bytes() {
    let data = prefix(2);
    let control = prefix(0);
    assert_eq!(
        hex(&chunk(data, b"a\0b", Position(258))),
        "030100070000000210 6100ff620000 0000000000000102".replace(' ', "")
    );
    assert_eq!(hex(&control_chunk(data, Position(1))), "030100070000000211 0000000000000001".replace(' ', ""));
    assert_eq!(hex(&group(data, Position(1))), "030100070000000218 0000000000000001".replace(' ', ""));
    assert_eq!(hex(&time(data, Timestamp(-1))), "030100070000000219 7fffffffffffffff".replace(' ', ""));
    assert_eq!(hex(&page(data, b"s")), "03010007000000021a 730000".replace(' ', ""));
    assert_eq!(hex(&segment(control, SegmentId(9))), "030100070000000010 00000009".replace(' ', ""));
    assert_eq!(hex(&stream_trim(control, b"s")), "030100070000000011 730000".replace(' ', ""));
    assert_eq!(hex(&trim(control)), "030100070000000012");
    assert_eq!(hex(&cursor(control, b"c")), "030100070000000013 63".replace(' ', ""));
    assert_eq!(hex(&producer(control, b"p")), "030100070000000014 70".replace(' ', ""));
    assert_eq!(hex(&unpruned(control, b"s")), "030100070000000015 730000".replace(' ', ""));
}

#[test]
fn foreign_and_torn_keys_are_corrupt() {
    let whole = chunk(prefix(1), b"stream", Position(5));
    for len in 0..whole.len() {
        assert_eq!(Key::decode(&whole[..len]).unwrap_err().kind(), opendata_core::ErrorKind::Corrupt, "len={len}");
    }
    let mut longer = whole.to_vec();
    longer.push(0);
    assert!(Key::decode(&longer).is_err());
    let unknown = prefix(1).key(Tag(0x77)).build();
    assert!(Key::decode(&unknown).is_err());
}

#[test]
fn only_whole_stream_names_are_filtered() {
    let stream = stream_prefix(prefix(1), b"a\0b");
    assert_eq!(filter_prefix_len(&stream), Some(stream.len()));
    assert_eq!(filter_prefix_len(&chunk(prefix(1), b"a\0b", Position(0))), Some(stream.len()));
    assert_eq!(filter_prefix_len(&stream[..stream.len() - 1]), None);
    assert_eq!(filter_prefix_len(&group(prefix(1), Position(0))), None);
    assert_eq!(filter_prefix_len(&stream_trim(prefix(0), b"a")), None, "the control segment is not filtered");
}

proptest! {
    #[test]
    fn keys_round_trip(stream in any::<Vec<u8>>(), position in any::<u64>(), time_ms in any::<i64>(), id in 1u32..) {
        let segment_id = SegmentId(id);
        let (data, control) = (prefix(id), prefix(0));
        let stream = Bytes::from(stream);
        let last = Position(position);
        let ingest = Timestamp(time_ms);
        let cases = [
            (chunk(data, &stream, last), Key::Chunk { segment: segment_id, stream: stream.clone(), last }),
            (control_chunk(data, last), Key::ControlChunk { segment: segment_id, last }),
            (group(data, last), Key::Group { segment: segment_id, last }),
            (time(data, ingest), Key::Time { segment: segment_id, ingest }),
            (page(data, &stream), Key::Page { segment: segment_id, first: stream.clone() }),
            (segment(control, segment_id), Key::Segment(segment_id)),
            (stream_trim(control, &stream), Key::StreamTrim(stream.clone())),
            (trim(control), Key::Trim),
            (cursor(control, &stream), Key::Cursor(stream.clone())),
            (producer(control, &stream), Key::Producer(stream.clone())),
            (unpruned(control, &stream), Key::Unpruned(stream.clone())),
        ];
        for (bytes, key) in cases {
            if let Some((stream, last)) = chunk_parts(&bytes) {
                prop_assert_eq!(&Key::Chunk { segment: segment_id, stream, last }, &key);
            } else {
                let plain = matches!(&key, Key::Chunk { stream, .. } if !stream.contains(&0));
                prop_assert!(!plain, "only escapes take the long way");
            }
            prop_assert_eq!(Key::decode(&bytes).unwrap(), key);
        }
    }

    #[test]
    fn key_order_is_stream_then_position(
        a in (proptest::collection::vec(0u8..3, 0..4), any::<u64>()),
        b in (proptest::collection::vec(0u8..3, 0..4), any::<u64>()),
    ) {
        let key = |(stream, last): &(Vec<u8>, u64)| chunk(prefix(1), stream, Position(*last));
        prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
        prop_assert_eq!(
            chunks(prefix(1), &a.0).contains(&key(&b)),
            b.0.starts_with(&a.0),
            "the range of a beginning holds exactly the streams that begin so"
        );
    }
}
