use opendata_core::key::{InstanceId, SystemId};
use proptest::prelude::*;

use super::*;
use crate::labels;

fn keys() -> Keys {
    Keys::new(Prefix { system: SystemId::TSDB, version: 1, instance: InstanceId(2), segment: SegmentId(77) })
}

const CONTROL: [u8; 8] = [1, 1, 0, 2, 0, 0, 0, 0];
const BUCKET_3: [u8; 8] = [1, 1, 0, 2, 0, 0, 0, 3];

fn golden(key: &Bytes, prefix: [u8; 8], rest: &[u8]) {
    assert_eq!(key.as_ref(), [&prefix, rest].concat());
}

#[test]
fn golden_bytes() {
    let (keys, bucket) = (keys(), SegmentId(3));
    golden(&keys.slab(bucket, 258), CONTROL, &[0x10, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 1, 2]);
    golden(&keys.bucket(bucket), CONTROL, &[0x11, 0, 0, 0, 3]);
    golden(&keys.sealing(bucket), CONTROL, &[0x12, 0, 0, 0, 3]);
    golden(&keys.live(), CONTROL, &[0x13]);
    golden(&keys.total(&labels! { "b" => "2", "a" => "1" }), CONTROL, b"\x14a\0\x001\0\0b\0\x002\0\0");
    golden(&keys.sampled("up"), CONTROL, b"\x15up");
    golden(&keys.forward(bucket, 5), BUCKET_3, &[0x20, 0, 0, 0, 5]);
    golden(&keys.posting(bucket, "job", "a\0b"), BUCKET_3, b"\x21job\0\0a\0b");
    golden(&keys.name(bucket, "job"), BUCKET_3, b"\x22job");
    golden(&keys.data(bucket, 1, 2, 3), BUCKET_3, &[0x23, 0, 0, 0, 1, 2, 0, 0, 0, 3]);
}

#[test]
fn every_key_is_read_back() {
    let (keys, bucket) = (keys(), SegmentId(3));
    let labels = labels! { "__name__" => "x\0y", "z" => "\u{1f4a1}" };
    let all = [
        (keys.slab(bucket, 7), Key::Slab { bucket, slab: 7 }),
        (keys.bucket(bucket), Key::Bucket { bucket }),
        (keys.sealing(bucket), Key::Sealing { bucket }),
        (keys.live(), Key::Live),
        (keys.total(&labels), Key::Total { labels }),
        (keys.sampled("up"), Key::Sampled { metric: "up".into() }),
        (keys.forward(bucket, 1), Key::Forward { bucket, block: 1 }),
        (keys.posting(bucket, "a", "b"), Key::Posting { bucket, name: "a".into(), value: "b".into() }),
        (keys.name(bucket, "a"), Key::Name { bucket, name: "a".into() }),
        (keys.data(bucket, 9, 3, 11), Key::Data { bucket, metric: 9, window: 3, series: 11 }),
    ];
    for (key, expected) in all {
        assert_eq!(Key::decode(&key).unwrap(), expected);
        assert!(Key::decode(&key[..8]).is_err());
    }
    assert!(
        Key::decode(&[&CONTROL[..], &[0x20, 0, 0, 0, 1]].concat()).is_err(),
        "a bucket's record in the control segment"
    );
    assert!(Key::decode(&[&BUCKET_3[..], &[0x23, 0, 0]].concat()).is_err());
}

proptest! {
    #[test]
    fn data_keys_stand_in_order(a in any::<(u32, u32, u8, u32)>(), b in any::<(u32, u32, u8, u32)>()) {
        let key = |(bucket, metric, window, series)| keys().data(SegmentId(bucket), metric, window, series);
        prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
    }

    #[test]
    fn slab_keys_stand_in_order(a in any::<(u32, u64)>(), b in any::<(u32, u64)>()) {
        let key = |(bucket, slab)| keys().slab(SegmentId(bucket), slab);
        prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
    }

    #[test]
    fn postings_stand_by_name_then_value(a in ("[a\\x00b]{0,3}", "[a\\x00b]{0,3}"), b in ("[a\\x00b]{0,3}", "[a\\x00b]{0,3}")) {
        let key = |(name, value): &(String, String)| keys().posting(SegmentId(1), name, value);
        prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
        prop_assert_eq!(keys().postings(SegmentId(1), &a.0, "").contains(&key(&b)), a.0 == b.0);
    }
}
