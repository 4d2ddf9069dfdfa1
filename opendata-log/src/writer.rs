//! The writer: checks operations, gives records their positions, and writes one batch a group.
//!
//! Records are gathered while transactions are applied and written when the group ends, so that all records
//! that one batch brings to a stream share chunks. A segment is closed only between groups: all records of
//! one batch lie in one segment.
//!
//! Memory: the streams of the open segment, each with its last position and count. When it is full it is
//! closed and they are forgotten; after opening, an inherited segment is gone on with only if it is small
//! enough to be read at once. So nothing per stream is ever recovered.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use opendata_core::env::Env;
use opendata_core::key::SegmentId;
use opendata_core::slate::{ApplyContext, InstanceView, PrepareContext};
use opendata_core::{Error, Position, Result, SystemWriter, Timestamp};

use crate::config::Config;
use crate::key::{self, Key};
use crate::layout::{self, Layout};
use crate::op::{Op, Receipt};
use crate::record::{Cursor, Segment};
use crate::stats::Counters;
use crate::system::Log;
use crate::tail::ring::{Ring, RingGroup};

mod admit;
mod gather;
mod store;
mod upkeep;

pub use admit::Plan;
use gather::Gathered;

/// An inherited segment of at most this many bytes is read and gone on with.
const INHERITED_BYTES: u64 = 1024 * 1024;

/// A stream in the open segment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StreamState {
    pub(crate) records: u64,
    pub(crate) last: Position,
}

/// The segment that takes records.
#[derive(Debug)]
struct Open {
    segment: Segment,
    streams: HashMap<Box<[u8]>, StreamState>,
    /// Ingest time of the newest entry of its time index.
    indexed: Option<Timestamp>,
    /// It was inherited and is too large to be gone on with.
    full: bool,
}

/// The writer of a log instance.
pub struct Writer {
    config: Arc<Config>,
    env: Env,
    sealed: Arc<Vec<Segment>>,
    open: Option<Open>,
    trim: Position,
    cursors: BTreeMap<Bytes, Cursor>,
    gathered: Gathered,
    trials: store::Trials,
    /// Written but not yet published.
    staged: VecDeque<Staged>,
    ring: Arc<Ring>,
    counters: Arc<Counters>,
}

/// What a batch holds for followers: its chunks, or only its bounds if nobody was following.
#[derive(Debug)]
struct Staged {
    first: Position,
    group: Option<RingGroup>,
}

/// What readers in this process need not look up. Only a cache: the slate gives the same answers.
pub struct State {
    pub(crate) layout: Layout,
    pub(crate) ring: Arc<Ring>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) env: Env,
}

impl Writer {
    pub(crate) async fn recover(view: InstanceView<Log>, env: Env) -> Result<Self> {
        let control = view.prefix(SegmentId::CONTROL);
        let layout = Layout::load(view.view(), control).await?;
        let mut cursors = BTreeMap::new();
        let mut rows = view.scan(key::cursors(control), opendata_core::slate::Access::Bulk).await?;
        while let Some(row) = rows.next().await? {
            if let Key::Cursor(name) = Key::decode(&row.key)? {
                cursors.insert(name, Cursor::decode(&row.key, &row.value)?);
            }
        }
        let open = match layout.open {
            Some(segment) => Some(Open::inherit(&view, segment).await?),
            None => None,
        };
        let counters = Arc::new(Counters::default());
        let config = Arc::new(view.config().clone());
        Ok(Self {
            ring: Ring::new(view.position(), config.ring_bytes, Arc::clone(&counters)),
            config,
            env,
            sealed: layout.sealed,
            open,
            trim: layout.trim,
            cursors,
            gathered: Gathered::default(),
            trials: store::Trials::default(),
            staged: VecDeque::new(),
            counters,
        })
    }

    fn layout(&self) -> Layout {
        let open = self.open.as_ref().map(|open| open.segment);
        Layout { sealed: Arc::clone(&self.sealed), open, trim: self.trim }
    }
}

impl Open {
    fn new(segment: Segment) -> Self {
        Self { segment, streams: HashMap::new(), indexed: None, full: false }
    }

    async fn inherit(view: &InstanceView<Log>, segment: Segment) -> Result<Self> {
        let mut open = Self::new(segment);
        if segment.totals.bytes > INHERITED_BYTES {
            open.full = true;
            return Ok(open);
        }
        open.indexed = (!segment.is_empty()).then_some(segment.totals.ingest_times.1);
        let mut rows = view.scan(key::chunks(view.prefix(segment.id), b""), opendata_core::slate::Access::Bulk).await?;
        while let Some(row) = rows.next().await? {
            let chunk = layout::chunk(&row)?;
            let state = StreamState { records: chunk.ordinal + chunk.count as u64, last: chunk.last };
            open.streams.insert(chunk.stream.as_ref().into(), state);
        }
        Ok(open)
    }
}

#[async_trait]
impl SystemWriter for Writer {
    type Op = Op;
    type Plan = Plan;
    type Receipt = Receipt;
    type State = State;

    async fn prepare(&mut self, op: Op, cx: &PrepareContext<'_>) -> Result<Plan> {
        self.admit(op, cx).await
    }

    fn apply(&mut self, plan: Plan, cx: &mut ApplyContext<'_>) -> Receipt {
        self.apply_plan(plan, cx)
    }

    fn finish(&mut self, cx: &mut ApplyContext<'_>) {
        self.write_group(cx);
    }

    fn publish(&mut self, position: Position) -> Arc<State> {
        for Staged { first, group } in self.staged.drain(..) {
            match group {
                Some(group) => self.ring.push(RingGroup { end: position, ..group }),
                None => self.ring.skip(first, position),
            }
        }
        Arc::new(State {
            layout: self.layout(),
            ring: Arc::clone(&self.ring),
            counters: Arc::clone(&self.counters),
            env: self.env.clone(),
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.ring.close(Error::closed("the log's writer has ended"));
    }
}
