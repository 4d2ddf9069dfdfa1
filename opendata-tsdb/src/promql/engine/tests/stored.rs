//! Samples that were stored give what the same samples in memory give: across commits, slabs, chunks, windows and buckets.

use std::sync::Arc;

use opendata_core::env::{Env, ManualClock};
use opendata_core::slate::{Ack, Settings, Slate};
use opendata_core::store::Store;

use super::native::{Plain, histogram};
use super::*;
use crate::{Config, Tsdb};

const HOUR: i64 = 3_600_000;
/// The end of some day, where one bucket ends and the next begins.
pub(super) const MIDNIGHT: i64 = 19_000 * 24 * HOUR;

/// A sample: its time, which of three series it belongs to, what it holds, and by which commit it is written.
type Written = (i64, usize, Plain, usize);

fn series(which: usize) -> Labels {
    let metric = if which == 2 { "n" } else { "m" };
    labels! { "__name__" => metric, "s" => which.to_string() }
}

pub(super) fn written() -> impl Strategy<Value = Vec<Written>> {
    let value = prop_oneof![
        6 => (0_u8..60).prop_map(|v| Plain::Float(f64::from(v))),
        1 => Just(Plain::Float(STALE_NAN)),
        2 => (0_u8..9, 0_u8..9).prop_map(|(a, b)| {
            let (a, b) = (f64::from(a), f64::from(b));
            Plain::Histogram([a + b, a, a, b, 0.0, 0.0])
        }),
    ];
    // Around midnight and around the end of a window of two hours, minute by minute.
    let time = prop_oneof![-30_i64..30, -150_i64..-90].prop_map(|minutes| MIDNIGHT + minutes * 60_000);
    prop::collection::vec((time, 0_usize..3, value, 0_usize..4), 0..120)
}

/// The same in memory; of two samples at one time the one of the later commit holds, and within a commit the later one.
fn in_memory(all: &[Written]) -> Memory {
    let mut ordered: Vec<&Written> = all.iter().collect();
    ordered.sort_by_key(|(_, _, _, commit)| *commit);
    let one = |which: usize| {
        let of_one = ordered.iter().filter(|(_, series, ..)| *series == which);
        let samples: std::collections::BTreeMap<i64, Plain> =
            of_one.map(|(time, _, value, _)| (*time, *value)).collect();
        let mut places = 0_u32..;
        let (mut values, mut histograms) = (Vec::new(), Vec::new());
        for (place, value) in places.by_ref().zip(samples.values()) {
            match value {
                Plain::Float(value) => values.push(*value),
                Plain::Histogram(numbers) => {
                    histograms.push((place, Arc::new(histogram(*numbers))));
                    values.push(0.0);
                }
            }
        }
        Series::mixed(series(which), samples.into_keys().collect(), values, histograms)
    };
    Memory((0..3).map(one).filter(|series| !series.timestamps.is_empty()).collect())
}

pub(super) async fn store(all: &[Written], seal_after: usize) -> (Slate, opendata_core::slate::Handle<Tsdb>) {
    let store = Store::from_url("memory:").unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp(MIDNIGHT + HOUR)));
    let settings = Settings { maintenance_interval_ms: 0, flush_interval_ms: 5, ..Settings::default() };
    let config = Config { future_limit_ms: None, seal_samples: 1, ..Config::default() };
    let builder = Slate::builder(&store, "slate").settings(settings).env(Env::seeded(clock, 1));
    let slate = builder.system::<Tsdb>("usage", config).open().await.unwrap();
    let usage = slate.get::<Tsdb>("usage").unwrap();
    for commit in 0..4 {
        let mut tx = slate.begin();
        let op = tx.on(&usage);
        for (time, which, value, _) in all.iter().filter(|(.., of)| *of == commit) {
            match value {
                Plain::Float(value) => op.sample(series(*which), Timestamp(*time), *value),
                Plain::Histogram(numbers) => op.histogram(series(*which), Timestamp(*time), histogram(*numbers)),
            };
        }
        if all.iter().any(|(.., of)| *of == commit) {
            tx.commit_with(Ack::Written).await.unwrap();
        }
        if commit == seal_after {
            slate.maintain().await.unwrap();
        }
    }
    (slate, usage)
}

/// An answer as text: one line a value.
pub(super) fn lines(answer: Result<Answer>) -> std::result::Result<Vec<String>, String> {
    let answer = answer.map_err(|error| error.message().to_owned())?;
    let remarks = answer.annotations.warnings().chain(answer.annotations.infos()).map(str::to_owned);
    let mut lines: Vec<String> = remarks.collect();
    let Value::Matrix(series) = answer.value else { return Err("no matrix".to_owned()) };
    for series in &series {
        for (time, value) in series.samples() {
            let value = match value {
                SampleValue::Float(value) => format!("{value:?}"),
                SampleValue::Histogram(histogram) => histogram.to_string(),
            };
            lines.push(format!("{} {time} {value}", series.labels));
        }
    }
    lines.sort();
    Ok(lines)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn stored_samples_answer_like_samples_in_memory(
        all in written(), seal_after in 0_usize..5, start in -160_i64..20, step in 1_i64..20, range in 1_i64..45,
    ) {
        let memory = in_memory(&all);
        let (from, to) = (MIDNIGHT + start * 60_000, MIDNIGHT + (start + 9 * step) * 60_000);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let wrong = runtime.block_on(async {
            let (slate, usage) = store(&all, seal_after).await;
            let reader = slate.view().on(&usage).unwrap();
            let engine = Engine::default();
            let mut wrong = None;
            for function in FUNCTIONS.into_iter().chain(["absent_over_time"]) {
                let of = |range: &str| call(function, range);
                let ranges = [format!("m[{range}m]"), format!("{{s=~\"0|2\"}}[{range}m]"), format!("m[{range}m:90s]")];
                let queries = [of(&ranges[0]), format!("sum by (s) ({})", of(&ranges[1])), of(&ranges[2])];
                for query in queries {
                    let (from, to) = (Timestamp(from), Timestamp(to));
                    let stored = lines(engine.range(&reader, &query, from, to, step * 60_000).await);
                    let expected = lines(engine.range(&memory, &query, from, to, step * 60_000).await);
                    if stored != expected {
                        wrong.get_or_insert((query, stored, expected));
                    }
                }
            }
            slate.close().await.unwrap();
            wrong
        });
        prop_assert!(wrong.is_none(), "{:?}", wrong);
    }
}
