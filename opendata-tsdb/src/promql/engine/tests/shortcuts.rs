//! A query's answer and its remarks are the same with and without shortcuts.

use super::native::small;
use super::stored::{MIDNIGHT, lines, store, written};
use super::*;
use crate::matcher::MatchOp;
use crate::{Config, Tsdb};
use opendata_core::env::{Env, ManualClock};
use opendata_core::slate::{Ack, Handle, Settings, Slate};
use opendata_core::store::Store;

fn engine(shortcuts: bool) -> Engine {
    Engine::new(EngineConfig { lookback_ms: 20_000, shortcuts, ..EngineConfig::default() })
}

fn both(storage: &dyn Storage, query: &str, start_ms: i64, end_ms: i64, step_ms: i64) -> [Result<Answer>; 2] {
    let (start, end) = (Timestamp(start_ms), Timestamp(end_ms));
    [true, false].map(|shortcuts| block_on(engine(shortcuts).range(storage, query, start, end, step_ms)))
}

#[test]
fn equal_parts_are_decoded_once() {
    let storage = one(&[(0, 1.0), (10_000, 2.0), (20_000, 4.0)]);
    for (query, once) in [
        ("sum(m_total) / sum(m_total)", true),
        ("m_total > 1 and m_total > 1", true),
        ("sum(rate(m_total[15s])) / on() (sum(rate(m_total[15s])) + 1)", true),
        ("sum(m_total) / sum(m_total offset 5s)", false),
        ("sum(m_total) / sum(m_total @ 10)", false),
        ("sum(m_total) / max_over_time(sum(m_total)[10s:5s])", false),
        // What a part says names its place, so it is said at each.
        ("rate(m[15s]) + rate(m[15s])", false),
    ] {
        let storage = match query.contains("_total") {
            true => {
                let Memory(series) = one(&[(0, 1.0), (10_000, 2.0), (20_000, 4.0)]);
                let named = |series: Series| Series { labels: labels! { "__name__" => "m_total" }, ..series };
                Memory(series.into_iter().map(named).collect())
            }
            false => Memory(storage.0.clone()),
        };
        let [with, without] = both(&storage, query, 10_000, 20_000, 5_000).map(Result::unwrap);
        let decoded = |answer: &Answer| answer.statistics.samples_decoded;
        if once {
            assert_eq!(2 * decoded(&with), decoded(&without), "{query}");
        } else {
            assert_eq!(decoded(&with), decoded(&without), "{query}");
        }
        assert!(decoded(&with) > 0, "{query}");
        assert_eq!(lines(Ok(with)), lines(Ok(without)), "{query}");
    }
    let [with, _] = both(&storage, "rate(m[15s]) + rate(m[15s])", 10_000, 20_000, 5_000).map(Result::unwrap);
    assert_eq!(with.annotations.infos().count(), 2, "one at each place");
}

#[test]
fn explain_tells_of_shortcuts() {
    let storage = one(&[(0, 1.0)]);
    let tell = |shortcuts| {
        block_on(engine(shortcuts).explain(&storage, "count(m) / (count(m) + 1)", Timestamp(0))).unwrap().plan
    };
    let (with, without) = (format!("{:?}", tell(true)), format!("{:?}", tell(false)));
    for what in ["computed once for all its places", "no values are decoded"] {
        assert!(with.contains(what) && !without.contains(what), "{with}");
    }
}

/// The selectors that a query reads.
fn reads(storage: &dyn Storage, query: &str) -> Vec<String> {
    let told = block_on(engine(true).explain(storage, query, Timestamp(20_000))).unwrap();
    told.reads.into_iter().map(|read| read.selector).collect()
}

