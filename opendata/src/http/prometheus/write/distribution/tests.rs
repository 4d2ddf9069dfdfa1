use proptest::prelude::*;

use super::*;

fn buckets() -> impl Strategy<Value = Buckets> {
    prop::collection::btree_map(-50_i32..50, 0.0..1e9, 0..20).prop_map(Buckets::from_indexed)
}

proptest! {
    #[test]
    fn a_histogram_with_float_counts_goes_there_and_back(
        (schema, threshold, zero, count, sum) in (-4_i8..=8, 0.0..1.0, 0.0..1e6, 0.0..1e9, -1e9..1e9),
        positive in buckets(),
        negative in buckets(),
        at: i64,
    ) {
        let histogram = Histogram {
            counter_reset: CounterReset::Gauge,
            schema,
            zero_threshold: threshold,
            zero_count: zero,
            count,
            sum,
            positive,
            negative,
            custom_bounds: [].into(),
        };
        prop_assert_eq!(decode(&encode(at, &histogram)), Ok((at, 0, histogram)));
    }

    #[test]
    fn any_bytes_are_a_histogram_or_an_error(bytes: Vec<u8>) {
        let _ = decode(&bytes);
    }
}

#[test]
fn integer_buckets_are_differences_to_their_neighbours() {
    let mut bytes = Vec::new();
    put_unsigned(&mut bytes, 1, 9);
    put_double(&mut bytes, 3, 4.5);
    put_unsigned(&mut bytes, 4, zigzag(3));
    put_unsigned(&mut bytes, 6, 2);
    let mut span = Vec::new();
    put_unsigned(&mut span, 1, zigzag(-1));
    put_unsigned(&mut span, 2, 3);
    put_bytes(&mut bytes, 11, &span);
    let deltas: Vec<u8> = [1, 2, -1].map(|delta| u8::try_from(zigzag(delta)).unwrap()).into();
    put_bytes(&mut bytes, 12, &deltas);
    put_unsigned(&mut bytes, 15, 1000);
    let (at, _, histogram) = decode(&bytes).unwrap();
    assert_eq!((at, histogram.schema, histogram.count, histogram.sum, histogram.zero_count), (1000, 3, 9.0, 4.5, 2.0));
    assert_eq!(histogram.positive.indexed().collect::<Vec<_>>(), [(-1, 1.0), (0, 3.0), (1, 2.0)]);
}
