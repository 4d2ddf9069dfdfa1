//! Posting lists: which documents have a word or a dimension, and what it is worth there.
//!
//! A row holds the postings of a chunk of ids, in blocks that say how good the best of them can be, so that a search for the
//! best passes over blocks that cannot matter without reading them.
//!
//! ```text
//! row    layout 2 | blocks
//! block  postings varint, 1 to 128 | low 16 bits of the first id varint | of the last, from the first, varint |
//!        bytes of the body varint | bound | body
//! body   for each posting: low 16 bits of the id, from the one before, varint (of the first it is 0) | what it is worth
//! ```
//!
//! Ids ascend. All blocks but the last are full, whatever the row was merged from, so that merging is associative.

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result};

pub(crate) mod top;

const LAYOUT: u8 = 2;
/// Postings of a full block.
const BLOCK: usize = 128;

/// One document in a list.
pub(crate) trait Posting: Copy {
    /// What holds for all postings of a block.
    type Bound: Copy;

    /// Low 16 bits of the id.
    fn low(self) -> u16;
    /// Writes what it is worth.
    fn write(self, to: &mut Encoder);
    fn read(low: u16, from: &mut Decoder<'_>) -> Result<Self>;
    /// The bound of this posting alone.
    fn bound(self) -> Self::Bound;
    /// The bound of both.
    fn widen(one: Self::Bound, other: Self::Bound) -> Self::Bound;
    fn write_bound(bound: Self::Bound, to: &mut Encoder);
    fn read_bound(from: &mut Decoder<'_>) -> Result<Self::Bound>;
}

/// A block whose postings were not read yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'a, P: Posting> {
    pub(crate) count: usize,
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) bound: P::Bound,
    body: &'a [u8],
    /// The block as it is stored.
    whole: &'a [u8],
}

fn write_block<P: Posting>(postings: &[P], to: &mut Encoder) {
    let (Some(first), Some(last)) = (postings.first(), postings.last()) else { return };
    let mut body = Encoder::new(0);
    let mut before = first.low();
    let mut bound = first.bound();
    for posting in postings {
        body.varint(u64::from(posting.low() - before));
        posting.write(&mut body);
        bound = P::widen(bound, posting.bound());
        before = posting.low();
    }
    // Without the layout byte, which a body has not.
    let body = body.as_slice().get(1..).unwrap_or_default();
    to.varint(postings.len() as u64).varint(first.low().into()).varint(u64::from(last.low() - first.low()));
    to.varint(body.len() as u64);
    P::write_bound(bound, to);
    to.raw(body);
}

impl<'a, P: Posting> Block<'a, P> {
    fn read(from: &mut Decoder<'a>) -> Result<Self> {
        let begin = from.rest();
        let (count, first, size, length) = (from.varint()?, from.varint()?, from.varint()?, from.varint()?);
        let low = |value: u64| u16::try_from(value).map_err(|_| Error::corrupt("id outside its chunk"));
        let (first, last) = (low(first)?, low(first.saturating_add(size))?);
        let count = usize::try_from(count).ok().filter(|count| (1..=BLOCK).contains(count));
        let count = count.ok_or_else(|| Error::corrupt("block of a posting list is empty or too large"))?;
        let bound = P::read_bound(from)?;
        let body = from.raw(usize::try_from(length).unwrap_or(usize::MAX))?;
        let whole = begin.get(..begin.len() - from.rest().len()).unwrap_or_default();
        Ok(Self { count, first, last, bound, body, whole })
    }

    /// Reads its postings.
    pub(crate) fn postings(&self, to: &mut Vec<P>) -> Result<()> {
        let mut fields = Decoder::new(self.body);
        let mut low = u64::from(self.first);
        for at in 0..self.count {
            let step = fields.varint()?;
            low = low.saturating_add(step);
            if (step == 0) != (at == 0) || low > self.last.into() {
                return Err(Error::corrupt("ids of a posting list do not ascend"));
            }
            to.push(P::read(low as u16, &mut fields)?);
        }
        if low != u64::from(self.last) {
            return Err(Error::corrupt("block of a posting list ends elsewhere"));
        }
        fields.finish()
    }
}

/// Postings with ascending ids as a row.
pub(crate) fn encode<P: Posting>(postings: &[P]) -> Bytes {
    let mut value = Encoder::new(LAYOUT);
    postings.chunks(BLOCK).for_each(|block| write_block(block, &mut value));
    value.finish()
}

/// The blocks of a row.
pub(crate) fn blocks<'a, P: Posting>(key: &[u8], value: &'a [u8]) -> Result<Vec<Block<'a, P>>> {
    let mut fields = Decoder::new(value);
    let mut parse = || {
        fields.layout(LAYOUT)?;
        let mut blocks: Vec<Block<'a, P>> = Vec::new();
        while !fields.rest().is_empty() {
            let block = Block::read(&mut fields)?;
            if blocks.last().is_some_and(|before| before.last >= block.first) {
                return Err(Error::corrupt("blocks of a posting list do not ascend"));
            }
            blocks.push(block);
        }
        Ok(blocks)
    };
    parse().map_err(|error| Error::corrupt_at(key, error))
}

/// All postings of a row.
pub(crate) fn decode<P: Posting>(key: &[u8], value: &[u8]) -> Result<Vec<P>> {
    let mut postings = Vec::new();
    for block in blocks::<P>(key, value)? {
        block.postings(&mut postings).map_err(|error| Error::corrupt_at(key, error))?;
    }
    Ok(postings)
}

/// Rows one after another as one row. Full blocks are taken over as they are where the blocks before them are full.
pub(crate) fn merge<P: Posting>(key: &[u8], values: &[&[u8]]) -> Result<Bytes> {
    let mut merged = Encoder::with_capacity(LAYOUT, values.iter().map(|value| value.len()).sum());
    let mut open: Vec<P> = Vec::new();
    let mut last = None;
    for value in values {
        for block in blocks::<P>(key, value)? {
            if last.is_some_and(|last| last >= block.first) {
                return Err(Error::corrupt_at(key, "posting lists that are merged overlap"));
            }
            last = Some(block.last);
            if open.is_empty() && block.count == BLOCK {
                merged.raw(block.whole);
                continue;
            }
            block.postings(&mut open).map_err(|error| Error::corrupt_at(key, error))?;
            if open.len() >= BLOCK {
                let rest = open.split_off(BLOCK);
                write_block(&open, &mut merged);
                open = rest;
            }
        }
    }
    write_block(&open, &mut merged);
    Ok(merged.finish())
}

#[cfg(test)]
mod tests;
