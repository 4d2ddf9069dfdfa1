//! A store that fails, at every call of a run of commits, sealings and reopenings.

use opendata_core::testing::{Fault, Method};

use super::*;

fn counter() -> Labels {
    labels! { "__name__" => "events_total" }
}

fn gauge(n: i64) -> Labels {
    labels! { "__name__" => "g", "n" => (n % 7).to_string() }
}

/// Every step adds one to a counter and writes a gauge in one transaction; steps seal in between.
async fn run_until_failure(bench: &Bench) -> (f64, Option<ErrorKind>) {
    let mut acknowledged = 0.0;
    for step in 0..12i64 {
        let mut tx = bench.slate.begin();
        let at = Timestamp(NOON + step * HOUR);
        tx.on(&bench.usage).add(counter(), at, 1.0).sample(gauge(step), at, 1.0);
        match tx.commit().await {
            Ok(commit) => acknowledged = commit.receipt(&bench.usage).unwrap().totals[0],
            Err(error) => return (acknowledged, Some(error.kind())),
        }
        if step % 3 == 2
            && let Err(error) = bench.slate.maintain().await
        {
            return (acknowledged, Some(error.kind()));
        }
    }
    (acknowledged, None)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_whichever_put_fails() {
    let config = Config { seal_samples: 1, seal_step_bytes: 60, ..config() };
    let mut failed = 0;
    for fault in [Fault::Error, Fault::ErrorAfterEffect] {
        for call in 0..16 {
            let (store, faults) = faulty();
            let clock = Arc::new(ManualClock::at(Timestamp(NOON)));
            let bench = Bench::open(store, config.clone(), clock).await;
            let mut puts = 0;
            faults.set_rule(move |method, path| {
                if method != Method::Put || !path.as_ref().contains("/wal/") {
                    return None;
                }
                puts += 1;
                // From some put on the store is gone.
                (puts > call).then_some(fault)
            });
            let (acknowledged, kind) = run_until_failure(&bench).await;
            failed += usize::from(kind.is_some());
            assert!(kind.is_none_or(|kind| kind == ErrorKind::OutcomeUnknown), "{kind:?}");
            faults.clear_rule();
            let bench = bench.crash().await;
            let all = bench.all().await;
            let count = |name: &str| all.get(name).map_or(0.0, |samples| f64::from_bits(samples.last().unwrap().1));
            let total = count("events_total");
            let what = format!("{fault:?} from put {call} on: {acknowledged} acknowledged, {total} stored");
            assert!(total >= acknowledged && total <= acknowledged + 1.0, "{what}");
            let gauges: usize =
                all.iter().filter(|(name, _)| name.starts_with("g{")).map(|(_, samples)| samples.len()).sum();
            assert_eq!(gauges as f64, total, "both or neither: {what}");
            let next = bench
                .write(|op| {
                    op.add(counter(), Timestamp(NOON + 100 * HOUR), 1.0);
                })
                .await;
            assert_eq!(next.totals, [total + 1.0], "{what}");
        }
    }
    assert!(failed > 10, "only {failed} runs met the fault");
}

/// A transaction of the run below, and what it does to the content.
fn step_of(step: i64, op: &mut Op, content: &mut Content) {
    let at = NOON + step * 4 * HOUR;
    if step % 5 == 4 {
        op.delete([matcher("n", MatchOp::Regex, "[1-3]")], Timestamp(at - 9 * HOUR), Timestamp(at - 4 * HOUR));
        for (_, samples) in
            content.iter_mut().filter(|(name, _)| ["1", "2", "3"].iter().any(|n| name.contains(&format!("n=\"{n}\""))))
        {
            samples.retain(|(time, _)| !(at - 9 * HOUR..=at - 4 * HOUR).contains(time));
        }
        content.retain(|_, samples| !samples.is_empty());
        return;
    }
    for n in 0..4 {
        // The newest, and one that is late by a day.
        for time in [at - DAY, at] {
            let value = (step * 10 + n) as f64;
            op.sample(gauge(n), Timestamp(time), value);
            let samples = content.entry(gauge(n).to_string()).or_default();
            samples.retain(|(other, _)| *other != time);
            samples.push((time, value.to_bits()));
            samples.sort_unstable();
        }
    }
}

/// Runs transactions and all background work until the store fails; gives the contents that may be there then.
async fn run_everything(bench: &Bench) -> (Vec<Content>, bool) {
    let mut content = Content::new();
    for step in 0..10i64 {
        let before = content.clone();
        bench.clock.set(Timestamp(NOON + step * 4 * HOUR));
        let mut tx = bench.slate.begin();
        step_of(step, tx.on(&bench.usage), &mut content);
        if tx.commit().await.is_err() {
            return (vec![before, content], true);
        }
        if step % 2 == 1 && bench.slate.maintain().await.is_err() {
            return (vec![content], true);
        }
    }
    (vec![content], false)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_dies_at_any_call_leaves_what_was_committed() {
    let rollups = crate::Resolution::ALL.map(|resolution| crate::Rollup { resolution, retention_ms: None }).to_vec();
    let config = Config { seal_samples: 1, seal_step_bytes: 60, rollups, ..config() };
    let (mut failed, mut call) = (0, 0);
    loop {
        let (store, faults) = faulty();
        let bench = Bench::open(store, config.clone(), Arc::new(ManualClock::at(Timestamp(NOON)))).await;
        let mut calls = 0;
        let fault = if call % 2 == 0 { Fault::Error } else { Fault::ErrorAfterEffect };
        faults.set_rule(move |method, _| {
            calls += usize::from(method == Method::Put);
            (calls > call).then_some(fault)
        });
        let (expected, has_failed) = run_everything(&bench).await;
        failed += usize::from(has_failed);
        faults.clear_rule();
        let bench = bench.crash().await;
        let all = bench.all().await;
        assert!(expected.contains(&all), "dead from put {call} on ({fault:?}):\n{all:?}\n{expected:?}");
        bench.clock.set(Timestamp(NOON + 30 * DAY));
        bench.slate.maintain().await.unwrap();
        assert_eq!(bench.all().await, all, "settled, dead from put {call} on");
        assert!(rollups::check(&bench, NOON + 30 * DAY).await > 0 || all.is_empty());
        assert_eq!(bench.reader().pending_deletions().await.unwrap(), 0);
        if !has_failed {
            break;
        }
        call += 1 + call / 12;
    }
    assert!(failed > 8, "only {failed} runs met the fault");
}

#[tokio::test]
async fn a_corrupt_record_is_an_error_that_names_the_key() {
    let bench = Bench::new(Config { seal_samples: 1, ..config() }).await;
    bench
        .write(|op| {
            op.sample(gauge(1), Timestamp(NOON), 1.0);
        })
        .await;
    bench.slate.maintain().await.unwrap();
    let view = bench.slate.view();
    let instance = view.instance::<Tsdb>("usage").unwrap();
    let keys = Keys::new(instance.prefix(SegmentId::CONTROL));
    let bucket = instance.config().calendar().segment(NOON).unwrap();
    for key in [keys.data(bucket, 0, 6, 0), keys.forward(bucket, 0), keys.posting(bucket, "n", "1")] {
        let good = instance.get(&key).await.unwrap().unwrap();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.to_vec();
                bad[at] ^= 1 << bit;
                // Whatever comes of it, it is an answer or an error.
                let _ = Tsdb::describe(&key, &bad);
                let _ = Tsdb::merge(&key, Some(&good), &[Bytes::from(bad)]);
            }
        }
        let cut = Tsdb::merge(&key, None, &[good.slice(..good.len() - 1)]).unwrap_err();
        assert_eq!(cut.kind(), ErrorKind::Corrupt);
        assert!(cut.message().contains(&opendata_core::Hex(&key).to_string()), "{cut}");
    }
}
