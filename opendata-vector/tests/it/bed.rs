//! A slate with one vector instance in it, and short ways to say things.

use opendata_core::slate::{Ack, At, Handle, Settings, Slate, SlateReader};
use opendata_core::store::Store;
use opendata_core::{Error, Result};
use opendata_vector::{
    AttributeType, Config, Document, Metric, Op, Query, Reader, Receipt, TextField, Vector, VectorField,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub(crate) struct Bed {
    pub(crate) store: Store,
    pub(crate) config: Config,
    pub(crate) slate: Slate,
    pub(crate) docs: Handle<Vector>,
}

impl Bed {
    pub(crate) async fn new(config: Config) -> Self {
        Self::at(Store::from_url("memory:").unwrap(), config).await
    }

    pub(crate) async fn at(store: Store, config: Config) -> Self {
        let slate = open(&store, &config).await;
        let docs = slate.get::<Vector>("docs").unwrap();
        Self { store, config, slate, docs }
    }

    /// Closes and opens again.
    pub(crate) async fn reopen(&mut self) {
        self.slate.close().await.unwrap();
        self.slate = open(&self.store, &self.config).await;
        self.docs = self.slate.get::<Vector>("docs").unwrap();
    }

    pub(crate) async fn commit(&self, ask: impl FnOnce(&mut Op)) -> Result<Receipt> {
        let mut tx = self.slate.begin();
        ask(tx.on(&self.docs));
        let commit = tx.commit_with(Ack::Written).await.map_err(Error::from)?;
        Ok(commit.receipt(&self.docs).expect("a receipt").clone())
    }

    pub(crate) fn reader(&self) -> Reader {
        self.slate.view().on(&self.docs).unwrap()
    }

    /// What a process without the writer's memory reads.
    pub(crate) async fn outside(&self) -> Reader {
        self.slate.flush().await.unwrap();
        let reader = SlateReader::builder(&self.store, "slate").register::<Vector>().open(At::Latest).await.unwrap();
        reader.view().on(&reader.get::<Vector>("docs").unwrap()).unwrap()
    }
}

async fn open(store: &Store, config: &Config) -> Slate {
    let settings = Settings { maintenance_interval_ms: 0, flush_interval_ms: 5, ..Settings::default() };
    Slate::builder(store, "slate").system::<Vector>("docs", config.clone()).settings(settings).open().await.unwrap()
}

/// The seeds of a random test: `OPENDATA_SEED` repeats one, `OPENDATA_SEEDS` asks for that many, or a share of them where each takes
/// long.
pub(crate) fn seeds(few: u64, share: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("OPENDATA_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("OPENDATA_SEEDS").map_or(few, |seeds| seeds.div_ceil(share))).collect(),
    }
}

pub(crate) fn config() -> Config {
    Config::default()
        .vector("v", VectorField::new(3, Metric::L2))
        .attribute("kind", AttributeType::String)
        .attribute("year", AttributeType::I64)
        .text("body", TextField::default())
        .text("title", TextField::default())
}

pub(crate) async fn ids(reader: &Reader, query: &Query) -> Vec<String> {
    let hits = reader.search(query).await.unwrap().hits;
    hits.iter().map(|hit| String::from_utf8_lossy(&hit.document.id).into_owned()).collect()
}

/// Vectors in clusters, as real ones are.
pub(crate) struct Clustered {
    random: StdRng,
    centres: Vec<Vec<f32>>,
}

impl Clustered {
    pub(crate) fn new(seed: u64, dims: usize) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let centres = (0..50).map(|_| (0..dims).map(|_| random.random_range(-1f32..1.0)).collect()).collect();
        Self { random, centres }
    }

    pub(crate) fn next(&mut self) -> Vec<f32> {
        let centre = self.centres[self.random.random_range(0..self.centres.len())].clone();
        centre.into_iter().map(|c| c + self.random.random_range(-0.4f32..0.4)).collect()
    }
}

pub(crate) fn doc(id: usize, vector: Vec<f32>) -> Document {
    Document::new(format!("{id:06}")).vector("v", vector).attribute("year", (id % 1000) as i64)
}
