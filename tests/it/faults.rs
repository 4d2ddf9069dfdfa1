//! Faults that a slate survives: in each there is a typed error, nothing acknowledged is lost, and nothing
//! refused is visible.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use opendata_core::env::{Env, ManualClock};
use opendata_core::slate::{Ack, Handle, Settings, Slate, View};
use opendata_core::store::{Store, StoreKind};
use opendata_core::testing::{Fault, FaultStore, Ledger, LedgerConfig, Method};
use opendata_core::{ErrorKind, Result, Timestamp};

/// Long enough for any of these to end, short enough to say that one hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn settings() -> Settings {
    Settings {
        maintenance_interval_ms: 0,
        flush_interval_ms: 5,
        poll_interval_ms: 50,
        store_retries: 0,
        garbage_interval_s: 0,
        files_timeout_ms: 300,
        ..Settings::default()
    }
}

async fn open(store: &Store) -> Result<Slate> {
    let builder = Slate::builder(store, "slate").settings(settings());
    builder.system::<Ledger>("ledger", LedgerConfig::default()).open().await
}

async fn add(slate: &Slate, account: &str, ack: Ack) -> Result<(), ErrorKind> {
    let ledger: Handle<Ledger> = slate.get("ledger").map_err(|error| error.kind())?;
    let mut transaction = slate.begin();
    transaction.on(&ledger).add(account, 1).add("total", 1);
    transaction.commit_with(ack).await.map(|_| ()).map_err(|error| error.kind())
}

async fn balance(view: &View, account: &str) -> i64 {
    let balances = view.get_reader::<Ledger>("ledger").unwrap().scan_balances().await.unwrap();
    let sum: i64 = balances.iter().filter(|(name, _)| *name != "total").map(|(_, balance)| balance).sum();
    assert_eq!(sum, balances.get("total").copied().unwrap_or(0), "a commit is in by half");
    balances.get(account).copied().unwrap_or(0)
}

/// Breaks the store at its n-th call, for every n that a run has, and looks at what is left. If it lasts, no later
/// call of this kind succeeds either, as if the process had died.
async fn break_at_every_call(fault: Fault, only: impl Fn(Method) -> bool + Copy + Send + 'static, lasts: bool) {
    for n in 0..400 {
        let memory = Store::from_url("memory:").unwrap();
        let faulty = FaultStore::new(Arc::clone(memory.object_store()));
        let calls = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&calls);
        faulty.set_rule(move |method, _| {
            if !only(method) {
                return None;
            }
            let call = seen.fetch_add(1, Ordering::SeqCst);
            match call.cmp(&n) {
                std::cmp::Ordering::Less => None,
                std::cmp::Ordering::Equal => Some(fault),
                std::cmp::Ordering::Greater => lasts.then_some(Fault::Error),
            }
        });
        let store = memory.map(|_| Arc::new(faulty.clone()));
        let (mut acknowledged, mut attempted) = (0, 0);
        let run = async {
            let slate = open(&store).await?;
            for step in 0..6 {
                attempted += 1;
                let outcome = add(&slate, "a", Ack::Durable).await;
                match outcome {
                    Ok(()) => acknowledged += 1,
                    Err(kind) => {
                        let honest = [ErrorKind::OutcomeUnknown, ErrorKind::Fenced, ErrorKind::Closed];
                        assert!(honest.contains(&kind), "call {n}: {kind}");
                    }
                }
                if step == 3 {
                    let _ = slate.flush_files().await;
                }
            }
            slate.close().await
        };
        let outcome = tokio::time::timeout(PATIENCE, run).await.unwrap_or_else(|_| panic!("call {n}: hangs"));
        faulty.clear_rule();
        let slate = open(&memory).await.unwrap_or_else(|error| panic!("call {n}: cannot be reopened: {error:?}"));
        let found = balance(&slate.view(), "a").await;
        assert!(acknowledged <= found && found <= attempted, "call {n}: {acknowledged} <= {found} <= {attempted}");
        add(&slate, "b", Ack::Durable).await.unwrap();
        slate.close().await.unwrap();
        if calls.load(Ordering::SeqCst) <= n {
            assert!(outcome.is_ok() && acknowledged == 6, "call {n}: a run without a fault failed: {outcome:?}");
            assert!(n > 5, "the store was called {n} times only");
            return;
        }
    }
    panic!("the run has more calls than were tried");
}

fn any(_: Method) -> bool {
    true
}

