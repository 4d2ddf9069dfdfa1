//! Since when samples count.

use proptest::prelude::*;

use super::*;
use crate::histogram::Histogram;
use crate::promql::{Engine, EngineConfig, Value};

/// Series to the time, value and start of each sample.
type Starts = BTreeMap<String, Vec<(i64, i64)>>;

async fn starts_of(reader: &Reader) -> Starts {
    let all = reader.select(&[], i64::MIN, i64::MAX).await.unwrap();
    let of = |series: crate::promql::Series| {
        let start = |at| series.start_times.get(at).copied().unwrap_or(0);
        let starts = series.timestamps.iter().enumerate().map(|(at, time)| (*time, start(at)));
        (series.labels.to_string(), starts.collect())
    };
    all.into_iter().map(of).collect()
}

/// Read in every way there is.
async fn starts(bench: &Bench) -> Starts {
    let starts = starts_of(&bench.reader()).await;
    assert_eq!(starts, starts_of(&bench.reader_without_state()).await, "without the writer's state");
    assert_eq!(starts, starts_of(&bench.other_process().await).await, "from another process");
    starts
}

fn expected_starts(series: &[(&str, &[(i64, i64)])]) -> Starts {
    series.iter().map(|(labels, of)| ((*labels).to_owned(), of.to_vec())).collect()
}

#[tokio::test]
async fn start_times_are_read_after_reopening_and_sealing_by_every_reader() {
    let bench = Bench::new(Config { seal_samples: 1, ..config() }).await;
    let at = |minutes: i64| Timestamp(NOON + minutes * 60_000);
    bench
        .write(|op| {
            let (old, new) = (at(-60), at(1));
            op.samples_since(labels! { "__name__" => "a" }, old, &[(at(0), 5.0), (at(1), 6.0)]);
            op.samples_since(labels! { "__name__" => "a" }, new, &[(at(2), 7.0)]);
            op.sample(labels! { "__name__" => "b" }, at(0), 1.0);
            op.histogram_since(labels! { "__name__" => "h" }, old, at(0), Histogram::default());
        })
        .await;
    let minute = |minutes: i64| at(minutes).0;
    let written = [
        ("a", &[(minute(0), minute(-60)), (minute(1), minute(-60)), (minute(2), minute(1))][..]),
        ("b", &[(minute(0), 0)]),
        ("h", &[(minute(0), minute(-60))]),
    ];
    assert_eq!(starts(&bench).await, expected_starts(&written), "before sealing");
    let bench = bench.reopen().await;
    assert_eq!(starts(&bench).await, expected_starts(&written), "reopened");
    bench.slate.maintain().await.unwrap();
    assert_eq!(starts(&bench).await, expected_starts(&written), "sealed");
    // A sample that is replaced takes its start along; one in between stays.
    bench
        .write(|op| {
            op.sample(labels! { "__name__" => "a" }, at(0), 5.0);
            op.samples_since(labels! { "__name__" => "b" }, at(-1), &[(at(0), 1.0)]);
        })
        .await;
    let replaced = [
        ("a", &[(minute(0), 0), (minute(1), minute(-60)), (minute(2), minute(1))][..]),
        ("b", &[(minute(0), minute(-1))]),
        ("h", &[(minute(0), minute(-60))]),
    ];
    assert_eq!(starts(&bench).await, expected_starts(&replaced), "replaced");
    bench.slate.maintain().await.unwrap();
    let bench = bench.crash().await;
    assert_eq!(starts(&bench).await, expected_starts(&replaced), "replaced and sealed");
    let engine = Engine::new(EngineConfig::default());
    let asked = engine.instant(&bench.other_process().await, "start_timestamp(a)", at(2)).await.unwrap();
    let Value::Vector(rows) = asked.value else { panic!("no vector: {:?}", asked.value) };
    assert_eq!(rows.iter().map(|row| row.value).collect::<Vec<_>>(), [(NOON / 1000 + 60) as f64]);
    let resets = engine.instant(&bench.other_process().await, "resets(a[5m])", at(2)).await.unwrap();
    let Value::Vector(rows) = resets.value else { panic!("no vector: {:?}", resets.value) };
    assert_eq!(rows.iter().map(|row| row.value).collect::<Vec<_>>(), [1.0], "though its value never fell");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// However samples are written, sealed, deleted and reopened in between, each has the start it was written with last.
    #[test]
    fn each_sample_has_the_start_it_was_written_with(
        steps in prop::collection::vec((0u8..6, 0i64..3, 0i64..30, prop_oneof![Just(0i64), 1i64..5]), 1..25),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (found, model) = runtime.block_on(async {
            let mut bench = Bench::new(Config { seal_samples: 1, ..config() }).await;
            let mut model: BTreeMap<String, BTreeMap<i64, i64>> = BTreeMap::new();
            for (what, series, minute, start) in steps {
                let (name, time) = (format!("m{series}"), NOON + minute * 1_200_000);
                match what {
                    4 => drop(bench.slate.maintain().await.unwrap()),
                    5 => bench = bench.reopen().await,
                    _ => {
                        bench
                            .write(|op| {
                                let labels = labels! { "__name__" => name.as_str() };
                                op.samples_since(labels, Timestamp(start), &[(Timestamp(time), 1.0)]);
                            })
                            .await;
                        model.entry(name).or_default().insert(time, start);
                    }
                }
            }
            (starts(&bench).await, model)
        });
        let model: Starts = model.into_iter().map(|(name, of)| (name, of.into_iter().collect())).collect();
        prop_assert_eq!(found, model);
    }
}
