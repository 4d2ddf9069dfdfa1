//! Vectors by what their codes say of them: which may still be among the best, given the bounds of all the others.

use crate::cell::quantize::{Around, CodeQuery, DEVIATIONS, Scratch};
use crate::cell::{Cell, Frame};
use crate::idset::Probe;
use crate::kernel;
use crate::search::{Allowed, Scored, Top};

/// Vectors that are read for one result at most, when codes leave much open.
const RERANK_PER_RESULT: usize = 16;

/// To score all vectors of a frame takes as long as to score this share of them one by one.
const ALONE: usize = 16;

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
    scratch: Scratch,
    one: Vec<f32>,
    /// Rows of a frame that are allowed.
    rows: Vec<u32>,
}

impl<'a> Candidates<'a> {
    pub(super) fn new(depth: usize, floor: f64, allowed: Allowed<'a>) -> Self {
        let filter = allowed.set.map(|set| set.probe());
        let (sure, floor) = (Top::new(depth), floor as f32);
        Self {
            depth,
            allowed,
            filter,
            sure,
            floor,
            found: Vec::new(),
            seen: 0,
            scratch: Scratch::default(),
            one: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Fetches what looking at a cell will read, ahead of it. The frames should be on their way already.
    pub(super) fn prefetch(&self, cell: &Cell) {
        for frame in &cell.frames {
            frame.prefetch_sketch();
            if self.filter.is_some() {
                kernel::prefetch(&frame.ids);
            }
        }
    }

    /// Looks at all vectors of a cell.
    pub(super) fn estimate(&mut self, query: &CodeQuery, around: Around<'_>, cell: &Cell) {
        for frame in &cell.frames {
            match self.filter.take() {
                Some(filter) => {
                    filter.rows_of(&frame.ids, &mut self.rows);
                    let count = self.rows.len();
                    self.seen += count as u64;
                    if count * ALONE > frame.ids.len() {
                        self.all(query, around, frame, |id| filter.contains(id));
                    } else if count > 0 {
                        self.some(query, around, frame);
                    }
                    self.filter = Some(filter);
                }
                None => {
                    self.seen += frame.ids.len() as u64;
                    let allowed = self.allowed;
                    self.all(query, around, frame, |id| allowed.contains(id));
                }
            }
        }
    }

    fn all(&mut self, query: &CodeQuery, around: Around<'_>, frame: &Frame, is_allowed: impl Fn(u64) -> bool) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let doubt = DEVIATIONS * around.distance;
        // While there is no floor, everything passes.
        if self.floor > f32::NEG_INFINITY && query.reaching_by_sketch(frame, around, self.floor, &mut scratch) {
            let mut one = std::mem::take(&mut self.one);
            for reaching in &scratch.reaching {
                let row = reaching.row as usize;
                let (Some(id), Some(spread)) = (frame.ids.get(row), frame.spread.get(row)) else { continue };
                if reaching.upper >= self.floor && is_allowed(*id) {
                    let estimate = around.constant + query.estimate_one(frame, row, &mut one);
                    if estimate + doubt * spread >= self.floor {
                        self.keep(estimate, doubt * spread, *id);
                    }
                }
            }
            self.one = one;
        } else {
            query.reaching(frame, around, self.floor, &mut scratch);
            for reaching in &scratch.reaching {
                let Some(id) = frame.ids.get(reaching.row as usize) else { continue };
                if reaching.upper >= self.floor && is_allowed(*id) {
                    self.keep(reaching.estimate, reaching.upper - reaching.estimate, *id);
                }
            }
        }
        self.scratch = scratch;
    }

    /// Of few that are allowed each is looked at alone.
    fn some(&mut self, query: &CodeQuery, around: Around<'_>, frame: &Frame) {
        let (mut one, rows) = (std::mem::take(&mut self.one), std::mem::take(&mut self.rows));
        for row in rows.iter().map(|row| *row as usize) {
            let (Some(spread), Some(id)) = (frame.spread.get(row), frame.ids.get(row)) else { continue };
            let estimate = around.constant + query.estimate_one(frame, row, &mut one);
            let doubt = DEVIATIONS * around.distance * spread;
            if estimate + doubt >= self.floor {
                self.keep(estimate, doubt, *id);
            }
        }
        (self.one, self.rows) = (one, rows);
    }

    fn keep(&mut self, estimate: f32, doubt: f32, id: u64) {
        self.found.push((estimate + doubt, id));
        self.sure.push(Scored { score: f64::from(estimate - doubt), id });
        self.floor = self.floor.max(self.sure.threshold() as f32);
    }

    /// What the last of the best has for certain.
    pub(super) fn floor(&self) -> f32 {
        self.floor
    }

    /// What the bounds do not rule out, the highest upper bounds first.
    pub(super) fn finish(mut self) -> Vec<(f32, u64)> {
        self.found.retain(|(upper, _)| *upper >= self.floor);
        self.found.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        self.found.truncate(self.depth * RERANK_PER_RESULT + 64);
        self.found
    }
}
