//! What a process that has nothing in memory asks of the store before it has its first answer.

use std::sync::Arc;
use std::time::Duration;

use opendata_core::slate::{At, SlateReader};
use opendata_core::testing::{Fault, FaultStore};
use opendata_vector::{AttributeType, Config, Metric, Op, Query, Select, Vector, VectorField};
use tokio::time::Instant;

use crate::bed::{Bed, Clustered, doc};

/// How long a request takes, on a clock that stands still between them: the time that went by counts requests that waited
/// for each other.
const LATENCY: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_first_query_asks_the_store_in_few_rounds() {
    let config =
        Config { tail_rows: 256, cell_rows: 32, ..Config::default() }.vector("v", VectorField::new(16, Metric::L2));
    let config = config.attribute("year", AttributeType::I64);
    let bed = Bed::new(config).await;
    let mut vectors = Clustered::new(1, 16);
    for start in (0..3100).step_by(100) {
        let write = |op: &mut Op| {
            for id in start..start + 100 {
                op.upsert(doc(id, vectors.next()));
            }
        };
        bed.commit(write).await.unwrap();
        if start == 2500 {
            bed.slate.maintain().await.unwrap();
            bed.slate.flush_files().await.unwrap();
        }
        if start == 2900 {
            bed.slate.flush_files().await.unwrap();
        }
    }
    bed.slate.close().await.unwrap();

    tokio::time::pause();
    let faults = FaultStore::new(Arc::clone(bed.store.object_store()));
    faults.set_rule(|_, _| Some(Fault::Slow(LATENCY)));
    let slow = faults.clone();
    let store = bed.store.map(|_| Arc::new(slow)).with_cold_cache();
    let started = Instant::now();
    let reader = SlateReader::builder(&store, "slate").register::<Vector>().open(At::Latest).await.unwrap();
    let docs = reader.view().on(&reader.get::<Vector>("docs").unwrap()).unwrap();
    let (opened, rounds) = (faults.counts(), started.elapsed().as_secs());
    assert!(opened.gets <= 16 && rounds == 3, "opening, {rounds} rounds: {opened:?}");
    let query = Query::nearest("v", vectors.next()).limit(10).select(Select::Id);
    let hits = docs.search(&query).await.unwrap().hits;
    assert_eq!(hits.len(), 10);
    let (asked, rounds) = (faults.counts(), started.elapsed().as_secs());
    assert!(asked.gets <= 40 && rounds <= 6, "with the query, {rounds} rounds: {asked:?}");
}

#[tokio::test]
async fn first_queries_of_a_compacted_index_ask_in_six_rounds_and_answer_as_when_warm() {
    let config = Config { cell_rows: 64, ..Config::default() }
        .vector("v", VectorField::new(64, Metric::L2))
        .attribute("year", AttributeType::I64);
    let bed = Bed::new(config).await;
    let mut vectors = Clustered::new(2, 64);
    for start in (0..8000).step_by(1000) {
        let write = |op: &mut Op| {
            for id in start..start + 1000 {
                op.upsert(doc(id, vectors.next()));
            }
        };
        bed.commit(write).await.unwrap();
    }
    bed.slate.maintain().await.unwrap();
    bed.slate.compact().await.unwrap();
    // One that is in no cell yet.
    bed.commit(|op| _ = op.upsert(doc(8000, vectors.next()))).await.unwrap();
    bed.slate.flush_files().await.unwrap();
    let queries: Vec<Query> =
        (0..10).map(|_| Query::nearest("v", vectors.next()).limit(10).select(Select::Id)).collect();
    let warm = bed.reader();
    let mut truth = Vec::new();
    for query in &queries {
        truth.push(warm.search(query).await.unwrap());
    }
    bed.slate.close().await.unwrap();

    tokio::time::pause();
    let faults = FaultStore::new(Arc::clone(bed.store.object_store()));
    faults.set_rule(|_, _| Some(Fault::Slow(LATENCY)));
    let slow = bed.store.map(|_| Arc::new(faults.clone()));
    for (query, truth) in queries.iter().zip(truth) {
        let (before, started) = (faults.counts().gets, Instant::now());
        let store = slow.with_cold_cache();
        let reader = SlateReader::builder(&store, "slate").register::<Vector>().open(At::Latest).await.unwrap();
        let docs = reader.view().on(&reader.get::<Vector>("docs").unwrap()).unwrap();
        assert_eq!(docs.search(query).await.unwrap(), truth);
        let (gets, rounds) = (faults.counts().gets - before, started.elapsed().as_secs());
        assert!(gets <= 60 && rounds <= 6, "{rounds} rounds, {gets} gets");
    }
}
