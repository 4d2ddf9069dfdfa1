//! A slate on the S3 server. The store's own failures are real here: the server is ended without warning.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use opendata_core::slate::{At, Handle, Slate, SlateReader, delete};
use opendata_core::store::Store;
use opendata_core::testing::{Ledger, LedgerConfig};
use opendata_core::{ErrorKind, Position};
use tokio::time::timeout;

use super::server::{Outcome, Server};

/// Longer than every retry limit of the client and the engine together.
const PATIENCE: Duration = Duration::from_secs(120);

async fn open(store: &Store) -> Outcome<(Slate, Handle<Ledger>)> {
    let slate = Slate::builder(store, "slate").system::<Ledger>("accounts", LedgerConfig::default()).open().await?;
    let accounts = slate.get("accounts")?;
    Ok((slate, accounts))
}

async fn add(slate: &Slate, accounts: &Handle<Ledger>, account: &str, amount: i64) -> opendata_core::Result<Position> {
    let mut tx = slate.begin();
    tx.on(accounts).add(account, amount);
    Ok(tx.commit().await?.position())
}

async fn balances(slate: &Slate, accounts: &Handle<Ledger>) -> Outcome<BTreeMap<String, i64>> {
    let reader = slate.view().on(accounts)?;
    let balances = reader.balances().await?;
    assert_eq!(balances, reader.scan_balances().await?, "memory differs from the slate");
    Ok(balances)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_there_after_the_writer_and_the_server_have_ended() -> Outcome<()> {
    let name = "s3::slate::commits_are_there_after_the_writer_and_the_server_have_ended";
    let Some(mut server) = Server::start(name).await? else { return Ok(()) };
    let (slate, accounts) = open(&server.store()?).await?;
    let names: Vec<String> = (0..40).map(|n| format!("account-{}", n % 10)).collect();
    let commits = join_all(names.iter().map(|name| add(&slate, &accounts, name, 1))).await;
    commits.into_iter().collect::<opendata_core::Result<Vec<_>>>()?;
    let before = balances(&slate, &accounts).await?;
    assert_eq!(before.values().sum::<i64>(), 40);
    slate.close().await?;

    server.kill()?;
    server.restart()?;
    let (slate, accounts) = open(&server.store()?).await?;
    assert_eq!(balances(&slate, &accounts).await?, before);
    slate.close().await?;
    Ok(())
}

/// Writes until it fails, and returns how many were acknowledged and the kind of the failure.
async fn write_until_it_ends(slate: Slate, accounts: Handle<Ledger>) -> (i64, ErrorKind) {
    let mut acknowledged = 0;
    loop {
        match add(&slate, &accounts, "shared", 1).await {
            Ok(_) => acknowledged += 1,
            Err(error) => return (acknowledged, error.kind()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_was_replaced_acknowledges_nothing_that_its_successor_does_not_see() -> Outcome<()> {
    let name = "s3::slate::a_writer_that_was_replaced_acknowledges_nothing_that_its_successor_does_not_see";
    let Some(server) = Server::start(name).await? else { return Ok(()) };
    let (old, accounts) = open(&server.store()?).await?;
    let writing = tokio::spawn(write_until_it_ends(old, accounts));
    tokio::time::sleep(Duration::from_millis(500)).await;

    let (new, accounts) = open(&server.store()?).await?;
    let seen = balances(&new, &accounts).await?.get("shared").copied().unwrap_or(0);
    let (acknowledged, kind) = timeout(PATIENCE, writing).await??;
    assert!(acknowledged > 0, "the old writer never wrote");
    // What was under way when the new writer came may be in without having been acknowledged; the reverse is a loss.
    assert!(acknowledged <= seen, "acknowledged={acknowledged}, seen={seen}");
    assert!(matches!(kind, ErrorKind::Fenced | ErrorKind::OutcomeUnknown), "{kind:?}");

    add(&new, &accounts, "shared", 1).await?;
    assert_eq!(balances(&new, &accounts).await?.get("shared"), Some(&(seen + 1)));
    new.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_away_is_a_typed_error_and_loses_nothing() -> Outcome<()> {
    let name = "s3::slate::a_server_that_goes_away_is_a_typed_error_and_loses_nothing";
    let Some(mut server) = Server::start(name).await? else { return Ok(()) };
    let (slate, accounts) = open(&server.store()?).await?;
    let writing = tokio::spawn(write_until_it_ends(slate, accounts));
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.kill()?;
    let (acknowledged, kind) = timeout(PATIENCE, writing).await??;
    assert!(acknowledged > 0, "nothing was written before the server ended");
    assert!(matches!(kind, ErrorKind::Unavailable | ErrorKind::OutcomeUnknown), "{kind:?}");

    server.restart()?;
    let (slate, accounts) = open(&server.store()?).await?;
    let seen = balances(&slate, &accounts).await?.get("shared").copied().unwrap_or(0);
    assert!((acknowledged..=acknowledged + 1).contains(&seen), "acknowledged={acknowledged}, seen={seen}");
    slate.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_and_a_fork_stand_still_while_the_slate_goes_on() -> Outcome<()> {
    let name = "s3::slate::a_checkpoint_and_a_fork_stand_still_while_the_slate_goes_on";
    let Some(server) = Server::start(name).await? else { return Ok(()) };
    let store = server.store()?;
    let (slate, accounts) = open(&store).await?;
    add(&slate, &accounts, "shared", 7).await?;
    let checkpoint = slate.checkpoint("before", None).await?;
    add(&slate, &accounts, "shared", 1).await?;

    // Another client, as another process would be.
    let reader = SlateReader::builder(&server.store()?, "slate").register::<Ledger>();
    let reader = reader.open(At::Checkpoint("before".to_owned())).await?;
    let view = reader.view();
    assert_eq!(view.position(), checkpoint.position);
    let past = view.on(&reader.get::<Ledger>("accounts")?)?.balances().await?;
    assert_eq!(past.get("shared"), Some(&7));

    slate.fork("fork").await?;
    let fork = Slate::builder(&store, "fork").system::<Ledger>("accounts", LedgerConfig::default()).open().await?;
    let forked = fork.get("accounts")?;
    add(&fork, &forked, "shared", 100).await?;
    add(&slate, &accounts, "shared", 1).await?;
    assert_eq!(balances(&fork, &forked).await?.get("shared"), Some(&108));
    assert_eq!(balances(&slate, &accounts).await?.get("shared"), Some(&9));
    fork.close().await?;
    slate.close().await?;

    let refused = delete(&store, "slate").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    delete(&store, "fork").await?;
    Ok(())
}
