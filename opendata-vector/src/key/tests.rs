use opendata_core::key::{InstanceId, SystemId};
use proptest::prelude::*;

use super::*;

fn keys() -> Keys {
    Keys(Prefix { system: SystemId::VECTOR, version: 1, instance: InstanceId(7), segment: SegmentId::CONTROL })
}

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        any::<bool>().prop_map(Scalar::Bool),
        any::<i64>().prop_map(Scalar::I64),
        any::<f64>().prop_filter("a number", |v| !v.is_nan()).prop_map(Scalar::f64),
        "[a-c\0]{0,4}".prop_map(Scalar::String),
    ]
}

fn hex(key: &[u8]) -> String {
    opendata_core::Hex(key).to_string()
}

#[test]
fn golden_bytes() {
    let keys = keys();
    let cases = [
        (keys.counters(), "0201000700000000 10"),
        (keys.table("v"), "0201000700000000 11 760000"),
        (keys.dead(1), "0201000700000000 12 000000000001"),
        (keys.sweep(), "0201000700000000 13"),
        (keys.calibration("v"), "0201000700000000 14 760000"),
        (keys.id(b"a\0"), "0201000700000001 20 6100"),
        (keys.doc(258), "0201000700000001 21 0000000000000102"),
        (keys.vec_page("v", 1), "0201000700000001 22 760000 0000000000000001"),
        (keys.docs(1), "0201000700000001 23 0000000000000001"),
        (keys.centroid("v", 2), "0201000700000002 30 760000 00000002"),
        (keys.cell("v", 2), "0201000700000002 31 760000 00000002"),
        (keys.attr("k", &Scalar::Bool(true), 3), "0201000700000002 32 6b0000 0101 000000000003"),
        (keys.attr("k", &Scalar::I64(-1), 3), "0201000700000002 32 6b0000 02 7fffffffffffffff 000000000003"),
        (keys.attr("k", &Scalar::F64(1.0), 3), "0201000700000002 32 6b0000 03 bff0000000000000 000000000003"),
        (keys.attr("k", &Scalar::String("x".into()), 3), "0201000700000002 32 6b0000 04 780000 000000000003"),
        (keys.has("k", 1 << 32), "0201000700000002 33 6b0000 000100000000"),
        (keys.num("k", 3), "0201000700000002 35 6b0000 000000000003"),
        (keys.term("t", "fox", 0), "0201000700000002 34 740000 666f780000 000000000000"),
        (keys.sparse("s", 258, 1), "0201000700000002 36 730000 00000102 000000000001"),
    ];
    for (key, expected) in cases {
        assert_eq!(hex(&key), expected.replace(' ', ""));
    }
}

#[test]
fn torn_and_unknown_keys_are_corrupt() {
    let keys = keys();
    for whole in [keys.attr("k", &Scalar::I64(1), 3), keys.term("t", "fox", 0), keys.vec_page("v", 1), keys.dead(0)] {
        for len in 0..whole.len() {
            assert!(Key::decode(&whole[..len]).is_err(), "len={len}");
        }
        assert!(Key::decode(&[&whole[..], b"x"].concat()).is_err());
    }
    assert!(Key::decode(&keys.index(Tag(0x77)).build()).is_err());
}

proptest! {
    #[test]
    fn keys_round_trip(name in "[a-z_]{1,9}", value in scalar(), chunk in 0u64..1 << 48, id in any::<u64>(), cell in any::<u32>()) {
        let keys = keys();
        let cases = [
            (keys.table(&name), Key::Table(name.clone())),
            (keys.dead(chunk), Key::Dead(chunk)),
            (keys.gone(chunk), Key::Gone(chunk)),
            (keys.id(name.as_bytes()), Key::Id(name.clone().into())),
            (keys.doc(id), Key::Doc(id)),
            (keys.vec_page(&name, id), Key::Vec { field: name.clone(), page: id }),
            (keys.docs(id), Key::Docs(id)),
            (keys.centroid(&name, cell), Key::Centroid { field: name.clone(), cell }),
            (keys.cell(&name, cell), Key::Cell { field: name.clone(), cell }),
            (keys.attr(&name, &value, chunk), Key::Attr { name: name.clone(), value, chunk }),
            (keys.has(&name, chunk), Key::Has { name: name.clone(), chunk }),
            (keys.term(&name, "w\0d", chunk), Key::Term { field: name.clone(), term: "w\0d".into(), chunk }),
            (keys.sparse(&name, cell, chunk), Key::Sparse { field: name.clone(), dimension: cell, chunk }),
        ];
        for (bytes, key) in cases {
            prop_assert_eq!(Key::decode(&bytes).unwrap(), key);
        }
    }

    #[test]
    fn values_are_in_order(a in scalar(), b in scalar(), chunk in any::<u32>(), other in any::<u32>()) {
        if std::mem::discriminant(&a) == std::mem::discriminant(&b) {
            let key = |value: &Scalar, chunk: u32| keys().attr("k", value, chunk.into());
            let expected = a.partial_cmp(&b).unwrap().then(chunk.cmp(&other));
            prop_assert_eq!(key(&a, chunk).cmp(&key(&b, other)), expected);
        }
    }
}
