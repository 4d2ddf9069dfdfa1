use proptest::prelude::*;

use super::*;

fn encoded(values: &[i64], effort: Effort) -> Vec<u8> {
    let mut out = Encoder::new(0);
    encode(&mut out, values, effort);
    out.as_slice()[1..].to_vec()
}

fn check(values: &[i64], effort: Effort) -> usize {
    let bytes = encoded(values, effort);
    let mut decoder = Decoder::new(&bytes);
    let (mut scratch, mut back) = (Vec::new(), Vec::new());
    decode(&mut decoder, values.first().copied().unwrap_or(0), values.len(), &mut scratch, &mut back).unwrap();
    decoder.finish().unwrap();
    assert_eq!(back, values);
    bytes.len()
}

#[test]
fn golden_bytes() {
    // A constant step: the slope is 1 in units of the divisor 15000.
    assert_eq!(encoded(&[1000, 16_000, 31_000, 46_000], Effort::Small), [9, 0, 0x98, 0x75, 2]);
    // 1, 3, 2, 7 as offsets 2, 1, 6 from the first: width 3 above a base of 1.
    assert_eq!(encoded(&[1, 3, 2, 7], Effort::Small), [0, 3, 2, 0b0100_0001, 0b0000_0001]);
    // One outlier is a patch.
    let mut values = vec![0i64; 64];
    values[40] = 1_000_003;
    values[50] = 7;
    assert_eq!(encoded(&values, Effort::Small), [4, 0, 0, 2, 39, 0x86, 0x89, 0x7a, 10, 14]);
}

#[test]
fn shapes_are_small() {
    let jittered: Vec<i64> = (0..480i64).map(|i| 1_700_000_000_000 + i * 15_000 + (i * 7919) % 8).collect();
    let size = check(&jittered, Effort::Small);
    assert!(size <= 480 * 3 / 8 + 16, "{size} bytes: {:?}", &encoded(&jittered, Effort::Small)[..12]);
    let pages: Vec<i64> = (0..480i64).map(|i| 8_000_000_000 + 4096 * ((i * 7919) % 500)).collect();
    assert!(check(&pages, Effort::Small) <= 480 * 9 / 8 + 16);
    let one_gap: Vec<i64> = (0..480i64).map(|i| i * 1000 + if i > 100 { 77_000 } else { 0 }).collect();
    assert!(check(&one_gap, Effort::Small) <= 24);
}

#[test]
fn a_constant_step_is_written_as_the_search_writes_it() {
    for (first, step) in [(0, 15_000), (1_700_000_000_123, 60_000), (5, -7), (9, 1), (0, -1), (i64::MIN, 1 << 40)] {
        for count in 2..40 {
            let values: Vec<i64> = (0..count).map(|at| first + at * step).collect();
            let mut searched = Encoder::new(0);
            search(&mut searched, first, &values[1..], Effort::Small);
            assert_eq!(encoded(&values, Effort::Small), searched.as_slice()[1..], "{count} from {first} by {step}");
        }
    }
}

#[test]
fn extremes_come_back() {
    for effort in [Effort::Fast, Effort::Small] {
        check(&[], effort);
        check(&[5], effort);
        check(&[i64::MIN, i64::MAX, 0, i64::MIN, -1, i64::MAX, 1, 0, 0, 0, 0, 7], effort);
        check(&[0, i64::MIN], effort);
        check(&[0, i64::MIN, i64::MIN, 0, i64::MIN, 0, 0, 0, 0, 0, 0], effort);
    }
}

fn column() -> impl Strategy<Value = Vec<i64>> {
    let anything = prop::collection::vec(any::<i64>(), 0..200);
    let line = (any::<i64>(), -10_000i64..10_000, prop::collection::vec((-20i64..20, 0u8..60), 0..300)).prop_map(
        |(start, step, noise)| {
            let mut at = start;
            noise
                .into_iter()
                .map(|(noise, rare)| {
                    at = at.wrapping_add(step).wrapping_add(noise);
                    if rare == 0 { at.wrapping_mul(3) } else { at }
                })
                .collect()
        },
    );
    prop_oneof![anything, line]
}

proptest! {
    #[test]
    fn every_column_comes_back(values in column()) {
        check(&values, Effort::Fast);
        check(&values, Effort::Small);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60), count in 0usize..2000) {
        let (mut scratch, mut out) = (Vec::new(), Vec::new());
        let _ = decode(&mut Decoder::new(&bytes), 0, count, &mut scratch, &mut out);
    }
}
