//! The committer: the one task that writes to a slate.
//!
//! It takes the transactions that wait, stages them one after another into one batch, writes the batch at a
//! sequence number of its own choosing (the last position given out), publishes a view of it, and makes it
//! durable with one flush of the write-ahead log for all that was written meanwhile. While a flush is under
//! way the next groups are staged and written.
//!
//! Invariants:
//! - A transaction is prepared on all its instances before it is applied on any, so a refused one leaves no trace.
//! - What is published was written; what is acknowledged as durable was flushed.
//! - A failed write or flush is final: every waiter is told, nothing is written any more, the slate must be reopened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use slatedb::config::{CloseOptions, WriteOptions};
use slatedb::{CloseReason, Db, DbStatus};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Settings;
use super::caches::Caches;
use super::clock::{SlateClock, sleep_until};
use super::context::{ApplyContext, Batch, PrepareContext, check_own};
use super::erased::AnyWriter;
use super::open::flush_files;
use super::queue::{Request, Submitted, gather, refuse, rest};
use super::registry::{Address, Registry};
use super::retire::refusal;
use super::router::Router;
use super::stats::Counters;
use super::transaction::{Ack, Commit, Parts};
use super::view::{AnyState, Leases, Source, View, ViewInner};
use crate::announce::Announcer;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::time::{Position, Timestamp};

/// Who waits for the next flush.
#[derive(Default)]
struct Waiting {
    /// The newest view that the flush will cover.
    view: Option<View>,
    commits: Vec<(oneshot::Sender<Result<Commit>>, Commit)>,
    flushes: Vec<oneshot::Sender<Result<Position>>>,
}

impl Waiting {
    fn is_urgent(&self) -> bool {
        !self.commits.is_empty() || !self.flushes.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.view.is_none() && !self.is_urgent()
    }

    fn fail(&mut self, error: &Error) {
        for (reply, _) in self.commits.drain(..) {
            let _ = reply.send(Err(error.clone()));
        }
        for reply in self.flushes.drain(..) {
            let _ = reply.send(Err(error.clone()));
        }
        self.view = None;
    }
}

struct Flushing {
    task: JoinHandle<std::result::Result<(), slatedb::Error>>,
    waiting: Waiting,
}

/// Everything the committing task owns.
pub(crate) struct Committer {
    pub(crate) db: Db,
    pub(crate) registry: Arc<Registry>,
    pub(crate) router: Router,
    pub(crate) env: Env,
    pub(crate) writers: BTreeMap<Address, Box<dyn AnyWriter>>,
    pub(crate) states: BTreeMap<Address, AnyState>,
    pub(crate) caches: Arc<Caches>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) clock: Arc<SlateClock>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) written: Announcer<View>,
    pub(crate) durable: Announcer<View>,
    pub(crate) failure: watch::Sender<Option<Error>>,
    /// The last position given out, which is also the sequence number of the last batch.
    pub(crate) last: Position,
    pub(crate) progress: Progress,
}

/// What was written and is not durable yet.
#[derive(Default)]
pub(crate) struct Progress {
    waiting: Waiting,
    flushing: Option<Flushing>,
    dirty_since: Option<Instant>,
    /// How many durable commits the last flush released: about as many are about to come again.
    released: usize,
}

enum Event {
    Request(Option<Request>),
    Flushed(std::result::Result<(), slatedb::Error>),
    Ended(Error),
    Due,
}

