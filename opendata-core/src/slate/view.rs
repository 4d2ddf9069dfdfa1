//! A view: one instant over everything in a slate.
//!
//! The same type reads from the writer (a snapshot and each system's published state), from a checkpoint,
//! and from another process. Only the writer's views carry states; answers never depend on them.

use std::any::Any;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use slatedb::config::{ReadOptions, ScanOptions};
use slatedb::{DbIterator, DbReader, DbSnapshot, IterationOrder};

use super::caches::Caches;
use super::reader::EngineReader;
use super::registry::{Address, Ancestor, Instance, Registry};
use super::{Handle, SlateId};
use crate::error::{Error, Result};
use crate::key::{InstanceId, KeyRange, Prefix, SegmentId};
use crate::system::{DataSystem, StateOf};
use crate::time::Position;

/// Where a view reads from.
#[derive(Clone)]
pub(crate) enum Source {
    Snapshot(Arc<DbSnapshot>),
    Reader(Arc<EngineReader>),
}

pub(crate) type AnyState = Arc<dyn Any + Send + Sync>;

pub(crate) struct ViewInner {
    pub(crate) source: Source,
    pub(crate) position: Position,
    pub(crate) registry: Arc<Registry>,
    pub(crate) states: BTreeMap<Address, AnyState>,
    pub(crate) caches: Arc<Caches>,
    /// Held for as long as anyone looks; nothing reads it.
    #[expect(dead_code, reason = "dropping it is what it is for")]
    pub(crate) lease: Option<Lease>,
}

/// One instant over all instances of a slate. Cheap to clone; holds old versions of rows alive while it lives.
#[derive(Clone)]
pub struct View(pub(crate) Arc<ViewInner>);

/// How a scan reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A few neighbouring rows: one block at a time, kept in the cache.
    Point,
    /// A long run of rows: read ahead in large pieces that do not displace the cache.
    Bulk,
    /// A run of rows that will be read again soon: read ahead, and kept in the cache.
    Warm,
}

/// The direction of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// From the lowest key to the highest.
    #[default]
    Ascending,
    /// From the highest key to the lowest.
    Descending,
}

/// A row of a slate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The whole key, with its prefix.
    pub key: Bytes,
    /// The value. It may be a slice of a larger block: copy what you keep for long.
    pub value: Bytes,
    /// The commit that wrote it last.
    pub position: Position,
}

impl View {
    /// The position this view shows: everything committed up to it, and nothing behind it.
    #[must_use]
    pub fn position(&self) -> Position {
        self.0.position
    }

    /// The slate's id.
    #[must_use]
    pub fn slate_id(&self) -> SlateId {
        self.0.registry.slate_id
    }

    /// Where the slate was cloned from, nearest ancestor first; empty for a slate of its own.
    #[must_use]
    pub fn lineage(&self) -> &[Ancestor] {
        &self.0.registry.lineage
    }

