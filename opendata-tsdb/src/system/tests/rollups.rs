//! Rollups: made of what is over, made again where that changes, and kept longer.

use super::*;
use crate::columns::Columns;
use crate::promql::Value;
use crate::rollup::{self, Resolution, Rollup};

fn rolled(retention_ms: Option<u64>) -> Config {
    let rollups = Resolution::ALL.into_iter().map(|resolution| Rollup { resolution, retention_ms: None }).collect();
    Config { rollups, retention_ms, seal_samples: 1, seal_step_bytes: 200, ..config() }
}

fn requests(n: i64) -> Labels {
    labels! { "__name__" => "requests_total", "n" => n.to_string() }
}

type Points = BTreeMap<(String, Resolution), String>;

/// The points that the samples before a time come to.
async fn expected_points(reader: &Reader, end_ms: i64) -> Points {
    let mut all = Points::new();
    for series in reader.select(&[], i64::MIN, end_ms - 1).await.unwrap() {
        let columns = Columns { times: series.timestamps, values: series.values, histograms: series.histograms };
        for resolution in Resolution::ALL {
            let points = rollup::points(columns.as_samples(), resolution);
            if !points.is_empty() {
                all.insert((series.labels.to_string(), resolution), format!("{points:?}"));
            }
        }
    }
    all
}

async fn stored_points(reader: &Reader) -> Points {
    let mut all = Points::new();
    for resolution in Resolution::ALL {
        for series in reader.rollups(&[], resolution, i64::MIN, i64::MAX).await.unwrap() {
            all.insert((series.labels.to_string(), resolution), format!("{:?}", series.points));
        }
    }
    all
}

/// Compares in every way there is to read, and returns how many series there are.
pub(super) async fn check(bench: &Bench, end_ms: i64) -> usize {
    let expected = expected_points(&bench.reader(), end_ms).await;
    for reader in [bench.reader(), bench.reader_without_state(), bench.other_process().await] {
        assert_eq!(stored_points(&reader).await, expected);
    }
    expected.len()
}

async fn fill(bench: &Bench, from: i64, series: i64, step_ms: i64) {
    bench
        .write(|op| {
            for n in 0..series {
                let samples: Vec<_> =
                    (0..100).map(|at| (Timestamp(from + at * step_ms), ((at * 7 + n) % 40) as f64)).collect();
                op.samples(requests(n), &samples);
            }
        })
        .await;
}

const MIDNIGHT: i64 = NOON + 12 * HOUR;

#[tokio::test]
async fn what_is_over_is_rolled_up_and_late_samples_correct_it() {
    let mut bench = Bench::new(rolled(None)).await;
    fill(&bench, NOON, 3, 600_000).await;
    bench.slate.maintain().await.unwrap();
    assert!(stored_points(&bench.reader()).await.is_empty(), "the day is not over");
    bench.clock.set(Timestamp(MIDNIGHT + HOUR));
    bench.slate.maintain().await.unwrap();
    assert_eq!(check(&bench, MIDNIGHT).await, 6);
    // Late, for one series that was there and one that was not; both kinds.
    bench
        .write(|op| {
            op.sample(requests(1), Timestamp(NOON + 1), 900.0)
                .sample(requests(9), Timestamp(NOON + 5 * HOUR), 1.0)
                .histogram(requests(2), Timestamp(NOON + 1), histograms::histogram(1));
        })
        .await;
    bench.slate.maintain().await.unwrap();
    assert_eq!(check(&bench, MIDNIGHT).await, 8);
    bench
        .write(|op| {
            op.delete([matcher("n", MatchOp::Equal, "0")], Timestamp(NOON), Timestamp(MIDNIGHT)).delete(
                [matcher("n", MatchOp::Equal, "1")],
                Timestamp(NOON),
                Timestamp(NOON + HOUR),
            );
        })
        .await;
    bench = bench.reopen().await;
    bench.slate.maintain().await.unwrap();
    assert_eq!(check(&bench, MIDNIGHT).await, 6, "what is deleted is in no rollup");
}

#[tokio::test]
async fn rolling_up_goes_on_after_a_crash_at_any_step() {
    let mut bench = Bench::new(rolled(None)).await;
    fill(&bench, NOON, 3, 600_000).await;
    fill(&bench, NOON - DAY, 2, 600_000).await;
    bench.clock.set(Timestamp(MIDNIGHT + HOUR));
    let mut steps = 0;
    loop {
        let view = bench.slate.view().instance::<Tsdb>("usage").unwrap();
        let Some(op) = Tsdb::maintain(view).await.unwrap() else { break };
        let mut tx = bench.slate.begin();
        *tx.on(&bench.usage) = op;
        tx.commit().await.unwrap();
        bench = bench.crash().await;
        steps += 1;
        assert!(steps < 100);
    }
    assert!(steps > 8, "{steps} steps");
    assert_eq!(check(&bench, MIDNIGHT).await, 6);
}

