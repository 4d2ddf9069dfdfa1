//! The best documents over several posting lists, without reading all of them: MaxScore with block maxima.
//!
//! Lists are walked document by document. Lists whose best together cannot reach the worst result so far only add to
//! documents that the others bring (Turtle and Flood, 1995); stretches where the bounds of the blocks cannot reach it are
//! passed over (Ding and Suel, 2011). A document's score is summed in the order of the lists, whatever was passed over, so
//! that it is the same to the last bit however it was found.

use opendata_core::{Error, Result};

use super::{Block, Posting, blocks};
use crate::idset::CHUNK;
use crate::idset::chunk::Chunk;
use crate::search::{Scored, Top};

/// Bounds may be off by so much of what they are made of, by rounding.
const ROUNDING: f64 = 1e-9;

/// What a posting adds to the score of its document.
pub(crate) trait Worth<P: Posting> {
    fn of(&self, posting: P) -> f64;
    /// No posting of a block adds more than the first. None is further from 0 than the second.
    fn at_most(&self, bound: P::Bound) -> (f64, f64);
}

/// One list in one chunk of ids.
pub(crate) struct List<'a, P: Posting, W> {
    key: &'a [u8],
    blocks: Vec<Block<'a, P>>,
    worth: W,
    /// The block it stands in, and whether and how far that was read.
    at: usize,
    read: Vec<P>,
    read_block: usize,
    next: usize,
    best: f64,
    /// Its place among the lists of the query.
    order: usize,
}

impl<'a, P: Posting, W: Worth<P>> List<'a, P, W> {
    pub(crate) fn new(key: &'a [u8], value: &'a [u8], worth: W, order: usize) -> Result<Self> {
        let blocks = blocks::<P>(key, value)?;
        let best = blocks.iter().map(|block| worth.at_most(block.bound).0).fold(0.0, f64::max);
        Ok(Self { key, blocks, worth, at: 0, read: Vec::new(), read_block: usize::MAX, next: 0, best, order })
    }

    fn magnitude(&self) -> f64 {
        self.blocks.iter().map(|block| self.worth.at_most(block.bound).1).fold(0.0, f64::max)
    }

    /// Moves to the block that may hold the first id from `low` on, without reading it.
    fn block(&mut self, low: u32) -> Option<&Block<'a, P>> {
        while self.blocks.get(self.at).is_some_and(|block| u32::from(block.last) < low) {
            self.at += 1;
        }
        self.blocks.get(self.at)
    }

    /// The first posting from `low` on.
    fn seek(&mut self, low: u32, read: &mut u64) -> Result<Option<P>> {
        loop {
            let Some(block) = self.block(low) else { return Ok(None) };
            let block = *block;
            if self.read_block != self.at {
                self.read.clear();
                block.postings(&mut self.read).map_err(|error| Error::corrupt_at(self.key, error))?;
                *read += block.count as u64;
                (self.read_block, self.next) = (self.at, 0);
            }
            let rest = self.read.get(self.next..).unwrap_or_default();
            self.next += rest.iter().take_while(|posting| u32::from(posting.low()) < low).count();
            match self.read.get(self.next) {
                Some(posting) => return Ok(Some(*posting)),
                None => self.at += 1,
            }
        }
    }
}

/// Which ids of a chunk count.
pub(crate) struct Mask<'a> {
    /// None: all.
    pub(crate) allowed: Option<&'a Chunk>,
    pub(crate) dead: Option<&'a Chunk>,
}

impl Mask<'_> {
    fn contains(&self, low: u32) -> bool {
        let low = low as u16;
        self.allowed.is_none_or(|allowed| allowed.contains(low)) && self.dead.is_none_or(|dead| !dead.contains(low))
    }

    /// The first id from `low` on that may count.
    fn next(&self, low: u32) -> Option<u32> {
        let Some(allowed) = self.allowed else { return Some(low) };
        u16::try_from(low).ok().and_then(|low| allowed.next(low)).map(u32::from)
    }
}

/// Pushes the best documents of a chunk, as far as they are better than what is there. Returns how many postings were read.
pub(crate) fn search<P: Posting, W: Worth<P>>(
    chunk: u64,
    mut lists: Vec<List<'_, P, W>>,
    mask: &Mask<'_>,
    top: &mut Top,
) -> Result<u64> {
    let mut read = 0;
    let slack = ROUNDING * lists.iter().map(List::magnitude).sum::<f64>();
    lists.sort_by(|a, b| a.best.total_cmp(&b.best));
    // What the lists up to each can add together.
    let mut sum = slack;
    let together: Vec<f64> = lists
        .iter()
        .map(|list| {
            sum += list.best;
            sum
        })
        .collect();
    let below = |at: usize| at.checked_sub(1).and_then(|at| together.get(at)).copied().unwrap_or(slack);
    let mut parts: Vec<(usize, f64)> = Vec::with_capacity(lists.len());
    let (mut essential, mut low) = (0, 0u32);
    while u64::from(low) < CHUNK {
        let threshold = top.threshold();
        while together.get(essential).is_some_and(|sum| *sum <= threshold) {
            essential += 1;
        }
        let Some((others, leading)) = lists.split_at_mut_checked(essential) else { return Ok(read) };
        if leading.is_empty() {
            return Ok(read);
        }
        let Some(from) = mask.next(low) else { return Ok(read) };
        low = from;
        // How good a document from here to the end of the nearest block can be.
        let (mut best, mut end) = (below(essential), CHUNK as u32);
        for list in &mut *leading {
            let Some(block) = list.block(low) else { continue };
            let (first, last, bound) = (u32::from(block.first), u32::from(block.last), block.bound);
            if first > low {
                end = end.min(first);
            } else {
                end = end.min(last + 1);
                best += list.worth.at_most(bound).0.max(0.0);
            }
        }
        if best <= threshold {
            low = end;
            continue;
        }
        // The next document that any of these lists brings.
        let mut candidate = None;
        for list in &mut *leading {
            if let Some(posting) = list.seek(low, &mut read)? {
                let found = u32::from(posting.low());
                candidate = Some(candidate.map_or(found, |known: u32| known.min(found)));
            }
        }
        let Some(candidate) = candidate else { return Ok(read) };
        low = candidate + 1;
        if !mask.contains(candidate) {
            continue;
        }
        parts.clear();
        let mut score = 0.0;
        for list in &mut *leading {
            if let Some(posting) = list.seek(candidate, &mut read)?.filter(|p| u32::from(p.low()) == candidate) {
                let part = list.worth.of(posting);
                score += part;
                parts.push((list.order, part));
            }
        }
        let mut is_beaten = false;
        for (at, list) in others.iter_mut().enumerate().rev() {
            if score + below(at + 1) <= threshold {
                is_beaten = true;
                break;
            }
            if let Some(posting) = list.seek(candidate, &mut read)?.filter(|p| u32::from(p.low()) == candidate) {
                let part = list.worth.of(posting);
                score += part;
                parts.push((list.order, part));
            }
        }
        if !is_beaten {
            parts.sort_unstable_by_key(|(order, _)| *order);
            let score = parts.iter().map(|(_, part)| part).sum();
            top.push(Scored { score, id: chunk * CHUNK + u64::from(candidate) });
        }
    }
    Ok(read)
}
