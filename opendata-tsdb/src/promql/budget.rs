//! What an evaluation may cost: values computed, and values kept at one time.

use std::cell::Cell;

use opendata_core::{Error, Result};

/// Counts against two limits. Kept values are counted over the whole query and never given back: most queries keep rows in
/// one place only, and the limit is there to stop those that would not fit.
#[derive(Debug)]
pub(crate) struct Budget {
    computed: Cell<usize>,
    held: Cell<usize>,
    max_computed: usize,
    max_held: usize,
}

impl Budget {
    pub(crate) fn new(max_computed: usize, max_held: usize) -> Self {
        Self { computed: Cell::new(0), held: Cell::new(0), max_computed, max_held }
    }

    /// Counts values that are computed, and samples that are looked at to compute them.
    pub(crate) fn compute(&self, values: usize) -> Result<()> {
        count(&self.computed, values, self.max_computed, "query computes too many values")
    }

    /// Counts values that are kept in memory.
    pub(crate) fn hold(&self, values: usize) -> Result<()> {
        count(&self.held, values, self.max_held, "query keeps too many values in memory")
    }
}

fn count(counter: &Cell<usize>, values: usize, limit: usize, what: &str) -> Result<()> {
    let total = counter.get().saturating_add(values);
    counter.set(total);
    if total > limit { Err(Error::invalid(format!("{what}, limit={limit}"))) } else { Ok(()) }
}
