//! The task that reads a source ahead, a few pieces at most, while what was read before is applied.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use opendata_core::{Error, Position};
use opendata_log::{Control, Follower, Record};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Pieces that wait for whoever applies them.
const AHEAD: usize = 2;
/// How often a source without news says how far it looked.
const IDLE: Duration = Duration::from_millis(20);

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

/// How much is read at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portion {
    pub(crate) records: usize,
    pub(crate) size_bytes: usize,
}

/// Reads a source ahead. Dropping it ends the reading.
pub(crate) struct Reading {
    pieces: mpsc::Receiver<Piece>,
    /// A piece that did not fit into what was taken.
    held: Option<Piece>,
    task: JoinHandle<()>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reading {
    pub(crate) fn start(follower: Follower, portion: Portion) -> Self {
        let (send, pieces) = mpsc::channel(AHEAD);
        // The task belongs to this value and ends with it.
        let task = tokio::spawn(read(follower, portion, send));
        Self { pieces, held: None, task }
    }

    /// The next piece. Records that lie ready go together, up to a portion, so that transactions grow with the load. A call that is
    /// given up loses nothing.
    pub(crate) async fn next(&mut self, portion: Portion) -> Piece {
        let first = match self.held.take() {
            Some(piece) => piece,
            None => self.pieces.recv().await.unwrap_or_else(|| Piece::Failed(Error::closed("the reading has ended"))),
        };
        let Piece::Records { mut records, mut next, mut size_bytes } = first else { return first };
        while records.len() < portion.records && size_bytes < portion.size_bytes {
            match self.pieces.try_recv() {
                Ok(Piece::Records { records: more, next: later, size_bytes: bytes })
                    if records.len() + more.len() <= portion.records && size_bytes + bytes <= portion.size_bytes =>
                {
                    records.extend(more);
                    (next, size_bytes) = (later, size_bytes + bytes);
                }
                Ok(other) => {
                    self.held = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        Piece::Records { records, next, size_bytes }
    }
}

async fn read(mut follower: Follower, portion: Portion, send: mpsc::Sender<Piece>) {
    loop {
        let piece = match follower.ready_batch().await {
            Ok(Some(batch)) => {
                if give(batch.records.into(), batch.next, portion, &send).await.is_err() {
                    return;
                }
                continue;
            }
            Ok(None) => Piece::Idle(follower.position()),
            Err(error) => Piece::Failed(error),
        };
        let over = matches!(piece, Piece::Failed(_));
        if send.send(piece).await.is_err() || over {
            return;
        }
        tokio::select! {
            woken = follower.woken() => {
                if let Err(error) = woken {
                    let _ = send.send(Piece::Failed(error)).await;
                    return;
                }
            }
            () = tokio::time::sleep(IDLE) => {}
        }
    }
}

/// Hands a batch on in portions, cut at barriers.
async fn give(
    mut batch: VecDeque<Record>,
    next: Position,
    portion: Portion,
    send: &mpsc::Sender<Piece>,
) -> Result<(), mpsc::error::SendError<Piece>> {
    while !batch.is_empty() {
        let (mut records, mut size_bytes) = (Vec::new(), 0);
        let mut barrier = None;
        while records.len() < portion.records && size_bytes < portion.size_bytes {
            let Some(record) = batch.pop_front() else { break };
            if let Some(Control::Barrier(id)) = record.control {
                barrier = Some(Piece::Barrier { id, at: record.position });
                break;
            }
            size_bytes += record.size_bytes() + size_of::<Record>();
            records.push(record);
        }
        if let Some(last) = records.last() {
            let next = if batch.is_empty() && barrier.is_none() { next } else { last.position.next() };
            send.send(Piece::Records { records, next, size_bytes }).await?;
        }
        if let Some(barrier) = barrier {
            send.send(barrier).await?;
        }
    }
    Ok(())
}
