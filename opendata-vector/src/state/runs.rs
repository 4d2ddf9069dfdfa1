//! Which cells are read together.

use std::collections::BTreeSet;

/// What a vector takes in a cell beside its code, about.
pub(super) const ROW_BYTES: u64 = 16;
/// A scan asks the store for a little more than this at once; the rest of a longer run would be another round of requests.
const RUN_BYTES: u64 = 7 << 20;

/// A cell that is wanted.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) cell: u32,
    pub(super) size: u64,
    /// The size of what lies between it and the one before.
    pub(super) between: u64,
}

/// Runs of cells, first and last of each: apart where the widest gaps are, and where one would be too long. The cells come in order.
pub(super) fn runs(cells: &[Wanted]) -> Vec<(u32, u32)> {
    /// So many runs at most that are apart because of gaps: a request each.
    const RUNS: usize = 16;
    let mut gaps: Vec<(u32, u32)> = cells
        .windows(2)
        .filter_map(|pair| match pair {
            [a, b] => Some((b.cell - a.cell, b.cell)),
            _ => None,
        })
        .filter(|(gap, _)| *gap > 2)
        .collect();
    gaps.sort_unstable_by(|a, b| b.cmp(a));
    gaps.truncate(RUNS - 1);
    let begins: BTreeSet<u32> = gaps.into_iter().map(|(_, begin)| begin).collect();
    let mut runs: Vec<(u32, u32)> = Vec::new();
    let mut held = 0;
    for Wanted { cell, size, between } in cells {
        let longer = held + between + size;
        match runs.last_mut().filter(|_| longer <= RUN_BYTES && !begins.contains(cell)) {
            Some((_, last)) => {
                *last = *cell;
                held = longer;
            }
            None => {
                runs.push((*cell, *cell));
                held = *size;
            }
        }
    }
    runs
}

#[cfg(test)]
mod tests;
