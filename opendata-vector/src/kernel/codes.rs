//! Which vectors may be good enough, by their codes: the inner products of a whole frame, then the scores that follow from them.
//!
//! Sums are in integers and scores are multiplied and added in one order, so the answer is the same to the bit on every machine.

use super::{Plane, kernels};
use crate::cell::strip::{LANES, Quad};

/// What turns inner products into scores, for each vector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Factors<'a> {
    pub(crate) base: &'a [f32],
    pub(crate) slope: &'a [f32],
    pub(crate) spread: &'a [f32],
}

/// What is the same for all vectors of a frame: a score is `constant + (base + slope * (product * scale - middle))`, and at
/// most `doubt * spread` more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) scale: f32,
    pub(crate) middle: f32,
    pub(crate) constant: f32,
    pub(crate) doubt: f32,
    /// Scores that cannot reach this are left out.
    pub(crate) floor: f32,
}

/// A vector whose score may reach the floor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reaching {
    /// Its place in the frame.
    pub(crate) row: u32,
    pub(crate) estimate: f32,
    pub(crate) upper: f32,
}

/// Appends the inner product of the query with each of the codes that stand side by side, up to whole sixteens.
pub(crate) fn strip(codes: &[Quad], quads: usize, query: &Plane, to: &mut Vec<f32>) {
    (kernels().strip)(codes, quads, query, to);
}

/// Appends those that may reach the floor.
pub(crate) fn reaching(products: &[f32], factors: Factors<'_>, line: Line, to: &mut Vec<Reaching>) {
    (kernels().reaching)(products, factors, line, to);
}

pub(super) fn plain_strip(codes: &[Quad], quads: usize, query: &Plane, to: &mut Vec<f32>) {
    for block in codes.chunks_exact(quads.max(1)) {
        let mut sums = [0i32; LANES];
        for (quad, query) in block.iter().zip(query.wide.as_chunks::<4>().0) {
            for (sum, four) in sums.iter_mut().zip(quad.as_chunks::<4>().0) {
                *sum += four.iter().zip(query).map(|(byte, q)| i32::from(*byte) * i32::from(*q)).sum::<i32>();
            }
        }
        to.extend(sums.iter().map(|sum| *sum as f32));
    }
}

pub(super) fn plain_reaching(products: &[f32], factors: Factors<'_>, line: Line, to: &mut Vec<Reaching>) {
    plain_reaching_from(0, products, factors, line, to);
}

/// The same for rows from some row on.
pub(super) fn plain_reaching_from(
    first: usize,
    products: &[f32],
    factors: Factors<'_>,
    line: Line,
    to: &mut Vec<Reaching>,
) {
    let all = products.iter().zip(factors.base).zip(factors.slope).zip(factors.spread).enumerate().skip(first);
    for (row, (((product, base), slope), spread)) in all {
        let estimate = line.constant + (base + slope * (product * line.scale - line.middle));
        let upper = estimate + line.doubt * spread;
        if upper >= line.floor {
            to.push(Reaching { row: row as u32, estimate, upper });
        }
    }
}
