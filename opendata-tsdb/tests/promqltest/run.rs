//! Runs a script and compares.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use opendata_core::{Result, Timestamp};
use opendata_tsdb::promql::{Answer, Engine, EngineConfig, SampleValue, Value};
use opendata_tsdb::{Histogram, Labels};

use crate::classic::to_native;
use crate::memory::Memory;
use crate::script::{Command, Eval, Expect, Time, Wanted, parse};
use crate::series::Item;

pub(crate) struct Outcome {
    pub(crate) line: usize,
    pub(crate) query: String,
    /// Why it failed, if it did.
    pub(crate) failure: Option<String>,
    /// What else is to be said: an error of another wording.
    pub(crate) remark: Option<String>,
}

/// What came out, or should have.
#[derive(Clone, Debug)]
enum Got {
    Float(f64),
    Histogram(Arc<Histogram>),
}

/// The engine as the reference sets its own up for these scripts.
fn engine() -> Engine {
    Engine::new(EngineConfig { delayed_name_removal: true, ..EngineConfig::default() })
}

/// The outcome of each query, and of each command that was not understood.
pub(crate) fn run(text: &str) -> Vec<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let engine = engine();
    let mut memory = Memory::default();
    let mut outcomes = Vec::new();
    for entry in parse(text) {
        match entry.command {
            Ok(Command::Clear) => memory = Memory::default(),
            Ok(Command::Load { step_ms, series, starts, classic_too }) => {
                let native = if classic_too { to_native(&series) } else { Vec::new() };
                let time = |index: usize| i64::try_from(index).unwrap() * step_ms;
                for (labels, items) in &series {
                    items.iter().enumerate().for_each(|(index, item)| memory.insert(labels, time(index), item));
                }
                for (labels, offsets) in &starts {
                    for (index, offset) in offsets.iter().enumerate() {
                        offset.iter().for_each(|offset| memory.start(labels, time(index), time(index) + offset));
                    }
                }
                for (labels, items) in &native {
                    items.iter().for_each(|(index, item)| memory.insert(labels, time(*index), item));
                }
            }
            Ok(Command::Eval(eval)) => {
                // One query that panics must not hide the others.
                let one = AssertUnwindSafe(|| runtime.block_on(check(&engine, &memory, &eval)));
                let (failure, remark) = match catch_unwind(one) {
                    Ok(Ok(remark)) => (None, remark),
                    Ok(Err(failure)) => (Some(failure), None),
                    Err(_) => (Some("panicked".to_owned()), None),
                };
                outcomes.push(Outcome { line: eval.line, query: eval.query.clone(), failure, remark });
            }
            Err(error) => {
                let failure = Some(format!("not understood: {error}"));
                outcomes.push(Outcome { line: entry.line, query: entry.first, failure, remark: None });
            }
        }
    }
    outcomes
}

async fn check(engine: &Engine, memory: &Memory, eval: &Eval) -> std::result::Result<Option<String>, String> {
    let answer = match eval.time {
        Time::Instant(at) => engine.instant(memory, &eval.query, Timestamp(at)).await,
        Time::Range { start, end, step } => {
            engine.range(memory, &eval.query, Timestamp(start), Timestamp(end), step).await
        }
    };
    let remark = compare(&answer, eval)?;
    // An instant query must agree with the middle of a range query, as far as a range query can be asked.
    if let (Time::Instant(at), Ok(Answer { value: Value::Scalar { .. } | Value::Vector(_), .. })) = (eval.time, &answer)
        && !eval.expect.ordered
        && !speaks_of_itself(&eval.query)
    {
        let around = engine.range(memory, &eval.query, Timestamp(at - 60_000), Timestamp(at + 60_000), 60_000).await;
        let around = around.map_err(|error| format!("as a range query: {error}"))?;
        let Value::Matrix(series) = around.value else { return Err("a range query gave no matrix".to_owned()) };
        let middle = series.iter().filter_map(|series| {
            let (_, value) = series.samples().find(|(time, _)| *time == at)?;
            Some((series.labels.clone(), got(value)))
        });
        let middle: Vec<(Labels, Got)> = middle.collect();
        let result = match answer {
            Ok(Answer { value: Value::Scalar { value, .. }, .. }) => {
                same_vector(&[(Labels::empty(), Got::Float(value))], &middle)
            }
            _ => compare_vector(&middle, &eval.expect),
        };
        result.map_err(|error| format!("as a range query: {error}"))?;
    }
    Ok(remark)
}