fn puts(method: Method) -> bool {
    method == Method::Put
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_dies_at_any_call() {
    break_at_every_call(Fault::Error, any, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_once_at_any_call() {
    break_at_every_call(Fault::Error, any, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_that_succeeded_but_reported_failure() {
    break_at_every_call(Fault::ErrorAfterEffect, puts, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_dies_with_a_put_done_that_it_never_heard_of() {
    break_at_every_call(Fault::ErrorAfterEffect, puts, true).await;
}

#[tokio::test]
async fn a_fenced_writer_never_acknowledges_as_durable_and_never_hangs() {
    let store = Store::from_url("memory:").unwrap();
    let old = open(&store).await.unwrap();
    add(&old, "a", Ack::Durable).await.unwrap();
    let new = open(&store).await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, async {
        for _ in 0..50 {
            let outcome = add(&old, "old", Ack::Durable).await;
            assert_eq!(outcome.unwrap_err(), ErrorKind::Fenced);
        }
        assert_eq!(old.failure().unwrap().kind(), ErrorKind::Fenced);
        assert_eq!(old.flush().await.unwrap_err().kind(), ErrorKind::Fenced);
        assert_eq!(old.checkpoint("late", None).await.unwrap_err().kind(), ErrorKind::Fenced);
        let _ = old.close().await;
    });
    ended.await.expect("a fenced writer hangs");
    add(&new, "a", Ack::Durable).await.unwrap();
    assert_eq!((balance(&new.view(), "a").await, balance(&new.view(), "old").await), (2, 0));
    new.close().await.unwrap();
    let again = open(&store).await.unwrap();
    assert_eq!((balance(&again.view(), "a").await, balance(&again.view(), "old").await), (2, 0));
    again.close().await.unwrap();
}

#[tokio::test]
async fn a_writer_with_nothing_to_write_learns_that_it_was_fenced() {
    let store = Store::from_url("memory:").unwrap();
    let old = open(&store).await.unwrap();
    let new = open(&store).await.unwrap();
    let told = tokio::time::timeout(PATIENCE, async {
        while old.failure().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    told.await.expect("nobody told it");
    assert_eq!(old.failure().unwrap().kind(), ErrorKind::Fenced);
    new.close().await.unwrap();
}

#[tokio::test]
async fn a_key_of_another_instance_is_never_stored() {
    let store = Store::from_url("memory:").unwrap();
    let slate = open(&store).await.unwrap();
    add(&slate, "a", Ack::Durable).await.unwrap();
    let ledger: Handle<Ledger> = slate.get("ledger").unwrap();
    let mut transaction = slate.begin();
    transaction.on(&ledger).add("a", 1).write_foreign_key();
    let error = transaction.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("key=7e01fffe"), "{error}");
    let _ = slate.close().await;
    let slate = open(&store).await.unwrap();
    assert_eq!(balance(&slate.view(), "a").await, 1);
    slate.close().await.unwrap();
}

#[tokio::test]
async fn a_clock_that_goes_back_stops_nobody() {
    let store = Store::from_url("memory:").unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp(1_700_000_000_000)));
    let open = || {
        let env = Env::seeded(Arc::clone(&clock) as _, 1);
        let builder = Slate::builder(&store, "slate").settings(settings()).env(env);
        builder.system::<Ledger>("ledger", LedgerConfig::default()).open()
    };
    let slate = open().await.unwrap();
    add(&slate, "a", Ack::Durable).await.unwrap();
    clock.set(Timestamp(1_600_000_000_000));
    tokio::time::timeout(PATIENCE, add(&slate, "a", Ack::Durable)).await.unwrap().unwrap();
    slate.close().await.unwrap();
    clock.set(Timestamp(1_500_000_000_000));
    let slate = tokio::time::timeout(PATIENCE, open()).await.unwrap().unwrap();
    tokio::time::timeout(PATIENCE, add(&slate, "a", Ack::Durable)).await.unwrap().unwrap();
    drop(slate);
    clock.set(Timestamp(1_400_000_000_000));
    let slate = tokio::time::timeout(PATIENCE, open()).await.unwrap().unwrap();
    tokio::time::timeout(PATIENCE, add(&slate, "a", Ack::Durable)).await.unwrap().unwrap();
    assert_eq!(balance(&slate.view(), "a").await, 4);
    slate.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_an_error_and_nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let files = Store::from_url(&format!("file:{}", folder.path().display())).unwrap();
    let faulty = FaultStore::new(Arc::clone(files.object_store()));
    let store = files.map(|_| Arc::new(faulty.clone()));
    let slate = open(&store).await.unwrap();
    for _ in 0..3 {
        add(&slate, "a", Ack::Durable).await.unwrap();
    }
    faulty.set_rule(|method, _| (method == Method::Put).then_some(Fault::Error));
    let full = tokio::time::timeout(PATIENCE, add(&slate, "a", Ack::Durable)).await.unwrap();
    assert_eq!(full.unwrap_err(), ErrorKind::OutcomeUnknown);
    let _ = tokio::time::timeout(PATIENCE, slate.close()).await.expect("close hangs on a full disk");
    faulty.clear_rule();
    let slate = open(&files).await.unwrap();
    assert_eq!(balance(&slate.view(), "a").await, 3);
    slate.close().await.unwrap();
}

/// Flips bits in the middle of every file that matches.
async fn damage(store: &Store, matches: impl Fn(&Path) -> bool) -> usize {
    let objects = store.object_store();
    let mut listing = objects.list(None);
    let mut damaged = 0;
    while let Some(object) = listing.next().await {
        let object = object.unwrap();
        if !matches(&object.location) || object.size < 64 {
            continue;
        }
        let mut bytes = objects.get(&object.location).await.unwrap().bytes().await.unwrap().to_vec();
        for byte in bytes.iter_mut().take(48).skip(8) {
            *byte ^= 0x55;
        }
        objects.put(&object.location, bytes.into()).await.unwrap();
        damaged += 1;
    }
    damaged
}

#[tokio::test]
async fn a_corrupted_file_is_an_error_and_not_an_answer() {
    let store = Store::from_url("memory:").unwrap();
    let slate = open(&store).await.unwrap();
    for account in ["a", "b", "c", "d"] {
        add(&slate, account, Ack::Durable).await.unwrap();
    }
    slate.flush_files().await.unwrap();
    slate.close().await.unwrap();
    assert!(damage(&store, |path| path.as_ref().contains("/compacted/")).await > 0);
    let outcome = open(&store.with_cold_cache()).await.map(|_| ());
    let error = outcome.expect_err("a slate with damaged files was opened as if nothing were wrong");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
}

#[tokio::test]
async fn a_corrupted_record_names_its_key() {
    let store = Store::from_url("memory:").unwrap();
    let slate = open(&store).await.unwrap();
    add(&slate, "a", Ack::Durable).await.unwrap();
    let ledger: Handle<Ledger> = slate.get("ledger").unwrap();
    // The ledger's notes are merged; an operand that is none is stored by another hand.
    let key = opendata_core::key::Prefix {
        system: opendata_core::key::SystemId(0x7e),
        version: 1,
        instance: ledger.id(),
        segment: opendata_core::key::SegmentId::CONTROL,
    }
    .key(opendata_core::key::Tag(0x10))
    .terminated(b"broken")
    .build();
    let position = slate.view().position();
    slate.close().await.unwrap();
    plant(&store, &key, position.0 + 1).await;
    let error = open(&store).await.map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert!(error.to_string().contains(&opendata_core::Hex(&key).to_string()), "{error}");
}

#[tokio::test]
async fn an_operand_that_cannot_be_merged_is_corrupt() {
    let store = Store::from_url("memory:").unwrap();
    let slate = open(&store).await.unwrap();
    let ledger: Handle<Ledger> = slate.get("ledger").unwrap();
    let mut transaction = slate.begin();
    transaction.on(&ledger).note("visits", 1);
    transaction.commit().await.unwrap();
    let prefix = opendata_core::key::Prefix {
        system: opendata_core::key::SystemId(0x7e),
        version: 1,
        instance: ledger.id(),
        segment: opendata_core::key::SegmentId::CONTROL,
    };
    let key = prefix.key(opendata_core::key::Tag(0x11)).terminated(b"visits").build();
    let position = slate.view().position();
    slate.close().await.unwrap();
    plant(&store, &key, position.0 + 1).await;
    let slate = open(&store).await.unwrap();
    let mut transaction = slate.begin();
    transaction.on(&ledger).note("visits", 1);
    transaction.commit().await.unwrap();
    let error = slate.view().get_reader::<Ledger>("ledger").unwrap().notes().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    let _ = slate.close().await;
}

/// Writes a value that no system would, through the storage engine.
async fn plant(store: &Store, key: &[u8], seqnum: u64) {
    struct FirstEight;
    impl slatedb::PrefixExtractor for FirstEight {
        fn name(&self) -> &str {
            opendata_core::slate::EXTRACTOR_NAME
        }
        fn prefix_len(&self, target: &slatedb::PrefixTarget) -> Option<usize> {
            let (slatedb::PrefixTarget::Point(key) | slatedb::PrefixTarget::Prefix(key)) = target;
            (key.len() >= 8).then_some(8)
        }
    }
    let builder = slatedb::Db::builder("slate", Arc::clone(store.object_store()));
    let db = builder.with_segment_extractor(Arc::new(FirstEight)).build().await.unwrap();
    let mut batch = slatedb::WriteBatch::new();
    batch.put(key, [0xde, 0xad]);
    db.write_with_options(batch, &slatedb::config::WriteOptions { seqnum }).await.unwrap();
    db.flush().await.unwrap();
    db.close_with_options(slatedb::config::CloseOptions::default().with_flush_type(None)).await.unwrap();
}

#[tokio::test]
async fn a_custom_store_can_be_used() {
    let store = Store::new(Arc::new(object_store::memory::InMemory::new()), StoreKind::Memory);
    let slate = open(&store).await.unwrap();
    add(&slate, "a", Ack::Durable).await.unwrap();
    slate.close().await.unwrap();
}
