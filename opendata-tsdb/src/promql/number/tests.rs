use proptest::prelude::*;

use super::*;

#[test]
fn a_sum_keeps_small_values_next_to_large_ones() {
    assert_eq!([1e100, 1.0, -1e100, 1.0].into_iter().collect::<Kahan>().value(), 2.0);
    assert_eq!([f64::INFINITY, 1.0].into_iter().collect::<Kahan>().value(), f64::INFINITY);
    assert!([f64::INFINITY, f64::NEG_INFINITY].into_iter().collect::<Kahan>().value().is_nan());
}

#[test]
fn a_mean_survives_a_sum_that_overflows() {
    assert_eq!([1e308, 1e308, 1e308, 1e308].into_iter().collect::<Mean>().value(), 1e308);
    assert_eq!([f64::INFINITY, 1.0].into_iter().collect::<Mean>().value(), f64::INFINITY);
    assert_eq!([52.0; 9].into_iter().collect::<Mean>().value(), 52.0);
}

#[test]
fn quantiles_are_interpolated_and_nan_is_the_smallest() {
    for (phi, values, expected) in [
        (0.5, vec![3.0, 1.0, 2.0], 2.0),
        (0.25, vec![0.0, 1.0], 0.25),
        (0.0, vec![5.0, 4.0], 4.0),
        (1.0, vec![f64::NAN, 4.0], 4.0),
        (-0.1, vec![1.0], f64::NEG_INFINITY),
        (1.1, vec![1.0], f64::INFINITY),
    ] {
        assert_eq!(quantile(phi, &mut values.clone()), expected, "{phi} of {values:?}");
    }
    assert!(quantile(0.0, &mut [f64::NAN, 1.0]).is_nan());
    assert!(quantile(f64::NAN, &mut [1.0]).is_nan() && quantile(0.5, &mut []).is_nan());
}

#[test]
fn floats_are_shown_without_exponents() {
    for (value, expected) in [
        (6.0, "6"),
        (0.25, "0.25"),
        (f64::INFINITY, "+Inf"),
        (f64::NEG_INFINITY, "-Inf"),
        (f64::NAN, "NaN"),
        (1e21, "1000000000000000000000"),
    ] {
        assert_eq!(text(value), expected);
    }
}

proptest! {
    #[test]
    fn the_variance_is_that_of_two_passes(values in prop::collection::vec(-1e6..1e6_f64, 1..50)) {
        let mean = values.iter().sum::<f64>() / count(values.len());
        let plain = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count(values.len());
        let ours = values.iter().copied().collect::<Variance>().value();
        prop_assert!((ours - plain).abs() <= 1e-9 * (1.0 + plain), "{} / {}", ours, plain);
    }
}
