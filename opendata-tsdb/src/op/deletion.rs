//! Deleting samples.

use opendata_core::Timestamp;

use super::Op;
use crate::matcher::Matcher;

/// Samples to delete: of the series that satisfy every matcher, those in a range of times.
#[derive(Debug)]
pub(crate) struct DeleteWhere {
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
}

impl Op {
    /// Deletes the samples and exemplars of the series that satisfy every matcher, from `from` to `to`, both included.
    ///
    /// What earlier transactions wrote is gone with this one's commit, for every view after it; background work
    /// removes it from the files. What later transactions write to the same times stays. An operation that deletes
    /// does nothing else, and at least one matcher is needed. A counter whose samples are deleted goes on from the
    /// newest one that is left, or from zero.
    pub fn delete(&mut self, matchers: impl IntoIterator<Item = Matcher>, from: Timestamp, to: Timestamp) -> &mut Self {
        let matchers: Vec<Matcher> = matchers.into_iter().collect();
        self.size_bytes += 64 + matchers.iter().map(|one| 64 + one.name().len() + one.value().len()).sum::<usize>();
        self.deletes.push(DeleteWhere { matchers, from_ms: from.0, to_ms: to.0 });
        self
    }
}
