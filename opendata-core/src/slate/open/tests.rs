use super::*;
use futures::TryStreamExt;

use crate::testing::{Ledger, LedgerConfig};

fn settings() -> Settings {
    Settings { maintenance_interval_ms: 0, flush_interval_ms: 10, poll_interval_ms: 50, ..Settings::default() }
}

fn describe(store: &Store, path: &str) -> Builder {
    Slate::builder(store, path).settings(settings()).system::<Ledger>("ledger", LedgerConfig::default())
}

async fn add(slate: &Slate) {
    let ledger = slate.get::<Ledger>("ledger").unwrap();
    let mut transaction = slate.begin();
    transaction.on(&ledger).add("a", 1);
    transaction.commit().await.unwrap();
}

async fn balance(slate: &Slate) -> i64 {
    let balances = slate.view().get_reader::<Ledger>("ledger").unwrap().balances().await.unwrap();
    balances.get("a").copied().unwrap_or(0)
}

/// What the compactors of a slate have written down.
async fn compactions(store: &Store, path: &str) -> usize {
    let folder = store.slate_path(path).unwrap().join("compactions");
    store.object_store().list(Some(&folder)).try_collect::<Vec<_>>().await.unwrap().len()
}

#[tokio::test]
async fn who_opens_a_slate_briefly_begins_no_compaction() {
    let store = Store::from_url("memory:").unwrap();
    let slate = describe(&store, "s").open().await.unwrap();
    add(&slate).await;
    slate.close().await.unwrap();
    let before = compactions(&store, "s").await;
    let slate = describe(&store, "s").briefly().open().await.unwrap();
    add(&slate).await;
    slate.flush_files().await.unwrap();
    slate.close().await.unwrap();
    assert_eq!(compactions(&store, "s").await, before);
    let slate = describe(&store, "s").open().await.unwrap();
    assert_eq!(balance(&slate).await, 2);
    assert!(compactions(&store, "s").await > before, "who stays does");
    slate.close().await.unwrap();
}

#[tokio::test]
async fn files_that_no_compactor_takes_hold_up_neither_brief_openings_nor_forks() {
    let store = Store::from_url("memory:").unwrap();
    let settings = Settings { compaction: false, files_timeout_ms: 2_000, ..settings() };
    let describe = |path: &str| describe(&store, path).settings(settings.clone());
    describe("0").open().await.unwrap().close().await.unwrap();
    // More than an opening that stays takes.
    for _ in 0..66 {
        let slate = describe("0").briefly().open().await.unwrap();
        add(&slate).await;
        slate.flush_files().await.unwrap();
        slate.close().await.unwrap();
    }
    // Each part writes its own record to a file.
    for fork in 0..10 {
        let slate = describe(&fork.to_string()).briefly().open().await.unwrap();
        let next = (fork + 1).to_string();
        let forked = slate.fork_instance("ledger", &next);
        tokio::time::timeout(Duration::from_secs(20), forked).await.expect("it waits for nobody").unwrap();
        slate.close().await.unwrap();
    }
    let slate = describe("10").briefly().open().await.unwrap();
    assert_eq!(balance(&slate).await, 66);
    slate.close().await.unwrap();
}
