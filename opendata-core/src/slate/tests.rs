use super::*;
use crate::ErrorKind;
use crate::key::KeyRange;
use crate::testing::{FaultStore, Ledger, LedgerConfig};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use std::future::ready;

fn settings() -> Settings {
    Settings { maintenance_interval_ms: 0, flush_interval_ms: 10, poll_interval_ms: 50, ..Settings::default() }
}

async fn open(store: &Store) -> Slate {
    try_open(store).await.unwrap()
}

async fn try_open(store: &Store) -> Result<Slate> {
    Slate::builder(store, "s").settings(settings()).system::<Ledger>("ledger", LedgerConfig::default()).open().await
}

async fn add(slate: &Slate, amount: i64) -> Result<Commit, CommitError> {
    let ledger = slate.get::<Ledger>("ledger").unwrap();
    let mut transaction = slate.begin();
    transaction.on(&ledger).add("a", amount);
    transaction.commit().await
}

async fn balance(view: &View) -> i64 {
    let reader = view.get_reader::<Ledger>("ledger").unwrap();
    let stored = reader.scan_balances().await.unwrap();
    assert_eq!(stored, reader.balances().await.unwrap(), "memory and slate differ");
    stored.get("a").copied().unwrap_or(0)
}

#[tokio::test]
async fn a_commit_is_seen_by_later_views_and_not_by_earlier_ones() {
    let store = Store::from_url("memory:").unwrap();
    let slate = open(&store).await;
    let before = slate.view();
    let commit = add(&slate, 5).await.unwrap();
    let after = slate.view();
    assert_eq!(after.position(), commit.position());
    assert!(before.position() < after.position());
    assert_eq!((balance(&before).await, balance(&after).await), (0, 5));
    assert_eq!(balance(&slate.durable_view()).await, 5);
    let ledger = slate.get::<Ledger>("ledger").unwrap();
    assert_eq!(commit.receipt(&ledger).unwrap().get("a"), Some(&5));
    slate.close().await.unwrap();
    assert_eq!(add(&slate, 1).await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::from_url(&format!("file:{}", folder.path().display())).unwrap();
    let slate = open(&store).await;
    let position = add(&slate, 5).await.unwrap().position();
    drop(slate); // No orderly close.
    let slate = open(&store).await;
    assert_eq!(balance(&slate.view()).await, 5);
    assert!(slate.view().position() >= position);
    assert!(add(&slate, 1).await.unwrap().position() > position);
    slate.close().await.unwrap();
}

#[tokio::test]
async fn openings_with_one_seed_and_a_standing_clock_do_not_share_names_of_files() {
    let store = Store::from_url("memory:").unwrap();
    for round in 1..6 {
        let env = Env::seeded(Arc::new(crate::env::ManualClock::at(crate::Timestamp(1))), 7);
        let builder = Slate::builder(&store, "s").settings(settings()).env(env);
        let slate = builder.system::<Ledger>("ledger", LedgerConfig::default()).open().await.unwrap();
        add(&slate, 1).await.unwrap();
        slate.flush_files().await.unwrap();
        assert_eq!(balance(&slate.view()).await, round);
        slate.close().await.unwrap();
    }
}

#[tokio::test]
async fn many_transactions_share_a_flush() {
    let store = Store::from_url("memory:").unwrap();
    let slate = open(&store).await;
    let commits = futures::future::join_all((0..200).map(|_| add(&slate, 1))).await;
    assert!(commits.iter().all(Result::is_ok));
    assert_eq!(balance(&slate.view()).await, 200);
    let stats = slate.stats();
    assert_eq!(stats.commits, 200);
    assert!(stats.groups < 200 && stats.flushes < 200, "{stats:?}");
    slate.close().await.unwrap();
}

#[tokio::test]
async fn a_condition_is_checked_against_what_stands_before_in_the_same_group() {
    let store = Store::from_url("memory:").unwrap();
    let slate = open(&store).await;
    let ledger = slate.get::<Ledger>("ledger").unwrap();
    let mut racing = Vec::new();
    for _ in 0..10 {
        let mut transaction = slate.begin();
        transaction.on(&ledger).expect("a", 0).add("a", 1);
        racing.push(transaction.submit(Ack::Durable).await.unwrap());
    }
    let mut won = 0;
    for pending in racing {
        match pending.wait().await {
            Ok(_) => won += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
        }
    }
    assert_eq!((won, balance(&slate.view()).await), (1, 1));
    slate.close().await.unwrap();
}

#[tokio::test]
async fn a_cursor_moves_only_from_where_it_is_expected() {
    let store = Store::from_url("memory:").unwrap();
    let slate = open(&store).await;
    let ledger = slate.get::<Ledger>("ledger").unwrap();
    let moved = |expected: Option<&'static [u8]>, next: &'static [u8]| {
        let mut transaction = slate.begin();
        transaction.on(&ledger).add("a", 1);
        transaction.move_cursor(&ledger, "edge", expected.map(Bytes::from_static), next.into());
        transaction.commit()
    };
    moved(None, b"1").await.unwrap();
    assert_eq!(moved(None, b"2").await.unwrap_err().kind(), ErrorKind::Conflict);
    moved(Some(b"1"), b"2").await.unwrap();
    assert_eq!(slate.view().cursor("ledger", "edge").await.unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(slate.view().cursors("ledger").await.unwrap().len(), 1);
    assert_eq!(balance(&slate.view()).await, 2);
    slate.close().await.unwrap();
}

#[tokio::test]
async fn what_the_slate_does_not_know_is_refused_and_the_writer_goes_on() {
    let store = Store::from_url("memory:").unwrap();
    let slate = open(&store).await;
    let unknown = Slate::builder(&store, "s").open().await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Unsupported, "{unknown}");
    let wrong = LedgerConfig { limit: 7, ..LedgerConfig::default() };
    let changed = Slate::builder(&store, "s").system::<Ledger>("ledger", wrong).open().await.unwrap_err();
    assert_eq!(changed.kind(), ErrorKind::Invalid, "{changed}");
    let missing = Slate::builder(&store, "nowhere").must_exist().open().await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    // None of these took the slate over.
    add(&slate, 1).await.unwrap();
    slate.close().await.unwrap();
}

#[tokio::test]
async fn a_foreign_database_is_refused() {
    let store = Store::from_url("memory:").unwrap();
    let db = Db::open("s", Arc::clone(store.object_store())).await.unwrap();
    db.put(b"k", b"v").await.unwrap();
    db.close().await.unwrap();
    let error = try_open(&store).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn an_instance_can_be_added_renamed_and_reconfigured() {
    let store = Store::from_url("memory:").unwrap();
    let slate = open(&store).await;
    add(&slate, 3).await.unwrap();
    let handle = slate.get::<Ledger>("ledger").unwrap();
    slate.rename("ledger", "book").await.unwrap();
    assert_eq!(slate.get::<Ledger>("ledger").unwrap_err().kind(), ErrorKind::NotFound);
    let mut transaction = slate.begin();
    transaction.on(&handle).add("a", 1);
    transaction.commit().await.unwrap();
    assert_eq!(slate.view().on(&handle).unwrap().balances().await.unwrap().get("a"), Some(&4));
    slate.close().await.unwrap();
    let titled = LedgerConfig { title: "new".into(), ..LedgerConfig::default() };
    let builder = Slate::builder(&store, "s").settings(settings()).system::<Ledger>("book", titled);
    let slate = builder.system::<Ledger>("second", LedgerConfig::default()).open().await.unwrap();
    let book = slate.view().get_reader::<Ledger>("book").unwrap();
    assert_eq!(book.scan_balances().await.unwrap().get("a"), Some(&4));
    assert_eq!(slate.view().instances().count(), 2);
    slate.close().await.unwrap();
}

#[tokio::test]
async fn a_subset_of_the_instances_can_be_opened_and_the_others_come_when_they_are_used() {
    let store = Store::from_url("memory:").unwrap();
    let slate = open(&store).await;
    add(&slate, 3).await.unwrap();
    slate.close().await.unwrap();
    let slate = Slate::builder(&store, "s").settings(settings()).register::<Ledger>().open().await.unwrap();
    assert_eq!(balance(&slate.view()).await, 3);
    add(&slate, 1).await.unwrap();
    assert_eq!(balance(&slate.view()).await, 4);
    slate.close().await.unwrap();
}

#[tokio::test]
async fn a_checkpoint_shows_the_past_until_it_is_released() {
    let store = Store::from_url("memory:").unwrap();
    let slate = open(&store).await;
    add(&slate, 1).await.unwrap();
    let checkpoint = slate.checkpoint("then", None).await.unwrap();
    assert_eq!(checkpoint.position, slate.view().position());
    add(&slate, 1).await.unwrap();
    let twice = slate.checkpoint("then", None).await.unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::Conflict);
    let reader = SlateReader::builder(&store, "s").register::<Ledger>();
    let past = reader.open(At::Checkpoint("then".into())).await.unwrap();
    assert_eq!((balance(&past.view()).await, balance(&slate.view()).await), (1, 2));
    assert_eq!(past.view().position(), checkpoint.position);
    slate.release("then").await.unwrap();
    assert_eq!(slate.release("then").await.unwrap_err().kind(), ErrorKind::NotFound);
    let short = slate.checkpoint("short", Some(std::time::Duration::from_secs(1))).await.unwrap();
    let lives = short.expires.unwrap().0 - short.created.0;
    assert!((1..=2000).contains(&lives), "{lives}");
    assert_eq!(slate.checkpoints().await.unwrap().len(), 1);
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    assert!(slate.checkpoints().await.unwrap().is_empty());
    slate.close().await.unwrap();
}

#[tokio::test]
async fn a_reader_stands_still_until_it_is_refreshed() {
    let store = Store::from_url("memory:").unwrap();
    let slate = open(&store).await;
    add(&slate, 1).await.unwrap();
    let reader = SlateReader::builder(&store, "s").register::<Ledger>().open(At::Latest).await.unwrap();
    let mut tail = reader.tail().unwrap();
    add(&slate, 1).await.unwrap();
    assert_eq!(balance(&reader.view()).await, 1);
    let position = add(&slate, 1).await.unwrap().position();
    let mut rows = Vec::new();
    while tail.position() < position {
        rows.extend(tail.next().await.unwrap());
    }
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(tail.next().await.unwrap().is_empty());
    assert_eq!(balance(&reader.refresh().await.unwrap()).await, 3);
    // Nothing new: the same instant. Followed: the next one comes by itself.
    let (before, after) = (reader.view(), reader.refresh().await.unwrap());
    assert!(Arc::ptr_eq(&before.0, &after.0));
    let mut followed = Arc::new(reader).follow(std::time::Duration::from_millis(5));
    let position = add(&slate, 1).await.unwrap().position();
    followed.wait_for(|view| view.position() >= position).await.unwrap();
    slate.close().await.unwrap();
}

#[tokio::test]
async fn the_slates_own_rows_are_described_as_such() {
    let store = Store::from_url("memory:").unwrap();
    let slate = open(&store).await;
    let ledger = slate.get::<Ledger>("ledger").unwrap();
    let mut transaction = slate.begin();
    transaction.move_cursor(&ledger, "edge", None, Bytes::from_static(b"\x01here"));
    transaction.put_state(&ledger, "notes", Bytes::from_static(b"k"), Bytes::from(vec![b'v'; 300]));
    transaction.commit().await.unwrap();
    let reader = SlateReader::builder(&store, "s").register::<Ledger>().open(At::Latest).await.unwrap();
    let rows = reader.inspect(KeyRange::prefix(&[]), 100).await.unwrap();
    let said: Vec<_> = rows.iter().map(|row| row.text.as_str()).collect();
    assert!(said.contains(&r"cursor edge at \x01here"), "{said:?}");
    let state = format!("state notes, key k: {}.. (300 bytes)", "v".repeat(200));
    assert!(said.contains(&state.as_str()), "{said:?}");
    assert!(said.iter().all(|said| !said.contains("corrupt")), "{said:?}");
    slate.close().await.unwrap();
}

#[tokio::test]
async fn a_tail_that_waits_asks_for_the_next_file_and_says_when_files_were_collected() {
    let faults = FaultStore::new(Arc::new(object_store::memory::InMemory::new()));
    let store = Store::new(Arc::new(faults.clone()), crate::store::StoreKind::Memory);
    let slate = open(&store).await;
    add(&slate, 1).await.unwrap();
    let reader = SlateReader::builder(&store, "s").register::<Ledger>().open(At::Latest).await.unwrap();
    let mut tail = reader.tail().unwrap();
    let position = add(&slate, 1).await.unwrap().position();
    while tail.position() < position {
        tail.next().await.unwrap();
    }
    // Only the tail looks at the store from here on.
    slate.close().await.unwrap();
    while !tail.next().await.unwrap().is_empty() {}
    let before = faults.counts();
    for _ in 0..20 {
        assert!(tail.next().await.unwrap().is_empty());
    }
    let after = faults.counts();
    assert_eq!((after.gets - before.gets, after.lists - before.lists), (20, 0));

    // Two files more, and the first of them is gone.
    let known = wal_files(&store).await;
    let slate = open(&store).await;
    add(&slate, 1).await.unwrap();
    add(&slate, 1).await.unwrap();
    slate.close().await.unwrap();
    let new: Vec<_> = wal_files(&store).await.into_iter().filter(|file| !known.contains(file)).collect();
    assert!(new.len() > 1, "{new:?}");
    store.object_store().delete(&new[0]).await.unwrap();
    let missed = async {
        loop {
            match tail.next().await {
                Ok(rows) => assert!(rows.is_empty(), "{rows:?}"),
                Err(error) => break error,
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let missed = tokio::time::timeout(std::time::Duration::from_secs(20), missed).await.unwrap();
    assert_eq!(missed.kind(), ErrorKind::NotFound, "{missed}");
}

async fn wal_files(store: &Store) -> Vec<object_store::path::Path> {
    let files = store.object_store().list(None).map_ok(|file| file.location);
    let mut files: Vec<_> =
        files.try_filter(|file| ready(file.as_ref().contains("/wal/"))).try_collect().await.unwrap();
    files.sort();
    files
}

#[tokio::test]
async fn a_fork_goes_its_own_way_and_its_parent_cannot_be_deleted_under_it() {
    let store = Store::from_url("memory:").unwrap();
    let slate = open(&store).await;
    add(&slate, 1).await.unwrap();
    let Fork { slate_id, position } = slate.fork("f").await.unwrap();
    assert_eq!(slate.fork("f").await.unwrap_err().kind(), ErrorKind::Conflict);
    let builder = Slate::builder(&store, "f").settings(settings()).system::<Ledger>("ledger", LedgerConfig::default());
    let fork = builder.must_exist().open().await.unwrap();
    assert_ne!(fork.id(), slate.id());
    assert_eq!(fork.id(), slate_id);
    let lineage = fork.lineage();
    assert_eq!((lineage.len(), lineage[0].slate_id, lineage[0].fork_position), (1, slate.id(), position));
    add(&fork, 10).await.unwrap();
    add(&slate, 1).await.unwrap();
    assert_eq!((balance(&fork.view()).await, balance(&slate.view()).await), (11, 2));
    fork.close().await.unwrap();
    slate.close().await.unwrap();
    assert_eq!(delete(&store, "s").await.unwrap_err().kind(), ErrorKind::Conflict);
    delete(&store, "f").await.unwrap();
    delete(&store, "s").await.unwrap();
    assert_eq!(delete(&store, "s").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_may_delete_a_slate_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::from_url(&format!("file:{}", folder.path().display())).unwrap();
    for _ in 0..8 {
        let slate = open(&store).await;
        for _ in 0..3 {
            add(&slate, 1).await.unwrap();
            slate.flush().await.unwrap();
        }
        slate.close().await.unwrap();
        // Each on a thread of its own.
        let deletions: Vec<_> = (0..3)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { delete(&store, "s").await })
            })
            .collect();
        for deletion in deletions {
            match deletion.await.unwrap() {
                Ok(()) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
            }
        }
        let left: Vec<_> = store.object_store().list(None).try_collect().await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test]
async fn a_full_queue_gives_the_transaction_back_and_an_oversized_one_is_refused() {
    let store = Store::from_url("memory:").unwrap();
    let small = Settings { queue_bytes: 4096, transaction_bytes: 4096, queue_timeout_ms: 1, ..settings() };
    let builder = Slate::builder(&store, "s").settings(small).system::<Ledger>("ledger", LedgerConfig::default());
    let slate = builder.open().await.unwrap();
    let ledger = slate.get::<Ledger>("ledger").unwrap();
    let padded = |size| {
        let mut transaction = slate.begin();
        transaction.on(&ledger).add("a", 1).pad(size);
        transaction
    };
    assert_eq!(padded(5000).try_submit(Ack::Durable).unwrap_err().kind(), ErrorKind::Invalid);
    let first = padded(3000).try_submit(Ack::Durable).unwrap();
    let refused = padded(3000).try_submit(Ack::Durable).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Backpressure);
    let again = refused.into_transaction().unwrap();
    first.wait().await.unwrap();
    again.commit().await.unwrap();
    assert_eq!(balance(&slate.view()).await, 2);
    slate.close().await.unwrap();
}

#[tokio::test]
async fn a_handle_of_another_slate_is_refused() {
    let store = Store::from_url("memory:").unwrap();
    let slate = open(&store).await;
    let other = Slate::builder(&store, "o").system::<Ledger>("ledger", LedgerConfig::default()).open().await.unwrap();
    let foreign = other.get::<Ledger>("ledger").unwrap();
    let mut transaction = slate.begin();
    transaction.on(&foreign).add("a", 1);
    assert_eq!(transaction.commit().await.unwrap_err().kind(), ErrorKind::Invalid);
    assert!(slate.view().on(&foreign).is_err());
    assert_eq!(balance(&slate.view()).await, 0);
    other.close().await.unwrap();
    slate.close().await.unwrap();
}

#[tokio::test]
async fn what_a_system_keeps_is_shared_by_the_views_of_one_opening_and_by_no_other() {
    type Noted = Mutex<Vec<u32>>;
    let noted = |view: &View| view.instance::<Ledger>("ledger").unwrap().cache::<Noted>();
    let store = Store::from_url("memory:").unwrap();
    let slate = open(&store).await;
    noted(&slate.view()).lock().unwrap().push(7);
    add(&slate, 1).await.unwrap();
    assert_eq!(*noted(&slate.view()).lock().unwrap(), [7]);
    assert!(slate.view().instance::<Ledger>("ledger").unwrap().cache::<Mutex<u8>>().lock().is_ok());
    let reader = SlateReader::builder(&store, "s").register::<Ledger>().open(At::Latest).await.unwrap();
    assert!(noted(&reader.view()).lock().unwrap().is_empty());
    noted(&reader.view()).lock().unwrap().push(8);
    add(&slate, 1).await.unwrap();
    assert_eq!(*noted(&reader.refresh().await.unwrap()).lock().unwrap(), [8]);
    slate.close().await.unwrap();
    assert!(noted(&open(&store).await.view()).lock().unwrap().is_empty());
}
