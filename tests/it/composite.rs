//! Several systems in one slate: one commit, one view, checkpoints, the past, forks.

use std::time::Duration;

use opendata_compose::tsdb::Matcher;
use opendata_compose::tsdb::promql::Storage;
use opendata_compose::{Ack, At, ErrorKind, Handle, InternalComposite, Log, Settings, Tsdb, View, labels, log, tsdb};
use opendata_core::slate::Slate;
use opendata_core::store::Store;
use opendata_core::testing::{Ledger, LedgerConfig};
use opendata_core::{Result, Timestamp};

const AT: Timestamp = Timestamp(1_700_000_000_000);

fn settings() -> Settings {
    Settings { maintenance_interval_ms: 0, flush_interval_ms: 10, poll_interval_ms: 50, ..Settings::default() }
}

fn describe(store: &Store, path: &str) -> opendata_compose::internal::Builder {
    InternalComposite::builder(store, path)
        .settings(settings())
        .system::<Log>("events", log::Config::default())
        .system::<Tsdb>("usage", tsdb::Config::default())
}

struct Billing {
    composite: InternalComposite,
    events: Handle<Log>,
    usage: Handle<Tsdb>,
}

impl Billing {
    fn of(composite: InternalComposite) -> Result<Self> {
        let (events, usage) = (composite.get("events")?, composite.get("usage")?);
        Ok(Self { composite, events, usage })
    }

    async fn open(store: &Store) -> Result<Self> {
        Self::of(describe(store, "billing").open().await?)
    }

    /// One event, and its amount on the meter, in one transaction.
    async fn bill(&self, tenant: &str, amount: f64) -> Result<()> {
        let mut tx = self.composite.begin();
        tx.on(&self.events).append(tenant, amount.to_string());
        tx.on(&self.usage).add(labels! { "__name__" => "billed_total", "tenant" => tenant }, AT, amount);
        tx.commit().await?;
        Ok(())
    }
}

/// The sum of the events and the sum of the meters, which are to be equal at every view.
async fn sums(view: &View) -> (f64, f64) {
    let log = view.get_reader::<Log>("events").unwrap();
    let records = log.scan_all(..).await.unwrap().collect().await.unwrap();
    let amount = |payload: &[u8]| std::str::from_utf8(payload).unwrap().parse::<f64>().unwrap();
    let events = records.iter().map(|record| amount(&record.payload)).sum();
    let usage = view.get_reader::<Tsdb>("usage").unwrap();
    let series = usage.select(&[Matcher::metric("billed_total")], i64::MIN, i64::MAX).await.unwrap();
    (events, series.iter().filter_map(|series| series.values.last()).sum())
}