/// Whether a query asks when it begins and ends, which differs between an instant and a range.
fn speaks_of_itself(query: &str) -> bool {
    ["start()", "end()", "range()", "step()"].iter().any(|part| query.contains(part))
}

fn got(value: SampleValue<'_>) -> Got {
    match value {
        SampleValue::Float(value) => Got::Float(value),
        SampleValue::Histogram(histogram) => Got::Histogram(Arc::clone(histogram)),
    }
}

fn compare(answer: &Result<Answer>, eval: &Eval) -> std::result::Result<Option<String>, String> {
    let expect = &eval.expect;
    let answer = match (answer, expect.fail) {
        (Err(error), true) => {
            let other = |wanted: &&Wanted| !wanted.matches(error.message());
            let remark = |wanted: &Wanted| format!("fails with {:?}, wanted {wanted:?}", error.message());
            return Ok(expect.fail_texts.iter().find(other).map(remark));
        }
        (Err(error), false) => return Err(error.to_string()),
        (Ok(_), true) => return Err("did not fail".to_owned()),
        (Ok(answer), false) => answer,
    };
    let warnings: Vec<&str> = answer.annotations.warnings().collect();
    let infos: Vec<&str> = answer.annotations.infos().collect();
    check_annotations("warning", &warnings, expect.warn, expect.no_warn, &expect.warn_texts)?;
    check_annotations("info", &infos, expect.info, expect.no_info, &expect.info_texts)?;
    match &answer.value {
        Value::Scalar { value, .. } => match expect.scalar {
            Some(wanted) if same(wanted, *value) => Ok(()),
            wanted => Err(format!("got {value}, wanted {wanted:?}")),
        },
        Value::String { value, .. } if expect.text.as_ref() == Some(value) => Ok(()),
        Value::String { value, .. } => Err(format!("got {value:?}, wanted {:?}", expect.text)),
        Value::Vector(samples) => {
            let got = samples.iter().map(|sample| {
                let value = match &sample.histogram {
                    Some(histogram) => Got::Histogram(Arc::clone(histogram)),
                    None => Got::Float(sample.value),
                };
                (sample.labels.clone(), value)
            });
            compare_vector(&got.collect::<Vec<_>>(), expect)
        }
        Value::Matrix(series) => {
            let got = series.iter().map(|series| {
                let samples = series.samples().map(|(time, value)| (time, got(value)));
                (series.labels.clone(), samples.collect::<BTreeMap<i64, Got>>())
            });
            let (start, step) = match (eval.time, expect.range_vector) {
                (_, Some((start, _, step))) | (Time::Range { start, step, .. }, None) => (start, step),
                (Time::Instant(_), None) => return Err("got a range vector".to_owned()),
            };
            compare_matrix(&got.collect::<Vec<_>>(), expect, start, step)
        }
    }
    .map(|()| None)
}

fn check_annotations(
    kind: &str,
    got: &[&str],
    wanted: bool,
    unwanted: bool,
    texts: &[Wanted],
) -> std::result::Result<(), String> {
    if unwanted && !got.is_empty() {
        return Err(format!("{kind} not wanted: {got:?}"));
    }
    if wanted && got.is_empty() {
        return Err(format!("no {kind}"));
    }
    let missing = texts.iter().find(|wanted| !got.iter().any(|text| wanted.matches(text)));
    let extra = got.iter().find(|text| !texts.is_empty() && !texts.iter().any(|wanted| wanted.matches(text)));
    if missing.is_some() || extra.is_some() {
        return Err(format!("{kind} is {got:?}, wanted {texts:?}"));
    }
    Ok(())
}

