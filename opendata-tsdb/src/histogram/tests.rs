use proptest::prelude::*;

use super::*;

fn buckets(first: i32, counts: &[f64]) -> Buckets {
    Buckets::from_indexed((first..).zip(counts.iter().copied()))
}

fn exponential(schema: i8, positive: Buckets) -> Histogram {
    let count = positive.counts.iter().sum();
    Histogram { schema, count, sum: count, positive, ..Histogram::default() }
}

fn custom(bounds: &[f64], counts: &[f64]) -> Histogram {
    let positive = buckets(0, counts);
    let count = counts.iter().sum();
    Histogram { schema: CUSTOM_BOUNDS, count, positive, custom_bounds: bounds.into(), ..Histogram::default() }
}

#[test]
fn a_bucket_ends_at_a_power_of_two_to_the_schema() {
    assert_eq!(bounds::exponential(0, 0), 1.0);
    assert_eq!(bounds::exponential(3, 0), 8.0);
    assert_eq!(bounds::exponential(-2, 0), 0.25);
    assert_eq!(bounds::exponential(1, -1), 4.0);
    assert_eq!(bounds::exponential(8, 3), 2.0);
    assert!((bounds::exponential(1, 1) - 2_f64.sqrt()).abs() < 1e-15);
    assert_eq!(bounds::exponential(1024, 0), f64::MAX);
    assert_eq!(bounds::exponential(1025, 0), f64::INFINITY);
    assert_eq!(bounds::exponential(64, -4), f64::MAX);
    assert_eq!(bounds::exponential(1024 << 8, 8), f64::MAX);
    assert_eq!(bounds::exponential(-1074, 0), f64::from_bits(1));
    assert_eq!(bounds::exponential(-1073, 0), f64::from_bits(2));
    assert_eq!(bounds::exponential(-1075, 0), 0.0);
}

#[test]
fn it_reads_as_the_reference_writes_it() {
    let histogram = Histogram {
        schema: 0,
        count: 20.0,
        sum: 10.0,
        zero_threshold: 0.001,
        zero_count: 2.0,
        positive: buckets(0, &[1.0, 2.0]),
        negative: buckets(0, &[1.0, 2.0]),
        ..Histogram::default()
    };
    let text = "{count:20, sum:10, [-2,-1):2, [-1,-0.5):1, [-0.001,0.001]:2, (0.5,1]:1, (1,2]:2}";
    assert_eq!(histogram.to_string(), text);
    let rules: Vec<u8> = histogram.buckets().map(|bucket| bucket.boundary_rule()).collect();
    assert_eq!(rules, [1, 1, 3, 0, 0]);
    assert_eq!(
        custom(&[1.0, 2.5], &[1.0, 0.0, 2e6]).to_string(),
        "{count:2.000001e+06, sum:0, [-Inf,1]:1, (2.5,+Inf]:2e+06}"
    );
    assert_eq!(Short(0.00001).to_string(), "1e-05");
    assert_eq!(Short(999_999.0).to_string(), "999999");
}

#[test]
fn what_does_not_fit_is_refused_with_a_reason() {
    let message = |histogram: Histogram| histogram.validate().unwrap_err().message().to_owned();
    assert!(exponential(2, buckets(-3, &[1.0, 2.0])).validate().is_ok());
    assert!(custom(&[1.0, 2.0], &[1.0, 2.0, 3.0]).validate().is_ok());
    assert!(message(exponential(9, Buckets::default())).contains("unknown schema, schema=9"));
    assert!(message(exponential(0, buckets(0, &[-1.0]))).contains("negative or not a number"));
    let mut short = exponential(0, buckets(0, &[1.0, 2.0]));
    short.positive.counts.pop();
    assert!(message(short).contains("spans and counts differ in length, spans=2, counts=1"));
    assert!(message(custom(&[2.0, 1.0], &[1.0])).contains("not ascending"));
    assert!(message(custom(&[1.0, f64::INFINITY], &[1.0])).contains("not finite"));
    assert!(message(custom(&[1.0], &[1.0, 1.0, 1.0])).contains("outside of the custom bounds"));
    let zero = Histogram { zero_count: 1.0, ..custom(&[1.0], &[1.0]) };
    assert!(message(zero).contains("no zero bucket"));
    let spans = vec![Span { offset: i32::MAX, length: 2 }];
    let far = Buckets { spans, counts: vec![1.0, 1.0] };
    assert!(message(exponential(0, far)).contains("out of range"));
}

