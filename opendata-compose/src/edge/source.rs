//! The log that an edge reads: in the same process, or by the path of its slate only. What it gives is durable.

use std::sync::Arc;
use std::time::Duration;

use opendata_core::env::Env;
use opendata_core::slate::{Ack, Ancestor, At, Handle, Slate, SlateId, SlateReader, View};
use opendata_core::store::Store;
use opendata_core::{Error, ErrorKind, Position, Result};
use opendata_log::{
    ControlRecords, FollowFrom, FollowOptions, Follower, Log, Reader, Record, ScanOptions, Start, Streams, WalFeed,
};
use opendata_tsdb::Tsdb;
use opendata_vector::Vector;

use super::cursor::Cursor;
use super::fault::Fault;
use super::spec::{EdgeSpec, StartFrom, StreamsSpec};

/// How often another process's log is looked at for news.
const POLL: Duration = Duration::from_millis(20);
/// What is kept of another process's log for a follower that is slow.
const RING_BYTES: u64 = 16 << 20;

/// Where the source is.
#[derive(Clone, Debug)]
pub enum SourceAt {
    /// Open in this process: its tail is pushed.
    Open(Slate),
    /// Somewhere on a store; another process, or none, writes it.
    Path(Store, String),
}

/// An opened source.
pub(crate) struct Source {
    pub(crate) log: Handle<Log>,
    end: End,
}

enum End {
    Open(Slate),
    Read { reader: Arc<SlateReader>, feed: WalFeed },
}

/// That an edge can begin at a position of a log.
pub(crate) fn check_begin(position: Position, trim: Position, end: Position) -> Result<()> {
    if position > end || position < trim {
        return Err(Error::invalid(format!(
            "the position to begin at lies outside the log, position={position}, trim={trim}, end={end}"
        )));
    }
    Ok(())
}

impl Source {
    pub(crate) async fn open(at: &SourceAt, instance: &str, env: &Env) -> Result<Self> {
        match at {
            SourceAt::Open(slate) => Ok(Self { log: slate.get(instance)?, end: End::Open(slate.clone()) }),
            SourceAt::Path(store, path) => {
                let builder = SlateReader::builder(store, path).env(env.clone());
                let builder = builder.register::<Log>().register::<Tsdb>().register::<Vector>();
                let reader = Arc::new(builder.open(At::Latest).await?);
                let log = reader.get::<Log>(instance)?;
                let feed = WalFeed::start(Arc::clone(&reader), &log, POLL, RING_BYTES, env)?;
                Ok(Self { log, end: End::Read { reader, feed } })
            }
        }
    }

    /// What is durable now, as far as this process has looked.
    pub(crate) fn view(&self) -> View {
        match &self.end {
            End::Open(slate) if planted!(ReadsUndurable) => slate.view(),
            End::Open(slate) => slate.durable_view(),
            End::Read { reader, .. } => reader.view(),
        }
    }

    /// What is durable now.
    pub(crate) async fn newest_view(&self) -> Result<View> {
        match &self.end {
            End::Open(_) => Ok(self.view()),
            End::Read { reader, .. } => reader.refresh().await,
        }
    }

    pub(crate) fn reader(&self, view: &View) -> Result<Reader> {
        view.on(&self.log)
    }

    pub(crate) async fn follow(&self, streams: Streams, next: Position) -> Result<Follower> {
        let options = FollowOptions { streams, from: FollowFrom::Position(next), control: ControlRecords::Shown };
        match &self.end {
            End::Open(slate) => {
                let ack = if planted!(ReadsUndurable) { Ack::Written } else { Ack::Durable };
                Follower::open(slate.watch(ack), &self.log, options).await
            }
            End::Read { feed, .. } => feed.follow(options).await,
        }
    }

    /// Whether a cursor may go on here; then the cursor in this source's terms.
    ///
    /// # Errors
    /// The [`Fault`] that keeps it from that.
    pub(crate) fn admit(view: &View, cursor: &mut Cursor) -> Result<(), Fault> {
        admit_lineage(cursor, view.slate_id(), view.lineage())?;
        let head = view.position();
        if cursor.next > head.next() {
            return Err(Fault::BeyondHead { cursor: cursor.next, head });
        }
        Ok(())
    }

