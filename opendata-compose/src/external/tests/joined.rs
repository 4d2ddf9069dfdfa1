//! Compositions whose nodes are joined by edges.

use super::*;
use crate::control::{CutMode, ResetTo};
use crate::edge::EdgeSpec;
use crate::external::Token;

pub(super) const LONG: Duration = Duration::from_secs(20);

/// Nodes with a log each, and edges between those.
pub(super) fn joined(nodes: &[&str], edges: &[(&str, &str)]) -> Composition {
    let edges = edges.iter().map(|(from, to)| EdgeSpec::new(&format!("{from}-{to}"), (from, "l"), (to, "l")));
    Composition { edges: edges.collect(), ..composition(nodes) }
}

pub(super) async fn write(main: &ExternalComposite, node: &str, payload: &str) -> Token {
    let position = append(&main.node(node).unwrap(), payload).await.unwrap();
    Token { node: node.to_owned(), position }
}

async fn past(main: &ExternalComposite, cut: &str, node: &str) -> Vec<String> {
    let reader = main.at(cut).await.unwrap().on::<Log>(node, "l").unwrap();
    let records = reader.scan_all(..).await.unwrap().collect().await.unwrap();
    records.iter().map(|record| String::from_utf8_lossy(&record.payload).into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_is_read_through_edges_with_a_token() {
    let store = Store::from_url("memory:").unwrap();
    let spec = joined(&["a", "b", "c", "d"], &[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]);
    let main = describe(&store, "p").open_as(&spec).await.unwrap();
    let token = write(&main, "a", "x").await;
    main.wait_for(&token, "d", LONG).await.unwrap();
    assert_eq!(payloads(&main.node("d").unwrap()).await, ["x", "x"], "by both ways");
    let error = main.wait_for(&Token { node: "d".into(), ..token.clone() }, "a", LONG).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    main.pause("b-d").await.unwrap();
    let later = write(&main, "a", "y").await;
    let error = main.wait_for(&later, "d", Duration::from_millis(300)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("edge=b-d"), "{error}");
    main.resume("b-d").await.unwrap();
    main.wait_for(&later, "d", LONG).await.unwrap();
    main.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_under_load_are_consistent_on_chains_diamonds_and_cycles() {
    for (nodes, edges) in [
        (&["a", "b", "c"][..], &[("a", "b"), ("b", "c")][..]),
        (&["a", "b", "c", "d"], &[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]),
        (&["a", "b", "c"], &[("a", "b"), ("b", "c"), ("c", "b")]),
    ] {
        let store = Store::from_url("memory:").unwrap();
        let is_cycle = edges.contains(&("c", "b"));
        let mut spec = joined(nodes, edges);
        if is_cycle {
            // What came round once goes no further.
            let back = spec.edges.iter_mut().find(|edge| edge.id == "c-b").unwrap();
            *back = back.clone().transform([crate::edge::spec::Step::Filter("false".into())]);
        }
        let main = describe(&store, "p").open_as(&spec).await.unwrap();
        let writer = tokio::spawn({
            let node = main.node("a").unwrap();
            async move {
                for round in 0..300 {
                    append(&node, &format!("{round}")).await.unwrap();
                }
            }
        });
        for round in 0..4 {
            let mode = if round % 2 == 0 { CutMode::Instant } else { CutMode::Aligned };
            let name = format!("cut{round}");
            let cut = main.cut(&name, &CutOptions { mode, ..CutOptions::default() }).await.unwrap();
            let (a, b) = (past(&main, &name, "a").await, past(&main, &name, "b").await);
            assert!(b.len() <= a.len() && a.starts_with(&b), "{mode:?} {nodes:?}: {} of {}", b.len(), a.len());
            if mode == CutMode::Aligned {
                for (id, edge) in cut.edges.iter().filter(|(id, _)| *id != "c-b") {
                    assert_eq!(edge.next, Some(edge.head.next()), "edge {id} stands at the barrier");
                }
                assert_eq!(a, b, "every node reflects the same prefix");
            }
        }
        writer.await.unwrap();
        main.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_goes_on_where_the_cut_was_and_its_edges_never_reach_main() {
    let store = Store::from_url("memory:").unwrap();
    let main = describe(&store, "p").open_as(&joined(&["a", "b"], &[("a", "b")])).await.unwrap();
    let first = write(&main, "a", "one").await;
    main.wait_for(&first, "b", LONG).await.unwrap();
    main.pause("a-b").await.unwrap();
    write(&main, "a", "two").await;
    main.cut("c", &CutOptions::default()).await.unwrap();
    main.fork("f", "c").await.unwrap();
    let fork = describe(&store, "q").branch("f").open().await.unwrap();
    // What was in flight in the cut arrives in the fork, once.
    fork.wait_caught_up(LONG).await.unwrap();
    let forked = write(&fork, "a", "forked").await;
    fork.wait_for(&forked, "b", LONG).await.unwrap();
    assert_eq!(payloads(&fork.node("b").unwrap()).await, ["one", "two", "forked"]);
    main.resume("a-b").await.unwrap();
    main.wait_caught_up(LONG).await.unwrap();
    assert_eq!(payloads(&main.node("b").unwrap()).await, ["one", "two"]);

    let last = write(&main, "a", "three").await;
    main.wait_for(&last, "b", LONG).await.unwrap();
    let promoted = main.promote("f", PromotePolicy::Rebase).await.unwrap();
    assert_eq!(promoted.rebased, 1);
    main.wait_caught_up(LONG).await.unwrap();
    assert_eq!(payloads(&main.node("b").unwrap()).await, ["one", "two", "forked", "three"]);
    fork.close().await.unwrap();
    main.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_own_different_nodes_run_their_edges_and_align() {
    let store = Store::from_url("memory:").unwrap();
    let spec = joined(&["a", "b", "c"], &[("a", "b"), ("b", "c")]);
    let one = describe(&store, "one").own(only(&["a"])).open_as(&spec).await.unwrap();
    let two = describe(&store, "two").own(only(&["b"])).open().await.unwrap();
    let three = describe(&store, "three").own(only(&["c"])).open().await.unwrap();
    for round in 0..20 {
        append(&one.node("a").unwrap(), &round.to_string()).await.unwrap();
    }
    let token = write(&one, "a", "last").await;
    let waited = three.wait_for(&token, "c", Duration::from_secs(5)).await;
    assert!(waited.is_ok(), "{waited:?}, {:?}, {:?}", three.edges(), two.edges());
    assert_eq!(payloads(&three.node("c").unwrap()).await.len(), 21);
    two.cut("aligned", &CutOptions::aligned()).await.unwrap();
    assert_eq!(past(&one, "aligned", "c").await.len(), 21);
    // An owner that is gone does not keep the others from cutting.
    three.0.stop.send_replace(true);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let options = CutOptions { timeout: Duration::from_secs(4), ..CutOptions::aligned() };
    two.cut("without", &options).await.unwrap();
    for it in [one, two] {
        it.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_is_not_set_to_a_place_that_its_source_does_not_have() {
    let store = Store::from_url("memory:").unwrap();
    let main = describe(&store, "p").open_as(&joined(&["a", "b"], &[("a", "b")])).await.unwrap();
    let first = write(&main, "a", "x").await;
    main.wait_for(&first, "b", LONG).await.unwrap();
    let onlooker = describe(&store, "q").attach().await.unwrap();
    let nowhere = ResetTo::Position(Position(1 << 40));
    for refused in [onlooker.reset("a-b", nowhere).await, onlooker.reset_again("a-b", nowhere).await] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert!(main.control().refresh().await.unwrap().branch(MAIN).unwrap().edges["a-b"].start.is_none());
    let second = write(&main, "a", "y").await;
    main.wait_for(&second, "b", LONG).await.unwrap();
    main.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_is_paused_reset_changed_and_taken_out_without_touching_the_others() {
    let store = Store::from_url("memory:").unwrap();
    let spec = joined(&["a", "b", "c"], &[("a", "b"), ("a", "c")]);
    let main = describe(&store, "p").open_as(&spec).await.unwrap();
    let first = write(&main, "a", "x").await;
    main.wait_for(&first, "b", LONG).await.unwrap();
    main.wait_for(&first, "c", LONG).await.unwrap();
    assert_eq!(
        main.reset("a-b", ResetTo::Start).await.unwrap_err().kind(),
        ErrorKind::Conflict,
        "it would be there twice"
    );
    main.reset_again("a-b", ResetTo::Start).await.unwrap();
    main.wait_caught_up(LONG).await.unwrap();
    let second = write(&main, "a", "y").await;
    main.wait_for(&second, "b", LONG).await.unwrap();
    assert_eq!(payloads(&main.node("b").unwrap()).await, ["x", "x", "y"], "read again from the start");

    let mut changed = spec.clone();
    changed.edges[0] = changed.edges[0].clone().transform([crate::edge::spec::Step::Filter("false".into())]);
    let plan = main.plan(&changed).await.unwrap();
    assert_eq!(plan.to_string(), "~ edge a-b: a new generation, reads 0 records again, exactly once");
    main.apply(&plan).await.unwrap();
    let third = write(&main, "a", "z").await;
    main.wait_for(&third, "b", LONG).await.unwrap();
    main.wait_for(&third, "c", LONG).await.unwrap();
    assert_eq!(payloads(&main.node("b").unwrap()).await, ["x", "x", "y"]);
    assert_eq!(payloads(&main.node("c").unwrap()).await, ["x", "y", "z"]);

    changed.edges.remove(0);
    let plan = main.plan(&changed).await.unwrap();
    assert_eq!(plan.to_string(), "- edge a-b: its cursor stays");
    main.apply(&plan.allow_loss()).await.unwrap();
    assert_eq!(main.edges().keys().collect::<Vec<_>>(), ["a-c"]);
    main.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_held_for_the_edges_that_read_it_and_let_go_of_when_they_are_taken_out() {
    let store = Store::from_url("memory:").unwrap();
    let spec = joined(&["a", "b"], &[("a", "b")]);
    let one = describe(&store, "one").own(only(&["a"])).open_as(&spec).await.unwrap();
    let two = describe(&store, "two").own(only(&["b"])).open().await.unwrap();
    let token = write(&one, "a", "x").await;
    two.wait_for(&token, "b", LONG).await.unwrap();
    let held = async || {
        one.0.hold_sources().await.unwrap();
        let cursors = one.node("a").unwrap().view().get_reader::<Log>("l").unwrap().cursors().await.unwrap();
        cursors.values().map(|cursor| cursor.position).collect::<Vec<_>>()
    };
    assert_eq!(held().await, [token.position.next()]);
    one.apply(&one.plan(&composition(&["a", "b"])).await.unwrap().allow_loss()).await.unwrap();
    assert_eq!(held().await, []);
    for it in [one, two] {
        it.close().await.unwrap();
    }
}
