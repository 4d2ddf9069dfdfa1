//! Vectors by what their codes say of them: which may still be among the best, given the bounds of all the others.

use crate::cell::quantize::{CodeQuery, DEVIATIONS};
use crate::cell::{Cell, Frame};
use crate::idset::Probe;
use crate::search::{Allowed, Scored, Top};

/// Vectors that are read for one result at most, when codes leave much open.
const RERANK_PER_RESULT: usize = 16;

pub(super) struct Candidates<'a> {
    depth: usize,
    allowed: Allowed<'a>,
    filter: Option<Probe<'a>>,
    /// The best lower bounds so far.
    sure: Top,
    /// No vector below this can be among the best.
    floor: f32,
    /// Upper bound and id.
    found: Vec<(f32, u64)>,
    /// Allowed ones that were estimated, dead ones among them if there is no filter.
    pub(super) seen: u64,
    estimates: Vec<f32>,
    one: Vec<f32>,
}

impl<'a> Candidates<'a> {
    pub(super) fn new(depth: usize, floor: f64, allowed: Allowed<'a>) -> Self {
        let filter = allowed.set.map(|set| set.probe());
        let (sure, floor) = (Top::new(depth), floor as f32);
        Self { depth, allowed, filter, sure, floor, found: Vec::new(), seen: 0, estimates: Vec::new(), one: Vec::new() }
    }

    /// Looks at all vectors of a cell, given what they have in common: see [`CodeQuery::cell`].
    pub(super) fn estimate(&mut self, query: &CodeQuery, (constant, distance): (f32, f32), cell: &Cell) {
        let doubt = DEVIATIONS * distance;
        for frame in &cell.frames {
            match self.filter.take() {
                Some(filter) => {
                    self.filtered(query, (constant, distance), doubt, frame, &filter);
                    self.filter = Some(filter);
                }
                None => self.all(query, (constant, distance), doubt, frame),
            }
        }
    }

    fn all(&mut self, query: &CodeQuery, (constant, distance): (f32, f32), doubt: f32, frame: &Frame) {
        let mut estimates = std::mem::take(&mut self.estimates);
        self.seen += frame.ids.len() as u64;
        // While there is no floor, everything passes.
        if self.floor > f32::NEG_INFINITY && query.bounds(frame, distance, &mut estimates) {
            let mut one = std::mem::take(&mut self.one);
            for (row, ((bound, spread), id)) in estimates.iter().zip(&frame.spread).zip(&frame.ids).enumerate() {
                if constant + bound >= self.floor && self.allowed.contains(*id) {
                    let (estimate, doubt) = (constant + query.estimate_one(frame, row, &mut one), doubt * spread);
                    if estimate + doubt >= self.floor {
                        self.keep(estimate, doubt, *id);
                    }
                }
            }
            (self.estimates, self.one) = (estimates, one);
            return;
        }
        query.estimate(frame, &mut estimates);
        for ((estimate, spread), id) in estimates.iter().zip(&frame.spread).zip(&frame.ids) {
            let (estimate, doubt) = (constant + estimate, doubt * spread);
            if estimate + doubt >= self.floor && self.allowed.contains(*id) {
                self.keep(estimate, doubt, *id);
            }
        }
        self.estimates = estimates;
    }

    fn filtered(
        &mut self,
        query: &CodeQuery,
        (constant, distance): (f32, f32),
        doubt: f32,
        frame: &Frame,
        filter: &Probe<'_>,
    ) {
        let is_allowed = |id: &&u64| filter.contains(**id);
        let count = frame.ids.iter().filter(is_allowed).count();
        self.seen += count as u64;
        if count * 4 > frame.ids.len() {
            let mut estimates = std::mem::take(&mut self.estimates);
            if self.floor > f32::NEG_INFINITY && query.bounds(frame, distance, &mut estimates) {
                let mut one = std::mem::take(&mut self.one);
                for (row, ((bound, spread), id)) in estimates.iter().zip(&frame.spread).zip(&frame.ids).enumerate() {
                    if constant + bound >= self.floor && filter.contains(*id) {
                        let (estimate, doubt) = (constant + query.estimate_one(frame, row, &mut one), doubt * spread);
                        if estimate + doubt >= self.floor {
                            self.keep(estimate, doubt, *id);
                        }
                    }
                }
                (self.estimates, self.one) = (estimates, one);
                return;
            }
            query.estimate(frame, &mut estimates);
            for ((estimate, spread), id) in estimates.iter().zip(&frame.spread).zip(&frame.ids) {
                let (estimate, doubt) = (constant + estimate, doubt * spread);
                if estimate + doubt >= self.floor && filter.contains(*id) {
                    self.keep(estimate, doubt, *id);
                }
            }
            self.estimates = estimates;
            return;
        }
        if count == 0 {
            return;
        }
        for (row, (spread, id)) in frame.spread.iter().zip(&frame.ids).enumerate() {
            if filter.contains(*id) {
                let estimate = constant + query.estimate_one(frame, row, &mut self.estimates);
                let doubt = doubt * spread;
                if estimate + doubt >= self.floor {
                    self.keep(estimate, doubt, *id);
                }
            }
        }
    }

    fn keep(&mut self, estimate: f32, doubt: f32, id: u64) {
        self.found.push((estimate + doubt, id));
        self.sure.push(Scored { score: f64::from(estimate - doubt), id });
        self.floor = self.floor.max(self.sure.threshold() as f32);
    }

    /// What the bounds do not rule out, the highest upper bounds first.
    pub(super) fn finish(mut self) -> Vec<(f32, u64)> {
        self.found.retain(|(upper, _)| *upper >= self.floor);
        self.found.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        self.found.truncate(self.depth * RERANK_PER_RESULT + 64);
        self.found
    }
}
