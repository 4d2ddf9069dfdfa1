//! What the writer's process knows without reading the store.
//!
//! It is published with each group and immutable. Every answer is the same without it: heads can be decoded from the
//! slabs, series from the index.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use opendata_core::env::Env;
use opendata_core::key::SegmentId;
use roaring::RoaringBitmap;

use crate::counts::Counters;
use crate::dictionary::SeriesById;
use crate::head::{Block, Head};
use crate::key::Key;
use crate::maintain::Ahead;
use crate::record::Sealing;
use crate::record::deletion::Deletions;

/// The writer's memory at one position.
#[derive(Clone)]
pub struct State {
    pub(crate) env: Env,
    /// All buckets, ascending.
    pub(crate) buckets: Arc<Vec<SegmentId>>,
    /// The first bucket that retention has left.
    pub(crate) live: SegmentId,
    pub(crate) heads: Arc<BTreeMap<SegmentId, Arc<Head>>>,
    /// The series of the buckets that are written to.
    pub(crate) series: Arc<BTreeMap<SegmentId, SeriesById>>,
    pub(crate) sealing: Arc<BTreeMap<SegmentId, Sealing>>,
    pub(crate) deletions: Arc<Deletions>,
    pub(crate) edits: Arc<Edits>,
    /// The series of each bucket whose rollups are to be made.
    pub(crate) due: Arc<BTreeMap<SegmentId, RoaringBitmap>>,
    /// The segments that hold rollups, ascending.
    pub(crate) rolled: Arc<Vec<SegmentId>>,
    pub(crate) ahead: Ahead,
    pub(crate) bench: SealingBench,
    pub(crate) counters: Counters,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("buckets", &self.buckets.len()).finish_non_exhaustive()
    }
}

/// How often the chunks of each window were changed since the slate was opened.
#[derive(Debug, Default, Clone)]
pub(crate) struct Edits(BTreeMap<(SegmentId, u8), u64>);

impl Edits {
    pub(crate) fn of_window(&self, bucket: SegmentId, window: u8) -> u64 {
        self.0.get(&(bucket, window)).copied().unwrap_or(0)
    }

    pub(crate) fn of_bucket(&self, bucket: SegmentId) -> u64 {
        self.0.range((bucket, 0)..=(bucket, u8::MAX)).map(|(_, edits)| edits).sum()
    }

    /// Notes that these rows of chunks are changed.
    pub(crate) fn add<'a>(&mut self, keys: impl Iterator<Item = &'a Bytes>) {
        let mut windows: Vec<(SegmentId, u8)> = keys
            .filter_map(|key| match Key::decode(key) {
                Ok(Key::Data { bucket, window, .. }) => Some((bucket, window)),
                _ => None,
            })
            .collect();
        windows.sort_unstable();
        windows.dedup();
        for window in windows {
            *self.0.entry(window).or_default() += 1;
        }
    }

    /// Forgets the buckets before one.
    pub(crate) fn forget_before(&mut self, live: SegmentId) {
        self.0.retain(|(bucket, _), _| *bucket >= live);
    }
}

/// The slabs that are being sealed, decoded and sorted, so that the steps of one sealing do not each begin anew.
#[derive(Clone, Default)]
pub(crate) struct SealingBench(Arc<Mutex<Option<Bench>>>);

#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) bucket: SegmentId,
    pub(crate) first_slab: u64,
    pub(crate) through: u64,
    pub(crate) slabs: Arc<Vec<u64>>,
    pub(crate) block: Arc<Block>,
    /// The metric of each series of the bucket.
    pub(crate) metrics: Arc<Vec<u32>>,
}

impl SealingBench {
    pub(crate) fn get(&self, bucket: SegmentId, first_slab: u64, through: Option<u64>) -> Option<Bench> {
        let bench = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let fits = bench.bucket == bucket && bench.first_slab == first_slab;
        (fits && through.is_none_or(|through| through == bench.through)).then_some(bench)
    }

    pub(crate) fn set(&self, bench: Option<Bench>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = bench;
    }
}
