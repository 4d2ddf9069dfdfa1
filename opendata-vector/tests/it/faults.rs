//! A crash at any call to the store leaves an index that answers as if nothing had happened.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use opendata_core::slate::{Ack, Settings, Slate};
use opendata_core::store::Store;
use opendata_core::testing::{Fault, FaultStore, Method};
use opendata_core::{Error, Result};
use opendata_vector::{AttributeType, Config, Effort, Metric, Query, Reader, Select, Vector, VectorField};

use crate::bed::{Clustered, doc, ids};

fn config() -> Config {
    Config { tail_rows: 32, cell_rows: 8, ..Config::default() }
        .vector("v", VectorField::new(8, Metric::L2))
        .attribute("year", AttributeType::I64)
}

pub(crate) async fn open(store: &Store, config: Config) -> Result<Slate> {
    let settings = Settings {
        maintenance_interval_ms: 0,
        flush_interval_ms: 5,
        store_retries: 0,
        garbage_interval_s: 0,
        compaction: false,
        memtable_bytes: 64 << 10,
        files_timeout_ms: 500,
        ..Settings::default()
    };
    Slate::builder(store, "slate").system::<Vector>("docs", config).settings(settings).open().await
}

/// Overwrites, deletes and indexes, step after step, until something fails. Durable steps move the floor: what is known of
/// each document for certain.
async fn work(slate: &Slate, known: &mut BTreeMap<usize, Option<Vec<f32>>>, doubt: &mut Vec<usize>) -> Result<()> {
    let docs = slate.get::<Vector>("docs")?;
    let mut vectors = Clustered::new(5, 8);
    for round in 0..6usize {
        let mut step: BTreeMap<usize, Option<Vec<f32>>> = BTreeMap::new();
        let mut tx = slate.begin();
        for at in 0..40 {
            let id = (round * 23 + at * 7) % 120;
            let vector = (at % 5 != 0).then(|| vectors.next());
            match &vector {
                Some(vector) => _ = tx.on(&docs).upsert(doc(id, vector.clone())),
                None => _ = tx.on(&docs).delete(format!("{id:06}")),
            }
            step.insert(id, vector);
        }
        *doubt = step.keys().copied().collect();
        tx.commit_with(Ack::Durable).await.map_err(Error::from)?;
        known.append(&mut step);
        doubt.clear();
        slate.maintain().await?;
        slate.flush().await?;
    }
    Ok(())
}

async fn holds(reader: &Reader, known: &BTreeMap<usize, Option<Vec<f32>>>, doubt: &[usize]) {
    reader.verify().await.unwrap();
    let everything = Select::Everything;
    for (id, vector) in known.iter().filter(|(id, _)| !doubt.contains(id)) {
        let found = reader.get_selected(format!("{id:06}"), &everything).await.unwrap();
        assert_eq!(found.map(|found| found.document.vectors["v"].clone()), *vector, "document {id}");
    }
    let mut queries = Clustered::new(9, 8);
    let all = reader.stats().await.unwrap().documents as usize;
    for _ in 0..3 {
        let query = Query::nearest("v", queries.next()).limit(all.max(1));
        let exact = ids(reader, &query.clone().effort(Effort::Exact)).await;
        assert_eq!(exact.len(), all);
        assert_eq!(ids(reader, &query.effort(Effort::Cells(10_000))).await, exact, "every vector is found once");
    }
}

#[tokio::test]
async fn a_crash_at_any_write_of_drains_splits_and_merges_loses_no_vector() {
    let mut crashed = 0;
    for survived in (0..).step_by(2) {
        let faults = OnceLock::new();
        let store = Store::from_url("memory:").unwrap().map(|inner| {
            let store = FaultStore::new(inner);
            let _ = faults.set(store.clone());
            Arc::new(store)
        });
        let faults: &FaultStore = faults.get().unwrap();
        let slate = open(&store, config()).await.unwrap();
        let mut puts = 0;
        faults.set_rule(move |method, _| {
            puts += usize::from(method == Method::Put);
            // Whether the last call took effect is what nobody knows after a crash.
            let fault = if puts == survived + 1 { Fault::ErrorAfterEffect } else { Fault::Error };
            (method == Method::Put && puts > survived).then_some(fault)
        });
        let (mut known, mut doubt) = (BTreeMap::new(), Vec::new());
        let ended = work(&slate, &mut known, &mut doubt).await;
        drop(slate); // No orderly close.
        faults.clear_rule();
        let slate = open(&store, config()).await.unwrap();
        let docs = slate.get::<Vector>("docs").unwrap();
        holds(&slate.view().on(&docs).unwrap(), &known, &doubt).await;
        slate.maintain().await.unwrap();
        holds(&slate.view().on(&docs).unwrap(), &known, &doubt).await;
        slate.close().await.unwrap();
        if ended.is_ok() {
            break;
        }
        crashed += 1;
    }
    assert!(crashed >= 6, "the work was interrupted at {crashed} places only");
}
