//! The one writer of an instance.
//!
//! A transaction is prepared into a [`Draft`](draft::Draft): which samples go to which series of which bucket, which
//! series are new, and what counters come to. Applying it gathers the samples of the group; at the end of the group
//! each bucket that was touched gets one slab and, for new series, merge operands of its index.
//!
//! Invariants:
//! - The writer is the only one that gives out ids: the next id of a bucket is the number of series it holds.
//! - A slab is never changed. Sealing turns a prefix of a bucket's slabs into chunks and deletes them in the same
//!   commit, so samples in slabs are newer than those in chunks, wherever both exist.
//! - Memory follows the rows: everything here can be rebuilt by [`recover`](Writer::recover).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use opendata_core::env::Env;
use opendata_core::key::SegmentId;
use opendata_core::slate::{ApplyContext, InstanceView, PrepareContext};
use opendata_core::{Position, Result, SystemWriter};
use roaring::RoaringBitmap;
use rustc_hash::FxBuildHasher;

use crate::Tsdb;
use crate::config::{Calendar, Config, is_rolled};
use crate::counts::Counters;
use crate::dictionary::{Bucket, Dictionary, Slot};
use crate::exemplar;
use crate::head::{Head, Slabs};
use crate::index::Index;
use crate::key::{Key, Keys};
use crate::maintain::Ahead;
use crate::metadata::Metadata;
use crate::op::{Op, Receipt, SeriesList};
use crate::record::deletion::Deletions;
use crate::record::slab::Rows;
use crate::record::{Sealing, posting};
use crate::refused::Refusal;
use crate::state::{Edits, SealingBench, State};

mod apply;
mod beside;
mod deletions;
mod draft;
mod limits;
mod rolling;
mod rows;
mod totals;
mod upkeep;

use deletions::Deleting;
use draft::Draft;
use limits::Account;
use totals::Total;
pub(crate) use upkeep::slabs_below;

/// How many buckets keep their dictionary in memory when they are not written to.
const IDLE_BUCKETS: usize = 4;

/// How many counters are remembered.
const MOST_TOTALS: usize = 1_000_000;

/// Writes one TSDB instance. It lives in the slate's committer.
pub struct Writer {
    env: Env,
    config: Config,
    calendar: Calendar,
    keys: Keys,
    dictionary: Dictionary,
    buckets: BTreeMap<SegmentId, Loaded>,
    totals: HashMap<Slot, Total, FxBuildHasher>,
    /// Metrics of which series were created by samples.
    sampled: HashSet<Arc<str>>,
    metadata: HashMap<Arc<str>, Metadata>,
    lists: Vec<KnownList>,
    existing: Arc<Vec<SegmentId>>,
    live: SegmentId,
    heads: Arc<BTreeMap<SegmentId, Arc<Head>>>,
    sealing: Arc<BTreeMap<SegmentId, Sealing>>,
    /// Deletions that are not carried out in the chunks yet.
    deletions: Arc<Deletions>,
    edits: Arc<Edits>,
    /// The series of each bucket whose rollups are to be made.
    due: Arc<BTreeMap<SegmentId, RoaringBitmap>>,
    /// The segments that hold rollups, ascending.
    rolled: Arc<Vec<SegmentId>>,
    ahead: Ahead,
    bench: SealingBench,
    group: Group,
    groups: u64,
    last_slab: u64,
    account: Account,
    counters: Counters,
}

struct Loaded {
    bucket: Bucket,
    /// The group that used it last.
    used: u64,
}

/// A list of series whose ids in one bucket are known.
struct KnownList {
    list: SeriesList,
    bucket: SegmentId,
    ids: Vec<u32>,
}

/// What the transactions of the group under way have applied.
#[derive(Default)]
struct Group {
    /// The least number its first slab may have.
    first_slab: u64,
    rows: BTreeMap<SegmentId, Rows>,
    slabs: BTreeMap<SegmentId, Slabs>,
    exemplars: BTreeMap<(SegmentId, u32), exemplar::Change>,
}

