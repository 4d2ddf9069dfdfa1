//! What is refused: bad times, too many series, and what a partial operation makes of it.

use super::*;
use crate::{Reason, Refusal};

fn series(metric: &str, n: usize) -> Labels {
    labels! { "__name__" => metric, "n" => n.to_string() }
}

fn reason(error: &Error) -> Reason {
    Refusal::of(error).unwrap().reason
}

#[tokio::test]
async fn a_partial_operation_leaves_out_what_is_bad_and_says_so() {
    let day = u64::try_from(DAY).unwrap();
    let config = Config { late_limit_ms: Some(day), future_limit_ms: Some(1000), ..Config::default() };
    let bench = Bench::new(config).await;
    let list = SeriesList::new([series("b", 1), series("b", 2)]);
    let fill = |op: &mut Op| {
        op.sample(series("a", 1), Timestamp(NOON - DAY - 1), 1.0)
            .samples(
                series("a", 2),
                &[(Timestamp(NOON), 1.0), (Timestamp(NOON + 1001), 2.0), (Timestamp(NOON + 1000), 3.0)],
            )
            .batch(&list, Timestamp(NOON + HOUR), [1.0, 2.0])
            .sample(Labels::empty(), Timestamp(NOON), 1.0)
            .add(series("c", 1), Timestamp(NOON), f64::INFINITY)
            .add(series("c", 1), Timestamp(NOON), 2.0);
    };
    let whole = bench.try_write(fill).await.unwrap_err();
    assert_eq!((whole.kind(), reason(&whole)), (ErrorKind::Invalid, Reason::TooOld));
    assert_eq!(Refusal::of(&whole).unwrap().series, series("a", 1));
    assert!(bench.all().await.is_empty());
    let receipt = bench
        .write(|op| {
            op.partial();
            fill(op);
        })
        .await;
    let refused: Vec<_> = receipt.refused.iter().collect();
    let expected = [(Reason::TooOld, 1), (Reason::TooNew, 3), (Reason::InvalidSeries, 1), (Reason::InvalidAdd, 1)];
    assert_eq!((receipt.samples, refused), (3, expected.to_vec()));
    assert_eq!(receipt.refused.first.len(), 5, "one for the whole batch");
    assert!(receipt.totals[0].is_nan() && receipt.totals[1] == 2.0);
    let stored = [("a{n=\"2\"}", &[(NOON, 1.0), (NOON + 1000, 3.0)][..]), ("c{n=\"1\"}", &[(NOON, 2.0)])];
    assert_eq!(bench.all().await, super::expected(&stored));
    let counters = bench.reader().write_counters().unwrap();
    assert_eq!((counters.samples, counters.new_series), (3, 2));
    assert_eq!((counters.refused(Reason::TooOld), counters.refused(Reason::TooNew)), (2, 3));
    assert_eq!(bench.other_process().await.write_counters(), None);
}

#[tokio::test]
async fn late_samples_are_taken_as_long_as_their_bucket_stands() {
    let day = u64::try_from(DAY).unwrap();
    let bench = Bench::new(Config { retention_ms: Some(2 * day), ..config() }).await;
    // Retention reaches to noon of two days ago: that day is kept as a whole, the day before it is not.
    let midnight = NOON - 12 * HOUR - 2 * DAY;
    let receipt = bench
        .write(|op| {
            op.partial().sample(series("a", 1), Timestamp(midnight), 1.0).sample(
                series("a", 1),
                Timestamp(midnight - 1),
                1.0,
            );
        })
        .await;
    assert_eq!((receipt.samples, receipt.refused.count(Reason::TooOld)), (1, 1));
}

#[tokio::test]
async fn each_metric_and_each_source_has_its_limit() {
    let config = Config { max_series_per_metric: Some(3), max_series_per_source: Some(4), ..config() };
    let mut bench = Bench::new(config).await;
    let write = async |bench: &Bench, source: &str, metric: &str, from: usize, to: usize| {
        let receipt = bench
            .write(|op| {
                op.partial().source(source);
                (from..to).for_each(|n| {
                    op.sample(series(metric, n), Timestamp(NOON), 1.0);
                });
            })
            .await;
        let refused: Vec<_> = receipt.refused.iter().collect();
        (receipt.samples, refused)
    };
    assert_eq!(write(&bench, "one", "a", 0, 5).await, (3, vec![(Reason::MetricLimit, 2)]));
    assert_eq!(write(&bench, "one", "b", 0, 5).await, (1, vec![(Reason::SourceLimit, 4)]));
    assert_eq!(write(&bench, "two", "b", 1, 2).await, (1, vec![]));
    bench = bench.reopen().await;
    assert_eq!(write(&bench, "one", "c", 0, 1).await, (0, vec![(Reason::SourceLimit, 1)]));
    assert_eq!(write(&bench, "two", "a", 0, 6).await, (3, vec![(Reason::MetricLimit, 3)]), "those there are go on");
    assert_eq!(write(&bench, "one", "a", 0, 1).await, (1, vec![]));
    let error = bench.try_write(|op| {
        op.sample(series("a", 9), Timestamp(NOON), 1.0);
    });
    let error = error.await.unwrap_err();
    assert_eq!((error.kind(), reason(&error)), (ErrorKind::Backpressure, Reason::MetricLimit));
    let statistics = bench.reader().statistics(5).await.unwrap();
    let sources: Vec<_> = statistics.series_by_source.iter().map(|top| (top.name.as_str(), top.value)).collect();
    assert_eq!(sources, [("one", 4), ("two", 1)]);
    assert_eq!(statistics, bench.other_process().await.statistics(5).await.unwrap());
}

#[tokio::test]
async fn series_are_created_no_faster_than_allowed() {
    let bench = Bench::new(Config { max_new_series_per_second: Some(2), ..config() }).await;
    let write = async |day: i64, from: usize, to: usize| {
        let written = bench.try_write(|op| {
            (from..to).for_each(|n| {
                op.sample(series("a", n), Timestamp(NOON + day * DAY), 1.0);
            });
        });
        written.await.map(|receipt| receipt.new_series).map_err(|error| reason(&error))
    };
    assert_eq!(write(0, 0, 30).await, Ok(30), "the transaction that overdraws is not stopped halfway");
    assert_eq!(write(0, 30, 31).await, Err(Reason::NewSeriesRate));
    assert_eq!(write(0, 0, 30).await, Ok(0));
    assert_eq!(write(1, 0, 30).await, Ok(30), "what the day before has is not new altogether");
    bench.clock.set(Timestamp(NOON + 4_000));
    assert_eq!(write(0, 30, 31).await, Err(Reason::NewSeriesRate), "twenty for the burst, less thirty, plus eight");
    bench.clock.set(Timestamp(NOON + 6_000));
    assert_eq!(write(0, 30, 31).await, Ok(1));
}
