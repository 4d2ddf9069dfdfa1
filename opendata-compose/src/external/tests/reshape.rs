//! Nodes that are split and joined, and edges that make everything anew.

use std::collections::BTreeSet;

use opendata_tsdb::{Tsdb, promql};

use super::*;
use crate::control::{CutMode, PromotePolicy, ResetTo, Said, ShapePhase};
use crate::edge::EdgeSpec;
use crate::edge::spec::Step;
use crate::edge::verify::Verdict;
use crate::external::{Backfill, VerifyOptions};

const LONG: Duration = Duration::from_secs(30);

/// A log `l`, its copy, and what is counted of it.
fn instances(names: &[&str]) -> NodeSpec {
    let system = |name: &&str| if name.starts_with("sums") { "tsdb" } else { "log" };
    let instances = names.iter().map(|name| ((*name).to_owned(), InstanceSpec::of(system(name)))).collect();
    NodeSpec { path: None, instances }
}

fn counting(from: &str, to: &str) -> EdgeSpec {
    let steps = r#"[{"to_metrics": {"metrics": [{"name": "total", "kind": "add", "value": "payload"}]}}]"#;
    EdgeSpec::new("count", (from, "l"), (to, "sums")).transform(serde_json::from_str::<Vec<Step>>(steps).unwrap())
}

fn shop(nodes: &[(&str, &[&str])]) -> Composition {
    let of = |instance: &str| nodes.iter().find(|(_, has)| has.contains(&instance)).map_or("", |(name, _)| *name);
    Composition {
        nodes: nodes.iter().map(|(name, has)| ((*name).to_owned(), instances(has))).collect(),
        edges: vec![EdgeSpec::new("copy", (of("l"), "l"), (of("copied"), "copied")), counting(of("l"), of("sums"))],
        cuts: None,
    }
}

async fn write(main: &ExternalComposite, numbers: std::ops::Range<u64>) {
    let node = main.spec().unwrap().edges[0].from.node.clone();
    for n in numbers {
        append(&main.node(&node).unwrap(), &n.to_string()).await.unwrap();
    }
}

/// Everything that can be read of the composition, whatever its shape.
async fn state_of(main: &ExternalComposite) -> (Vec<String>, Vec<String>, f64) {
    main.wait_caught_up(LONG).await.unwrap();
    let spec = main.spec().unwrap();
    let at = |instance: &str| {
        let found = spec.nodes.iter().find(|(_, node)| node.instances.contains_key(instance));
        main.node(found.unwrap().0).unwrap()
    };
    let records = async |instance: &str| {
        let view = at(instance).view();
        let found = view.get_reader::<Log>(instance).unwrap().scan_all(..).await.unwrap().collect().await.unwrap();
        found.iter().map(|record| String::from_utf8_lossy(&record.payload).into_owned()).collect::<Vec<_>>()
    };
    (records("l").await, records("copied").await, total(&at("sums"), "sums").await)
}

async fn total(node: &InternalComposite, instance: &str) -> f64 {
    let reader = node.view().get_reader::<Tsdb>(instance).unwrap();
    let matcher = opendata_tsdb::Matcher::new("__name__", opendata_tsdb::MatchOp::Equal, "total").unwrap();
    let series = promql::Storage::select(&reader, &[matcher], 0, i64::MAX / 8).await.unwrap();
    series.first().and_then(|series| series.values.last()).copied().unwrap_or(0.0)
}

async fn verified(main: &ExternalComposite) {
    let reports = main.verify(&VerifyOptions::default(), &mut |_| {}).await.unwrap();
    assert!(!reports.is_empty());
    for report in reports {
        assert_eq!(report.verdict, Verdict::Equal, "{report:?}");
    }
}

