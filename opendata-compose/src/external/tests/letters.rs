//! Letters that are looked after beside whoever owns the node they lie in.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::joined::{LONG, joined, write};
use super::*;
use crate::edge::Letter;
use crate::edge::spec::Step;

async fn letters(composite: &ExternalComposite) -> usize {
    let view = composite.reader("b").await.unwrap().view();
    Letter::list(&view, "l", "a-b", None, 10).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_replaced_while_it_drops_letters_opens_the_node_again() {
    let store = Store::from_url("memory:").unwrap();
    let mut spec = joined(&["a", "b"], &[("a", "b")]);
    spec.edges[0] = spec.edges[0].clone().transform([Step::Filter("payload.n > 0".into())]);
    let main = describe(&store, "p").open_as(&spec).await.unwrap();
    for _ in 0..3 {
        write(&main, "a", "no json").await;
    }
    let token = write(&main, "a", r#"{"n": 1}"#).await;
    main.wait_for(&token, "b", LONG).await.unwrap();
    let other = describe(&store, "q").attach().await.unwrap();
    assert_eq!(letters(&other).await, 3);
    let unknown = other.drop_letters("b-a", |_| true).await.unwrap_err();
    assert!(unknown.kind() == ErrorKind::NotFound && unknown.to_string().contains("edges=[a-b]"), "{unknown}");

    // Beside an owner that takes its node back whenever it loses it.
    for _ in 0..3 {
        let replayed = other.replay_letters("a-b", |_| true).await.unwrap();
        assert_eq!((replayed.removed, replayed.kept), (0, 3));
    }
    let own = main.replay_letters("a-b", |_| true).await;
    assert!(own.as_ref().is_ok_and(|own| own.kept == 3), "{own:?}");
    main.close().await.unwrap();

    // Another takes the node in the middle, twice.
    let path = other.state().branch(MAIN).unwrap().nodes["b"].clone();
    let rivals = AtomicU32::new(0);
    let choose = |_: &Letter| {
        if rivals.fetch_add(1, Ordering::Relaxed) < 2 {
            let rival = InternalComposite::builder(&store, &path).settings(settings()).register::<Log>().open();
            block_in_place(|| Handle::current().block_on(async { rival.await.unwrap().close().await.unwrap() }));
        }
        true
    };
    let dropped = other.drop_letters("a-b", choose).await.unwrap();
    assert_eq!((dropped.removed, dropped.kept), (3, 0));
    assert!(rivals.load(Ordering::Relaxed) > 4, "nobody was in between");
    assert_eq!(letters(&other).await, 0);
    let main = describe(&store, "p").open().await.unwrap();

    assert_eq!(payloads(&main.node("b").unwrap()).await, [r#"{"n": 1}"#]);
    main.close().await.unwrap();
}
