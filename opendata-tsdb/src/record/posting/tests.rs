use proptest::prelude::*;

use super::*;

#[test]
fn golden_bytes() {
    assert_eq!(encode(&[5, 6, 300].into_iter().collect()).as_ref(), [1, 3, 5, 1, 0xa6, 2]);
    // One run container: 0 to 9999.
    let run = encode(&(0..10_000).collect());
    assert_eq!(run.as_ref(), [2, 0x3b, 0x30, 0, 0, 1, 0, 0, 0x0f, 0x27, 1, 0, 0, 0, 0x0f, 0x27]);
}

fn ids() -> impl Strategy<Value = RoaringBitmap> {
    let sparse = prop::collection::vec(any::<u32>(), 0..30).prop_map(|ids| ids.into_iter().collect());
    let dense = (0u32..200_000, 0u32..20_000).prop_map(|(from, count)| (from..from + count).collect());
    prop_oneof![sparse, dense]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn merging_unites_and_is_associative(parts in prop::collection::vec(ids(), 1..5), cut in 0usize..5) {
        let values: Vec<Bytes> = parts.iter().map(encode).collect();
        let cut = cut.min(values.len());
        let whole = merge(values.iter().map(AsRef::as_ref)).unwrap();
        let left = merge(values[..cut].iter().map(AsRef::as_ref)).unwrap();
        let right = merge(values[cut..].iter().map(AsRef::as_ref)).unwrap();
        prop_assert_eq!(&merge([left.as_ref(), right.as_ref()].into_iter()).unwrap(), &whole);
        let union = parts.into_iter().fold(RoaringBitmap::new(), |union, part| union | part);
        prop_assert_eq!(decode(&whole).unwrap(), union);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = decode(&bytes);
    }
}
