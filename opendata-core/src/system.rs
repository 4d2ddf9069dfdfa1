//! The contract between the slate and a system that lives in it.
//!
//! A system is a type that implements [`DataSystem`]: its identity, how it recovers a writer, how it reads,
//! and how its records merge. Its [`SystemWriter`] is owned by the slate's committer and works in two steps:
//! [`prepare`](SystemWriter::prepare) checks an operation and may read, but changes nothing that anyone can
//! see; [`apply`](SystemWriter::apply) cannot fail and writes the rows. A transaction over several instances
//! prepares all of them before it applies any, so that a refused one leaves no trace.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::env::Env;
use crate::error::Result;
use crate::key::{SegmentId, SystemId};
use crate::slate::{ApplyContext, InstanceView, PrepareContext};
use crate::time::Position;

/// What one transaction asks of one instance: a builder with the system's own verbs.
pub trait Operation: Default + Send + Sync + 'static {
    /// About how many bytes it holds; the committer's queue is bounded by their sum.
    fn size_bytes(&self) -> usize;

    /// Whether it asks for nothing.
    fn is_empty(&self) -> bool;
}

/// Settings of an instance, stored with it in the slate.
pub trait Config: Serialize + DeserializeOwned + Clone + PartialEq + Default + Send + Sync + 'static {}

impl<T> Config for T where T: Serialize + DeserializeOwned + Clone + PartialEq + Default + Send + Sync + 'static {}

/// The operation type of a system.
pub type OpOf<S> = <<S as DataSystem>::Writer as SystemWriter>::Op;
/// The receipt type of a system.
pub type ReceiptOf<S> = <<S as DataSystem>::Writer as SystemWriter>::Receipt;
/// The published in-memory state of a system.
pub type StateOf<S> = <<S as DataSystem>::Writer as SystemWriter>::State;

/// A kind of database that can live in a slate.
pub trait DataSystem: Sized + Send + Sync + 'static {
    /// Its id in the keys, from the registry in `docs/format.md`.
    const ID: SystemId;
    /// Its name in composition files and messages.
    const NAME: &'static str;
    /// The version of its format, the second byte of its keys.
    const VERSION: u8;

    /// Settings of an instance.
    type Config: Config;
    /// The one writer of an instance.
    type Writer: SystemWriter;
    /// Reads an instance at one view.
    type Reader: Send + 'static;

    /// Checks a configuration before an instance is created with it.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid), saying which setting and what it may be.
    fn validate(config: &Self::Config) -> Result<()>;

    /// Whether an existing instance may go on under another configuration.
    ///
    /// # Errors
    /// `Invalid` if a setting that is fixed at creation differs. The default allows everything.
    fn reconfigure(_old: &Self::Config, _new: &Self::Config) -> Result<()> {
        Ok(())
    }

    /// Builds the writer from what the view holds. Recovering gives the same writer as never having stopped.
    ///
    /// # Errors
    /// `Corrupt` if a record is not what it should be, or what the store returned.
    fn recover(view: InstanceView<Self>, env: Env) -> impl Future<Output = Result<Self::Writer>> + Send;

    /// A reader over one instance at one view. The view may be the writer's, a checkpoint's or another
    /// process's: without [`InstanceView::state`] the answers must be the same.
    fn reader(view: InstanceView<Self>) -> Self::Reader;

    /// Merges operands, oldest first, into the existing value of a key. Associative: `existing` may itself
    /// be a partial merge. Never panics. The key is whole, with its prefix.
    ///
    /// # Errors
    /// `Corrupt` if an operand cannot be read.
    fn merge(key: &[u8], existing: Option<&[u8]>, operands: &[Bytes]) -> Result<Bytes>;

    /// How many leading bytes of this key, or beginning of keys, go into the Bloom filter that lets scans of
    /// one such beginning skip files. `None` if the key has none, or the beginning is not complete yet.
    fn filter_prefix_len(_key: &[u8]) -> Option<usize> {
        None
    }

    /// Looks for background work. What it returns is committed as an ordinary operation, whose
    /// [`prepare`](SystemWriter::prepare) checks again what was planned on; it is called again at once
    /// until there is nothing to do. Of a slate one piece at a time is planned and committed.
    ///
    /// # Errors
    /// What reading returned.
    fn maintain(_view: InstanceView<Self>) -> impl Future<Output = Result<Option<OpOf<Self>>>> + Send {
        async { Ok(None) }
    }

    /// The first data segment that is still alive at this view. The slate drops the files of all data
    /// segments below it, once nobody in this process looks at an older view.
    ///
    /// # Errors
    /// What reading returned.
    fn first_live_segment(_view: InstanceView<Self>) -> impl Future<Output = Result<SegmentId>> + Send {
        async { Ok(SegmentId::FIRST_DATA) }
    }

    /// A record in words, for inspection.
    ///
    /// # Errors
    /// `Corrupt` if the record cannot be read.
    fn describe(key: &[u8], value: &[u8]) -> Result<String>;
}

/// The one writer of an instance. It belongs to the slate's committer; nobody else can reach it.
#[async_trait]
pub trait SystemWriter: Send + 'static {
    /// What a transaction asks of an instance.
    type Op: Operation;
    /// A checked operation, ready to be applied.
    type Plan: Send + 'static;
    /// What a transaction learns of its own effect, such as the positions of its records.
    type Receipt: Send + Sync + 'static;
    /// What readers in this process use to avoid the store: immutable, or growing only beyond the position
    /// it was published at. It may only ever be a cache of what the slate holds.
    type State: Send + Sync + 'static;

    /// Checks an operation against everything applied so far and reads what it needs. It may fill caches,
    /// but changes nothing else: the transaction may still be refused by another instance.
    ///
    /// Rows that earlier transactions of the same group put are seen through [`PrepareContext::get`].
    ///
    /// # Errors
    /// `Invalid` or `Conflict` refuse the whole transaction.
    async fn prepare(&mut self, op: Self::Op, cx: &PrepareContext<'_>) -> Result<Self::Plan>;

    /// Applies a checked operation: writes rows and moves the writer's own memory on.
    fn apply(&mut self, plan: Self::Plan, cx: &mut ApplyContext<'_>) -> Self::Receipt;

    /// Ends a group of transactions that will be written as one batch: the place to write rows that gather
    /// what several transactions applied.
    fn finish(&mut self, _cx: &mut ApplyContext<'_>) {}

    /// The group was written and is visible at `position`. Returns the state that readers of this
    /// position use. If writing failed, the writer is dropped instead.
    fn publish(&mut self, position: Position) -> Arc<Self::State>;
}
