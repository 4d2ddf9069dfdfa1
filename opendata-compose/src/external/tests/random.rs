//! Random compositions under random operations and a store that fails: what reaches each node is what the graph says, exactly.
//!
//! Every record has a number of its own. With edges that copy, a record that was appended at one node is found in another as often as
//! there are ways from the one to the other, neither more nor less, whatever was cut, forked, promoted, restored, paused or reopened
//! meanwhile. `OPENDATA_SEED` repeats one seed, `OPENDATA_SEEDS` says how many are run.

use std::sync::Arc;

use opendata_core::testing::{Fault, FaultStore, Method};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;
use crate::control::CutMode;
use crate::edge::EdgeSpec;

const LONG: Duration = Duration::from_secs(60);
const NODES: [&str; 4] = ["a", "b", "c", "d"];
const STEPS: usize = 14;

/// The records that were appended, by node: what the model knows.
type Appended = BTreeMap<&'static str, Vec<u64>>;

struct World {
    seed: u64,
    rng: StdRng,
    store: Store,
    faults: FaultStore,
    spec: Composition,
    main: ExternalComposite,
    appended: Appended,
    cuts: BTreeMap<String, Appended>,
    next: u64,
}

/// A graph without cycles: edges lead from earlier names to later ones.
fn graph(rng: &mut StdRng) -> Composition {
    let mut edges = Vec::new();
    for (at, from) in NODES.iter().enumerate() {
        for to in &NODES[at + 1..] {
            if rng.random_bool(0.5) {
                edges.push(EdgeSpec::new(&format!("{from}-{to}"), (from, "l"), (to, "l")));
            }
        }
    }
    Composition { edges, ..composition(&NODES) }
}

