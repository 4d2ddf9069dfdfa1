//! What queries have read before, decoded or as it was stored: kept between the views of one opening of a slate.
//!
//! Nothing is ever invalidated. Each thing says for what it is right, and is read again where that does not fit:
//! - Series are only ever added to a bucket and their ids are dense, so an index that was read when there were n series is
//!   right for any view with at most n of them, once the ids from the view's own number on are left out. A choice of
//!   series is right for exactly the number it was made with.
//! - Chunks are right for the [`Version`] they were read at.
//!
//! All of it is bounded by weight, which is about its bytes.

use std::hash::Hash;
use std::sync::Arc;

use bytes::Bytes;
use opendata_core::Position;
use opendata_core::key::SegmentId;
use quick_cache::sync::{Cache as Inner, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use roaring::RoaringBitmap;

use crate::head::Head;
use crate::matcher::Matcher;
use crate::record::deletion::Deletions;
use crate::record::forward::Entry;
use crate::state::Sealed;

/// The values of a label in order, with the series that have them.
pub(super) type Values = Vec<(Arc<str>, RoaringBitmap)>;

const MIB: u64 = 1 << 20;

/// What one instance remembers.
pub(crate) struct Cache {
    /// Posting lists by bucket, name and value.
    pub(super) postings: Weighted<(SegmentId, Arc<str>, Arc<str>), Stamped<RoaringBitmap>>,
    /// All values of a label, by bucket and name.
    pub(super) values: Weighted<(SegmentId, Arc<str>), Stamped<Values>>,
    /// The series that satisfy a list of matchers, by bucket.
    pub(super) selections: Weighted<(SegmentId, Arc<[Matcher]>), Stamped<Selection>>,
    /// Chunks by bucket, metric and window.
    pub(super) windows: Weighted<(SegmentId, u32, u8), Arc<Window>>,
    /// What only a view without the writer's memory has to read, by bucket.
    pub(super) stored: Weighted<SegmentId, Stored>,
    /// All buckets, for such views.
    pub(super) buckets: Weighted<(), (Position, Arc<Vec<SegmentId>>)>,
    /// All deletions that are not carried out, for such views.
    pub(super) deletions: Weighted<(), (Position, Arc<Deletions>)>,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            postings: Weighted::of(32 * MIB),
            values: Weighted::of(64 * MIB),
            selections: Weighted::of(64 * MIB),
            windows: Weighted::of(192 * MIB),
            stored: Weighted::of(128 * MIB),
            buckets: Weighted::of(MIB),
            deletions: Weighted::of(16 * MIB),
        }
    }
}

/// A cache that holds so many bytes.
pub(super) struct Weighted<K, V>(Inner<K, V, ByWeight>);

impl<K: Eq + Hash + Clone, V: Clone + Weigh> Weighted<K, V> {
    fn of(bytes: u64) -> Self {
        // One shard: a cache in shards refuses what is larger than a shard.
        let options = OptionsBuilder::new().shards(1).weight_capacity(bytes).estimated_items_capacity(1024).build();
        let hasher = DefaultHashBuilder::default();
        Self(match options {
            Ok(options) => Inner::with_options(options, ByWeight, hasher, DefaultLifecycle::default()),
            Err(_) => Inner::with_weighter(1024, bytes, ByWeight),
        })
    }

    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.0.get(key)
    }

    pub(super) fn put(&self, key: K, value: V) {
        self.0.insert(key, value);
    }
}

#[derive(Clone)]
struct ByWeight;

impl<K, V: Weigh> Weighter<K, V> for ByWeight {
    fn weight(&self, _: &K, value: &V) -> u64 {
        64 + value.bytes()
    }
}

/// About how many bytes a thing holds.
pub(super) trait Weigh {
    fn bytes(&self) -> u64;
}

/// Something that was read when a bucket had so many series.
pub(super) struct Stamped<T> {
    pub(super) series: u32,
    pub(super) bytes: u64,
    pub(super) what: Arc<T>,
}

impl<T> Clone for Stamped<T> {
    fn clone(&self) -> Self {
        Self { series: self.series, bytes: self.bytes, what: Arc::clone(&self.what) }
    }
}

impl<T> Weigh for Stamped<T> {
    fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What a bucket holds at a position, as far as it was asked for.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) position: Position,
    pub(super) series: Option<u32>,
    pub(super) head: Option<Arc<Head>>,
}

impl Weigh for Stored {
    fn bytes(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| 24 * head.samples)
    }
}

impl Weigh for (Position, Arc<Vec<SegmentId>>) {
    fn bytes(&self) -> u64 {
        4 * self.1.len() as u64
    }
}

impl Weigh for (Position, Arc<Deletions>) {
    fn bytes(&self) -> u64 {
        self.1.values().flat_map(|of_bucket| of_bucket.iter()).map(|one| 64 + one.ids.serialized_size() as u64).sum()
    }
}

/// The series of a bucket that satisfy a list of matchers.
#[derive(Default)]
pub(super) struct Selection {
    /// In the order of their ids.
    pub(super) series: Vec<(u32, Entry)>,
    /// The ids of each metric, in order.
    pub(super) metrics: Vec<(u32, Vec<u32>)>,
}