fn compare_vector(got: &[(Labels, Got)], expect: &Expect) -> std::result::Result<(), String> {
    let mut wanted = Vec::new();
    for (labels, items) in &expect.series {
        match items.as_slice() {
            [Item::Float(value)] => wanted.push((labels.clone(), Got::Float(*value))),
            [Item::Histogram(histogram)] => wanted.push((labels.clone(), Got::Histogram(Arc::new(histogram.clone())))),
            other => return Err(format!("wanted {other:?}, which is not one value")),
        }
    }
    if let Some(value) = expect.scalar {
        return Err(format!("got a vector {got:?}, wanted the scalar {value}"));
    }
    if expect.ordered {
        let order = |all: &[(Labels, Got)]| all.iter().map(|(labels, _)| labels.clone()).collect::<Vec<_>>();
        if order(got) != order(&wanted) {
            return Err(format!("got the order {:?}, wanted {:?}", order(got), order(&wanted)));
        }
    }
    same_vector(&wanted, got)
}

fn same_vector(wanted: &[(Labels, Got)], got: &[(Labels, Got)]) -> std::result::Result<(), String> {
    let by_labels = |all: &[(Labels, Got)]| all.iter().cloned().collect::<BTreeMap<Labels, Got>>();
    let (w, g) = (by_labels(wanted), by_labels(got));
    let equal = got.len() == g.len()
        && w.len() == g.len()
        && w.iter().zip(&g).all(|((a, x), (b, y))| a == b && same_value(x, y));
    if equal { Ok(()) } else { Err(format!("got {}, wanted {}", list(got), list(wanted))) }
}

fn list(all: &[(Labels, Got)]) -> String {
    let one = |(labels, value): &(Labels, Got)| format!("{labels} {}", show(value));
    format!("[{}]", all.iter().map(one).collect::<Vec<_>>().join(", "))
}

fn show(value: &Got) -> String {
    match value {
        Got::Float(value) => value.to_string(),
        Got::Histogram(histogram) => format!(
            "{histogram} (schema {}, zero {}, {:?}, bounds {:?})",
            histogram.schema, histogram.zero_threshold, histogram.counter_reset, histogram.custom_bounds
        ),
    }
}

fn compare_matrix(
    got: &[(Labels, BTreeMap<i64, Got>)],
    expect: &Expect,
    start: i64,
    step: i64,
) -> std::result::Result<(), String> {
    let mut wanted: BTreeMap<Labels, BTreeMap<i64, Got>> = BTreeMap::new();
    for (labels, items) in &expect.series {
        let series = wanted.entry(labels.clone()).or_default();
        for (time, item) in (0_i64..).map(|index| start + index * step).zip(items) {
            match item {
                Item::Float(value) => series.insert(time, Got::Float(*value)),
                Item::Histogram(histogram) => series.insert(time, Got::Histogram(Arc::new(histogram.clone()))),
                Item::Gap => None,
            };
        }
    }
    wanted.retain(|_, samples| !samples.is_empty());
    let equal = got.len() == wanted.len()
        && got.iter().all(|(labels, samples)| {
            wanted.get(labels).is_some_and(|wanted| {
                wanted.len() == samples.len()
                    && wanted.iter().zip(samples).all(|((s, x), (t, y))| s == t && same_value(x, y))
            })
        });
    if equal {
        return Ok(());
    }
    let show = |samples: &BTreeMap<i64, Got>| {
        samples.iter().map(|(time, value)| format!("{} @{time}", show(value))).collect::<Vec<_>>().join(" ")
    };
    let got: Vec<String> = got.iter().map(|(labels, samples)| format!("{labels} {}", show(samples))).collect();
    let wanted: Vec<String> = wanted.iter().map(|(labels, samples)| format!("{labels} {}", show(samples))).collect();
    Err(format!("got [{}], wanted [{}]", got.join(", "), wanted.join(", ")))
}

fn same_value(wanted: &Got, got: &Got) -> bool {
    match (wanted, got) {
        (Got::Float(wanted), Got::Float(got)) => same(*wanted, *got),
        (Got::Histogram(wanted), Got::Histogram(got)) => crate::histogram::same(wanted, got),
        _ => false,
    }
}

/// Equal up to a millionth.
pub(crate) fn same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-6 * (a.abs() + b.abs()) / 2.0
}