fn parts(parts: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    parts.iter().map(|(node, instances)| ((*node).to_owned(), names(instances))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inside_or_outside_split_or_joined_the_state_is_the_same_in_the_end() {
    let store = Store::from_url("memory:").unwrap();
    let inside = shop(&[("all", &["l", "copied", "sums"])]);
    let main = describe(&store, "p").open_as(&inside).await.unwrap();
    write(&main, 0..40).await;
    // What is in flight comes along.
    main.pause("count").await.unwrap();
    write(&main, 40..50).await;
    main.cut("before", &CutOptions::default()).await.unwrap();
    let split = main.split("all", &parts(&[("events", &["l", "copied"]), ("metrics", &["sums"])])).await.unwrap();
    assert_eq!(split.nodes.keys().collect::<Vec<_>>(), ["events", "metrics"]);
    assert_eq!(main.node("all").unwrap_err().kind(), ErrorKind::NotFound);
    main.resume("count").await.unwrap();
    write(&main, 50..70).await;
    let apart = state_of(&main).await;
    verified(&main).await;
    let joined = main.join(&BTreeSet::from(["events".into(), "metrics".into()]), "all").await.unwrap();
    assert_eq!(joined.nodes.len(), 1);
    write(&main, 70..80).await;
    let together = state_of(&main).await;
    verified(&main).await;
    assert_eq!((apart.0.len(), together.0.len(), together.2), (70, 80, (0..80).sum::<u64>() as f64));
    assert_eq!(together.0, together.1);
    assert_eq!(main.spec().unwrap(), inside, "the file it began with fits again");
    assert!(main.plan(&inside).await.unwrap().is_empty());

    // The same records through a composition that was apart from the start, and through one that was never touched.
    for spec in [shop(&[("a", &["l"]), ("b", &["copied"]), ("c", &["sums"])]), inside.clone()] {
        let other = describe(&Store::from_url("memory:").unwrap(), "p").open_as(&spec).await.unwrap();
        write(&other, 0..80).await;
        assert_eq!(state_of(&other).await, together);
        other.close().await.unwrap();
    }

    // A cut from before is still there, and main can be put back to it, with the node it had.
    main.restore("before").await.unwrap();
    assert_eq!(state_of(&main).await.0.len(), 50);
    verified(&main).await;
    let former = main.state().branches[&split.former].clone();
    assert_eq!((former.phase, former.nodes.len()), (BranchPhase::Former, 1));
    main.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_that_is_wrong_changes_nothing_and_one_that_died_is_given_up() {
    let store = Store::from_url("memory:").unwrap();
    let inside = shop(&[("all", &["l", "copied", "sums"])]);
    let main = describe(&store, "p").open_as(&inside).await.unwrap();
    write(&main, 0..10).await;
    for wrong in [
        parts(&[("events", &["l", "copied"])]),
        parts(&[("events", &["l", "copied"]), ("metrics", &["summs"])]),
        parts(&[("events", &["l", "copied", "sums"]), ("metrics", &["sums"])]),
        parts(&[("events", &["l"]), ("metrics", &["sums"])]),
        parts(&[("a b", &["l", "copied"]), ("metrics", &["sums"])]),
    ] {
        assert_eq!(main.split("all", &wrong).await.unwrap_err().kind(), ErrorKind::Invalid, "{wrong:?}");
    }
    assert_eq!(main.split("none", &parts(&[])).await.unwrap_err().kind(), ErrorKind::Invalid);
    // Somebody began a split and died when one slate was made.
    let good = parts(&[("events", &["l", "copied"]), ("metrics", &["sums"])]);
    let state = main.control().refresh().await.unwrap();
    let nodes = BTreeMap::from([
        ("events".to_owned(), "c/_shapes/x/events".to_owned()),
        ("metrics".to_owned(), "c/_shapes/x/metrics".to_owned()),
    ]);
    let said = Said::ReshapeBegin {
        branch: MAIN.to_owned(),
        shape: "x".to_owned(),
        from: BTreeSet::from(["all".to_owned()]),
        spec: shop(&[("events", &["l", "copied"]), ("metrics", &["sums"])]),
        nodes: nodes.clone(),
        deadline: main.0.env.now().plus_ms(700),
    };
    assert!(state.reshaping.is_none());
    main.node("all").unwrap().slate().fork_parts(&[(&["l", "copied"], &nodes["events"])]).await.unwrap();
    main.control().append(said).await.unwrap();
    main.0.reconcile().await.unwrap();
    assert_eq!(main.node("all").unwrap_err().kind(), ErrorKind::Conflict, "nobody writes meanwhile");
    assert_eq!(main.split("all", &good).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(main.cut("c", &CutOptions::default()).await.unwrap_err().kind(), ErrorKind::Conflict);
    tokio::time::sleep(Duration::from_millis(800)).await;
    main.0.sweep().await.unwrap();
    main.0.sweep().await.unwrap();
    let state = main.control().refresh().await.unwrap();
    assert_eq!((state.reshaping.is_none(), state.shapes["x"].phase), (true, ShapePhase::Swept));
    let gone = opendata_core::slate::delete(&store, &nodes["events"]).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound, "what was made is gone");
    main.0.reconcile().await.unwrap();
    write(&main, 10..20).await;
    main.split("all", &good).await.unwrap();
    write(&main, 20..30).await;
    assert_eq!(state_of(&main).await.2, (0..30).sum::<u64>() as f64);
    verified(&main).await;
    main.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_of_one_system_from_two_slates_are_not_joined_and_go_on() {
    let store = Store::from_url("memory:").unwrap();
    let spec = shop(&[("a", &["l"]), ("b", &["copied"]), ("c", &["sums"])]);
    let main = describe(&store, "p").open_as(&spec).await.unwrap();
    write(&main, 0..10).await;
    let refused = main.join(&BTreeSet::from(["a".into(), "b".into()]), "ab").await.unwrap_err();
    assert!(refused.kind() == ErrorKind::Conflict && refused.to_string().contains("same keys"), "{refused}");
    main.0.reconcile().await.unwrap();
    write(&main, 10..20).await;
    main.join(&BTreeSet::from(["a".into(), "c".into()]), "a").await.unwrap();
    write(&main, 20..30).await;
    assert_eq!(state_of(&main).await.2, (0..30).sum::<u64>() as f64);
    verified(&main).await;
    // The other process's idea of what it owns is brought up to date by the control log.
    let two = describe(&store, "two").own(only(&["b"])).open().await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(main.node("b").unwrap_err().kind(), ErrorKind::Conflict);
    two.close().await.unwrap();
    main.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backfill_makes_everything_anew_in_another_instance_and_takes_over_where_they_meet() {
    let store = Store::from_url("memory:").unwrap();
    let spec = shop(&[("a", &["l"]), ("b", &["copied", "sums"])]);
    let main = describe(&store, "p").open_as(&spec).await.unwrap();
    write(&main, 0..50).await;
    main.wait_caught_up(LONG).await.unwrap();
    let mut twice = counting("a", "b");
    let text = serde_json::to_string(&twice.transform).unwrap().replace("\"payload\"", "\"payload * 2\"");
    twice.transform = serde_json::from_str(&text).unwrap();
    let mut wanted = Backfill { edge: twice.clone(), from: ResetTo::Start, instances: BTreeMap::new(), timeout: LONG };
    let refused = main.backfill(&wanted, &mut |_| {}).await.unwrap_err();
    assert!(refused.kind() == ErrorKind::Invalid && refused.to_string().contains("twice"), "{refused}");
    wanted.edge.to.instance = Some("sums2".to_owned());
    wanted.instances = BTreeMap::from([("sums2".to_owned(), InstanceSpec::of("tsdb"))]);
    let writing = tokio::spawn({
        let main = main.clone();
        async move { write(&main, 50..120).await }
    });
    let mut told = 0;
    let cursor = main.backfill(&wanted, &mut |records| told += records).await.unwrap();
    writing.await.unwrap();
    assert!(told > 0 && cursor.generation > 1);
    main.wait_caught_up(LONG).await.unwrap();
    let node = main.node("b").unwrap();
    assert_eq!(total(&node, "sums2").await, 2.0 * (0..120).sum::<u64>() as f64, "each record once");
    assert!(total(&node, "sums").await <= (0..120).sum::<u64>() as f64);
    assert_eq!(main.spec().unwrap().edges.len(), 2);
    assert_eq!(main.spec().unwrap().edge("count").unwrap(), &wanted.edge);
    verified(&main).await;
    // Another one has no time, and is given up: the edge goes on as it was.
    let before = main.spec().unwrap();
    wanted.edge.transform = counting("a", "b").transform;
    wanted.edge.to.instance = Some("sums3".to_owned());
    wanted.instances = BTreeMap::from([("sums3".to_owned(), InstanceSpec::of("tsdb"))]);
    wanted.timeout = Duration::ZERO;
    main.close().await.unwrap();
    let onlooker = describe(&store, "q").attach().await.unwrap();
    let late = onlooker.backfill(&wanted, &mut |_| {}).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Unavailable, "nobody owns the node: {late}");
    onlooker.cancel_backfill("count").await.unwrap();
    assert_eq!(onlooker.cancel_backfill("count").await.unwrap_err().kind(), ErrorKind::NotFound);
    let main = describe(&store, "p").open().await.unwrap();
    let node = main.node("b").unwrap();
    assert_eq!(main.spec().unwrap().edges, before.edges);
    write(&main, 120..130).await;
    main.wait_caught_up(LONG).await.unwrap();
    assert_eq!(total(&node, "sums2").await, 2.0 * (0..130).sum::<u64>() as f64);
    verified(&main).await;
    main.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn going_back_to_a_time_finds_what_logs_took_after_they_were_split_off_or_joined() {
    let store = Store::from_url("memory:").unwrap();
    let main = describe(&store, "p").open_as(&shop(&[("all", &["l", "copied", "sums"])])).await.unwrap();
    write(&main, 0..3).await;
    main.cut("before", &CutOptions::default()).await.unwrap();
    main.split("all", &parts(&[("events", &["l", "copied"]), ("metrics", &["sums"])])).await.unwrap();
    write(&main, 3..5).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let time = main.0.env.now();
    tokio::time::sleep(Duration::from_millis(20)).await;
    write(&main, 5..9).await;
    let (replayed, _) = main.restore_to(time).await.unwrap();
    assert_eq!((replayed.cut.as_str(), replayed.records), ("before", 2));
    let (records, copied, total) = state_of(&main).await;
    assert_eq!((records.len(), copied.len(), total), (5, 5, 10.0));
    main.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_broken_off_is_cancelled_or_does_not_stand_in_the_way_when_it_is_overdue() {
    let store = Store::from_url("memory:").unwrap();
    let main = describe(&store, "p").open_as(&shop(&[("all", &["l", "copied", "sums"])])).await.unwrap();
    write(&main, 0..3).await;
    main.cut("c", &CutOptions::default()).await.unwrap();
    main.fork("f", "c").await.unwrap();
    let good = parts(&[("events", &["l", "copied"]), ("metrics", &["sums"])]);
    let begun = async |shape: &str, deadline_ms: i64| {
        let places = ["events", "metrics"].map(|node| (node.to_owned(), format!("c/_shapes/{shape}/{node}")));
        let said = Said::ReshapeBegin {
            branch: MAIN.to_owned(),
            shape: shape.to_owned(),
            from: BTreeSet::from(["all".to_owned()]),
            spec: shop(&[("events", &["l", "copied"]), ("metrics", &["sums"])]),
            nodes: BTreeMap::from(places),
            deadline: main.0.env.now().plus_ms(deadline_ms),
        };
        main.control().append(said).await.unwrap();
    };
    begun("x", 3_600_000).await;
    for refused in [
        main.split("all", &good).await.unwrap_err(),
        main.promote("f", PromotePolicy::Discard).await.unwrap_err(),
        main.cut("d", &CutOptions::default()).await.unwrap_err(),
    ] {
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        assert!(refused.to_string().contains("nodes=[all], until="), "{refused}");
    }
    assert_eq!(main.cancel_under_way().await.unwrap().unwrap(), "split or join of all");
    assert_eq!(main.cancel_under_way().await.unwrap(), None);
    assert_eq!(main.state().shapes["x"].phase, ShapePhase::Swept);
    write(&main, 3..5).await;

    let deadline = main.0.env.now().plus_ms(3_600_000);
    let said = Said::PromoteBegin { fork: "f".to_owned(), policy: PromotePolicy::Discard, deadline };
    main.control().append(said).await.unwrap();
    assert!(main.split("all", &good).await.unwrap_err().to_string().contains("fork=f, until="));
    assert_eq!(main.cancel_under_way().await.unwrap().unwrap(), "promotion of f");
    write(&main, 5..7).await;

    let said = Said::CutBegin {
        cut: "late".to_owned(),
        branch: MAIN.to_owned(),
        mode: CutMode::Instant,
        deadline: main.0.env.now().plus_ms(-1),
        expires: None,
        tags: Vec::new(),
    };
    main.control().append(said).await.unwrap();
    main.split("all", &parts(&[("events", &["l"]), ("rest", &["copied", "sums"])])).await.unwrap();
    main.join(&BTreeSet::from(["events".to_owned(), "rest".to_owned()]), "all").await.unwrap();
    begun("y", -1).await;
    main.split("all", &good).await.unwrap();
    write(&main, 7..10).await;
    assert_eq!(state_of(&main).await.2, 45.0);
    verified(&main).await;
    main.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_can_be_started_while_nodes_are_being_split() {
    let store = Store::from_url("memory:").unwrap();
    let spec = shop(&[("a", &["l"]), ("b", &["copied", "sums"])]);
    let main = describe(&store, "p").open_as(&spec).await.unwrap();
    write(&main, 0..3).await;
    let places = ["copies", "metrics"].map(|node| (node.to_owned(), format!("c/_shapes/x/{node}")));
    let said = Said::ReshapeBegin {
        branch: MAIN.to_owned(),
        shape: "x".to_owned(),
        from: BTreeSet::from(["b".to_owned()]),
        spec: shop(&[("a", &["l"]), ("copies", &["copied"]), ("metrics", &["sums"])]),
        nodes: BTreeMap::from(places),
        deadline: main.0.env.now().plus_ms(2_000),
    };
    main.control().append(said).await.unwrap();
    main.close().await.unwrap();
    let again = describe(&store, "q").open().await.unwrap();
    // What is not being split is written at once, the rest when that is decided.
    append(&again.node("a").unwrap(), "3").await.unwrap();
    assert_eq!(again.node("b").unwrap_err().kind(), ErrorKind::Conflict);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    again.0.sweep().await.unwrap();
    again.wait_until(LONG, |state| state.reshaping.is_none()).await.unwrap();
    again.0.reconcile().await.unwrap();
    assert_eq!(state_of(&again).await.2, 6.0);
    again.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_taken_over_does_not_take_what_the_other_makes_of_it() {
    let store = Store::from_url("memory:").unwrap();
    let first = describe(&store, "first").open_as(&shop(&[("all", &["l", "copied", "sums"])])).await.unwrap();
    let second = describe(&store, "second").open().await.unwrap();
    let shape = parts(&[("events", &["l", "copied"]), ("metrics", &["sums"])]);
    second.split("all", &shape).await.unwrap();
    let events = second.node("events").unwrap();
    append(&events, "1").await.unwrap();
    // Several looks of the first at the control log.
    tokio::time::sleep(Duration::from_millis(200)).await;
    append(&events, "2").await.expect("nobody has taken the node");
    let owners = second.state().branch(MAIN).unwrap().owners.clone();
    assert!(owners.iter().filter(|(node, _)| *node != "all").all(|(_, owner)| owner == "second"), "{owners:?}");
    assert_eq!(first.node("events").unwrap_err().kind(), ErrorKind::Conflict);
    second.close().await.unwrap();
    // Started again it takes what it finds.
    first.close().await.unwrap();
    let first = describe(&store, "first").open().await.unwrap();
    append(&first.node("events").unwrap(), "3").await.unwrap();
    first.close().await.unwrap();
}

/// What the compactors of a slate have written down.
async fn compactions(store: &Store, path: &str) -> usize {
    let folder = store.slate_path(path).unwrap().join("compactions");
    futures::StreamExt::count(store.object_store().list(Some(&folder))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_split_or_joined_is_not_compacted_once_more() {
    let store = Store::from_url("memory:").unwrap();
    let main = describe(&store, "p").open_as(&shop(&[("all", &["l", "copied", "sums"])])).await.unwrap();
    write(&main, 0..3).await;
    let before = async |nodes: &[&str]| {
        let mut found = Vec::new();
        for node in nodes {
            let path = main.node(node).unwrap().slate().path().to_owned();
            found.push((compactions(&store, &path).await, path));
        }
        found
    };
    let whole = before(&["all"]).await;
    main.split("all", &parts(&[("events", &["l", "copied"]), ("metrics", &["sums"])])).await.unwrap();
    let apart = before(&["events", "metrics"]).await;
    main.join(&BTreeSet::from(["events".into(), "metrics".into()]), "all").await.unwrap();
    for (then, path) in whole.into_iter().chain(apart) {
        assert_eq!(compactions(&store, &path).await, then, "{path}");
    }
    main.close().await.unwrap();
}
