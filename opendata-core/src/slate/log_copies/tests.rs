use super::*;
use std::time::Duration;

use crate::slate::{At, Settings, Slate, SlateReader};
use crate::store::Store;
use crate::testing::{Fault, FaultStore, Ledger, LedgerConfig, Method};

const COMMITS: u64 = 150;

async fn open(store: &Store, path: &str) -> Slate {
    let settings = Settings { maintenance_interval_ms: 0, ..Settings::default() };
    let builder = Slate::builder(store, path).settings(settings);
    builder.system::<Ledger>("ledger", LedgerConfig::default()).open().await.unwrap()
}

async fn add(slate: &Slate) {
    let ledger = slate.get::<Ledger>("ledger").unwrap();
    let mut tx = slate.begin();
    tx.on(&ledger).add("a", 1);
    tx.commit().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_log_of_many_files_is_copied_in_few_rounds_and_not_beyond_the_checkpoint() {
    let store = Store::from_url("memory:").unwrap();
    let slate = open(&store, "s").await;
    for _ in 0..COMMITS {
        add(&slate).await;
    }
    slate.checkpoint("c", None).await.unwrap();
    add(&slate).await;
    // One copy in ten fails at first.
    let faults = FaultStore::new(Arc::clone(store.object_store()));
    let rounds = Arc::new(Mutex::new(HashSet::new()));
    let (seen, mut number) = (Arc::clone(&rounds), 0);
    faults.set_rule(move |method, _| {
        (method == Method::Copy).then(|| {
            number += 1;
            seen.lock().unwrap().insert(tokio::time::Instant::now());
            if number % 10 == 0 { Fault::Error } else { Fault::Slow(Duration::from_millis(30)) }
        })
    });
    let slow = store.map(|_| Arc::new(faults.clone()));
    let reader = SlateReader::builder(&slow, "s").register::<Ledger>().open(At::Checkpoint("c".into())).await.unwrap();
    reader.fork("f").await.unwrap();
    let rounds = rounds.lock().unwrap().len();
    assert!(rounds < 40, "{rounds} rounds of copies for {COMMITS} files");
    let fork = open(&store, "f").await;
    let balances = fork.view().get_reader::<Ledger>("ledger").unwrap().balances().await.unwrap();
    assert_eq!(balances.get("a"), Some(&i64::try_from(COMMITS).unwrap()));
    fork.close().await.unwrap();
    slate.close().await.unwrap();
}
