use proptest::prelude::*;

use super::*;

#[test]
fn golden_value() {
    let mut value = Encoder::new(1);
    value.u16(0x0102).varint(300).signed(-2).bytes(b"ab").f64(1.0);
    assert_eq!(value.finish().as_ref(), [1, 2, 1, 0xac, 0x02, 3, 2, b'a', b'b', 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
}

#[test]
fn a_varint_past_64_bits_is_corrupt() {
    let mut long = [0xff; 10];
    long[9] = 0x02;
    assert!(Decoder::new(&long).varint().is_err());
    long[9] = 0x01;
    assert_eq!(Decoder::new(&long).varint().unwrap(), u64::MAX);
    assert!(Decoder::new(&[0xff; 11]).varint().is_err());
}

#[test]
fn another_layout_is_unsupported() {
    let error = Decoder::new(&[7]).layout(1).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Unsupported);
}

proptest! {
    #[test]
    fn fields_round_trip(a in any::<u64>(), b in any::<i64>(), c in any::<Vec<u8>>(), d in any::<u32>(), e in any::<i64>()) {
        let mut value = Encoder::new(3);
        value.varint(a).signed(b).bytes(&c).u32(d).i64(e);
        let value = value.finish();
        let mut reader = Decoder::new(&value);
        reader.layout(3).unwrap();
        prop_assert_eq!(reader.varint().unwrap(), a);
        prop_assert_eq!(reader.signed().unwrap(), b);
        prop_assert_eq!(reader.bytes().unwrap(), c);
        prop_assert_eq!(reader.u32().unwrap(), d);
        prop_assert_eq!(reader.i64().unwrap(), e);
        prop_assert!(reader.finish().is_ok());
    }

    #[test]
    fn decoding_never_panics(value in any::<Vec<u8>>()) {
        let mut reader = Decoder::new(&value);
        while reader.bytes().is_ok() && !reader.rest().is_empty() {}
    }
}
