//! Series that hold histograms, floats, or both, against a plain reading of the documentation: a histogram is a list of numbers
//! (count, sum, buckets), each of which is computed with as if it were a float.

use std::sync::Arc;

use super::*;
use crate::histogram::{Buckets, CounterReset, Histogram};
use crate::promql::SampleValue;

/// Count, sum, and the buckets with index 0 to 3.
pub(super) type Numbers = [f64; 6];

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Plain {
    Float(f64),
    Histogram(Numbers),
}

pub(super) fn histogram(numbers: Numbers) -> Histogram {
    let [count, sum, buckets @ ..] = numbers;
    let populated = (0..).zip(buckets).filter(|(_, count)| *count != 0.0);
    Histogram { count, sum, positive: Buckets::from_indexed(populated), ..Histogram::default() }
}

/// A histogram that follows from a number; some are gauges, and their schemas differ.
pub(super) fn small(value: f64) -> Histogram {
    let count = value.abs();
    let schema = if value % 2.0 == 0.0 { 0 } else { 1 };
    let counter_reset = if value < 0.0 { CounterReset::Gauge } else { CounterReset::Unknown };
    Histogram { schema, counter_reset, ..histogram([count * 3.0, value, count, 0.0, count * 2.0, 0.0]) }
}

fn numbers(histogram: &Histogram) -> Numbers {
    let mut numbers = [histogram.count, histogram.sum, 0.0, 0.0, 0.0, 0.0];
    for (index, count) in histogram.positive.indexed() {
        numbers[2 + usize::try_from(index).unwrap()] = count;
    }
    numbers
}

fn each(a: Numbers, b: Numbers, f: impl Fn(f64, f64) -> f64) -> Numbers {
    std::array::from_fn(|at| f(a[at], b[at]))
}

/// Whether a counter began anew: anything fell but the sum.
fn fell(before: Numbers, after: Numbers) -> bool {
    (0..6).filter(|at| *at != 1).any(|at| after[at] < before[at])
}

/// What the documentation says of each function.
fn plain(function: &str, w: &[(f64, Plain)], after: f64, until: f64) -> Option<Plain> {
    let floats: Vec<(f64, f64)> =
        w.iter().filter_map(|(t, p)| if let Plain::Float(v) = p { Some((*t, *v)) } else { None }).collect();
    let all: Vec<(f64, Numbers)> =
        w.iter().filter_map(|(t, p)| if let Plain::Histogram(v) = p { Some((*t, *v)) } else { None }).collect();
    let pairs = |wanted: &dyn Fn(Plain, Plain) -> bool| {
        Some(Plain::Float(w.windows(2).filter(|pair| wanted(pair[0].1, pair[1].1)).count() as f64))
    };
    match function {
        _ if w.is_empty() => return None,
        "count_over_time" => return Some(Plain::Float(w.len() as f64)),
        "first_over_time" => return Some(w[0].1),
        "last_over_time" => return Some(w[w.len() - 1].1),
        "resets" => {
            return pairs(&|a, b| match (a, b) {
                (Plain::Float(a), Plain::Float(b)) => b < a,
                (Plain::Histogram(a), Plain::Histogram(b)) => fell(a, b),
                _ => true,
            });
        }
        "changes" => return pairs(&|a, b| a != b),
        "irate" | "idelta" => {
            let [.., (t1, a), (t2, b)] = w else { return None };
            let is_rate = function == "irate";
            let by = if is_rate { t2 - t1 } else { 1.0 };
            return match (*a, *b) {
                (Plain::Float(a), Plain::Float(b)) => Some(Plain::Float(if is_rate && b < a { b } else { b - a } / by)),
                (Plain::Histogram(a), Plain::Histogram(b)) => {
                    let a = if is_rate && fell(a, b) { [0.0; 6] } else { a };
                    Some(Plain::Histogram(each(b, a, |b, a| (b - a) / by)))
                }
                _ => None,
            };
        }
        "max_over_time" => return floats.iter().map(|(_, v)| *v).reduce(f64::max).map(Plain::Float),
        _ if all.is_empty() => return super::plain(function, &floats, after, until).map(Plain::Float),
        _ if !floats.is_empty() => return None,
        "sum_over_time" | "avg_over_time" => {
            let sum = all.iter().fold([0.0; 6], |sum, (_, v)| each(sum, *v, |a, b| a + b));
            let by = if function == "sum_over_time" { 1.0 } else { all.len() as f64 };
            return Some(Plain::Histogram(sum.map(|v| v / by)));
        }
        _ => {}
    }
    // rate, increase, delta
    let counter = function != "delta";
    let ([(first_at, first), .., (last_at, last)], true) = (all.as_slice(), all.len() >= 2) else { return None };
    let mut grown = each(*last, *first, |last, first| last - first);
    for pair in all.windows(2).filter(|pair| counter && fell(pair[0].1, pair[1].1)) {
        grown = each(grown, pair[0].1, |grown, lost| grown + lost);
    }
    let sampled = last_at - first_at;
    let apart = sampled / (all.len() - 1) as f64;
    let reach = |gap: f64| if gap >= apart * 1.1 { apart / 2.0 } else { gap };
    let (mut left, right) = (reach(first_at - after), reach(until - last_at));
    if counter && grown[0] > 0.0 && first[0] >= 0.0 {
        left = left.min(sampled * first[0] / grown[0]);
    }
    let by = if function == "rate" { until - after } else { 1.0 };
    Some(Plain::Histogram(grown.map(|v| v * (sampled + left + right) / sampled / by)))
}

