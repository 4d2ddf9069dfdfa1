//! What applications write into instances that edges write to as well is told apart, and never lost without a word.

use super::joined::{LONG, joined, write};
use super::*;
use crate::branch::replay::{Span, Trimmed, copy_logs};
use crate::control::Said;
use opendata_core::Timestamp;
use opendata_tsdb::{Tsdb, labels};

/// A log `a` that an edge copies into the log `b`, which takes records of its own too; a cut `c`, a fork `f` of it.
async fn forked(store: &Store) -> ExternalComposite {
    let main = describe(store, "p").open_as(&joined(&["a", "b"], &[("a", "b")])).await.unwrap();
    let first = write(&main, "a", "one").await;
    main.wait_for(&first, "b", LONG).await.unwrap();
    write(&main, "b", "own").await;
    main.cut("c", &CutOptions::default()).await.unwrap();
    main.fork("f", "c").await.unwrap();
    main
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_edge_wrote_since_is_made_again_and_does_not_hold_a_promotion_up() {
    let store = Store::from_url("memory:").unwrap();
    let main = forked(&store).await;
    // As if the source had been written before the cut: only the edge moves.
    let node = main.node("b").unwrap();
    let (log, mut tx) = (node.get::<Log>("l").unwrap(), node.begin());
    tx.mark_derived();
    tx.on(&log).append("s", "by an edge");
    tx.commit().await.unwrap();
    let promoted = main.promote("f", PromotePolicy::Refuse).await.unwrap();
    assert!(promoted.moved.is_empty());
    assert_eq!(payloads(&main.node("b").unwrap()).await, ["one", "own"]);
    main.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_appended_to_a_log_that_an_edge_writes_is_refused_or_taken_along() {
    let store = Store::from_url("memory:").unwrap();
    let main = forked(&store).await;
    write(&main, "b", "own too").await;
    let refused = main.promote("f", PromotePolicy::Refuse).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert!(refused.to_string().contains("nodes=[b]"), "{refused}");
    let second = write(&main, "a", "two").await;
    main.wait_for(&second, "b", LONG).await.unwrap();
    let promoted = main.promote("f", PromotePolicy::Rebase).await.unwrap();
    assert_eq!((promoted.rebased, promoted.moved.len()), (2, 2));
    main.wait_caught_up(LONG).await.unwrap();
    let mut all = payloads(&main.node("b").unwrap()).await;
    all.sort_unstable();
    assert_eq!(all, ["one", "own", "own too", "two"]);
    // What was taken along is still known as written by an application, and what the edge made as made by it.
    let records = main.node("b").unwrap().view().get_reader::<Log>("l").unwrap().scan_all(..).await.unwrap();
    let records = records.collect().await.unwrap();
    let derived: Vec<_> = records.iter().filter(|record| record.derived).map(|record| &record.payload[..]).collect();
    assert_eq!(derived, [b"one", b"two"]);
    main.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_that_was_broken_off_while_it_took_records_along_takes_along_what_came_since() {
    let store = Store::from_url("memory:").unwrap();
    let main = forked(&store).await;
    write(&main, "b", "before").await;
    // What a process does that dies before it says that the fork is main.
    let fork = describe(&store, "p").branch("f").owner("dead").open().await.unwrap();
    let view = main.node("b").unwrap().view();
    let after = main.state().cuts["c"].members["b"].position;
    let span = Span { after, until: Timestamp(i64::MAX), trimmed: Trimmed::Passed };
    assert_eq!(copy_logs(&view, &fork.node("b").unwrap(), &["l".to_owned()], span).await.unwrap(), 1);
    fork.close().await.unwrap();
    write(&main, "b", "after").await;
    assert_eq!(main.promote("f", PromotePolicy::Rebase).await.unwrap().rebased, 2);
    main.wait_caught_up(LONG).await.unwrap();
    assert_eq!(payloads(&main.node("b").unwrap()).await, ["one", "own", "before", "after"]);
    main.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebase_that_is_refused_leaves_nothing_in_the_fork() {
    let store = Store::from_url("memory:").unwrap();
    let mut spec = joined(&["a", "b"], &[("a", "b")]);
    spec.nodes.get_mut("b").unwrap().instances.insert("t".to_owned(), InstanceSpec::of("tsdb"));
    let main = describe(&store, "p").open_as(&spec).await.unwrap();
    main.cut("c", &CutOptions::default()).await.unwrap();
    main.fork("f", "c").await.unwrap();
    write(&main, "a", "later").await;
    let (node, mut tx) = (main.node("b").unwrap(), main.node("b").unwrap().begin());
    tx.on(&node.get::<Tsdb>("t").unwrap()).sample(labels! { "__name__" => "x" }, Timestamp(1), 1.0);
    tx.commit().await.unwrap();
    let refused = main.promote("f", PromotePolicy::Rebase).await.unwrap_err();
    assert!(refused.to_string().contains("instance=t"), "{refused}");
    main.promote("f", PromotePolicy::Discard).await.unwrap();
    assert!(payloads(&main.node("a").unwrap()).await.is_empty());
    main.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_can_be_restored_and_a_fork_rebased_after_logs_were_trimmed_beyond_it() {
    let store = Store::from_url("memory:").unwrap();
    let main = describe(&store, "p").open_as(&composition(&["a"])).await.unwrap();
    append(&main.node("a").unwrap(), "one").await.unwrap();
    main.cut("c", &CutOptions::default()).await.unwrap();
    main.fork("f", "c").await.unwrap();
    for payload in ["two", "three"] {
        append(&main.node("a").unwrap(), payload).await.unwrap();
    }
    let trim = async |before| {
        let node = main.node("a").unwrap();
        let (log, mut tx) = (node.get::<Log>("l").unwrap(), node.begin());
        tx.on(&log).trim_all(before);
        tx.commit().await.unwrap();
    };
    let last = append(&main.node("a").unwrap(), "four").await.unwrap();
    trim(last).await;
    let promoted = main.promote("f", PromotePolicy::Rebase).await.unwrap();
    assert_eq!(promoted.rebased, 1);
    assert_eq!(payloads(&main.node("a").unwrap()).await, ["one", "four"]);

    let last = append(&main.node("a").unwrap(), "five").await.unwrap();
    trim(last).await;
    main.restore("c").await.unwrap();
    assert_eq!(payloads(&main.node("a").unwrap()).await, ["one"]);
    main.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_that_an_application_wrote_beside_an_edge_are_refused_discarded_and_named() {
    let store = Store::from_url("memory:").unwrap();
    let mut spec = composition(&["a"]);
    let tsdb = InstanceSpec::of("tsdb");
    spec.nodes.get_mut("a").unwrap().instances.insert("t".to_owned(), tsdb);
    let main = describe(&store, "p").open_as(&spec).await.unwrap();
    append(&main.node("a").unwrap(), "one").await.unwrap();
    main.cut("c", &CutOptions::default()).await.unwrap();
    main.fork("quiet", "c").await.unwrap();
    // Nothing was written since: an instance that is no log does not hold a promotion up by being there.
    main.promote("quiet", PromotePolicy::Refuse).await.unwrap();
    main.cut("d", &CutOptions::default()).await.unwrap();
    main.fork("f", "d").await.unwrap();
    let node = main.node("a").unwrap();
    let (metrics, mut tx) = (node.get::<Tsdb>("t").unwrap(), node.begin());
    tx.on(&metrics).add(labels! { "__name__" => "n" }, Timestamp(1_000), 1.0);
    tx.commit().await.unwrap();
    for policy in [PromotePolicy::Refuse, PromotePolicy::Rebase] {
        let refused = main.promote("f", policy).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
        let named = if policy == PromotePolicy::Rebase { "instance=t" } else { "nodes=[a]" };
        assert!(refused.to_string().contains(named), "{refused}");
    }
    append(&main.node("a").unwrap(), "left behind").await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let (replayed, _) = main.restore_to(main.0.env.now()).await.unwrap();
    assert_eq!(replayed.as_in_cut, ["a/t"]);
    main.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_says_how_much_it_discards_and_a_refused_one_how_much_there_is() {
    let store = Store::from_url("memory:").unwrap();
    let main = forked(&store).await;
    for payload in ["own too", "and this"] {
        write(&main, "b", payload).await;
    }
    let second = write(&main, "a", "two").await;
    main.wait_for(&second, "b", LONG).await.unwrap();
    let refused = main.promote("f", PromotePolicy::Refuse).await.unwrap_err();
    assert!(refused.to_string().contains("written=[a/l: 1 records, b/l: 2 records]"), "{refused}");
    let promoted = main.promote("f", PromotePolicy::Discard).await.unwrap();
    let discarded: Vec<_> = promoted.discarded.iter().map(ToString::to_string).collect();
    assert_eq!(discarded, ["a/l: 1 records", "b/l: 2 records"]);
    assert_eq!(payloads(&main.node("b").unwrap()).await, ["one", "own"]);
    main.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aligned_cut_that_is_not_done_in_time_names_the_edge_and_leaves_nothing() {
    let store = Store::from_url("memory:").unwrap();
    let mut spec = joined(&["a", "b"], &[("a", "b")]);
    // One record a commit, one commit after the other: each waits for a flush.
    (spec.edges[0].batch.max_records, spec.edges[0].batch.in_flight) = (1, 1);
    let main = describe(&store, "p").open_as(&spec).await.unwrap();
    main.pause("a-b").await.unwrap();
    let node = main.node("a").unwrap();
    let (log, mut tx) = (node.get::<Log>("l").unwrap(), node.begin());
    for number in 0..400 {
        tx.on(&log).append("s", number.to_string());
    }
    tx.commit().await.unwrap();
    main.resume("a-b").await.unwrap();
    let options = CutOptions { timeout: Duration::from_millis(150), ..CutOptions::aligned() };
    let late = main.cut("late", &options).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Unavailable);
    let text = late.to_string();
    assert!(text.contains("missing nodes=[b], edges behind=[a-b by ") && text.contains(" records]"), "{text}");
    for node in ["a", "b"] {
        let left = main.node(node).unwrap().checkpoints().await.unwrap();
        assert!(left.iter().all(|checkpoint| !checkpoint.name.starts_with("cut-")), "{left:?}");
    }
    assert!(main.state().cuts.values().all(|cut| !cut.is_open()));
    let cut = main.cut("in-time", &CutOptions { timeout: LONG * 6, ..CutOptions::aligned() }).await.unwrap();
    assert_eq!(cut.edges["a-b"].next, Some(cut.edges["a-b"].head.next()));
    assert_eq!(payloads(&main.node("b").unwrap()).await.len(), 400);
    main.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_comes_to_nothing_leaves_no_fork() {
    let store = Store::from_url("memory:").unwrap();
    let main = forked(&store).await;
    let forks = async || {
        let branches = main.branches().await.unwrap();
        branches.iter().map(|branch| branch.name.clone()).collect::<Vec<_>>()
    };
    let before = forks().await;
    let deadline = Timestamp(main.0.env.now().0 + 60_000);
    let said = Said::PromoteBegin { fork: "f".to_owned(), policy: PromotePolicy::Discard, deadline };
    main.0.control.append(said).await.unwrap();
    let refused = main.restore("c").await.unwrap_err();
    assert!(refused.kind() == ErrorKind::Conflict && refused.to_string().contains("fork=f"), "{refused}");
    assert_eq!(forks().await, before);
    main.cancel_under_way().await.unwrap();

    // What the log took between the cut and that time is not there any more.
    let wait = async || tokio::time::sleep(Duration::from_millis(20)).await;
    wait().await;
    append(&main.node("b").unwrap(), "trimmed").await.unwrap();
    wait().await;
    let time = main.0.env.now();
    wait().await;
    let last = append(&main.node("b").unwrap(), "later").await.unwrap();
    let node = main.node("b").unwrap();
    let (log, mut tx) = (node.get::<Log>("l").unwrap(), node.begin());
    tx.on(&log).trim_all(last);
    tx.commit().await.unwrap();
    let gone = main.restore_to(time).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound, "{gone}");
    assert_eq!(forks().await, before);
    main.restore("c").await.unwrap();
    assert_eq!(payloads(&main.node("b").unwrap()).await, ["one", "own"]);
    main.close().await.unwrap();
}
