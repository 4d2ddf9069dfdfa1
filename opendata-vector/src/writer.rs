//! The writer: turns operations into rows.
//!
//! Every write of a document gets a new internal id and marks the old one dead, so that no index is ever read or
//! searched for old entries on the way in. A patch is a read of the document and a write of it changed; vectors
//! that it does not change keep their stored bytes.
//!
//! What several transactions of a group add to one bitmap or posting list is gathered and written once, when the group ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use opendata_core::env::Env;
use opendata_core::key::SegmentId;
use opendata_core::slate::{Access, ApplyContext, InstanceView, Order, PrepareContext};
use opendata_core::{Position, Result, SystemWriter};

use crate::cell::calibration::Calibration;
use crate::cell::table::{CellInfo, Clustered, Rebuild, Table};
use crate::cell::{Cell, Frame};
use crate::idset::{self, chunk::Chunk};
use crate::key::{Key, Keys};
use crate::maintain::{self, Cycle, IndexJob, Step, Upkeep};
use crate::op::{Op, Receipt};
use crate::postings;
use crate::record::{self, Counters, Stored, Sweep, column, page};
use crate::sparse::Weight;
use crate::state::tail::Tail;
use crate::state::{Cache, Item, Place, Snapshot, State};
use crate::system::Vector;
use crate::text::{self, Posting};

mod draft;
mod group;

use draft::Draft;
use group::{Group, change};

/// The writer of a vector instance.
pub struct Writer {
    keys: Keys,
    published: Arc<State>,
    /// As `published`, and what was applied since.
    counters: Counters,
    dead: idset::IdSet,
    sweep: Sweep,
    cycle: Option<Arc<Cycle>>,
    tables: BTreeMap<String, Arc<Table>>,
    calibrations: BTreeMap<String, Arc<Calibration>>,
    tails: BTreeMap<String, Tail>,
    drained_by_commits: u64,
    forgotten_to: u64,
    /// No document has a greater id, so that nothing has to be looked up for one that comes behind.
    last_id: Bytes,
    group: Group,
    /// Where the keys and values of ids are written one behind the other: each is a slice of it.
    buffer: BytesMut,
}

/// Bytes that are allocated at a time for keys and values of ids.
const BUFFER_BYTES: usize = 1 << 16;

/// A checked operation.
pub struct Plan(Checked);

enum Checked {
    Documents(Changes),
    Upkeep(Upkeep),
}

/// What an operation comes to.
#[derive(Default)]
struct Changes {
    writes: Vec<Write>,
    kills: Vec<Kill>,
    /// Ids that were given to versions of documents which the same operation replaced.
    unused: Vec<u64>,
    next_id: u64,
    receipt: Receipt,
    /// Pieces of full tails that go into cells first.
    drains: Vec<IndexJob>,
}

struct Write {
    id: u64,
    stored: Stored,
    words: Vec<(String, Vec<String>)>,
    vectors: Vec<WrittenVector>,
}

struct WrittenVector {
    field: String,
    /// As it is stored.
    value: Bytes,
    /// Its components, where they are stored as they are.
    components: Option<Vec<f32>>,
}

struct Kill {
    id: u64,
    stored: Stored,
    /// Nothing takes its place.
    gone: bool,
}