#[tokio::test]
async fn rollups_outlive_the_samples_and_answer_for_them() {
    let day = u64::try_from(DAY).unwrap();
    let mut bench = Bench::new(rolled(Some(2 * day))).await;
    // Five minutes of samples every 15 s, with a restart in the middle.
    bench
        .write(|op| {
            for at in 0..40i64 {
                let value = if at < 25 { 100 + at * 2 } else { (at - 25) * 3 };
                op.sample(requests(1), Timestamp(NOON + at * 15_000), value as f64);
            }
        })
        .await;
    bench.clock.set(Timestamp(NOON + DAY));
    bench.slate.maintain().await.unwrap();
    check(&bench, MIDNIGHT).await;
    let increase = async |bench: &Bench| {
        let at = Timestamp(NOON + 39 * 15_000);
        let answer = bench.reader().query("increase(requests_total[10m])", at).await.unwrap();
        let Value::Vector(samples) = answer.value else { panic!("no vector") };
        samples.first().map(|sample| sample.value)
    };
    let before = increase(&bench).await.unwrap();
    let points = stored_points(&bench.reader()).await;
    bench.clock.set(Timestamp(NOON + 20 * DAY));
    bench
        .write(|op| {
            op.sample(requests(1), Timestamp(NOON + 20 * DAY), 1.0);
        })
        .await;
    bench.slate.maintain().await.unwrap();
    bench = bench.reopen().await;
    let never = bench.reader().with_rollups(crate::UseRollups::Never);
    assert!(never.select(&[], i64::MIN, NOON + DAY).await.unwrap().is_empty(), "the samples are gone");
    for reader in [bench.reader(), bench.other_process().await] {
        assert_eq!(stored_points(&reader).await, points);
    }
    let after = increase(&bench).await.unwrap();
    assert!((after - before).abs() < before * 0.01, "{after} instead of {before}");
    let stands_for = bench.reader().select(&[], NOON - HOUR, NOON + 20 * DAY).await.unwrap();
    assert_eq!(stands_for.len(), 1, "one series, whether rolled up or not");
    assert_eq!(stands_for[0].timestamps.last(), Some(&(NOON + 20 * DAY)));
}

#[tokio::test]
async fn rollups_have_a_retention_of_their_own() {
    let days = |days: u64| Some(days * u64::try_from(DAY).unwrap());
    let rollups = vec![
        Rollup { resolution: Resolution::FiveMinutes, retention_ms: days(40) },
        Rollup { resolution: Resolution::OneHour, retention_ms: days(80) },
    ];
    let mut bench = Bench::new(Config { rollups, ..rolled(days(2)) }).await;
    fill(&bench, NOON, 2, 60_000).await;
    let left = async |bench: &Bench| {
        bench.slate.maintain().await.unwrap();
        let mut all: Vec<_> =
            stored_points(&bench.reader()).await.into_keys().map(|(_, resolution)| resolution).collect();
        all.dedup();
        all.sort_unstable();
        all.dedup();
        all
    };
    bench.clock.set(Timestamp(NOON + DAY));
    assert_eq!(left(&bench).await, Resolution::ALL);
    // A segment of rollups has 32 days, and goes once its last day is too old.
    bench.clock.set(Timestamp(NOON + 73 * DAY));
    assert_eq!(left(&bench).await, [Resolution::OneHour]);
    bench.clock.set(Timestamp(NOON + 113 * DAY));
    assert_eq!(left(&bench).await, []);
    bench = bench.reopen().await;
    let view = bench.slate.view().instance::<Tsdb>("usage").unwrap();
    let (segment, _) = view.config().calendar().rolled(view.config().calendar().segment(NOON).unwrap());
    let range = view.prefix(segment).range();
    let mut rows = view.scan(range, opendata_core::slate::Access::Point).await.unwrap();
    assert!(rows.next().await.unwrap().is_none(), "nothing is left of the segment");
    // The series may come back.
    bench.clock.set(Timestamp(NOON + 114 * DAY));
    fill(&bench, NOON + 114 * DAY, 1, 60_000).await;
    bench.clock.set(Timestamp(NOON + 116 * DAY));
    assert_eq!(left(&bench).await, Resolution::ALL);
}
