use proptest::prelude::*;

use super::*;

#[test]
fn golden_bytes() {
    let deletion = Deletion { slab: 7, from_ms: 1, to_ms: 2, next_series: 3, ids: [4, 6].into_iter().collect() };
    assert_eq!(deletion.encode(), &[1, 2, 4, 3, 0, 0, 0, 1, 2, 4, 2][..]);
}

proptest! {
    #[test]
    fn a_deletion_comes_back(slab: u64, from_ms: i64, to_ms: i64, next_series: u32, ids in prop::collection::vec(any::<u32>(), 0..40)) {
        let deletion = Deletion { slab, from_ms, to_ms, next_series, ids: ids.into_iter().collect() };
        prop_assert_eq!(Deletion::decode(slab, &deletion.encode()).unwrap(), deletion);
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        bytes.insert(0, LAYOUT);
        let _ = Deletion::decode(0, &bytes);
    }
}
