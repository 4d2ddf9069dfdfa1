use proptest::prelude::*;

use super::*;
use crate::schema::Storage;

fn hex(value: &[u8]) -> String {
    opendata_core::Hex(value).to_string()
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::I64),
        (-1e9f64..1e9).prop_map(Value::F64),
        ".{0,9}".prop_map(Value::String),
        any::<i64>().prop_map(|v| Value::Timestamp(Timestamp(v))),
        any::<Vec<bool>>().prop_map(Value::Bools),
        any::<Vec<i64>>().prop_map(Value::I64s),
        proptest::collection::vec(-1e9f64..1e9, 0..4).prop_map(Value::F64s),
        any::<Vec<String>>().prop_map(Value::Strings),
        any::<Vec<i64>>().prop_map(|all| Value::Timestamps(all.into_iter().map(Timestamp).collect())),
    ]
}

fn stored() -> impl Strategy<Value = Stored> {
    (
        any::<Vec<u8>>(),
        proptest::collection::vec("[a-z]{1,5}", 0..3),
        proptest::collection::btree_map("[a-z]{1,5}", value(), 0..5),
        proptest::collection::btree_map("[a-z]{1,5}", (any::<u64>(), ".{0,20}"), 0..3),
        proptest::collection::btree_map(
            "[a-z]{1,5}",
            proptest::collection::vec((any::<u32>(), -9f32..9.0), 0..4),
            0..2,
        ),
    )
        .prop_map(|(external, vectors, attributes, texts, sparse)| Stored {
            external: external.into(),
            vectors,
            attributes,
            texts,
            sparse,
        })
}

#[test]
fn golden_bytes() {
    assert_eq!(hex(&encode_id(300, &mut BytesMut::new())), "01ac02");
    let stored = Stored {
        external: "a".into(),
        vectors: vec!["v".into()],
        attributes: [("k".to_owned(), Value::I64(-1)), ("l".to_owned(), Value::Strings(vec!["x".into()]))].into(),
        texts: [("t".to_owned(), (2, "b c".to_owned()))].into(),
        sparse: [("s".to_owned(), vec![(7, 1.0)])].into(),
    };
    assert_eq!(
        hex(&stored.encode()),
        "02 0161 01 0176 02 016b 02 01 016c 09 01 0178 01 0174 02 03622063 01 0173 01 07000000 0000803f"
            .replace(' ', "")
    );
    let mut counters = Counters { next_id: 5, ..Counters::default() };
    counters.add(&stored);
    assert_eq!(hex(&counters.encode()), "01 05 01 01 0176 01 01 0174 01 02".replace(' ', ""));
    let sweep = Sweep { dead: 3, pieces: 4, next: Some("ab".into()) };
    assert_eq!(hex(&sweep.encode()), "01 03 04 026162".replace(' ', ""));
    assert_eq!(hex(&vector::encode(Storage::F32, &[1.0])), "010000803f");
    // Exponents 127, 126, 128 and one that is far below: 111.
    let packed = vector::encode(Storage::F32, &[1.0, -0.75, 2.5, 1.5e-5, 1.0, 1.0, 1.0, 1.0, 1.0]);
    let exponents = "21 f0 11 11 01 6e";
    let expected = "04 80 000000 0000c0 000020 82a87b 000000 000000 000000 000000 000000".to_owned() + exponents;
    assert_eq!(hex(&packed), expected.replace(' ', ""));
    assert_eq!(hex(&vector::encode(Storage::F16, &[1.0])), "02003c");
    assert_eq!(hex(&vector::encode(Storage::Int8, &[127.0, -1.0])), "030000803f7fff");
    let bitmap: RoaringBitmap = [1, 5].into_iter().collect();
    assert_eq!(hex(&encode_bitmap(&bitmap)), "01 3a300000 01000000 0000 0100 10000000 0100 0500".replace(' ', ""));
}

#[test]
fn counting_out_undoes_counting_in() {
    let stored = Stored {
        vectors: vec!["v".into()],
        texts: [("t".to_owned(), (2, "b c".to_owned()))].into(),
        ..Stored::default()
    };
    let mut counters = Counters::default();
    counters.add(&stored);
    counters.add(&stored);
    counters.remove(&stored);
    let mut once = Counters::default();
    once.add(&stored);
    assert_eq!(counters, once);
}

