use proptest::prelude::*;

use super::*;

#[test]
fn golden_bytes() {
    let mut out = Vec::new();
    pack(&mut out, [1, 2, 3, 7].into_iter(), 3);
    assert_eq!(out, [0b1101_0001, 0b0000_1110]);
}

#[test]
fn wrong_lengths_are_errors() {
    let mut out = Vec::new();
    assert!(unpack(&[0; 2], 4, 3, &mut out).is_ok());
    assert!(unpack(&[0; 1], 4, 3, &mut out).is_err());
    assert!(unpack(&[0; 3], 4, 3, &mut out).is_err());
    assert!(unpack(&[0; 65], 8, 65, &mut out).is_err());
    assert!(unpack(&[], usize::MAX, 64, &mut out).is_err());
}

proptest! {
    #[test]
    fn unpack_returns_what_was_packed(values in prop::collection::vec(any::<u64>(), 0..300), width in 0u32..=64) {
        let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
        let values: Vec<u64> = values.into_iter().map(|value| value & mask).collect();
        let mut bytes = Vec::new();
        pack(&mut bytes, values.iter().copied(), width);
        prop_assert_eq!(bytes.len(), packed_len(values.len(), width));
        let mut back = Vec::new();
        unpack(&bytes, values.len(), width, &mut back).unwrap();
        prop_assert_eq!(back, values);
    }
}
