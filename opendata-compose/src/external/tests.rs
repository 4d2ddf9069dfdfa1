use std::collections::BTreeMap;
use std::time::Duration;

use opendata_core::slate::Settings;
use opendata_core::store::Store;
use opendata_core::{ErrorKind, Position, Result};
use opendata_log::Log;

use crate::control::{BranchPhase, CutMode, MAIN, PromotePolicy};
use crate::cut::CutOptions;
use crate::external::{Builder, ExternalComposite, Own};
use crate::internal::InternalComposite;
use crate::spec::{Composition, InstanceSpec, NodeSpec};

mod joined;
mod letters;
mod moved;
mod reshape;
mod schemas;
mod simulation;

fn settings() -> Settings {
    Settings { maintenance_interval_ms: 0, flush_interval_ms: 5, poll_interval_ms: 50, ..Settings::default() }
}

fn composition(nodes: &[&str]) -> Composition {
    let node = || NodeSpec { path: None, instances: BTreeMap::from([("l".to_owned(), InstanceSpec::of("log"))]) };
    Composition { nodes: nodes.iter().map(|name| ((*name).to_owned(), node())).collect(), ..Composition::default() }
}

fn describe(store: &Store, owner: &str) -> Builder {
    ExternalComposite::builder(store, "c").settings(settings()).owner(owner).poll(Duration::from_millis(20))
}

fn only(nodes: &[&str]) -> Own {
    Own::Nodes(nodes.iter().map(|node| (*node).to_owned()).collect())
}

async fn append(node: &InternalComposite, payload: &str) -> Result<Position> {
    let log = node.get::<Log>("l")?;
    let mut tx = node.begin();
    tx.on(&log).append("s", payload.to_owned());
    Ok(tx.commit().await?.position())
}

async fn payloads(node: &InternalComposite) -> Vec<String> {
    let records = node.view().get_reader::<Log>("l").unwrap().scan_all(..).await.unwrap().collect().await.unwrap();
    records.iter().map(|record| String::from_utf8_lossy(&record.payload).into_owned()).collect()
}

#[tokio::test]
async fn a_cut_shows_the_past_of_all_nodes_and_a_fork_of_it_takes_the_place_of_main() {
    let store = Store::from_url("memory:").unwrap();
    let main = describe(&store, "p").open_as(&composition(&["a", "b"])).await.unwrap();
    append(&main.node("a").unwrap(), "one").await.unwrap();
    append(&main.node("b").unwrap(), "two").await.unwrap();
    let cut = main.cut("c1", &CutOptions::default()).await.unwrap();
    assert_eq!(cut.members.len(), 2);
    let past = main.at("c1").await.unwrap();
    assert_eq!(past.on::<Log>("a", "l").unwrap().count_all().await.unwrap(), 1);

    main.fork("f", "c1").await.unwrap();
    let fork = describe(&store, "q").branch("f").open().await.unwrap();
    append(&fork.node("a").unwrap(), "forked").await.unwrap();
    assert_eq!(payloads(&main.node("a").unwrap()).await, ["one"]);

    let promoted = main.promote("f", PromotePolicy::Refuse).await.unwrap();
    assert!(promoted.moved.is_empty());
    assert_eq!(payloads(&main.node("a").unwrap()).await, ["one", "forked"]);
    append(&main.node("b").unwrap(), "on").await.unwrap();
    let former = main.state().branches[&promoted.former].clone();
    assert_eq!(former.phase, BranchPhase::Former);
    fork.close().await.unwrap();

    // What was main can be read and forked no more than any past, and is never written again.
    let refused = describe(&store, "z").branch(&promoted.former).open().await.unwrap();
    assert_eq!(refused.node("a").unwrap_err().kind(), ErrorKind::Conflict);
    refused.close().await.unwrap();
    main.restore("c1").await.unwrap();
    assert_eq!(payloads(&main.node("a").unwrap()).await, ["one"]);
    assert_eq!(payloads(&main.node("b").unwrap()).await, ["two"]);
    main.close().await.unwrap();
}

