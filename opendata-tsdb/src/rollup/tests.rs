use proptest::prelude::*;

use super::*;
use crate::columns::Columns;
use crate::promql::STALE_NAN;

fn columns(samples: &[(i64, f64)]) -> Columns {
    let (times, values) = samples.iter().copied().unzip();
    Columns { times, values, ..Columns::default() }
}

#[test]
fn a_point_says_what_its_interval_held() {
    let samples = [
        (0, 5.0),
        (1, 10.0),
        (15_000, 12.0),
        (30_000, 2.0),
        (45_000, STALE_NAN),
        (300_000, 3.0),
        (300_001, f64::NAN),
        (600_001, STALE_NAN),
    ];
    let found = points(columns(&samples).as_samples(), Resolution::FiveMinutes);
    assert_eq!(found.len(), 3, "a stale marker alone is no point");
    assert_eq!(found[0], RollupPoint::of(-300_000, 0, 5.0));
    let whole = RollupPoint {
        start_ms: 0,
        count: 4,
        first_ms: 1,
        last_ms: 300_000,
        first: 10.0,
        last: 3.0,
        min: 2.0,
        max: 12.0,
        sum: 27.0,
        increase: 2.0 + 2.0 + 1.0,
    };
    assert_eq!(found[1], whole);
    assert_eq!(found[0].increase_until(&found[1]), 5.0);
    assert!(found[2].sum.is_nan() && found[2].count == 1);
}

#[test]
fn golden_bytes() {
    let samples = [(1, 1.0), (60_000, 3.0), (300_001, 4.0)];
    let row = encode(&points(columns(&samples).as_samples(), Resolution::FiveMinutes), Resolution::FiveMinutes);
    let hex: String = row.iter().map(|byte| format!("{byte:02x}")).collect();
    let golden = [
        "0102",               // layout, 2 points
        "00000002",           // intervals: 0, then 1
        "04000001",           // samples: 2, then one less
        "02000000",           // the first a millisecond behind the beginning of both
        "c0a9070800dfd40301", // the last after 60,000 ms, then one step of 59,999 less
        "0100000208000302",   // first: integers, 1, then one step of 3
        "01000006000002",     // last: 3, then 1 more
        "0100000208000302",   // min
        "01000006000002",     // max
        "0408",               // sums: always 4
        "0100000408000201",   // increases: 2, then one step of 2 less
    ];
    assert_eq!(hex, golden.concat());
}

proptest! {
    #[test]
    fn rows_come_back(samples in prop::collection::btree_map(-9_000_000i64..90_000_000, any::<u64>().prop_map(f64::from_bits), 1..200), hour: bool) {
        let resolution = if hour { Resolution::OneHour } else { Resolution::FiveMinutes };
        let samples: Vec<_> = samples.into_iter().filter(|(_, value)| !is_stale(*value)).collect();
        let points = points(columns(&samples).as_samples(), resolution);
        prop_assume!(!points.is_empty());
        let back = decode(&encode(&points, resolution), resolution).unwrap();
        let text = |points: &[RollupPoint]| format!("{points:?}");
        prop_assert_eq!(text(&back), text(&points));
        prop_assert_eq!(points.iter().map(|point| point.count).sum::<u64>(), samples.len() as u64);
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        bytes.insert(0, LAYOUT);
        let _ = decode(&bytes, Resolution::OneHour);
    }
}
