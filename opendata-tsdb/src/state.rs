//! What the writer's process knows without reading the store.
//!
//! It is published with each group and immutable. Every answer is the same without it: heads can be decoded from the
//! slabs, series from the index.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use opendata_core::env::Env;
use opendata_core::key::SegmentId;
use roaring::RoaringBitmap;

use crate::counts::Counters;
use crate::dictionary::SeriesById;
use crate::head::{Block, Head};
use crate::maintain::Ahead;
use crate::record::Sealing;
use crate::record::deletion::Deletions;

mod edits;

pub(crate) use edits::{Edits, Sealed};

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

/// What is being sealed, so that the steps of one sealing do not each begin anew, and so that the writer keeps it apart.
#[derive(Clone, Default)]
pub(crate) struct SealingBench(Arc<Mutex<Sealers>>);

#[derive(Default)]
struct Sealers {
    bench: Option<Bench>,
    /// How many samples waited when the last step was planned.
    waited: Option<u64>,
}

#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) bucket: SegmentId,
    pub(crate) first_slab: u64,
    pub(crate) through: u64,
    pub(crate) slabs: Arc<Vec<u64>>,
    pub(crate) blocks: Arc<Vec<Arc<Block>>>,
    /// The metric of each series of the bucket.
    pub(crate) metrics: Arc<Vec<u32>>,
}

impl SealingBench {
    fn lock(&self) -> std::sync::MutexGuard<'_, Sealers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, bucket: SegmentId, first_slab: u64, through: Option<u64>) -> Option<Bench> {
        let bench = self.lock().bench.clone()?;
        let fits = bench.bucket == bucket && bench.first_slab == first_slab;
        (fits && through.is_none_or(|through| through == bench.through)).then_some(bench)
    }

    /// The last slab of a bucket that is being sealed.
    pub(crate) fn held(&self, bucket: SegmentId) -> Option<u64> {
        self.lock().bench.as_ref().filter(|bench| bench.bucket == bucket).map(|bench| bench.through)
    }

    pub(crate) fn set(&self, bench: Option<Bench>) {
        self.lock().bench = bench;
    }

    /// Whether more samples wait than when this was asked last.
    pub(crate) fn grows(&self, waiting: u64) -> bool {
        self.lock().waited.replace(waiting).is_some_and(|before| waiting > before)
    }
}
