use opendata_core::slate::{Ack, At, Settings, Slate, SlateReader};
use opendata_core::store::Store;

use super::*;
use crate::promql::{Engine, EngineConfig, Value};
use crate::{Config, Tsdb, labels};

const DAY: i64 = 86_400_000;

async fn one(reader: &Reader, expression: &str, at: i64) -> f64 {
    match reader.query(expression, Timestamp(at)).await.unwrap().value {
        Value::Vector(samples) if samples.len() == 1 => samples[0].value,
        other => panic!("{expression}: {other:?}"),
    }
}

#[tokio::test]
async fn a_rate_is_the_same_across_windows_buckets_and_seals() {
    let store = Store::from_url("memory:").unwrap();
    let settings = Settings { maintenance_interval_ms: 0, ..Settings::default() };
    let config = Config { seal_samples: 1, ..Config::default() };
    let slate = Slate::builder(&store, "s").settings(settings).system::<Tsdb>("m", config).open().await.unwrap();
    let metrics = slate.get::<Tsdb>("m").unwrap();
    // The same counter, restarting in the middle, around noon (inside a window) and around midnight and two o'clock.
    let middles = [19_000 * DAY + 13 * 3_600_000, 19_001 * DAY, 19_001 * DAY + 2 * 3_600_000];
    for half in 0..2 {
        let mut tx = slate.begin();
        for middle in middles {
            for step in half * 20..half * 20 + 20 {
                let at = middle + (step - 20) * 15_000 + 1000;
                tx.on(&metrics).sample(labels! { "__name__" => "c" }, Timestamp(at), (step % 23) as f64 * 3.0);
            }
        }
        tx.commit_with(Ack::Written).await.unwrap();
        if half == 0 {
            slate.maintain().await.unwrap();
        }
    }
    slate.flush().await.unwrap();
    let other = SlateReader::builder(&store, "s").register::<Tsdb>().open(At::Latest).await.unwrap();
    let readers = [slate.view().on(&metrics).unwrap(), other.view().get_reader::<Tsdb>("m").unwrap()];
    for reader in readers {
        for expression in ["rate(c[5m])", "increase(c[5m])", "count_over_time(c[5m])", "max_over_time(c[9m]) - c"] {
            let values: Vec<f64> = {
                let mut values = Vec::new();
                for middle in middles {
                    values.push(one(&reader, expression, middle + 150_000).await);
                }
                values
            };
            assert!(values[0] > 0.0, "{expression}: {values:?}");
            assert_eq!(values, [values[0]; 3], "{expression}");
        }
        let range = reader.query_range("c", Timestamp(middles[1]), Timestamp(middles[1] + 60_000), 15_000);
        assert!(matches!(range.await.unwrap().value, Value::Matrix(series) if series[0].values.len() == 5));
    }
}

/// 40 series of two jobs, one sample a minute for ten minutes, all in one bucket.
async fn forty(slate: &Slate) -> i64 {
    let metrics = slate.get::<Tsdb>("m").unwrap();
    let start = 19_000 * DAY;
    let mut tx = slate.begin();
    for minute in 0..10 {
        for n in 0..40 {
            let (job, path) = (if n % 2 == 0 { "api" } else { "web" }, format!("/v{}/{n}", n % 4));
            let labels = labels! { "__name__" => "hits_total", "job" => job, "path" => path.as_str() };
            tx.on(&metrics).sample(labels, Timestamp(start + minute * 60_000), minute as f64);
        }
    }
    tx.commit_with(Ack::Written).await.unwrap();
    start
}

async fn opened() -> Slate {
    let store = Store::from_url("memory:").unwrap();
    Slate::builder(&store, "s").system::<Tsdb>("m", Config::default()).open().await.unwrap()
}

