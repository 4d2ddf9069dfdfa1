//! The same samples in Prometheus and in ours, and the same questions to both: the answers must be equal.
//!
//! The samples are of a real node exporter and of series made to hurt: counters that begin anew, gaps, markers of the end,
//! NaN, infinities, samples out of order, native histograms of all kinds. The questions are generated. `OPENDATA_DIFFERENTIAL` says how
//! many (300), and `OPENDATA_SEED` repeats a run. At the end a few answers of ours are made wrong on purpose, and each must be found.

mod data;
mod distributions;
mod questions;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use self::data::{Dice, Pairs, adversarial, scraped};
use self::distributions::distributions;
use self::questions::{Times, vector};
use super::clients::{ask, is_version_3, prometheus, until};
use super::message::{sample, series, snappy};
use super::two;
use crate::cli::debian::{Running, free_port, programs};
use crate::cli::harness::Server;

/// How far two answers may differ, relative to the larger.
const CLOSE: f64 = 1e-9;
/// How many wrong answers are planted.
const PLANTED: u64 = 20;

/// The values of an answer, by series and time.
type Values = BTreeMap<(String, String), Value>;

/// The values of an answer; none if it failed.
fn values(answer: Option<&Value>) -> Option<Values> {
    let mut all = BTreeMap::new();
    for series in answer?["data"]["result"].as_array()? {
        for (many, one) in [("values", "value"), ("histograms", "histogram")] {
            let points = series[many].as_array().cloned().unwrap_or_default();
            for point in points.iter().chain(series.get(one)) {
                let at = format!("{:.3}", point[0].as_f64()?);
                all.insert((series["metric"].to_string(), at), point[1].clone());
            }
        }
    }
    Some(all)
}

/// Whether two values are equal but for rounding; of histograms each number by itself.
fn is_close(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_close(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| is_close(a, b)))
        }
        (Value::String(a), Value::String(b)) => {
            let (a, b): (f64, f64) = (a.parse().unwrap(), b.parse().unwrap());
            // Nothing but infinity is near to it, though the difference is no greater than a part of it.
            let is_near = a.is_finite() && b.is_finite() && (a - b).abs() <= CLOSE * a.abs().max(b.abs());
            a == b || (a.is_nan() && b.is_nan()) || is_near
        }
        (a, b) => a == b,
    }
}

/// What differs, if anything does.
fn difference(theirs: Option<&Values>, ours: Option<&Values>) -> Option<String> {
    match (theirs, ours) {
        (None, None) => None,
        (Some(theirs), Some(ours)) => {
            let missing =
                theirs.iter().find(|(key, _)| !ours.contains_key(*key)).map(|found| format!("missing {found:?}"));
            let extra = ours.iter().find(|(key, _)| !theirs.contains_key(*key)).map(|found| format!("extra {found:?}"));
            let wrong = theirs.iter().find(|(key, value)| ours.get(*key).is_some_and(|our| !is_close(value, our)));
            missing.or(extra).or(wrong.map(|(key, value)| format!("{key:?}: theirs {value}, ours {}", ours[key])))
        }
        (theirs, _) => Some(format!("{} only", if theirs.is_some() { "they answer" } else { "we answer" })),
    }
}

/// What both say beside the answer; not where it differs by version: how sorting is spoken of, and what of repaired buckets is told.
fn remarks(answer: Option<&Value>) -> Vec<String> {
    let texts = ["warnings", "infos"].iter().filter_map(|kind| answer?[kind].as_array()).flatten();
    let shorn = texts.filter_map(Value::as_str).filter(|text| !text.contains("sort is ineffective")).map(|text| {
        let text = text.split(" (see https://").next().unwrap_or(text);
        text.to_owned()
    });
    let mut all: Vec<String> = shorn.collect();
    all.sort();
    all.dedup();
    all
}

/// Makes one value of an answer wrong by a little.
fn plant(values: &mut Values, dice: &mut Dice) {
    let Some(place) = (!values.is_empty()).then(|| usize::try_from(dice.below(values.len() as u64)).unwrap()) else {
        return;
    };
    let value = values.values_mut().nth(place).unwrap();
    let number = if let Value::Object(histogram) = value { histogram.get_mut("count").unwrap() } else { value };
    let old: f64 = number.as_str().unwrap().parse().unwrap();
    let wrong = if old.is_finite() && old != 0.0 { old * (1.0 + 1e-8) } else { 1.0 };
    *number = Value::from(wrong.to_string());
}

/// Two servers that hold the same.
struct Both<'a> {
    ours: &'a Server,
    theirs: u16,
    times: Times,
}

