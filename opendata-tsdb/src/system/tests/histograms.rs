//! Native histograms among floats.

use super::*;
use crate::histogram::{Buckets, CounterReset, Histogram};

/// A histogram with `n` in it, of one of a few shapes.
pub(super) fn histogram(n: u32) -> Histogram {
    let counts: Vec<f64> = (0..1 + n % 4).map(|at| f64::from(n + at)).collect();
    Histogram {
        counter_reset: if n.is_multiple_of(5) { CounterReset::Gauge } else { CounterReset::Unknown },
        schema: if n.is_multiple_of(7) { 2 } else { 0 },
        zero_threshold: 0.001,
        zero_count: f64::from(n),
        count: counts.iter().sum::<f64>() + f64::from(n),
        sum: f64::from(n) * 1.5,
        positive: Buckets::from_indexed((i32::try_from(n % 3).unwrap()..).zip(counts)),
        ..Histogram::default()
    }
}

/// A number that stands for all a histogram says.
pub(super) fn mark(one: &Histogram) -> u64 {
    let mut mark = 0xcbf2_9ce4_8422_2325u64;
    format!("{one:?}").bytes().for_each(|byte| mark = (mark ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    mark
}

fn latency() -> Labels {
    labels! { "__name__" => "latency" }
}

#[tokio::test]
async fn a_series_may_hold_floats_and_histograms() {
    let mut bench = Bench::new(Config { seal_samples: 1, ..config() }).await;
    let receipt = bench
        .write(|op| {
            op.histogram(latency(), Timestamp(NOON), histogram(1))
                .sample(latency(), Timestamp(NOON + 1), 2.0)
                .histogram(latency(), Timestamp(NOON + 2), histogram(3))
                .sample(latency(), Timestamp(NOON + 3), 9.0)
                .histogram(latency(), Timestamp(NOON + 3), histogram(4))
                .histogram(latency(), Timestamp(NOON + 4), Histogram::stale_marker());
        })
        .await;
    assert_eq!((receipt.samples, receipt.histograms, receipt.new_series), (3, 3, 1));
    let bits = |value: f64| value.to_bits();
    let mut expected: Content = Content::new();
    let written = [mark(&histogram(1)), bits(2.0), mark(&histogram(3)), mark(&histogram(4)), bits(STALE_NAN)];
    expected.insert("latency".into(), (NOON..).zip(written).collect());
    assert_eq!(bench.all().await, expected);
    bench = bench.reopen().await;
    assert_eq!(bench.all().await, expected);
    bench.slate.maintain().await.unwrap();
    assert_eq!(bench.reader().buckets().await.unwrap()[0].unsealed_samples, 0);
    assert_eq!(bench.all().await, expected, "sealed");
    bench
        .write(|op| {
            op.histogram(latency(), Timestamp(NOON + 1), histogram(8)).sample(latency(), Timestamp(NOON + 2), 1.0);
        })
        .await;
    let series = expected.get_mut("latency").unwrap();
    (series[1].1, series[2].1) = (mark(&histogram(8)), bits(1.0));
    assert_eq!(bench.all().await, expected, "the last written wins, whichever kind it is");
    bench.slate.maintain().await.unwrap();
    assert_eq!(bench.reopen().await.all().await, expected);
}

#[tokio::test]
async fn a_promise_that_late_samples_can_break_is_not_kept() {
    let bench = Bench::new(config()).await;
    for (at, reset) in [CounterReset::NotReset, CounterReset::Reset, CounterReset::Gauge].into_iter().enumerate() {
        let one = Histogram { counter_reset: reset, ..histogram(1) };
        bench
            .write(|op| {
                op.histogram(latency(), Timestamp(NOON + at as i64), one);
            })
            .await;
    }
    let series = bench.reader().select(&[], i64::MIN, i64::MAX).await.unwrap();
    let resets: Vec<_> = series[0].histograms.iter().map(|(_, one)| one.counter_reset).collect();
    assert_eq!(resets, [CounterReset::Unknown, CounterReset::Reset, CounterReset::Gauge]);
}

#[tokio::test]
async fn histograms_that_contradict_themselves_are_refused() {
    let bench = Bench::new(config()).await;
    let bad = Histogram { count: -1.0, ..histogram(1) };
    let refused = bench.try_write(|op| {
        op.histogram(latency(), Timestamp(NOON), bad.clone());
    });
    let error = refused.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(crate::Refusal::of(&error).unwrap().reason, crate::Reason::InvalidHistogram);
    let receipt = bench
        .write(|op| {
            op.partial().histogram(latency(), Timestamp(NOON), bad.clone()).histogram(
                latency(),
                Timestamp(NOON),
                histogram(2),
            );
        })
        .await;
    assert_eq!((receipt.histograms, receipt.refused.count(crate::Reason::InvalidHistogram)), (1, 1));
}

#[tokio::test]
async fn nothing_is_added_to_a_histogram() {
    let mut bench = Bench::new(config()).await;
    let add = async |bench: &Bench| {
        let added = bench.try_write(|op| {
            op.add(latency(), Timestamp(NOON + 5), 1.0);
        });
        added.await.map(|receipt| receipt.totals)
    };
    assert_eq!(add(&bench).await.unwrap(), [1.0]);
    bench
        .write(|op| {
            op.histogram(latency(), Timestamp(NOON + 6), histogram(1));
        })
        .await;
    let error = add(&bench).await.unwrap_err();
    assert_eq!(crate::Refusal::of(&error).unwrap().reason, crate::Reason::InvalidAdd);
    bench = bench.reopen().await;
    assert_eq!(add(&bench).await.unwrap_err().kind(), ErrorKind::Invalid, "also when it is read again");
    bench
        .write(|op| {
            op.sample(latency(), Timestamp(NOON + 7), 40.0);
        })
        .await;
    assert_eq!(add(&bench).await.unwrap(), [41.0], "a float is the newest again");
}
