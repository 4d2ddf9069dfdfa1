//! A follower: every record behind a position, once, in order, as it is committed.
//!
//! It takes what it can from the ring of recent groups. Where the ring no longer reaches back it scans a view
//! up to the view's position F and goes on in the ring at F + 1: the view shows everything up to F, so nothing is
//! lost and nothing comes twice. What it shows is what the views it was given show: written or durable.

use std::sync::Arc;
use std::vec;

use opendata_core::slate::{Handle, View};
use opendata_core::{Error, Position, Result};
use tokio::sync::watch;

use super::ring::{Found, RingChunk, RingGroup, Subscriber};
use super::wal::Remote;
use crate::chunk::{Chunk, Merge, Source};
use crate::entry::Record;
use crate::reader::{ControlRecords, Reader, Scan, ScanOptions, Start, Streams};
use crate::stats::add;
use crate::system::Log;

/// Groups are taken together until there are so many records.
const TAKEN_RECORDS: usize = 1_024;

/// Where a follower begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FollowFrom {
    /// Behind everything that is visible now.
    #[default]
    Tail,
    /// At the oldest record that is kept.
    Oldest,
    /// At a position. Below the trim point or beyond the end is an error, never a silent jump.
    Position(Position),
}

/// What to follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FollowOptions {
    /// Which streams.
    pub streams: Streams,
    /// From where.
    pub from: FollowFrom,
    /// Whether control records are shown.
    pub control: ControlRecords,
}

impl FollowOptions {
    /// These streams, from now on.
    #[must_use]
    pub fn of(streams: Streams) -> Self {
        Self { streams, ..Self::default() }
    }

    /// From another place.
    #[must_use]
    pub fn from(mut self, from: FollowFrom) -> Self {
        self.from = from;
        self
    }
}

/// Records that were committed together, or lay together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// At least one record, in order of position.
    pub records: Vec<Record>,
    /// Where to go on: everything before it was given.
    pub next: Position,
}

/// Follows a log.
pub struct Follower {
    feed: Feed,
    subscriber: Subscriber,
    streams: Streams,
    control: ControlRecords,
    /// Everything before it was taken.
    next: Position,
    /// The ring may hold more at `next` or behind it.
    dirty: bool,
    /// A scan of what the ring no longer has, and the position it goes up to.
    catching_up: Option<(Scan, Position)>,
    ready: vec::IntoIter<Record>,
}

/// Where views come from.
pub(super) enum Feed {
    Writer { views: watch::Receiver<View>, log: Handle<Log> },
    Remote(Arc<Remote>),
}

impl Feed {
    /// A view that shows at least everything up to a position.
    async fn view(&mut self, at_least: Position) -> Result<Reader> {
        match self {
            Self::Writer { views, log } => {
                let view = views.wait_for(|view| view.position() >= at_least).await.map_err(|_| ended())?.clone();
                view.on(log)
            }
            Self::Remote(remote) => remote.view(at_least).await,
        }
    }

    /// How far is visible, waiting until that reaches a position.
    async fn visible(&mut self, at_least: Position) -> Result<Position> {
        match self {
            Self::Writer { views, .. } => {
                let view = views.wait_for(|view| view.position() >= at_least).await.map_err(|_| ended())?;
                Ok(view.position())
            }
            // All that comes through the write-ahead log is durable.
            Self::Remote(_) => Ok(Position::MAX),
        }
    }

    /// Waits until what is visible reaches a position.
    async fn reaches(&mut self, position: Position) -> Result<()> {
        match self {
            Self::Writer { .. } => drop(self.visible(position).await?),
            Self::Remote(remote) => remote.ring().reaches(position).await,
        }
        Ok(())
    }

    fn frontier(&self) -> Position {
        match self {
            Self::Writer { views, .. } => views.borrow().position(),
            Self::Remote(remote) => remote.ring().end(),
        }
    }
}

impl Follower {
    /// Follows a log in its writer's process. Whether it shows what is written or only what is durable
    /// depends on the views: [`Slate::watch`](opendata_core::slate::Slate::watch) gives either.
    ///
    /// # Errors
    /// `NotFound` below the trim point; `Invalid` beyond the end, or if the views are not a writer's.
    pub async fn open(views: watch::Receiver<View>, log: &Handle<Log>, options: FollowOptions) -> Result<Self> {
        let reader = views.borrow().on(log)?;
        let state = reader.state().ok_or_else(|| Error::invalid("only a writer's views can be followed"))?;
        let ring = Arc::clone(&state.ring);
        let next = begin(&reader, &options, reader.position()).await?;
        Ok(Self::new(Feed::Writer { views, log: log.clone() }, &ring, options, next))
    }

