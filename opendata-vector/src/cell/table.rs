//! The table of a vector field's cells.
//!
//! ```text
//! TABLE  layout 1 | epoch varint | drained to varint | next cell varint | shape varint | cells: count varint, for each:
//!        cell: from the one before varint | rows varint | changed varint
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result};

const LAYOUT: u8 = 1;

/// What is known of one cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CellInfo {
    /// Vectors in it, dead ones among them.
    pub(crate) rows: u64,
    /// The epoch that changed it last.
    pub(crate) changed: u64,
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
    pub(crate) cells: BTreeMap<u32, CellInfo>,
}

impl Table {
    /// All vectors in cells, dead ones among them.
    pub(crate) fn rows(&self) -> u64 {
        self.cells.values().map(|cell| cell.rows).sum()
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut value = Encoder::new(LAYOUT);
        value.varint(self.epoch).varint(self.drained_to).varint(self.next_cell.into()).varint(self.shape);
        value.varint(self.cells.len() as u64);
        let mut before = 0;
        for (cell, info) in &self.cells {
            value.varint(u64::from(cell - before)).varint(info.rows).varint(info.changed);
            before = *cell;
        }
        value.finish()
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        Self::parse(value).map_err(|error| Error::corrupt_at(key, error))
    }

    fn parse(value: &[u8]) -> Result<Self> {
        let number = |number: u64| u32::try_from(number).map_err(|_| Error::corrupt("cell number out of range"));
        let mut fields = Decoder::new(value);
        fields.layout(LAYOUT)?;
        let mut table = Self { epoch: fields.varint()?, drained_to: fields.varint()?, ..Self::default() };
        table.next_cell = number(fields.varint()?)?;
        table.shape = fields.varint()?;
        let mut before = 0u64;
        for _ in 0..fields.count()? {
            before = before.saturating_add(fields.varint()?);
            let info = CellInfo { rows: fields.varint()?, changed: fields.varint()? };
            table.cells.insert(number(before)?, info);
        }
        fields.finish()?;
        Ok(table)
    }
}
