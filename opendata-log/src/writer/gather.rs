//! Records of one group of transactions, gathered by stream.

use bytes::Bytes;
use opendata_core::Position;

use crate::chunk::Pending;
use crate::op::{CONTROL, Names, Op};

/// What a group brings, until it is written.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    names: Names,
    /// The last position of each name.
    lasts: Vec<Position>,
    /// Each record with its stream's index.
    records: Vec<(u32, Pending)>,
    runs: Vec<(Position, u64)>,
    pub(super) roll: bool,
}

impl Gathered {
    /// How many streams it brings records for.
    pub(super) fn streams(&self) -> usize {
        self.names.len()
    }

    /// First position that was given to its records.
    pub(super) fn first(&self) -> Option<Position> {
        self.records.first().map(|(_, record)| record.position)
    }

    /// Last position that was given to its records.
    pub(super) fn last(&self) -> Option<Position> {
        self.records.last().map(|(_, record)| record.position)
    }

    /// Runs of positions that were given to records, control records not counted.
    pub(super) fn take_runs(&mut self) -> Vec<(Position, u64)> {
        std::mem::take(&mut self.runs)
    }

    /// The last position of a stream in this group.
    pub(super) fn last_of(&self, stream: &[u8]) -> Option<Position> {
        let index = self.names.find(stream)?;
        self.lasts.get(index as usize).copied().filter(|last| *last > Position::ZERO)
    }

    /// Takes the records of an operation, which get consecutive positions.
    pub(super) fn add(&mut self, op: &mut Op, first: Position, derived: bool) {
        let names = std::mem::take(&mut op.names);
        // One large operation a group is common: its names become the group's without a look at each.
        let mapped: Option<Vec<u32>> = if self.names.len() == 0 {
            self.names = names;
            None
        } else {
            Some(names.iter().map(|name| self.names.intern(name).0).collect())
        };
        self.lasts.resize(self.names.len(), Position::ZERO);
        self.records.reserve(op.entries.len());
        let mut position = first;
        for entry in op.entries.drain(..) {
            let stream = match &mapped {
                Some(mapped) => mapped.get(entry.stream as usize).copied().unwrap_or(CONTROL),
                None => entry.stream,
            };
            if stream != CONTROL {
                self.count(position);
                if let Some(last) = self.lasts.get_mut(stream as usize) {
                    *last = position;
                }
            }
            self.records.push((stream, Pending { position, payload: entry.payload, derived, about: entry.about }));
            position = position.next();
        }
    }

    fn count(&mut self, position: Position) {
        match self.runs.last_mut() {
            Some((first, length)) if first.0 + *length == position.0 => *length += 1,
            _ => self.runs.push((position, 1)),
        }
    }

    /// The records by stream, streams sorted by name; control records come first.
    pub(super) fn sorted(&self) -> Sorted<'_> {
        let mut names: Vec<(&Bytes, u32)> = (0..).zip(self.names.iter()).map(|(index, name)| (name, index)).collect();
        names.sort_unstable();
        // Place 0 is for control records.
        let mut place_of = vec![0usize; names.len()];
        for (place, (_, index)) in names.iter().enumerate() {
            if let Some(slot) = place_of.get_mut(*index as usize) {
                *slot = place + 1;
            }
        }
        let place = |stream: u32| place_of.get(stream as usize).copied().unwrap_or(0);
        let mut order: Vec<(usize, &Pending)> =
            self.records.iter().map(|(stream, record)| (place(*stream), record)).collect();
        if !order.is_sorted_by_key(|(place, _)| *place) {
            // Stable, so that positions stay in order.
            order.sort_by_key(|(place, _)| *place);
        }
        let mut streams: Vec<(Option<&Bytes>, usize)> = Vec::with_capacity(names.len() + 1);
        let mut before = None;
        for (place, _) in &order {
            if before == Some(*place) {
                if let Some((_, count)) = streams.last_mut() {
                    *count += 1;
                }
                continue;
            }
            before = Some(*place);
            let name = place.checked_sub(1).and_then(|place| names.get(place)).map(|(name, _)| *name);
            streams.push((name, 1));
        }
        Sorted { records: order.into_iter().map(|(_, record)| record).collect(), streams }
    }
}

/// The records of a group in the order in which they are written.
#[derive(Debug)]
pub(super) struct Sorted<'a> {
    records: Vec<&'a Pending>,
    /// Each stream, or none for control records, and how many of the records are its.
    streams: Vec<(Option<&'a Bytes>, usize)>,
}

impl<'a> Sorted<'a> {
    pub(super) fn iter(&self) -> impl Iterator<Item = (Option<&'a Bytes>, &[&'a Pending])> {
        let mut rest = self.records.as_slice();
        self.streams.iter().map(move |(name, count)| {
            let (records, behind) = rest.split_at_checked(*count).unwrap_or((rest, &[]));
            rest = behind;
            (*name, records)
        })
    }
}