    pub(super) fn new(feed: Feed, ring: &Arc<super::ring::Ring>, options: FollowOptions, next: Position) -> Self {
        let FollowOptions { streams, control, .. } = options;
        let shown = control == ControlRecords::Shown;
        Self {
            feed,
            subscriber: ring.subscribe(streams.clone(), shown, next),
            streams,
            control,
            next,
            dirty: false,
            catching_up: None,
            ready: Vec::new().into_iter(),
        }
    }

    /// The next record, waiting until there is one. A call that is given up loses nothing.
    ///
    /// # Errors
    /// `NotFound` if it was so slow that its place was trimmed; `Closed` if the writer ended; what the store returned.
    pub async fn next(&mut self) -> Result<Record> {
        loop {
            if let Some(record) = self.ready.next() {
                return Ok(record);
            }
            self.ready = self.next_batch().await?.records.into_iter();
        }
    }

    /// The next records, waiting until there are some, however many commits without any come meanwhile: whoever reads up to a certain position
    /// asks [`next_batch_before`](Self::next_batch_before). A call that is given up loses nothing.
    ///
    /// # Errors
    /// Those of [`next`](Self::next).
    pub async fn next_batch(&mut self) -> Result<Batch> {
        if !self.ready.as_slice().is_empty() {
            let records = std::mem::take(&mut self.ready).collect();
            return Ok(Batch { records, next: self.next });
        }
        loop {
            let records = match self.catching_up.take() {
                Some((scan, frontier)) => self.catch_up(scan, frontier).await?,
                None => self.live().await?,
            };
            if !records.is_empty() {
                return Ok(Batch { records, next: self.next });
            }
        }
    }

    /// The next records, waiting for them; none once everything before a position was given, whether there was anything for this follower or not. To read up to
    /// what is there now, ask for what lies before the position behind it. The last records may go beyond that. A call that is given up loses nothing.
    ///
    /// # Errors
    /// Those of [`next`](Self::next).
    pub async fn next_batch_before(&mut self, end: Position) -> Result<Option<Batch>> {
        while self.position() < end {
            if let Some(batch) = self.ready_batch().await? {
                return Ok(Some(batch));
            }
            tokio::select! {
                biased;
                woken = self.subscriber.woken() => woken?,
                reached = self.feed.reaches(Position(end.0.saturating_sub(1))) => reached?,
            }
        }
        Ok(None)
    }

    /// The next records that are there already; none if there are none now. It waits for the store, and for what was written to become visible, but
    /// not for anybody to write; [`woken`](Self::woken) does that.
    ///
    /// # Errors
    /// Those of [`next`](Self::next).
    pub async fn ready_batch(&mut self) -> Result<Option<Batch>> {
        loop {
            let waits = self.ready.as_slice().is_empty()
                && self.catching_up.is_none()
                && !self.dirty
                && !self.subscriber.is_pending();
            if waits {
                self.subscriber.is_closed().map_or(Ok(()), Err)?;
                return Ok(None);
            }
            if !self.ready.as_slice().is_empty() {
                return self.next_batch().await.map(Some);
            }
            let records = match self.catching_up.take() {
                Some((scan, frontier)) => self.catch_up(scan, frontier).await?,
                None => self.live().await?,
            };
            if !records.is_empty() {
                return Ok(Some(Batch { records, next: self.next }));
            }
        }
    }