impl Writer {
    pub(crate) async fn recover(view: InstanceView<Vector>, _env: Env) -> Result<Self> {
        let keys = Keys(view.prefix(SegmentId::CONTROL));
        let config = Arc::new(view.config().clone());
        let cache = Arc::new(Cache::new(config.cache_bytes));
        let mut state = State::load(view.view(), keys, config, cache, &BTreeSet::new()).await?;
        let mut tails = BTreeMap::new();
        for (name, field) in &state.config.schema.vectors {
            let from = state.table(name).drained_to;
            let mut tail = Tail::new(from);
            let snapshot = Snapshot { view: view.view(), keys, state: &state };
            tail.push(snapshot.scan_block(name, *field, (from, state.counters.next_id), usize::MAX).await?);
            tail.trim(from, state.config.tail_bytes);
            tails.insert(name.clone(), tail);
        }
        state.tails = tails.clone();
        let mut ids = view.view().scan(keys.ids(), Access::Point, Order::Descending).await?;
        let last_id = match ids.next().await? {
            Some(row) => match Key::decode(&row.key)? {
                Key::Id(id) => id,
                _ => Bytes::new(),
            },
            None => Bytes::new(),
        };
        Ok(Self {
            last_id,
            keys,
            counters: state.counters.clone(),
            dead: state.dead.clone(),
            sweep: state.sweep.clone(),
            cycle: None,
            tables: state.tables.clone(),
            calibrations: state.calibrations.clone(),
            tails,
            drained_by_commits: 0,
            forgotten_to: 0,
            group: Group::default(),
            buffer: BytesMut::with_capacity(BUFFER_BYTES),
            published: Arc::new(state),
        })
    }

    fn write(&mut self, write: Write, cx: &mut ApplyContext<'_>) {
        let Write { id, stored, words, vectors } = write;
        let (chunk, low) = idset::split(id);
        let key = self.keys.id_in(&stored.external, &mut self.buffer);
        cx.put_visible(key, record::encode_id(id, &mut self.buffer));
        if stored.external > self.last_id {
            self.last_id = stored.external.clone();
        }
        let encoded = stored.encode();
        if Stored::is_large(&encoded) {
            cx.put(self.keys.doc(id), encoded);
            self.group.documents.insert(id, Some(Bytes::new()));
        } else {
            self.group.documents.insert(id, Some(encoded));
        }
        for vector in vectors {
            self.group.push(id, &vector, &self.published.config.schema);
            change(&mut self.group.vectors, &vector.field, |all| _ = all.insert(id, Some(vector.value)));
        }
        for (name, value) in &stored.attributes {
            change(&mut self.group.has, name, |has| _ = has.entry(chunk).or_default().insert(low.into()));
            for scalar in value.scalars() {
                if let Some(number) = column::ordered(&scalar) {
                    change(&mut self.group.numbers, name, |all| all.entry(chunk).or_default().push((number, low)));
                } else {
                    self.group.bitmaps.entry(self.keys.attr(name, &scalar, chunk)).or_default().insert(low.into());
                }
            }
        }
        for (field, words) in words {
            for (word, occurrences) in text::occurrences(&words) {
                let posting = Posting { low, occurrences, words: words.len() as u64 };
                self.group.terms.entry(self.keys.term(&field, word, chunk)).or_default().push(posting);
            }
        }
        for (field, entries) in &stored.sparse {
            for (dimension, weight) in entries {
                let key = self.keys.sparse(field, *dimension, chunk);
                self.group.sparse.entry(key).or_default().push(Weight { low, weight: *weight });
            }
        }
        self.counters.add(&stored);
        self.group.recent.insert(id, stored);
    }

    fn kill(&mut self, kill: Kill, cx: &mut ApplyContext<'_>) {
        let Kill { id, stored, gone } = kill;
        self.mark_dead(id);
        if gone {
            cx.delete_visible(self.keys.id(&stored.external));
        }
        if Stored::is_large(&stored.encode()) {
            cx.delete(self.keys.doc(id));
        }
        self.group.documents.insert(id, None);
        for field in &stored.vectors {
            self.group.vectors.entry(field.clone()).or_default().insert(id, None);
        }
        self.counters.remove(&stored);
        self.group.recent.remove(&id);
    }

    fn mark_dead(&mut self, id: u64) {
        let (chunk, low) = idset::split(id);
        self.dead.insert(id);
        self.group.bitmaps.entry(self.keys.dead(chunk)).or_default().insert(low.into());
    }

