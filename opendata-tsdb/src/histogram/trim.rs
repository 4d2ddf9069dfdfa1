//! Removing the observations on one side of a value: the operators `</` and `>/`.

use super::{Bucket, Buckets, Histogram};

/// Which observations stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrimSide {
    /// Those not above the value: `</`.
    Below,
    /// Those not below it: `>/`.
    Above,
}

impl Histogram {
    /// Keeps the observations on one side of a value; in the bucket that holds it, the share that interpolation gives. If any
    /// observation went, the sum is estimated anew, from the middles of what is left.
    pub(crate) fn trim(&mut self, side: TrimSide, at: f64) {
        let mut sum = 0.0;
        let mut trimmed = false;
        let mut keep = |whole: &Self, bucket: Bucket| {
            let (kept, count) = whole.kept(bucket, side, at);
            trimmed |= count != bucket.count;
            if count != 0.0 {
                sum += count * whole.middle(&kept);
            }
            count
        };
        let zero = Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_included: true,
            upper_included: true,
            count: self.zero_count,
        };
        let zero_count = if self.zero_count == 0.0 { 0.0 } else { keep(self, zero) };
        let positive: Vec<(i32, f64)> =
            self.positive.indexed().map(|(index, count)| (index, keep(self, self.bucket(index, count)))).collect();
        let negative: Vec<(i32, f64)> = self
            .negative
            .indexed()
            .map(|(index, count)| (index, keep(self, self.bucket(index, count).mirrored())))
            .collect();
        if !trimmed {
            return;
        }
        self.zero_count = zero_count;
        self.positive = Buckets::from_indexed(positive);
        self.negative = Buckets::from_indexed(negative);
        self.count = zero_count + self.positive.counts.iter().chain(&self.negative.counts).sum::<f64>();
        self.sum = sum;
        self.compact();
    }

    /// What is left of a bucket, with its count.
    fn kept(&self, bucket: Bucket, side: TrimSide, at: f64) -> (Bucket, f64) {
        let narrow = self.narrowed(bucket);
        let whole_below = narrow.upper <= at;
        let whole_above = narrow.lower >= at;
        let below = match (whole_below, whole_above) {
            (true, _) => 1.0,
            (_, true) => 0.0,
            _ => self.share_below(&narrow, at),
        };
        match side {
            TrimSide::Below if below == 1.0 => (narrow, bucket.count),
            TrimSide::Above if below == 0.0 => (narrow, bucket.count),
            TrimSide::Below => (Bucket { upper: at, ..narrow }, bucket.count * below),
            TrimSide::Above => (Bucket { lower: at, ..narrow }, bucket.count * (1.0 - below)),
        }
    }
}
