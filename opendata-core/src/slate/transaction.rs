//! Transactions: what a caller asks of several instances at once, and what it learns.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::cursor::CursorUpdate;
use super::erased::{AnyOp, AnyReceipt};
use super::queue::{Queue, Submitted};
use super::registry::{Address, Instance, SlateId};
use super::state::StateUpdate;
use crate::error::{Error, ErrorKind, Result};
use crate::key::InstanceId;
use crate::system::{DataSystem, OpOf, ReceiptOf};
use crate::time::Position;

/// When a commit is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ack {
    /// When it is on the object store: it survives this process and this machine.
    #[default]
    Durable,
    /// When it is visible to readers in this process. A crash, or another writer taking the slate over, may
    /// still undo it; it becomes durable within the flush interval.
    Written,
}

/// Names an instance of system `S` in a slate. Cheap to clone.
pub struct Handle<S> {
    slate_id: SlateId,
    id: InstanceId,
    name: Arc<str>,
    system: PhantomData<fn() -> S>,
}

impl<S> Clone for Handle<S> {
    fn clone(&self) -> Self {
        Self { slate_id: self.slate_id, id: self.id, name: Arc::clone(&self.name), system: PhantomData }
    }
}

impl<S> fmt::Debug for Handle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({})", self.name)
    }
}

impl<S> Handle<S> {
    pub(crate) fn new(slate_id: SlateId, instance: &Instance) -> Self {
        Self { slate_id, id: instance.id, name: Arc::clone(&instance.name), system: PhantomData }
    }

    /// The instance's name when the handle was made.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The instance's id.
    #[must_use]
    pub fn id(&self) -> InstanceId {
        self.id
    }

    /// The slate it was made for.
    #[must_use]
    pub fn slate_id(&self) -> SlateId {
        self.slate_id
    }
}

impl<S: DataSystem> Handle<S> {
    pub(crate) fn address(&self) -> Address {
        Address { system: S::ID, id: self.id }
    }
}

/// Collects operations on any number of instances, then commits all of them or none.
pub struct Transaction {
    slate_id: SlateId,
    queue: Queue,
    ops: Vec<(Address, Box<dyn AnyOp>)>,
    cursors: Vec<CursorUpdate>,
    states: Vec<StateUpdate>,
    misdirected: Option<Error>,
    derived: bool,
}

impl Transaction {
    pub(crate) fn new(slate_id: SlateId, queue: Queue) -> Self {
        Self {
            slate_id,
            queue,
            ops: Vec::new(),
            cursors: Vec::new(),
            states: Vec::new(),
            misdirected: None,
            derived: false,
        }
    }

