//! Preparing the next bucket.

use super::*;

fn series(n: i64) -> Labels {
    labels! { "__name__" => "m", "n" => format!("{n:03}") }
}

async fn write(bench: &Bench, ids: impl Iterator<Item = i64>, at: i64) -> u64 {
    let receipt = bench
        .write(|op| {
            ids.for_each(|n| {
                op.sample(series(n), Timestamp(at), 1.0);
            });
        })
        .await;
    receipt.new_series
}

#[tokio::test]
async fn the_next_bucket_is_ready_before_it_begins() {
    let mut bench = Bench::new(config()).await;
    let midnight = NOON + 12 * HOUR;
    // Written in an order that is not that of the labels.
    assert_eq!(write(&bench, (0..200).rev(), NOON).await, 200);
    bench.clock.set(Timestamp(midnight - 2 * HOUR));
    bench.slate.maintain().await.unwrap();
    assert_eq!(bench.reader().buckets().await.unwrap().len(), 1, "too early");
    // The rest of what is older than half an hour is sealed; what is written now is what counts.
    bench.clock.set(Timestamp(midnight - HOUR / 2));
    assert_eq!(write(&bench, (0..150).rev(), midnight - HOUR / 2).await, 0);
    bench.slate.maintain().await.unwrap();
    let buckets = bench.reader().buckets().await.unwrap();
    let counts: Vec<_> = buckets.iter().map(|bucket| bucket.series).collect();
    assert_eq!(counts, [200, 150]);
    let before = bench.all().await;
    bench = bench.crash().await;
    assert_eq!(bench.all().await, before);
    bench.clock.set(Timestamp(midnight));
    assert_eq!(write(&bench, 100..160, midnight).await, 10, "only those that were not prepared are new");
    let view = bench.slate.view().instance::<Tsdb>("usage").unwrap();
    let next = view.config().calendar().segment(midnight).unwrap();
    let index = Index { view: view.view().clone(), keys: Keys::new(view.prefix(SegmentId::CONTROL)) };
    let stored = index.series(next).await.unwrap();
    let labels: Vec<_> = stored.iter().take(150).map(|entry| entry.labels.clone()).collect();
    assert!(labels.is_sorted() && labels.len() == 150, "in the order of the labels");
    assert_eq!(bench.all().await.len(), 200);
}

#[tokio::test]
async fn a_series_that_comes_later_is_prepared_in_the_next_round() {
    let bench = Bench::new(config()).await;
    let midnight = NOON + 12 * HOUR;
    let prepared = async |at: i64, n: i64| {
        bench.clock.set(Timestamp(at));
        write(&bench, n..n + 1, at).await;
        bench.slate.maintain().await.unwrap();
        bench.reader().buckets().await.unwrap().get(1).map(|bucket| bucket.series)
    };
    assert_eq!(prepared(midnight - 50 * 60_000, 1).await, Some(1));
    assert_eq!(prepared(midnight - 49 * 60_000, 2).await, Some(1));
    assert_eq!(prepared(midnight - 39 * 60_000, 3).await, Some(3));
}

#[tokio::test]
async fn transactions_that_meet_in_a_new_bucket_give_each_series_one_id() {
    let bench = Bench::new(config()).await;
    let mut waiting = Vec::new();
    for writer in 0..20 {
        let mut tx = bench.slate.begin();
        for n in 0..30 {
            tx.on(&bench.usage).sample(series((n * 7 + writer) % 30), Timestamp(NOON + writer), 1.0);
        }
        waiting.push(tx.submit(Ack::Written).await.unwrap());
    }
    let mut new = 0;
    for pending in waiting {
        new += pending.wait().await.unwrap().receipt(&bench.usage).unwrap().new_series;
    }
    assert_eq!(new, 30);
    let all = bench.all().await;
    assert!(all.len() == 30 && all.values().all(|samples| samples.len() == 20));
}
