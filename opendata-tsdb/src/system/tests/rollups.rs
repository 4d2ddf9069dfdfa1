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
        let columns = Columns {
            times: series.timestamps,
            values: series.values,
            histograms: series.histograms,
            starts: series.start_times,
        };
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

/// Windows of whole intervals: over two days, in steps, by each function that rollups answer.
const ROLLED: [&str; 13] = [
    "count_over_time(requests_total[1h])",
    "sum_over_time(requests_total[2h])",
    "avg_over_time(requests_total[25m])",
    "min_over_time(requests_total[1h])",
    "max_over_time(requests_total[1h5m])",
    "first_over_time(requests_total[1h])",
    "last_over_time(requests_total[6h])",
    "present_over_time(requests_total[1h])",
    "ts_of_last_over_time(requests_total[1h])",
    "delta(requests_total[1h] offset 1h)",
    "increase(requests_total[30m])",
    "sum by (n) (rate(requests_total[6h]))",
    "max_over_time(rate(requests_total[1h])[5h:1h])",
];

async fn answers(
    reader: &Reader,
    queries: &[&str],
    (start, end): (i64, i64),
    step: i64,
) -> Vec<Vec<crate::promql::Series>> {
    let mut all = Vec::new();
    for query in queries {
        let answer = reader.query_range(query, Timestamp(start), Timestamp(end), step).await.unwrap();
        let Value::Matrix(series) = answer.value else { panic!("no matrix") };
        assert!(!series.is_empty(), "{query}");
        all.push(series);
    }
    all
}

fn assert_near(queries: &[&str], found: &[Vec<crate::promql::Series>], expected: &[Vec<crate::promql::Series>]) {
    for (query, (found, expected)) in queries.iter().zip(found.iter().zip(expected)) {
        assert_eq!(found.len(), expected.len(), "{query}");
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!((&found.labels, &found.timestamps), (&expected.labels, &expected.timestamps), "{query}");
            for (a, b) in found.values.iter().zip(&expected.values) {
                let is_near = a.to_bits() == b.to_bits()
                    || (a - b).abs() <= 1e-9 * b.abs().max(1.0)
                    || (a.is_nan() && b.is_nan());
                assert!(is_near, "{query}: {a} instead of {b}, {}", found.labels);
            }
        }
    }
}

#[tokio::test]
async fn windows_of_whole_intervals_are_answered_from_rollups_as_from_samples() {
    let day = u64::try_from(DAY).unwrap();
    let mut bench = Bench::new(rolled(Some(2 * day))).await;
    // Restarts, gaps, NaN, samples on the very bounds of intervals and of buckets; one series ends early.
    bench
        .write(|op| {
            for n in 0..4i64 {
                let mut value = 0.0;
                for at in 0..(if n == 3 { 900 } else { 2_000 }) {
                    let jitter = if n == 0 { 0 } else { (at * 37 + n * 11) % 9_000 };
                    value = if (at * 7 + n) % 211 == 0 { 0.0 } else { value + ((at * 13 + n) % 17) as f64 / 4.0 };
                    let shown = if n == 2 && at % 97 == 5 { f64::NAN } else { value };
                    if (at / 60 + n) % 9 != 4 {
                        op.sample(requests(n), Timestamp(NOON + at * 60_000 + jitter), shown);
                    }
                }
            }
        })
        .await;
    bench.clock.set(Timestamp(NOON + 2 * DAY));
    bench.slate.maintain().await.unwrap();
    let range = (NOON + 6 * HOUR, NOON + 33 * HOUR);
    let raw = answers(&bench.reader(), &ROLLED, range, HOUR).await;
    let raw_fine = answers(&bench.reader(), &ROLLED, range, 300_000).await;
    // The first half day expires, later all of it.
    for (now, half) in [(NOON + 3 * DAY, true), (NOON + 20 * DAY, false)] {
        bench.clock.set(Timestamp(now));
        bench
            .write(|op| {
                op.sample(requests(1), Timestamp(now), 1.0);
            })
            .await;
        bench.slate.maintain().await.unwrap();
        bench = bench.reopen().await;
        let never = bench.reader().with_rollups(crate::UseRollups::Never);
        let left = never.select(&[], i64::MIN, NOON + 12 * HOUR).await.unwrap();
        assert!(left.iter().all(|series| series.timestamps.first() >= Some(&MIDNIGHT)), "the samples are gone");
        assert_eq!(left.is_empty(), !half);
        for reader in [bench.reader(), bench.other_process().await] {
            assert_near(&ROLLED, &answers(&reader, &ROLLED, range, HOUR).await, &raw);
            assert_near(&ROLLED, &answers(&reader, &ROLLED, range, 300_000).await, &raw_fine);
        }
    }
}

#[tokio::test]
async fn a_query_says_which_rollup_it_read_and_warns_of_what_is_approximate() {
    let day = u64::try_from(DAY).unwrap();
    let bench = Bench::new(rolled(Some(2 * day))).await;
    fill(&bench, NOON, 2, 60_000).await;
    bench.clock.set(Timestamp(NOON + DAY));
    bench.slate.maintain().await.unwrap();
    bench.clock.set(Timestamp(NOON + 20 * DAY));
    bench
        .write(|op| {
            op.sample(requests(1), Timestamp(NOON + 20 * DAY), 1.0);
        })
        .await;
    bench.slate.maintain().await.unwrap();
    let explain = async |query: &str, start: i64, step: i64| {
        let (start, end) = (Timestamp(start), Timestamp(start + HOUR));
        let told =
            crate::promql::Engine::default().explain_range(&bench.reader(), query, start, end, step).await.unwrap();
        let read = told.reads.first().unwrap();
        let warnings = told.answer.annotations.warnings().count();
        (read.rollup, read.stood_for, warnings)
    };
    let rate = "rate(requests_total[1h])";
    assert_eq!(explain(rate, NOON + HOUR, HOUR).await, (Some(Resolution::OneHour), false, 0));
    assert_eq!(explain(rate, NOON + HOUR, 600_000).await, (Some(Resolution::FiveMinutes), false, 0));
    assert_eq!(
        explain("rate(requests_total[30m])", NOON + HOUR, HOUR).await,
        (Some(Resolution::FiveMinutes), false, 0)
    );
    assert_eq!(explain(rate, NOON + HOUR + 1, HOUR).await, (None, true, 1), "windows across intervals");
    assert_eq!(explain("stddev_over_time(requests_total[1h])", NOON + HOUR, HOUR).await, (None, true, 1));
    assert_eq!(explain(rate, NOON + 20 * DAY, HOUR).await, (None, false, 0), "nothing has expired there");
}
