use std::future::Future;

use async_trait::async_trait;
use proptest::prelude::*;

use super::*;
use crate::labels;
use crate::matcher::Matcher;
use crate::promql::SampleValue;
use crate::promql::plan::plan;
use crate::promql::queries::vector;
use crate::promql::{STALE_NAN, is_stale};

mod limits;
mod native;
mod shortcuts;
mod stored;

/// Series in memory.
struct Memory(Vec<Series>);

#[async_trait]
impl Storage for Memory {
    async fn select(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Vec<Series>> {
        let wanted = |series: &&Series| {
            matchers.iter().all(|matcher| matcher.matches(series.labels.get(matcher.name()).unwrap_or_default()))
        };
        let cut = |series: &Series| {
            let (mut times, mut values, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
            for (time, value) in series.samples().filter(|(time, _)| (start_ms..=end_ms).contains(time)) {
                match value {
                    SampleValue::Float(value) => values.push(value),
                    SampleValue::Histogram(histogram) => {
                        histograms.push((u32::try_from(times.len()).unwrap(), Arc::clone(histogram)));
                        values.push(0.0);
                    }
                }
                times.push(time);
            }
            Series::mixed(series.labels.clone(), times, values, histograms)
        };
        Ok(self.0.iter().filter(wanted).map(cut).collect())
    }

    async fn label_sets(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Option<Vec<Labels>>> {
        let found = self.select(matchers, start_ms, end_ms).await?;
        Ok(Some(found.into_iter().map(|series| series.labels).collect()))
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn one(samples: &[(i64, f64)]) -> Memory {
    let (times, values) = samples.iter().copied().unzip();
    Memory(vec![Series::floats(labels! { "__name__" => "m" }, times, values)])
}

/// The samples of a window, found by looking at each of them.
fn window(samples: &[(i64, f64)], after: i64, until: i64) -> Vec<(f64, f64)> {
    let inside = samples.iter().filter(|(time, value)| *time > after && *time <= until && !is_stale(*value));
    inside.map(|(time, value)| (*time as f64 / 1000.0, *value)).collect()
}

/// What the reference's documentation says of each function, computed as plainly as it can be said.
fn plain(function: &str, w: &[(f64, f64)], after: f64, until: f64) -> Option<f64> {
    let values: Vec<f64> = w.iter().map(|(_, value)| *value).collect();
    let n = values.len() as f64;
    let (first, last) = (*w.first()?, *w.last()?);
    let drops: f64 = values.windows(2).filter(|pair| pair[1] < pair[0]).map(|pair| pair[0]).sum();
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
    let extrapolate = |difference: f64, counter: bool| {
        let apart = (last.0 - first.0) / (n - 1.0);
        let mut left = first.0 - after;
        let mut right = until - last.0;
        if left >= apart * 1.1 {
            left = apart / 2.0;
        }
        if right >= apart * 1.1 {
            right = apart / 2.0;
        }
        if counter && difference > 0.0 && first.1 >= 0.0 {
            left = left.min((last.0 - first.0) * first.1 / difference);
        }
        difference * (last.0 - first.0 + left + right) / (last.0 - first.0)
    };
    let at_least_two = |value: f64| (w.len() >= 2).then_some(value);
    match function {
        "rate" => at_least_two(extrapolate(last.1 - first.1 + drops, true) / (until - after)),
        "increase" => at_least_two(extrapolate(last.1 - first.1 + drops, true)),
        "delta" => at_least_two(extrapolate(last.1 - first.1, false)),
        "irate" | "idelta" => {
            let [.., a, b] = w else { return None };
            Some(match function {
                "idelta" => b.1 - a.1,
                _ if b.1 < a.1 => b.1 / (b.0 - a.0),
                _ => (b.1 - a.1) / (b.0 - a.0),
            })
        }
        "deriv" => {
            let t = w.iter().map(|(time, _)| time).sum::<f64>() / n;
            let above: f64 = w.iter().map(|(time, value)| (time - t) * (value - mean)).sum();
            let below: f64 = w.iter().map(|(time, _)| (time - t).powi(2)).sum();
            at_least_two(above / below)
        }
        "resets" => Some(values.windows(2).filter(|pair| pair[1] < pair[0]).count() as f64),
        "changes" => Some(values.windows(2).filter(|pair| pair[1] != pair[0]).count() as f64),
        "sum_over_time" => Some(values.iter().sum()),
        "avg_over_time" => Some(mean),
        "min_over_time" => values.iter().copied().reduce(f64::min),
        "max_over_time" => values.iter().copied().reduce(f64::max),
        "count_over_time" => Some(n),
        "first_over_time" => Some(first.1),
        "last_over_time" => Some(last.1),
        "ts_of_min_over_time" => {
            w.iter().rev().copied().reduce(|best, new| if new.1 < best.1 { new } else { best }).map(|s| s.0)
        }
        "ts_of_max_over_time" => {
            w.iter().rev().copied().reduce(|best, new| if new.1 > best.1 { new } else { best }).map(|s| s.0)
        }
        "ts_of_first_over_time" => Some(first.0),
        "ts_of_last_over_time" => Some(last.0),
        "present_over_time" => Some(1.0),
        "quantile_over_time" => Some(rank(0.3, &values)),
        "mad_over_time" => {
            let median = rank(0.5, &values);
            Some(rank(0.5, &values.iter().map(|value| (value - median).abs()).collect::<Vec<_>>()))
        }
        "predict_linear" => {
            let slope = plain("deriv", w, after, until)?;
            let t = w.iter().map(|(time, _)| time).sum::<f64>() / n;
            // The line goes through the middle of all, and is looked at 60 s behind the step, which is 90 s behind the window's end.
            Some(mean + slope * (until + OFFSET_OF_LINES + 60.0 - t))
        }
        "double_exponential_smoothing" => {
            let ([(_, a), (_, b), ..], true) = (w, w.len() >= 2) else { return None };
            let (mut level, mut trend) = (*a, b - a);
            for (at, value) in values.iter().enumerate().skip(1) {
                let before = level;
                level = 0.4 * value + 0.6 * (level + trend);
                if at + 1 < values.len() {
                    trend = 0.7 * (level - before) + 0.3 * trend;
                }
            }
            Some(level)
        }
        "stdvar_over_time" => Some(variance),
        "stddev_over_time" => Some(variance.sqrt()),
        _ => panic!("unknown function {function}"),
    }
}

/// The value at a share of all values, between two of them where it falls there.
fn rank(phi: f64, values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = phi * (sorted.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * (place - place.floor())
}

/// By how many seconds a step is behind the end of its window where lines are drawn.
const OFFSET_OF_LINES: f64 = 90.0;

/// A call, with the arguments that [`plain`] knows of.
fn call(function: &str, range: &str) -> String {
    match function {
        "quantile_over_time" => format!("quantile_over_time(0.3, {range})"),
        "predict_linear" => format!("predict_linear({range}, 60)"),
        "double_exponential_smoothing" => format!("double_exponential_smoothing({range}, 0.4, 0.7)"),
        _ => format!("{function}({range})"),
    }
}

/// All functions of a range vector but `absent_over_time`, which is of no series.
const FUNCTIONS: [&str; 26] = [
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    "present_over_time",
    "quantile_over_time",
    "mad_over_time",
    "predict_linear",
    "double_exponential_smoothing",
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "deriv",
    "resets",
    "changes",
    "sum_over_time",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "count_over_time",
    "first_over_time",
    "last_over_time",
    "stdvar_over_time",
    "stddev_over_time",
    "ts_of_min_over_time",
    "ts_of_max_over_time",
];

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * (1.0 + a.abs() + b.abs())
}

fn samples() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let value = prop_oneof![9 => (-20_i32..60).prop_map(f64::from), 1 => Just(STALE_NAN)];
    prop::collection::btree_map((0_i64..400).prop_map(|at| at * 500), value, 0..60)
        .prop_map(|samples| samples.into_iter().collect())
}

proptest! {
    /// Sliding over columns gives what looking at each window by itself gives.
    #[test]
    fn functions_of_windows_agree_with_plain_ones(
        samples in samples(), start in -20_i64..100, step in 1_i64..40, count in 1_i64..20, range in 1_i64..90, offset in -30_i64..30,
    ) {
        let storage = one(&samples);
        let (start, step, range, offset) = (start * 1000, step * 500, range * 1000, offset * 1000);
        let end = start + step * (count - 1);
        for function in FUNCTIONS {
            let offset = if function == "predict_linear" { OFFSET_OF_LINES as i64 * 1000 } else { offset };
            let query = call(function, &format!("m[{}s] offset {}s", range / 1000, offset / 1000));
            let answer = block_on(Engine::default().range(&storage, &query, Timestamp(start), Timestamp(end), step)).unwrap();
            let Value::Matrix(series) = answer.value else { panic!("no matrix") };
            let got: Vec<(i64, f64)> =
                series.iter().flat_map(|s| s.timestamps.iter().copied().zip(s.values.iter().copied())).collect();
            let expected: Vec<(i64, f64)> = (0..count).filter_map(|index| {
                let at = start + index * step;
                let (after, until) = (at - offset - range, at - offset);
                let inside = window(&samples, after, until);
                Some((at, plain(function, &inside, after as f64 / 1000.0, until as f64 / 1000.0)?))
            }).collect();
            prop_assert_eq!(got.len(), expected.len(), "{}: {:?} / {:?}", query, &got, &expected);
            for ((s, x), (t, y)) in got.iter().zip(&expected) {
                prop_assert!(s == t && close(*x, *y), "{}: {:?} / {:?}", query, &got, &expected);
            }
        }
    }

    /// An instant selector finds the newest sample of the lookback, unless it says that the series ended.
    #[test]
    fn instant_selectors_agree_with_plain_ones(samples in samples(), at in -400_i64..800, lookback in 1_i64..400) {
        let storage = one(&samples);
        let (at, lookback_ms) = (at * 500, lookback * 500);
        let engine = Engine::new(EngineConfig { lookback_ms, ..EngineConfig::default() });
        let answer = block_on(engine.instant(&storage, "m", Timestamp(at))).unwrap();
        let Value::Vector(vector) = answer.value else { panic!("no vector") };
        let newest = samples.iter().rfind(|(time, _)| *time <= at);
        let expected = newest.filter(|(time, value)| at - time < lookback_ms && !is_stale(*value)).map(|(_, value)| *value);
        prop_assert_eq!(vector.first().map(|sample| sample.value), expected);
    }

    /// A range query is the instant queries of its steps.
    #[test]
    fn a_range_query_is_its_instant_queries(
        a in samples(), b in samples(), start in 0_i64..100, step in 1_i64..60, which in 0_usize..10,
    ) {
        let query = [
            "sum(m)", "m * on(g) n", "m or n", "m unless on(g) n", "topk(1, {__name__=~'m|n'})", "sum_over_time((m + on(g) n)[30s:7s])",
            "quantile(0.3, {__name__=~'m|n'})", "m > 10", "count_values('v', {__name__=~'m|n'})", "absent(m) + scalar(n)",
        ][which];
        let series = |name: &str, samples: &[(i64, f64)]| {
            let (times, values) = samples.iter().copied().unzip();
            Series::floats(labels! { "__name__" => name, "g" => "1" }, times, values)
        };
        let storage = Memory(vec![series("m", &a), series("n", &b)]);
        let engine = Engine::new(EngineConfig { lookback_ms: 5_000, ..EngineConfig::default() });
        let (start, step) = (start * 1000, step * 500);
        let answer = block_on(engine.range(&storage, query, Timestamp(start), Timestamp(start + 9 * step), step)).unwrap();
        let Value::Matrix(matrix) = answer.value else { panic!("no matrix") };
        for index in 0..10 {
            let at = start + index * step;
            let answer = block_on(engine.instant(&storage, query, Timestamp(at))).unwrap();
            let Value::Vector(mut vector) = answer.value else { panic!("no vector") };
            vector.sort_by(|a, b| a.labels.cmp(&b.labels));
            let instant: Vec<(Labels, u64)> = vector.into_iter().map(|s| (s.labels, s.value.to_bits())).collect();
            let ranged: Vec<(Labels, u64)> = matrix.iter().filter_map(|series| {
                let place = series.timestamps.iter().position(|time| *time == at)?;
                Some((series.labels.clone(), series.values[place].to_bits()))
            }).collect();
            prop_assert_eq!(instant, ranged, "{} at {}", query, at);
        }
    }
}

fn bits(labels: &Labels, value: f64) -> (String, u64) {
    // One NaN is like another: which one an operation yields is the processor's choice.
    (labels.to_string(), if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() })
}

proptest! {
    /// The same for any query: it fails where one of its steps fails, and else agrees with all of them.
    #[test]
    fn any_range_query_is_its_instant_queries(
        query in vector(), columns in prop::collection::vec(samples(), 6), start in 0_i64..100, step in 1_i64..60,
    ) {
        prop_assume!(!query.contains("start()"));
        let labels = [
            labels! { "__name__" => "m", "a" => "1", "b" => "xy", "c" => "q" }, labels! { "__name__" => "m", "a" => "1", "c" => "z" },
            labels! { "__name__" => "a:b", "a" => "1" }, labels! { "__name__" => "sum", "a" => "1", "b" => "x" },
            labels! { "__name__" => "offset", "a" => "2" }, labels! { "__name__" => "by" },
        ];
        let series = labels.into_iter().zip(&columns).enumerate().map(|(which, (labels, samples))| {
            let (times, values): (Vec<i64>, Vec<f64>) = samples.iter().copied().unzip();
            // Every other series holds histograms too.
            let native = values.iter().enumerate().filter(|(_, value)| which % 2 == 1 && **value % 3.0 == 0.0);
            let histograms = native.map(|(at, value)| (u32::try_from(at).unwrap(), Arc::new(native::small(*value))));
            Series::mixed(labels, times, values.clone(), histograms.collect())
        });
        let storage = Memory(series.collect());
        let engine = Engine::new(EngineConfig { lookback_ms: 20_000, ..EngineConfig::default() });
        let (start, step) = (start * 1000, step * 500);
        let ranged = block_on(engine.range(&storage, &query, Timestamp(start), Timestamp(start + 4 * step), step));
        let steps: Vec<Result<Answer>> = (0..5)
            .map(|index| block_on(engine.instant(&storage, &query, Timestamp(start + index * step))))
            .collect();
        let Ok(ranged) = ranged else {
            prop_assert!(steps.iter().any(Result::is_err), "{}: only the range query fails: {:?}", query, ranged.err());
            return Ok(());
        };
        let Value::Matrix(matrix) = ranged.value else { panic!("no matrix") };
        for (at, answer) in (0..).map(|index| start + index * step).zip(steps) {
            let Value::Vector(vector) = answer.map_err(|e| TestCaseError::fail(format!("{query}: only a step fails: {e}")))?.value else {
                panic!("no vector")
            };
            let mut instant: Vec<(String, u64)> = vector.iter().map(|s| match &s.histogram {
                Some(histogram) => (format!("{} {histogram}", s.labels), 0),
                None => bits(&s.labels, s.value),
            }).collect();
            let mut at_step: Vec<(String, u64)> = matrix.iter().filter_map(|series| {
                let (_, value) = series.samples().find(|(time, _)| *time == at)?;
                Some(match value {
                    SampleValue::Histogram(histogram) => (format!("{} {histogram}", series.labels), 0),
                    SampleValue::Float(value) => bits(&series.labels, value),
                })
            }).collect();
            instant.sort();
            at_step.sort();
            prop_assert_eq!(instant, at_step, "{} at {}", query, at);
        }
    }
}

/// By default a name goes where a value is computed; with delayed removal it goes from the result.
#[test]
fn names_go_at_once_or_at_the_end() {
    let series =
        |name: &str| Series::floats(labels! { "__name__" => name, "g" => "1" }, vec![0, 10_000], vec![0.0, 10.0]);
    let storage = Memory(vec![series("a_total"), series("b_total")]);
    let ask = |query: &str, delayed_name_removal: bool| {
        let engine = Engine::new(EngineConfig { delayed_name_removal, ..EngineConfig::default() });
        let answer = block_on(engine.instant(&storage, query, Timestamp(10_000)));
        answer.map(|answer| {
            let Value::Vector(vector) = answer.value else { panic!("no vector") };
            vector.into_iter().map(|sample| sample.labels.to_string()).collect::<Vec<_>>()
        })
    };
    let one = r#"label_replace(increase(a_total[20s]), "was", "$1", "__name__", "(.*)")"#;
    assert_eq!(ask(one, false).unwrap(), [r#"{g="1"}"#]);
    assert_eq!(ask(one, true).unwrap(), [r#"{g="1", was="a_total"}"#]);
    let both = r#"sum by (__name__) (increase({g="1"}[20s]))"#;
    assert!(ask(both, false).unwrap_err().message().contains("same labelset"));
    assert!(ask(both, true).unwrap_err().message().contains("same labelset"));
    let sum = r#"sum(increase({g="1"}[20s]))"#;
    assert!(ask(sum, false).unwrap_err().message().contains("same labelset"));
    assert_eq!(ask(sum, true).unwrap(), ["{}"]);
    assert_eq!(ask(r#"{g="1"} > 5"#, false).unwrap(), [r#"a_total{g="1"}"#, r#"b_total{g="1"}"#]);
    assert_eq!(ask("a_total + on(g) b_total", true).unwrap(), [r#"{g="1"}"#]);
    assert_eq!(ask("-a_total or b_total", false).unwrap(), [r#"{g="1"}"#,]);
}

#[test]
fn limits_refuse_a_query() {
    let samples: Vec<(i64, f64)> = (0..100).map(|at| (at * 1000, 1.0)).collect();
    let storage = one(&samples);
    let config = EngineConfig {
        max_points: 10,
        max_samples: 50,
        max_computed: 100,
        max_held: 15,
        max_subquery_points: 20,
        ..EngineConfig::default()
    };
    let engine = Engine::new(config);
    let range = |query: &str, end: i64, step: i64| {
        block_on(engine.range(&storage, query, Timestamp(0), Timestamp(end), step))
            .map(|_| ())
            .map_err(|error| error.message().to_owned())
    };
    assert_eq!(range("m", 9_000, 1_000), Ok(()));
    assert_eq!(range("m", 10_000, 1_000).unwrap_err(), "query has too many points, limit=10, points=11");
    assert_eq!(range("m", 9_000, 0).unwrap_err(), "step must be longer than zero, step_ms=0");
    assert_eq!(range("m", -1, 1).unwrap_err(), "end is before start, start=0, end=-1");
    assert_eq!(
        range("m[1m]", 9_000, 1_000).unwrap_err(),
        "a range query needs a scalar or an instant vector, found a range vector"
    );
    assert_eq!(range("m", 90_000, 10_000).unwrap_err(), "query reads too many samples, limit=50");
    assert_eq!(
        range("max_over_time(m[20s:100ms])", 0, 1).unwrap_err(),
        "subquery has too many steps, limit=20, steps=200"
    );
    let held = "query keeps too many values in memory, limit=15";
    assert_eq!(range("m + m", 9_000, 1_000).unwrap_err(), held);
    assert_eq!(range("sum(topk(1, m)) + 1", 9_000, 1_000).unwrap_err(), held);
    let many = format!("m{}", " + 1".repeat(12));
    assert_eq!(range(&many, 9_000, 1_000).unwrap_err(), "query computes too many values, limit=100");
}

#[test]
fn extreme_times_do_not_overflow() {
    let storage = one(&[(i64::MIN, 1.0), (i64::MIN + 1, 2.0), (0, 1.0), (i64::MAX, 3.0)]);
    for at in [i64::MIN, i64::MAX, 0] {
        for query in [
            "m",
            "rate(m[5m])",
            "rate(m[99999y])",
            "deriv(m[99999y])",
            "irate(m[99999y])",
            "sum_over_time(m[1d:1h])",
            "m offset 1y",
            "m @ 9e14",
            "year()",
        ] {
            let _ = block_on(Engine::default().instant(&storage, query, Timestamp(at)));
        }
        let _ = block_on(Engine::default().range(&storage, "m", Timestamp(i64::MIN), Timestamp(at), i64::MAX));
        let _ = block_on(Engine::default().range(&storage, "m", Timestamp(at), Timestamp(i64::MAX), 1));
    }
}

#[test]
fn selectors_that_read_the_same_are_read_once() {
    let parsed = parse("rate(m[5m]) / rate(m[5m]) + m", QueryTime::default()).unwrap();
    let grid = Grid { start_ms: 0, step_ms: 1, count: 1 };
    let plan = plan(&parsed, &grid, &EngineConfig::default(), false).unwrap();
    assert_eq!(plan.reads.len(), 1, "a range of five minutes and the lookback are the same: {:?}", plan.reads);
    assert_eq!((plan.reads[0].start_ms, plan.reads[0].end_ms), (-299_999, 0));
}

#[test]
fn a_query_can_be_asked_from_any_thread() {
    fn assert_send<T: Send>(value: T) -> T {
        value
    }
    let engine = Engine::default();
    let storage = one(&[(0, 1.0)]);
    let answer = block_on(assert_send(engine.instant(&storage, "1 + 1", Timestamp(7)))).unwrap();
    assert!(matches!(answer.value, Value::Scalar { at: Timestamp(7), value } if value == 2.0));
}

/// The highest trees that parse are evaluated, and dropped, on the stack of a worker.
#[test]
fn the_highest_tree_fits_a_small_stack() {
    let chain = |first: &str, more: &str| {
        let longest = (0..400)
            .rev()
            .map(|n| format!("{first}{}", more.repeat(n)))
            .find(|query| Engine::default().check(query).is_ok());
        longest.unwrap()
    };
    let nest = |open: &str, inner: &str, close: &str| {
        let nested = |n: usize| format!("{}{inner}{}", open.repeat(n), close.repeat(n));
        (0..400).rev().map(nested).find(|query| Engine::default().check(query).is_ok()).unwrap()
    };
    let queries = [
        chain("m", " + m"),
        chain("m", " or m"),
        chain("m", " > 0"),
        chain("1", " + 1"),
        nest("abs(", "m", ")"),
        nest("sum(", "m", ")"),
        nest("topk(1, ", "m", ")"),
        nest("sum_over_time(", "m", "[1m:1m])"),
        nest("label_replace(", "m", ", 'a', 'b', 'c', '')"),
        nest("histogram_quantile(0.5, ", "m", ")"),
        nest("vector(scalar(", "m", "))"),
        nest("-(", "m", ")"),
        nest("m + (", "m", ")"),
    ];
    let small = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        let storage = one(&[(0, 1.0)]);
        for query in queries {
            assert!(block_on(Engine::default().instant(&storage, &query, Timestamp(0))).is_ok(), "{query}");
        }
    });
    small.unwrap().join().unwrap();
}
