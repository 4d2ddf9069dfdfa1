//! What a reader needs to know of an instance before it looks at rows: counters, dead ids, tables of cells, the tail.
//!
//! The writer publishes one after each group; anyone else loads it from the slate. Both are equal at a position,
//! except for the parts that are only caches: the vectors of the tail, and the cache of decoded rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{OptionFuture, try_join_all, try_join3, try_join4};
use opendata_core::slate::{Access, Order, View};
use opendata_core::{Error, Result};

use crate::cell::Cell;
use crate::cell::calibration::Calibration;
use crate::cell::quantize::code_size;
use crate::cell::table::Table;
use crate::config::Config;
use crate::document::Document;
use crate::filter::Filter;
use crate::filter::bitmap::Bitmaps;
use crate::idset::IdSet;
use crate::kernel;
use crate::key::{Key, Keys};
use crate::maintain::Cycle;
use crate::record::{self, Counters, Stored, Sweep, page, vector};
use crate::schema::VectorField;

mod cache;
mod plan;
mod routes;
mod runs;
pub(crate) mod tail;
mod vectors;

pub(crate) use cache::{Cache, Item, Place};
pub(crate) use plan::Plan;
use routes::Middles;
pub(crate) use routes::Routes;
use runs::{ROW_BYTES, Wanted, runs};
use tail::{Block, Tail};

/// An instance at one position.
pub struct State {
    pub(crate) config: Arc<Config>,
    pub(crate) counters: Counters,
    pub(crate) dead: IdSet,
    pub(crate) sweep: Sweep,
    /// Dead ids that are on their way out, in the writer only: what a restart interrupts begins again.
    pub(crate) cycle: Option<Arc<Cycle>>,
    pub(crate) tables: BTreeMap<String, Arc<Table>>,
    pub(crate) calibrations: BTreeMap<String, Arc<Calibration>>,
    pub(crate) tails: BTreeMap<String, Tail>,
    /// How often a commit had to drain a full tail itself, since the writer was opened.
    pub(crate) drained_by_commits: u64,
    /// Below this, ids were forgotten since the writer was opened: that memory holds a vector does not say that it is alive.
    pub(crate) forgotten_to: u64,
    pub(crate) cache: Arc<Cache>,
}

impl State {
    /// Reads it from the slate, without the vectors of the tail. The centroids of fields that will be searched are read along, so that
    /// nothing waits for the tables only to learn which they are.
    pub(crate) async fn load(
        view: &View,
        keys: Keys,
        config: Arc<Config>,
        cache: Arc<Cache>,
        searched: &BTreeSet<&str>,
    ) -> Result<Self> {
        // All at once: each may be a request to the store.
        let (counters_key, sweep_key) = (keys.counters(), keys.sweep());
        let fields = config.schema.vectors.iter().zip(0..).map(|((field, of), number)| {
            let cache = &cache;
            async move {
                let (table_key, calibration_key) = (keys.table(field), keys.calibration(field));
                let is_wanted = searched.contains(field.as_str()) && !cache.has_routes(number);
                let middles = async {
                    let all = is_wanted.then(|| Middles::read(view, keys.all_centroids(field), of.dims));
                    OptionFuture::from(all).await.transpose()
                };
                let (table, calibration, middles) =
                    try_join3(view.get(&table_key), view.get(&calibration_key), middles).await?;
                let table = table.map(|value| Table::decode(&table_key, &value)).transpose()?.unwrap_or_default();
                let calibration = calibration.map(|value| Calibration::decode(&calibration_key, &value)).transpose()?;
                if let Some(routes) = middles.and_then(|middles| middles.of(of.dims, &table.cells)) {
                    let place = Place::Routes { field: number, shape: table.shape };
                    cache.put(place, Item::Routes(Arc::new(routes)));
                }
                Ok::<_, Error>((field.clone(), Arc::new(table), calibration.map(Arc::new)))
            }
        });
        let (counters, sweep, dead, fields) =
            try_join4(view.get(&counters_key), view.get(&sweep_key), dead(view, keys), try_join_all(fields)).await?;
        let counters = counters.map(|value| Counters::decode(&counters_key, &value)).transpose()?.unwrap_or_default();
        let sweep = sweep.map(|value| Sweep::decode(&sweep_key, &value)).transpose()?.unwrap_or_default();
        let (mut tables, mut calibrations) = (BTreeMap::new(), BTreeMap::new());
        for (field, table, calibration) in fields {
            calibrations.extend(calibration.map(|calibration| (field.clone(), calibration)));
            tables.insert(field, table);
        }
        Ok(Self {
            config,
            counters,
            dead,
            sweep,
            cycle: None,
            tables,
            calibrations,
            tails: BTreeMap::new(),
            drained_by_commits: 0,
            forgotten_to: 0,
            cache,
        })
    }

