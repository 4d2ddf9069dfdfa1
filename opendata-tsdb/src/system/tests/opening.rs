//! What a process that has nothing in memory asks of the store before it has its first answer.

use std::time::Duration;

use opendata_core::testing::Fault;
use tokio::time::Instant;

use super::*;
use crate::promql::Value;

/// How long a request takes, on a clock that stands still between them: the time that went by counts requests that waited
/// for each other.
const LATENCY: Duration = Duration::from_secs(1);

/// A hundred counters, a sample every 15 seconds for two hours. The last ten minutes are not sealed.
async fn written() -> Store {
    let (store, _) = faulty();
    let config = Config { seal_samples: 100, ..config() };
    let bench = Bench::open(store, config, Arc::new(ManualClock::at(Timestamp(NOON)))).await;
    for step in 0..480 {
        let at = Timestamp(NOON - 2 * HOUR + step * 15_000);
        let write = |op: &mut Op| {
            for n in 0..100 {
                let labels = labels! { "__name__" => "c", "job" => (n % 5).to_string(), "n" => n.to_string() };
                op.sample(labels, at, (step * 10 + n) as f64);
            }
        };
        bench.write(write).await;
        if step == 439 {
            bench.slate.maintain().await.unwrap();
            bench.slate.flush_files().await.unwrap();
        }
    }
    bench.slate.close().await.unwrap();
    bench.store
}

#[tokio::test]
async fn a_first_query_asks_the_store_in_few_rounds() {
    let store = written().await;
    tokio::time::pause();
    let slow = FaultStore::new(Arc::clone(store.object_store()));
    slow.set_rule(|_, _| Some(Fault::Slow(LATENCY)));
    let counted = slow.clone();
    let store = store.map(|_| Arc::new(slow)).with_cold_cache();
    let started = Instant::now();
    let slate = SlateReader::builder(&store, "slate").register::<Tsdb>().open(At::Latest).await.unwrap();
    let (opened, rounds) = (counted.counts(), started.elapsed().as_secs());
    assert!(opened.gets <= 12 && rounds == 3, "opening, {rounds} rounds: {opened:?}");
    let reader = slate.view().get_reader::<Tsdb>("usage").unwrap();
    let (start, end) = (Timestamp(NOON - HOUR), Timestamp(NOON - 15_000));
    let found = reader.query_range("sum by (job) (rate(c[5m]))", start, end, 60_000).await.unwrap();
    assert!(matches!(found.value, Value::Matrix(series) if series.len() == 5));
    let (asked, rounds) = (counted.counts(), started.elapsed().as_secs());
    assert!(asked.gets <= 14 && rounds <= 4, "with the query, {rounds} rounds: {asked:?}");
}