const FUNCTIONS: [&str; 13] = [
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "resets",
    "changes",
    "sum_over_time",
    "avg_over_time",
    "count_over_time",
    "first_over_time",
    "last_over_time",
    "max_over_time",
];

fn value() -> impl Strategy<Value = Plain> {
    let bucket = || (0_u8..6).prop_map(f64::from);
    let native = (bucket(), bucket(), bucket(), bucket(), -5_i8..20)
        .prop_map(|(a, b, c, d, sum)| Plain::Histogram([a + b + c + d, f64::from(sum), a, b, c, d]));
    // Mostly histograms: windows of one kind must come up too.
    prop_oneof![1 => (0_u8..30).prop_map(|v| Plain::Float(f64::from(v))), 12 => native]
}

fn samples() -> impl Strategy<Value = Vec<(i64, Plain)>> {
    prop::collection::btree_map((0_i64..200).prop_map(|at| at * 1000), value(), 0..40)
        .prop_map(|samples| samples.into_iter().collect())
}

fn storage(samples: &[(i64, Plain)]) -> Memory {
    let times = samples.iter().map(|(time, _)| *time).collect();
    let values = samples.iter().map(|(_, value)| if let Plain::Float(value) = value { *value } else { 0.0 }).collect();
    let histograms = (0..).zip(samples).filter_map(|(place, (_, value))| match value {
        Plain::Histogram(numbers) => Some((place, Arc::new(histogram(*numbers)))),
        Plain::Float(_) => None,
    });
    Memory(vec![Series::mixed(labels! { "__name__" => "m" }, times, values, histograms.collect())])
}

fn same(a: Plain, b: Plain) -> bool {
    match (a, b) {
        (Plain::Float(a), Plain::Float(b)) => close(a, b),
        (Plain::Histogram(a), Plain::Histogram(b)) => a.iter().zip(&b).all(|(a, b)| close(*a, *b)),
        _ => false,
    }
}

