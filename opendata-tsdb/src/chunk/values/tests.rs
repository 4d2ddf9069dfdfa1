use proptest::prelude::*;

use super::*;

const STALE: u64 = 0x7ff0_0000_0000_0002;

fn encoded(values: &[f64], effort: Effort) -> Vec<u8> {
    let mut out = Encoder::new(0);
    encode(&mut out, values, effort);
    out.as_slice()[1..].to_vec()
}

fn check(values: &[f64], effort: Effort) -> Vec<u8> {
    let bytes = encoded(values, effort);
    let mut decoder = Decoder::new(&bytes);
    let mut back = Vec::new();
    decode(&mut decoder, values.len(), &mut Scratch::default(), &mut back).unwrap();
    decoder.finish().unwrap();
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&back), bits(values));
    bytes
}

#[test]
fn golden_bytes() {
    assert_eq!(check(&[2.0, 2.0, 2.0], Effort::Small), [4, 4]);
    assert_eq!(check(&[0.5, 0.5, 0.5], Effort::Small), [0, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f]);
    // Decimal with exponent 1, no exceptions, first 15, then offsets 1, 2, 3 by delta: base 1, width 0.
    assert_eq!(check(&[1.5, 1.6, 1.7, 1.8], Effort::Small), [1, 1, 0, 30, 1, 0, 2]);
    // A stale marker is an exception at place 1.
    let stale = f64::from_bits(STALE);
    let golden = [1, 0, 1, 1, 2, 0, 0, 0, 0, 0, 0xf0, 0x7f, 2, 0, 1, 0, 0b110];
    assert_eq!(check(&[1.0, stale, 2.0, 2.0], Effort::Fast), golden);
    let raw = [0.1f64.sqrt(), 0.7f64.sqrt()];
    assert_eq!(check(&raw, Effort::Fast)[0], RAW);
    // Bits: the first, then offsets of the 19 others in units of the one distance there is, one bit each.
    let mut noisy = vec![0.1f64.sqrt(); 20];
    noisy[7] = 0.7f64.sqrt();
    let bytes = check(&noisy, Effort::Small);
    assert_eq!(bytes[..11], [&[BITS][..], &0.1f64.sqrt().to_le_bytes(), &[8, 1]].concat());
    assert_eq!(bytes[bytes.len() - 4..], [0, 0b0100_0000, 0, 0]);
    // Multiplied by 0.001, which is not the same as divided by 1000: 26624, then deltas of 1.
    let multiplied: Vec<f64> = (26_624..26_628).map(|digits| f64::from(digits) * 0.001).collect();
    assert_eq!(check(&multiplied, Effort::Small), [1, 19, 0, 0x80, 0xa0, 3, 1, 0, 2]);
}

#[test]
fn small_units_that_were_divided_twice_are_decimals() {
    let values: Vec<f64> = (0..200).map(|at| f64::from(1_234_567 + 7 * at) / 1000.0 / 1000.0).collect();
    let bytes = check(&values, Effort::Small);
    assert_eq!(bytes[..2], [DECIMAL, TWICE]);
    assert!(bytes.len() < 20, "{} bytes", bytes.len());
}

#[test]
fn what_moves_steadily_through_long_fractions_is_short() {
    // A clock in seconds, every 15 s and some hundred microseconds.
    let values: Vec<f64> =
        (0..480).map(|at| 1.795e9 + 15.0 * f64::from(at) + f64::from(at * at % 37) * 1.234_567e-5).collect();
    let bytes = check(&values, Effort::Small);
    assert!(bytes.len() < 2 * values.len(), "{} bytes", bytes.len());
}

#[test]
fn few_changing_bits_are_a_stream() {
    let values: Vec<f64> =
        (0..100).map(|at: u32| f64::from_bits(0x3fd4_3d13_6248_490f ^ u64::from(at.is_multiple_of(3)) << 51)).collect();
    check(&values, Effort::Small);
}

#[test]
fn bits_in_order_are_their_own_inverse() {
    let values = [f64::NEG_INFINITY, -1e300, -1.0, -5e-324, -0.0, 0.0, 5e-324, 1.0, 1e300, f64::INFINITY];
    let ordered: Vec<i64> = values.iter().map(|value| in_order(value.to_bits().cast_signed())).collect();
    assert!(ordered.is_sorted_by(|a, b| a < b));
    let back = ordered.iter().map(|ordered| in_order(*ordered).cast_unsigned());
    assert!(back.eq(values.iter().map(|value| value.to_bits())));
}

#[test]
fn special_values_come_back_in_every_kind() {
    let special =
        [f64::NAN, f64::from_bits(STALE), f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, f64::MIN_POSITIVE, 5e-324];
    for effort in [Effort::Fast, Effort::Small] {
        check(&special, effort);
        for special in special {
            check(&[special], effort);
            check(&[special, special], effort);
            let mut counter: Vec<f64> = (0..100).map(|i| f64::from(i) * 3.0).collect();
            counter[0] = special;
            counter[50] = special;
            counter[99] = special;
            check(&counter, effort);
            let mut noise: Vec<f64> = (0..100).map(|i| f64::from(i).sin()).collect();
            noise[0] = special;
            noise[99] = special;
            check(&noise, effort);
        }
    }
}

#[test]
fn a_negative_zero_is_not_a_zero() {
    for effort in [Effort::Fast, Effort::Small] {
        check(&[-0.0, 0.0], effort);
        check(&[0.0, -0.0, 1.0, -0.0, 2.0, 3.0, 4.0, 5.0, 6.0], effort);
    }
}

#[test]
fn large_integers_are_exact() {
    check(&[LARGEST, LARGEST - 1.0, -LARGEST, LARGEST * 2.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], Effort::Small);
    check(&[1e15, 1e15 + 0.5, 1e15 + 0.125, 123_456_789.123_456_7], Effort::Small);
}

fn column() -> impl Strategy<Value = Vec<f64>> {
    let bits = prop::collection::vec(any::<u64>().prop_map(f64::from_bits), 0..200);
    let decimals = (0i32..6, prop::collection::vec((-100_000i32..100_000, 0u8..40), 0..200)).prop_map(|(e, digits)| {
        digits
            .into_iter()
            .map(|(digit, rare)| match rare {
                0 => f64::from_bits(STALE),
                1 => f64::NAN,
                2 => -0.0,
                _ => f64::from(digit) / 10f64.powi(e),
            })
            .collect()
    });
    let walk = prop::collection::vec(-3i32..4, 0..200).prop_map(|steps| {
        let mut at = 0.1;
        steps
            .into_iter()
            .map(|step| {
                at *= 1.0 + f64::from(step) / 1000.0;
                at
            })
            .collect()
    });
    let units = (0u8..40, prop::collection::vec(-1_000_000i64..1_000_000, 0..200)).prop_map(|(code, digits)| {
        let scale = Scale::from_code(code).unwrap_or(Scale::Twice);
        digits.into_iter().map(|digits| scale.value(digits)).collect()
    });
    prop_oneof![bits, decimals, walk, units]
}

proptest! {
    #[test]
    fn every_column_comes_back_bit_for_bit(values in column()) {
        check(&values, Effort::Fast);
        check(&values, Effort::Small);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80), count in 0usize..2000, kind in 0u8..6) {
        let mut bytes = bytes;
        bytes.insert(0, kind);
        let _ = decode(&mut Decoder::new(&bytes), count, &mut Scratch::default(), &mut Vec::new());
    }
}
