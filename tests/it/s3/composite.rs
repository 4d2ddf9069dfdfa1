//! A log and a metrics store in one slate on the S3 server, read from another client.

use std::time::Duration;

use opendata_compose::log::Log;
use opendata_compose::tsdb::promql::Value;
use opendata_compose::{At, InternalComposite, Store, Timestamp, Tsdb, View, labels, log, tsdb};

use super::server::{Outcome, Server};

const AT: Timestamp = Timestamp(1_700_000_000_000);

fn describe(store: &Store) -> opendata_compose::internal::Builder {
    InternalComposite::builder(store, "billing")
        .system::<Log>("events", log::Config::default())
        .system::<Tsdb>("usage", tsdb::Config::default())
}

async fn bill(composite: &InternalComposite, amount: u32) -> Outcome<()> {
    let mut tx = composite.begin();
    tx.on(&composite.get::<Log>("events")?).append("tenant-7", amount.to_string());
    let meter = labels! { "__name__" => "billed_total", "tenant" => "7" };
    tx.on(&composite.get::<Tsdb>("usage")?).add(meter, AT, f64::from(amount));
    tx.commit().await?;
    Ok(())
}

/// The sum of the events, and what the meter shows.
async fn sums(view: &View) -> Outcome<(f64, f64)> {
    let mut events = 0.0;
    let mut records = view.get_reader::<Log>("events")?.scan_all(..).await?;
    while let Some(record) = records.next().await? {
        events += std::str::from_utf8(&record.payload)?.parse::<f64>()?;
    }
    let answer = view.get_reader::<Tsdb>("usage")?.query("billed_total", AT).await?;
    let Value::Vector(samples) = answer.value else { return Err("not a vector".into()) };
    Ok((events, samples.iter().map(|sample| sample.value).sum()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_agree_in_every_client_at_every_instant() -> Outcome<()> {
    let Some(mut server) = Server::start("s3::composite::both_sides_agree_in_every_client_at_every_instant").await?
    else {
        return Ok(());
    };
    let composite = describe(&server.store()?).open().await?;
    for amount in 1..=20 {
        bill(&composite, amount).await?;
    }
    assert_eq!(sums(&composite.view()).await?, (210.0, 210.0));
    composite.checkpoint("twenty", None).await?;
    bill(&composite, 1000).await?;

    // Clients of their own, while the writer lives: nothing of its memory is in their answers.
    let latest = describe(&server.store()?).read(At::Latest).await?;
    assert_eq!(sums(&latest.view()).await?, (1210.0, 1210.0));
    let past = describe(&server.store()?).read(At::Checkpoint("twenty".to_owned())).await?;
    assert_eq!(sums(&past.view()).await?, (210.0, 210.0));

    let fork = composite.fork("what-if").await?;
    bill(&fork, 5).await?;
    assert_eq!(sums(&fork.view()).await?, (1215.0, 1215.0));
    assert_eq!(sums(&composite.view()).await?, (1210.0, 1210.0));
    fork.close().await?;
    composite.close().await?;

    server.kill()?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.restart()?;
    let composite = describe(&server.store()?).open().await?;
    assert_eq!(sums(&composite.view()).await?, (1210.0, 1210.0));
    composite.close().await?;
    Ok(())
}
