//! Functions of the floats of one window: the plain form of what [`slide`](super::slide) computes with less work.

use super::regression;
use super::{Arguments, Over, Window, count_pairs, rate};
use crate::promql::duration::seconds;
use crate::promql::number::{Kahan, Mean, Variance, count, quantile};

/// The function's value. The window's floats must begin at place 0 of what they were taken from.
pub(super) fn value(over: Over, w: Window<'_>, step: usize, range_ms: i64, args: Arguments<'_>) -> Option<f64> {
    let resets = || rate::Resets::of_window(w);
    match over {
        Over::Rate => rate::extrapolated(w, Some(&resets())).map(|x| x / seconds(range_ms)),
        Over::Increase => rate::extrapolated(w, Some(&resets())),
        Over::Delta => rate::extrapolated(w, None),
        Over::Irate => rate::last_rate(w),
        Over::Idelta => rate::last_delta(w),
        Over::Resets => Some(rate::resets(w)),
        Over::Changes => Some(count_pairs(w, |a, b| a != b && !(a.is_nan() && b.is_nan()))),
        Over::Deriv => regression::line(w, *w.times.first()?).map(|line| line.slope),
        Over::PredictLinear => {
            let line = regression::line(w, w.step_ms)?;
            Some(line.slope * args.first.at(step) + line.intercept)
        }
        Over::DoubleExponentialSmoothing => regression::smooth(w, args.first.at(step), args.second.at(step)),
        Over::Avg => Some(w.values.iter().copied().collect::<Mean>().value()),
        Over::Sum => Some(w.values.iter().copied().collect::<Kahan>().value()),
        Over::Min => best(w, |new, best| new < best).map(|(_, value)| value),
        Over::Max => best(w, |new, best| new > best).map(|(_, value)| value),
        Over::TimeOfMin => best(w, |new, best| new <= best).map(|(time, _)| seconds(time)),
        Over::TimeOfMax => best(w, |new, best| new >= best).map(|(time, _)| seconds(time)),
        Over::Count => Some(count(w.values.len())),
        Over::First => w.values.first().copied(),
        Over::Last => w.values.last().copied(),
        Over::TimeOfFirst => w.times.first().map(|time| seconds(*time)),
        Over::TimeOfLast => w.times.last().map(|time| seconds(*time)),
        Over::Present => Some(1.0),
        Over::Stddev => Some(w.values.iter().copied().collect::<Variance>().value().sqrt()),
        Over::Stdvar => Some(w.values.iter().copied().collect::<Variance>().value()),
        Over::Mad => Some(deviation(w.values)),
        Over::Quantile => Some(quantile(args.first.at(step), &mut w.values.to_vec())),
    }
}

/// The median distance from the median; NaN where one of the values is.
pub(super) fn deviation(values: &[f64]) -> f64 {
    if values.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    let median = quantile(0.5, &mut values.to_vec());
    let mut distances: Vec<f64> = values.iter().map(|value| (value - median).abs()).collect();
    quantile(0.5, &mut distances)
}

/// The sample that is better than all others; any number is better than NaN.
fn best(w: Window<'_>, better: fn(f64, f64) -> bool) -> Option<(i64, f64)> {
    let samples = w.times.iter().copied().zip(w.values.iter().copied());
    samples.reduce(|best, new| if better(new.1, best.1) || best.1.is_nan() { new } else { best })
}
