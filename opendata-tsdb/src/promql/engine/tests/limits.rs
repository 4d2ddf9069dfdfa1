//! Limits, workers, and queries that nobody waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opendata_core::{ErrorKind, Result, Timestamp};

use crate::promql::storage::{Buffer, Unpack};
use crate::promql::{Answer, Engine, EngineConfig, Exceeded, Found, Limit, Series, Storage, Value};
use crate::{Labels, Matcher, labels};

/// Counters, decoded one by one.
#[derive(Clone)]
struct Many {
    series: usize,
    labels: Arc<Vec<Labels>>,
    pause: Duration,
    decoded: Arc<AtomicUsize>,
}

impl Many {
    fn new(series: usize) -> Self {
        let labels = Arc::new((0..series).map(Self::labels).collect());
        Self { series, labels, pause: Duration::ZERO, decoded: Arc::default() }
    }

    fn labels(n: usize) -> Labels {
        labels! { "__name__" => "m_total", "job" => (n % 7).to_string(), "n" => n.to_string() }
    }
}

impl Unpack for Many {
    fn labels(&self, series: usize) -> Option<&Labels> {
        self.labels.get(series)
    }

    fn unpack(&self, series: usize, buffer: &mut Buffer) -> Result<()> {
        std::thread::sleep(self.pause);
        self.decoded.fetch_add(1, Ordering::Relaxed);
        let steps = 0..40_i64;
        buffer.series.timestamps = steps.clone().map(|step| step * 15_000).collect();
        buffer.series.values = steps.map(|step| (step % 17) as f64 * 0.1 + series as f64).collect();
        Ok(())
    }

    fn stored(&self) -> (usize, usize) {
        (self.series, 100 * self.series)
    }
}

#[async_trait]
impl Storage for Many {
    async fn select(&self, _: &[Matcher], _: i64, _: i64) -> Result<Vec<Series>> {
        unreachable!("the engine decodes as it goes")
    }

    async fn find(&self, _: &[Matcher], _: i64, _: i64) -> Result<Found> {
        Ok(Found::packed(self.series, Arc::new(self.clone())))
    }
}

fn engine(change: impl FnOnce(&mut EngineConfig)) -> Engine {
    let mut config = EngineConfig { workers: 1, ..EngineConfig::default() };
    change(&mut config);
    Engine::new(config)
}

async fn range(engine: &Engine, storage: &Many, query: &str) -> Result<Answer> {
    engine.range(storage, query, Timestamp(300_000), Timestamp(585_000), 15_000).await
}

#[tokio::test]
async fn the_number_of_workers_changes_no_answer() {
    let storage = Many::new(6000);
    let bits = |value: Value| match value {
        Value::Matrix(series) => series
            .into_iter()
            .map(|series| (series.labels, series.timestamps, series.values.into_iter().map(f64::to_bits).collect()))
            .collect::<Vec<(Labels, Vec<i64>, Vec<u64>)>>(),
        other => panic!("not a matrix: {other:?}"),
    };
    for query in [
        "sum by (job) (rate(m_total[5m]))",
        "avg without (n) (m_total)",
        "-m_total",
        "topk(3, abs(increase(m_total[1m])))",
        "sum by (__name__) (m_total)",
        "sum by (__name__) (rate(m_total[1m]))",
        "count(m_total) / count(rate(m_total[5m]))",
        "round(m_total, 0.5)",
        "quantile by (job) (0.3, m_total)",
    ] {
        let one = range(&engine(|_| ()), &storage, query).await.unwrap();
        let many = range(&engine(|config| config.workers = 5), &storage, query).await.unwrap();
        assert_eq!(one.statistics.samples_queried, many.statistics.samples_queried, "{query}");
        assert_eq!(one.statistics.samples_decoded, many.statistics.samples_decoded, "{query}");
        assert_eq!(bits(one.value), bits(many.value), "{query}");
    }
}

#[tokio::test]
async fn what_a_query_cost_is_told() {
    let storage = Many::new(10);
    let told = range(&engine(|_| ()), &storage, "rate(m_total[1m])").await.unwrap().statistics;
    assert_eq!((told.series, told.samples_decoded, told.chunk_rows, told.chunk_bytes), (10, 400, 10, 1000));
    // 20 steps of 4 samples each, for 10 series.
    assert_eq!(told.samples_queried, 800);
    assert!(told.total_time >= told.evaluation_time);
}

#[tokio::test]
async fn every_limit_is_told_apart() {
    let storage = Many::new(100);
    let query = "topk(5, rate(m_total[5m]))";
    for (limit, kind, engine) in [
        (Limit::Samples, ErrorKind::Invalid, engine(|config| config.max_samples = 100)),
        (Limit::Computed, ErrorKind::Invalid, engine(|config| config.max_computed = 100)),
        (Limit::Held, ErrorKind::Invalid, engine(|config| config.max_held = 100)),
        (Limit::Bytes, ErrorKind::Invalid, engine(|config| config.max_bytes = 10_500)),
        (Limit::Points, ErrorKind::Invalid, engine(|config| config.max_points = 10)),
        (Limit::Time, ErrorKind::Unavailable, engine(|config| config.timeout_ms = Some(0))),
    ] {
        let error = range(&engine, &storage, query).await.unwrap_err();
        assert_eq!(Exceeded::of(&error).map(|exceeded| exceeded.limit), Some(limit), "{error}");
        assert_eq!(error.kind(), kind);
    }
    assert!(range(&engine(|_| ()), &storage, query).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_nobody_waits_for_stops() {
    for workers in [1, 3] {
        let storage = Many { pause: Duration::from_millis(1), ..Many::new(20_000) };
        let decoded = Arc::clone(&storage.decoded);
        let asking = tokio::spawn(async move {
            let engine = engine(|config| config.workers = workers);
            range(&engine, &storage, "sum(rate(m_total[5m]))").await.map(|_| ())
        });
        while decoded.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        asking.abort();
        let _ = asking.await;
        // Ours is the last hold of the counter once the evaluation has let go of what it read.
        while Arc::strong_count(&decoded) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(decoded.load(Ordering::Relaxed) < 20_000);
    }
}
