//! `add`: a total that is never lost and never changes the past.

use super::*;

fn counter() -> Labels {
    labels! { "__name__" => "tokens_total", "tenant" => "7" }
}

const NAME: &str = "tokens_total{tenant=\"7\"}";

async fn add(bench: &Bench, time: i64, delta: f64) -> f64 {
    bench
        .write(|op| {
            op.add(counter(), Timestamp(time), delta);
        })
        .await
        .totals[0]
}

#[tokio::test]
async fn adds_accumulate_in_a_transaction_a_group_and_across_groups() {
    let bench = Bench::new(config()).await;
    let receipt = bench
        .write(|op| {
            op.add(counter(), Timestamp(NOON), 1.0).add(counter(), Timestamp(NOON), 2.0);
        })
        .await;
    assert_eq!(receipt.totals, [1.0, 3.0]);
    let mut waiting = Vec::new();
    for _ in 0..200 {
        let mut tx = bench.slate.begin();
        tx.on(&bench.usage).add(counter(), Timestamp(NOON + 1), 0.5);
        waiting.push(tx.submit(Ack::Written).await.unwrap());
    }
    for pending in waiting {
        pending.wait().await.unwrap();
    }
    assert_eq!(add(&bench, NOON + 2, 1.0).await, 104.0);
    assert_eq!(bench.all().await, expected(&[(NAME, &[(NOON, 3.0), (NOON + 1, 103.0), (NOON + 2, 104.0)])]));
}

#[tokio::test]
async fn a_late_add_goes_to_the_newest_sample_and_leaves_the_past_alone() {
    let bench = Bench::new(config()).await;
    add(&bench, NOON, 10.0).await;
    add(&bench, NOON + DAY, 5.0).await;
    assert_eq!(add(&bench, NOON - DAY, 2.0).await, 17.0);
    assert_eq!(add(&bench, NOON + 1, 1.0).await, 18.0);
    assert_eq!(bench.all().await, expected(&[(NAME, &[(NOON, 10.0), (NOON + DAY, 18.0)])]));
}

#[tokio::test]
async fn a_total_goes_on_after_reopening_sealing_and_long_silence() {
    let mut bench = Bench::new(Config { seal_samples: 1, ..config() }).await;
    let mut total = 0.0;
    let mut last = NOON;
    for (step, pause) in [1, DAY, 1, 40 * DAY, HOUR, 3 * DAY].into_iter().enumerate() {
        last += pause;
        total += 1.0;
        assert_eq!(add(&bench, last, 1.0).await, total, "step {step}");
        if step % 2 == 0 {
            bench.slate.maintain().await.unwrap();
        }
        bench = bench.reopen().await;
        // Other metrics fill other buckets meanwhile.
        bench
            .write(|op| {
                op.sample(labels! { "a" => "b" }, Timestamp(last + DAY), 1.0);
            })
            .await;
    }
    let series = bench.all().await.remove(NAME).unwrap();
    assert_eq!(series.last(), Some(&(last, total.to_bits())));
    assert!(series.is_sorted_by_key(|(_, bits)| f64::from_bits(*bits)));
}

#[tokio::test]
async fn an_add_goes_on_from_samples_written_before_it() {
    for sealed in [false, true] {
        let mut bench = Bench::new(Config { seal_samples: 1, ..config() }).await;
        bench
            .write(|op| {
                op.sample(counter(), Timestamp(NOON - 20 * DAY), 100.0);
            })
            .await;
        bench
            .write(|op| {
                op.sample(labels! { "a" => "b" }, Timestamp(NOON - 3 * DAY), 1.0);
            })
            .await;
        if sealed {
            bench.slate.maintain().await.unwrap();
        }
        bench = bench.reopen().await;
        assert_eq!(add(&bench, NOON, 1.0).await, 101.0);
        // A sample sets the counter, one at an older time does not.
        bench
            .write(|op| {
                op.sample(counter(), Timestamp(NOON + 1), 7.0).sample(counter(), Timestamp(NOON - 1), 9.0);
            })
            .await;
        assert_eq!(add(&bench, NOON, 1.0).await, 8.0);
        let both = bench
            .write(|op| {
                op.sample(counter(), Timestamp(NOON + DAY), 50.0).add(counter(), Timestamp(NOON), 1.0);
            })
            .await;
        assert_eq!(both.totals, [51.0]);
    }
}

#[tokio::test]
async fn nan_and_stale_markers_are_no_numbers() {
    let bench = Bench::new(config()).await;
    add(&bench, NOON, 5.0).await;
    bench
        .write(|op| {
            op.sample(counter(), Timestamp(NOON + 10), STALE_NAN).sample(counter(), Timestamp(NOON + 20), f64::NAN);
        })
        .await;
    assert_eq!(add(&bench, NOON + 5, 1.0).await, 6.0);
    assert_eq!(bench.all().await.remove(NAME).unwrap().last(), Some(&(NOON + 20, 6f64.to_bits())));
    // A number that was overwritten by a marker is gone; the one before it counts.
    bench
        .write(|op| {
            op.sample(counter(), Timestamp(NOON + 20), STALE_NAN);
        })
        .await;
    assert_eq!(add(&bench, NOON + 30, 1.0).await, 6.0);
    let bench = bench.reopen().await;
    bench
        .write(|op| {
            op.sample(counter(), Timestamp(NOON + 30), STALE_NAN);
        })
        .await;
    assert_eq!(add(&bench, NOON + 30, 1.0).await, 6.0);
}

#[tokio::test]
async fn only_finite_numbers_are_added_and_a_refused_add_counts_nothing() {
    let bench = Bench::new(config()).await;
    add(&bench, NOON, 5.0).await;
    for delta in [f64::NAN, f64::INFINITY] {
        let refused = bench.try_write(|op| {
            op.add(counter(), Timestamp(NOON), 1.0).add(counter(), Timestamp(NOON), delta);
        });
        assert_eq!(refused.await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(add(&bench, NOON, -1.0).await, 4.0);
}

#[tokio::test]
async fn a_counter_begins_anew_once_retention_has_dropped_it() {
    let config = Config { retention_ms: Some(3 * u64::try_from(DAY).unwrap()), ..config() };
    let bench = Bench::new(config).await;
    add(&bench, NOON, 5.0).await;
    bench.clock.set(Timestamp(NOON + 6 * DAY));
    bench.slate.maintain().await.unwrap();
    assert_eq!(add(&bench, NOON + 6 * DAY, 1.0).await, 1.0);
    assert_eq!(bench.all().await, expected(&[(NAME, &[(NOON + 6 * DAY, 1.0)])]));
}
