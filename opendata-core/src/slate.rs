//! A slate: one SlateDB database with named instances of systems in it.
//!
//! [`Slate`] is the writer, one at a time in the whole world; [`SlateReader`] reads from any process. What
//! either shows is a [`View`].

mod caches;
mod checkpoint;
pub(crate) mod clock;
mod committer;
mod compact;
mod condense;
mod context;
mod copy;
mod cursor;
mod direct;
mod erased;
mod files;
mod fork;
mod join;
mod log_copies;
mod maintenance;
mod open;
mod opening;
mod own;
mod queue;
mod reader;
mod registry;
mod retire;
mod router;
mod settings;
mod state;
mod stats;
mod transaction;
mod view;
pub mod wal;
mod warm;
mod worker;

use std::sync::{Arc, Mutex, PoisonError};

use slatedb::Db;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use checkpoint::{Checkpoint, checkpoints, extend_checkpoint, release_checkpoint};
pub use context::{ApplyContext, PrepareContext};
pub use copy::Copied;
pub use files::{Amount, Files, SegmentFiles};
pub use fork::{Fork, delete};
pub use join::join;
pub use open::Builder;
pub use reader::{At, Inspected, ReaderBuilder, SlateReader};
pub use registry::{Ancestor, FORMAT_VERSION, Instance, SlateId};
pub use router::EXTRACTOR_NAME;
pub use settings::{Compression, Settings};
pub use stats::Stats;
pub use transaction::{Ack, Commit, CommitError, Handle, Pending, Transaction};
pub use view::{Access, InstanceView, Order, Row, Rows, View};

use self::queue::Queue;
use self::router::Router;
use self::stats::Counters;
use self::view::Leases;
use crate::announce::Audience;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::system::DataSystem;
use crate::time::Position;

/// The writer of a slate, and its views. Cheap to clone.
#[derive(Clone)]
pub struct Slate(Arc<Inner>);

struct Inner {
    store: Store,
    path: String,
    id: SlateId,
    db: Db,
    router: Router,
    env: Env,
    settings: Arc<Settings>,
    queue: Queue,
    written: Audience<View>,
    durable: Audience<View>,
    failure: watch::Receiver<Option<Error>>,
    leases: Arc<Leases>,
    counters: Arc<Counters>,
    wake_maintenance: Arc<tokio::sync::Notify>,
    /// Held while a piece of background work is planned and committed.
    maintaining: tokio::sync::Mutex<()>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Slate {
    /// Begins to describe a slate at a path of a store.
    #[must_use]
    pub fn builder(store: &Store, path: &str) -> Builder {
        Builder::new(store, path)
    }

    /// The slate's identity.
    #[must_use]
    pub fn id(&self) -> SlateId {
        self.0.id
    }

    /// Its path in the store.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Its store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Where it was cloned from, nearest ancestor first; empty for a slate of its own.
    #[must_use]
    pub fn lineage(&self) -> Vec<Ancestor> {
        self.view().0.registry.lineage.clone()
    }

    /// A handle to an instance.
    ///
    /// # Errors
    /// `NotFound` if there is none of that name, `Invalid` if it is one of another system.
    pub fn get<S: DataSystem>(&self, name: &str) -> Result<Handle<S>> {
        let view = self.view();
        let instance = view.0.registry.find(name)?;
        instance.check_system::<S>()?;
        self.0.router.of(instance)?;
        Ok(Handle::new(self.0.id, instance))
    }

    /// Begins a transaction.
    #[must_use]
    pub fn begin(&self) -> Transaction {
        Transaction::new(self.0.id, self.0.queue.clone())
    }

    /// The newest view: everything committed so far, durable or not.
    #[must_use]
    pub fn view(&self) -> View {
        self.0.written.now()
    }

    /// The newest view of what is durable. Whatever leaves this process should be read from it.
    #[must_use]
    pub fn durable_view(&self) -> View {
        self.0.durable.now()
    }

    /// Follows the views: changes after each group of commits.
    #[must_use]
    pub fn watch(&self, ack: Ack) -> watch::Receiver<View> {
        match ack {
            Ack::Written => self.0.written.watch(),
            Ack::Durable => self.0.durable.watch(),
        }
    }

    /// Makes everything written so far durable, and returns the position up to which it is.
    ///
    /// # Errors
    /// `Fenced`, `OutcomeUnknown` or `Closed`: this writer has ended.
    pub async fn flush(&self) -> Result<Position> {
        self.0.queue.flush().await
    }

    /// Writes what is in memory as sorted files, so that a reader has no log to replay.
    ///
    /// # Errors
    /// What the store returned; `Unavailable` if it did not take them within [`Settings::files_timeout_ms`].
    pub async fn flush_files(&self) -> Result<()> {
        self.flush().await?;
        open::flush_files(&self.0.db, self.0.settings.files_timeout()).await
    }

    /// Gives an instance another name. Handles keep working.
    ///
    /// # Errors
    /// `NotFound`, or `Conflict` if the new name is taken.
    pub async fn rename(&self, from: &str, to: &str) -> Result<Position> {
        let (from, to) = (from.to_owned(), to.to_owned());
        let position = self
            .0
            .queue
            .barrier(move |committer| {
                Box::pin(async move {
                    let mut registry = (*committer.registry).clone();
                    registry.rename(&from, &to)?;
                    let position = committer.replace_registry(registry).await?;
                    committer.settle().await?;
                    Ok(position)
                })
            })
            .await?;
        self.flush_files().await?;
        Ok(position)
    }

    /// Counters since it was opened.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.counters.read()
    }

    /// Why the slate can no longer be written, once that is so.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.0.failure.borrow().clone()
    }

    /// A record in words.
    ///
    /// # Errors
    /// `Corrupt` if its system cannot read it.
    pub fn describe(&self, row: &Row) -> Result<String> {
        self.0.router.describe(&row.key, &row.value)
    }

    /// Commits what is queued, makes it durable, and ends all tasks. Every clone of this slate is closed.
    ///
    /// # Errors
    /// What the last flush returned; the slate is closed nevertheless.
    pub async fn close(&self) -> Result<()> {
        let closed = self.0.queue.close().await;
        self.0.wake_maintenance.notify_waiters();
        let tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            if task.await.is_err() {
                tracing::warn!("a task of the slate did not end in order");
            }
        }
        closed
    }
}

impl std::fmt::Debug for Slate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slate").field("path", &self.0.path).field("id", &self.0.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
