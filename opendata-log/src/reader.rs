//! Reading a log at one view. The view may be the writer's, a checkpoint's or another process's; the answers
//! are the same.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use opendata_core::key::SegmentId;
use opendata_core::slate::{InstanceView, Order};
use opendata_core::{Error, Position, Result, Timestamp};
use tokio::sync::OnceCell;

use crate::layout::{self, Layout};
use crate::maintain;
use crate::record::{Cursor, Segment};
use crate::stats::Stats;
use crate::system::Log;

mod assemble;
mod count;
mod listing;
mod scan;

pub use listing::StreamPage;
pub use scan::Scan;

/// Which streams to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Streams {
    /// Every stream.
    #[default]
    All,
    /// One stream.
    One(Bytes),
    /// All streams whose names begin so.
    Prefix(Bytes),
    /// One of `of` parts of the streams whose names begin so, by hash of the name: all parts together are all of them.
    Shard {
        /// What the names begin with.
        prefix: Bytes,
        /// Which part, from 0.
        index: u32,
        /// How many parts there are.
        of: u32,
    },
}

impl Streams {
    /// One stream.
    pub fn one(stream: impl AsRef<[u8]>) -> Self {
        Self::One(Bytes::copy_from_slice(stream.as_ref()))
    }

    /// All streams whose names begin so.
    pub fn prefix(prefix: impl AsRef<[u8]>) -> Self {
        Self::Prefix(Bytes::copy_from_slice(prefix.as_ref()))
    }

    /// One of `of` parts of the streams whose names begin so. A stream's part is XXH64 of its name, seed 0, modulo `of`.
    pub fn shard(prefix: impl AsRef<[u8]>, index: u32, of: u32) -> Self {
        Self::Shard { prefix: Bytes::copy_from_slice(prefix.as_ref()), index, of: of.max(1) }
    }

    /// What the names of all of them begin with.
    pub(crate) fn beginning(&self) -> &[u8] {
        match self {
            Self::All => &[],
            Self::One(name) | Self::Prefix(name) | Self::Shard { prefix: name, .. } => name,
        }
    }

    /// Whether a stream is among them.
    #[must_use]
    pub fn contains(&self, stream: &[u8]) -> bool {
        match self {
            Self::Shard { prefix, index, of } => {
                stream.starts_with(prefix)
                    && twox_hash::XxHash64::oneshot(0, stream) % u64::from((*of).max(1)) == u64::from(*index)
            }
            Self::All => true,
            Self::One(name) => name == stream,
            Self::Prefix(prefix) => stream.starts_with(prefix),
        }
    }
}

/// Where a scan begins (or, descending, where it ends).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record that is kept.
    #[default]
    Oldest,
    /// At a position. Below the trim point it is an error, never a silent jump.
    Position(Position),
    /// At the first record ingested at this time or later, among those that are kept.
    Ingested(Timestamp),
    /// Only records of this event time or later, among those that are kept. Event times have no order:
    /// chunks and segments without such records are skipped, and the others are looked at.
    Happened(Timestamp),
}

/// Whether control records are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ControlRecords {
    /// They are not.
    #[default]
    Hidden,
    /// They are, in their places, whatever streams are read.
    Shown,
}

/// What to scan, and how far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanOptions {
    /// Which streams.
    pub streams: Streams,
    /// From where.
    pub start: Start,
    /// Up to this position, not included; none: to the end of the view.
    pub until: Option<Position>,
    /// In order of position, from the lowest or from the highest.
    pub order: Order,
    /// At most so many records.
    pub max_records: Option<u64>,
    /// No further record once this many bytes of payloads and headers were given; at least one record is.
    pub max_bytes: Option<u64>,
    /// Whether control records are shown.
    pub control: ControlRecords,
}

impl ScanOptions {
    /// These streams, from the oldest record to the newest.
    #[must_use]
    pub fn of(streams: Streams) -> Self {
        Self { streams, ..Self::default() }
    }

    /// Only positions in this range.
    #[must_use]
    pub fn within(mut self, positions: impl RangeBounds<Position>) -> Self {
        self.start = match positions.start_bound() {
            Bound::Included(start) => Start::Position(*start),
            Bound::Excluded(start) => Start::Position(start.next()),
            Bound::Unbounded => Start::Oldest,
        };
        self.until = match positions.end_bound() {
            Bound::Included(end) => Some(end.next()),
            Bound::Excluded(end) => Some(*end),
            Bound::Unbounded => None,
        };
        self
    }
}

/// Reads one log at one view.
pub struct Reader {
    view: InstanceView<Log>,
    layout: OnceCell<Arc<Layout>>,
}

impl Reader {
    pub(crate) fn new(view: InstanceView<Log>) -> Self {
        Self { view, layout: OnceCell::new() }
    }

    /// The position of the view.
    #[must_use]
    pub fn position(&self) -> Position {
        self.view.position()
    }

