//! Sums, means, variances and quantiles of floats.
//!
//! Sums are compensated (Neumaier's variant of Kahan's algorithm), so that the order of series hardly matters and
//! small values next to large ones are not lost.

/// A compensated sum.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kahan {
    sum: f64,
    lost: f64,
}

impl Kahan {
    pub(crate) fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        if sum.is_infinite() {
            self.lost = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.lost += (self.sum - sum) + value;
        } else {
            self.lost += (value - sum) + self.sum;
        }
        self.sum = sum;
    }

    fn scale(&mut self, factor: f64) {
        self.sum *= factor;
        self.lost *= factor;
    }

    pub(crate) fn value(&self) -> f64 {
        self.sum + self.lost
    }
}

impl FromIterator<f64> for Kahan {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut sum = Self::default();
        values.into_iter().for_each(|value| sum.add(value));
        sum
    }
}

/// A mean: the sum divided, until the sum overflows; from there on corrected value by value.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mean {
    count: f64,
    /// The sum, or the mean once `overflowed`.
    total: Kahan,
    overflowed: bool,
}

impl Mean {
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.overflowed {
            let mut total = self.total;
            total.add(value);
            if self.count <= 1.0 || !total.sum.is_infinite() {
                self.total = total;
                return;
            }
            self.overflowed = true;
            self.total.scale(1.0 / (self.count - 1.0));
        }
        self.total.scale((self.count - 1.0) / self.count);
        self.total.add(value / self.count);
    }

    pub(crate) fn value(&self) -> f64 {
        if self.overflowed { self.total.value() } else { self.total.sum / self.count + self.total.lost / self.count }
    }
}

impl FromIterator<f64> for Mean {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut mean = Self::default();
        values.into_iter().for_each(|value| mean.add(value));
        mean
    }
}

/// The population variance (Welford's algorithm).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Variance {
    count: f64,
    mean: Kahan,
    squares: Kahan,
}

impl Variance {
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean.value();
        self.mean.add(delta / self.count);
        self.squares.add(delta * (value - self.mean.value()));
    }

    pub(crate) fn value(&self) -> f64 {
        self.squares.value() / self.count
    }
}

impl FromIterator<f64> for Variance {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut variance = Self::default();
        values.into_iter().for_each(|value| variance.add(value));
        variance
    }
}

/// A count as a float.
#[expect(clippy::cast_precision_loss, reason = "nothing here counts to 2^53")]
pub(crate) fn count(n: usize) -> f64 {
    n as f64
}

/// The largest whole number not above a float, as an index.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float to integer cast saturates, and NaN is 0"
)]
pub(crate) fn index(x: f64) -> usize {
    x as usize
}

/// The φ-quantile, interpolated between neighbours. Sorts the values; NaN counts as the smallest.
///
/// Below 0 it is -Inf, above 1 +Inf; NaN where there are no values or φ is NaN.
pub(crate) fn quantile(phi: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || phi.is_nan() {
        return f64::NAN;
    }
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    values.sort_unstable_by(nan_first);
    let rank = phi * (count(values.len()) - 1.0);
    let lower = index(rank.floor()).min(values.len() - 1);
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    match (values.get(lower), values.get(upper)) {
        (Some(lower), Some(upper)) => lower * (1.0 - weight) + upper * weight,
        _ => f64::NAN,
    }
}

/// Ascending, NaN before everything.
pub(crate) fn nan_first(a: &f64, b: &f64) -> std::cmp::Ordering {
    b.is_nan().cmp(&a.is_nan()).then_with(|| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal))
}

/// A float as text, as label values and results show it: no exponent, as few digits as tell it apart.
pub(crate) fn text(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    value.to_string()
}

#[cfg(test)]
mod tests;
