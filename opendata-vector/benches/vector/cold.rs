//! A process that has nothing in memory, and a store that takes 50 ms a request.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opendata_core::slate::{At, SlateReader};
use opendata_core::store::Store;
use opendata_core::testing::{Fault, FaultStore};
use opendata_vector::{Query, Reader, Select, Vector};

use crate::sets::Set;

const LATENCY: Duration = Duration::from_millis(50);
/// So slow that what is computed meanwhile does not count: the time tells how many requests waited for one another.
const LONG_LATENCY: Duration = Duration::from_secs(1);

async fn open(store: &Store) -> (SlateReader, Reader) {
    let reader = SlateReader::builder(store, "bench").register::<Vector>().open(At::Latest).await.unwrap();
    let docs = reader.view().on(&reader.get::<Vector>("docs").unwrap()).unwrap();
    (reader, docs)
}

fn query(set: &Set, at: usize) -> Query {
    Query::nearest("v", set.query(at)).limit(10).select(Select::Id)
}

/// Prints every request of the first time if asked for a trace.
pub(crate) async fn run(folder: &Path, set: &Set, trace: bool) {
    let local = Store::from_url(&format!("file:{}", folder.display())).unwrap();
    let faults = FaultStore::new(Arc::clone(local.object_store()));
    let began = Instant::now();
    let telling = Arc::new(AtomicBool::new(trace));
    let tell = Arc::clone(&telling);
    let latency = Arc::new(Mutex::new(LATENCY));
    let slowed = Arc::clone(&latency);
    faults.set_rule(move |method, path| {
        if tell.load(Ordering::Relaxed) {
            println!("  {:>6.0} ms {method:?} {path}", began.elapsed().as_secs_f64() * 1e3);
        }
        Some(Fault::Slow(*slowed.lock().unwrap()))
    });
    let slow = faults.clone();
    let (mut found, mut wanted) = (0, 0);
    let times = 10.min(set.queries());
    let (mut gets, mut bytes, mut rounds, mut lists) = (0, 0, 0.0f64, 0);
    let mut opening = (0, 0.0);
    for at in 0..times {
        let store = local.map(|_| Arc::new(slow.clone())).with_cold_cache();
        let (before, started) = (faults.counts(), Instant::now());
        let (_reader, docs) = open(&store).await;
        let opened = (faults.counts().gets - before.gets, started.elapsed().as_secs_f64() / LATENCY.as_secs_f64());
        if telling.load(Ordering::Relaxed) {
            println!("  {:>6.0} ms opened", began.elapsed().as_secs_f64() * 1e3);
        }
        let hits = docs.search(&query(set, at)).await.unwrap().hits;
        telling.store(false, Ordering::Relaxed);
        let (after, took) = (faults.counts(), started.elapsed());
        opening = (opening.0.max(opened.0), f64::max(opening.1, opened.1));
        gets = gets.max(after.gets - before.gets);
        lists = lists.max(after.lists - before.lists);
        bytes = bytes.max(after.get_bytes - before.get_bytes);
        rounds = rounds.max(took.as_secs_f64() / LATENCY.as_secs_f64());
        let ids = hits.iter().map(|hit| String::from_utf8_lossy(&hit.document.id).parse::<u32>().unwrap());
        found += ids.filter(|id| set.truth[at].contains(id)).count();
        wanted += set.truth[at].len();
    }
    *latency.lock().unwrap() = LONG_LATENCY;
    let mut in_a_row = 0;
    for at in 0..3.min(set.queries()) {
        let store = local.map(|_| Arc::new(slow.clone())).with_cold_cache();
        let started = Instant::now();
        let (_reader, docs) = open(&store).await;
        docs.search(&query(set, at)).await.unwrap();
        in_a_row = in_a_row.max(started.elapsed().as_secs() / LONG_LATENCY.as_secs());
    }
    println!(
        "cold, {times} times opened and asked, the worst of each: {gets} gets, {lists} listings, {:.1} MB, {rounds:.1} times the latency (opening alone {} gets, {:.1} times); {in_a_row} rounds in a row; recall {:.2}",
        bytes as f64 / 1e6,
        opening.0,
        opening.1,
        f64::from(found as u32) / f64::from(wanted as u32)
    );
}
