//! A store whose reads fail, from every call on: queries, sealing, and transactions that have to read.

use opendata_core::testing::{Fault, Method};

use super::*;

fn gauge(n: i64) -> Labels {
    labels! { "__name__" => "g", "n" => n.to_string() }
}

fn counter() -> Labels {
    labels! { "__name__" => "c" }
}

async fn written(store: Store) -> Bench {
    let config = Config { seal_samples: 1, seal_step_bytes: 60, ..config() };
    let bench = Bench::open(store, config, Arc::new(ManualClock::at(Timestamp(NOON)))).await;
    for step in 0..6 {
        let at = Timestamp(NOON + step * 5 * HOUR);
        bench.clock.set(at);
        bench
            .write(|op| {
                for n in 0..3 {
                    op.sample(gauge(n), at, (step * 10 + n) as f64);
                }
                op.add(counter(), at, 1.0);
            })
            .await;
        if step % 2 == 0 {
            bench.slate.maintain().await.unwrap();
            bench.slate.flush_files().await.unwrap();
        }
    }
    bench.slate.flush_files().await.unwrap();
    bench
}

/// Reads, seals and writes while the store may fail. Returns whether anything failed, and whether the write was acknowledged.
async fn use_it(bench: &Bench, before: &Content) -> (bool, bool) {
    let mut failed = false;
    for _ in 0..2 {
        match bench.reader().select(&[], i64::MIN, i64::MAX).await {
            Ok(series) => assert_eq!(by_name(series), *before, "an answer that is wrong"),
            Err(error) => {
                failed = true;
                assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::OutcomeUnknown), "{error:?}");
            }
        }
    }
    let mut tx = bench.slate.begin();
    // The counter's newest number has to be looked for, and the series' bucket.
    tx.on(&bench.usage).add(counter(), Timestamp(NOON + 40 * HOUR), 1.0).sample(gauge(9), Timestamp(NOON), 9.0);
    let acknowledged = tx.commit().await.is_ok();
    failed |= !acknowledged;
    failed |= bench.slate.maintain().await.is_err();
    (failed, acknowledged)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_fail_lose_nothing_and_show_nothing_wrong() {
    let (mut call, mut met) = (0, 0);
    loop {
        let (store, faults) = faulty();
        let bench = written(store).await;
        let before = bench.all().await;
        bench.slate.close().await.unwrap();
        let cold = bench.store.with_cold_cache();
        let bench = Bench::open(cold, bench.config.clone(), Arc::clone(&bench.clock)).await;
        let mut gets = 0;
        faults.set_rule(move |method, path| {
            // The engine looks at manifests all the time, at its own pace.
            if method != Method::Get || !path.as_ref().contains("/compacted/") {
                return None;
            }
            gets += 1;
            (gets > call).then_some(Fault::Error)
        });
        let (failed, acknowledged) = use_it(&bench, &before).await;
        faults.clear_rule();
        let bench = bench.crash().await;
        let after = bench.all().await;
        let is_written = after.values().any(|samples| samples.contains(&(NOON, 9f64.to_bits())));
        assert!(is_written || !acknowledged, "acknowledged and lost, reads dead from {call} on");
        let total = after["c"].iter().map(|(_, bits)| f64::from_bits(*bits)).fold(0.0, f64::max);
        assert_eq!(total, if is_written { 7.0 } else { 6.0 }, "reads dead from {call} on");
        let mut rest = after.clone();
        if is_written {
            rest.retain(|series, _| !series.contains("n=\"9\""));
            rest.get_mut("c").unwrap().pop();
        }
        assert_eq!(rest, before, "reads dead from {call} on");
        bench.slate.maintain().await.unwrap();
        assert_eq!(bench.all().await, after, "settled, reads dead from {call} on");
        met += usize::from(failed);
        if !failed {
            break;
        }
        call += 1 + call / 6;
    }
    assert!(met > 5, "only {met} runs met the fault");
}