#[test]
fn what_one_side_of_a_join_asks_for_is_asked_of_the_other() {
    let of = |name: &str, pod: &str, zone: &str| {
        let labels = labels! { "__name__" => name, "pod" => pod, "zone" => zone };
        Series::floats(labels, vec![0, 10_000, 20_000], vec![1.0, 2.0, 3.0])
    };
    let storage = Memory(vec![of("m", "1", "a"), of("m", "2", "a"), of("n", "1", "a"), of("n", "2", "a")]);
    let (m, n) = (r#"{__name__="m", pod="1"}"#, r#"{__name__="n", pod="1"}"#);
    for query in [
        r#"m{pod="1"} + n"#,
        r#"n * on (pod) group_left (zone) m{pod="1"}"#,
        r#"n unless on (pod) -m{pod="1"}"#,
        r#"rate(m{pod="1"}[15s]) and n"#,
        r#"rate(m{pod="1"}[15s]) > ignoring (zone) group_right n"#,
        r#"sum by (pod, zone) (m{pod="1"}) == on (zone, pod) n"#,
        r#"m{pod="1"} - on (pod) count_over_time(n[10s])"#,
    ] {
        let mut found = reads(&storage, query);
        found.sort_unstable();
        // `unless` keeps what has no partner.
        let expected = if query.contains("unless") {
            [m.to_owned(), r#"{__name__="n"}"#.to_owned()]
        } else {
            [m.to_owned(), n.to_owned()]
        };
        assert_eq!(found, expected, "{query}");
        let [with, without] = both(&storage, query, 10_000, 20_000, 5_000);
        assert_eq!(lines(with), lines(without), "{query}");
    }
    for query in [
        r#"m{pod="1"} or n"#,
        r#"m{pod="1"} + on (zone) group_left sum by (zone) (n)"#,
        r#"sum by (zone) (m{pod="1"}) + on (pod, zone) n"#,
        // What is said of a range vector depends on its series.
        r#"m{pod="1"} / rate(n[15s])"#,
        r#"m{pod="1"} + n + n"#,
        r#"m{pod="1"} + fill(0) n"#,
    ] {
        assert!(reads(&storage, query).iter().any(|read| read == r#"{__name__="n"}"#), "{query}");
    }
    let twice = r#"m{pod="1"} + on (pod) n"#;
    let storage = Memory(vec![of("m", "1", "a"), of("n", "1", "a"), of("n", "2", "a"), of("n", "2", "b")]);
    let [with, without] = both(&storage, twice, 10_000, 20_000, 5_000);
    assert!(with.as_ref().unwrap_err().to_string().contains("found duplicate series"));
    assert_eq!(lines(with), lines(without));
}

/// Series with a sample every seven seconds, stale where it is 8; which of them are histograms goes by the place of the series and the value.
fn mixed<const N: usize>(labels: [Labels; N], values: &[Vec<u8>], is_histogram: impl Fn(usize, u8) -> bool) -> Memory {
    let series = labels.into_iter().zip(values).enumerate().map(|(which, (labels, values))| {
        let times = (0..values.len() as i64).map(|at| at * 7_000).collect();
        let histograms = (0_u32..).zip(values).filter(|(_, value)| is_histogram(which, **value));
        let histograms = histograms.map(|(at, value)| (at, Arc::new(small(f64::from(*value)))));
        let floats = values.iter().map(|value| if *value == 8 { STALE_NAN } else { f64::from(*value) }).collect();
        Series::mixed(labels, times, floats, histograms.collect())
    });
    Memory(series.collect())
}

/// Joins of sides that can be narrowed, and of some that cannot.
fn joined() -> impl Strategy<Value = String> {
    let matchers = ["", r#"{a="1"}"#, r#"{a!="1"}"#, r#"{b=~"x.*"}"#, r#"{b=""}"#, r#"{a="1",b!="xy"}"#];
    let selector = (prop::sample::select(vec!["m", "sum", "by"]), prop::sample::select(matchers.to_vec()));
    let selector = selector.prop_map(|(name, matchers)| format!("{name}{matchers}"));
    let around = prop::sample::select(vec![
        "S",
        "S",
        "S",
        "-S",
        "abs(S)",
        "S > 2",
        "rate(S[15s])",
        "count_over_time(S[15s])",
        "sum by (a) (S)",
        "sum by (a, b) (S)",
        "max without (b) (S)",
        "topk(1, S)",
        "last_over_time(S[10s:5s])",
        "S offset 7s",
    ]);
    let side = (selector, around).prop_map(|(selector, around)| around.replace('S', &selector));
    let op = prop::sample::select(vec![
        "+",
        "and",
        "unless",
        "or",
        "/ on (a)",
        "* on (a) group_left (b)",
        "- ignoring (b)",
        "> on (a, b) group_right",
        "and on (b)",
        "unless on (a)",
        "== bool on (a, b)",
        "+ on (a) group_right (c)",
    ]);
    let join = (side.clone(), op.clone(), side.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}"));
    prop_oneof![2 => join.clone(), 1 => (join, op, side).prop_map(|(a, op, b)| format!("({a}) {op} {b}"))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn matchers_that_are_asked_of_the_other_side_change_nothing(
        query in joined(), values in prop::collection::vec(prop::collection::vec(0_u8..9, 0..8), 9), step in 1_i64..20,
    ) {
        let labels = [
            labels! { "__name__" => "m", "a" => "1", "b" => "xy" }, labels! { "__name__" => "m", "a" => "2", "b" => "xy" },
            labels! { "__name__" => "m", "a" => "1" }, labels! { "__name__" => "sum", "a" => "1", "b" => "x" },
            labels! { "__name__" => "sum", "a" => "2", "b" => "x" }, labels! { "__name__" => "sum", "a" => "2", "b" => "z" },
            labels! { "__name__" => "by", "a" => "1", "c" => "q" }, labels! { "__name__" => "by", "a" => "2" },
            labels! { "__name__" => "by", "b" => "xy" },
        ];
        let storage = mixed(labels, &values, |which, value| which % 4 == 1 && value < 2);
        let [with, without] = both(&storage, &query, 20_000, 20_000 + 4_000 * step, step * 500).map(lines);
        prop_assert_eq!(with, without, "{}", query);
    }
}

/// Repeats parts of a query.
fn repetitive() -> impl Strategy<Value = String> {
    let join = prop::sample::select(vec!["+", "or", "and", "unless", "/ on(a)", "== ignoring(b)"]);
    (vector(), vector(), join).prop_map(|(a, b, op)| format!("({a}) {op} (({b}) {op} ({a}))"))
}

proptest! {
    #[test]
    fn equal_parts_computed_once_change_nothing(
        query in repetitive(), values in prop::collection::vec(prop::collection::vec(0_u8..9, 0..20), 5), step in 1_i64..60,
    ) {
        let labels = [
            labels! { "__name__" => "m", "a" => "1", "b" => "xy", "c" => "q" }, labels! { "__name__" => "m", "a" => "2" },
            labels! { "__name__" => "a:b", "a" => "1" }, labels! { "__name__" => "sum", "a" => "1", "b" => "x" },
            labels! { "__name__" => "by" },
        ];
        let storage = mixed(labels, &values, |which, value| which % 2 == 1 && value < 4);
        let [with, without] = both(&storage, &query, 50_000, 50_000 + 4_000 * step, step * 500).map(lines);
        prop_assert_eq!(with, without, "{}", query);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Over chunks, slabs and deletions.
    #[test]
    fn values_that_are_not_decoded_change_nothing(
        all in written(), seal_after in 0_usize..5, start in -160_i64..20, step in 1_i64..20, range in 1_i64..45,
        deleted in prop::option::of((-160_i64..30, 0_i64..40)),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let wrong = runtime.block_on(async {
            let (slate, usage) = store(&all, seal_after).await;
            if let Some((from, length)) = deleted {
                let (from, to) = (MIDNIGHT + from * 60_000, MIDNIGHT + (from + length) * 60_000);
                let mut tx = slate.begin();
                let of = Matcher::new("s", MatchOp::Regex, "0|1").unwrap();
                tx.on(&usage).delete(vec![of], Timestamp(from), Timestamp(to));
                tx.commit_with(Ack::Written).await.unwrap();
            }
            let reader = slate.view().on(&usage).unwrap();
            let mut wrong = None;
            let from = MIDNIGHT + start * 60_000;
            for query in [
                "count(m)", "count by (s) ({s=~\"0|2\"})", "group(m) or absent(m)", "timestamp(m)", "absent(m{s=\"0\"})",
                "count(m offset 3m) / count(m)", "count_over_time(m[RANGE])", "present_over_time(m[RANGE] offset 1m)",
                "ts_of_first_over_time(m[RANGE])", "ts_of_last_over_time({s=~\".*\"}[RANGE])", "absent_over_time(m[RANGE])",
                "count(m @ end())",
            ] {
                let query = query.replace("RANGE", &format!("{range}m"));
                for steps in [0, 9] {
                    let mut answers = Vec::new();
                    for shortcuts in [true, false] {
                        let engine = Engine::new(EngineConfig { shortcuts, ..EngineConfig::default() });
                        let to = Timestamp(from + steps * step * 60_000);
                        answers.push(lines(engine.range(&reader, &query, Timestamp(from), to, step * 60_000).await));
                    }
                    if answers[0] != answers[1] {
                        wrong.get_or_insert((query.clone(), answers));
                    }
                }
            }
            slate.close().await.unwrap();
            wrong
        });
        prop_assert!(wrong.is_none(), "{:?}", wrong);
    }
}

/// A slate with nothing in it, which seals all it has when it is maintained.
async fn empty() -> (Slate, Handle<Tsdb>) {
    let store = Store::from_url("memory:").unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp(MIDNIGHT + 3_600_000)));
    let settings = Settings { maintenance_interval_ms: 0, flush_interval_ms: 5, ..Settings::default() };
    let config = Config { future_limit_ms: None, seal_samples: 1, ..Config::default() };
    let builder = Slate::builder(&store, "slate").settings(settings).env(Env::seeded(clock, 1));
    let slate = builder.system::<Tsdb>("usage", config).open().await.unwrap();
    let usage = slate.get("usage").unwrap();
    (slate, usage)
}

async fn write(slate: &Slate, usage: &Handle<Tsdb>, samples: &[(Timestamp, f64)]) {
    let mut tx = slate.begin();
    tx.on(usage).samples(labels! { "__name__" => "m" }, samples);
    tx.commit_with(Ack::Written).await.unwrap();
}

/// Times by their place, around the end of a bucket.
fn placed(place: i64) -> Timestamp {
    Timestamp(MIDNIGHT + (place - 300) * 20_000)
}

#[tokio::test]
async fn chunks_inside_of_the_range_say_their_extremes() {
    let (slate, usage) = empty().await;
    let samples: Vec<(Timestamp, f64)> = (0..600).map(|at| (placed(at), ((at * 37) % 101 - 50) as f64)).collect();
    write(&slate, &usage, &samples).await;
    slate.maintain().await.unwrap();
    let reader = slate.view().on(&usage).unwrap();
    for (query, few) in [
        ("max_over_time(m[4h])", true),
        ("min_over_time(m[4h])", true),
        ("max_over_time(m[4h] @ end())", true),
        ("sum_over_time(m[4h])", false),
        ("max_over_time(m[5m])", false),
    ] {
        let [with, without] = [true, false].map(|shortcuts| {
            let engine = Engine::new(EngineConfig { shortcuts, ..EngineConfig::default() });
            let reader = &reader;
            async move { engine.explain(reader, query, placed(599)).await.unwrap() }
        });
        let (with, without) = (with.await, without.await);
        assert_eq!(format!("{:?}", with.answer.value), format!("{:?}", without.answer.value), "{query}");
        let [with_decoded, decoded] = [&with, &without].map(|told| told.answer.statistics.samples_decoded);
        assert_eq!(10 * with_decoded < decoded, few, "{query}: {with_decoded} of {decoded}");
        let says = |told: &crate::promql::Explained| format!("{:?}", told.plan).contains("say theirs");
        assert_eq!((says(&with), says(&without)), (few || query.contains("max"), false), "{query}");
    }
    slate.close().await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Over several chunks, what replaces and deletes their samples, and zeros of both signs.
    #[test]
    fn extremes_of_chunks_change_nothing(
        values in prop::collection::vec(prop_oneof![8 => (-9_i32..9).prop_map(f64::from), 2 => Just(-0.0)], 600),
        odd in prop::collection::vec((0_usize..600, prop::sample::select(vec![f64::NAN, STALE_NAN, f64::INFINITY])), 0..2),
        above in 0_u8..3,
        later in prop::collection::vec((0_i64..700, -20_i32..20), 0..4),
        deleted in prop::option::of((0_i64..600, 0_i64..200)),
        (end, range) in (100_i64..700, 1_i64..700),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let wrong = runtime.block_on(async {
            let mut values = values;
            // All on one side of zero, or none below it.
            match above {
                0 => values.iter_mut().for_each(|value| *value = value.abs()),
                1 => values.iter_mut().for_each(|value| *value = -value.abs()),
                _ => {}
            }
            odd.iter().for_each(|(at, value)| values[*at] = *value);
            let (slate, usage) = empty().await;
            let samples: Vec<(Timestamp, f64)> = (0..).map(placed).zip(values).collect();
            write(&slate, &usage, &samples).await;
            slate.maintain().await.unwrap();
            let later: Vec<_> = later.into_iter().map(|(at, value)| (placed(at), f64::from(value))).collect();
            write(&slate, &usage, &later).await;
            if let Some((from, length)) = deleted {
                let mut tx = slate.begin();
                tx.on(&usage).delete(vec![Matcher::metric("m")], placed(from), placed(from + length));
                tx.commit_with(Ack::Written).await.unwrap();
            }
            let reader = slate.view().on(&usage).unwrap();
            let mut wrong = None;
            for query in ["min_over_time(m[RANGE])", "max_over_time(m[RANGE])", "max_over_time(m[RANGE] @ end())"] {
                let query = query.replace("RANGE", &format!("{}s", range * 20));
                for steps in [0, 3] {
                    let mut answers = Vec::new();
                    for shortcuts in [true, false] {
                        let engine = Engine::new(EngineConfig { shortcuts, ..EngineConfig::default() });
                        answers.push(lines(engine.range(&reader, &query, placed(end), placed(end + steps), 20_000).await));
                    }
                    if answers[0] != answers[1] {
                        wrong.get_or_insert((query.clone(), answers));
                    }
                }
            }
            slate.close().await.unwrap();
            wrong
        });
        prop_assert!(wrong.is_none(), "{:?}", wrong);
    }
}
