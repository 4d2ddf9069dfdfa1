//! Classic histograms: one cumulative counter a bucket, told apart by the label `le`.

/// A bucket at one step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// The upper bound, included.
    pub(super) until: f64,
    /// Observations up to it.
    pub(super) count: f64,
}

/// Which buckets had to be raised: the bounds of the lowest and the highest, and by how much at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Raised {
    pub(super) buckets: (f64, f64),
    pub(super) most: f64,
}

/// Adds up buckets of one bound.
pub(super) fn unite(buckets: &mut Vec<Bucket>) {
    buckets.dedup_by(|later, first| {
        #[expect(clippy::float_cmp, reason = "the same number in two spellings is exactly the same")]
        let same = later.until == first.until;
        if same {
            first.count += later.count;
        }
        same
    });
}

/// Makes counts grow. Differences within 1e-12 of the counts are rounding and not worth a word.
pub(super) fn repair(buckets: &mut [Bucket]) -> Option<Raised> {
    let mut raised: Option<Raised> = None;
    let mut highest = buckets.first()?.count;
    for bucket in buckets.iter_mut().skip(1) {
        let apart = (bucket.count - highest).abs();
        let rounding = apart <= 1e-12 * (bucket.count.abs() + highest.abs());
        if rounding {
            bucket.count = highest;
        } else if bucket.count < highest {
            let (lowest, most) = raised.map_or((bucket.until, 0.0), |raised| (raised.buckets.0, raised.most));
            raised = Some(Raised { buckets: (lowest, bucket.until), most: most.max(highest - bucket.count) });
            bucket.count = highest;
        } else {
            highest = bucket.count;
        }
    }
    raised
}

/// The φ-quantile, interpolated linearly inside its bucket; the lowest bucket begins at 0 where its bound is positive.
pub(super) fn quantile(phi: f64, buckets: &[Bucket]) -> f64 {
    if phi.is_nan() {
        return f64::NAN;
    }
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    let [inner @ .., last] = buckets else { return f64::NAN };
    let Some(highest) = inner.last() else { return f64::NAN };
    if last.until != f64::INFINITY || last.count == 0.0 || last.count.is_nan() {
        return f64::NAN;
    }
    let rank = phi * last.count;
    let at = inner.partition_point(|bucket| bucket.count < rank);
    let Some(bucket) = inner.get(at) else { return highest.until };
    let below = at.checked_sub(1).and_then(|at| inner.get(at));
    match below {
        None if bucket.until <= 0.0 => bucket.until,
        None => bucket.until * (rank / bucket.count),
        Some(below) => {
            below.until + (bucket.until - below.until) * ((rank - below.count) / (bucket.count - below.count))
        }
    }
}

/// The share of observations between two values, interpolated linearly inside buckets of finite width.
pub(super) fn fraction(lower: f64, upper: f64, buckets: &[Bucket]) -> f64 {
    let Some(last) = buckets.last() else { return f64::NAN };
    if last.until != f64::INFINITY || last.count == 0.0 || [lower, upper, last.count].iter().any(|x| x.is_nan()) {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let rank = |value: f64| rank(value, buckets).min(last.count);
    (rank(upper) - rank(lower)) / last.count
}

/// How many observations lie below a value.
fn rank(value: f64, buckets: &[Bucket]) -> f64 {
    if value == f64::NEG_INFINITY {
        return 0.0;
    }
    let (mut from, mut before) = (f64::NEG_INFINITY, 0.0);
    if buckets.first().is_some_and(|first| first.until > 0.0) {
        from = 0.0;
    }
    for bucket in buckets {
        if value <= from {
            return before;
        }
        if value < bucket.until {
            // In a bucket without end nobody knows where its observations lie: all of them on its finite side.
            return match (from.is_finite(), bucket.until.is_finite()) {
                (true, true) => before + (bucket.count - before) * ((value - from) / (bucket.until - from)),
                (true, false) => before,
                (false, _) => bucket.count,
            };
        }
        (from, before) = (bucket.until, bucket.count);
    }
    before
}