proptest! {
    #[test]
    fn records_round_trip(stored in stored(), next_id in any::<u64>(), dead in any::<u64>(), next in any::<Vec<u8>>()) {
        prop_assert_eq!(Stored::decode(b"k", &stored.encode()).unwrap(), stored.clone());
        prop_assert_eq!(decode_id(b"k", &encode_id(next_id, &mut BytesMut::new())).unwrap(), next_id);
        let mut counters = Counters { next_id, ..Counters::default() };
        if stored.texts.values().all(|(words, _)| *words < 1 << 60) {
            counters.add(&stored);
        }
        prop_assert_eq!(Counters::decode(b"k", &counters.encode()).unwrap(), counters);
        let sweep = Sweep { dead, pieces: dead / 2, next: (!next.is_empty()).then(|| next.into()) };
        prop_assert_eq!(Sweep::decode(b"k", &sweep.encode()).unwrap(), sweep);
    }

    #[test]
    fn bitmaps_round_trip(ids in proptest::collection::btree_set(any::<u16>(), 0..300)) {
        let bitmap: RoaringBitmap = ids.iter().map(|id| u32::from(*id)).collect();
        prop_assert_eq!(decode_bitmap(b"k", &encode_bitmap(&bitmap)).unwrap(), bitmap);
    }

    #[test]
    fn bytes_that_are_no_record_are_an_error_and_no_panic(bytes in any::<Vec<u8>>()) {
        let _ = Stored::decode(b"k", &bytes);
        let _ = Counters::decode(b"k", &bytes);
        let _ = Sweep::decode(b"k", &bytes);
        let _ = decode_bitmap(b"k", &bytes);
        let _ = vector::decode(b"k", &bytes, 3, &mut Vec::new());
        let _ = crate::cell::Cell::decode(b"k", &bytes);
        let _ = crate::cell::table::Table::decode(b"k", &bytes);
        let _ = crate::text::decode(b"k", &bytes);
    }

    #[test]
    fn torn_documents_are_corrupt(stored in stored(), cut in any::<prop::sample::Index>()) {
        let bytes = stored.encode();
        prop_assert!(Stored::decode(b"k", &bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn vectors_of_floats_keep_every_bit(bits in proptest::collection::vec(any::<u32>(), 1..40), near in any::<bool>()) {
        // Any bits there are, or numbers that are about as large as each other.
        let of = |bits: u32| f32::from_bits(if near { bits & 0x83ff_ffff | 0x3800_0000 } else { bits });
        let vector: Vec<f32> = bits.into_iter().map(of).collect();
        let stored = vector::encode(Storage::F32, &vector);
        let mut read = Vec::new();
        vector::decode(b"k", &stored, vector.len() as u32, &mut read).unwrap();
        let bits = |of: &[f32]| of.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
        prop_assert_eq!(bits(&read), bits(&vector));
        let (raw, fewer) = (1 + vector.len() * 4, 2 + vector.len() * 3 + vector.len().div_ceil(2));
        prop_assert!(stored.len() <= raw && (!near || stored.len() == raw.min(fewer)));
        for cut in 0..stored.len() {
            prop_assert!(vector::decode(b"k", &stored[..cut], vector.len() as u32, &mut Vec::new()).is_err());
        }
    }

    #[test]
    fn vectors_keep_their_precision(vector in proptest::collection::vec(-100f32..100.0, 1..40)) {
        let dims = vector.len() as u32;
        let largest = vector.iter().fold(0f32, |largest, v| largest.max(v.abs()));
        for (storage, error) in [(Storage::F32, 0.0), (Storage::F16, largest / 2048.0 + 1e-6), (Storage::Int8, largest / 253.0)] {
            let mut read = Vec::new();
            vector::decode(b"k", &vector::encode(storage, &vector), dims, &mut read).unwrap();
            for (a, b) in vector.iter().zip(&read) {
                prop_assert!((a - b).abs() <= error, "{storage:?}: {a} became {b}");
            }
            prop_assert!(vector::decode(b"k", &vector::encode(storage, &vector), dims + 1, &mut read).is_err());
        }
    }
}