    /// The number under which a field of vectors is cached.
    pub(crate) fn field_number(&self, name: &str) -> u16 {
        self.config.schema.vectors.keys().position(|own| own == name).unwrap_or(usize::MAX) as u16
    }

    /// Bytes that it takes in memory, about, without what is cached.
    pub(crate) fn size_bytes(&self) -> u64 {
        /// What a cell takes in a table and in its place, about.
        const CELL: usize = 96;
        let cells: usize = self.tables.values().map(|table| table.cells.len() * CELL).sum();
        let doomed = self.cycle.as_ref().map_or(0, |cycle| cycle.doomed.size_bytes());
        let tails = self.tails.values().flat_map(Tail::blocks).map(|block| block.size_bytes());
        (self.dead.size_bytes() + doomed + cells + tails.sum::<usize>()) as u64
    }

    /// Ids that are in no cell yet, dead ones among them.
    pub(crate) fn tail_rows(&self, field: &str) -> u64 {
        let drained_to = self.tables.get(field).map_or(0, |table| table.drained_to);
        self.counters.next_id.saturating_sub(drained_to)
    }

    /// So many ids in no cell are worth a piece of maintenance: every search scans them exactly, so of long vectors fewer.
    pub(crate) fn waiting_rows(&self, field: &str) -> u64 {
        /// What a search scans in about a tenth of a millisecond.
        const BYTES: u64 = 1 << 20;
        let dims = self.config.schema.vectors.get(field).map_or(1, |field| u64::from(field.dims));
        u64::from(self.config.tail_rows).min((BYTES / (dims * 4).max(1)).max(16))
    }

    pub(crate) fn table(&self, field: &str) -> Arc<Table> {
        self.tables.get(field).cloned().unwrap_or_default()
    }
}

