//! A slate with one log in it, a clock that is moved by hand, and short ways to say things.

use std::sync::Arc;

use opendata_core::env::{Env, ManualClock};
use opendata_core::slate::{Ack, At, Commit, Handle, Settings, Slate, SlateReader};
use opendata_core::store::Store;
use opendata_core::{Error, Position, Result, Timestamp};
use opendata_log::{Compression, Config, Log, Op, Reader, Receipt, Record, Scan, ScanOptions};

pub(crate) struct Bed {
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) config: Config,
    pub(crate) slate: Slate,
    pub(crate) log: Handle<Log>,
}

impl Bed {
    pub(crate) async fn new(config: Config) -> Self {
        Self::on(Store::from_url("memory:").unwrap(), config).await
    }

    pub(crate) async fn on(store: Store, config: Config) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp(1_000_000)));
        let slate = open(&store, &clock, &config).await.unwrap();
        let log = slate.get::<Log>("events").unwrap();
        Self { store, clock, config, slate, log }
    }

    /// Closes and opens again.
    pub(crate) async fn reopen(&mut self) {
        self.slate.close().await.unwrap();
        self.slate = open(&self.store, &self.clock, &self.config).await.unwrap();
        self.log = self.slate.get::<Log>("events").unwrap();
    }

    /// Commits, visible but not waited for to be durable.
    pub(crate) async fn commit(&self, ask: impl FnOnce(&mut Op)) -> Result<Receipt> {
        let mut tx = self.slate.begin();
        ask(tx.on(&self.log));
        let commit: Commit = tx.commit_with(Ack::Written).await.map_err(Error::from)?;
        Ok(*commit.receipt(&self.log).expect("a receipt"))
    }

    pub(crate) async fn append(&self, stream: &str, payload: &str) -> Position {
        self.commit(|op| _ = op.append(stream, payload.to_owned())).await.unwrap().first().unwrap()
    }

    pub(crate) fn reader(&self) -> Reader {
        self.slate.view().on(&self.log).unwrap()
    }

    /// What a process without the writer's memory reads.
    pub(crate) async fn outside(&self) -> Reader {
        self.slate.flush().await.unwrap();
        let reader = self.slate_reader().await;
        reader.view().on(&reader.get::<Log>("events").unwrap()).unwrap()
    }

    pub(crate) async fn slate_reader(&self) -> Arc<SlateReader> {
        Arc::new(SlateReader::builder(&self.store, "slate").register::<Log>().open(At::Latest).await.unwrap())
    }

    pub(crate) fn later(&self, ms: i64) {
        use opendata_core::env::Clock;
        self.clock.set(self.clock.now().plus_ms(ms));
    }
}

async fn open(store: &Store, clock: &Arc<ManualClock>, config: &Config) -> Result<Slate> {
    let clock: Arc<dyn opendata_core::env::Clock> = Arc::clone(clock) as _;
    let settings = Settings { maintenance_interval_ms: 0, flush_interval_ms: 5, ..Settings::default() };
    Slate::builder(store, "slate")
        .system::<Log>("events", config.clone())
        .settings(settings)
        .env(Env::seeded(clock, 7))
        .open()
        .await
}

/// Payloads as text.
pub(crate) fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.payload).into_owned()).collect()
}

pub(crate) async fn read(scan: Result<Scan>) -> Vec<String> {
    texts(&scan.unwrap().collect().await.unwrap())
}

pub(crate) async fn read_with(reader: &Reader, options: ScanOptions) -> Vec<String> {
    read(reader.scan_with(options).await).await
}

/// A log whose segments hold few records.
pub(crate) fn small_segments() -> Config {
    Config { segment_bytes: 64 * 1024, chunk_bytes: 1024, compression: Compression::None, ..Config::default() }
}
