//! How far a search must look on this very data: measured on a sample of the field's own vectors, stored with the index.
//!
//! ```text
//! CALIBRATION  layout 1 | rows varint | for each of 4 depths, for each of 7 recalls: candidates varint
//! ```
//!
//! For a sampled vector all codes are ranked. A true neighbour is found when its cell is visited, and cells are visited in
//! the order of their middles: so for each neighbour it is known how many vectors lie in the cells up to its own. The
//! quantile of these numbers at some recall is how many candidates must be seen to reach it. A filter that lets
//! every tenth document through asks for ten times the depth: its ten best are among the hundred best of all.

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result};

const LAYOUT: u8 = 1;
/// Neighbours of a query that are asked for.
pub(crate) const DEPTHS: [usize; 4] = [1, 10, 100, 1000];
const RECALLS: [f64; 7] = [0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.998];
/// Sampled vectors are in the index, queries are not: of what a recall leaves to miss, this much is asked for on top.
const MARGIN: f64 = 0.25;

/// Candidates to see, by depth and recall.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calibration {
    /// Vectors in cells when it was measured.
    pub(crate) rows: u64,
    pub(crate) candidates: [[u64; 7]; 4],
}

impl Calibration {
    /// From what was measured: for each depth, the candidates up to each neighbour.
    pub(crate) fn measured(rows: u64, mut needed: [Vec<u64>; 4]) -> Self {
        let mut calibration = Self { rows, ..Self::default() };
        for (row, needed) in calibration.candidates.iter_mut().zip(&mut needed) {
            needed.sort_unstable();
            for (candidates, recall) in row.iter_mut().zip(RECALLS) {
                let at = (needed.len() as f64 * (recall + (1.0 - recall) * MARGIN)) as usize;
                *candidates = needed.get(at.min(needed.len().saturating_sub(1))).copied().unwrap_or(rows);
            }
        }
        calibration
    }

    /// How many of `rows` vectors must be seen to find this share of the nearest `depth`.
    pub(crate) fn candidates(&self, rows: u64, depth: f64, recall: f64) -> u64 {
        if recall > RECALLS.last().copied().unwrap_or(1.0) {
            return rows;
        }
        let at_depth = |row: &[u64; 7]| interpolate(&RECALLS, row, recall);
        let by_depth: Vec<f64> = self.candidates.iter().map(at_depth).collect();
        let logs = DEPTHS.map(|depth| (depth as f64).ln());
        let log = depth.max(1.0).ln();
        let deepest = logs.last().copied().unwrap_or(0.0);
        let measured = if log <= deepest {
            interpolate_f64(&logs, &by_depth, log)
        } else {
            // Beyond what was measured it grows like the number of neighbours, at worst.
            by_depth.last().copied().unwrap_or(0.0) * (log - deepest).exp()
        };
        // Twice the vectors have twice the cells, but not twice as many of them are near.
        let growth = (rows as f64 / self.rows.max(1) as f64).max(1.0).powf(0.8);
        ((measured * growth) as u64).min(rows)
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut value = Encoder::new(LAYOUT);
        value.varint(self.rows);
        self.candidates.iter().flatten().for_each(|candidates| _ = value.varint(*candidates));
        value.finish()
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        let parse = || {
            let mut fields = Decoder::new(value);
            fields.layout(LAYOUT)?;
            let mut calibration = Self { rows: fields.varint()?, ..Self::default() };
            for candidates in calibration.candidates.iter_mut().flatten() {
                *candidates = fields.varint()?;
            }
            fields.finish()?;
            Ok(calibration)
        };
        parse().map_err(|error: Error| Error::corrupt_at(key, error))
    }
}

fn interpolate(at: &[f64], of: &[u64], wanted: f64) -> f64 {
    interpolate_f64(at, &of.iter().map(|of| *of as f64).collect::<Vec<f64>>(), wanted)
}

/// Linear between points, constant outside.
fn interpolate_f64(at: &[f64], of: &[f64], wanted: f64) -> f64 {
    let behind = at.partition_point(|at| *at < wanted).min(at.len().saturating_sub(1));
    let before = behind.saturating_sub(1);
    let point = |index: usize| (at.get(index).copied().unwrap_or(0.0), of.get(index).copied().unwrap_or(0.0));
    let ((x0, y0), (x1, y1)) = (point(before), point(behind));
    if x1 <= x0 || wanted <= x0 {
        if wanted <= x0 { y0 } else { y1 }
    } else {
        y0 + (y1 - y0) * ((wanted - x0) / (x1 - x0)).min(1.0)
    }
}

#[cfg(test)]
mod tests;
