//! Columns of samples: times and values of equal length.

/// Samples as two columns of equal length.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Columns {
    pub(crate) times: Vec<i64>,
    pub(crate) values: Vec<f64>,
}

impl Columns {
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    pub(crate) fn extend(&mut self, times: &[i64], values: &[f64]) {
        self.times.extend_from_slice(times);
        self.values.extend_from_slice(values);
    }

    /// Takes out the samples from place `from` on whose time is outside `start_ms ..= end_ms`. From there on they
    /// must be in time order.
    pub(crate) fn clip(&mut self, from: usize, start_ms: i64, end_ms: i64) {
        let tail = self.times.get(from..).unwrap_or_default();
        let begin = from + tail.partition_point(|time| *time < start_ms);
        let end = from + tail.partition_point(|time| *time <= end_ms);
        self.times.truncate(end);
        self.values.truncate(end);
        self.times.drain(from..begin);
        self.values.drain(from..begin);
    }

    /// Brings the samples into strictly ascending time order; of equal times the one that stood last wins.
    pub(crate) fn settle(&mut self) {
        if self.times.is_sorted_by(|a, b| a < b) {
            return;
        }
        let mut samples: Vec<(i64, f64)> = self.times.iter().copied().zip(self.values.iter().copied()).collect();
        samples.sort_by_key(|(time, _)| *time);
        // `dedup_by` hands over the later one first and keeps the earlier place.
        samples.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                *kept = *later;
            }
            same
        });
        (self.times, self.values) = samples.into_iter().unzip();
    }
}

#[cfg(test)]
mod tests;