#[tokio::test]
async fn main_that_has_moved_is_not_replaced_unless_it_is_said_what_becomes_of_it() {
    let store = Store::from_url("memory:").unwrap();
    let main = describe(&store, "p").open_as(&composition(&["a", "b"])).await.unwrap();
    append(&main.node("a").unwrap(), "one").await.unwrap();
    main.cut("c1", &CutOptions::default()).await.unwrap();
    main.fork("f", "c1").await.unwrap();
    for payload in ["two", "three"] {
        append(&main.node("a").unwrap(), payload).await.unwrap();
    }
    let refused = main.promote("f", PromotePolicy::Refuse).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert!(refused.to_string().contains("nodes=[a]"), "{refused}");
    append(&main.node("a").unwrap(), "four").await.unwrap();
    let promoted = main.promote("f", PromotePolicy::Rebase).await.unwrap();
    assert_eq!((promoted.rebased, promoted.moved.len()), (3, 1));
    assert_eq!(payloads(&main.node("a").unwrap()).await, ["one", "two", "three", "four"]);
    main.close().await.unwrap();
}

#[tokio::test]
async fn two_processes_own_different_nodes_and_cut_together() {
    let store = Store::from_url("memory:").unwrap();
    let spec = composition(&["a", "b"]);
    let one = describe(&store, "one").own(only(&["a"])).open_as(&spec).await.unwrap();
    let two = describe(&store, "two").own(only(&["b"])).open().await.unwrap();
    append(&one.node("a").unwrap(), "x").await.unwrap();
    append(&two.node("b").unwrap(), "y").await.unwrap();
    assert_eq!(one.node("b").unwrap_err().kind(), ErrorKind::Conflict);
    one.cut("both", &CutOptions::default()).await.unwrap();
    let past = two.at("both").await.unwrap();
    assert_eq!(past.on::<Log>("b", "l").unwrap().count_all().await.unwrap(), 1);

    // A third takes a node over; the one before gives it up and does not take it back.
    let three = describe(&store, "three").own(only(&["b"])).open().await.unwrap();
    append(&three.node("b").unwrap(), "z").await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(two.node("b").unwrap_err().kind(), ErrorKind::Conflict);
    append(&three.node("b").unwrap(), "zz").await.unwrap();
    for it in [one, two, three] {
        it.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_cut_stands_in_for_an_owner_that_does_not_answer() {
    let store = Store::from_url("memory:").unwrap();
    let spec = composition(&["a", "b"]);
    let one = describe(&store, "one").own(only(&["a"])).open_as(&spec).await.unwrap();
    let dead = describe(&store, "dead").own(only(&["b"])).open().await.unwrap();
    append(&dead.node("b").unwrap(), "last words").await.unwrap();
    std::mem::forget(dead.node("b").unwrap());
    dead.0.stop.send_replace(true);
    let options = CutOptions { timeout: Duration::from_secs(2), ..CutOptions::default() };
    one.cut("without", &options).await.unwrap();
    let past = one.at("without").await.unwrap();
    assert_eq!(past.on::<Log>("b", "l").unwrap().count_all().await.unwrap(), 1);
    one.close().await.unwrap();
}

#[tokio::test]
async fn a_cut_does_not_wait_for_owners_that_have_left() {
    let store = Store::from_url("memory:").unwrap();
    let spec = composition(&["a", "b"]);
    let one = describe(&store, "one").own(only(&["a"])).open_as(&spec).await.unwrap();
    let two = describe(&store, "two").own(only(&["b"])).open().await.unwrap();
    append(&two.node("b").unwrap(), "last words").await.unwrap();
    two.close().await.unwrap();
    // Half of this is how long it waits for an owner.
    let options = CutOptions { timeout: Duration::from_secs(3600), ..CutOptions::default() };
    let soon = Duration::from_secs(60);
    tokio::time::timeout(soon, one.cut("one-left", &options)).await.unwrap().unwrap();
    one.close().await.unwrap();
    let onlooker = describe(&store, "onlooker").attach().await.unwrap();
    for (name, mode) in [("all-left", CutMode::Instant), ("all-left-aligned", CutMode::Aligned)] {
        let options = CutOptions { mode, ..options.clone() };
        tokio::time::timeout(soon, onlooker.cut(name, &options)).await.unwrap().unwrap();
        let past = onlooker.at(name).await.unwrap();
        assert_eq!(past.on::<Log>("b", "l").unwrap().count_all().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn the_composition_at_a_time_is_the_cut_before_it_and_what_the_logs_took_until_then() {
    let store = Store::from_url("memory:").unwrap();
    let main = describe(&store, "p").open_as(&composition(&["a"])).await.unwrap();
    append(&main.node("a").unwrap(), "one").await.unwrap();
    main.cut("c1", &CutOptions::default()).await.unwrap();
    append(&main.node("a").unwrap(), "two").await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let time = main.0.env.now();
    tokio::time::sleep(Duration::from_millis(20)).await;
    append(&main.node("a").unwrap(), "three").await.unwrap();
    let (replayed, _) = main.restore_to(time).await.unwrap();
    assert_eq!((replayed.cut.as_str(), replayed.records), ("c1", 1));
    assert_eq!(payloads(&main.node("a").unwrap()).await, ["one", "two"]);
    let error = main.fork_at_time("early", opendata_core::Timestamp(5)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    main.close().await.unwrap();
}

#[tokio::test]
async fn going_back_to_a_time_after_a_restore_does_not_bring_back_what_that_left_behind() {
    let store = Store::from_url("memory:").unwrap();
    let main = describe(&store, "p").open_as(&composition(&["a"])).await.unwrap();
    let write = async |payload: &str| append(&main.node("a").unwrap(), payload).await.unwrap();
    let moment = async || {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = main.0.env.now();
        tokio::time::sleep(Duration::from_millis(20)).await;
        now
    };
    write("one").await;
    main.cut("c1", &CutOptions::default()).await.unwrap();
    write("wrong").await;
    let before = moment().await;
    main.cut("c2", &CutOptions::default()).await.unwrap();
    main.restore("c1").await.unwrap();
    write("two").await;
    let after = moment().await;
    write("three").await;
    assert_eq!(main.at_time(after).await.unwrap().name(), "c1");
    main.restore_to(after).await.unwrap();
    assert_eq!(payloads(&main.node("a").unwrap()).await, ["one", "two"]);
    // What was main before that is found by its time as well.
    main.restore_to(before).await.unwrap();
    assert_eq!(payloads(&main.node("a").unwrap()).await, ["one", "wrong"]);
    main.close().await.unwrap();
}

#[tokio::test]
async fn a_fork_that_is_discarded_is_deleted_and_its_name_stays_taken() {
    let store = Store::from_url("memory:").unwrap();
    let main = describe(&store, "p").open_as(&composition(&["a"])).await.unwrap();
    append(&main.node("a").unwrap(), "one").await.unwrap();
    main.cut("c1", &CutOptions::default()).await.unwrap();
    main.fork("f", "c1").await.unwrap();
    assert_eq!(main.release_cut("c1").await.unwrap_err().kind(), ErrorKind::Conflict);
    main.discard("f").await.unwrap();
    assert_eq!(main.state().branches["f"].phase, BranchPhase::Discarded);
    assert_eq!(main.fork("f", "c1").await.unwrap_err().kind(), ErrorKind::Conflict);
    main.release_cut("c1").await.unwrap();
    let left = main.node("a").unwrap().checkpoints().await.unwrap();
    assert!(left.iter().all(|checkpoint| !checkpoint.name.starts_with("cut-")), "{left:?}");
    assert_eq!(main.discard(MAIN).await.unwrap_err().kind(), ErrorKind::Invalid);
    main.close().await.unwrap();
}

#[tokio::test]
async fn a_plan_says_what_changes_and_is_applied_without_touching_the_rest() {
    let store = Store::from_url("memory:").unwrap();
    let main = describe(&store, "p").open_as(&composition(&["a"])).await.unwrap();
    append(&main.node("a").unwrap(), "one").await.unwrap();
    let plan = main.plan(&composition(&["a", "b"])).await.unwrap();
    assert_eq!(plan.to_string(), "+ node b: a new slate at c/b");
    main.apply(&plan).await.unwrap();
    append(&main.node("b").unwrap(), "two").await.unwrap();
    assert_eq!(main.apply(&plan).await.unwrap_err().kind(), ErrorKind::Conflict, "planned on an older state");
    let less = main.plan(&composition(&["b"])).await.unwrap();
    assert!(less.loses_state());
    assert_eq!(main.apply(&less).await.unwrap_err().kind(), ErrorKind::Conflict);
    main.apply(&less.allow_loss()).await.unwrap();
    assert_eq!(main.node("a").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(payloads(&main.node("b").unwrap()).await, ["two"]);
    main.close().await.unwrap();
}

#[tokio::test]
async fn an_export_is_a_composition_of_its_own_that_needs_nothing_of_the_first() {
    let (store, backup) = (Store::from_url("memory:").unwrap(), Store::from_url("memory:").unwrap());
    let mut spec = composition(&["a", "b"]);
    spec.edges.push(crate::edge::EdgeSpec::new("a-b", ("a", "l"), ("b", "l")));
    let main = describe(&store, "p").open_as(&spec).await.unwrap();
    main.reset("a-b", crate::control::ResetTo::Start).await.unwrap();
    append(&main.node("a").unwrap(), "one").await.unwrap();
    main.wait_caught_up(Duration::from_secs(20)).await.unwrap();
    main.pause("a-b").await.unwrap();
    append(&main.node("a").unwrap(), "two").await.unwrap();
    main.cut("c", &CutOptions::default()).await.unwrap();
    let mut told = 0;
    let copied = main.export("c", &backup, "saved", |_, _| told += 1).await.unwrap();
    assert!(told >= 2 && copied.len() == 2);
    assert_eq!(main.export("c", &backup, "saved", |_, _| {}).await.unwrap_err().kind(), ErrorKind::Conflict);
    main.close().await.unwrap();
    drop(store);

    let builder = ExternalComposite::builder(&backup, "saved").settings(settings());
    let again = builder.open().await.unwrap();
    again.wait_caught_up(Duration::from_secs(20)).await.unwrap();
    assert_eq!(payloads(&again.node("b").unwrap()).await, ["one", "two"], "the edge went on where it stood");
    // The cut is there as well, and can be exported on: an import.
    let cuts = again.cuts().await.unwrap();
    assert_eq!(cuts.iter().map(|(name, cut)| (name.as_str(), cut.members.len())).collect::<Vec<_>>(), [("c", 2)]);
    let third = Store::from_url("memory:").unwrap();
    assert_eq!(again.export("c", &third, "third", |_, _| {}).await.unwrap(), copied);
    again.restore("c").await.unwrap();
    assert_eq!(payloads(&again.node("b").unwrap()).await[..1], ["one"]);
    again.close().await.unwrap();
}

#[tokio::test]
async fn a_cut_waits_for_another_that_is_being_taken() {
    let store = Store::from_url("memory:").unwrap();
    let main = describe(&store, "p").open_as(&composition(&["a", "b"])).await.unwrap();
    let taken = ["x", "y", "z"].map(|name| {
        let main = main.clone();
        async move { main.cut(name, &CutOptions::default()).await }
    });
    futures::future::try_join_all(taken).await.unwrap();
    assert_eq!(main.cuts().await.unwrap().len(), 3);
    main.close().await.unwrap();
}
