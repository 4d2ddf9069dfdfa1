//! A scan: records in order of position, segment after segment.
//!
//! One stream is read chunk by chunk as its rows come. Several streams, or one with control records between
//! them, are assembled a segment at a time, while the next segment is read in the background.

use std::collections::{BTreeMap, VecDeque};
use std::vec;

use bytes::Bytes;
use opendata_core::key::KeyRange;
use opendata_core::slate::{Access, InstanceView, Order, Rows};
use opendata_core::{Error, Position, Result};
use tokio::task::JoinHandle;

use super::assemble::{Assembled, Wanted};
use super::count::check_trim;
use super::{ControlRecords, Reader, ScanOptions, Start, Streams};
use crate::entry::Record;
use crate::record::Segment;
use crate::system::Log;
use crate::{key, layout};

/// So many records are given together, if that many lie in the segment.
const BATCH_RECORDS: usize = 1_024;
/// A scan that has read so many chunks of a segment one by one goes on in large pieces.
const SHORT_SCAN_CHUNKS: usize = 4;

/// Records, one after another.
pub struct Scan {
    view: InstanceView<Log>,
    wanted: Wanted,
    order: Order,
    /// Segments still to be read, the next one first.
    segments: VecDeque<Segment>,
    source: Source,
    ready: vec::IntoIter<Record>,
    records_left: u64,
    bytes_left: Option<u64>,
    start: Position,
}

enum Source {
    /// Between two segments.
    Between,
    /// The chunks of one stream.
    Stream(Box<StreamRows>),
    /// The chunks of several streams.
    Assembled { current: Box<Assembled>, ahead: Option<Ahead> },
}

struct StreamRows {
    segment: Segment,
    rows: Rows,
    chunks: usize,
    bulk: bool,
}