/// A histogram takes the memory of many floats, and counts as many against the limit.
#[test]
fn histograms_count_by_their_size() {
    let ask = |value: Plain, max_samples: usize| {
        let storage = storage(&[(0, value), (1_000, value)]);
        let engine = Engine::new(EngineConfig { max_samples, ..EngineConfig::default() });
        block_on(engine.instant(&storage, "count_over_time(m[10s])", Timestamp(1_000))).map(|_| ())
    };
    assert!(ask(Plain::Float(1.0), 2).is_ok());
    let native = Plain::Histogram([4.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    assert!(ask(native, 2).unwrap_err().message().contains("too many samples"));
    assert!(ask(native, 100).is_ok());
}

proptest! {
    /// Windows of histograms, and of histograms among floats, give what looking at each number by itself gives.
    #[test]
    fn functions_of_histograms_agree_with_plain_ones(
        samples in samples(), start in -20_i64..100, step in 1_i64..40, count in 1_i64..12, range in 1_i64..90,
    ) {
        let storage = storage(&samples);
        let end = start + step * (count - 1);
        for function in FUNCTIONS {
            let query = format!("{function}(m[{range}s])");
            let (from, to) = (Timestamp(start * 1000), Timestamp(end * 1000));
            let answer = block_on(Engine::default().range(&storage, &query, from, to, step * 1000)).unwrap();
            let Value::Matrix(series) = answer.value else { panic!("no matrix") };
            let got: Vec<(i64, Plain)> = series.iter().flat_map(Series::samples).map(|(time, value)| {
                let value = match value {
                    SampleValue::Float(value) => Plain::Float(value),
                    SampleValue::Histogram(histogram) => Plain::Histogram(numbers(histogram)),
                };
                (time, value)
            }).collect();
            let expected: Vec<(i64, Plain)> = (0..count).filter_map(|index| {
                let until = start + index * step;
                let inside: Vec<(f64, Plain)> = samples.iter()
                    .map(|(time, value)| (*time as f64 / 1000.0, *value))
                    .filter(|(time, _)| *time > (until - range) as f64 && *time <= until as f64)
                    .collect();
                Some((until * 1000, plain(function, &inside, (until - range) as f64, until as f64)?))
            }).collect();
            prop_assert_eq!(got.len(), expected.len(), "{}: {:?} / {:?}", query, &got, &expected);
            for ((s, x), (t, y)) in got.iter().zip(&expected) {
                prop_assert!(s == t && same(*x, *y), "{}: {:?} / {:?}", query, &got, &expected);
            }
        }
    }

    /// A range query over histograms is the instant queries of its steps.
    #[test]
    fn a_range_query_over_histograms_is_its_instant_queries(
        samples in samples(), start in 0_i64..100, step in 1_i64..40, which in 0_usize..9,
    ) {
        let query = [
            "m", "sum(m)", "avg(m + m)", "-m * 2", "histogram_quantile(0.3, m)", "count_values('v', m)", "m == m",
            "rate(m[40s]) or on() m", "sum_over_time(m[30s:7s])",
        ][which];
        let storage = storage(&samples);
        let engine = Engine::new(EngineConfig { lookback_ms: 5_000, ..EngineConfig::default() });
        let (start, step) = (start * 1000, step * 500);
        let answer = block_on(engine.range(&storage, query, Timestamp(start), Timestamp(start + 9 * step), step)).unwrap();
        let Value::Matrix(matrix) = answer.value else { panic!("no matrix") };
        for at in (0..10).map(|index| start + index * step) {
            let answer = block_on(engine.instant(&storage, query, Timestamp(at))).unwrap();
            let Value::Vector(vector) = answer.value else { panic!("no vector") };
            let mut instant: Vec<String> = vector.iter().map(|sample| match &sample.histogram {
                Some(histogram) => format!("{} {histogram}", sample.labels),
                None => format!("{} {}", sample.labels, sample.value),
            }).collect();
            let mut ranged: Vec<String> = matrix.iter().filter_map(|series| {
                let (_, value) = series.samples().find(|(time, _)| *time == at)?;
                Some(match value {
                    SampleValue::Float(value) => format!("{} {value}", series.labels),
                    SampleValue::Histogram(histogram) => format!("{} {histogram}", series.labels),
                })
            }).collect();
            instant.sort();
            ranged.sort();
            prop_assert_eq!(instant, ranged, "{} at {}", query, at);
        }
    }
}