/// A checked operation.
pub struct Plan(Checked);

enum Checked {
    Write(Box<Draft>),
    Delete(Deleting),
    Upkeep(upkeep::Checked),
}

impl Writer {
    /// Builds the writer from what is stored: the heads from their slabs. Dictionaries are read when they are needed.
    ///
    /// # Errors
    /// `Corrupt` if a record cannot be read, or what the store returned.
    pub(crate) async fn recover(view: &InstanceView<Tsdb>, env: Env) -> Result<Self> {
        let keys = Keys::new(view.prefix(SegmentId::CONTROL));
        let index = Index { view: view.view().clone(), keys };
        let mut sampled = HashSet::new();
        index
            .for_each(keys.all_sampled(), |key, _| {
                if let Key::Sampled { metric } = key {
                    sampled.insert(Arc::from(metric));
                }
                Ok(())
            })
            .await?;
        let mut metadata = HashMap::new();
        index
            .for_each(keys.all_metadata(), |key, value| {
                if let Key::Metadata { metric } = key {
                    metadata.insert(Arc::from(metric), Metadata::decode(value)?);
                }
                Ok(())
            })
            .await?;
        let live = index.live().await?;
        let deletions = index.deletions().await?;
        let heads = index.heads(keys.slabs(), &deletions).await?;
        let slabs = heads.iter().filter_map(|(_, head)| head.slabs).map(|slabs| slabs.last);
        let deleted = deletions.values().flat_map(|of_bucket| of_bucket.iter()).map(|deletion| deletion.slab);
        let last_slab = slabs.chain(deleted).max().unwrap_or(0);
        Ok(Self {
            env,
            config: view.config().clone(),
            calendar: view.config().calendar(),
            keys,
            dictionary: Dictionary::default(),
            buckets: BTreeMap::new(),
            totals: HashMap::default(),
            sampled,
            metadata,
            lists: Vec::new(),
            existing: Arc::new(index.buckets().await?),
            live,
            heads: Arc::new(heads.into_iter().map(|(bucket, head)| (bucket, Arc::new(head))).collect()),
            sealing: Arc::new(index.sealings().await?.into_iter().collect()),
            deletions: Arc::new(deletions),
            edits: Arc::default(),
            due: Arc::new(index.due().await?),
            rolled: Arc::new(index.rolled().await?),
            ahead: Ahead::default(),
            bench: SealingBench::default(),
            group: Group::default(),
            groups: 0,
            last_slab,
            account: Account::default(),
            counters: Counters::default(),
        })
    }

    fn index(&self, cx: &PrepareContext<'_>) -> Index {
        Index { view: cx.view().clone(), keys: self.keys }
    }

    /// Reads the dictionary of a bucket unless it is in memory.
    async fn load(&mut self, bucket: SegmentId, cx: &PrepareContext<'_>) -> Result<()> {
        let may_be_new = !is_rolled(bucket) && self.config.max_new_series_per_second.is_some();
        if may_be_new && self.existing.binary_search(&bucket).is_err() {
            // The series of the bucket before it are not new altogether.
            if let Some(before) = self.existing.iter().copied().rfind(|before| *before < bucket) {
                self.load_one(before, cx).await?;
            }
        }
        self.load_one(bucket, cx).await
    }

    async fn load_one(&mut self, bucket: SegmentId, cx: &PrepareContext<'_>) -> Result<()> {
        if let Some(loaded) = self.buckets.get_mut(&bucket) {
            loaded.used = self.groups;
            return Ok(());
        }
        let mut loaded = Loaded { bucket: Bucket::default(), used: self.groups };
        if self.existing.binary_search(&bucket).is_ok() || is_rolled(bucket) {
            for entry in self.index(cx).series(bucket).await? {
                let slot = self.dictionary.intern(&entry.labels);
                loaded.bucket.load(slot, entry);
            }
            self.index(cx)
                .for_each(self.keys.sources(bucket), |key, ids| {
                    if let Key::Source { source, .. } = key {
                        loaded.bucket.load_source(&source, posting::decode(ids)?.len());
                    }
                    Ok(())
                })
                .await?;
        }
        self.buckets.insert(bucket, loaded);
        Ok(())
    }

