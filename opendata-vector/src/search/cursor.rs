//! Where a page of results ended.
//!
//! A cursor holds for one view: results are told apart by their scores and ids there. As text it is the position, how many
//! results came before, the bits of the last score, and the last id, in hexadecimal with dots between.

use std::fmt;
use std::str::FromStr;

use opendata_core::{Error, Position, Result};

use super::Scored;

/// Where the next page of a search begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cursor {
    position: Position,
    /// Results up to here.
    pub(super) seen: usize,
    last: Scored,
}

impl Cursor {
    pub(super) fn behind(position: Position, seen: usize, last: Scored) -> Self {
        Self { position, seen, last }
    }

    /// The position of the view that it belongs to.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    pub(super) fn check(&self, position: Position) -> Result<()> {
        if self.position == position {
            return Ok(());
        }
        let expected = self.position;
        Err(Error::conflict(format!("cursor belongs to another view, position={position}, expected={expected}")))
    }

    /// Whether a result comes behind it.
    pub(super) fn is_before(&self, scored: &Scored) -> bool {
        *scored < self.last
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, seen, last } = self;
        write!(f, "{:x}.{seen:x}.{:x}.{:x}", position.0, last.score.to_bits(), last.id)
    }
}

impl FromStr for Cursor {
    type Err = Error;

    /// Reads a cursor as it was written.
    ///
    /// # Errors
    /// `Invalid` if it is none.
    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<Option<u64>> = text.split('.').map(|part| u64::from_str_radix(part, 16).ok()).collect();
        match parts.as_slice() {
            [Some(position), Some(seen), Some(score), Some(id)] if !f64::from_bits(*score).is_nan() => Ok(Self {
                position: Position(*position),
                seen: usize::try_from(*seen).unwrap_or(usize::MAX),
                last: Scored { score: f64::from_bits(*score), id: *id },
            }),
            _ => Err(Error::invalid("not a cursor of a search")),
        }
    }
}
