use proptest::prelude::*;

use super::*;

#[test]
fn golden_bytes() {
    assert_eq!(Bucket { start_ms: -1, length_ms: 300 }.encode().as_ref(), [1, 1, 0xac, 2]);
    assert_eq!(Sealing { through: 258, next_series: 3 }.encode().as_ref(), [1, 2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0]);
    assert_eq!(encode_segment(SegmentId(258)).as_ref(), [1, 2, 1, 0, 0]);
}

proptest! {
    #[test]
    fn records_come_back(start_ms in any::<i64>(), length_ms in any::<u64>(), through in any::<u64>(), next_series in any::<u32>()) {
        let bucket = Bucket { start_ms, length_ms };
        prop_assert_eq!(Bucket::decode(&bucket.encode()).unwrap(), bucket);
        let sealing = Sealing { through, next_series };
        prop_assert_eq!(Sealing::decode(&sealing.encode()).unwrap(), sealing);
        let segment = SegmentId(next_series);
        prop_assert_eq!(decode_segment(&encode_segment(segment)).unwrap(), segment);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..30)) {
        let _ = (Bucket::decode(&bytes), Sealing::decode(&bytes), decode_segment(&bytes));
    }
}