#[tokio::test]
async fn an_explained_query_tells_its_plan_and_what_narrowed_its_reads() {
    let slate = opened().await;
    let start = forty(&slate).await;
    let reader = slate.view().on(&slate.get::<Tsdb>("m").unwrap()).unwrap();
    let query = r#"sum by (job) (rate(hits_total{job="api", path=~"/v0/.+"}[5m])) / 2"#;
    let explained = Engine::default().explain(&reader, query, Timestamp(start + 540_000)).await.unwrap();
    let Value::Vector(samples) = &explained.answer.value else { panic!("{:?}", explained.answer) };
    assert_eq!(samples.len(), 1);

    let plan = &explained.plan;
    assert_eq!(plan.what, "/ with a number, row by row");
    assert_eq!(plan.inputs[0].what, "sum by job: one accumulator a group");
    let rate = &plan.inputs[0].inputs[0];
    assert_eq!((rate.what.as_str(), rate.inputs[0].read), ("rate", Some(0)));
    assert_eq!(rate.inputs[0].what, "the samples of each series in 5m");
    assert_eq!(rate.inputs[0].text, r#"hits_total{job="api", path=~"/v0/.+"}[5m]"#);

    let [read] = explained.reads.as_slice() else { panic!("{:?}", explained.reads) };
    assert_eq!((read.series, read.end_ms - read.start_ms), (10, 299_999));
    let [bucket] = read.narrowed.as_slice() else { panic!("{:?}", read.narrowed) };
    assert_eq!((bucket.series, bucket.matched), (40, 10));
    let alone: Vec<u64> = bucket.matchers.iter().map(|matcher| matcher.series).collect();
    assert_eq!(alone, [40, 20, 10]);
    assert!(bucket.matchers[2].way.contains("begin with \"/v0/\""), "{:?}", bucket.matchers[2]);
    assert_eq!(explained.answer.statistics.samples_queried, 50);

    let engine = Engine::default();
    let range = engine.explain_range(
        &reader,
        "max_over_time(hits_total[2m:1m]) > hits_total",
        Timestamp(start),
        Timestamp(start + 300_000),
        60_000,
    );
    let range = range.await.unwrap();
    assert_eq!(range.plan.what, "> on all labels, one to one: both sides are gathered first");
    assert_eq!(range.plan.inputs[0].inputs[0].what, "the last 2m at each step, computed once every 1m");
    assert_eq!(range.plan.inputs[0].inputs[0].inputs[0].steps, 7);
    assert_eq!(range.reads.len(), 2);
}

#[tokio::test]
async fn the_samples_of_all_steps_are_those_of_the_query() {
    let slate = opened().await;
    let start = forty(&slate).await;
    let reader = slate.view().on(&slate.get::<Tsdb>("m").unwrap()).unwrap();
    let engine = Engine::new(EngineConfig { count_steps: true, ..EngineConfig::default() });
    let end = Timestamp(start + 540_000);
    for (query, queried, needed) in [
        // Windows of two samples each but the first, which has one; of each series every sample is needed once.
        ("rate(hits_total[2m])", 40 * 19, 400),
        ("hits_total", 400, 400),
        ("max_over_time(hits_total[2m:1m])", 40 * (19 + 10), 800),
    ] {
        let answer = engine.range(&reader, query, Timestamp(start), end, 60_000).await.unwrap();
        let statistics = answer.statistics;
        assert_eq!((statistics.samples_queried, statistics.samples_needed), (queried, needed), "{query}");
        assert_eq!(statistics.steps.len(), 10);
        assert_eq!(statistics.steps.iter().map(|step| step.samples_queried).sum::<u64>(), queried, "{query}");
        assert_eq!(statistics.steps.iter().map(|step| step.samples_needed).sum::<u64>(), needed, "{query}");
    }
    let once = engine.instant(&reader, "hits_total", end).await.unwrap().statistics;
    assert_eq!(once.steps.iter().map(|step| (step.at, step.samples_queried)).collect::<Vec<_>>(), [(end, 40)]);
    let uncounted = Engine::default().instant(&reader, "hits_total", end).await.unwrap().statistics;
    assert!(uncounted.steps.is_empty());
}
