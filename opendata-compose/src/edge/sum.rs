//! Sums whose rounded value does not depend on the order of what was added: Shewchuk, "Adaptive Precision Floating-Point Arithmetic
//! and Fast Robust Geometric Predicates" (1997), section 2. The sum is kept exactly, as numbers that do not overlap.

/// The largest value that may be added, so that no sum of fewer than 10^7 of them overflows.
pub(crate) const LIMIT: f64 = 1e300;

/// An exact sum.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ExactSum {
    /// Smallest first.
    parts: Vec<f64>,
}

impl ExactSum {
    pub(crate) fn from_parts(parts: Vec<f64>) -> Self {
        Self { parts }
    }

    pub(crate) fn parts(&self) -> &[f64] {
        &self.parts
    }

    pub(crate) fn add(&mut self, value: f64) {
        let mut rest = value;
        let mut kept = Vec::with_capacity(self.parts.len() + 1);
        for part in &self.parts {
            let (large, small) = if rest.abs() >= part.abs() { (rest, *part) } else { (*part, rest) };
            let sum = large + small;
            let error = small - (sum - large);
            if error != 0.0 {
                kept.push(error);
            }
            rest = sum;
        }
        if rest != 0.0 {
            kept.push(rest);
        }
        self.parts = kept;
    }

    /// The sum, rounded once to the nearest, ties to even.
    pub(crate) fn value(&self) -> f64 {
        let mut parts = self.parts.iter().rev();
        let mut high = parts.next().copied().unwrap_or(0.0);
        let mut low = 0.0;
        for part in parts.by_ref() {
            let sum = high + part;
            low = part - (sum - high);
            high = sum;
            if low != 0.0 {
                break;
            }
        }
        // What is left decides a tie.
        if let Some(next) = parts.next()
            && ((low < 0.0 && *next < 0.0) || (low > 0.0 && *next > 0.0))
        {
            let twice = low * 2.0;
            let sum = high + twice;
            if twice == sum - high {
                high = sum;
            }
        }
        high
    }
}