impl Committer {
    pub(crate) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut carried = None;
        let mut engine = self.db.subscribe();
        while self.failure.borrow().is_none() {
            self.start_flush_if_due();
            let event = match carried.take() {
                Some(request) => Event::Request(Some(request)),
                None => self.next_event(&mut requests, &mut engine).await,
            };
            match event {
                Event::Due => {}
                Event::Flushed(outcome) => self.flushed(outcome),
                Event::Ended(error) => self.fail(error),
                Event::Request(Some(Request::Commit(first))) => {
                    let group;
                    let expected = self.progress.released.saturating_sub(self.progress.waiting.commits.len());
                    (group, carried) = gather(first, &mut requests, &self.settings, expected).await;
                    self.commit_group(group).await;
                }
                Event::Request(Some(Request::Barrier(between))) => between(&mut self).await,
                Event::Request(Some(Request::Flush(reply))) => self.progress.waiting.flushes.push(reply),
                Event::Request(Some(Request::Close(reply))) => {
                    self.close(&mut requests, Some(reply)).await;
                    return;
                }
                Event::Request(None) => {
                    self.close(&mut requests, None).await;
                    return;
                }
            }
        }
        // The failure is recorded, so whoever finds the queue closed knows why.
        let error = self.failure.borrow().clone().unwrap_or_else(|| Error::closed("the slate is closed"));
        refuse(carried, &error);
        while let Some(request) = rest(&mut requests).await {
            refuse(Some(request), &error);
        }
        // The engine is already broken or fenced; closing it only ends its tasks.
        let _ = self.end_engine().await;
    }

    async fn end_engine(&mut self) -> std::result::Result<(), slatedb::Error> {
        self.db.close_with_options(CloseOptions::default().with_flush_type(None)).await
    }

    async fn next_event(
        &mut self,
        requests: &mut mpsc::Receiver<Request>,
        engine: &mut watch::Receiver<DbStatus>,
    ) -> Event {
        let due = self.progress.dirty_since.map(|since| since + self.settings.flush_interval());
        let idle = self.progress.flushing.is_none();
        tokio::select! {
            biased;
            outcome = flush_outcome(&mut self.progress.flushing) => Event::Flushed(outcome),
            // A writer that has nothing to write learns in this way that another has taken the slate over.
            error = engine_end(engine) => Event::Ended(error),
            request = requests.recv() => Event::Request(request),
            () = sleep_until(due), if idle => Event::Due,
        }
    }

    pub(crate) async fn commit_group(&mut self, group: Vec<Submitted>) {
        let view = self.written.now();
        let now = self.clock.timestamp();
        let mut batch = Batch::after(self.last);
        let (mut touched, mut direct) = (BTreeSet::new(), BTreeSet::new());
        let mut staged = Vec::with_capacity(group.len());
        for submitted in group {
            let Submitted { parts, ack, reply, permit, .. } = submitted;
            match self.stage(parts, (&view, now), &mut batch, (&mut touched, &mut direct)).await {
                Ok(receipts) => staged.push((ack, reply, receipts)),
                Err(error) => {
                    self.counters.refused.fetch_add(1, Ordering::Relaxed);
                    let _ = reply.send(Err(error));
                }
            }
            drop(permit);
        }
        for id in &touched {
            if let (Some(writer), Some(instance)) = (self.writers.get_mut(id), self.registry.at(*id)) {
                writer.finish(&mut ApplyContext { batch: &mut batch, instance, now, derived: false });
            }
        }
        self.note_direct(&direct, &mut batch);
        let written = match check_own(&batch) {
            Ok(()) => self.write(batch, &touched).await,
            Err(error) => Err(error),
        };
        match written {
            Ok(position) => {
                self.counters.commits.fetch_add(staged.len() as u64, Ordering::Relaxed);
                for (ack, reply, receipts) in staged {
                    self.acknowledge(ack, reply, Commit { position, receipts });
                }
            }
            Err(error) => {
                for (_, reply, _) in staged {
                    let _ = reply.send(Err(error.clone()));
                }
                self.fail(error);
            }
        }
    }

    /// Prepares a transaction on every instance it names, then applies it on all of them.
    async fn stage(
        &mut self,
        parts: Parts,
        (view, now): (&View, Timestamp),
        batch: &mut Batch,
        (touched, direct): (&mut BTreeSet<Address>, &mut BTreeSet<Address>),
    ) -> Result<BTreeMap<Address, super::erased::AnyReceipt>> {
        let Parts { ops, cursors, states, derived } = parts;
        if let Some(reason) = &self.registry.retired {
            return Err(refusal(reason));
        }
        let alone = ops.len() + cursors.len() + states.len() == 1;
        let mut planned = Vec::with_capacity(ops.len());
        let mut outcome = Ok(());
        for (id, op) in ops {
            planned.push(id);
            outcome = self.prepare(id, op.into_any(), (view, now, alone), batch).await;
            if outcome.is_err() {
                break;
            }
        }
        for update in &cursors {
            if outcome.is_ok() {
                outcome = match self.registry.at(update.instance) {
                    Some(instance) => update.check(&PrepareContext { view, batch, instance, now, alone }).await,
                    None => Err(unknown_instance(update.instance)),
                };
            }
        }
        outcome = outcome.and_then(|()| states.iter().try_for_each(|update| update.check(&self.registry)));
        if let Err(error) = outcome {
            for id in planned {
                if let Some(writer) = self.writers.get_mut(&id) {
                    writer.forget();
                }
            }
            return Err(error);
        }
        let mut receipts = BTreeMap::new();
        for id in planned {
            if let (Some(writer), Some(instance)) = (self.writers.get_mut(&id), self.registry.at(id)) {
                touched.insert(id);
                if !derived {
                    direct.insert(id);
                }
                if let Some(receipt) = writer.apply(&mut ApplyContext { batch, instance, now, derived }) {
                    receipts.insert(id, receipt);
                }
            }
        }
        for update in cursors {
            if let Some(instance) = self.registry.at(update.instance) {
                update.apply(&mut ApplyContext { batch, instance, now, derived });
            }
        }
        for update in states {
            if let Some(instance) = self.registry.at(update.instance) {
                update.apply(&mut ApplyContext { batch, instance, now, derived });
            }
        }
        Ok(receipts)
    }

    async fn prepare(
        &mut self,
        id: Address,
        op: Box<dyn std::any::Any + Send>,
        (view, now, alone): (&View, Timestamp, bool),
        batch: &Batch,
    ) -> Result<()> {
        let instance = self.registry.at(id).cloned().ok_or_else(|| unknown_instance(id))?;
        if !self.writers.contains_key(&id) {
            let writer = self.router.of(&instance)?.recover(view, &instance, self.env.clone()).await?;
            self.writers.insert(id, writer);
        }
        match self.writers.get_mut(&id) {
            Some(writer) => writer.prepare(op, &PrepareContext { view, batch, instance: &instance, now, alone }).await,
            None => Err(unknown_instance(id)),
        }
    }

    /// Writes a staged batch and publishes the view that shows it.
    async fn write(&mut self, batch: Batch, touched: &BTreeSet<Address>) -> Result<Position> {
        if batch.row_count == 0 {
            return Ok(self.last);
        }
        let position = batch.position_behind(self.last);
        self.counters.groups.fetch_add(1, Ordering::Relaxed);
        self.counters.rows.fetch_add(batch.row_count as u64, Ordering::Relaxed);
        self.counters.bytes.fetch_add(batch.size_bytes as u64, Ordering::Relaxed);
        let options = WriteOptions { seqnum: position.0 };
        self.db.write_with_options(batch.rows, &options).await.map_err(write_failure)?;
        self.last = position;
        self.publish(touched)?;
        self.progress.dirty_since.get_or_insert_with(Instant::now);
        Ok(position)
    }

    /// Publishes a view of everything written, with new states of the writers that were touched.
    fn publish(&mut self, touched: &BTreeSet<Address>) -> Result<()> {
        let snapshot = self.db.snapshot().map_err(write_failure)?;
        for id in touched {
            if let Some(writer) = self.writers.get_mut(id) {
                self.states.insert(*id, writer.publish(self.last));
            }
        }
        let view = View(Arc::new(ViewInner {
            source: Source::Snapshot(snapshot),
            position: self.last,
            registry: Arc::clone(&self.registry),
            states: self.states.clone(),
            caches: Arc::clone(&self.caches),
            lease: Some(self.leases.take(self.last)),
        }));
        self.progress.waiting.view = Some(view.clone());
        self.written.set(view);
        Ok(())
    }

    fn acknowledge(&mut self, ack: Ack, reply: oneshot::Sender<Result<Commit>>, commit: Commit) {
        let everything_durable = self.progress.waiting.is_empty() && self.progress.flushing.is_none();
        if ack == Ack::Written || everything_durable {
            let _ = reply.send(Ok(commit));
        } else {
            self.progress.waiting.commits.push((reply, commit));
        }
    }

    fn start_flush_if_due(&mut self) {
        let progress = &mut self.progress;
        if progress.flushing.is_some() || progress.waiting.is_empty() {
            return;
        }
        let overdue = progress.dirty_since.is_some_and(|since| since.elapsed() >= self.settings.flush_interval());
        if progress.waiting.is_urgent() || overdue {
            let db = self.db.clone();
            progress.dirty_since = None;
            progress.flushing = Some(Flushing {
                task: self.env.spawn(async move { db.flush().await }),
                waiting: std::mem::take(&mut progress.waiting),
            });
        }
    }

    fn flushed(&mut self, outcome: std::result::Result<(), slatedb::Error>) {
        let Some(Flushing { mut waiting, .. }) = self.progress.flushing.take() else { return };
        if let Err(error) = outcome {
            let error = write_failure(error);
            waiting.fail(&error);
            self.fail(error);
            return;
        }
        self.counters.flushes.fetch_add(1, Ordering::Relaxed);
        if let Some(view) = waiting.view.take() {
            self.durable.set(view);
        }
        let position = self.durable.now().position();
        self.progress.released = waiting.commits.len();
        for (reply, commit) in waiting.commits {
            let _ = reply.send(Ok(commit));
        }
        for reply in waiting.flushes {
            let _ = reply.send(Ok(position));
        }
    }

    /// Waits until everything written is durable. For barriers, which run with nothing staged.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        loop {
            if self.progress.flushing.is_some() {
                let outcome = flush_outcome(&mut self.progress.flushing).await;
                self.flushed(outcome);
            }
            if let Some(error) = self.failure.borrow().clone() {
                return Err(error);
            }
            if self.progress.waiting.is_empty() {
                return Ok(());
            }
            self.progress.dirty_since = Instant::now().checked_sub(self.settings.flush_interval());
            self.start_flush_if_due();
        }
    }

    /// Writes the slate's own record at a position of its own and shows it to everyone.
    pub(crate) async fn replace_registry(&mut self, registry: Registry) -> Result<Position> {
        let mut batch = Batch::after(self.last);
        batch.put(Registry::key(), registry.encode());
        let old = std::mem::replace(&mut self.registry, Arc::new(registry));
        match self.write(batch, &BTreeSet::new()).await {
            Ok(position) => Ok(position),
            Err(error) => {
                self.registry = old;
                self.fail(error.clone());
                Err(error)
            }
        }
    }

    /// Ends all writing for good.
    pub(crate) fn fail(&mut self, error: Error) {
        // Who took it over meant to; that is no fault of this process.
        match error.kind() {
            ErrorKind::Fenced => tracing::warn!(%error, "the slate is written by another from now on"),
            _ => tracing::error!(%error, "the slate can no longer be written"),
        }
        self.progress.waiting.fail(&error);
        if let Some(mut flushing) = self.progress.flushing.take() {
            flushing.waiting.fail(&error);
        }
        self.failure.send_replace(Some(error));
    }

    async fn close(mut self, requests: &mut mpsc::Receiver<Request>, reply: Option<oneshot::Sender<Result<()>>>) {
        // What was queued before the close is still committed.
        while let Some(request) = rest(requests).await {
            match request {
                Request::Commit(submitted) if self.failure.borrow().is_none() => {
                    self.commit_group(vec![submitted]).await;
                }
                Request::Flush(waiter) => self.progress.waiting.flushes.push(waiter),
                other => refuse(Some(other), &Error::closed("the slate is closed")),
            }
        }
        let settled = self.settle().await;
        if settled.is_ok() {
            // All of it is durable already; as sorted files it is quicker to open and to read.
            if let Err(error) = flush_files(&self.db, self.settings.files_timeout()).await {
                tracing::warn!(%error, "closing with the newest data in the write-ahead log only");
            }
        }
        if self.failure.borrow().is_none() {
            self.failure.send_replace(Some(Error::closed("the slate is closed")));
        }
        let closed = self.end_engine().await.map_err(write_failure);
        if let Some(reply) = reply {
            let _ = reply.send(settled.and(closed));
        }
    }
}