    /// The position where an edge without a cursor begins.
    pub(crate) async fn begin(&self, start: StartFrom, streams: &Streams) -> Result<Position> {
        let view = self.newest_view().await?;
        let (reader, end) = (self.reader(&view)?, view.position().next());
        let trim = reader.trim_point().await?;
        match start {
            StartFrom::Oldest => Ok(trim),
            StartFrom::Tail => Ok(end),
            StartFrom::Position(position) => {
                check_begin(Position(position), trim, end)?;
                Ok(Position(position))
            }
            StartFrom::Time(time) => {
                let options = ScanOptions {
                    start: Start::Ingested(opendata_core::Timestamp(time)),
                    max_records: Some(1),
                    ..ScanOptions::of(streams.clone())
                };
                let first = reader.scan_with(options).await?.next().await?;
                Ok(first.map_or(end, |record| record.position))
            }
        }
    }

    /// How many records lie behind a position. Of a part of the streams this counts what lies there of all of them.
    pub(crate) async fn lag(&self, view: &View, streams: &Streams, next: Position) -> Result<u64> {
        let reader = self.reader(view)?;
        if next > view.position() {
            return Ok(0);
        }
        match streams {
            Streams::One(stream) => reader.lag(stream, next).await,
            _ => reader.lag_all(next).await,
        }
    }

    pub(crate) async fn close(self) {
        if let End::Read { feed, .. } = self.end {
            feed.stop().await;
        }
    }
}

/// A cursor counts in the positions of the source itself, or of a slate that the source was forked from, up to the fork.
fn admit_lineage(cursor: &mut Cursor, source: SlateId, lineage: &[Ancestor]) -> Result<(), Fault> {
    if cursor.source == source {
        return Ok(());
    }
    // Along one line of ancestors the places of forks only go back; a joined slate has several lines, and may have come from one slate by more than one.
    let ours = lineage.iter().filter(|ancestor| ancestor.slate_id == cursor.source);
    let Some(fork) = ours.map(|ancestor| ancestor.fork_position).min() else {
        return Err(Fault::OtherLineage { cursor: cursor.source, source });
    };
    if cursor.next > fork.next() {
        return Err(Fault::BehindFork { cursor: cursor.next, fork });
    }
    cursor.source = source;
    Ok(())
}

/// What an error of reading the source means.
pub(crate) fn judge(error: Error, next: Position, at: &SourceAt) -> Result<Error, Fault> {
    match (error.kind(), at) {
        (ErrorKind::NotFound, _) => Err(Fault::BelowTrim { cursor: next, error }),
        (ErrorKind::Closed | ErrorKind::Fenced, SourceAt::Open(_)) => Err(Fault::SourceEnded(error)),
        (ErrorKind::Invalid | ErrorKind::Corrupt | ErrorKind::Unsupported, _) => Err(Fault::Invalid(error)),
        _ => Ok(error),
    }
}

/// What the reader of an edge must see: everything, where the passing of time is judged by records of others.
pub(crate) fn followed_by(spec: &EdgeSpec) -> Streams {
    match spec.event_time.idle_ms {
        Some(_) => Streams::All,
        None => streams_of(&spec.from.streams),
    }
}

/// Whether a record that the reader of an edge sees is for the edge itself, whose streams these are.
pub(crate) fn is_mine(spec: &EdgeSpec, streams: &Streams, record: &Record) -> bool {
    record.control.is_none() && (spec.event_time.idle_ms.is_none() || streams.contains(&record.stream))
}

/// The selection as the log knows it.
pub(crate) fn streams_of(spec: &StreamsSpec) -> Streams {
    match spec {
        StreamsSpec::All => Streams::All,
        StreamsSpec::One(stream) => Streams::one(stream),
        StreamsSpec::Prefix(prefix) => Streams::prefix(prefix),
        StreamsSpec::Shard(shard) => Streams::shard(&shard.prefix, shard.index, shard.of),
    }
}
