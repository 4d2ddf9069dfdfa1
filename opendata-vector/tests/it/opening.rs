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
