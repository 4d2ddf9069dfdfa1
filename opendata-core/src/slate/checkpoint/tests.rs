use std::sync::Arc;
use std::time::Duration;

use crate::ErrorKind;
use crate::env::{Env, ManualClock};
use crate::slate::{At, Settings, Slate, SlateReader, checkpoints, extend_checkpoint, release_checkpoint};
use crate::store::Store;
use crate::testing::{Ledger, LedgerConfig};
use crate::time::Timestamp;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_made_with_a_commit_shows_it_and_nothing_behind_it() {
    let store = Store::from_url("memory:").unwrap();
    let settings = Settings { maintenance_interval_ms: 0, ..Settings::default() };
    let slate = Slate::builder(&store, "s").settings(settings).system::<Ledger>("ledger", LedgerConfig::default());
    let slate = slate.open().await.unwrap();
    let ledger = slate.get::<Ledger>("ledger").unwrap();
    // Others write all the time.
    let noise = tokio::spawn({
        let (slate, ledger) = (slate.clone(), ledger.clone());
        async move {
            for _ in 0..200 {
                let mut tx = slate.begin();
                tx.on(&ledger).add("noise", 1);
                tx.commit().await.unwrap();
            }
        }
    });
    for round in 1..=10_i64 {
        let mut tx = slate.begin();
        tx.on(&ledger).add("rounds", 1);
        let name = format!("round-{round}");
        let (commit, checkpoint) = slate.commit_and_checkpoint(tx, &name, None).await.unwrap();
        assert_eq!(commit.position(), checkpoint.position);
        let reader = SlateReader::builder(&store, "s").register::<Ledger>().open(At::Checkpoint(name)).await.unwrap();
        let balances = reader.view().get_reader::<Ledger>("ledger").unwrap().balances().await.unwrap();
        assert_eq!(balances.get("rounds"), Some(&round));
        assert_eq!(reader.view().position(), commit.position());
        let receipt = commit.receipt(&ledger).unwrap();
        assert_eq!(receipt.get("rounds"), Some(&round));
    }
    noise.await.unwrap();
    let again = slate.commit_and_checkpoint(slate.begin(), "round-1", None).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    slate.close().await.unwrap();
}

#[tokio::test]
async fn a_slate_that_stands_in_another_time_judges_by_it_what_has_expired() {
    let store = Store::from_url("memory:").unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp(1_000_000_000)));
    let env = Env::seeded(Arc::clone(&clock) as _, 7);
    let slate =
        Slate::builder(&store, "s").system::<Ledger>("ledger", LedgerConfig::default()).env(env).open().await.unwrap();
    slate.checkpoint("short", Some(Duration::from_secs(60))).await.unwrap();
    assert_eq!(slate.checkpoints().await.unwrap().len(), 1, "its minute has not passed, though it lies decades back");
    clock.set(Timestamp(1_000_062_000));
    assert!(slate.checkpoints().await.unwrap().is_empty());
    assert_eq!(slate.release("short").await.unwrap_err().kind(), ErrorKind::NotFound);
    slate.checkpoint("short", None).await.unwrap();
    slate.release("short").await.unwrap();
    slate.close().await.unwrap();
}

#[tokio::test]
async fn whoever_has_no_writer_judges_by_its_own_clock_what_has_expired() {
    let store = Store::from_url("memory:").unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp(1_000_000_000)));
    let env = Env::seeded(Arc::clone(&clock) as _, 7);
    let slate = Slate::builder(&store, "s").system::<Ledger>("ledger", LedgerConfig::default()).env(env.clone());
    let slate = slate.open().await.unwrap();
    for name in ["short", "extended"] {
        slate.checkpoint(name, Some(Duration::from_secs(60))).await.unwrap();
    }
    slate.close().await.unwrap();
    let read = async |env: &Env, name: &str| {
        let builder = SlateReader::builder(&store, "s").register::<Ledger>().env(env.clone());
        builder.open(At::Checkpoint(name.to_owned())).await.map(|_| ()).map_err(|error| error.kind())
    };
    assert_eq!(read(&env, "short").await, Ok(()), "its minute has not passed, though it lies decades back");
    assert_eq!(read(&Env::system(), "short").await, Err(ErrorKind::NotFound), "to the machine's clock it has");
    assert_eq!(checkpoints(&store, "s", &env).await.unwrap().len(), 2);
    assert!(checkpoints(&store, "s", &Env::system()).await.unwrap().is_empty());
    let day = Some(Duration::from_secs(86_400));
    extend_checkpoint(&store, "s", "extended", day, &env).await.unwrap();
    clock.set(Timestamp(1_000_062_000));
    assert_eq!(read(&env, "short").await, Err(ErrorKind::NotFound), "it has expired by the reader's clock");
    assert_eq!(release_checkpoint(&store, "s", "short", &env).await.unwrap_err().kind(), ErrorKind::NotFound);
    let builder = SlateReader::builder(&store, "s").register::<Ledger>().env(env.clone());
    let reader = builder.open(At::Checkpoint("extended".into())).await.unwrap();
    reader.fork("fork").await.unwrap();
    clock.set(Timestamp(1_000_000_000 + 86_400_000 - 1_000));
    assert_eq!(read(&env, "extended").await, Ok(()), "its day counts from when it was extended, by the same clock");
    clock.set(Timestamp(1_000_000_000 + 86_400_000 + 2_000));
    assert_eq!(read(&env, "extended").await, Err(ErrorKind::NotFound));
    assert_eq!(reader.fork("late").await.unwrap_err().kind(), ErrorKind::NotFound, "the reader was open before");
}