/// A segment that is being read in the background; given up when dropped.
struct Ahead(JoinHandle<Result<Assembled>>);

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Scan {
    pub(super) async fn open(reader: &Reader, options: ScanOptions) -> Result<Self> {
        let layout = reader.layout().await?;
        let ScanOptions { streams, start, until, order, max_records, max_bytes, control } = options;
        let (trim, trims) = match &streams {
            Streams::One(stream) => (reader.trim_point_of(stream).await?, BTreeMap::new()),
            several => (layout.trim, reader.stream_trims(several.beginning()).await?),
        };
        let mut wanted = Wanted {
            streams,
            positions: trim..until.unwrap_or(Position::MAX),
            ingested: None,
            happened: None,
            control,
            trims,
        };
        let mut in_time: Box<dyn Fn(&&Segment) -> bool + Send> = Box::new(|_| true);
        match start {
            Start::Oldest => {}
            Start::Position(position) => {
                check_trim(position, trim)?;
                wanted.positions.start = position;
            }
            Start::Ingested(time) => {
                wanted.ingested = Some(time);
                in_time = Box::new(move |segment| segment.ingest_times().1 >= time);
                if let Some(first) = layout.segments().find(|segment| !segment.is_empty() && in_time(segment)) {
                    let prefix = reader.view.prefix(first.id);
                    let from = layout::position_before(reader.view.view(), first, prefix, time).await?;
                    wanted.positions.start = trim.max(from);
                }
            }
            Start::Happened(time) => {
                wanted.happened = Some(time);
                in_time = Box::new(move |segment| segment.event_times().1 >= time);
            }
        }
        let positions = wanted.positions.clone();
        let in_reach = |segment: &&Segment| {
            !segment.is_empty() && segment.last >= positions.start && segment.first < positions.end
        };
        let mut segments: VecDeque<Segment> = layout.segments().filter(in_reach).filter(in_time).copied().collect();
        if order == Order::Descending {
            segments.make_contiguous().reverse();
        }
        Ok(Self {
            view: reader.view.clone(),
            start: positions.start,
            wanted,
            order,
            segments,
            source: Source::Between,
            ready: Vec::new().into_iter(),
            records_left: max_records.unwrap_or(u64::MAX),
            bytes_left: max_bytes,
        })
    }

    /// The lowest position that it can give: the trim point, if it begins at the oldest record.
    #[must_use]
    pub fn start(&self) -> Position {
        self.start
    }

    /// The next record; none at the end.
    ///
    /// # Errors
    /// `Corrupt`, naming the key, if a chunk is damaged; what the store returned. The scan cannot go on after an error.
    pub async fn next(&mut self) -> Result<Option<Record>> {
        loop {
            if let Some(record) = self.ready.next() {
                return Ok(Some(record));
            }
            match self.fill().await? {
                Some(records) => self.ready = records.into_iter(),
                None => return Ok(None),
            }
        }
    }

    /// The next records, as many as lay together; none at the end, and never an empty batch. The fastest way to read.
    ///
    /// # Errors
    /// Those of [`next`](Self::next).
    pub async fn next_batch(&mut self) -> Result<Option<Vec<Record>>> {
        if !self.ready.as_slice().is_empty() {
            return Ok(Some(std::mem::take(&mut self.ready).collect()));
        }
        self.fill().await
    }

    /// Whether it is known, without reading on, that nothing is left.
    pub(crate) fn is_over(&self) -> bool {
        let read_to_its_end = match &self.source {
            Source::Between => true,
            Source::Assembled { current, .. } => current.is_over(),
            Source::Stream(_) => false,
        };
        read_to_its_end && self.segments.is_empty() && self.ready.as_slice().is_empty()
    }

    /// All that is left.
    ///
    /// # Errors
    /// Those of [`next`](Self::next).
    pub async fn collect(mut self) -> Result<Vec<Record>> {
        let mut all = Vec::new();
        while let Some(records) = self.next_batch().await? {
            all.extend(records);
        }
        Ok(all)
    }

    /// Reads on until there are records, and applies the limits.
    async fn fill(&mut self) -> Result<Option<Vec<Record>>> {
        loop {
            if self.records_left == 0 || self.bytes_left == Some(0) {
                self.segments.clear();
                self.source = Source::Between;
                return Ok(None);
            }
            let enough = usize::try_from(self.records_left).unwrap_or(usize::MAX).min(BATCH_RECORDS);
            let records = match &mut self.source {
                Source::Between => {
                    let Some(segment) = self.segments.pop_front() else { return Ok(None) };
                    self.source = self.enter(segment, None).await?;
                    continue;
                }
                Source::Assembled { current, ahead } => match current.next(enough)? {
                    Some(records) => records,
                    None => {
                        let ahead = ahead.take();
                        self.source = match self.segments.pop_front() {
                            Some(segment) => self.enter(segment, ahead).await?,
                            None => Source::Between,
                        };
                        continue;
                    }
                },
                Source::Stream(_) => match self.next_chunk().await? {
                    Some(records) => records,
                    None => {
                        self.source = Source::Between;
                        continue;
                    }
                },
            };
            if !records.is_empty() {
                return Ok(Some(self.limit(records)));
            }
        }
    }

    fn limit(&mut self, mut records: Vec<Record>) -> Vec<Record> {
        let most = usize::try_from(self.records_left).unwrap_or(usize::MAX);
        records.truncate(most);
        if let Some(left) = &mut self.bytes_left {
            let fits = records.iter().take_while(|record| {
                let room = *left > 0;
                *left = left.saturating_sub(record.size_bytes() as u64);
                room
            });
            let fits = fits.count();
            records.truncate(fits);
        }
        self.records_left -= records.len() as u64;
        records
    }

    async fn enter(&mut self, segment: Segment, ahead: Option<Ahead>) -> Result<Source> {
        if let (Streams::One(stream), ControlRecords::Hidden) = (&self.wanted.streams, self.wanted.control) {
            let rows = self.stream_rows(&segment, stream).await?;
            return Ok(Source::Stream(Box::new(StreamRows { segment, rows, chunks: 0, bulk: false })));
        }
        let current = match ahead {
            Some(mut ahead) => match (&mut ahead.0).await {
                Ok(assembled) => assembled?,
                Err(error) => return Err(Error::unavailable("reading ahead was cancelled").with_source(error)),
            },
            None => Assembled::load(self.view.clone(), segment, self.wanted.clone(), self.order).await?,
        };
        // A limited scan may well end before it gets there.
        let unlimited = self.records_left == u64::MAX && self.bytes_left.is_none();
        let ahead = self.segments.front().filter(|_| unlimited).map(|next| {
            let load = Assembled::load(self.view.clone(), *next, self.wanted.clone(), self.order);
            // A view has no environment of its own to spawn from; the task ends with the scan at the latest.
            Ahead(tokio::spawn(load))
        });
        Ok(Source::Assembled { current: Box::new(current), ahead })
    }

    async fn stream_rows(&self, segment: &Segment, stream: &Bytes) -> Result<Rows> {
        let (view, prefix) = (self.view.view(), self.view.prefix(segment.id));
        let positions = &self.wanted.positions;
        if self.order == Order::Ascending {
            return layout::stream_rows(view, prefix, stream, positions.start, Access::Point).await;
        }
        let start = key::chunk(prefix, stream, positions.start);
        if positions.end <= segment.last
            && let Some(chunk) = layout::chunk_at(view, prefix, stream, positions.end).await?
        {
            let end = std::ops::Bound::Included(key::chunk(prefix, stream, chunk.last));
            let range = KeyRange { start: std::ops::Bound::Included(start), end };
            return view.scan(range, Access::Point, Order::Descending).await;
        }
        let whole = key::stream_prefix(prefix, stream);
        view.scan_prefix(&whole, &positions.start.0.to_be_bytes(), Access::Point, Order::Descending).await
    }

    /// The wanted records of the next chunk of the stream, possibly none; `None` at the end of the segment.
    async fn next_chunk(&mut self) -> Result<Option<Vec<Record>>> {
        let Source::Stream(source) = &mut self.source else { return Ok(None) };
        let Some(row) = source.rows.next().await? else { return Ok(None) };
        let chunk = layout::chunk(&row)?;
        if self.order == Order::Ascending && chunk.first >= self.wanted.positions.end {
            self.segments.clear();
            return Ok(None);
        }
        let prefix = self.view.prefix(source.segment.id);
        source.chunks += 1;
        if source.chunks == SHORT_SCAN_CHUNKS && !source.bulk && self.order == Order::Ascending {
            let view = self.view.view();
            source.rows = layout::stream_rows(view, prefix, &chunk.stream, chunk.last.next(), Access::Bulk).await?;
            source.bulk = true;
        }
        let mut records = Vec::with_capacity(chunk.count);
        self.wanted.read(prefix, &chunk, &mut records)?;
        if self.order == Order::Descending {
            records.reverse();
        }
        Ok(Some(records))
    }
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan")
            .field("streams", &self.wanted.streams)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}