impl Selection {
    pub(super) fn of(series: Vec<(u32, Entry)>) -> Self {
        let mut pairs: Vec<(u32, u32)> = series.iter().map(|(id, entry)| (entry.metric, *id)).collect();
        pairs.sort_unstable();
        let metrics = pairs.chunk_by(|a, b| a.0 == b.0);
        let metrics = metrics
            .filter_map(|of_one| Some((of_one.first()?.0, of_one.iter().map(|(_, id)| *id).collect())))
            .collect();
        Self { series, metrics }
    }

    pub(super) fn bytes(&self) -> u64 {
        36 * self.series.len() as u64
    }
}

/// For which views chunks are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// For those that the writer published when it had changed the window's chunks so often.
    Written(u64),
    /// For those of another process at this position.
    At(Position),
}

/// The chunks of some series of one metric in one window: all there are from series `first` to `last`.
#[derive(Clone)]
pub(super) struct Window {
    pub(super) version: Version,
    pub(super) first: u32,
    pub(super) last: u32,
    rows: Arc<Rows>,
}

/// Rows by series, ascending. A series has several where some were sealed since it was read, the newest last.
#[derive(Clone, Default)]
struct Rows {
    ids: Vec<u32>,
    /// Which row is the first of each series, where any has several.
    firsts: Vec<u32>,
    /// Where each row ends.
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl Rows {
    fn push(&mut self, id: u32, row: &[u8]) {
        let place = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
        if self.ids.last() == Some(&id) {
            if self.firsts.is_empty() {
                self.firsts.extend(0..place(self.ids.len()));
            }
        } else {
            if !self.firsts.is_empty() {
                self.firsts.push(place(self.ends.len()));
            }
            self.ids.push(id);
        }
        self.bytes.extend_from_slice(row);
        self.ends.push(place(self.bytes.len()));
    }

    fn at(&self, row: usize) -> Option<&[u8]> {
        let end = *self.ends.get(row)? as usize;
        let start = row.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end as usize);
        self.bytes.get(start..end)
    }

    /// The rows of the series at a place.
    fn of(&self, place: usize) -> impl Iterator<Item = &[u8]> {
        let first = |place: usize| match self.firsts.is_empty() {
            true => place.min(self.ends.len()),
            false => self.firsts.get(place).map_or(self.ends.len(), |first| *first as usize),
        };
        (first(place)..first(place.saturating_add(1))).filter_map(|row| self.at(row))
    }

    /// The place of a series; behind all others if it has no row.
    fn place(&self, id: u32) -> usize {
        // Mostly every series of the range has rows: then the place follows from the id.
        let guess = self.ids.first().and_then(|first| id.checked_sub(*first)).map(|guess| guess as usize);
        match guess.filter(|guess| self.ids.get(*guess) == Some(&id)) {
            Some(guess) => guess,
            None => self.ids.binary_search(&id).unwrap_or(usize::MAX),
        }
    }
}

impl Window {
    pub(super) fn new(version: Version, first: u32, last: u32) -> Self {
        Self { version, first, last, rows: Arc::default() }
    }

    /// Whether it answers for these series.
    pub(super) fn covers(&self, first: u32, last: u32) -> bool {
        self.first <= first && last <= self.last
    }

    /// Adds the row of the next series. It is copied: what the store hands out is a slice of a whole block.
    pub(super) fn push(&mut self, id: u32, row: &[u8]) {
        Arc::make_mut(&mut self.rows).push(id, row);
    }

    /// The same at a later version, with the rows of one metric that were sealed since.
    pub(super) fn with(&self, sealed: &[Arc<Sealed>], metric: u32, version: Version) -> Self {
        let added = sealed.iter().flat_map(|sealed| sealed.rows(metric, (self.first, self.last)));
        let mut added: Vec<(u32, &Bytes)> = added.map(|((_, id), row)| (*id, row)).collect();
        if added.is_empty() {
            return Self { version, ..self.clone() };
        }
        // Of one series those that were sealed first stay first.
        added.sort_by_key(|(id, _)| *id);
        let mut added = added.into_iter().peekable();
        let mut rows = Rows::default();
        for (place, id) in self.rows.ids.iter().enumerate() {
            while let Some((new, row)) = added.next_if(|(new, _)| new < id) {
                rows.push(new, row);
            }
            self.rows.of(place).for_each(|row| rows.push(*id, row));
        }
        added.for_each(|(new, row)| rows.push(new, row));
        Self { version, rows: Arc::new(rows), ..self.clone() }
    }

    /// The rows of a series, oldest first.
    pub(super) fn get(&self, id: u32) -> impl Iterator<Item = &[u8]> {
        self.rows.of(self.rows.place(id))
    }

    /// Whether a series has several rows, which then may overlap.
    pub(super) fn repeats(&self) -> bool {
        !self.rows.firsts.is_empty()
    }

    /// Whether another row may be added: offsets are 32 bits wide.
    pub(super) fn has_room(&self) -> bool {
        self.rows.bytes.len() < 1 << 31
    }

    pub(super) fn row_count(&self) -> usize {
        self.rows.ends.len()
    }

    pub(super) fn stored_bytes(&self) -> usize {
        self.rows.bytes.len()
    }
}

impl Weigh for Arc<Window> {
    fn bytes(&self) -> u64 {
        (self.rows.bytes.len() + 4 * self.rows.ids.len() + 8 * self.rows.ends.len()) as u64
    }
}
