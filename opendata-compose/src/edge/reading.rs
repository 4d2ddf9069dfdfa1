//! The task that reads a source ahead while what was read before is applied.
//!
//! What it has read lies in one place, in pieces. Small commits of the source grow together into one piece, and pieces are small enough that their records are
//! still in the processor's cache when they are applied.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use opendata_core::{Error, Position};
use opendata_log::{Control, Follower, Record};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Portions that are read ahead.
const AHEAD: usize = 2;
/// How often a source without news says how far it looked.
const IDLE: Duration = Duration::from_millis(20);
/// After so many records the task lets others have their turn; smaller pieces grow up to this, and so many are transformed together.
pub(crate) const TURN: usize = 1_024;

/// What comes out of a source, in order.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Records, at least one, and where to go on behind them.
    Records { records: Vec<Record>, next: Position, size_bytes: usize },
    /// A barrier.
    Barrier { id: Bytes, at: Position },
    /// There is nothing before this position that was not given.
    Idle(Position),
    /// Nothing more can be read.
    Failed(Error),
}

/// How much goes into one piece.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portion {
    pub(crate) records: usize,
    pub(crate) size_bytes: usize,
}

/// Reads a source ahead. Dropping it ends the reading.
pub(crate) struct Reading {
    ahead: Arc<Ahead>,
    task: JoinHandle<()>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reading {
    pub(crate) fn start(follower: Follower, portion: Portion) -> Self {
        let ahead = Arc::new(Ahead {
            portion,
            queue: Mutex::new(Queue::default()),
            filled: Notify::new(),
            taken: Notify::new(),
        });
        // The task belongs to this value and ends with it.
        let task = tokio::spawn(read(follower, Arc::clone(&ahead)));
        Self { ahead, task }
    }

    /// The next piece. A call that is given up loses nothing.
    pub(crate) async fn next(&self) -> Piece {
        loop {
            if let Some(piece) = self.ahead.take() {
                return piece;
            }
            if self.ahead.lock().ended {
                return Piece::Failed(Error::closed("the reading has ended"));
            }
            self.ahead.filled.notified().await;
        }
    }

    /// Whether the next piece is there, or comes as fast as it can be read.
    pub(crate) fn has_more(&self) -> bool {
        let queue = self.ahead.lock();
        queue.behind || !queue.pieces.is_empty()
    }
}

/// What was read and not yet taken.
struct Ahead {
    portion: Portion,
    queue: Mutex<Queue>,
    filled: Notify,
    taken: Notify,
}

#[derive(Default)]
struct Queue {
    pieces: VecDeque<Piece>,
    records: usize,
    size_bytes: usize,
    /// What is read was there for long: another piece comes as fast as it can be read.
    behind: bool,
    /// The task is gone.
    ended: bool,
}

/// Says that the task is gone, however it went.
struct Ending(Arc<Ahead>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.filled.notify_one();
    }
}

impl Ahead {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Piece> {
        let mut queue = self.lock();
        let piece = queue.pieces.pop_front()?;
        if let Piece::Records { records, size_bytes, .. } = &piece {
            queue.records -= records.len();
            queue.size_bytes -= size_bytes;
        }
        drop(queue);
        self.taken.notify_one();
        Some(piece)
    }

    /// Adds a piece, waiting for room.
    async fn give(&self, piece: Piece) {
        loop {
            {
                let mut queue = self.lock();
                let full = queue.records >= AHEAD * self.portion.records
                    || queue.size_bytes >= AHEAD * self.portion.size_bytes
                    || queue.pieces.len() >= AHEAD * self.portion.records;
                if !full {
                    queue.add(piece, self.portion);
                    break;
                }
            }
            self.taken.notified().await;
        }
        self.filled.notify_one();
    }
}

impl Queue {
    /// Adds a piece; what fits into the last one goes there.
    fn add(&mut self, piece: Piece, portion: Portion) {
        if let Piece::Records { records, size_bytes, .. } = &piece {
            self.records += records.len();
            self.size_bytes += size_bytes;
        }
        match (self.pieces.back_mut(), piece) {
            (
                Some(Piece::Records { records, next, size_bytes }),
                Piece::Records { records: more, next: later, size_bytes: bytes },
            ) if records.len() + more.len() <= portion.records.min(TURN)
                && *size_bytes + bytes <= portion.size_bytes =>
            {
                records.extend(more);
                (*next, *size_bytes) = (later, *size_bytes + bytes);
            }
            (Some(Piece::Idle(position)), Piece::Idle(later)) => *position = later,
            (_, piece) => self.pieces.push_back(piece),
        }
    }
}

async fn read(mut follower: Follower, ahead: Arc<Ahead>) {
    let _ending = Ending(Arc::clone(&ahead));
    loop {
        let piece = match follower.ready_batch().await {
            Ok(Some(batch)) => {
                let large = batch.records.len() >= TURN;
                ahead.lock().behind = follower.is_behind();
                for piece in pieces(batch.records, batch.next, ahead.portion) {
                    ahead.give(piece).await;
                }
                if large {
                    tokio::task::yield_now().await;
                }
                continue;
            }
            Ok(None) => {
                ahead.lock().behind = false;
                Piece::Idle(follower.position())
            }
            Err(error) => Piece::Failed(error),
        };
        let over = matches!(piece, Piece::Failed(_));
        ahead.give(piece).await;
        if over {
            return;
        }
        tokio::select! {
            biased;
            woken = follower.woken() => {
                if let Err(error) = woken {
                    return ahead.give(Piece::Failed(error)).await;
                }
            }
            () = tokio::time::sleep(IDLE) => {}
        }
    }
}

/// A batch in portions, cut at barriers.
fn pieces(batch: Vec<Record>, next: Position, portion: Portion) -> Vec<Piece> {
    let cost = |record: &Record| record.size_bytes() + size_of::<Record>();
    let size_bytes = batch.iter().map(cost).sum();
    let barrier = |record: &Record| matches!(record.control, Some(Control::Barrier(_)));
    if batch.len() <= portion.records && size_bytes <= portion.size_bytes && !batch.iter().any(barrier) {
        return vec![Piece::Records { records: batch, next, size_bytes }];
    }
    let mut batch = VecDeque::from(batch);
    let mut pieces = Vec::new();
    while !batch.is_empty() {
        let (mut records, mut size_bytes) = (Vec::with_capacity(batch.len().min(portion.records)), 0);
        let mut barrier = None;
        while records.len() < portion.records && size_bytes < portion.size_bytes {
            let Some(record) = batch.pop_front() else { break };
            if let Some(Control::Barrier(id)) = record.control {
                barrier = Some(Piece::Barrier { id, at: record.position });
                break;
            }
            size_bytes += cost(&record);
            records.push(record);
        }
        if let Some(last) = records.last() {
            let next = if batch.is_empty() && barrier.is_none() { next } else { last.position.next() };
            pieces.push(Piece::Records { records, next, size_bytes });
        }
        pieces.extend(barrier);
    }
    pieces
}
