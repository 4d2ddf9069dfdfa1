//! The middles of the cells of a field, by which a search knows where to look.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::try_join_all;
use opendata_core::key::KeyRange;
use opendata_core::slate::{Access, Order, View};
use opendata_core::{Error, Result};

use super::{Item, Place, Snapshot};
use crate::cell::cluster::Pivots;
use crate::cell::rotate::Rotation;
use crate::cell::table::CellInfo;
use crate::cell::{self, cluster};
use crate::kernel;
use crate::kernel::columns::{COLUMN_ROWS, Columns};
use crate::key::Key;
use crate::schema::VectorField;

/// With so many cells a search compares its query with pivots first, and then with the centroids of the blocks that lie near.
const TWO_LEVELS: usize = 1 << 16;

/// The centroids of a field, rotated, in the order of its table.
pub(crate) struct Routes {
    pub(crate) rotation: Rotation,
    pub(crate) cells: Vec<u32>,
    pub(crate) centroids: Vec<f32>,
    /// The squared lengths of the centroids.
    pub(crate) squares: Vec<f32>,
    /// The centroids by columns.
    pub(crate) columns: Columns,
    /// The upper level, if there are two. It follows from the centroids and their order alone.
    pub(crate) pivots: Option<Pivots>,
}

impl Routes {
    pub(crate) fn new(dims: u32, cells: Vec<u32>, centroids: Vec<f32>) -> Self {
        Self::leveled(dims, cells, centroids, TWO_LEVELS)
    }

    /// With two levels from so many cells on.
    pub(crate) fn leveled(dims: u32, cells: Vec<u32>, centroids: Vec<f32>, two_levels: usize) -> Self {
        let squares: Vec<f32> = centroids.chunks_exact(dims.max(1) as usize).map(|c| kernel::dot(c, c)).collect();
        let columns = Columns::new(&centroids, dims as usize);
        let blocks = squares.len().div_ceil(COLUMN_ROWS);
        let pivots = (cells.len() >= two_levels).then(|| Pivots::new(&columns, blocks));
        Self { rotation: Rotation::new(dims), cells, centroids, squares, columns, pivots }
    }

    /// For each of some rotated vectors the place of the centroid that lies nearest.
    pub(crate) fn nearest_of(&self, vectors: &[f32]) -> Vec<usize> {
        cluster::nearest_of(&self.columns, &self.squares, vectors)
    }

    pub(crate) fn size_bytes(&self) -> usize {
        let pivots = self.pivots.as_ref().map_or(0, Pivots::size_bytes);
        self.centroids.len() * 4 + self.columns.size_bytes() + pivots + self.cells.len() * 8 + 64
    }
}

/// Centroids as they are stored, one behind the other in the order of their cells.
#[derive(Default)]
pub(super) struct Middles {
    cells: Vec<u32>,
    centroids: Vec<f32>,
}

impl Middles {
    pub(super) async fn read(view: &View, range: KeyRange, dims: u32) -> Result<Self> {
        let read = view.parts(range).into_iter().map(|range| async move {
            let mut middles = Self::default();
            let mut rows = view.scan(range, Access::Bulk, Order::Ascending).await?;
            while let Some(row) = rows.next().await? {
                if let Key::Centroid { cell, .. } = Key::decode(&row.key)? {
                    middles.cells.push(cell);
                    cell::decode_centroid(&row.key, &row.value, dims, &mut middles.centroids)?;
                }
            }
            Ok::<_, Error>(middles)
        });
        let mut all = Self::default();
        for part in try_join_all(read).await? {
            all.cells.extend(part.cells);
            all.centroids.extend(part.centroids);
        }
        Ok(all)
    }

    /// Those of some cells, if all of them are there.
    pub(super) fn of(self, dims: u32, cells: &BTreeMap<u32, CellInfo>) -> Option<Routes> {
        if self.cells.iter().eq(cells.keys()) {
            return Some(Routes::new(dims, self.cells, self.centroids));
        }
        let mut centroids = Vec::with_capacity(cells.len() * dims as usize);
        for cell in cells.keys() {
            let at = self.cells.binary_search(cell).ok()?;
            centroids.extend_from_slice(cluster::row(&self.centroids, dims as usize, at));
        }
        Some(Routes::new(dims, cells.keys().copied().collect(), centroids))
    }
}

impl Snapshot<'_> {
    /// The centroids of a field.
    pub(crate) async fn routes(self, name: &str, field: VectorField) -> Result<Arc<Routes>> {
        let table = self.state.table(name);
        let place = Place::Routes { field: self.state.field_number(name), shape: table.shape };
        if let Some(Item::Routes(routes)) = self.state.cache.get(&place) {
            return Ok(routes);
        }
        let routes = self.read_routes(name, field, &table.cells).await?;
        self.state.cache.put(place, Item::Routes(Arc::clone(&routes)));
        Ok(routes)
    }

    /// The centroids of the cells that will take the place of a field's cells.
    pub(crate) async fn new_routes(self, name: &str, field: VectorField) -> Result<Arc<Routes>> {
        let table = self.state.table(name);
        let Some(rebuild) = &table.rebuild else { return self.routes(name, field).await };
        let first = rebuild.cells.keys().next().copied().unwrap_or(table.next_cell);
        let place = Place::NewRoutes { field: self.state.field_number(name), first };
        if let Some(Item::Routes(routes)) = self.state.cache.get(&place) {
            return Ok(routes);
        }
        let routes = self.read_routes(name, field, &rebuild.cells).await?;
        self.state.cache.put(place, Item::Routes(Arc::clone(&routes)));
        Ok(routes)
    }

    async fn read_routes(self, name: &str, field: VectorField, of: &BTreeMap<u32, CellInfo>) -> Result<Arc<Routes>> {
        let middles = match (of.keys().next(), of.keys().next_back()) {
            (Some(first), Some(last)) => {
                Middles::read(self.view, self.keys.some_centroids(name, *first, *last), field.dims).await?
            }
            _ => Middles::default(),
        };
        let missing = || Error::corrupt_at(&self.keys.table(name), "the table names a cell without a centroid");
        Ok(Arc::new(middles.of(field.dims, of).ok_or_else(missing)?))
    }
}
