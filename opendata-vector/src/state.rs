//! What a reader needs to know of an instance before it looks at rows: counters, dead ids, tables of cells, the tail.
//!
//! The writer publishes one after each group; anyone else loads it from the slate. Both are equal at a position,
//! except for the parts that are only caches: the vectors of the tail, and the cache of decoded rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use opendata_core::slate::{Access, Order, View};
use opendata_core::{Error, Result};

use crate::cell::table::Table;
use crate::cell::{self, Cell};
use crate::config::Config;
use crate::document::Document;
use crate::filter::Filter;
use crate::filter::bitmap::Bitmaps;
use crate::idset::IdSet;
use crate::kernel;
use crate::key::{Key, Keys};
use crate::record::{self, Counters, Stored, vector};
use crate::schema::VectorField;

mod cache;
pub(crate) mod tail;

pub(crate) use cache::{Cache, Item, Place};
use tail::{Block, Tail};

/// An instance at one position.
pub struct State {
    pub(crate) config: Arc<Config>,
    pub(crate) counters: Counters,
    pub(crate) dead: IdSet,
    pub(crate) tables: BTreeMap<String, Arc<Table>>,
    pub(crate) tails: BTreeMap<String, Tail>,
    pub(crate) cache: Arc<Cache>,
}

/// The centroids of a field, rotated, in the order of its table.
pub(crate) struct Routes {
    pub(crate) cells: Vec<u32>,
    pub(crate) centroids: Vec<f32>,
}

impl State {
    /// Reads it from the slate, without the vectors of the tail.
    pub(crate) async fn load(view: &View, keys: Keys, config: Arc<Config>) -> Result<Self> {
        let key = keys.counters();
        let counters = match view.get(&key).await? {
            Some(value) => Counters::decode(&key, &value)?,
            None => Counters::default(),
        };
        let mut dead = IdSet::default();
        let mut rows = view.scan(keys.all_dead(), Access::Bulk, Order::Ascending).await?;
        while let Some(row) = rows.next().await? {
            if let Key::Dead(chunk) = Key::decode(&row.key)? {
                dead.add_chunk(chunk, record::decode_bitmap(&row.key, &row.value)?);
            }
        }
        let mut tables = BTreeMap::new();
        for field in config.schema.vectors.keys() {
            let key = keys.table(field);
            let table = match view.get(&key).await? {
                Some(value) => Table::decode(&key, &value)?,
                None => Table::default(),
            };
            tables.insert(field.clone(), Arc::new(table));
        }
        let cache = Arc::new(Cache::new(config.cache_bytes));
        Ok(Self { config, counters, dead, tables, tails: BTreeMap::new(), cache })
    }

    pub(crate) fn table(&self, field: &str) -> Arc<Table> {
        self.tables.get(field).cloned().unwrap_or_default()
    }
}

/// One instance at one view, with its state: where everything is read from.
#[derive(Clone, Copy)]
pub(crate) struct Snapshot<'a> {
    pub(crate) view: &'a View,
    pub(crate) keys: Keys,
    pub(crate) state: &'a State,
}

impl<'a> Snapshot<'a> {
    /// The live ids that match. The filter must fit the schema.
    pub(crate) async fn matching(self, filter: &'a Filter) -> Result<IdSet> {
        let schema = &self.state.config.schema;
        filter.check(schema)?;
        let bitmaps = Bitmaps { view: self.view, keys: self.keys, schema, next_id: self.state.counters.next_id };
        Ok(bitmaps.evaluate(filter).await?.without(&self.state.dead))
    }

    /// A document that an index or an id row says is there.
    pub(crate) async fn stored(self, id: u64) -> Result<Stored> {
        let key = self.keys.doc(id);
        let value = self.view.get(&key).await?;
        Stored::decode(&key, &value.ok_or_else(|| Error::corrupt_at(&key, "document is missing"))?)
    }

    /// The internal id of a document.
    pub(crate) async fn find(self, external: &[u8]) -> Result<Option<u64>> {
        let key = self.keys.id(external);
        self.view.get(&key).await?.map(|value| record::decode_id(&key, &value)).transpose()
    }

    /// A vector as it is stored.
    pub(crate) async fn vector_bytes(self, field: &str, id: u64) -> Result<(Bytes, Bytes)> {
        let key = self.keys.vec(field, id);
        let value = self.view.get(&key).await?;
        let value = value.ok_or_else(|| Error::corrupt_at(&key, "vector is missing"))?;
        Ok((key, value))
    }

    /// Appends a vector, as its metric scores it.
    pub(crate) async fn vector(self, name: &str, field: VectorField, id: u64, to: &mut Vec<f32>) -> Result<()> {
        let (key, value) = self.vector_bytes(name, id).await?;
        push_scored(&key, &value, field, to)
    }

