//! Crashes: the store of sink or source fails at its n-th call, for every n that a run has, and in the end every record was counted once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opendata_compose::Store;
use opendata_compose::edge::{EdgeSpec, SourceAt};
use opendata_core::slate::Slate;
use opendata_core::testing::{Fault, FaultStore, Method};

use super::bed::{PATIENCE, adding, append, caught_up, counter, edge, memory, open, payloads, start_at};

const RECORDS: u64 = 40;

/// A store whose n-th call fails; if it lasts, so do all behind it until it is healed.
fn breaking(memory: &Store, n: u64, fault: Fault, lasts: bool) -> (Store, FaultStore, Arc<AtomicU64>) {
    let faulty = FaultStore::new(Arc::clone(memory.object_store()));
    let calls = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&calls);
    faulty.set_rule(move |_: Method, _| {
        let call = seen.fetch_add(1, Ordering::SeqCst);
        match call.cmp(&n) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => Some(fault),
            std::cmp::Ordering::Greater => lasts.then_some(Fault::Error),
        }
    });
    (memory.map(|_| Arc::new(faulty.clone())), faulty, calls)
}

/// Runs an edge into a sink on a breaking store for a while, then on the healed one to the end.
async fn crash_the_sink(spec: &EdgeSpec, fault: Fault, lasts: bool, check: impl AsyncFn(&Store, &Slate, u64)) {
    for n in 0..600 {
        let memory = memory();
        let source = open(&memory, "source").await.unwrap();
        let position = append(&source, "s", 0..RECORDS).await;
        let (store, faulty, calls) = breaking(&memory, n, fault, lasts);
        let at = || SourceAt::Path(memory.clone(), "source".to_owned());
        let run = async {
            let Ok(sink) = open(&store, "sink").await else { return };
            let Ok(running) = opendata_compose::edge::Edge::start(opendata_compose::edge::EdgeParts::new(
                spec.clone(),
                at(),
                sink.clone(),
            )) else {
                return;
            };
            let mut watch = running.watch();
            let done = watch.wait_for(|status| status.applied > position || status.state.is_over());
            let _ = tokio::time::timeout(Duration::from_millis(if lasts { 300 } else { 2_000 }), done).await;
            let _ = tokio::time::timeout(PATIENCE, running.stop()).await;
            let _ = tokio::time::timeout(PATIENCE, sink.close()).await;
        };
        tokio::time::timeout(PATIENCE, run).await.unwrap_or_else(|_| panic!("call {n}: hangs"));
        faulty.clear_rule();
        let sink = open(&memory, "sink").await.unwrap_or_else(|error| panic!("call {n}: {error:?}"));
        let running = start_at(spec, at(), &sink);
        caught_up(&running, position).await;
        running.stop().await;
        check(&memory, &sink, n).await;
        sink.close().await.unwrap();
        source.close().await.unwrap();
        if calls.load(Ordering::SeqCst) <= n {
            assert!(n > 5, "the store was called {n} times only");
            return;
        }
    }
    panic!("the run has more calls than were tried");
}

fn small(mut spec: EdgeSpec) -> EdgeSpec {
    spec.batch.max_records = 7;
    spec
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_whose_store_dies_at_any_call_counts_each_record_once() {
    crash_the_sink(&small(adding("add")), Fault::Error, true, async |_, sink, n| {
        let (records, total) = (counter(sink, "records").await, counter(sink, "total").await);
        assert_eq!((records, total), (RECORDS as f64, (0..RECORDS).sum::<u64>() as f64), "call {n}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_whose_store_fails_after_the_effect_at_any_call_has_each_record_once_and_in_order() {
    let expected: Vec<String> = (0..RECORDS).map(|n| format!("{{\"n\": {n}}}")).collect();
    crash_the_sink(&small(edge("copy", "log")), Fault::ErrorAfterEffect, false, async |store, _, n| {
        assert_eq!(payloads(store, "sink").await, expected, "call {n}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_whose_store_fails_at_any_call_is_read_on() {
    for n in 0..400 {
        let memory = memory();
        let source = open(&memory, "source").await.unwrap();
        append(&source, "s", 0..RECORDS / 2).await;
        let (store, _faulty, calls) = breaking(&memory, n, Fault::Error, false);
        let sink = open(&memory, "sink").await.unwrap();
        let running = start_at(&small(adding("add")), SourceAt::Path(store, "source".to_owned()), &sink);
        let position = append(&source, "s", RECORDS / 2..RECORDS).await;
        caught_up(&running, position).await;
        running.stop().await;
        assert_eq!(counter(&sink, "records").await, RECORDS as f64, "call {n}");
        sink.close().await.unwrap();
        source.close().await.unwrap();
        if calls.load(Ordering::SeqCst) <= n {
            assert!(n > 5, "the store was called {n} times only");
            return;
        }
    }
}
