//! Native histograms made to hurt: counters that begin anew, resolutions and zero buckets that change, gaps, gauges, bounds of their own,
//! and floats among them.

use super::data::{Dice, Pairs, STEP_MS, STEPS};
use crate::cli::prometheus::message::{bytes, double, number, zigzag};

/// What a histogram holds, and when.
pub(super) struct Distribution {
    schema: i64,
    zero_threshold: f64,
    zero: f64,
    /// By index, ascending.
    positive: Vec<(i64, f64)>,
    negative: Vec<(i64, f64)>,
    bounds: Vec<f64>,
    sum: f64,
    is_gauge: bool,
}

/// A sample of a series, as its message.
pub(super) type Messages = Vec<Vec<u8>>;

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
pub(super) fn distributions(dice: &mut Dice, start: i64) -> Vec<(Pairs, Messages)> {
    let mut all = Vec::new();
    for (kind, count) in [("took", 4), ("spread", 3), ("bounded", 3), ("mixture", 3), ("finer", 3)] {
        for n in 0..count {
            let instance = format!("i{n}");
            let labels = [("__name__", kind), ("instance", instance.as_str()), ("job", ["a", "b"][n % 2])];
            let mut messages = Messages::new();
            let mut totals = [0.0; 6];
            let mut sum = 0.0;
            for step in 0..STEPS {
                if dice.below(20) == 0 {
                    continue;
                }
                let at = start + step * STEP_MS + dice.below(300).cast_signed();
                if kind == "spread" || dice.below(40) == 0 {
                    (totals, sum) = ([0.0; 6], 0.0);
                }
                for total in &mut totals {
                    *total += dice.below(6) as f64;
                }
                sum += dice.below(400) as f64 / 8.0;
                let [a, b, c, d, e, zero] = totals;
                let mut one = Distribution {
                    schema: 1,
                    zero_threshold: 0.001,
                    zero,
                    positive: vec![(-1, a), (0, b), (2, c)],
                    negative: vec![(0, d), (1, e)],
                    bounds: Vec::new(),
                    sum,
                    is_gauge: kind == "spread",
                };
                match kind {
                    // The resolution falls, and the zero bucket widens.
                    "finer" if step > 100 => (one.schema, one.zero_threshold) = (0, 0.01),
                    "finer" => one.schema = 2,
                    "bounded" => {
                        one = Distribution { schema: -53, zero: 0.0, zero_threshold: 0.0, negative: Vec::new(), ..one };
                        one.positive = vec![(0, a), (1, b), (2, c), (3, d)];
                        // Bounds that change are reconciled from version 3.8 on, which is not packaged.
                        one.bounds = vec![0.5, 1.0, 2.0];
                    }
                    "mixture" if step % 20 > 12 => {
                        messages.push(crate::cli::prometheus::message::sample(at, sum));
                        continue;
                    }
                    _ => {}
                }
                messages.push(one.message(at));
            }
            all.push((labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(), messages));
        }
    }
    all
}

impl Distribution {
    /// `prometheus.Histogram` with counts that are doubles, in the field of a series that holds it.
    fn message(&self, at_ms: i64) -> Vec<u8> {
        let count: f64 = self.positive.iter().chain(&self.negative).map(|(_, count)| count).sum::<f64>() + self.zero;
        let mut out = [
            double(2, count),
            double(3, self.sum),
            number(4, zigzag(self.schema)),
            double(5, self.zero_threshold),
            double(7, self.zero),
        ]
        .concat();
        for (span, counts, buckets) in [(8, 10, &self.negative), (11, 13, &self.positive)] {
            let mut next = 0;
            for (index, _) in buckets {
                let offset = if next == 0 { *index } else { index - next };
                out.extend(bytes(span, &[number(1, zigzag(offset)), number(2, 1)].concat()));
                next = index + 1;
                // An end at zero would look like the beginning.
                assert!(next != 0 || buckets.len() == 1 || *index == -1, "indexes are chosen so");
            }
            let packed: Vec<u8> = buckets.iter().flat_map(|(_, count)| count.to_le_bytes()).collect();
            out.extend(bytes(counts, &packed));
        }
        out.extend(number(14, if self.is_gauge { 3 } else { 0 }));
        out.extend(number(15, at_ms.cast_unsigned()));
        if !self.bounds.is_empty() {
            // A field's number above 15 takes two bytes.
            let packed: Vec<u8> = self.bounds.iter().flat_map(|bound| bound.to_le_bytes()).collect();
            out.extend([0x82, 0x01, u8::try_from(packed.len()).unwrap()]);
            out.extend(packed);
        }
        bytes(4, &out)
    }
}
