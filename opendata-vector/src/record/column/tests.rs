use proptest::prelude::*;

use super::*;

fn entries() -> impl Strategy<Value = Vec<(u64, u16)>> {
    let few = proptest::collection::vec((prop_oneof![0u64..50, any::<u64>()], any::<u16>()), 0..60);
    // Every id of a run once, with numbers that repeat.
    let many = (0u16..20_000, 0u16..40_000, 1u64..3000).prop_map(|(start, count, step)| {
        (start..start + count).map(|low| (u64::from(low) * 7919 % step, low)).collect()
    });
    prop_oneof![few, many]
}

#[test]
fn golden_bytes() {
    let bytes = encode(vec![(300, 7), (5, 9), (5, 1)]);
    assert_eq!(opendata_core::Hex(&bytes).to_string(), "01 03 05 00 a702 0100 0900 0700".replace(' ', ""));
}

#[test]
fn numbers_keep_their_order() {
    let floats = [f64::NEG_INFINITY, -2.5, -1e-300, 0.0, 1e-300, 1.0, f64::INFINITY];
    let ordered_floats: Vec<_> = floats.iter().map(|f| ordered(&Scalar::f64(*f)).unwrap()).collect();
    assert!(ordered_floats.is_sorted());
    assert_eq!(ordered(&Scalar::f64(-0.0)), ordered(&Scalar::f64(0.0)));
    assert!([i64::MIN, -1, 0, i64::MAX].map(|i| ordered(&Scalar::I64(i))).is_sorted());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn round_trip_and_merge(a in entries(), b in entries(), cut in any::<prop::sample::Index>()) {
        let (one, other) = (encode(a.clone()), encode(b.clone()));
        let mut all = [a, b].concat();
        all.sort_unstable();
        all.dedup();
        prop_assert_eq!(decode(b"k", &merge(b"k", &[&one, &other]).unwrap()).unwrap(), all);
        prop_assert_eq!(merge(b"k", &[&one, &other]).unwrap(), merge(b"k", &[&other, &one]).unwrap());
        prop_assert!(decode(b"k", &one[..cut.index(one.len())]).is_err());
    }

    #[test]
    fn a_range_is_what_a_scan_finds(entries in entries(), from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
        let mut sorted = entries;
        sorted.sort_unstable();
        sorted.dedup();
        let column = Column::new(&sorted);
        let (from, to) = (from.index(sorted.len() + 1), to.index(sorted.len() + 1));
        let places = from.min(to)..from.max(to);
        let mut expected: Vec<u16> = sorted[places.clone()].iter().map(|(_, low)| *low).collect();
        expected.sort_unstable();
        expected.dedup();
        prop_assert_eq!(column.ids(places).iter().collect::<Vec<_>>(), expected);
        for number in [0, 5, 2000] {
            prop_assert_eq!(column.below(number), sorted.iter().filter(|(own, _)| *own < number).count());
            prop_assert_eq!(column.up_to(number), sorted.iter().filter(|(own, _)| *own <= number).count());
        }
    }
}