    /// The document with the vectors that are wanted.
    pub(crate) async fn document(self, stored: Stored, id: u64, wants: impl Fn(&str) -> bool) -> Result<Document> {
        let mut vectors = BTreeMap::new();
        for name in stored.vectors.iter().filter(|name| wants(name)) {
            let field = self.state.config.schema.vector_field(name)?;
            let (key, value) = self.vector_bytes(name, id).await?;
            let mut components = Vec::with_capacity(field.dims as usize);
            vector::decode(&key, &value, field.dims, &mut components)?;
            vectors.insert(name.clone(), components);
        }
        Ok(Document { vectors, ..stored.document() })
    }

    /// A cell of a field.
    pub(crate) async fn cell(self, field: &str, number: u32, changed: u64) -> Result<Arc<Cell>> {
        let place = Place::Cell { field: field.to_owned(), cell: number, changed };
        if let Some(Item::Cell(cell)) = self.state.cache.get(&place) {
            return Ok(cell);
        }
        let key = self.keys.cell(field, number);
        let cell = Arc::new(match self.view.get(&key).await? {
            Some(value) => Cell::decode(&key, &value)?,
            None => Cell::default(),
        });
        self.state.cache.put(place, Item::Cell(Arc::clone(&cell)), cell.size_bytes());
        Ok(cell)
    }

    /// The centroids of a field.
    pub(crate) async fn routes(self, name: &str, field: VectorField) -> Result<Arc<Routes>> {
        let table = self.state.table(name);
        let place = Place::Routes { field: name.to_owned(), shape: table.shape };
        if let Some(Item::Routes(routes)) = self.state.cache.get(&place) {
            return Ok(routes);
        }
        let mut routes = Routes { cells: Vec::new(), centroids: Vec::new() };
        let mut rows = self.view.scan(self.keys.centroids(name), Access::Bulk, Order::Ascending).await?;
        while let Some(row) = rows.next().await? {
            if let Key::Centroid { cell, .. } = Key::decode(&row.key)? {
                routes.cells.push(cell);
                cell::decode_centroid(&row.key, &row.value, field.dims, &mut routes.centroids)?;
            }
        }
        if !routes.cells.iter().eq(table.cells.keys()) {
            return Err(Error::corrupt_at(&self.keys.table(name), "table and centroids name other cells"));
        }
        let routes = Arc::new(routes);
        self.state.cache.put(place, Item::Routes(Arc::clone(&routes)), routes.centroids.len() * 4 + 64);
        Ok(routes)
    }

    /// All vectors of a field that are in no cell, dead ones among them.
    pub(crate) async fn tail(self, name: &str, field: VectorField) -> Result<Vec<Arc<Block>>> {
        let from = self.state.table(name).drained_to;
        let (mut blocks, held_from) = match self.state.tails.get(name) {
            Some(tail) => (tail.blocks().to_vec(), tail.from()),
            None => (Vec::new(), self.state.counters.next_id),
        };
        if from < held_from {
            let place = Place::Tail { field: name.to_owned(), from, to: held_from };
            let older = match self.state.cache.get(&place) {
                Some(Item::Tail(block)) => block,
                _ => {
                    let block = Arc::new(self.scan_block(name, field, (from, held_from), usize::MAX).await?);
                    self.state.cache.put(place, Item::Tail(Arc::clone(&block)), block.size_bytes());
                    block
                }
            };
            blocks.insert(0, older);
        }
        Ok(blocks)
    }

    /// Vectors of a run of ids, `limit` live ones at most.
    pub(crate) async fn scan_block(
        self,
        name: &str,
        field: VectorField,
        (from, to): (u64, u64),
        limit: usize,
    ) -> Result<Block> {
        let mut block = Block::default();
        let mut rows = self.view.scan(self.keys.vecs(name, from, to), Access::Bulk, Order::Ascending).await?;
        while let Some(row) = rows.next().await? {
            if block.ids.len() == limit {
                break;
            }
            let Key::Vec { id, .. } = Key::decode(&row.key)? else { continue };
            if !self.state.dead.contains(id) {
                block.ids.push(id);
                push_scored(&row.key, &row.value, field, &mut block.vectors)?;
            }
        }
        Ok(block)
    }
}

/// Appends a stored vector, as its metric scores it.
pub(crate) fn push_scored(key: &[u8], value: &[u8], field: VectorField, to: &mut Vec<f32>) -> Result<()> {
    let start = to.len();
    vector::decode(key, value, field.dims, to)?;
    if let Some(new) = to.get_mut(start..) {
        kernel::normalise(field.metric, new);
    }
    Ok(())
}
