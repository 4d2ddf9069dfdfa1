//! Runs a script and compares.

use std::collections::BTreeMap;

use opendata_core::{Result, Timestamp};
use opendata_tsdb::Labels;
use opendata_tsdb::promql::{Answer, Engine, Value};

use crate::memory::Memory;
use crate::script::{Command, Eval, Expect, Time, parse};
use crate::series::Item;

pub(crate) struct Outcome {
    pub(crate) line: usize,
    pub(crate) query: String,
    /// Why it failed, if it did.
    pub(crate) failure: Option<String>,
    /// Whether native histograms were loaded or are expected.
    pub(crate) native_histograms: bool,
}

pub(crate) fn run(text: &str) -> std::result::Result<Vec<Outcome>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let engine = Engine::default();
    let mut memory = Memory::default();
    let mut native = text.contains("load_with_nhcb");
    let mut outcomes = Vec::new();
    for command in parse(text)? {
        match command {
            Command::Clear => {
                memory = Memory::default();
                native = text.contains("load_with_nhcb");
            }
            Command::Load { step_ms, series } => {
                for (labels, items) in series {
                    for (time, item) in (0_i64..).map(|index| index * step_ms).zip(items) {
                        match item {
                            Item::Float(value) => memory.insert(labels.clone(), time, value),
                            Item::Gap => {}
                            Item::Histogram => native = true,
                        }
                    }
                }
            }
            Command::Eval(eval) => {
                let failure = runtime.block_on(check(&engine, &memory, &eval)).err();
                let expected = eval.expect.series.iter().any(|(_, items)| items.contains(&Item::Histogram));
                outcomes.push(Outcome {
                    line: eval.line,
                    query: eval.query.clone(),
                    failure,
                    native_histograms: native || expected,
                });
            }
        }
    }
    Ok(outcomes)
}

async fn check(engine: &Engine, memory: &Memory, eval: &Eval) -> std::result::Result<(), String> {
    let answer = match eval.time {
        Time::Instant(at) => engine.instant(memory, &eval.query, Timestamp(at)).await,
        Time::Range { start, end, step } => {
            engine.range(memory, &eval.query, Timestamp(start), Timestamp(end), step).await
        }
    };
    compare(&answer, eval)?;
    // An instant query must agree with the middle of a range query, as far as a range query can be asked.
    if let (Time::Instant(at), Ok(Answer { value: Value::Scalar { .. } | Value::Vector(_), .. })) = (eval.time, &answer)
        && !eval.expect.ordered
    {
        let around = engine.range(memory, &eval.query, Timestamp(at - 60_000), Timestamp(at + 60_000), 60_000).await;
        let around = around.map_err(|error| format!("as a range query: {error}"))?;
        let Value::Matrix(series) = around.value else { return Err("a range query gave no matrix".to_owned()) };
        let middle = series.into_iter().filter_map(|series| {
            let at = series.timestamps.iter().position(|time| *time == at)?;
            Some((series.labels, series.values[at]))
        });
        let middle: Vec<(Labels, f64)> = middle.collect();
        let result = match answer {
            Ok(Answer { value: Value::Scalar { value, .. }, .. }) => same_vector(&[(Labels::empty(), value)], &middle),
            _ => compare_vector(&middle, &eval.expect),
        };
        result.map_err(|error| format!("as a range query: {error}"))?;
    }
    Ok(())
}