    fn reindex(&mut self, job: IndexJob, cx: &mut ApplyContext<'_>) {
        let (keys, field) = (self.keys, &job.field);
        let (number, cache) = (self.published.field_number(field), Arc::clone(&self.published.cache));
        let table = Arc::make_mut(self.tables.entry(field.clone()).or_default());
        let changed = table.next_epoch();
        if !job.removed.is_empty() || !job.created.is_empty() {
            table.shape = changed;
        }
        let is_first = table.cells.is_empty();
        // What is written is what the next search reads. Older views ask for older epochs, which make room: they are read again.
        let let_go = |cell: u32, info: Option<CellInfo>| {
            let changed = info.map_or(0, |info| info.changed);
            cache.remove(&Place::Cell { field: number, cell, changed });
        };
        let hold = |cell: u32, content: Arc<Cell>| {
            cache.put(Place::Cell { field: number, cell, changed }, Item::Cell(content));
        };
        for cell in job.removed {
            let_go(cell, table.cells.remove(&cell));
            cx.delete(keys.centroid(field, cell));
            cx.delete(keys.cell(field, cell));
        }
        for (cell, centroid, content) in job.created {
            table.cells.insert(cell, CellInfo { rows: content.cell.rows() as u64, changed });
            table.next_cell = table.next_cell.max(cell + 1);
            cx.put(keys.centroid(field, cell), centroid);
            cx.put(keys.cell(field, cell), content.value);
            hold(cell, content.cell);
        }
        for (cell, content) in job.rewritten {
            let_go(cell, table.cells.insert(cell, CellInfo { rows: content.cell.rows() as u64, changed }));
            cx.put(keys.cell(field, cell), content.value);
            hold(cell, content.cell);
        }
        for (cell, content) in job.appended {
            let Some(info) = table.cells.get_mut(&cell) else { continue };
            let before = Place::Cell { field: number, cell, changed: info.changed };
            *info = CellInfo { rows: info.rows + content.cell.rows() as u64, changed };
            cx.merge(keys.cell(field, cell), content.value);
            if let Some(Item::Cell(held)) = cache.remove(&before) {
                let mut grown = Arc::unwrap_or_clone(held);
                content.cell.frames.iter().for_each(|frame| grown.push(Frame::clone(frame)));
                hold(cell, Arc::new(grown));
            }
        }
        table.drained_to = table.drained_to.max(job.drained_to);
        if is_first {
            table.clustered = Clustered { rows: table.rows(), drained_to: table.drained_to };
        }
        match job.rebuild {
            Step::None => {}
            Step::Begin { centroids } => {
                let fresh = centroids.iter().map(|(cell, _)| (*cell, CellInfo::default())).collect();
                table.rebuild = Some(Rebuild { fed_to: 0, cells: fresh });
                // What comes while they are filled is in them as well, but they were not made for it.
                let live = self.counters.vectors.get(field).copied().unwrap_or(0);
                table.clustered = Clustered { rows: live, drained_to: table.drained_to };
                for (cell, centroid) in centroids {
                    table.next_cell = table.next_cell.max(cell + 1);
                    cx.put(keys.centroid(field, cell), centroid);
                }
            }
            Step::Feed { fed_to, appended } => {
                let Some(rebuild) = &mut table.rebuild else { return };
                rebuild.fed_to = fed_to;
                for (cell, content) in appended {
                    let Some(info) = rebuild.cells.get_mut(&cell) else { continue };
                    *info = CellInfo { rows: info.rows + content.cell.rows() as u64, changed };
                    cx.merge(keys.cell(field, cell), content.value);
                }
            }
            Step::Finish => {
                let Some(rebuild) = table.rebuild.take() else { return };
                for (cell, info) in &table.cells {
                    let_go(*cell, Some(*info));
                    cx.delete(keys.centroid(field, *cell));
                    cx.delete(keys.cell(field, *cell));
                }
                let (full, empty): (BTreeMap<_, _>, BTreeMap<_, _>) =
                    rebuild.cells.into_iter().partition(|(_, info)| info.rows > 0);
                empty.keys().for_each(|cell| cx.delete(keys.centroid(field, *cell)));
                (table.cells, table.shape) = (full, changed);
                // It was measured on the cells that are gone.
                self.calibrations.remove(field);
                cx.delete(keys.calibration(field));
            }
        }
        cx.put(keys.table(field), table.encode());
        if let (Some(cycle), Some(purged)) = (&mut self.cycle, job.purged) {
            Arc::make_mut(cycle).purged = purged;
        }
    }