async fn flush_outcome(flushing: &mut Option<Flushing>) -> std::result::Result<(), slatedb::Error> {
    match flushing {
        Some(flushing) => match (&mut flushing.task).await {
            Ok(outcome) => outcome,
            Err(error) => Err(slatedb::Error::internal(format!("flush task: {error}"))),
        },
        None => std::future::pending().await,
    }
}

async fn engine_end(engine: &mut watch::Receiver<DbStatus>) -> Error {
    let reason = match engine.wait_for(|status| status.close_reason.is_some()).await {
        Ok(status) => status.close_reason,
        Err(_) => None,
    };
    match reason {
        Some(CloseReason::Fenced) => Error::fenced("another writer owns the slate"),
        Some(CloseReason::Clean) => Error::closed("the slate is closed"),
        _ => Error::outcome_unknown("a background task of the storage engine failed"),
    }
}

fn unknown_instance(instance: Address) -> Error {
    Error::not_found(format!("no such instance in this slate, id={}", instance.id.0))
}

/// What a failed write or flush means to those who waited for it.
pub(crate) fn write_failure(error: slatedb::Error) -> Error {
    let converted = Error::from(error);
    match converted.kind() {
        ErrorKind::Fenced | ErrorKind::Closed => converted,
        _ => converted.with_kind(ErrorKind::OutcomeUnknown),
    }
}
