//! The table of a vector field's cells.
//!
//! ```text
//! TABLE  layout 2 | epoch varint | drained to varint | next cell varint | shape varint
//!        clustered: rows varint | drained to varint
//!        cells: count varint, for each: cell: from the one before varint | rows varint | changed varint
//!        rebuild: 0 u8, or 1 u8 | fed to varint | cells: as above
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result};

use super::places::Places;

const LAYOUT: u8 = 2;

/// What is known of one cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CellInfo {
    /// Vectors in it, dead ones among them.
    pub(crate) rows: u64,
    /// The epoch that changed it last.
    pub(crate) changed: u64,
}

/// Cells that will take the place of all others: nobody searches them yet. Each piece of maintenance puts the vectors of some more
/// ids into them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rebuild {
    /// Ids below this are in the new cells, if they were alive when it came to them.
    pub(crate) fed_to: u64,
    pub(crate) cells: BTreeMap<u32, CellInfo>,
}

/// The size of a field when the middles of all its cells were chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clustered {
    pub(crate) rows: u64,
    pub(crate) drained_to: u64,
}

/// The cells of a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// Grows by one with each piece of maintenance.
    pub(crate) epoch: u64,
    /// Ids from here on are not in cells: they are the tail.
    pub(crate) drained_to: u64,
    /// Never given to a cell before.
    pub(crate) next_cell: u32,
    /// The epoch that made or removed a cell last.
    pub(crate) shape: u64,
    pub(crate) clustered: Clustered,
    /// What searches look into.
    pub(crate) cells: BTreeMap<u32, CellInfo>,
    pub(crate) rebuild: Option<Rebuild>,
    pub(super) searched: Searched,
}

/// Made when it is asked for, of cells that do not change any more. Tables are equal whether it was or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Searched(Arc<OnceLock<Places>>);

impl PartialEq for Searched {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Searched {}

impl Table {
    /// Begins to change it.
    pub(crate) fn next_epoch(&mut self) -> u64 {
        self.epoch += 1;
        self.searched = Searched::default();
        self.epoch
    }

    /// The cells as searches find them.
    pub(crate) fn places(&self) -> &Places {
        self.searched.0.get_or_init(|| Places::of(self))
    }

    /// All vectors in cells, dead ones among them.
    pub(crate) fn rows(&self) -> u64 {
        self.cells.values().map(|cell| cell.rows).sum()
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut value = Encoder::new(LAYOUT);
        value.varint(self.epoch).varint(self.drained_to).varint(self.next_cell.into()).varint(self.shape);
        value.varint(self.clustered.rows).varint(self.clustered.drained_to);
        encode_cells(&self.cells, &mut value);
        match &self.rebuild {
            None => _ = value.u8(0),
            Some(rebuild) => {
                value.u8(1).varint(rebuild.fed_to);
                encode_cells(&rebuild.cells, &mut value);
            }
        }
        value.finish()
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        Self::parse(value).map_err(|error| Error::corrupt_at(key, error))
    }

    fn parse(value: &[u8]) -> Result<Self> {
        let mut fields = Decoder::new(value);
        fields.layout(LAYOUT)?;
        let mut table = Self { epoch: fields.varint()?, drained_to: fields.varint()?, ..Self::default() };
        table.next_cell = number(fields.varint()?)?;
        table.shape = fields.varint()?;
        table.clustered = Clustered { rows: fields.varint()?, drained_to: fields.varint()? };
        table.cells = parse_cells(&mut fields)?;
        table.rebuild = match fields.u8()? {
            0 => None,
            1 => Some(Rebuild { fed_to: fields.varint()?, cells: parse_cells(&mut fields)? }),
            _ => return Err(Error::corrupt("table in an unknown state")),
        };
        fields.finish()?;
        Ok(table)
    }
}

fn encode_cells(cells: &BTreeMap<u32, CellInfo>, to: &mut Encoder) {
    to.varint(cells.len() as u64);
    let mut before = 0;
    for (cell, info) in cells {
        to.varint(u64::from(cell - before)).varint(info.rows).varint(info.changed);
        before = *cell;
    }
}

fn parse_cells(fields: &mut Decoder<'_>) -> Result<BTreeMap<u32, CellInfo>> {
    let mut cells = BTreeMap::new();
    let mut before = 0u64;
    for _ in 0..fields.count()? {
        before = before.saturating_add(fields.varint()?);
        let info = CellInfo { rows: fields.varint()?, changed: fields.varint()? };
        cells.insert(number(before)?, info);
    }
    Ok(cells)
}

fn number(number: u64) -> Result<u32> {
    u32::try_from(number).map_err(|_| Error::corrupt("cell number out of range"))
}
