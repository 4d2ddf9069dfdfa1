//! How far a search must look on this very data: measured on a sample of the field's own vectors, stored with the index.
//!
//! ```text
//! CALIBRATION  layout 1 | rows varint | for each of 4 depths, for each of 7 recalls: candidates varint
//! ```
//!
//! For a sampled vector all codes are ranked. A true neighbour is found when its cell is visited, and cells are visited in
//! the order of their middles: so for each neighbour it is known how many vectors lie in the cells up to its own, and for
//! each number of candidates what recall every sampled vector would have had. Stored is the least number at which the mean
//! recall, less what chance may have added to it, is what is wanted: with few sampled vectors, or some that are much harder
//! than others, a search looks further. A filter that lets every tenth document through asks for ten times the depth: its
//! ten best are among the hundred best of all.

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result};

const LAYOUT: u8 = 1;
/// Neighbours of a query that are asked for.
pub(crate) const DEPTHS: [usize; 4] = [1, 10, 100, DEEPEST];
pub(crate) const DEEPEST: usize = 1000;
const RECALLS: [f64; 7] = [0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.998];
/// Standard errors of the mean by which what was measured must exceed what is wanted: thirty-nine times of forty it is then so for
/// all vectors of the field.
const ERRORS: f64 = 1.96;

/// Candidates to see, by depth and recall.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calibration {
    /// Vectors in cells when it was measured.
    pub(crate) rows: u64,
    pub(crate) candidates: [[u64; 7]; 4],
}

impl Calibration {
    /// From what was measured: for each depth and sampled vector, the candidates up to each neighbour.
    pub(crate) fn measured(rows: u64, needed: &[Vec<Vec<u64>>; 4]) -> Self {
        let mut calibration = Self { rows, candidates: [[rows; 7]; 4] };
        for (row, needed) in calibration.candidates.iter_mut().zip(needed) {
            *row = least_candidates(rows, needed);
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

/// For each recall the least number of candidates that reaches it.
fn least_candidates(rows: u64, needed: &[Vec<u64>]) -> [u64; 7] {
    let count = needed.len().max(1) as f64;
    let mut neighbours: Vec<(u64, usize)> =
        needed.iter().enumerate().flat_map(|(of, needed)| needed.iter().map(move |needed| (*needed, of))).collect();
    neighbours.sort_unstable();
    let mut found = vec![0.0; needed.len()];
    let (mut sum, mut squares) = (0.0, 0.0);
    let mut least = [rows; 7];
    let mut reached = 0;
    for (candidates, of) in neighbours {
        let (Some(found), Some(all)) = (found.get_mut(of), needed.get(of)) else { continue };
        let before = *found / all.len() as f64;
        *found += 1.0;
        let after = *found / all.len() as f64;
        sum += after - before;
        squares += after * after - before * before;
        let mean = sum / count;
        let error = ((squares / count - mean * mean).max(0.0) / count).sqrt();
        while let (Some(least), Some(recall)) = (least.get_mut(reached), RECALLS.get(reached))
            && mean - ERRORS * error >= *recall - f64::EPSILON * count
        {
            *least = candidates;
            reached += 1;
        }
    }
    least
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
