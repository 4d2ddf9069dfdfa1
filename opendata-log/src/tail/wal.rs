//! Following a log from another process: one task reads the slate's write-ahead log and feeds a ring, from
//! which all followers of the process take what they asked for.
//!
//! It costs the store one look for each poll and reads every file once, however many followers there are. What
//! it shows is durable. If it fell so far behind that files were collected, it goes on at the newest view, and
//! its followers scan what lies between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use opendata_core::env::Env;
use opendata_core::key::{KeyReader, SegmentId};
use opendata_core::slate::wal::{Change, WalRow, WalTail};
use opendata_core::slate::{Handle, SlateReader};
use opendata_core::{Error, ErrorKind, Position, Result};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::follower::{Feed, FollowOptions, Follower, begin};
use super::ring::{Ring, RingChunk, RingGroup};
use crate::chunk::Chunk;
use crate::key::Key;
use crate::reader::Reader;
use crate::record::at_key;
use crate::stats::{Counters, Stats};
use crate::system::Log;

/// Where a process's followers of one log meet.
pub(super) struct Remote {
    reader: Arc<SlateReader>,
    log: Handle<Log>,
    ring: Arc<Ring>,
    poll: Duration,
}

impl Remote {
    pub(super) fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }

    /// A view that shows at least everything up to a position.
    pub(super) async fn view(&self, at_least: Position) -> Result<Reader> {
        loop {
            let view = self.reader.view();
            if view.position() >= at_least || self.reader.refresh().await?.position() >= at_least {
                return self.reader.view().on(&self.log);
            }
            tokio::time::sleep(self.poll).await;
        }
    }
}

/// The least time between two looks.
const LEAST_PAUSE: Duration = Duration::from_millis(2);

/// How long to wait for news. Where some just came more is near, and on a store that answers quickly looking again soon costs little: so the waits begin
/// short and grow. A store is left in peace for four times as long as it took to answer, up to the longest wait.
struct Pause {
    longest: Duration,
    next: Duration,
}

impl Pause {
    fn new(longest: Duration) -> Self {
        Self { longest, next: longest }
    }

    fn came(&mut self) {
        self.next = LEAST_PAUSE;
    }

    /// Nothing came, and to find that out took a while.
    fn missed(&mut self, took: Duration) -> Duration {
        let pause = self.next.max(4 * took).min(self.longest);
        self.next = (2 * self.next).min(self.longest);
        pause
    }
}

/// Feeds the followers of a log in a process that is not its writer.
pub struct WalFeed {
    remote: Arc<Remote>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl WalFeed {
    /// Begins to follow behind what the reader shows. `poll` is the longest wait before looking for a file
    /// that was not there; where files come quickly it is shorter; `ring_bytes` is what is kept for slow followers.
    ///
    /// # Errors
    /// What the store returned.
    pub fn start(
        reader: Arc<SlateReader>,
        log: &Handle<Log>,
        poll: Duration,
        ring_bytes: u64,
        env: &Env,
    ) -> Result<Self> {
        let view = reader.view();
        let tail = reader.tail()?;
        let prefix = view.on(log)?.instance_prefix();
        let ring = Ring::new(tail.position(), ring_bytes, Arc::new(Counters::default()));
        let remote = Arc::new(Remote { reader, log: log.clone(), ring, poll });
        let (stop, stopped) = watch::channel(false);
        let task = env.spawn(run(Arc::clone(&remote), tail, prefix, stopped));
        Ok(Self { remote, stop, task })
    }

    /// Follows the log.
    ///
    /// # Errors
    /// `NotFound` below the trim point, `Invalid` beyond the end; what the store returned.
    pub async fn follow(&self, options: FollowOptions) -> Result<Follower> {
        let end = self.remote.ring.end();
        let reader = self.remote.reader.view().on(&self.remote.log)?;
        let next = begin(&reader, &options, end).await?;
        Ok(Follower::new(Feed::Remote(Arc::clone(&self.remote)), &self.remote.ring, options, next))
    }

    /// How far it has read.
    #[must_use]
    pub fn position(&self) -> Position {
        self.remote.ring.end()
    }

    /// Counters of its ring and followers.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.remote.ring.counters().read()
    }

