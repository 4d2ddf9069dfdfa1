//! The suite that every system passes, alone in a slate and beside others.
//!
//! A system describes itself to the suite by a [`Subject`]: how to make random operations, how to say in words
//! everything a reader can see, and what a merge operand looks like. [`check`] then holds it to the contract of
//! [`DataSystem`]:
//!
//! - recovering gives the same as never having stopped;
//! - a view, the same view without the writer's memory, a checkpoint and another process all answer alike;
//! - a refused transaction leaves no trace;
//! - merging is associative under any grouping;
//! - keys of another instance are never touched;
//! - a fork of one instance equals the original, and goes its own way.

use std::collections::BTreeMap;
use std::future::Future;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::error::{ErrorKind, Result};
use crate::slate::{Access, Ack, At, Handle, InstanceView, Order, Settings, Slate, SlateReader, View};
use crate::store::Store;
use crate::system::{DataSystem, OpOf};
use crate::testing::Ledger;

/// What the suite must know of a system.
pub trait Subject: Send + Sync {
    /// The system.
    type System: DataSystem;

    /// Settings that make rare things common: small segments, small chunks.
    fn config(&self) -> <Self::System as DataSystem>::Config;

    /// A random operation that is likely to be accepted. `step` grows by one with each operation.
    fn operation(&self, random: &mut StdRng, step: u64) -> OpOf<Self::System>;

    /// An operation that is refused whatever the state.
    fn refused(&self, random: &mut StdRng) -> OpOf<Self::System>;

    /// Everything that a reader can see, in words. Deterministic.
    fn dump(&self, view: InstanceView<Self::System>) -> impl Future<Output = Result<String>> + Send;

    /// Keys, whole with their prefix, and operands for which merging is checked; empty if the system merges nothing.
    fn merges(&self, _random: &mut StdRng) -> Vec<(Vec<u8>, Vec<Bytes>)> {
        Vec::new()
    }
}

/// Runs the suite with a seed; the seed is in every message.
///
/// # Panics
/// If the system breaks the contract.
pub async fn check<T: Subject>(subject: &T, seed: u64) {
    let run = Run { subject, seed };
    run.alone().await.unwrap_or_else(|error| run.broken("alone in a slate", &error.to_string()));
    run.beside().await.unwrap_or_else(|error| run.broken("beside others in a slate", &error.to_string()));
    run.merges();
}

struct Run<'a, T> {
    subject: &'a T,
    seed: u64,
}

const SUBJECT: &str = "subject";

fn settings() -> Settings {
    Settings { maintenance_interval_ms: 0, flush_interval_ms: 5, poll_interval_ms: 20, ..Settings::default() }
}