#[tokio::test]
async fn a_transaction_over_two_systems_is_in_both_or_in_neither() {
    let store = Store::from_url("memory:").unwrap();
    let billing = Billing::open(&store).await.unwrap();
    billing.bill("a", 5.0).await.unwrap();
    let mut doomed = billing.composite.begin();
    doomed.on(&billing.usage).add(labels! { "__name__" => "billed_total", "tenant" => "a" }, AT, 1.0);
    doomed.on(&billing.events).append("a", "1").expect_position("a", None);
    assert_eq!(doomed.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(sums(&billing.composite.view()).await, (5.0, 5.0));
    billing.composite.close().await.unwrap();
    let billing = Billing::open(&store).await.unwrap();
    assert_eq!(sums(&billing.composite.view()).await, (5.0, 5.0));
    billing.composite.close().await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_is_sent_twice_is_billed_once() {
    let store = Store::from_url("memory:").unwrap();
    let billing = Billing::open(&store).await.unwrap();
    let send = || {
        let mut tx = billing.composite.begin();
        tx.on(&billing.events).append("a", "5").producer("meter-1", 1);
        tx.on(&billing.usage).add(labels! { "__name__" => "billed_total", "tenant" => "a" }, AT, 5.0);
        tx.commit()
    };
    send().await.unwrap();
    assert_eq!(send().await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(sums(&billing.composite.view()).await, (5.0, 5.0));
    billing.composite.close().await.unwrap();
}

#[tokio::test]
async fn every_view_shows_both_systems_at_one_instant_while_they_are_written() {
    let store = Store::from_url("memory:").unwrap();
    let billing = Billing::open(&store).await.unwrap();
    let writer = async {
        for amount in 1..100 {
            billing.bill(["a", "b", "c"][amount % 3], 1.0).await.unwrap();
        }
    };
    let reader = async {
        let mut views = billing.composite.slate().watch(Ack::Written);
        for _ in 0..20 {
            views.changed().await.unwrap();
            let view = views.borrow_and_update().clone();
            let (events, meters) = sums(&view).await;
            assert!((events - meters).abs() < f64::EPSILON, "{events} and {meters} at {}", view.position());
        }
    };
    tokio::join!(writer, reader);
    billing.composite.close().await.unwrap();
}

#[tokio::test]
async fn the_past_is_read_at_a_checkpoint_and_a_fork_leaves_its_parent_alone() {
    let store = Store::from_url("memory:").unwrap();
    let billing = Billing::open(&store).await.unwrap();
    billing.bill("a", 5.0).await.unwrap();
    billing.composite.checkpoint("then", None).await.unwrap();
    billing.bill("a", 2.0).await.unwrap();
    let past = billing.composite.at("then").await.unwrap();
    assert_eq!(sums(&past.view()).await, (5.0, 5.0));
    assert_eq!(sums(&billing.composite.view()).await, (7.0, 7.0));

    let fork = Billing::of(billing.composite.fork("what-if").await.unwrap()).unwrap();
    fork.bill("a", 100.0).await.unwrap();
    let old = Billing::of(billing.composite.fork_at("then", "what-then").await.unwrap()).unwrap();
    old.bill("b", 1.0).await.unwrap();
    assert_eq!(sums(&fork.composite.view()).await, (107.0, 107.0));
    assert_eq!(sums(&old.composite.view()).await, (6.0, 6.0));
    assert_eq!(sums(&billing.composite.view()).await, (7.0, 7.0));

    fork.composite.discard().await.unwrap();
    old.composite.discard().await.unwrap();
    billing.composite.release("then").await.unwrap();
    assert_eq!(sums(&billing.composite.view()).await, (7.0, 7.0));
    billing.composite.discard().await.unwrap();
}

#[tokio::test]
async fn one_instance_is_forked_alone() {
    let store = Store::from_url("memory:").unwrap();
    let billing = Billing::open(&store).await.unwrap();
    for tenant in ["a", "b", "c"] {
        billing.bill(tenant, 2.0).await.unwrap();
    }
    let fork = billing.composite.fork_instance(&billing.usage, "meters").await.unwrap();
    let names: Vec<_> = fork.view().instances().map(|instance| instance.name.to_string()).collect();
    assert_eq!(names, ["usage"]);
    let usage = fork.view().get_reader::<Tsdb>("usage").unwrap();
    let series = usage.select(&[Matcher::metric("billed_total")], i64::MIN, i64::MAX).await.unwrap();
    assert_eq!(series.len(), 3);
    fork.discard().await.unwrap();
    assert_eq!(sums(&billing.composite.view()).await, (6.0, 6.0));
    billing.composite.discard().await.unwrap();
    // Nothing is left behind, not even what the fork was cut from.
    let left: Vec<_> = futures::TryStreamExt::try_collect(store.object_store().list(None)).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn two_instances_of_one_system_do_not_see_each_other() {
    let store = Store::from_url("memory:").unwrap();
    let builder = describe(&store, "two").system::<Log>("audit", log::Config::default());
    let composite = builder.open().await.unwrap();
    let (events, audit) = (composite.get::<Log>("events").unwrap(), composite.get::<Log>("audit").unwrap());
    let mut tx = composite.begin();
    tx.on(&events).append("s", "event");
    tx.on(&audit).append("s", "audit");
    let commit = tx.commit().await.unwrap();
    let positions = [&events, &audit].map(|handle| commit.receipt(handle).and_then(log::Receipt::first).unwrap());
    assert_ne!(positions[0], positions[1]);
    for (handle, payload) in [(&events, "event"), (&audit, "audit")] {
        let reader = composite.view().on(handle).unwrap();
        let records = reader.scan("s", ..).await.unwrap().collect().await.unwrap();
        assert_eq!(records.iter().map(|record| &record.payload[..]).collect::<Vec<_>>(), [payload.as_bytes()]);
    }
    composite.close().await.unwrap();
}

#[tokio::test]
async fn an_instance_is_added_to_a_slate_that_exists_and_a_subset_is_opened() {
    let store = Store::from_url("memory:").unwrap();
    let lone = Slate::builder(&store, "billing").settings(settings()).system::<Log>("events", log::Config::default());
    let lone = lone.open().await.unwrap();
    let events = lone.get::<Log>("events").unwrap();
    let mut tx = lone.begin();
    tx.on(&events).append("a", "3");
    tx.commit().await.unwrap();
    lone.close().await.unwrap();
    // A lone slate of one system becomes a composition without copying.
    let billing = Billing::open(&store).await.unwrap();
    let mut tx = billing.composite.begin();
    tx.on(&billing.usage).add(labels! { "__name__" => "billed_total", "tenant" => "a" }, AT, 3.0);
    tx.commit().await.unwrap();
    assert_eq!(sums(&billing.composite.view()).await, (3.0, 3.0));
    billing.composite.close().await.unwrap();
    // All systems must be known to whoever writes; not all instances need to be opened.
    let unknown = InternalComposite::builder(&store, "billing").register::<Log>().open().await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Unsupported);
    let subset = InternalComposite::builder(&store, "billing")
        .settings(settings())
        .system::<Log>("events", log::Config::default())
        .register::<Tsdb>()
        .open()
        .await
        .unwrap();
    Billing::of(subset.clone()).unwrap().bill("a", 1.0).await.unwrap();
    assert_eq!(sums(&subset.view()).await, (4.0, 4.0));
    subset.close().await.unwrap();
}

#[tokio::test]
async fn a_renamed_instance_keeps_its_data_and_its_old_name_is_free() {
    let store = Store::from_url("memory:").unwrap();
    let billing = Billing::open(&store).await.unwrap();
    billing.bill("a", 1.0).await.unwrap();
    billing.composite.rename("events", "history").await.unwrap();
    billing.bill("a", 1.0).await.unwrap();
    assert_eq!(billing.composite.view().on(&billing.events).unwrap().count("a").await.unwrap(), 2);
    assert_eq!(billing.composite.get::<Log>("events").unwrap_err().kind(), ErrorKind::NotFound);
    billing.composite.close().await.unwrap();
    let again = describe(&store, "billing").system::<Log>("history", log::Config::default()).open().await.unwrap();
    let count = |name: &'static str| again.view().get_reader::<Log>(name).unwrap();
    assert_eq!(count("events").count_all().await.unwrap(), 0);
    assert_eq!(count("history").count_all().await.unwrap(), 2);
    again.close().await.unwrap();
}

#[tokio::test]
async fn a_name_belongs_to_one_system() {
    let store = Store::from_url("memory:").unwrap();
    Billing::open(&store).await.unwrap().composite.close().await.unwrap();
    let builder = InternalComposite::builder(&store, "billing").register::<Log>().register::<Tsdb>();
    let error = builder.system::<Ledger>("events", LedgerConfig::default()).open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("system=log"), "{error}");
}

#[tokio::test]
async fn another_process_reads_without_disturbing_the_writer() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::from_url(&format!("file:{}", folder.path().display())).unwrap();
    let billing = Billing::open(&store).await.unwrap();
    billing.bill("a", 5.0).await.unwrap();
    let reader = describe(&store.with_cold_cache(), "billing").read(At::Latest).await.unwrap();
    assert_eq!(sums(&reader.view()).await, (5.0, 5.0));
    billing.bill("a", 1.0).await.unwrap();
    assert_eq!(sums(&reader.view()).await, (5.0, 5.0));
    assert_eq!(sums(&reader.refresh().await.unwrap()).await, (6.0, 6.0));
    billing.composite.close().await.unwrap();
}

#[tokio::test]
async fn a_view_of_the_latest_stays_where_it_was_taken_while_commits_follow_at_once() {
    let store = Store::from_url("memory:").unwrap();
    let billing = Billing::open(&store).await.unwrap();
    for round in 1..=10 {
        let total = f64::from(2 * round - 1);
        billing.bill("a", 1.0).await.unwrap();
        let reader = describe(&store.with_cold_cache(), "billing").read(At::Latest).await.unwrap();
        let late = tokio::spawn({
            let view = reader.view();
            async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                sums(&view).await
            }
        });
        billing.bill("b", 1.0).await.unwrap();
        assert_eq!(late.await.unwrap(), (total, total), "round={round}");
    }
    billing.composite.close().await.unwrap();
}