    /// Ends it and waits for its task. Its followers end with `Closed`.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if self.task.await.is_err() {
            tracing::warn!("the task of a log's feed did not end in order");
        }
    }
}

async fn run(remote: Arc<Remote>, mut tail: WalTail, prefix: Bytes, mut stopped: watch::Receiver<bool>) {
    let reason = tokio::select! {
        biased;
        _ = stopped.wait_for(|stopped| *stopped) => Error::closed("the feed of the log was stopped"),
        reason = feed(&remote, &mut tail, &prefix) => reason,
    };
    remote.ring.close(reason);
}

/// Reads on until something is wrong that waiting does not cure.
async fn feed(remote: &Remote, tail: &mut WalTail, prefix: &[u8]) -> Error {
    let mut pause = Pause::new(remote.poll);
    loop {
        let begun = tokio::time::Instant::now();
        let outcome = match tail.next().await {
            Ok(rows) if rows.is_empty() => {
                tokio::time::sleep(pause.missed(begun.elapsed())).await;
                Ok(())
            }
            Ok(rows) => {
                pause.came();
                take(remote, rows, prefix).map(|()| remote.ring.advance(tail.position()))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => restart(remote, tail).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                tracing::warn!(%error, "the feed of a log could not read and will try again");
                tokio::time::sleep(remote.poll).await;
            }
            Err(error) => return error,
        }
    }
}

/// Goes on at the newest view; followers that have not come so far will scan.
async fn restart(remote: &Remote, tail: &mut WalTail) -> Result<()> {
    let lost = tail.position().next();
    remote.reader.refresh().await?;
    *tail = remote.reader.tail()?;
    tracing::warn!(from = lost.0, to = tail.position().0, "the feed of a log missed files and goes on at a view");
    remote.ring.skip(lost, tail.position());
    Ok(())
}

/// Puts the chunks among the rows into the ring, commit by commit.
fn take(remote: &Remote, rows: Vec<WalRow>, prefix: &[u8]) -> Result<()> {
    let mut groups: BTreeMap<Position, RingGroup> = BTreeMap::new();
    for row in rows {
        let Change::Put(value) = row.change else { continue };
        if !row.key.starts_with(prefix) || is_core(&row.key)? {
            continue;
        }
        let (stream, last, control) = match Key::decode(&row.key)? {
            Key::Chunk { stream, last, .. } => (stream, last, false),
            Key::ControlChunk { last, .. } => (Bytes::new(), last, true),
            _ => continue,
        };
        let first = Chunk::decode(Bytes::new(), last, value.clone()).map_err(|error| at_key(error, &row.key))?.first;
        let group = groups.entry(row.position).or_insert_with(|| RingGroup {
            first,
            end: row.position,
            chunks: Vec::new(),
            controls: Vec::new(),
        });
        group.first = group.first.min(first);
        let chunk = RingChunk { stream, last, value };
        if control { group.controls.push(chunk) } else { group.chunks.push(chunk) }
    }
    for mut group in groups.into_values() {
        if remote.ring.is_watched() {
            group.chunks.sort_unstable_by(|a, b| (&a.stream, a.last).cmp(&(&b.stream, b.last)));
            remote.ring.push(group);
        } else {
            remote.ring.skip(group.first, group.end);
        }
    }
    Ok(())
}

/// Whether a row of the instance is the slate's own, such as a cursor that is kept with the log.
fn is_core(key: &[u8]) -> Result<bool> {
    let (prefix, tag, _) = KeyReader::new(key)?;
    Ok(prefix.segment == SegmentId::CONTROL && tag.is_core())
}

/// What the keys of an instance begin with, whatever the segment.
pub(crate) fn instance_prefix(control: opendata_core::key::Prefix) -> Bytes {
    debug_assert_eq!(control.segment, SegmentId::CONTROL);
    Bytes::copy_from_slice(control.encode().get(..4).unwrap_or_default())
}