    /// From here on nothing but a row of its own says that these ids were given out.
    fn forget(&mut self, chunks: Vec<(u64, Chunk)>, cx: &mut ApplyContext<'_>) {
        let Some(mut cycle) = self.cycle.take().map(Arc::unwrap_or_clone) else { return };
        for (chunk, gone) in chunks {
            let doomed = cycle.doomed.chunk(chunk).cloned().unwrap_or_default();
            cycle.doomed.replace_chunk(chunk, Chunk::default());
            if matches!(gone, Chunk::All) {
                // As small as nothing, and spares looking for rows of the chunk.
                cx.delete(self.keys.gone(chunk));
                cycle.left += gone.len();
                self.dead.replace_chunk(chunk, gone);
            } else {
                cx.put(self.keys.gone(chunk), record::encode_bitmap(&gone.to_bitmap()));
                let left = self.dead.chunk(chunk).map(|dead| dead.without(&doomed));
                self.dead.replace_chunk(chunk, left.unwrap_or_default());
            }
            self.group.forgotten.insert(chunk);
            self.forgotten_to = self.forgotten_to.max((chunk + 1) * idset::CHUNK);
        }
        self.sweep.pieces += 1;
        if cycle.doomed.len() > 0 {
            self.cycle = Some(Arc::new(cycle));
        } else {
            self.sweep.next = None;
            self.sweep.dead = cycle.left;
        }
        cx.put(self.keys.sweep(), self.sweep.encode());
    }

    fn maintain(&mut self, upkeep: Upkeep, cx: &mut ApplyContext<'_>) {
        match upkeep {
            Upkeep::Index(job) => self.reindex(job, cx),
            Upkeep::Calibrate { field, calibration } => {
                cx.put(self.keys.calibration(&field), calibration.encode());
                self.calibrations.insert(field, Arc::new(calibration));
            }
            Upkeep::Forget { chunks, .. } => self.forget(chunks, cx),
            Upkeep::Sweep { next, rows, begins, .. } => {
                if let Some(cycle) = begins {
                    self.cycle = Some(Arc::new(cycle));
                }
                for (key, value) in rows {
                    match value {
                        Some(value) => cx.put(key, value),
                        None => cx.delete(key),
                    }
                }
                cx.put(self.keys.sweep(), next.encode());
                self.sweep = next;
            }
        }
    }
}

#[async_trait]
impl SystemWriter for Writer {
    type Op = Op;
    type Plan = Plan;
    type Receipt = Receipt;
    type State = State;

    async fn prepare(&mut self, op: Op, cx: &PrepareContext<'_>) -> Result<Plan> {
        if let Some(upkeep) = op.upkeep {
            upkeep.check(&self.tables, &self.sweep)?;
            return Ok(Plan(Checked::Upkeep(upkeep)));
        }
        let mut draft = Draft::new(self, cx);
        for (call, step) in op.steps.into_iter().enumerate() {
            match op.skips_invalid {
                true => draft.step_or_skip(call, step).await?,
                false => draft.step(step).await?,
            }
        }
        let mut changes = draft.finish()?;
        if !changes.writes.is_empty() {
            let snapshot = Snapshot { view: cx.view(), keys: self.keys, state: &self.published };
            let epoch = |tables: &BTreeMap<String, Arc<Table>>, name: &str| tables.get(name).map(|table| table.epoch);
            let is_current = |name: &str| epoch(&self.tables, name) == epoch(&self.published.tables, name);
            changes.drains = maintain::drain_full(snapshot, is_current).await?;
        }
        Ok(Plan(Checked::Documents(changes)))
    }