    /// The operation on one instance, to be filled with the system's own verbs. The same instance gives the
    /// same operation again. With a handle of another slate the transaction fails when it is committed.
    pub fn on<S: DataSystem>(&mut self, handle: &Handle<S>) -> &mut OpOf<S> {
        self.check_direction(handle);
        let found = self.ops.iter_mut().position(|(at, op)| *at == handle.address() && op.as_any().is::<OpOf<S>>());
        let index = found.unwrap_or_else(|| {
            self.ops.push((handle.address(), Box::new(OpOf::<S>::default())));
            self.ops.len() - 1
        });
        let op = self.ops.get_mut(index).and_then(|(_, op)| op.as_any().downcast_mut::<OpOf<S>>());
        #[expect(
            clippy::expect_used,
            reason = "the operation at this index was just found to be, or made, of this type"
        )]
        op.expect("operation of this type")
    }

    /// Moves a cursor of an instance in the same commit, on the condition that it stands where `expected`
    /// says: `None` means that there is no such cursor yet. Cursors are what makes an edge exactly-once.
    pub fn move_cursor<S: DataSystem>(&mut self, handle: &Handle<S>, name: &str, expected: Option<Bytes>, next: Bytes) {
        self.check_direction(handle);
        self.cursors.push(CursorUpdate {
            instance: handle.address(),
            name: name.to_owned(),
            expected,
            next: Some(next),
        });
    }

    /// Removes a cursor of an instance in the same commit, on the condition that it stands where `expected` says.
    pub fn remove_cursor<S: DataSystem>(&mut self, handle: &Handle<S>, name: &str, expected: Bytes) {
        self.check_direction(handle);
        let update =
            CursorUpdate { instance: handle.address(), name: name.to_owned(), expected: Some(expected), next: None };
        self.cursors.push(update);
    }

    /// Sets a row of an instance's state in the same commit; see [`View::states`](super::View::states). Of several writes of one row
    /// the last counts.
    pub fn put_state<S: DataSystem>(&mut self, handle: &Handle<S>, name: &str, key: Bytes, value: Bytes) {
        self.check_direction(handle);
        self.states.push(StateUpdate { instance: handle.address(), name: name.to_owned(), key, value: Some(value) });
    }

    /// Removes a row of an instance's state in the same commit.
    pub fn delete_state<S: DataSystem>(&mut self, handle: &Handle<S>, name: &str, key: Bytes) {
        self.check_direction(handle);
        self.states.push(StateUpdate { instance: handle.address(), name: name.to_owned(), key, value: None });
    }

    /// Says that what it writes is made of what other instances hold, or is upkeep, and can be made again: it does not count as
    /// written directly. See [`View::written_directly`](super::View::written_directly).
    pub fn mark_derived(&mut self) {
        self.derived = true;
    }

    fn check_direction<S: DataSystem>(&mut self, handle: &Handle<S>) {
        if handle.slate_id != self.slate_id && self.misdirected.is_none() {
            self.misdirected =
                Some(Error::invalid(format!("the handle belongs to another slate, name={}", handle.name)));
        }
    }

    /// About how many bytes it holds.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.ops.iter().map(|(_, op)| op.size_bytes()).sum::<usize>()
            + self.cursors.iter().map(CursorUpdate::size_bytes).sum::<usize>()
            + self.states.iter().map(StateUpdate::size_bytes).sum::<usize>()
    }

    /// Whether it asks for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.iter().all(|(_, op)| op.is_empty()) && self.cursors.is_empty() && self.states.is_empty()
    }

    /// Commits and waits until the commit is durable. An empty transaction is durable at once.
    ///
    /// # Errors
    /// `Invalid` and `Conflict` leave no trace. `Backpressure` gives the transaction back
    /// ([`CommitError::into_transaction`]). `Fenced` and `OutcomeUnknown` mean that this writer has ended, and
    /// that the slate must be reopened and read to know whether the transaction is in.
    pub async fn commit(self) -> Result<Commit, CommitError> {
        self.commit_with(Ack::Durable).await
    }

    /// Commits and waits for the given acknowledgement.
    ///
    /// # Errors
    /// Those of [`commit`](Self::commit).
    pub async fn commit_with(self, ack: Ack) -> Result<Commit, CommitError> {
        let queue = self.queue.clone();
        let pending = queue.submit(self, ack).await?;
        Ok(pending.wait().await?)
    }

    /// Hands the transaction to the committer, waiting for a place in its queue, and returns without waiting
    /// for the outcome. Transactions are committed in the order they are submitted in.
    ///
    /// # Errors
    /// `Backpressure` after the queue stayed full for [`Settings::queue_timeout_ms`](super::Settings).
    pub async fn submit(self, ack: Ack) -> Result<Pending, CommitError> {
        let queue = self.queue.clone();
        queue.submit(self, ack).await
    }

    /// Hands the transaction to the committer without waiting at all.
    ///
    /// # Errors
    /// `Backpressure`, with the transaction, if the queue is full.
    pub fn try_submit(self, ack: Ack) -> Result<Pending, CommitError> {
        let queue = self.queue.clone();
        queue.try_submit(self, ack)
    }

    pub(crate) fn into_parts(self) -> Result<Parts> {
        match self.misdirected {
            Some(error) => Err(error),
            None => {
                let ops = self.ops.into_iter().filter(|(_, op)| !op.is_empty()).collect();
                Ok(Parts { ops, cursors: self.cursors, states: self.states, derived: self.derived })
            }
        }
    }

    pub(crate) fn push(&mut self, instance: Address, op: Box<dyn AnyOp>) {
        self.ops.push((instance, op));
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("instances", &self.ops.len())
            .field("size_bytes", &self.size_bytes())
            .finish()
    }
}

pub(crate) struct Parts {
    pub(crate) ops: Vec<(Address, Box<dyn AnyOp>)>,
    pub(crate) cursors: Vec<CursorUpdate>,
    pub(crate) states: Vec<StateUpdate>,
    pub(crate) derived: bool,
}

/// A submitted transaction whose outcome is not known yet. Dropping it does not undo the commit.
#[derive(Debug)]
pub struct Pending {
    reply: oneshot::Receiver<Result<Commit>>,
}

impl Pending {
    pub(crate) fn new(reply: oneshot::Receiver<Result<Commit>>) -> Self {
        Self { reply }
    }

    /// Waits for the acknowledgement it was submitted with.
    ///
    /// # Errors
    /// Those of [`Transaction::commit`], except `Backpressure`.
    pub async fn wait(self) -> Result<Commit> {
        match self.reply.await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::outcome_unknown("the committer ended before it answered")),
        }
    }
}

/// A committed transaction.
#[derive(Clone)]
pub struct Commit {
    pub(crate) position: Position,
    pub(crate) receipts: BTreeMap<Address, AnyReceipt>,
}

impl Commit {
    /// Where it stands: views at this position or later show it, earlier ones do not.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// What an instance says about its part; none if the transaction asked nothing of it.
    #[must_use]
    pub fn receipt<S: DataSystem>(&self, handle: &Handle<S>) -> Option<&ReceiptOf<S>> {
        let receipt: &(dyn Any + Send + Sync) = self.receipts.get(&handle.address())?.as_ref();
        receipt.downcast_ref()
    }
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commit").field("position", &self.position).finish_non_exhaustive()
    }
}

/// A commit that failed, with the transaction if it never left its caller.
pub struct CommitError {
    pub(crate) error: Error,
    pub(crate) transaction: Option<Box<Transaction>>,
}

impl CommitError {
    /// What happened.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.error.kind()
    }

    /// The transaction, to be committed again: there after `Backpressure`, else none.
    #[must_use]
    pub fn into_transaction(self) -> Option<Transaction> {
        self.transaction.map(|transaction| *transaction)
    }
}

impl From<Error> for CommitError {
    fn from(error: Error) -> Self {
        Self { error, transaction: None }
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        error.error
    }
}

impl fmt::Debug for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.error)
    }
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for CommitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

impl Submitted {
    pub(crate) fn refuse(self, error: Error) {
        // The caller may have stopped waiting; then nobody is left to tell.
        let _ = self.reply.send(Err(error));
    }
}
