//! Seeded simulation: random transactions over a Log and a TSDB in one slate, against a model in memory, with
//! faults of the store, crashes, reopenings, checkpoints, forks and maintenance in between.
//!
//! Every transaction writes its own number into a journal stream. So after a crash the journal tells which of
//! those without an answer are in, and the model is the fold of what the journal holds. At every position
//! looked at, both systems must show exactly that fold, whoever reads: the writer with its memory, a checkpoint, a fork.
//!
//! `OPENDATA_SEEDS=n` runs that many seeds, `OPENDATA_SEED=s` one of them again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opendata_compose::tsdb::promql::Storage;
use opendata_compose::tsdb::{Labels, Matcher};
use opendata_compose::{InternalComposite, Log, Tsdb, labels, log, tsdb};
use opendata_core::env::{Env, ManualClock};
use opendata_core::slate::{Ack, Pending, Settings, View};
use opendata_core::store::Store;
use opendata_core::testing::{Fault, FaultStore, Method};
use opendata_core::{ErrorKind, Position, Result, Timestamp};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

const START: i64 = 1_700_000_000_000;
const STREAMS: [&str; 4] = ["journal", "a", "b", "a/c"];
const TENANTS: [&str; 3] = ["x", "y", "z"];

/// What one transaction does.
#[derive(Clone, Debug)]
struct Tx {
    number: u64,
    appends: Vec<(&'static str, Vec<u8>)>,
    adds: Vec<(&'static str, Timestamp, f64)>,
    samples: Vec<(&'static str, Timestamp, f64)>,
    /// Whether it carries a condition that cannot hold.
    doomed: bool,
}

/// Everything that both systems show at a position.
#[derive(Clone, Debug, Default, PartialEq)]
struct Shown {
    streams: BTreeMap<String, Vec<Vec<u8>>>,
    order: Vec<Vec<u8>>,
    totals: BTreeMap<String, Vec<(i64, f64)>>,
    gauges: BTreeMap<String, BTreeMap<i64, f64>>,
}

/// The fold of the transactions that are in, by the position of their journal record.
fn fold<'a>(committed: impl Iterator<Item = &'a Tx>) -> Shown {
    let mut shown = Shown::default();
    for tx in committed {
        let journal = ("journal", tx.number.to_be_bytes().to_vec());
        for (stream, payload) in std::iter::once(&journal).chain(&tx.appends) {
            shown.streams.entry((*stream).to_owned()).or_default().push(payload.clone());
            shown.order.push(payload.clone());
        }
        for (tenant, at, delta) in &tx.adds {
            let total = shown.totals.entry((*tenant).to_owned()).or_default();
            let sum = total.last().map_or(0.0, |(_, sum)| *sum) + delta;
            match total.last_mut() {
                Some((last, value)) if *last == at.0 => *value = sum,
                _ => total.push((at.0, sum)),
            }
        }
        for (tenant, at, value) in &tx.samples {
            shown.gauges.entry((*tenant).to_owned()).or_default().insert(at.0, *value);
        }
    }
    shown
}

async fn read(view: &View) -> Result<Shown> {
    let mut shown = Shown::default();
    let log = view.get_reader::<Log>("events")?;
    for stream in STREAMS {
        let payloads: Vec<_> =
            log.scan(stream, ..).await?.collect().await?.into_iter().map(|r| r.payload.to_vec()).collect();
        if !payloads.is_empty() {
            assert_eq!(log.count(stream).await?, payloads.len() as u64, "count of {stream}");
            shown.streams.insert(stream.to_owned(), payloads);
        }
    }
    shown.order = log.scan_all(..).await?.collect().await?.into_iter().map(|r| r.payload.to_vec()).collect();
    let usage = view.get_reader::<Tsdb>("usage")?;
    for series in usage.select(&[Matcher::metric("total")], i64::MIN, i64::MAX).await? {
        let samples = series.timestamps.iter().copied().zip(series.values.iter().copied()).collect();
        shown.totals.insert(tenant(&series.labels), samples);
    }
    for series in usage.select(&[Matcher::metric("gauge")], i64::MIN, i64::MAX).await? {
        let samples = series.timestamps.iter().copied().zip(series.values.iter().copied()).collect();
        shown.gauges.insert(tenant(&series.labels), samples);
    }
    Ok(shown)
}

fn tenant(labels: &Labels) -> String {
    labels.get("tenant").unwrap_or_default().to_owned()
}

struct Simulation {
    random: StdRng,
    memory: Store,
    faulty: FaultStore,
    store: Store,
    dead: Arc<AtomicBool>,
    clock: Arc<ManualClock>,
    composite: InternalComposite,
    next: u64,
    /// Everything ever attempted, by number.
    attempted: BTreeMap<u64, Tx>,
    /// Where each committed transaction stands, by the position of its journal record.
    committed: BTreeMap<Position, u64>,
    acknowledged: BTreeSet<u64>,
    refused: BTreeSet<u64>,
    /// Checkpoints and the position each must show for as long as it lives.
    checkpoints: BTreeMap<String, Position>,
    held: Vec<View>,
    forks: u64,
}

fn settings() -> Settings {
    Settings {
        maintenance_interval_ms: 0,
        flush_interval_ms: 20,
        poll_interval_ms: 50,
        store_retries: 1,
        files_timeout_ms: 2_000,
        garbage_age_s: 3600,
        memtable_bytes: 16 * 1024,
        ..Settings::default()
    }
}

async fn open(store: &Store, path: &str, clock: &Arc<ManualClock>, seed: u64) -> Result<InternalComposite> {
    let env = Env::seeded(Arc::clone(clock) as _, seed);
    InternalComposite::builder(store, path)
        .settings(settings())
        .env(env)
        .system::<Log>("events", log::Config::default())
        .system::<Tsdb>("usage", tsdb::Config::default())
        .open()
        .await
}

impl Simulation {
    async fn new(seed: u64) -> Self {
        let memory = Store::from_url("memory:").unwrap();
        let faulty = FaultStore::new(Arc::clone(memory.object_store()));
        let store = memory.map(|_| Arc::new(faulty.clone()));
        let clock = Arc::new(ManualClock::at(Timestamp(START)));
        let composite = open(&store, "main", &clock, seed).await.unwrap();
        Self {
            random: StdRng::seed_from_u64(seed),
            memory,
            faulty,
            store,
            dead: Arc::default(),
            clock,
            composite,
            next: 0,
            attempted: BTreeMap::new(),
            committed: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            refused: BTreeSet::new(),
            checkpoints: BTreeMap::new(),
            held: Vec::new(),
            forks: 0,
        }
    }

    async fn run(&mut self, steps: u64) -> Result<()> {
        for _ in 0..steps {
            let now = START + i64::try_from(self.next).unwrap() * 60_000 - self.random.random_range(0..300_000);
            self.clock.set(Timestamp(now));
            match self.random.random_range(0..100) {
                0..60 => self.transact().await?,
                60..70 => self.maintain().await?,
                70..75 => drop(self.composite.slate().flush_files().await),
                75..80 => self.checkpoint().await?,
                80..84 => self.fork().await?,
                84..90 => self.hold(),
                90..95 => self.crash().await?,
                _ => self.break_and_recover().await?,
            }
        }
        self.crash().await?;
        self.check_past().await
    }

    fn draw(&mut self) -> Tx {
        self.next += 1;
        let number = self.next;
        let at = Timestamp(START + i64::try_from(number).unwrap() * 60_000);
        let appends = (0..self.random.random_range(0..4)).map(|i| {
            let stream = *STREAMS[1..].choose(&mut self.random).unwrap();
            let mut payload = format!("{number}.{i}.").into_bytes();
            payload.resize(payload.len() + self.random.random_range(0..200), b'.');
            (stream, payload)
        });
        let appends = appends.collect();
        let adds = (0..self.random.random_range(0..3))
            .map(|_| (*TENANTS.choose(&mut self.random).unwrap(), at, f64::from(self.random.random_range(0..1000))));
        let adds = adds.collect();
        let samples = (0..self.random.random_range(0..4)).map(|_| {
            let late = self.random.random_range(0..200) * 60_000;
            (*TENANTS.choose(&mut self.random).unwrap(), at.plus_ms(-late), self.random.random_range(-1e6..1e6))
        });
        let samples = samples.collect();
        Tx { number, appends, adds, samples, doomed: self.random.random_bool(0.15) }
    }

    async fn submit(&mut self, ack: Ack) -> Result<(u64, Pending)> {
        let tx = self.draw();
        let (events, usage) = (self.composite.get::<Log>("events")?, self.composite.get::<Tsdb>("usage")?);
        let mut transaction = self.composite.begin();
        for (tenant, at, delta) in &tx.adds {
            transaction.on(&usage).add(labels! { "__name__" => "total", "tenant" => *tenant }, *at, *delta);
        }
        for (tenant, at, value) in &tx.samples {
            transaction.on(&usage).sample(labels! { "__name__" => "gauge", "tenant" => *tenant }, *at, *value);
        }
        transaction.on(&events).append("journal", tx.number.to_be_bytes().to_vec());
        for (stream, payload) in &tx.appends {
            transaction.on(&events).append(stream, payload.clone());
        }
        if self.random.random_bool(0.1) {
            transaction.on(&events).roll();
        }
        if tx.doomed {
            transaction.on(&events).expect_position("journal", Some(Position::MAX));
        }
        let number = tx.number;
        self.attempted.insert(number, tx);
        Ok((number, transaction.submit(ack).await?))
    }

    /// A few transactions at once, so that they share groups.
    async fn transact(&mut self) -> Result<()> {
        let mut pending = Vec::new();
        for _ in 0..self.random.random_range(1..6) {
            let ack = if self.random.random_bool(0.7) { Ack::Durable } else { Ack::Written };
            match self.submit(ack).await {
                Ok((number, waits)) => pending.push((number, ack, waits)),
                Err(_) => break,
            }
        }
        for (number, ack, waits) in pending {
            match waits.wait().await {
                Ok(commit) => {
                    let events = self.composite.get::<Log>("events")?;
                    let journal = commit.receipt(&events).and_then(log::Receipt::first).expect("a position");
                    self.committed.insert(journal, number);
                    if ack == Ack::Durable {
                        self.acknowledged.insert(number);
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Invalid) => {
                    assert!(self.attempted[&number].doomed, "tx {number} was refused: {error}");
                    self.refused.insert(number);
                }
                Err(error) => {
                    let honest =
                        [ErrorKind::OutcomeUnknown, ErrorKind::Fenced, ErrorKind::Closed, ErrorKind::Unavailable];
                    assert!(honest.contains(&error.kind()), "tx {number}: {error}");
                }
            }
        }
        match self.composite.slate().failure() {
            None => self.check(&self.composite.view()).await,
            Some(_) => self.reopen().await,
        }
    }

    async fn maintain(&mut self) -> Result<()> {
        match self.composite.slate().maintain().await {
            Ok(_) => self.check(&self.composite.view()).await,
            Err(_) => self.reopen().await,
        }
    }

    /// What a view shows must be the fold of everything committed up to its position.
    async fn check(&self, view: &View) -> Result<()> {
        let expected = fold(self.committed.range(..=view.position()).map(|(_, number)| &self.attempted[number]));
        let shown = read(view).await?;
        assert_eq!(shown, expected, "at position {}", view.position());
        Ok(())
    }

    fn hold(&mut self) {
        if self.held.len() < 3 {
            self.held.push(self.composite.view());
        } else {
            self.held.remove(0);
        }
    }

    async fn checkpoint(&mut self) -> Result<()> {
        let name = format!("checkpoint-{}", self.next);
        if let Ok(checkpoint) = self.composite.checkpoint(&name, None).await {
            self.checkpoints.insert(name, checkpoint.position);
        }
        if self.checkpoints.len() > 3 {
            let name = self.checkpoints.keys().next().cloned().unwrap();
            self.checkpoints.remove(&name);
            self.composite.release(&name).await?;
        }
        self.check_past().await
    }

    async fn check_past(&self) -> Result<()> {
        for (name, position) in &self.checkpoints {
            let past = self.composite.at(name).await?;
            assert_eq!(past.view().position(), *position, "{name}");
            self.check(&past.view()).await?;
        }
        Ok(())
    }

    /// A fork shows what its parent showed, takes a write, and is thrown away; the parent does not see it.
    async fn fork(&mut self) -> Result<()> {
        self.forks += 1;
        let path = format!("fork-{}", self.forks);
        let at = match self.composite.slate().fork(&path).await {
            Ok(fork) => fork.position,
            Err(_) => return self.reopen().await,
        };
        let fork = open(&self.memory, &path, &self.clock, self.next).await?;
        let expected = fold(self.committed.range(..=at).map(|(_, number)| &self.attempted[number]));
        assert_eq!(read(&fork.view()).await?, expected, "fork at {at}");
        let events = fork.get::<Log>("events")?;
        let mut transaction = fork.begin();
        transaction.on(&events).append("journal", "only here");
        transaction.commit().await?;
        fork.discard().await?;
        self.check(&self.composite.view()).await
    }

    /// The process dies: nothing more reaches the store, and another takes over.
    async fn crash(&mut self) -> Result<()> {
        self.dead.store(true, Ordering::SeqCst);
        self.reopen().await
    }

    /// The store fails now and then while transactions run.
    async fn break_and_recover(&mut self) -> Result<()> {
        let mut random = StdRng::seed_from_u64(self.random.random());
        let rate = self.random.random_range(0.02..0.5);
        self.faulty.set_rule(move |method, _| {
            if !random.random_bool(rate) {
                return None;
            }
            let ambiguous = method == Method::Put && random.random_bool(0.5);
            Some(if ambiguous { Fault::ErrorAfterEffect } else { Fault::Error })
        });
        for _ in 0..self.random.random_range(1..4) {
            if self.composite.slate().failure().is_none() {
                let mut waiting = Vec::new();
                for _ in 0..3 {
                    if let Ok((number, waits)) = self.submit(Ack::Durable).await {
                        waiting.push((number, waits));
                    }
                }
                for (number, waits) in waiting {
                    match waits.wait().await {
                        Ok(_) => drop(self.acknowledged.insert(number)),
                        Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Invalid) => {
                            self.refused.insert(number);
                        }
                        Err(_) => {}
                    }
                }
            }
        }
        self.crash().await
    }

    /// Takes the slate over, and learns from the journal what is in.
    async fn reopen(&mut self) -> Result<()> {
        self.dead.store(true, Ordering::SeqCst);
        self.faulty.set_rule(|_, _| Some(Fault::Error));
        self.held.clear();
        // A fresh way to the store: the old process keeps the broken one.
        self.faulty = FaultStore::new(Arc::clone(self.memory.object_store()));
        let faulty = self.faulty.clone();
        self.store = self.memory.map(|_| Arc::new(faulty));
        let seed = self.random.random();
        self.composite = open(&self.store, "main", &self.clock, seed).await?;
        let view = self.composite.view();
        let journal = view.get_reader::<Log>("events")?.scan("journal", ..).await?.collect().await?;
        let number = |payload: &[u8]| u64::from_be_bytes(payload.try_into().expect("a number"));
        self.committed = journal.iter().map(|record| (record.position, number(&record.payload))).collect();
        let found: BTreeSet<_> = self.committed.values().copied().collect();
        assert_eq!(found.len(), self.committed.len(), "a transaction is in twice");
        let lost: Vec<_> = self.acknowledged.difference(&found).collect();
        assert!(lost.is_empty(), "acknowledged as durable and lost: {lost:?}");
        let back: Vec<_> = self.refused.intersection(&found).collect();
        assert!(back.is_empty(), "refused and visible: {back:?}");
        self.check(&view).await
    }
}

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match (number("OPENDATA_SEED"), number("OPENDATA_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, count) => (0..count.unwrap_or(60)).collect(),
    }
}

#[test]
fn random_transactions_over_two_systems_equal_the_model_through_faults_and_reopenings() {
    for seed in seeds() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.block_on(async {
                let mut simulation = Simulation::new(seed).await;
                let run = tokio::time::timeout(Duration::from_secs(24 * 3600), simulation.run(40)).await;
                run.expect("the simulation hangs").expect("no error that is not expected");
            });
        }));
        runtime.shutdown_background();
        if let Err(panic) = outcome {
            eprintln!("simulation failed: OPENDATA_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