async fn dead(view: &View, keys: Keys) -> Result<IdSet> {
    let mut dead = IdSet::default();
    let mut rows = view.scan(keys.all_dead(), Access::Bulk, Order::Ascending).await?;
    while let Some(row) = rows.next().await? {
        if let Key::Dead(chunk) = Key::decode(&row.key)? {
            dead.add_bitmap(chunk, &record::decode_bitmap(&row.key, &row.value)?);
        }
    }
    Ok(dead)
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
        filter.check(&self.state.config.schema)?;
        Ok(Bitmaps::new(self).evaluate(filter).await?.without(&self.state.dead))
    }

    /// Every id that was given out, but for those that are in no index any more.
    pub(crate) async fn everything(self) -> Result<IdSet> {
        let all = IdSet::range(0..self.state.counters.next_id);
        // Before the first sweep has ended there are none.
        if self.state.sweep.pieces == 0 {
            return Ok(all);
        }
        let place = Place::Gone { swept: self.state.sweep.pieces };
        if let Some(Item::Set(gone)) = self.state.cache.get(&place) {
            return Ok(all.without(&gone));
        }
        let mut gone = IdSet::default();
        let mut rows = self.view.scan(self.keys.all_gone(), Access::Bulk, Order::Ascending).await?;
        while let Some(row) = rows.next().await? {
            if let Key::Gone(chunk) = Key::decode(&row.key)? {
                gone.add_bitmap(chunk, &record::decode_bitmap(&row.key, &row.value)?);
            }
        }
        let all = all.without(&gone);
        self.state.cache.put(place, Item::Set(Arc::new(gone)));
        Ok(all)
    }

    /// A document that an index or an id row says is there.
    pub(crate) async fn stored(self, id: u64) -> Result<Arc<Stored>> {
        let place = Place::Document { id };
        if let Some(Item::Document(stored)) = self.state.cache.get(&place) {
            return Ok(stored);
        }
        let missing = |key: &[u8]| Error::corrupt_at(key, "document is missing");
        let (page, low) = page::split(id, page::DOCUMENTS);
        let mut key = self.keys.docs(page);
        let found = self.view.get(&key).await?.ok_or_else(|| missing(&key))?;
        let mut value = found.slice_ref(page::find(&key, &found, low)?.ok_or_else(|| missing(&key))?);
        if value.is_empty() {
            key = self.keys.doc(id);
            value = self.view.get(&key).await?.ok_or_else(|| missing(&key))?;
        }
        let stored = Arc::new(Stored::decode(&key, &value)?);
        self.state.cache.put(place, Item::Document(Arc::clone(&stored)));
        Ok(stored)
    }

    /// The internal id of a document.
    pub(crate) async fn find(self, external: &[u8]) -> Result<Option<u64>> {
        let key = self.keys.id(external);
        self.view.get(&key).await?.map(|value| record::decode_id(&key, &value)).transpose()
    }

    /// A vector as it is stored, if there is one, and the key of its page.
    pub(crate) async fn vector_bytes(self, name: &str, field: VectorField, id: u64) -> Result<(Bytes, Option<Bytes>)> {
        let (page, low) = page::split(id, field.page_ids());
        let key = self.keys.vec_page(name, page);
        let Some(value) = self.view.get(&key).await? else { return Ok((key, None)) };
        let found = page::find(&key, &value, low)?.map(|bytes| value.slice_ref(bytes));
        Ok((key, found))
    }

    /// A vector that is in memory, as its metric scores it.
    pub(crate) fn held_vector(self, number: u16, id: u64) -> Option<Arc<[f32]>> {
        match self.state.cache.get(&Place::Vector { field: number, id }) {
            Some(Item::Vector(vector)) => Some(vector),
            _ => None,
        }
    }

    pub(crate) fn hold_vector(self, number: u16, id: u64, vector: Arc<[f32]>) {
        self.state.cache.put(Place::Vector { field: number, id }, Item::Vector(vector));
    }

    /// Several vectors, in the order of their ids, as their metric scores them; none where a document has none in this field.
    pub(crate) async fn some_vectors(
        self,
        name: &str,
        field: VectorField,
        ids: &[u64],
    ) -> Result<Vec<Option<Arc<[f32]>>>> {
        /// Pages that are asked of the store at a time.
        const AT_ONCE: usize = 64;
        let number = self.state.field_number(name);
        let mut found: Vec<Option<Arc<[f32]>>> = ids.iter().map(|id| self.held_vector(number, *id)).collect();
        let mut missing: BTreeMap<u64, Vec<(usize, u8)>> = BTreeMap::new();
        for (at, id) in ids.iter().enumerate().filter(|(at, _)| found.get(*at).is_some_and(Option::is_none)) {
            let (page, low) = page::split(*id, field.page_ids());
            missing.entry(page).or_default().push((at, low));
        }
        let pages: Vec<_> = missing.into_iter().collect();
        for some in pages.chunks(AT_ONCE) {
            let read = some.iter().map(|(page, of)| self.vectors_of_page(name, field, *page, of));
            for (at, vector) in try_join_all(read).await?.into_iter().flatten() {
                if let (Some(place), Some(id)) = (found.get_mut(at), ids.get(at)) {
                    self.hold_vector(number, *id, Arc::clone(&vector));
                    *place = Some(vector);
                }
            }
        }
        Ok(found)
    }

    /// The vectors of some places of a page, each with what its place is called.
    async fn vectors_of_page(
        self,
        name: &str,
        field: VectorField,
        page: u64,
        of: &[(usize, u8)],
    ) -> Result<Vec<(usize, Arc<[f32]>)>> {
        let key = self.keys.vec_page(name, page);
        let Some(value) = self.view.get(&key).await? else { return Ok(Vec::new()) };
        let mut vectors = Vec::with_capacity(of.len());
        for (at, low) in of {
            if let Some(bytes) = page::find(&key, &value, *low)? {
                let mut vector = Vec::with_capacity(field.dims as usize);
                push_scored(&key, bytes, field, &mut vector)?;
                vectors.push((*at, vector.into()));
            }
        }
        Ok(vectors)
    }

    /// Several vectors that must be there.
    pub(crate) async fn scored_vectors(self, name: &str, field: VectorField, ids: &[u64]) -> Result<Vec<Arc<[f32]>>> {
        let all: Option<Vec<_>> = self.some_vectors(name, field, ids).await?.into_iter().collect();
        all.ok_or_else(|| Error::corrupt_at(&self.keys.table(name), "a cell names a vector that is missing"))
    }

    /// The document with the vectors that are named.
    pub(crate) async fn document(self, stored: Stored, id: u64) -> Result<Document> {
        let mut vectors = BTreeMap::new();
        for name in &stored.vectors {
            let field = self.state.config.schema.vector_field(name)?;
            let (key, value) = self.vector_bytes(name, field, id).await?;
            let value = value.ok_or_else(|| Error::corrupt_at(&key, "vector is missing"))?;
            let mut components = Vec::with_capacity(field.dims as usize);
            vector::decode(&key, &value, field.dims, &mut components)?;
            vectors.insert(name.clone(), components);
        }
        Ok(Document { vectors, ..stored.document() })
    }

    /// A cell that is in memory.
    pub(crate) fn held_cell(self, number: u16, cell: u32, changed: u64) -> Option<Arc<Cell>> {
        match self.state.cache.get(&Place::Cell { field: number, cell, changed }) {
            Some(Item::Cell(cell)) => Some(cell),
            _ => None,
        }
    }

    /// A cell of a field.
    pub(crate) async fn cell(self, field: &str, number: u32, changed: u64) -> Result<Arc<Cell>> {
        let place = Place::Cell { field: self.state.field_number(field), cell: number, changed };
        if let Some(Item::Cell(cell)) = self.state.cache.get(&place) {
            return Ok(cell);
        }
        let key = self.keys.cell(field, number);
        let cell = Arc::new(match self.view.get(&key).await? {
            Some(value) => Cell::decode(&key, &value)?,
            None => Cell::default(),
        });
        self.state.cache.put(place, Item::Cell(Arc::clone(&cell)));
        Ok(cell)
    }

    /// Several cells of a field, each with the epoch that changed it last. Those that are not in memory are read in few
    /// requests: neighbours of the query have neighbouring numbers, so what lies between two of them is read along.
    pub(crate) async fn cells(self, field: &str, wanted: &[(u32, u64)]) -> Result<Vec<Arc<Cell>>> {
        let number = self.state.field_number(field);
        let mut found: Vec<Option<Arc<Cell>>> =
            wanted.iter().map(|(cell, changed)| self.held_cell(number, *cell, *changed)).collect();
        let missing: BTreeMap<u32, usize> = (0..wanted.len())
            .filter(|at| found.get(*at).is_some_and(Option::is_none))
            .filter_map(|at| wanted.get(at).map(|(cell, _)| (*cell, at)))
            .collect();
        let table = self.state.table(field);
        let dims = self.state.config.schema.vector_field(field)?.dims as usize;
        let row_bytes = code_size(self.state.config.code_bits, dims) as u64 + ROW_BYTES;
        let mut before = None;
        let sized = |cell: &u32| {
            let from = before.replace(*cell).map_or(*cell, |before| before + 1);
            let rows: u64 = table.cells.range(from..*cell).map(|(_, info)| info.rows).sum();
            let own = table.cells.get(cell).map_or(0, |info| info.rows);
            Wanted { cell: *cell, size: own * row_bytes, between: rows * row_bytes }
        };
        let runs = runs(&missing.keys().map(sized).collect::<Vec<_>>());
        let read = runs.into_iter().map(|(first, last)| self.run_of_cells(field, first, last, &missing));
        for (at, cell) in try_join_all(read).await?.into_iter().flatten() {
            if let (Some(place), Some((number_of, changed))) = (found.get_mut(at), wanted.get(at)) {
                let item = Item::Cell(Arc::clone(&cell));
                self.state.cache.put(Place::Cell { field: number, cell: *number_of, changed: *changed }, item);
                *place = Some(cell);
            }
        }
        Ok(found.into_iter().map(Option::unwrap_or_default).collect())
    }

    async fn run_of_cells(
        self,
        field: &str,
        first: u32,
        last: u32,
        wanted: &BTreeMap<u32, usize>,
    ) -> Result<Vec<(usize, Arc<Cell>)>> {
        let parts = self.view.parts(self.keys.cells(field, first, last));
        let read = parts.into_iter().map(|range| async move {
            let mut found = Vec::new();
            let mut rows = self.view.scan(range, Access::Bulk, Order::Ascending).await?;
            while let Some(row) = rows.next().await? {
                if let Key::Cell { cell, .. } = Key::decode(&row.key)?
                    && let Some(at) = wanted.get(&cell)
                {
                    found.push((*at, Arc::new(Cell::decode(&row.key, &row.value)?)));
                }
            }
            Ok::<_, Error>(found)
        });
        Ok(try_join_all(read).await?.concat())
    }

    /// All vectors of a field that are in no cell, dead ones among them.
    pub(crate) async fn tail(self, name: &str, field: VectorField) -> Result<Vec<Arc<Block>>> {
        let from = self.state.table(name).drained_to;
        let (mut blocks, held_from) = match self.state.tails.get(name) {
            Some(tail) => (tail.blocks().to_vec(), tail.from()),
            None => (Vec::new(), self.state.counters.next_id),
        };
        if from < held_from {
            let place = Place::Tail { field: self.state.field_number(name), from, to: held_from };
            let older = match self.state.cache.get(&place) {
                Some(Item::Tail(block)) => block,
                _ => {
                    let block = Arc::new(self.scan_block(name, field, (from, held_from), usize::MAX).await?);
                    self.state.cache.put(place, Item::Tail(Arc::clone(&block)));
                    block
                }
            };
            blocks.insert(0, older);
        }
        Ok(blocks)
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