    fn apply(&mut self, plan: Plan, cx: &mut ApplyContext<'_>) -> Receipt {
        match plan.0 {
            Checked::Upkeep(upkeep) => {
                self.maintain(upkeep, cx);
                Receipt::default()
            }
            Checked::Documents(changes) => {
                self.drained_by_commits += changes.drains.len() as u64;
                changes.drains.into_iter().for_each(|job| self.reindex(job, cx));
                changes.kills.into_iter().for_each(|kill| self.kill(kill, cx));
                changes.unused.into_iter().for_each(|id| self.mark_dead(id));
                changes.writes.into_iter().for_each(|write| self.write(write, cx));
                self.counters.next_id = changes.next_id;
                changes.receipt
            }
        }
    }

    fn finish(&mut self, cx: &mut ApplyContext<'_>) {
        for chunk in std::mem::take(&mut self.group.forgotten) {
            // The whole of it, in place of what this group adds to it.
            let key = self.keys.dead(chunk);
            self.group.bitmaps.remove(&key);
            match self.dead.chunk(chunk) {
                Some(dead) => cx.put(key, record::encode_bitmap(&dead.to_bitmap())),
                None => cx.delete(key),
            }
        }
        for (page, value) in page::pages(&std::mem::take(&mut self.group.documents), page::DOCUMENTS) {
            cx.merge(self.keys.docs(page), value);
        }
        for (name, vectors) in std::mem::take(&mut self.group.vectors) {
            let page_ids = self.published.config.schema.vectors.get(&name).map_or(1, |field| field.page_ids());
            for (page, value) in page::pages(&vectors, page_ids) {
                cx.merge(self.keys.vec_page(&name, page), value);
            }
        }
        for (key, bitmap) in std::mem::take(&mut self.group.bitmaps) {
            cx.merge(key, record::encode_bitmap(&bitmap));
        }
        for (name, chunks) in std::mem::take(&mut self.group.has) {
            chunks.iter().for_each(|(chunk, ids)| cx.merge(self.keys.has(&name, *chunk), record::encode_bitmap(ids)));
        }
        for (name, chunks) in std::mem::take(&mut self.group.numbers) {
            for (chunk, numbers) in chunks {
                cx.merge(self.keys.num(&name, chunk), column::encode(numbers));
            }
        }
        for (key, postings) in std::mem::take(&mut self.group.terms) {
            cx.merge(key, text::encode(&postings));
        }
        for (key, weights) in std::mem::take(&mut self.group.sparse) {
            cx.merge(key, postings::encode(&weights));
        }
        if self.counters != self.published.counters {
            cx.put(self.keys.counters(), self.counters.encode());
        }
    }

    fn publish(&mut self, _position: Position) -> Arc<State> {
        self.group.recent.clear();
        for (field, block) in std::mem::take(&mut self.group.blocks) {
            self.tails.entry(field).or_default().push(block);
        }
        let config = Arc::clone(&self.published.config);
        for (field, tail) in &mut self.tails {
            let drained_to = self.tables.get(field).map_or(0, |table| table.drained_to);
            tail.trim(drained_to, config.tail_bytes);
        }
        self.published = Arc::new(State {
            config,
            counters: self.counters.clone(),
            dead: self.dead.clone(),
            sweep: self.sweep.clone(),
            cycle: self.cycle.clone(),
            tables: self.tables.clone(),
            calibrations: self.calibrations.clone(),
            tails: self.tails.clone(),
            drained_by_commits: self.drained_by_commits,
            forgotten_to: self.forgotten_to,
            cache: Arc::clone(&self.published.cache),
        });
        Arc::clone(&self.published)
    }
}