    /// Whether it reads what was there for long, and not what is being written.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.catching_up.is_some()
    }

    /// Waits until there may be more. A call that is given up loses nothing.
    ///
    /// # Errors
    /// `Closed` if there never will be.
    pub async fn woken(&self) -> Result<()> {
        self.subscriber.woken().await
    }

    /// Everything before this position was given. It moves on also when others' records are committed, so
    /// that a cursor set to it does not hold what this follower never asked for; it does so while a call waits, so a loop over
    /// [`next_batch`](Self::next_batch) until this has come somewhere may wait for ever: [`next_batch_before`](Self::next_batch_before) does not.
    #[must_use]
    pub fn position(&self) -> Position {
        if let Some(record) = self.ready.as_slice().first() {
            return record.position;
        }
        // In this order: what is visible was announced before.
        let frontier = self.feed.frontier();
        let idle = self.catching_up.is_none()
            && (!self.dirty && !self.subscriber.is_pending() || self.subscriber.has_nothing(self.next));
        if idle { self.next.max(frontier.next()) } else { self.next }
    }

    /// What the ring has, waiting for something if there is nothing. Possibly nothing after all.
    async fn live(&mut self) -> Result<Vec<Record>> {
        if !self.dirty {
            match self.subscriber.take() {
                Some(position) => {
                    self.next = self.next.max(position);
                    self.dirty = true;
                }
                None => {
                    self.subscriber.woken().await?;
                    return Ok(Vec::new());
                }
            }
        }
        match self.subscriber.read(self.next) {
            Found::Behind => {
                add(&self.subscriber.ring().counters().followers_behind, 1);
                let reader = self.feed.view(self.next).await?;
                let options = ScanOptions {
                    start: Start::Position(self.next),
                    control: self.control,
                    ..ScanOptions::of(self.streams.clone())
                };
                let frontier = reader.position();
                self.catching_up = Some((reader.scan_with(options).await?, frontier));
                Ok(Vec::new())
            }
            Found::Groups(groups) => {
                let Some(first) = groups.first() else {
                    self.dirty = false;
                    return Ok(Vec::new());
                };
                let visible = self.feed.visible(first.end).await?;
                self.take_groups(&groups, visible)
            }
        }
    }

    fn take_groups(&mut self, groups: &[Arc<RingGroup>], visible: Position) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        for group in groups.iter().take_while(|group| group.end <= visible) {
            if records.len() >= TAKEN_RECORDS {
                break;
            }
            let controls: &[RingChunk] = if self.control == ControlRecords::Shown { &group.controls } else { &[] };
            let source = |piece: &RingChunk, is_control| {
                let chunk = Chunk::decode(piece.stream.clone(), piece.last, piece.value.clone())?;
                Ok(Source { chunk, wanted: self.next..Position::MAX, is_control })
            };
            let sources = group.of(&self.streams).map(|piece| source(piece, false));
            let sources: Result<Vec<Source>> =
                sources.chain(controls.iter().map(|piece| source(piece, true))).collect();
            let merge = Merge::open(sources?, None);
            merge.and_then(|mut merge| merge.read(usize::MAX, &mut records)).map_err(|damaged| damaged.error)?;
            self.next = group.end.next();
        }
        Ok(records)
    }

    async fn catch_up(&mut self, mut scan: Scan, frontier: Position) -> Result<Vec<Record>> {
        // Given up in the middle, this begins anew at `next`: the ring will say again that it is behind.
        self.dirty = true;
        match scan.next_batch().await? {
            Some(records) => {
                self.next = records.last().map_or(self.next, |last| last.position.next());
                if scan.is_over() {
                    self.next = self.next.max(frontier.next());
                } else {
                    self.catching_up = Some((scan, frontier));
                }
                Ok(records)
            }
            None => {
                self.next = self.next.max(frontier.next());
                Ok(Vec::new())
            }
        }
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("streams", &self.streams).field("next", &self.next).finish_non_exhaustive()
    }
}

/// The position where a follower begins.
pub(super) async fn begin(reader: &Reader, options: &FollowOptions, end: Position) -> Result<Position> {
    let trim = match &options.streams {
        Streams::One(stream) => reader.trim_point_of(stream).await?,
        _ => reader.trim_point().await?,
    };
    match options.from {
        FollowFrom::Tail => Ok(end.next()),
        FollowFrom::Oldest => Ok(trim),
        FollowFrom::Position(position) if position > end.next() => {
            Err(Error::invalid(format!("the position lies beyond the end of the log, position={position}, end={end}")))
        }
        FollowFrom::Position(position) if position < trim => {
            Err(Error::not_found(format!("the position lies below the trim point, position={position}, trim={trim}")))
        }
        FollowFrom::Position(position) => Ok(position),
    }
}

fn ended() -> Error {
    Error::closed("the log's writer has ended")
}
