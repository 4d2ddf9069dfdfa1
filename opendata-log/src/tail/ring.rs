//! The ring: what was committed last, kept in memory for followers, within a bound of bytes.
//!
//! Invariant: everything that was committed behind `base` and up to `end` is in the ring. A follower whose
//! next position is not behind `base` has fallen out and reads from the slate up to some frontier at `base`
//! or behind it; from there on the ring has everything.
//!
//! A follower is woken only by a group that holds something it asked for. As long as it is not, it knows
//! that nothing was committed for it, so that sleeping never makes it fall behind.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use opendata_core::{Error, Position, Result};
use tokio::sync::Notify;

use crate::reader::Streams;
use crate::stats::{Counters, add};

/// Nothing is pending.
const NOTHING: u64 = u64::MAX;
/// What a chunk costs in memory beside its bytes.
const CHUNK_BYTES: usize = size_of::<RingChunk>();
/// How many groups a follower takes at a time.
const TAKEN: usize = 64;

/// A chunk as it was written.
#[derive(Clone, Debug)]
pub(crate) struct RingChunk {
    pub(crate) stream: Bytes,
    pub(crate) last: Position,
    pub(crate) value: Bytes,
}

/// The chunks of one batch.
#[derive(Debug)]
pub(crate) struct RingGroup {
    /// First position of its records.
    pub(crate) first: Position,
    /// The position of the batch: nothing of it is visible before.
    pub(crate) end: Position,
    /// Sorted by stream.
    pub(crate) chunks: Vec<RingChunk>,
    pub(crate) controls: Vec<RingChunk>,
}

impl RingGroup {
    fn size_bytes(&self) -> usize {
        let chunks = self.chunks.iter().chain(&self.controls);
        chunks.map(|chunk| CHUNK_BYTES + chunk.stream.len() + chunk.value.len()).sum()
    }

    /// Its chunks of the streams asked for.
    pub(crate) fn of<'a>(&'a self, streams: &'a Streams) -> impl Iterator<Item = &'a RingChunk> {
        let beginning = streams.beginning();
        let from = self.chunks.partition_point(|chunk| chunk.stream.as_ref() < beginning);
        let rest = self.chunks.get(from..).unwrap_or_default();
        let alike = rest.iter().take_while(move |chunk| chunk.stream.starts_with(beginning));
        alike.filter(move |chunk| streams.contains(&chunk.stream))
    }
}

/// What a follower finds in the ring.
pub(crate) enum Found {
    /// These groups; if there are none, nothing has come yet.
    Groups(Vec<Arc<RingGroup>>),
    /// Its position is no longer in the ring.
    Behind,
}

/// Recent groups, and who waits for more.
#[derive(Debug)]
pub(crate) struct Ring {
    inner: Mutex<Inner>,
    watchers: AtomicUsize,
    /// Told whenever the end moves.
    moved: Notify,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Inner {
    groups: VecDeque<Arc<RingGroup>>,
    bytes: usize,
    limit_bytes: usize,
    base: Position,
    end: Position,
    by_stream: HashMap<Bytes, Vec<Arc<Subscription>>>,
    others: Vec<Arc<Subscription>>,
    /// Why no more will come.
    closed: Option<Error>,
}

#[derive(Debug)]
struct Subscription {
    streams: Streams,
    control: bool,
    /// The first position since its last look where something for it was committed.
    pending: AtomicU64,
    wake: Notify,
}

impl Subscription {
    fn wants(&self, group: &RingGroup) -> bool {
        (self.control && !group.controls.is_empty()) || group.of(&self.streams).next().is_some()
    }

    fn notify(&self, position: Position) {
        let _ = self.pending.compare_exchange(NOTHING, position.0, Ordering::AcqRel, Ordering::Acquire);
        self.wake.notify_one();
    }
}

impl Ring {
    /// An empty ring behind `base`.
    pub(crate) fn new(base: Position, limit_bytes: u64, counters: Arc<Counters>) -> Arc<Self> {
        let limit_bytes = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
        let inner = Inner { base, end: base, limit_bytes, ..Inner::default() };
        Arc::new(Self { inner: Mutex::new(inner), watchers: AtomicUsize::new(0), moved: Notify::new(), counters })
    }

    /// Whether anybody follows. While nobody does, chunks need not be kept.
    pub(crate) fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Acquire) > 0
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Adds what one batch committed, and wakes those who asked for any of it.
    pub(crate) fn push(&self, group: RingGroup) {
        let mut inner = self.lock();
        inner.bytes += group.size_bytes();
        inner.end = group.end;
        let mut matching = 0;
        for chunk in &group.chunks {
            for waiting in inner.by_stream.get(&chunk.stream).into_iter().flatten() {
                waiting.notify(group.first);
                matching += 1;
            }
        }
        for waiting in inner.others.iter().filter(|waiting| waiting.wants(&group)) {
            waiting.notify(group.first);
            matching += 1;
        }
        tracing::trace!(position = group.end.0, matching, "pushed to followers");
        inner.groups.push_back(Arc::new(group));
        while inner.bytes > inner.limit_bytes && inner.groups.len() > 1 {
            let Some(oldest) = inner.groups.pop_front() else { break };
            inner.bytes -= oldest.size_bytes();
            inner.base = oldest.end;
            add(&self.counters.ring_evictions, (oldest.chunks.len() + oldest.controls.len()) as u64);
        }
        self.moved.notify_waiters();
    }