#[test]
fn a_finer_schema_is_merged_into_a_coarser_one() {
    // (0.5,0.70..] (0.70..,1] (1,1.41..] (1.41..,2] become (0.5,1] (1,2].
    let mut fine = exponential(1, buckets(-1, &[1.0, 2.0, 3.0, 4.0]));
    let combined = fine.add(&exponential(0, buckets(0, &[10.0, 20.0]))).unwrap();
    assert_eq!(combined, Combined::default());
    assert!(fine.same_values(&exponential(0, buckets(0, &[13.0, 27.0]))));
    assert_eq!(fine.add(&custom(&[1.0], &[1.0])), Err(Incompatible));
}

#[test]
fn a_wider_zero_bucket_swallows_buckets_and_grows_to_the_end_of_one_it_cuts() {
    let mut narrow = exponential(0, buckets(-1, &[1.0, 2.0, 3.0]));
    narrow.zero_threshold = 0.001;
    let wide = Histogram { zero_threshold: 0.75, zero_count: 5.0, count: 5.0, ..Histogram::default() };
    // 0.75 lies in (0.5,1]: the zero bucket goes up to 1.
    narrow.add(&wide).unwrap();
    assert_eq!(narrow.zero_threshold, 1.0);
    assert_eq!(narrow.zero_count, 8.0);
    assert!(narrow.positive.same_values(&buckets(1, &[3.0])));
}

#[test]
fn different_bounds_are_reduced_to_those_they_share() {
    let mut a = custom(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0, 4.0]);
    let combined = a.add(&custom(&[2.0, 3.0, 4.0], &[10.0, 20.0, 30.0, 40.0])).unwrap();
    assert!(combined.bounds_reduced);
    assert_eq!(&*a.custom_bounds, &[2.0, 3.0]);
    assert!(a.positive.same_values(&buckets(0, &[13.0, 23.0, 74.0])));
}

#[test]
fn a_counter_began_anew_where_anything_fell() {
    let before = exponential(1, buckets(0, &[1.0, 2.0, 3.0]));
    let mut after = before.clone();
    assert!(!after.is_reset_after(&before));
    after.sum = -5.0;
    assert!(!after.is_reset_after(&before), "a sum may fall");
    after.counter_reset = CounterReset::Reset;
    assert!(after.is_reset_after(&before));
    assert!(exponential(1, buckets(0, &[0.0, 9.0, 9.0])).is_reset_after(&before));
    assert!(exponential(1, buckets(1, &[9.0, 9.0])).is_reset_after(&before), "a bucket went away");
    assert!(!exponential(0, buckets(0, &[1.0, 5.0])).is_reset_after(&before), "coarser, with the same counts");
    assert!(exponential(0, buckets(0, &[1.0, 4.0])).is_reset_after(&before));
    assert!(exponential(2, buckets(0, &[9.0, 9.0, 9.0, 9.0, 9.0])).is_reset_after(&before), "finer");
    let mut wide = exponential(1, buckets(1, &[2.0, 4.0]));
    (wide.zero_threshold, wide.zero_count, wide.count) = (1.0, 1.0, 7.0);
    assert!(!wide.is_reset_after(&before));
    wide.zero_threshold = 0.9;
    assert!(wide.is_reset_after(&before), "0.9 cuts a populated bucket");
    let before = custom(&[1.0, 2.0], &[1.0, 1.0, 1.0]);
    assert!(!custom(&[1.0, 2.0], &[1.0, 1.0, 2.0]).is_reset_after(&before));
    assert!(custom(&[1.0, 2.0], &[0.0, 9.0, 9.0]).is_reset_after(&before));
    assert!(after.is_reset_after(&before), "exponential after custom");
}

#[test]
fn dividing_by_zero_leaves_no_buckets() {
    let mut histogram = Histogram { zero_threshold: 0.1, ..exponential(0, buckets(0, &[1.0])) };
    histogram.sum = -2.0;
    histogram.divide(0.0);
    assert_eq!(histogram.count, f64::INFINITY);
    assert_eq!(histogram.sum, f64::NEG_INFINITY);
    assert!(histogram.zero_count.is_nan());
    assert!(histogram.positive.counts.is_empty());
}