    /// The instances of the slate at this position, by name.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.0.registry.instances()
    }

    /// Reads one instance through its handle. A handle of a slate that this one was cloned from is good as well.
    ///
    /// # Errors
    /// `Invalid` if the handle belongs to another slate, `NotFound` if the instance is not in this one.
    pub fn on<S: DataSystem>(&self, handle: &Handle<S>) -> Result<S::Reader> {
        let registry = &self.0.registry;
        let known = registry.slate_id == handle.slate_id()
            || registry.lineage.iter().any(|ancestor| ancestor.slate_id == handle.slate_id());
        if !known {
            return Err(Error::invalid(format!("the handle belongs to another slate, name={}", handle.name())));
        }
        let instance = registry
            .at(handle.address())
            .ok_or_else(|| Error::not_found(format!("no such instance at this view, name={}", handle.name())))?;
        instance.check_system::<S>()?;
        self.instance_view(instance).map(S::reader)
    }

    /// Reads one instance by its name.
    ///
    /// # Errors
    /// `NotFound` if there is no such instance, `Invalid` if it is one of another system.
    pub fn get_reader<S: DataSystem>(&self, name: &str) -> Result<S::Reader> {
        self.instance::<S>(name).map(S::reader)
    }

    /// One instance of this view, for code that implements a system.
    ///
    /// # Errors
    /// Those of [`get_reader`](Self::get_reader).
    pub fn instance<S: DataSystem>(&self, name: &str) -> Result<InstanceView<S>> {
        let instance = self.0.registry.find(name)?;
        instance.check_system::<S>()?;
        self.instance_view(instance)
    }

    pub(crate) fn instance_view<S: DataSystem>(&self, instance: &Arc<Instance>) -> Result<InstanceView<S>> {
        let state = match self.0.states.get(&instance.address()) {
            Some(state) => Some(
                Arc::clone(state)
                    .downcast::<StateOf<S>>()
                    .map_err(|_| Error::invalid("instance belongs to another system"))?,
            ),
            None => None,
        };
        let config = instance.config::<S>()?;
        Ok(InstanceView { view: self.clone(), instance: Arc::clone(instance), config, state, system: PhantomData })
    }

    /// One value.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let value = match &self.0.source {
            Source::Snapshot(source) => source.get_with_options(key, &ReadOptions::default()).await,
            Source::Reader(source) => get_at_once(source.get()?, key).await,
        };
        value.map_err(|error| Error::from(error).context(format_args!("read key {}", crate::Hex(key))))
    }

    /// The rows of a range.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn scan(&self, range: KeyRange, access: Access, order: Order) -> Result<Rows> {
        if is_empty(&range) {
            return Ok(Rows { rows: None });
        }
        let options = scan_options(access, order);
        let rows = match &self.0.source {
            Source::Snapshot(source) => source.scan_with_options(range, &options).await,
            Source::Reader(source) => source.get()?.scan_with_options(range, &options).await,
        };
        Ok(Rows { rows: Some(rows?) })
    }

    /// A range in parts, in order, none of which reaches from one sorted file of a run into the next: scans of them at once read from
    /// each file in the same round of requests, where one scan goes to the next file when it is through with the one before.
    /// Only what is read from another process is far away: in the writer's a range is one part.
    #[must_use]
    pub fn parts(&self, range: KeyRange) -> Vec<KeyRange> {
        let mut begins = match &self.0.source {
            Source::Snapshot(_) => Vec::new(),
            Source::Reader(source) => source.get().map(|reader| begins_of_files(reader, &range)).unwrap_or_default(),
        };
        begins.sort_unstable();
        begins.dedup();
        let mut parts = Vec::with_capacity(begins.len() + 1);
        let mut start = range.start;
        for begin in begins {
            parts.push(KeyRange { start: start.clone(), end: Bound::Excluded(begin.clone()) });
            start = Bound::Included(begin);
        }
        parts.push(KeyRange { start, end: range.end });
        parts
    }

    /// The rows whose keys begin with `prefix`, from the key `prefix ++ from` on (or, descending, down to
    /// it). Files whose Bloom filter does not know the prefix are skipped, see [`DataSystem::filter_prefix_len`].
    ///
    /// # Errors
    /// What the store returned.
    pub async fn scan_prefix(&self, prefix: &[u8], from: &[u8], access: Access, order: Order) -> Result<Rows> {
        let options = scan_options(access, order);
        let rows = match &self.0.source {
            Source::Snapshot(source) => source.scan_prefix_with_options(prefix, from.., &options).await,
            Source::Reader(source) => source.get()?.scan_prefix_with_options(prefix, from.., &options).await,
        };
        Ok(Rows { rows: Some(rows?) })
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("position", &self.0.position).finish_non_exhaustive()
    }
}

/// A get of the engine, with a filter of keys as it has. But where a row begins a block, that of the engine reads the block before it
/// first, and only then its own: two requests, one after the other, to a store that may be far away. A scan of one key reads both together.
async fn get_at_once(source: &DbReader, key: &[u8]) -> Result<Option<Bytes>, slatedb::Error> {
    /// Of one table; the blocks that may hold one key are two, or as many as one version more of it needs.
    const READ_AHEAD: usize = 2 * 1024 * 1024;
    let options = ScanOptions { read_ahead_bytes: READ_AHEAD, cache_blocks: true, ..ScanOptions::default() };
    let mut rows = source.scan_with_options(key..=key, &options).await?;
    Ok(rows.next().await?.map(|row| row.value))
}

/// The first keys of the files that begin within a range.
fn begins_of_files(reader: &DbReader, range: &KeyRange) -> Vec<Bytes> {
    let manifest = reader.manifest();
    let files = manifest.segments().iter().flat_map(|segment| segment.compacted()).flat_map(|run| run.sst_views());
    let begins = files.filter_map(|view| view.sst.info.first_entry.clone());
    let is_behind_start = |key: &Bytes| match &range.start {
        Bound::Included(start) | Bound::Excluded(start) => key > start,
        Bound::Unbounded => true,
    };
    begins.filter(|key| is_behind_start(key) && range.contains(key)).collect()
}

fn is_empty(range: &KeyRange) -> bool {
    match (&range.start, &range.end) {
        (Bound::Included(start), Bound::Excluded(end)) => start >= end,
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Excluded(start), Bound::Excluded(end) | Bound::Included(end)) => start >= end,
        _ => false,
    }
}

