use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::key::KeyRange;
use crate::slate::{Access, At, Compression, Order, Settings, Slate, SlateReader};
use crate::store::Store;
use crate::testing::{Fault, FaultStore, Ledger, LedgerConfig, Method, StoreCounts};

/// How long a request takes, on a clock that stands still between them: the time that went by counts requests that waited
/// for each other.
const LATENCY: Duration = Duration::from_secs(1);

/// A slate with sorted files, a checkpoint, and a log behind both. Its ledger counts ten. An orderly close would make sorted
/// files of the log, so it stays open.
async fn written() -> (Store, Slate) {
    let store = Store::from_url("memory:").unwrap();
    let settings = Settings { maintenance_interval_ms: 0, poll_interval_ms: 50, ..Settings::default() };
    let builder = Slate::builder(&store, "s").settings(settings).system::<Ledger>("ledger", LedgerConfig::default());
    let slate = builder.open().await.unwrap();
    let ledger = slate.get::<Ledger>("ledger").unwrap();
    for n in 0..10 {
        let mut transaction = slate.begin();
        transaction.on(&ledger).add("a", 1);
        transaction.commit().await.unwrap();
        if n == 2 || n == 4 {
            slate.flush_files().await.unwrap();
        }
        if n == 6 {
            slate.checkpoint("then", None).await.unwrap();
        }
    }
    (store, slate)
}

async fn open(store: &Store, at: At) -> (SlateReader, i64) {
    let reader = SlateReader::builder(store, "s").register::<Ledger>().open(at).await.unwrap();
    let balances = reader.view().get_reader::<Ledger>("ledger").unwrap().scan_balances().await.unwrap();
    (reader, balances.get("a").copied().unwrap_or(0))
}

/// Opens a written slate from nothing and returns what was asked of the store, and in how many rounds.
async fn opened(store: &Store, at: At, expected: i64) -> (StoreCounts, u64) {
    let slow = FaultStore::new(Arc::clone(store.object_store()));
    slow.set_rule(|_, _| Some(Fault::Slow(LATENCY)));
    let counted = slow.clone();
    let started = Instant::now();
    let (_, balance) = open(&store.map(|_| Arc::new(slow)).with_cold_cache(), at).await;
    assert_eq!(balance, expected);
    (counted.counts(), started.elapsed().as_secs())
}

#[tokio::test]
async fn opening_takes_three_rounds_of_requests() {
    let (store, _slate) = written().await;
    tokio::time::pause();
    let (latest, rounds) = opened(&store, At::Latest, 10).await;
    assert!(latest.lists == 2 && latest.gets <= 24, "{latest:?}");
    assert_eq!(rounds, 3, "{latest:?}");
    let (then, rounds) = opened(&store, At::Checkpoint("then".into()), 7).await;
    assert!(then.lists == 2 && then.gets <= 24, "{then:?}");
    assert_eq!(rounds, 4, "the checkpoint's manifest is one more: {then:?}");
}

#[tokio::test]
async fn a_row_that_begins_a_block_is_read_in_one_round() {
    let store = Store::from_url("memory:").unwrap();
    // So that what is written stays as large as it is.
    let settings = Settings { maintenance_interval_ms: 0, compression: Compression::None, ..Settings::default() };
    let builder = Slate::builder(&store, "s").settings(settings).system::<Ledger>("ledger", LedgerConfig::default());
    let slate = builder.open().await.unwrap();
    let ledger = slate.get::<Ledger>("ledger").unwrap();
    let mut transaction = slate.begin();
    for n in 0..40 {
        transaction.on(&ledger).add(&format!("{n:02}{}", "x".repeat(20_000)), n);
    }
    transaction.commit().await.unwrap();
    slate.flush_files().await.unwrap();
    let view = slate.view();
    let mut rows = view.scan(KeyRange::all(), Access::Bulk, Order::Ascending).await.unwrap();
    let mut large = Vec::new();
    while let Some(row) = rows.next().await.unwrap() {
        if row.key.len() > 20_000 {
            large.push(row);
        }
    }
    assert!(large.len() > 10, "{}", large.len());

    tokio::time::pause();
    let slow = FaultStore::new(Arc::clone(store.object_store()));
    slow.set_rule(|_, _| Some(Fault::Slow(LATENCY)));
    let store = store.map(|_| Arc::new(slow.clone()));
    let mut asked = 0;
    // Some of them begin a block. Each is read by somebody who has read nothing else, so that no block is in memory already.
    for row in large.iter().take(12) {
        let reader =
            SlateReader::builder(&store.with_cold_cache(), "s").register::<Ledger>().open(At::Latest).await.unwrap();
        let (before, started) = (slow.counts().gets, Instant::now());
        assert_eq!(reader.view().get(&row.key).await.unwrap().as_ref(), Some(&row.value));
        let gets = slow.counts().gets - before;
        asked += gets;
        assert!(gets <= 1 && started.elapsed() < 2 * LATENCY, "{gets} {:?}", started.elapsed());
    }
    assert!(asked > 0, "nothing was asked of the store");
}

#[tokio::test]
async fn what_cannot_be_read_ahead_is_read_when_it_is_needed() {
    let (store, _slate) = written().await;
    tokio::time::pause();
    for part in ["manifest/", "/gc/", "/wal/", "/compacted/"] {
        let faults = FaultStore::new(Arc::clone(store.object_store()));
        let mut met = std::collections::BTreeSet::new();
        faults.set_rule(move |method, path| {
            let is_first = method == Method::Get && path.as_ref().contains(part) && met.insert(path.clone());
            is_first.then_some(Fault::Error)
        });
        let counted = faults.clone();
        let (_, balance) = open(&store.map(|_| Arc::new(faults)).with_cold_cache(), At::Latest).await;
        assert_eq!(balance, 10, "{part}");
        assert!(counted.counts().faults > 0, "{part}");
    }
}

#[tokio::test]
async fn the_parts_of_a_range_are_the_range() {
    let (store, slate) = written().await;
    slate.compact().await.unwrap();
    let (reader, _) = open(&store, At::Latest).await;
    let view = reader.view();
    let keys = async |range: KeyRange| {
        let mut rows = view.scan(range, Access::Bulk, Order::Ascending).await.unwrap();
        let mut keys = Vec::new();
        while let Some(row) = rows.next().await.unwrap() {
            keys.push(row.key);
        }
        keys
    };
    let all = keys(KeyRange::all()).await;
    let (first, last) = (all.first().unwrap().clone(), all.last().unwrap().clone());
    for range in [KeyRange::all(), KeyRange::between(first, last)] {
        let parts = view.parts(range.clone());
        assert!(parts.len() > 1 || range != KeyRange::all(), "{parts:?}");
        let mut together = Vec::new();
        for part in parts {
            together.extend(keys(part).await);
        }
        assert_eq!(together, keys(range).await);
    }
    assert_eq!(slate.view().parts(KeyRange::all()), [KeyRange::all()], "the writer's is near");
}