/// A question, the answers to it, and the two servers' remarks.
struct Asked {
    parameters: Vec<(&'static str, String)>,
    theirs: Option<Values>,
    ours: Option<Values>,
    remarks: (Vec<String>, Vec<String>),
}

impl Both<'_> {
    fn ask(&self, dice: &mut Dice) -> Asked {
        let at = self.times.start + i64::try_from(dice.below(2500)).unwrap();
        let query = ("query", vector(dice, 3, self.times));
        let parameters = match dice.below(3) {
            0 => {
                let (end, step) = (at + i64::try_from(dice.below(600)).unwrap(), dice.one(&["7", "15", "60", "100"]));
                vec![query, ("start", at.to_string()), ("end", end.to_string()), ("step", step.to_owned())]
            }
            _ => vec![query, ("time", at.to_string())],
        };
        let endpoint = if parameters.len() > 2 { "query_range" } else { "query" };
        let encoded = form_urlencoded::Serializer::new(String::new()).extend_pairs(&parameters).finish();
        let path = format!("/api/v1/{endpoint}?{encoded}");
        let (status, body) = self.ours.request("GET", &path, "", b"");
        let ours: Option<Value> = (status == 200).then(|| serde_json::from_str(&body).unwrap());
        let theirs = ask(self.theirs, &path);
        let remarks = (remarks(theirs.as_ref()), remarks(ours.as_ref()));
        Asked { parameters, theirs: values(theirs.as_ref()), ours: values(ours.as_ref()), remarks }
    }
}

fn message_of(all: &[(Pairs, Vec<Vec<u8>>)]) -> Vec<u8> {
    let one = |(labels, samples): &(Pairs, Vec<Vec<u8>>)| {
        let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        // One by one, so that both see the disorder.
        samples.iter().flat_map(|sample| series(&labels, std::slice::from_ref(sample))).collect::<Vec<u8>>()
    };
    all.iter().flat_map(one).collect()
}

#[test]
fn generated_questions_have_the_answers_of_prometheus() {
    let test = "cli::prometheus::differential::generated_questions_have_the_answers_of_prometheus";
    let Some(programs) = programs(test) else { return };
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (questions, seed) = (number("OPENDATA_DIFFERENTIAL", 300), number("OPENDATA_SEED", 1));
    let mut dice = Dice(seed);
    let place = two();
    let server = place.serve();
    let node = free_port();
    let listen = [format!("--web.listen-address=127.0.0.1:{node}")];
    let exporter = Running::start(&programs.join("prometheus-node-exporter"), &listen, place.path().join("node.log"));
    until("the exporter's start", &exporter, || Server::elsewhere(node).try_connect().ok());
    let config = "storage: {tsdb: {out_of_order_time_window: 3h}}\n";
    let is_recent = is_version_3(&programs);
    let features = "--enable-feature=native-histograms,promql-experimental-functions";
    let flags = ["--web.enable-remote-write-receiver", features];
    let flags = if is_recent { &flags[..] } else { &flags[..1] };
    let (running, port) = prometheus(&programs, &place, "peer", config, flags);
    until("its start", &running, || ask(port, "/api/v1/query?query=1"));

    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let start = (i64::try_from(now).unwrap() / 60_000 - 50) * 60_000;
    let floats = adversarial(&mut dice, start).into_iter().chain(scraped(node, start));
    let samples =
        floats.map(|(labels, points)| (labels, points.iter().map(|(at, value)| sample(*at, *value)).collect()));
    let mut all: Vec<(Pairs, Vec<Vec<u8>>)> = samples.collect();
    if is_recent {
        all.extend(distributions(&mut dice, start));
    }
    let message = snappy(&message_of(&all));
    let headers = "content-type: application/x-protobuf\r\ncontent-encoding: snappy\r\n";
    for target in [&server, &Server::elsewhere(port)] {
        let (status, answer) = target.request("POST", "/api/v1/write", headers, &message);
        assert_eq!(status, 204, "{answer}\n{}", running.log());
    }

    let times = Times { start: start / 1000, is_recent };
    let both = Both { ours: &server, theirs: port, times };
    let (mut wrong, mut answered, mut unlike) = (String::new(), 0, String::new());
    for _ in 0..questions {
        let asked = both.ask(&mut dice);
        answered += u64::from(asked.theirs.as_ref().is_some_and(|values| !values.is_empty()));
        if let Some(what) = difference(asked.theirs.as_ref(), asked.ours.as_ref()) {
            let _ = writeln!(wrong, "{:?}: {what}", asked.parameters);
        }
        let (theirs, ours) = asked.remarks;
        if theirs != ours {
            let _ = writeln!(unlike, "{:?}: theirs {theirs:?}, ours {ours:?}", asked.parameters);
        }
    }
    if std::env::var("OPENDATA_REMARKS").is_ok() {
        println!("{} answers with other remarks\n{unlike}", unlike.lines().count());
    }
    assert!(wrong.is_empty(), "seed {seed}, {questions} questions, {} differ:\n{wrong}", wrong.lines().count());
    assert!(answered * 3 > questions, "most questions found nothing: {answered} of {questions}");

    let (mut planted, mut found) = (0, 0);
    while planted < PLANTED {
        let mut asked = both.ask(&mut dice);
        let Some(ours) = asked.ours.as_mut().filter(|values| !values.is_empty()) else { continue };
        plant(ours, &mut dice);
        planted += 1;
        found += u64::from(difference(asked.theirs.as_ref(), asked.ours.as_ref()).is_some());
    }
    assert_eq!(found, planted, "wrong answers are found, every one");
}