fn scan_options(access: Access, order: Order) -> ScanOptions {
    let order = match order {
        Order::Ascending => IterationOrder::Ascending,
        Order::Descending => IterationOrder::Descending,
    };
    match access {
        Access::Point => ScanOptions { read_ahead_bytes: 1, cache_blocks: true, order, ..ScanOptions::default() },
        Access::Bulk | Access::Warm => ScanOptions {
            read_ahead_bytes: 2 * 1024 * 1024,
            max_fetch_tasks: 4,
            cache_blocks: access == Access::Warm,
            order,
            ..ScanOptions::default()
        },
    }
}

/// The rows of a scan, in key order.
pub struct Rows {
    rows: Option<DbIterator>,
}

impl Rows {
    /// The next row.
    ///
    /// # Errors
    /// What the store returned. After an error the scan cannot go on.
    pub async fn next(&mut self) -> Result<Option<Row>> {
        let Some(rows) = &mut self.rows else { return Ok(None) };
        let row = rows.next().await?;
        Ok(row.map(|row| Row { key: row.key, value: row.value, position: Position(row.seq) }))
    }

    /// Skips to the first row whose key is not below `key` (ascending scans only).
    ///
    /// # Errors
    /// What the store returned, or `Invalid` if the key is outside the scanned range or already passed.
    pub async fn seek(&mut self, key: &[u8]) -> Result<()> {
        if let Some(rows) = &mut self.rows {
            rows.seek(key).await?;
        }
        Ok(())
    }
}

/// One instance at one view, as the code of its system sees it.
pub struct InstanceView<S: DataSystem> {
    view: View,
    instance: Arc<Instance>,
    config: Arc<S::Config>,
    state: Option<Arc<StateOf<S>>>,
    system: PhantomData<fn() -> S>,
}

impl<S: DataSystem> Clone for InstanceView<S> {
    fn clone(&self) -> Self {
        Self {
            view: self.view.clone(),
            instance: Arc::clone(&self.instance),
            config: Arc::clone(&self.config),
            state: self.state.clone(),
            system: PhantomData,
        }
    }
}

impl<S: DataSystem> InstanceView<S> {
    /// The view beneath.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The position shown.
    #[must_use]
    pub fn position(&self) -> Position {
        self.view.position()
    }

    /// The instance's settings.
    #[must_use]
    pub fn config(&self) -> &S::Config {
        &self.config
    }

    /// The instance's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.instance.name
    }

    /// The instance's id.
    #[must_use]
    pub fn id(&self) -> InstanceId {
        self.instance.id
    }

    /// The prefix of this instance's keys in a segment.
    #[must_use]
    pub fn prefix(&self, segment: SegmentId) -> Prefix {
        self.instance.prefix(segment)
    }

    /// The writer's published state at this very position; none on a checkpoint or in another process.
    #[must_use]
    pub fn state(&self) -> Option<&Arc<StateOf<S>>> {
        self.state.as_ref()
    }

    /// What this instance's code keeps between the views of this opening of the slate; of each type there is one.
    ///
    /// What is kept must be right for views at any position, older ones included. It is memory that may be dropped: keep
    /// it bounded.
    #[must_use]
    pub fn cache<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        self.view.0.caches.get(self.instance.address())
    }

    /// The same instance without the writer's memory, as another process would see it.
    #[must_use]
    pub fn without_state(mut self) -> Self {
        self.state = None;
        self
    }

    /// One value.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.view.get(key).await
    }

    /// The rows of a range, in key order.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn scan(&self, range: KeyRange, access: Access) -> Result<Rows> {
        self.view.scan(range, access, Order::Ascending).await
    }

    /// The rows of a range, last key first.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn scan_backwards(&self, range: KeyRange, access: Access) -> Result<Rows> {
        self.view.scan(range, access, Order::Descending).await
    }

    /// The rows behind a filtered prefix; see [`View::scan_prefix`].
    ///
    /// # Errors
    /// What the store returned.
    pub async fn scan_prefix(&self, prefix: &[u8], from: &[u8], access: Access, order: Order) -> Result<Rows> {
        self.view.scan_prefix(prefix, from, access, order).await
    }
}

/// Knows the oldest view that is still looked at, so that retention never takes files from under a reader.
#[derive(Debug, Default)]
pub(crate) struct Leases(Mutex<BTreeMap<Position, usize>>);

impl Leases {
    pub(crate) fn take(self: &Arc<Self>, position: Position) -> Lease {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(position).or_default() += 1;
        Lease { leases: Arc::clone(self), position }
    }

    pub(crate) fn oldest(&self) -> Option<Position> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().next().copied()
    }
}

#[derive(Debug)]
pub(crate) struct Lease {
    leases: Arc<Leases>,
    position: Position,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = self.leases.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.position) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.position);
            }
        }
    }
}