    /// Says that something was committed from `first` to `end` whose chunks were not kept.
    pub(crate) fn skip(&self, first: Position, end: Position) {
        let mut inner = self.lock();
        inner.groups.clear();
        inner.bytes = 0;
        inner.base = end;
        inner.end = end;
        for waiting in inner.by_stream.values().flatten().chain(&inner.others) {
            waiting.notify(first);
        }
        self.moved.notify_waiters();
    }

    /// Says that the slate moved on to `end` without anything for this log.
    pub(crate) fn advance(&self, end: Position) {
        let mut inner = self.lock();
        inner.end = inner.end.max(end);
        self.moved.notify_waiters();
    }

    /// How far it reaches.
    pub(crate) fn end(&self) -> Position {
        self.lock().end
    }

    /// Waits until it reaches a position.
    pub(crate) async fn reaches(&self, position: Position) {
        loop {
            // From here on no move is missed.
            let moved = self.moved.notified();
            if self.end() >= position {
                return;
            }
            moved.await;
        }
    }

    /// No more will come; wakes everyone.
    pub(crate) fn close(&self, reason: Error) {
        let mut inner = self.lock();
        inner.closed.get_or_insert(reason);
        for waiting in inner.by_stream.values().flatten().chain(&inner.others) {
            waiting.wake.notify_one();
        }
    }

    /// Follows from a position on.
    pub(crate) fn subscribe(self: &Arc<Self>, streams: Streams, control: bool, next: Position) -> Subscriber {
        let mut inner = self.lock();
        let pending = if next <= inner.end { next.0 } else { NOTHING };
        let subscription =
            Arc::new(Subscription { streams, control, pending: AtomicU64::new(pending), wake: Notify::new() });
        match (&subscription.streams, control) {
            (Streams::One(stream), false) => {
                inner.by_stream.entry(stream.clone()).or_default().push(Arc::clone(&subscription));
            }
            _ => inner.others.push(Arc::clone(&subscription)),
        }
        self.watchers.fetch_add(1, Ordering::AcqRel);
        drop(inner);
        Subscriber { ring: Arc::clone(self), subscription }
    }

    /// Groups that reach `next` or lie behind it, oldest first.
    fn read(&self, next: Position) -> Found {
        let inner = self.lock();
        if next <= inner.base {
            return Found::Behind;
        }
        let from = inner.groups.partition_point(|group| group.end < next);
        Found::Groups(inner.groups.iter().skip(from).take(TAKEN).cloned().collect())
    }

    fn unsubscribe(&self, subscription: &Arc<Subscription>) {
        let mut inner = self.lock();
        let other = |kept: &Arc<Subscription>| !Arc::ptr_eq(kept, subscription);
        match (&subscription.streams, subscription.control) {
            (Streams::One(stream), false) => {
                if let Some(waiting) = inner.by_stream.get_mut(stream) {
                    waiting.retain(other);
                    if waiting.is_empty() {
                        inner.by_stream.remove(stream);
                    }
                }
            }
            _ => inner.others.retain(other),
        }
        self.watchers.fetch_sub(1, Ordering::AcqRel);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the ring; given up when dropped.
#[derive(Debug)]
pub(crate) struct Subscriber {
    ring: Arc<Ring>,
    subscription: Arc<Subscription>,
}

impl Subscriber {
    /// The first position where something may have come since the last call.
    pub(crate) fn take(&self) -> Option<Position> {
        match self.subscription.pending.swap(NOTHING, Ordering::AcqRel) {
            NOTHING => None,
            position => Some(Position(position)),
        }
    }

    pub(crate) fn read(&self, next: Position) -> Found {
        self.ring.read(next)
    }

    /// Whether the ring reaches back to `next` and holds nothing for this subscriber from there on.
    pub(crate) fn has_nothing(&self, next: Position) -> bool {
        let inner = self.ring.lock();
        let from = inner.groups.partition_point(|group| group.end < next);
        next > inner.base && !inner.groups.range(from..).any(|group| self.subscription.wants(group))
    }

    /// Waits until something may have come. An error if nothing ever will.
    pub(crate) async fn woken(&self) -> Result<()> {
        if !self.is_pending()
            && let Some(reason) = self.ring.lock().closed.clone()
        {
            return Err(reason);
        }
        self.subscription.wake.notified().await;
        Ok(())
    }

    /// Why nothing more will come, if that is so.
    pub(crate) fn is_closed(&self) -> Option<Error> {
        self.ring.lock().closed.clone()
    }

    /// Whether something came since the last look.
    pub(crate) fn is_pending(&self) -> bool {
        self.subscription.pending.load(Ordering::Acquire) != NOTHING
    }

    pub(crate) fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.ring.unsubscribe(&self.subscription);
    }
}
