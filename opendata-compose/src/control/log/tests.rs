use super::*;
use crate::control::MAIN;
use crate::spec::{InstanceSpec, NodeSpec};
use opendata_core::testing::{Fault, FaultStore, Method};
use std::collections::BTreeMap;

async fn open(store: &Store, by: &str) -> ControlLog {
    ControlLog::open(store, "c", by, &Env::system()).await.unwrap()
}

fn apply(state: &State, node: &str) -> Said {
    let mut spec = state.branch(MAIN).unwrap().spec.clone();
    let instances = BTreeMap::from([("l".to_owned(), InstanceSpec::of("log"))]);
    spec.nodes.insert(node.to_owned(), NodeSpec { path: None, instances });
    let nodes = BTreeMap::from([(node.to_owned(), format!("c/{node}"))]);
    Said::Apply {
        branch: MAIN.to_owned(),
        spec,
        nodes,
        regenerate: BTreeMap::new(),
        generations: BTreeMap::new(),
        base: state.next,
    }
}

#[tokio::test]
async fn what_many_say_at_once_stands_in_one_order_that_all_read_alike() {
    let store = Store::from_url("memory:").unwrap();
    open(&store, "first").await.append(Said::Create).await.unwrap();
    let speakers = (0..8).map(|speaker| {
        let store = store.clone();
        async move {
            let log = open(&store, &format!("p{speaker}")).await;
            for round in 0..5 {
                let node = format!("n{speaker}-{round}");
                log.append_with(|state| Ok(Some(apply(state, &node)))).await.unwrap();
            }
        }
    });
    futures::future::join_all(speakers).await;
    let (one, two) = (open(&store, "a").await, open(&store, "b").await);
    assert_eq!(one.state(), two.state());
    assert_eq!(one.state().next, 41);
    assert_eq!(one.state().branch(MAIN).unwrap().nodes.len(), 40);
    let entries = one.entries(0).await.unwrap();
    let mut again = State::default();
    entries.iter().for_each(|entry| again.apply(entry).unwrap());
    assert_eq!(again, *one.state());
    assert_eq!(entries[0].said, Said::Create);
}

#[tokio::test]
async fn a_plan_made_on_an_older_state_is_refused_and_leaves_nothing() {
    let store = Store::from_url("memory:").unwrap();
    let (one, two) = (open(&store, "one").await, open(&store, "two").await);
    let state = one.append(Said::Create).await.unwrap();
    let planned = apply(&state, "a");
    two.append_with(|state| Ok(Some(apply(state, "b")))).await.unwrap();
    assert_eq!(one.append(planned).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(one.refresh().await.unwrap().next, 2);
    assert!(one.append(Said::Create).await.is_err());
}

#[tokio::test]
async fn an_entry_whose_put_failed_after_it_had_succeeded_is_said_once() {
    let store = Store::from_url("memory:").unwrap();
    let faults = FaultStore::new(Arc::clone(store.object_store()));
    let faulty = store.map(|_| Arc::new(faults.clone()));
    let log = open(&faulty, "one").await;
    log.append(Said::Create).await.unwrap();
    for (round, fault) in [Fault::ErrorAfterEffect, Fault::Error, Fault::ErrorAfterEffect].into_iter().enumerate() {
        let mut left = 1;
        faults.set_rule(move |method, _| (method == Method::Put && std::mem::take(&mut left) == 1).then_some(fault));
        log.append_with(|state| Ok(Some(apply(state, &format!("n{round}"))))).await.unwrap();
    }
    assert_eq!(faults.counts().faults, 3);
    let read = open(&store, "two").await;
    assert_eq!(read.state().next, 4);
    assert_eq!(read.state(), log.state());
}
