//! A transaction that is not sent yet.

use opendata_core::Position;
use opendata_core::slate::{Slate, Transaction};
use opendata_log::Record;

use crate::edge::progress::Effects;
use crate::edge::reading::Portion;

/// A transaction that grows.
pub(super) struct Draft {
    pub(super) tx: Transaction,
    pub(super) effects: Effects,
    pub(super) span: Span,
}

impl Draft {
    pub(super) fn new(sink: &Slate) -> Self {
        let mut tx = sink.begin();
        tx.mark_derived();
        Self { tx, effects: Effects::default(), span: Span::default() }
    }
}

/// The records of a transaction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub(super) records: usize,
    pub(super) size_bytes: usize,
    pub(super) first: Position,
    pub(super) last: Position,
}

impl Span {
    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Whether a transaction takes no more.
    pub(super) fn is_full(&self, portion: Portion) -> bool {
        self.records >= portion.records || self.size_bytes >= portion.size_bytes
    }

    /// Whether so much goes in as well. Into an empty one everything goes.
    pub(super) fn has_room(&self, records: usize, size_bytes: usize, portion: Portion) -> bool {
        let fits = self.records + records <= portion.records && self.size_bytes + size_bytes <= portion.size_bytes;
        self.is_empty() || fits
    }

    pub(super) fn add(&mut self, records: &[Record], size_bytes: usize) {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return };
        if self.is_empty() {
            self.first = first.position;
        }
        self.last = last.position;
        self.records += records.len();
        self.size_bytes += size_bytes;
    }
}
