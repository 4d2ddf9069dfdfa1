//! The queue in front of the committer: bounded by count and by bytes. A full one gives the transaction back.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::Settings;
use super::committer::Committer;
use super::transaction::{Ack, Commit, CommitError, Parts, Pending, Transaction};
use crate::error::{Error, Result};
use crate::time::Position;

/// A transaction on its way to the committer. The permit is its share of the queue's bytes.
pub(crate) struct Submitted {
    pub(crate) parts: Parts,
    pub(crate) size_bytes: usize,
    pub(crate) ack: Ack,
    pub(crate) reply: oneshot::Sender<Result<Commit>>,
    pub(crate) permit: tokio::sync::OwnedSemaphorePermit,
}

type Between = Box<dyn for<'a> FnOnce(&'a mut Committer) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> + Send>;

pub(crate) enum Request {
    Commit(Submitted),
    /// Runs between two groups, with nothing staged.
    Barrier(Between),
    /// Makes everything written so far durable.
    Flush(oneshot::Sender<Result<Position>>),
    Close(oneshot::Sender<Result<()>>),
}

/// The way into the committer, bounded by count and by bytes.
#[derive(Clone)]
pub(crate) struct Queue {
    requests: mpsc::Sender<Request>,
    bytes: Arc<Semaphore>,
    settings: Arc<Settings>,
    failure: watch::Receiver<Option<Error>>,
}

/// Semaphores count in units of this many bytes.
const PERMIT_BYTES: usize = 256;

impl Queue {
    pub(crate) fn new(
        settings: Arc<Settings>,
        failure: watch::Receiver<Option<Error>>,
    ) -> (Self, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(settings.queue_transactions);
        let bytes = Arc::new(Semaphore::new(settings.queue_bytes.div_ceil(PERMIT_BYTES) + 1));
        (Self { requests, bytes, settings, failure }, receiver)
    }

    /// Why the committer ended, once it has.
    pub(crate) fn failure(&self) -> Error {
        self.failure.borrow().clone().unwrap_or_else(|| Error::closed("the slate is closed"))
    }

    pub(crate) async fn submit(&self, transaction: Transaction, ack: Ack) -> Result<Pending, CommitError> {
        let permits = self.permits(&transaction)?;
        let timeout = std::time::Duration::from_millis(self.settings.queue_timeout_ms);
        let places = async {
            let permit = Arc::clone(&self.bytes).acquire_many_owned(permits).await.ok()?;
            let place = self.requests.reserve().await.ok()?;
            Some((permit, place))
        };
        match tokio::time::timeout(timeout, places).await {
            Ok(Some((permit, place))) => {
                let (submitted, pending) = wrap(transaction, ack, permit)?;
                place.send(Request::Commit(submitted));
                Ok(pending)
            }
            Ok(None) => Err(self.failure().into()),
            Err(_) => Err(full(transaction)),
        }
    }

    /// Makes a transaction ready for the committer without queueing it: for those that a barrier commits.
    pub(crate) async fn prepare(&self, transaction: Transaction, ack: Ack) -> Result<(Submitted, Pending)> {
        let permits = self.permits(&transaction)?;
        let permit = Arc::clone(&self.bytes).acquire_many_owned(permits).await.map_err(|_| self.failure())?;
        wrap(transaction, ack, permit)
    }

    pub(crate) fn try_submit(&self, transaction: Transaction, ack: Ack) -> Result<Pending, CommitError> {
        let permits = self.permits(&transaction)?;
        let Ok(permit) = Arc::clone(&self.bytes).try_acquire_many_owned(permits) else {
            return Err(full(transaction));
        };
        match self.requests.try_reserve() {
            Ok(place) => {
                let (submitted, pending) = wrap(transaction, ack, permit)?;
                place.send(Request::Commit(submitted));
                Ok(pending)
            }
            Err(mpsc::error::TrySendError::Full(())) => Err(full(transaction)),
            Err(mpsc::error::TrySendError::Closed(())) => Err(self.failure().into()),
        }
    }