    /// The records of one stream, oldest first. A range that begins below the trim point is an error.
    ///
    /// # Errors
    /// `NotFound` if the range begins below the trim point; what the store returned.
    pub async fn scan(&self, stream: impl AsRef<[u8]>, positions: impl RangeBounds<Position>) -> Result<Scan> {
        self.scan_with(ScanOptions::of(Streams::one(stream)).within(positions)).await
    }

    /// The records of all streams whose names begin so, in order of position.
    ///
    /// # Errors
    /// Those of [`scan`](Self::scan).
    pub async fn scan_prefix(&self, prefix: impl AsRef<[u8]>, positions: impl RangeBounds<Position>) -> Result<Scan> {
        self.scan_with(ScanOptions::of(Streams::prefix(prefix)).within(positions)).await
    }

    /// The records of all streams, in order of position.
    ///
    /// # Errors
    /// Those of [`scan`](Self::scan).
    pub async fn scan_all(&self, positions: impl RangeBounds<Position>) -> Result<Scan> {
        self.scan_with(ScanOptions::of(Streams::All).within(positions)).await
    }

    /// A scan with everything that can be said about it.
    ///
    /// # Errors
    /// Those of [`scan`](Self::scan).
    pub async fn scan_with(&self, options: ScanOptions) -> Result<Scan> {
        Scan::open(self, options).await
    }

    /// The newest records of a stream, oldest of them first.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn newest(&self, stream: impl AsRef<[u8]>, records: u64) -> Result<Vec<crate::Record>> {
        let options = ScanOptions {
            order: Order::Descending,
            max_records: Some(records),
            ..ScanOptions::of(Streams::one(stream))
        };
        let mut newest = self.scan_with(options).await?.collect().await?;
        newest.reverse();
        Ok(newest)
    }

    /// The position of the last record of a stream; none if there is none, or none is kept.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn head(&self, stream: impl AsRef<[u8]>) -> Result<Option<Position>> {
        let stream = stream.as_ref();
        let layout = self.layout().await?;
        for segment in layout.segments().rev().filter(|segment| !segment.is_empty()) {
            let prefix = self.view.prefix(segment.id);
            if let Some(chunk) = layout::last_chunk(self.view.view(), prefix, stream).await? {
                let trim = self.trim_point_of(stream).await?;
                return Ok((chunk.last >= trim).then_some(chunk.last));
            }
        }
        Ok(None)
    }

    /// The first position that is kept; zero if nothing was ever trimmed.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn trim_point(&self) -> Result<Position> {
        Ok(self.layout().await?.trim)
    }

    /// The first position that is kept of a stream.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn trim_point_of(&self, stream: impl AsRef<[u8]>) -> Result<Position> {
        let control = self.view.prefix(SegmentId::CONTROL);
        let own = layout::stream_trim(self.view.view(), control, stream.as_ref()).await?;
        Ok(own.max(self.layout().await?.trim))
    }

    /// The position of the last record, control records included; none if nothing is kept.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn last_record(&self) -> Result<Option<Position>> {
        let layout = self.layout().await?;
        let last = layout.segments().rev().find(|segment| !segment.is_empty()).map(|segment| segment.last);
        Ok(last.filter(|last| *last >= layout.trim))
    }

    /// The segments, oldest first.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn segments(&self) -> Result<Vec<Segment>> {
        Ok(self.layout().await?.segments().copied().collect())
    }

    /// The named cursors.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn cursors(&self) -> Result<BTreeMap<Bytes, Cursor>> {
        maintain::cursors(&self.view).await
    }

    /// A cursor; none if there is none of this name.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn cursor(&self, name: impl AsRef<[u8]>) -> Result<Option<Cursor>> {
        let key = crate::key::cursor(self.view.prefix(SegmentId::CONTROL), name.as_ref());
        self.view.get(&key).await?.map(|value| Cursor::decode(&key, &value)).transpose()
    }

    /// Counters since the writer was opened; none if the view is not the writer's.
    #[must_use]
    pub fn stats(&self) -> Option<Stats> {
        self.view.state().map(|state| state.counters.read())
    }

    pub(crate) fn state(&self) -> Option<&Arc<crate::writer::State>> {
        self.view.state()
    }

    /// What all keys of this log begin with.
    pub(crate) fn instance_prefix(&self) -> Bytes {
        crate::tail::instance_prefix(self.view.prefix(SegmentId::CONTROL))
    }

    pub(crate) async fn layout(&self) -> Result<Arc<Layout>> {
        let load = async || match self.view.state() {
            Some(state) => Ok::<_, Error>(Arc::new(state.layout.clone())),
            None => Ok(Arc::new(Layout::load(self.view.view(), self.view.prefix(SegmentId::CONTROL)).await?)),
        };
        self.layout.get_or_try_init(load).await.cloned()
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("log", &self.view.name()).field("position", &self.position()).finish()
    }
}
