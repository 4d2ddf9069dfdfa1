//! The cells of a table as searches find them: by their places, which are those of the centroids. Made when a table is first searched,
//! and never stored.

use std::sync::{Arc, OnceLock, Weak};

use super::Cell;
use super::table::{CellInfo, Table};

/// The cells of a table, in the order of their numbers.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// All vectors in cells, dead ones among them.
    pub(crate) rows: u64,
    cells: Vec<InPlace>,
}

/// A cell in its place.
#[derive(Debug, Default)]
pub(crate) struct InPlace {
    pub(crate) cell: u32,
    pub(crate) info: CellInfo,
    held: OnceLock<Weak<Cell>>,
}

impl Places {
    pub(super) fn of(table: &Table) -> Self {
        let cells = table.cells.iter().map(|(cell, info)| InPlace { cell: *cell, info: *info, held: OnceLock::new() });
        Self { rows: table.rows(), cells: cells.collect() }
    }

    pub(crate) fn at(&self, place: usize) -> Option<&InPlace> {
        self.cells.get(place)
    }
}

impl InPlace {
    /// The cell, if it is in memory as it was when it was found first. The cache owns it: where it has let go of the cell, it is
    /// also asked for what was read again.
    pub(crate) fn held(&self) -> Option<Arc<Cell>> {
        self.held.get()?.upgrade()
    }

    pub(crate) fn hold(&self, cell: &Arc<Cell>) {
        // Another search may have been first: it found the same.
        let _ = self.held.set(Arc::downgrade(cell));
    }
}