fn compare(answer: &Result<Answer>, eval: &Eval) -> std::result::Result<(), String> {
    let expect = &eval.expect;
    let answer = match (answer, expect.fail) {
        (Err(_), true) => return Ok(()),
        (Err(error), false) => return Err(error.to_string()),
        (Ok(_), true) => return Err("did not fail".to_owned()),
        (Ok(answer), false) => answer,
    };
    let warned = answer.annotations.warnings().next();
    let informed = answer.annotations.infos().next();
    match (warned, informed) {
        (Some(text), _) if expect.no_warn => return Err(format!("warned: {text}")),
        (_, Some(text)) if expect.no_info => return Err(format!("informed: {text}")),
        (None, _) if expect.warn => return Err("did not warn".to_owned()),
        (_, None) if expect.info => return Err("did not inform".to_owned()),
        _ => {}
    }
    match &answer.value {
        Value::Scalar { value, .. } => match expect.scalar {
            Some(wanted) if same(wanted, *value) => Ok(()),
            wanted => Err(format!("got {value}, wanted {wanted:?}")),
        },
        Value::String { value, .. } if expect.text.as_ref() == Some(value) => Ok(()),
        Value::String { value, .. } => Err(format!("got {value:?}, wanted {:?}", expect.text)),
        Value::Vector(samples) => {
            let got: Vec<(Labels, f64)> = samples.iter().map(|sample| (sample.labels.clone(), sample.value)).collect();
            compare_vector(&got, expect)
        }
        Value::Matrix(series) => {
            let got = series.iter().map(|series| {
                let samples = series.timestamps.iter().copied().zip(series.values.iter().copied());
                (series.labels.clone(), samples.collect::<BTreeMap<i64, f64>>())
            });
            let (start, step) = match (eval.time, expect.range_vector) {
                (_, Some((start, _, step))) | (Time::Range { start, step, .. }, None) => (start, step),
                (Time::Instant(_), None) => return Err("got a range vector".to_owned()),
            };
            compare_matrix(&got.collect::<Vec<_>>(), expect, start, step)
        }
    }
}

fn compare_vector(got: &[(Labels, f64)], expect: &Expect) -> std::result::Result<(), String> {
    let mut wanted = Vec::new();
    for (labels, items) in &expect.series {
        match items.as_slice() {
            [Item::Float(value)] => wanted.push((labels.clone(), *value)),
            [Item::Histogram] => return Err(format!("wanted a histogram, labels={labels}")),
            other => return Err(format!("wanted {other:?}, which is not one value")),
        }
    }
    if expect.ordered {
        let order = |all: &[(Labels, f64)]| all.iter().map(|(labels, _)| labels.clone()).collect::<Vec<_>>();
        if order(got) != order(&wanted) {
            return Err(format!("got the order {:?}, wanted {:?}", order(got), order(&wanted)));
        }
    }
    same_vector(&wanted, got)
}

fn same_vector(wanted: &[(Labels, f64)], got: &[(Labels, f64)]) -> std::result::Result<(), String> {
    let by_labels = |all: &[(Labels, f64)]| all.iter().cloned().collect::<BTreeMap<Labels, f64>>();
    let (w, g) = (by_labels(wanted), by_labels(got));
    let equal =
        got.len() == g.len() && w.len() == g.len() && w.iter().zip(&g).all(|((a, x), (b, y))| a == b && same(*x, *y));
    if equal { Ok(()) } else { Err(format!("got {got:?}, wanted {wanted:?}")) }
}

fn compare_matrix(
    got: &[(Labels, BTreeMap<i64, f64>)],
    expect: &Expect,
    start: i64,
    step: i64,
) -> std::result::Result<(), String> {
    let mut wanted: BTreeMap<Labels, BTreeMap<i64, f64>> = BTreeMap::new();
    for (labels, items) in &expect.series {
        let series = wanted.entry(labels.clone()).or_default();
        for (time, item) in (0_i64..).map(|index| start + index * step).zip(items) {
            match item {
                Item::Float(value) => {
                    series.insert(time, *value);
                }
                Item::Gap => {}
                Item::Histogram => return Err(format!("wanted a histogram, labels={labels}")),
            }
        }
    }
    wanted.retain(|_, samples| !samples.is_empty());
    let equal = got.len() == wanted.len()
        && got.iter().all(|(labels, samples)| {
            wanted.get(labels).is_some_and(|wanted| {
                wanted.len() == samples.len()
                    && wanted.iter().zip(samples).all(|((s, x), (t, y))| s == t && same(*x, *y))
            })
        });
    if equal { Ok(()) } else { Err(format!("got {got:?}, wanted {wanted:?}")) }
}

/// Equal up to a millionth.
fn same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-6 * (a.abs() + b.abs()) / 2.0
}