impl<T: Subject> Run<'_, T> {
    #[expect(clippy::panic, reason = "a suite for tests fails by panicking")]
    fn broken(&self, what: &str, how: &str) -> ! {
        panic!("conformance of {} broken: {what}: {how} (seed {})", T::System::NAME, self.seed)
    }

    fn same(&self, what: &str, left: &str, right: &str) {
        if left != right {
            self.broken(what, &format!("\n--- one\n{left}\n--- other\n{right}\n---"));
        }
    }

    async fn dump(&self, view: &View, name: &str) -> Result<String> {
        self.subject.dump(view.instance::<T::System>(name)?).await
    }

    async fn open(&self, store: &Store, names: &[&str]) -> Result<Slate> {
        let mut builder = Slate::builder(store, "slate").settings(settings()).register::<Ledger>();
        for name in names {
            builder = builder.system::<T::System>(name, self.subject.config());
        }
        builder.open().await
    }

    /// Commits random operations, some in flight together so that they share groups. Returns how many were accepted.
    async fn write(&self, slate: &Slate, name: &str, random: &mut StdRng, steps: &mut u64, count: u64) -> Result<u64> {
        let handle: Handle<T::System> = slate.get(name)?;
        let mut pending = Vec::new();
        for _ in 0..count {
            let mut transaction = slate.begin();
            *transaction.on(&handle) = self.subject.operation(random, *steps);
            *steps += 1;
            pending.push(transaction.submit(Ack::Written).await?);
            if random.random_bool(0.3) {
                tokio::task::yield_now().await;
            }
        }
        let mut accepted = 0;
        for commit in pending {
            match commit.wait().await {
                Ok(_) => accepted += 1,
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Invalid) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(accepted)
    }

    async fn alone(&self) -> Result<()> {
        let store = Store::from_url("memory:")?;
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut steps = 0;
        let mut slate = self.open(&store, &[SUBJECT]).await?;
        for round in 0..4 {
            let accepted = self.write(&slate, SUBJECT, &mut random, &mut steps, 30).await?;
            if accepted == 0 {
                self.broken("operations", "none of thirty was accepted");
            }
            if random.random_bool(0.7) {
                slate.maintain().await?;
            }
            self.agree(&slate, &store, round).await?;
            self.refuse(&slate, &mut random).await?;
            // Recovered equals uninterrupted.
            let before = self.dump(&slate.view(), SUBJECT).await?;
            slate.close().await?;
            slate = self.open(&store, &[SUBJECT]).await?;
            self.same("recovered differs from uninterrupted", &before, &self.dump(&slate.view(), SUBJECT).await?);
        }
        self.fork(&slate, &store, &mut random, &mut steps).await?;
        slate.close().await
    }

    /// The writer's view, the same view without memory, a checkpoint, and another process.
    async fn agree(&self, slate: &Slate, store: &Store, round: u64) -> Result<()> {
        slate.flush().await?;
        let view = slate.view();
        let seen = self.dump(&view, SUBJECT).await?;
        let bare = self.subject.dump(view.instance::<T::System>(SUBJECT)?.without_state()).await?;
        self.same("the view differs from itself without the writer's memory", &seen, &bare);
        let name = format!("round-{round}");
        let checkpoint = slate.checkpoint(&name, None).await?;
        if checkpoint.position != view.position() {
            self.broken("checkpoint", "position is not the view's");
        }
        for at in [At::Checkpoint(name), At::Latest] {
            let reader = SlateReader::builder(store, "slate").register::<T::System>().open(at.clone()).await?;
            let read = self.dump(&reader.view(), SUBJECT).await?;
            self.same(&format!("the writer's view differs from a reader at {at:?}"), &seen, &read);
        }
        Ok(())
    }

    async fn refuse(&self, slate: &Slate, random: &mut StdRng) -> Result<()> {
        let handle: Handle<T::System> = slate.get(SUBJECT)?;
        let before = (slate.view().position(), self.dump(&slate.view(), SUBJECT).await?);
        let mut transaction = slate.begin();
        *transaction.on(&handle) = self.subject.refused(random);
        if transaction.commit().await.is_ok() {
            self.broken("refusal", "an operation that must be refused was committed");
        }
        if slate.view().position() != before.0 {
            self.broken("refusal", "a refused transaction moved the position");
        }
        self.same("a refused transaction left a trace", &before.1, &self.dump(&slate.view(), SUBJECT).await?);
        Ok(())
    }

    /// Two instances of the system and a ledger in one slate, written in shared and separate transactions.
    async fn beside(&self) -> Result<()> {
        let store = Store::from_url("memory:")?;
        let mut random = StdRng::seed_from_u64(self.seed ^ 1);
        let slate = Slate::builder(&store, "slate")
            .settings(settings())
            .system::<T::System>("one", self.subject.config())
            .system::<T::System>("two", self.subject.config())
            .system::<Ledger>("ledger", crate::testing::LedgerConfig::default())
            .open()
            .await?;
        let (one, two) = (slate.get::<T::System>("one")?, slate.get::<T::System>("two")?);
        let ledger = slate.get::<Ledger>("ledger")?;
        let mut total = 0;
        for step in 0..40 {
            let mut transaction = slate.begin();
            *transaction.on(&one) = self.subject.operation(&mut random, step);
            if random.random_bool(0.5) {
                *transaction.on(&two) = self.subject.operation(&mut random, step);
            }
            transaction.on(&ledger).add("count", 1);
            // The ledger refuses a balance below zero, after the others were prepared.
            let doomed = random.random_bool(0.25);
            if doomed {
                transaction.on(&ledger).add("poor", -1);
            }
            let before = rows(&slate.view()).await?;
            match transaction.commit_with(Ack::Written).await {
                Ok(_) if doomed => self.broken("atomicity", "a doomed transaction was committed"),
                Ok(_) => total += 1,
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Invalid) => {
                    if rows(&slate.view()).await? != before {
                        self.broken("atomicity", "a refused transaction left rows");
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        let balances = slate.view().on(&ledger)?.balances().await?;
        if balances.get("count").copied().unwrap_or(0) != total {
            self.broken("atomicity", "the ledger counts other commits than were acknowledged");
        }
        slate.maintain().await?;
        let (first, second) = (self.dump(&slate.view(), "one").await?, self.dump(&slate.view(), "two").await?);
        self.write(&slate, "one", &mut random, &mut 1000, 10).await?;
        self.same("writing one instance changed the other", &second, &self.dump(&slate.view(), "two").await?);
        if first == self.dump(&slate.view(), "one").await? {
            self.broken("operations", "ten operations changed nothing that can be seen");
        }
        slate.close().await
    }

    /// A fork of one instance equals the original, and what is written to it stays there.
    async fn fork(&self, slate: &Slate, store: &Store, random: &mut StdRng, steps: &mut u64) -> Result<()> {
        let original = self.dump(&slate.view(), SUBJECT).await?;
        slate.fork_instance(SUBJECT, "fork").await?;
        let fork = Slate::builder(store, "fork")
            .settings(settings())
            .system::<T::System>(SUBJECT, self.subject.config())
            .must_exist()
            .open()
            .await?;
        self.same("a fork differs from its original", &original, &self.dump(&fork.view(), SUBJECT).await?);
        self.write(&fork, SUBJECT, random, steps, 10).await?;
        self.same("writing a fork changed the original", &original, &self.dump(&slate.view(), SUBJECT).await?);
        fork.close().await
    }

    /// Merging all at once equals merging in any grouping.
    fn merges(&self) {
        let mut random = StdRng::seed_from_u64(self.seed ^ 2);
        for _ in 0..20 {
            for (key, operands) in self.subject.merges(&mut random) {
                let whole = T::System::merge(&key, None, &operands);
                let cut = random.random_range(0..=operands.len());
                let (head, tail) = operands.split_at(cut);
                let head = if head.is_empty() { None } else { T::System::merge(&key, None, head).ok() };
                let pieces = match (&head, tail.is_empty()) {
                    (Some(head), true) => Ok(head.clone()),
                    (head, _) => T::System::merge(&key, head.as_deref(), tail),
                };
                match (whole, pieces) {
                    (Ok(whole), Ok(pieces)) if whole == pieces => {}
                    (whole, pieces) => self.broken("merge is not associative", &format!("{whole:?} and {pieces:?}")),
                }
            }
        }
    }
}

async fn rows(view: &View) -> Result<BTreeMap<Bytes, Bytes>> {
    let everything = crate::key::KeyRange { start: std::ops::Bound::Unbounded, end: std::ops::Bound::Unbounded };
    let mut rows = view.scan(everything, Access::Bulk, Order::Ascending).await?;
    let mut found = BTreeMap::new();
    while let Some(row) = rows.next().await? {
        found.insert(row.key, row.value);
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
