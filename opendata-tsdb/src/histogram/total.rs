//! Sums over many histograms, compensated like those of floats.

use super::buckets::pairs;
use super::{Buckets, Combined, CounterReset, Histogram, Incompatible, bounds};

/// The sum of any number of histograms. Every count is summed with Neumaier's compensation, so neither the order nor large numbers
/// that cancel one another matter.
#[derive(Clone, Debug)]
pub(crate) struct Total {
    sum: Histogram,
    /// What rounding took from `sum`, bucket by bucket in the same spans.
    lost: Histogram,
    added: Combined,
    resets: bool,
    no_resets: bool,
}

impl Total {
    pub(crate) fn new(first: &Histogram) -> Self {
        let mut lost = first.clone();
        lost.scale(0.0);
        // Infinity times zero is not zero.
        lost.zero_count = 0.0;
        lost.count = 0.0;
        lost.sum = 0.0;
        lost.positive.scale(|_| 0.0);
        lost.negative.scale(|_| 0.0);
        let mut total = Self { sum: first.clone(), lost, added: Combined::default(), resets: false, no_resets: false };
        total.note(first.counter_reset);
        total
    }

    fn note(&mut self, counter_reset: CounterReset) {
        self.resets |= counter_reset == CounterReset::Reset;
        self.no_resets |= counter_reset == CounterReset::NotReset;
    }

    pub(crate) fn add(&mut self, other: &Histogram) -> Result<(), Incompatible> {
        let aligned;
        let other = if self.sum.has_layout_of(other) {
            other
        } else {
            let mut copy = other.clone();
            self.added.bounds_reduced |= self.sum.align(&mut copy)?;
            self.lost.follow(&self.sum);
            aligned = copy;
            &aligned
        };
        self.note(other.counter_reset);
        self.sum.counter_reset = self.sum.counter_reset.joined(other.counter_reset).0;
        add(&mut self.sum.count, &mut self.lost.count, other.count);
        add(&mut self.sum.sum, &mut self.lost.sum, other.sum);
        add(&mut self.sum.zero_count, &mut self.lost.zero_count, other.zero_count);
        add_buckets(&mut self.sum.positive, &mut self.lost.positive, &other.positive);
        add_buckets(&mut self.sum.negative, &mut self.lost.negative, &other.negative);
        Ok(())
    }

    /// The sum, and what was remarkable on the way. Counters contradict one another if any began anew where another did not.
    pub(crate) fn finish(self) -> (Histogram, Combined) {
        let Self { mut sum, lost, added, resets, no_resets } = self;
        sum.count += lost.count;
        sum.sum += lost.sum;
        sum.zero_count += lost.zero_count;
        sum.positive.merge(&lost.positive, |a, b| a + b);
        sum.negative.merge(&lost.negative, |a, b| a + b);
        sum.compact();
        (sum, Combined { resets_conflict: resets && no_resets, ..added })
    }
}

fn add(sum: &mut f64, lost: &mut f64, value: f64) {
    let next = *sum + value;
    if next.is_infinite() {
        *lost = 0.0;
    } else if sum.abs() >= value.abs() {
        *lost += (*sum - next) + value;
    } else {
        *lost += (value - next) + *sum;
    }
    *sum = next;
}

fn add_buckets(sum: &mut Buckets, lost: &mut Buckets, other: &Buckets) {
    if sum.spans != other.spans {
        // Both get every bucket that the other has.
        let lost_of: Vec<(i32, f64)> = lost.indexed().collect();
        let wide = Buckets::from_indexed(pairs(sum, other).map(|(index, a, _)| (index, a)));
        *lost = Buckets::from_indexed(pairs(&wide, &Buckets::from_indexed(lost_of)).map(|(index, _, b)| (index, b)));
        *sum = wide;
        let other = Buckets::from_indexed(pairs(sum, other).map(|(index, _, b)| (index, b)));
        return add_counts(sum, lost, &other);
    }
    add_counts(sum, lost, other);
}

fn add_counts(sum: &mut Buckets, lost: &mut Buckets, other: &Buckets) {
    for ((sum, lost), value) in sum.counts.iter_mut().zip(&mut lost.counts).zip(&other.counts) {
        add(sum, lost, *value);
    }
}

impl Histogram {
    /// Takes over the layout of another one, whose buckets hold this one's.
    fn follow(&mut self, other: &Self) {
        if other.has_custom_bounds() {
            self.reduce_bounds(&other.custom_bounds);
        } else {
            let (schema, threshold) = (self.schema, other.zero_threshold);
            let inside = |index: i32| bounds::exponential(index.saturating_sub(1), schema) < threshold;
            for buckets in [&mut self.positive, &mut self.negative] {
                self.zero_count +=
                    buckets.indexed().filter(|(index, _)| inside(*index)).map(|(_, count)| count).sum::<f64>();
                *buckets = Buckets::from_indexed(buckets.indexed().filter(|(index, _)| !inside(*index)));
            }
            self.zero_threshold = threshold;
            self.reduce_schema(other.schema);
        }
    }
}
