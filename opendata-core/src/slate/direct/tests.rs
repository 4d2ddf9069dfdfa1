use crate::slate::{Ack, At, Builder, Settings, Slate, SlateReader};
use crate::store::Store;
use crate::testing::{Ledger, LedgerConfig};
use crate::time::Position;

fn describe(store: &Store, path: &str) -> Builder {
    let settings = Settings { maintenance_interval_ms: 0, ..Settings::default() };
    let slate = Slate::builder(store, path).settings(settings);
    slate.system::<Ledger>("a", LedgerConfig::default()).system::<Ledger>("b", LedgerConfig::default())
}

async fn add(slate: &Slate, instance: &str, derived: bool) -> Position {
    let ledger = slate.get::<Ledger>(instance).unwrap();
    let mut tx = slate.begin();
    tx.on(&ledger).add("x", 1);
    if derived {
        tx.mark_derived();
    }
    tx.commit().await.unwrap().position()
}

async fn noted(slate: &Slate) -> (Position, Position) {
    let view = slate.view();
    (view.written_directly("a").await.unwrap(), view.written_directly("b").await.unwrap())
}

#[tokio::test]
async fn what_was_written_directly_is_told_from_what_was_derived_by_whoever_reads_and_whoever_writes_next() {
    let store = Store::from_url("memory:").unwrap();
    let slate = describe(&store, "s").note_direct_writes().open().await.unwrap();
    assert_eq!(noted(&slate).await, (Position::ZERO, Position::ZERO));
    let first = add(&slate, "a", false).await;
    add(&slate, "a", true).await;
    add(&slate, "b", true).await;
    assert_eq!(noted(&slate).await, (first, Position::ZERO));
    slate.checkpoint("then", None).await.unwrap();
    slate.fork("fork").await.unwrap();
    slate.close().await.unwrap();

    // Another program that says nothing of it goes on keeping account; so does a fork.
    let slate = describe(&store, "s").open().await.unwrap();
    let second = add(&slate, "b", false).await;
    assert_eq!(noted(&slate).await, (first, second));
    let fork = describe(&store, "fork").open().await.unwrap();
    assert_eq!(noted(&fork).await, (first, Position::ZERO));
    let third = add(&fork, "a", false).await;
    assert_eq!(noted(&fork).await, (third, Position::ZERO));

    let reader =
        SlateReader::builder(&store, "s").register::<Ledger>().open(At::Checkpoint("then".into())).await.unwrap();
    assert_eq!(reader.view().written_directly("a").await.unwrap(), first);
    assert_eq!(reader.view().written_directly("c").await.unwrap_err().kind(), crate::ErrorKind::NotFound);
}

#[tokio::test]
async fn transactions_of_one_group_are_told_apart_and_a_refused_one_is_not_noted() {
    let store = Store::from_url("memory:").unwrap();
    let slate = describe(&store, "s").note_direct_writes().open().await.unwrap();
    let (a, b) = (slate.get::<Ledger>("a").unwrap(), slate.get::<Ledger>("b").unwrap());
    let mut derived = slate.begin();
    derived.mark_derived();
    derived.on(&a).add("x", 1);
    let mut direct = slate.begin();
    direct.on(&b).add("x", 1);
    let mut refused = slate.begin();
    refused.on(&a).add("x", -100);
    let derived = derived.submit(Ack::Durable).await.unwrap();
    let direct = direct.submit(Ack::Durable).await.unwrap();
    let refused = refused.submit(Ack::Durable).await.unwrap();
    derived.wait().await.unwrap();
    let position = direct.wait().await.unwrap().position();
    refused.wait().await.unwrap_err();
    assert_eq!(noted(&slate).await, (Position::ZERO, position));
}

#[tokio::test]
async fn a_slate_that_keeps_no_account_says_that_it_may_have_been_any_time() {
    let store = Store::from_url("memory:").unwrap();
    let slate = describe(&store, "s").open().await.unwrap();
    let at = add(&slate, "a", true).await;
    assert_eq!(noted(&slate).await, (at, at));
}