    /// Lets go of dictionaries that were not used for long. Never inside a group.
    fn unload(&mut self) {
        // The totals are a cache of what is stored, so forgetting all of them is right, if not cheap.
        if self.totals.len() > MOST_TOTALS {
            self.totals = HashMap::default();
        }
        let current = self.groups;
        let mut idle: Vec<_> =
            self.buckets.iter().map(|(id, loaded)| (loaded.used, *id)).filter(|(used, _)| *used != current).collect();
        let Some(surplus) = idle.len().checked_sub(IDLE_BUCKETS) else { return self.shrink() };
        idle.sort_unstable();
        for (_, bucket) in idle.into_iter().take(surplus) {
            self.buckets.remove(&bucket);
        }
        self.shrink();
    }

    /// Forgets series that are in no bucket in memory, once they are the larger part.
    fn shrink(&mut self) {
        let in_buckets = self.buckets.values().map(|loaded| loaded.bucket.len() as usize).max().unwrap_or(0);
        if self.dictionary.len() < 2 * in_buckets + 100_000 {
            return;
        }
        let buckets = &self.buckets;
        let moved = self.dictionary.shrink(|slot| buckets.values().any(|loaded| loaded.bucket.contains(slot)));
        for loaded in self.buckets.values_mut() {
            loaded.bucket.moved(&moved);
        }
        let totals = std::mem::take(&mut self.totals);
        let kept = |slot: Slot| moved.get(slot as usize).copied().filter(|slot| *slot != Slot::MAX);
        self.totals = totals.into_iter().filter_map(|(slot, total)| Some((kept(slot)?, total))).collect();
        self.lists.clear();
    }

    fn state(&self) -> State {
        let series = self.buckets.iter().map(|(bucket, loaded)| (*bucket, loaded.bucket.series.clone())).collect();
        State {
            env: self.env.clone(),
            buckets: Arc::clone(&self.existing),
            live: self.live,
            heads: Arc::clone(&self.heads),
            series: Arc::new(series),
            sealing: Arc::clone(&self.sealing),
            deletions: Arc::clone(&self.deletions),
            edits: Arc::clone(&self.edits),
            due: Arc::clone(&self.due),
            rolled: Arc::clone(&self.rolled),
            ahead: self.ahead.clone(),
            bench: self.bench.clone(),
            counters: self.counters.clone(),
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
        match op.upkeep {
            Some(upkeep) => Ok(Plan(Checked::Upkeep(self.check_upkeep(upkeep, cx).await?))),
            None if !op.deletes.is_empty() => Ok(Plan(Checked::Delete(self.check_delete(op, cx).await?))),
            None => match self.draft(op, cx).await {
                Ok(draft) => Ok(Plan(Checked::Write(Box::new(draft)))),
                Err(error) => {
                    if let Some(refusal) = Refusal::of(&error) {
                        self.counters.refused(refusal.reason, 1);
                    }
                    Err(error)
                }
            },
        }
    }

    fn apply(&mut self, plan: Plan, cx: &mut ApplyContext<'_>) -> Receipt {
        match plan.0 {
            Checked::Write(draft) => self.apply_draft(*draft, cx),
            Checked::Delete(deleting) => self.apply_delete(deleting, cx),
            Checked::Upkeep(upkeep) => self.apply_upkeep(upkeep, cx),
        }
    }

    fn finish(&mut self, cx: &mut ApplyContext<'_>) {
        self.finish_group(cx);
    }

    fn publish(&mut self, _position: Position) -> Arc<State> {
        self.publish_group();
        self.unload();
        self.groups += 1;
        Arc::new(self.state())
    }
}
