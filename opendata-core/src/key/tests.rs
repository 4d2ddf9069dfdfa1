use proptest::prelude::*;

use super::*;

fn prefix() -> Prefix {
    Prefix { system: SystemId::LOG, version: 1, instance: InstanceId(0x0203), segment: SegmentId(0x0405_0607) }
}

#[test]
fn golden_prefix() {
    assert_eq!(prefix().encode(), [0x03, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07]);
}

#[test]
fn golden_key() {
    let key = prefix().key(Tag(0x10)).terminated(b"a\0b").u32(1).i64(-1).f64(1.0).build();
    let expected = [
        &[0x03, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x10][..],
        &[b'a', 0x00, 0xff, b'b', 0x00, 0x00],
        &[0, 0, 0, 1],
        &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0xbf, 0xf0, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    assert_eq!(key, expected);
}

#[test]
fn keys_that_share_a_buffer_are_the_same_keys() {
    let mut buffer = BytesMut::with_capacity(64);
    let keys: Vec<_> = (0..20).map(|n| prefix().key_in(Tag(1), &mut buffer).u64(n).build_in(&mut buffer)).collect();
    let alone: Vec<_> = (0..20).map(|n| prefix().key(Tag(1)).u64(n).build()).collect();
    assert_eq!(keys, alone);
}

#[test]
fn reserved_and_short_keys_are_corrupt() {
    assert!(Prefix::decode(&[1, 2, 3]).is_err());
    assert!(Prefix::decode(&[0; 8]).is_err());
    assert!(Prefix::decode(&[0xff; 8]).is_err());
    let key = prefix().key(Tag(1)).raw(b"abc").build();
    let (_, _, mut reader) = KeyReader::new(&key).unwrap();
    assert!(reader.terminated().is_err());
    assert!(reader.clone().finish().is_err() || reader.rest().is_empty());
}

#[test]
fn the_successor_of_all_ones_is_none() {
    assert_eq!(successor(&[0xff, 0xff]), None);
    assert_eq!(successor(&[1, 0xff]).unwrap(), Bytes::from_static(&[2]));
}

proptest! {
    #[test]
    fn fields_round_trip(s in any::<Vec<u8>>(), a in any::<u32>(), b in any::<u64>(), c in any::<i64>(), d in any::<f64>(), e in any::<u16>()) {
        let key = prefix().key(Tag(9)).terminated(&s).u32(a).u64(b).i64(c).f64(d).u16(e).build();
        let (p, tag, mut reader) = KeyReader::new(&key).unwrap();
        prop_assert_eq!(p, prefix());
        prop_assert_eq!(tag, Tag(9));
        prop_assert_eq!(reader.terminated().unwrap(), s);
        prop_assert_eq!(reader.u32().unwrap(), a);
        prop_assert_eq!(reader.u64().unwrap(), b);
        prop_assert_eq!(reader.i64().unwrap(), c);
        prop_assert_eq!(reader.f64().unwrap().to_bits(), d.to_bits());
        prop_assert_eq!(reader.u16().unwrap(), e);
        prop_assert!(reader.finish().is_ok());
    }

    #[test]
    fn strings_keep_their_order(a in proptest::collection::vec(0u8..3, 0..6), b in proptest::collection::vec(0u8..3, 0..6), tail in any::<(u8, u8)>()) {
        let x = prefix().key(Tag(1)).terminated(&a).u8(tail.0).build();
        let y = prefix().key(Tag(1)).terminated(&b).u8(tail.1).build();
        prop_assert_eq!((&a, tail.0).cmp(&(&b, tail.1)), x.cmp(&y));
    }

    #[test]
    fn numbers_keep_their_order(a in any::<i64>(), b in any::<i64>(), c in any::<f64>(), d in any::<f64>()) {
        let key = |n| prefix().key(Tag(1)).i64(n).build();
        prop_assert_eq!(a.cmp(&b), key(a).cmp(&key(b)));
        let key = |n| prefix().key(Tag(1)).f64(n).build();
        prop_assert_eq!(c.total_cmp(&d), key(c).cmp(&key(d)));
    }

    #[test]
    fn a_beginning_covers_all_strings_that_begin_so(a in proptest::collection::vec(0u8..3, 0..4), b in proptest::collection::vec(0u8..3, 0..6)) {
        let range = prefix().key(Tag(1)).beginning(&a).range();
        let key = prefix().key(Tag(1)).terminated(&b).build();
        // A string that goes on with a zero byte is escaped behind the beginning, so nothing is left out;
        // what the range covers beyond the strings that begin with `a` is `a` itself, ended.
        prop_assert_eq!(b.starts_with(&a), range.contains(&key));
    }

    #[test]
    fn decoding_never_panics(bytes in any::<Vec<u8>>()) {
        if let Ok((_, _, mut reader)) = KeyReader::new(&bytes) {
            let _ = reader.terminated();
            let _ = reader.u64();
        }
    }
}
