use crate::slate::{At, Settings, Slate, SlateReader};
use crate::store::Store;
use crate::testing::{Ledger, LedgerConfig};
use crate::{ErrorKind, Result};

fn describe(store: &Store, path: &str) -> crate::slate::Builder {
    let settings = Settings { maintenance_interval_ms: 0, ..Settings::default() };
    Slate::builder(store, path).settings(settings).system::<Ledger>("ledger", LedgerConfig::default())
}

async fn add(slate: &Slate, amount: i64) -> Result<()> {
    let ledger = slate.get::<Ledger>("ledger")?;
    let mut tx = slate.begin();
    tx.on(&ledger).add("a", amount);
    tx.commit().await?;
    Ok(())
}

async fn balance(slate: &Slate) -> i64 {
    let balances = slate.view().get_reader::<Ledger>("ledger").unwrap().balances().await.unwrap();
    balances.get("a").copied().unwrap_or(0)
}

#[tokio::test]
async fn a_retired_slate_takes_no_writes_from_anyone_and_can_be_read_checkpointed_forked_and_reinstated() {
    let store = Store::from_url("memory:").unwrap();
    let slate = describe(&store, "old").open().await.unwrap();
    add(&slate, 5).await.unwrap();
    let last = slate.view().position();
    assert_eq!(slate.retire("promoted: new").await.unwrap(), last);
    assert_eq!(add(&slate, 1).await.unwrap_err().kind(), ErrorKind::Conflict);
    slate.checkpoint("after", None).await.unwrap();
    slate.close().await.unwrap();

    let refused = describe(&store, "old").open().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert!(refused.to_string().contains("promoted: new"), "{refused}");
    let reader = SlateReader::builder(&store, "old").register::<Ledger>().open(At::Checkpoint("after".into())).await;
    reader.unwrap().fork("fork").await.unwrap();
    let fork = describe(&store, "fork").open().await.unwrap();
    add(&fork, 2).await.unwrap();
    assert_eq!((fork.retired(), balance(&fork).await), (None, 7));
    fork.close().await.unwrap();

    let again = describe(&store, "old").reinstate().open().await.unwrap();
    add(&again, 1).await.unwrap();
    assert_eq!((again.retired(), balance(&again).await), (None, 6));
    again.close().await.unwrap();
    describe(&store, "old").open().await.unwrap().close().await.unwrap();
}

#[tokio::test]
async fn a_writer_that_was_fenced_meanwhile_finds_the_mark_when_it_opens_again() {
    let store = Store::from_url("memory:").unwrap();
    let zombie = describe(&store, "s").open().await.unwrap();
    let owner = describe(&store, "s").open().await.unwrap();
    owner.retire("moved").await.unwrap();
    assert!(add(&zombie, 1).await.is_err());
    assert_eq!(describe(&store, "s").open().await.unwrap_err().kind(), ErrorKind::Conflict);
    drop(zombie);
    drop(owner); // No orderly close: the mark is durable nevertheless.
    assert_eq!(describe(&store, "s").open().await.unwrap_err().kind(), ErrorKind::Conflict);
}
