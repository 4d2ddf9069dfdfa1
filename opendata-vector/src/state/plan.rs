//! How far a search goes.

use super::State;
use crate::search::Effort;

/// A search visits at least so many cells, and goes on until it has seen so many allowed candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) cells: usize,
    pub(crate) candidates: u64,
}

/// The recall of [`Effort::Normal`].
const NORMAL: f64 = 0.97;
/// Allowed candidates for one result at least, whatever the effort.
const PER_RESULT: u64 = 4;

impl State {
    /// The plan of a search for the nearest `depth` among a share of the vectors, of which `rows` are in cells.
    pub(crate) fn plan(&self, field: &str, rows: u64, effort: Effort, depth: usize, share: f64) -> Plan {
        let recall = match effort {
            Effort::Cells(cells) => {
                let candidates = if share < 1.0 { depth as u64 * PER_RESULT } else { 0 };
                return Plan { cells: (cells as usize).max(1), candidates };
            }
            Effort::Recall(recall) => f64::from(recall),
            Effort::Normal | Effort::Exact => NORMAL,
        };
        let wanted = depth as f64 / share.max(1e-9);
        let candidates = match self.calibrations.get(field) {
            Some(calibration) => calibration.candidates(rows, wanted, recall),
            None => {
                let cells = self.table(field).cells.len() as f64;
                let probes = (8.0 + cells / 16.0 + cells.sqrt()) * (wanted / 10.0).max(1.0).sqrt();
                let misses = (0.03 / (1.0 - recall).max(0.001)).sqrt();
                ((probes * misses * rows as f64 / cells.max(1.0)) as u64).min(rows)
            }
        };
        let allowed = (candidates as f64 * share).ceil() as u64;
        Plan { cells: 1, candidates: allowed.max(depth as u64 * PER_RESULT) }
    }
}
