//! A query from a freshly opened reader, over a store that takes 50 ms for every call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opendata_core::Timestamp;
use opendata_core::slate::{At, SlateReader};
use opendata_core::testing::{Fault, FaultStore};
use opendata_tsdb::{Config, Reader, Tsdb};

use super::data::{counter, counters, times};
use super::ingest::write;
use super::{Figure, Plan, open_as, row, store};

const LATENCY: Duration = Duration::from_millis(50);
const QUERY: &str = "sum by (job) (rate(http_requests_total[5m]))";

pub(crate) async fn cold(plan: &Plan) {
    println!("\ncold: a freshly opened reader, 1,000 series, a store with {} ms latency", LATENCY.as_millis());
    let dir = plan.dir.join("cold");
    let series = counters(1000);
    let at = times(5000);
    // Sealed as it would be after half an hour, which nobody waits for here.
    let config = Config { seal_samples: 1_000_000, ..Config::default() };
    let (slate, metrics) = open_as(&store(&dir), config).await;
    write(&slate, &metrics, |block, op| {
        let block = block * 200..(block * 200 + 200).min(at.len());
        for (n, labels) in series.iter().enumerate().take(if block.is_empty() { 0 } else { series.len() }) {
            let samples: Vec<_> = block.clone().map(|step| (at[step], counter(n, step))).collect();
            op.samples(labels.clone(), &samples);
        }
        !block.is_empty()
    })
    .await;
    slate.maintain().await.unwrap();
    slate.flush_files().await.unwrap();
    // What is not sealed yet, as it would be at any time.
    let next = Timestamp(at[at.len() - 1].0 + 15_000);
    write(&slate, &metrics, |step, op| {
        for (n, labels) in series.iter().enumerate().take(if step < 20 { series.len() } else { 0 }) {
            op.sample(labels.clone(), Timestamp(next.0 + step as i64 * 15_000), counter(n, at.len() + step));
        }
        step < 20
    })
    .await;
    // Until background work has given back what was sealed, as it does all the time.
    let begun = Instant::now();
    while slate.stats().segments_condensed == 0 && begun.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    println!(
        "  {} segments condensed, {} bytes in files",
        slate.stats().segments_condensed,
        slate.files().await.unwrap().sorted.bytes
    );
    slate.close().await.unwrap();
    for (what, hours) in [("over 1 h at 60 s", 1), ("again, on the same reader", 0), ("over 20 h at 60 s", 20)] {
        let counted = std::sync::OnceLock::new();
        let slow = store(&dir).map(|inner| {
            let wrapped = FaultStore::new(inner);
            let _ = counted.set(wrapped.clone());
            Arc::new(wrapped)
        });
        let counted = counted.get().unwrap();
        counted.set_rule(|_, _| Some(Fault::Slow(LATENCY)));
        let begun = Instant::now();
        let slate = SlateReader::builder(&slow, "slate").register::<Tsdb>().open(At::Latest).await.unwrap();
        let opened = begun.elapsed();
        let open_gets = counted.counts().gets;
        let ask = async || {
            let reader: Reader = slate.view().get_reader::<Tsdb>("metrics").unwrap();
            let end = next;
            let start = Timestamp(end.0 - hours.max(1) * 3_600_000);
            let before = counted.counts();
            let begun = Instant::now();
            reader.query_range(QUERY, start, end, 60_000).await.unwrap();
            let after = counted.counts();
            (begun.elapsed(), after.gets - before.gets, after.get_bytes - before.get_bytes)
        };
        if hours == 0 {
            ask().await;
        }
        let (took, gets, bytes) = ask().await;
        let goal = (hours == 1).then_some(400.0);
        row(&format!("sum by (job)(rate(x[5m])) {what}"), "ms", &Figure::Cost(took.as_secs_f64() * 1e3), goal, &[]);
        println!(
            "  {gets} gets of {bytes} bytes together; before, opening took {} ms and {open_gets} gets",
            opened.as_millis()
        );
    }
    let _ = std::fs::remove_dir_all(dir);
}