#[test]
fn large_numbers_that_cancel_leave_the_small_ones() {
    let of = |sum: f64, bucket: f64| Histogram { sum, ..exponential(0, buckets(0, &[bucket])) };
    let mut total = Total::new(&of(1.0, 1.0));
    for (sum, bucket) in [(1e100, 1e100), (2.0, 3.0), (-1e100, -1e100)] {
        total.add(&of(sum, bucket)).unwrap();
    }
    let (histogram, _) = total.finish();
    assert_eq!(histogram.sum, 3.0);
    assert_eq!(histogram.positive.counts, [4.0]);
}

fn any_histogram() -> impl Strategy<Value = Histogram> {
    let counts = || proptest::collection::vec(0_u8..5, 0..12);
    let threshold = prop_oneof![Just(0.0), Just(0.001), Just(0.3), Just(1.0), Just(3.0)];
    (-2_i8..4, -20_i32..20, counts(), -20_i32..20, counts(), threshold, 0_u8..5).prop_map(
        |(schema, first, positive, first_negative, negative, zero_threshold, zero)| {
            let above = |(index, _): &(i32, f64)| bounds::exponential(index - 1, schema) >= zero_threshold;
            let of = |first: i32, counts: &[u8]| {
                Buckets::from_indexed((first..).zip(counts.iter().copied().map(f64::from)).filter(above))
            };
            let (positive, negative) = (of(first, &positive), of(first_negative, &negative));
            let zero_count = f64::from(zero);
            let count = zero_count + positive.counts.iter().chain(&negative.counts).sum::<f64>();
            let sum = count * 0.5;
            Histogram { schema, zero_threshold, zero_count, count, sum, positive, negative, ..Histogram::default() }
        },
    )
}

/// How many observations lie at most at a bound.
fn up_to(histogram: &Histogram, bound: f64) -> f64 {
    histogram.buckets().filter(|bucket| bucket.upper <= bound).map(|bucket| bucket.count).sum()
}

proptest! {
    #[test]
    fn a_sum_counts_what_both_count(a in any_histogram(), b in any_histogram()) {
        let mut sum = a.clone();
        sum.add(&b).unwrap();
        prop_assert!(sum.validate().is_ok());
        prop_assert_eq!(sum.count, a.count + b.count);
        // A coarser bucket may reach into the zero bucket: then it does not tell where its observations lie.
        let zero = sum.zero_threshold;
        for bucket in sum.buckets().filter(|bucket| bucket.upper <= -zero || bucket.lower >= zero) {
            prop_assert_eq!(up_to(&sum, bucket.upper), up_to(&a, bucket.upper) + up_to(&b, bucket.upper));
        }
        let mut turned = b.clone();
        turned.add(&a).unwrap();
        prop_assert!(turned.same_values(&sum), "{} is not {}", turned, sum);
        let mut total = Total::new(&a);
        total.add(&b).unwrap();
        prop_assert!(total.finish().0.same_values(&sum));
    }

    #[test]
    fn a_sum_of_counters_is_no_reset_after_its_parts(a in any_histogram(), b in any_histogram()) {
        let mut sum = a.clone();
        sum.add(&b).unwrap();
        prop_assert!(!sum.is_reset_after(&a));
        prop_assert!(!sum.is_reset_after(&b));
        if b.count > 0.0 {
            prop_assert!(a.is_reset_after(&sum));
        }
    }

    #[test]
    fn a_difference_undoes_a_sum_of_one_layout(a in any_histogram(), b in any_histogram()) {
        let mut sum = a.clone();
        sum.add(&b).unwrap();
        let mut coarse = a.clone();
        let mut nothing = sum.clone();
        nothing.scale(0.0);
        coarse.add(&nothing).unwrap();
        sum.sub(&b).unwrap();
        prop_assert!(sum.same_values(&coarse), "{} is not {}", sum, coarse);
    }

    #[test]
    fn compacting_changes_no_value(a in any_histogram()) {
        let mut compact = a.clone();
        compact.compact();
        prop_assert!(compact.same_values(&a));
        prop_assert!(compact.positive.counts.iter().chain(&compact.negative.counts).all(|count| *count != 0.0));
        prop_assert!(compact.validate().is_ok());
    }
}