    fn permits(&self, transaction: &Transaction) -> Result<u32> {
        let size = transaction.size_bytes();
        if size > self.settings.transaction_bytes {
            return Err(Error::invalid(format!(
                "the transaction is too large, size_bytes={size}, limit={}",
                self.settings.transaction_bytes
            )));
        }
        u32::try_from(size / PERMIT_BYTES + 1).map_err(|_| Error::invalid("the transaction is too large"))
    }

    /// Runs `between` when no group is being staged, and returns what it returned.
    pub(crate) async fn barrier<T: Send + 'static>(
        &self,
        between: impl for<'a> FnOnce(&'a mut Committer) -> Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>
        + Send
        + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let run: Between = Box::new(move |committer| {
            Box::pin(async move {
                let _ = reply.send(between(committer).await);
            })
        });
        self.requests.send(Request::Barrier(run)).await.map_err(|_| self.failure())?;
        answer.await.map_err(|_| self.failure())?
    }

    pub(crate) async fn flush(&self) -> Result<Position> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Flush(reply)).await.map_err(|_| self.failure())?;
        answer.await.map_err(|_| self.failure())?
    }

    pub(crate) async fn close(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Close(reply)).await.map_err(|_| self.failure())?;
        answer.await.map_err(|_| self.failure())?
    }
}

fn wrap(transaction: Transaction, ack: Ack, permit: tokio::sync::OwnedSemaphorePermit) -> Result<(Submitted, Pending)> {
    let size_bytes = transaction.size_bytes();
    let parts = transaction.into_parts()?;
    let (reply, receiver) = oneshot::channel();
    Ok((Submitted { parts, size_bytes, ack, reply, permit }, Pending::new(receiver)))
}

fn full(transaction: Transaction) -> CommitError {
    CommitError {
        error: Error::backpressure("the slate's queue is full; commit the transaction again later"),
        transaction: Some(Box::new(transaction)),
    }
}

/// How often a group that is smaller than expected lets other tasks run before it goes.
const YIELDS: usize = 32;

/// Takes what waits behind the first transaction, up to the size of a group. If more callers are expected to come,
/// because the last flush released so many at once, they get a moment: else the first of them would
/// be flushed alone, and all others would wait for that.
pub(crate) async fn gather(
    first: Submitted,
    requests: &mut mpsc::Receiver<Request>,
    settings: &Settings,
    expected: usize,
) -> (Vec<Submitted>, Option<Request>) {
    let mut size_bytes = first.size_bytes;
    let mut group = vec![first];
    let mut yields = 0;
    while size_bytes < settings.group_bytes {
        match requests.try_recv() {
            Ok(Request::Commit(next)) => {
                size_bytes += next.size_bytes;
                group.push(next);
            }
            Ok(other) => return (group, Some(other)),
            Err(mpsc::error::TryRecvError::Empty) if group.len() < expected && yields < YIELDS => {
                yields += 1;
                tokio::task::yield_now().await;
            }
            Err(_) => break,
        }
    }
    (group, None)
}

/// The next of what is left in a queue that takes no more from now on. Whoever has a place in it already is waited
/// for: what came into it after a last look would never be answered.
pub(crate) async fn rest(requests: &mut mpsc::Receiver<Request>) -> Option<Request> {
    requests.close();
    requests.recv().await
}

pub(crate) fn refuse(request: Option<Request>, error: &Error) {
    match request {
        Some(Request::Commit(submitted)) => submitted.refuse(error.clone()),
        Some(Request::Flush(reply)) => drop(reply.send(Err(error.clone()))),
        Some(Request::Close(reply)) => drop(reply.send(Err(error.clone()))),
        // A barrier that never runs drops its reply, and the caller finds the failure.
        Some(Request::Barrier(_)) | None => {}
    }
}

#[cfg(test)]
mod tests;