impl World {
    async fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let inner = Store::from_url("memory:").unwrap();
        let faults = FaultStore::new(Arc::clone(inner.object_store()));
        let store = inner.map(|_| Arc::new(faults.clone()));
        let spec = graph(&mut rng);
        let main = describe(&store, "main").open_as(&spec).await.unwrap();
        let (appended, cuts) = (Appended::new(), BTreeMap::new());
        Self { seed, rng, store, faults, spec, main, appended, cuts, next: 0 }
    }

    /// In how many ways records of one node reach another.
    fn ways(&self, from: &str, to: &str) -> usize {
        if from == to {
            return 1;
        }
        let out = self.spec.edges_out_of(from);
        out.filter_map(|edge| edge.to.node.as_deref()).map(|node| self.ways(node, to)).sum()
    }

    /// How often each record shall be found in a node.
    fn expected(&self, appended: &Appended, node: &str) -> BTreeMap<u64, usize> {
        let mut expected = BTreeMap::new();
        for (from, records) in appended {
            let ways = self.ways(from, node);
            for record in records.iter().filter(|_| ways > 0) {
                *expected.entry(*record).or_insert(0) += ways;
            }
        }
        expected
    }

    /// A few of the next calls to the store fail, some after they had their effect.
    fn trouble(&mut self) {
        let (every, after) = (self.rng.random_range(5..40_u64), self.rng.random_bool(0.5));
        let mut calls = 0_u64;
        let mut left = 3;
        self.faults.set_rule(move |method, _| {
            calls += 1;
            let fails = left > 0 && calls.is_multiple_of(every) && matches!(method, Method::Put | Method::Get);
            left -= i32::from(fails);
            fails.then_some(if after { Fault::ErrorAfterEffect } else { Fault::Error })
        });
    }

    /// Appends records to one node until it is known that they are in.
    async fn append(&mut self) {
        let node = *NODES.choose(&mut self.rng).unwrap();
        for _ in 0..self.rng.random_range(1..5) {
            let number = self.next;
            self.next += 1;
            loop {
                let Ok(open) = self.main.node(node) else {
                    let _ = self.main.0.reconcile().await;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                };
                if append(&open, &number.to_string()).await.is_ok() {
                    break;
                }
                // Whether it is in is looked up before it is tried again.
                self.reopen().await;
                let found = counts(&self.main.node(node).unwrap().view()).await;
                if found.contains_key(&number) {
                    break;
                }
            }
            self.appended.entry(node).or_default().push(number);
        }
    }

    async fn reopen(&mut self) {
        self.faults.clear_rule();
        let _ = self.main.close().await;
        self.main = describe(&self.store, "main").open().await.unwrap();
    }

    async fn cut(&mut self) -> Option<String> {
        let name = format!("cut-{}", self.next);
        self.next += 1;
        let mode = if self.rng.random_bool(0.5) { CutMode::Instant } else { CutMode::Aligned };
        let options = CutOptions { mode, timeout: LONG, ..CutOptions::default() };
        if let Err(error) = self.main.cut(&name, &options).await {
            // It may fail for the store's sake, and then it is nowhere.
            assert!(self.faults.counts().faults > 0, "{error}");
            self.reopen().await;
            return None;
        }
        let past = self.main.at(&name).await.unwrap();
        for node in NODES {
            let found = counts(&past.node(node).unwrap().view()).await;
            let expected = self.expected(&self.appended, node);
            for (record, count) in found {
                let most = expected.get(&record).copied().unwrap_or(0);
                assert!(count <= most, "{mode:?} {name}: record {record} {count} times in {node}, {most} at most");
            }
        }
        self.cuts.insert(name.clone(), self.appended.clone());
        Some(name)
    }

    async fn step(&mut self) {
        if self.rng.random_bool(0.3) {
            self.trouble();
        }
        match self.rng.random_range(0..10) {
            0..5 => self.append().await,
            5 => drop(self.cut().await),
            6 => self.reopen().await,
            7 => {
                self.faults.clear_rule();
                if let Some(cut) = self.cut().await {
                    self.append().await;
                    self.faults.clear_rule();
                    self.main.restore(&cut).await.unwrap();
                    self.appended = self.cuts[&cut].clone();
                }
            }
            8 => {
                self.faults.clear_rule();
                if let Some(cut) = self.cut().await {
                    let fork = format!("fork-{cut}");
                    self.main.fork(&fork, &cut).await.unwrap();
                    let other = describe(&self.store, "fork").branch(&fork).open().await.unwrap();
                    append(&other.node("a").unwrap(), "1000000").await.unwrap();
                    other.wait_caught_up(LONG).await.unwrap();
                    other.close().await.unwrap();
                    // What was written in the fork never reaches main.
                    self.main.discard(&fork).await.unwrap();
                }
            }
            _ => {
                if let Some(edge) = self.spec.edges.choose(&mut self.rng).map(|edge| edge.id.clone()) {
                    let _ = self.main.pause(&edge).await;
                    self.append().await;
                    self.faults.clear_rule();
                    self.main.resume(&edge).await.unwrap();
                }
            }
        }
    }

    async fn check(&mut self) {
        self.reopen().await;
        for edge in self.spec.edges.clone() {
            self.main.resume(&edge.id).await.unwrap();
        }
        self.main.wait_caught_up(LONG).await.unwrap();
        for node in NODES {
            let found = counts(&self.main.node(node).unwrap().view()).await;
            assert_eq!(found, self.expected(&self.appended, node), "seed {}: node {node}", self.seed);
        }
        // Every cut that was committed opens until it is let go.
        for cut in self.cuts.keys() {
            self.main.at(cut).await.unwrap();
        }
        self.main.close().await.unwrap();
    }
}

/// How often each record is found in a node.
async fn counts(view: &opendata_core::slate::View) -> BTreeMap<u64, usize> {
    let records = view.get_reader::<Log>("l").unwrap().scan_all(..).await.unwrap().collect().await.unwrap();
    let mut counts = BTreeMap::new();
    for record in records {
        *counts.entry(String::from_utf8_lossy(&record.payload).parse().unwrap()).or_insert(0) += 1;
    }
    counts
}

#[tokio::test]
async fn whatever_happens_each_record_is_where_the_graph_says_as_often_as_it_says() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds: Vec<u64> = match number("OPENDATA_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("OPENDATA_SEEDS").map_or(6, |seeds| seeds.div_ceil(10))).collect(),
    };
    for seed in seeds {
        println!("OPENDATA_SEED={seed}");
        let mut world = World::new(seed).await;
        for _ in 0..STEPS {
            world.step().await;
        }
        world.check().await;
    }
}
