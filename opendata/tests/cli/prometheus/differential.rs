//! The same samples in Prometheus and in ours, and the same questions to both: the answers must be equal.
//!
//! The samples are of a real node exporter and of series made to hurt: counters that begin anew, gaps, markers of the end,
//! NaN, infinities, samples out of order. The questions are generated. `OPENDATA_DIFFERENTIAL` says how many (300), and
//! `OPENDATA_SEED` repeats a run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::clients::{ask, prometheus, until};
use super::message::{sample, series, snappy};
use super::two;
use crate::cli::debian::{Running, free_port, programs};
use crate::cli::harness::Server;

/// How far two answers may differ, relative to the larger.
const CLOSE: f64 = 1e-9;
const STEP_MS: i64 = 15_000;
const STEPS: i64 = 160;
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// Numbers that look random and repeat with their seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

type Points = Vec<(i64, f64)>;

/// Series made to hurt, from `start` on.
fn adversarial(dice: &mut Dice, start: i64) -> Vec<(Vec<(String, String)>, Points)> {
    let mut all = Vec::new();
    for (kind, count) in [("counter_total", 6), ("gauge", 5), ("stale", 4), ("late", 4), ("odd", 4)] {
        for n in 0..count {
            let labels = [("__name__", kind), ("job", ["a", "b"][n % 2]), ("instance", &format!("i{n}"))];
            let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
            all.push((labels, points(dice, kind, start)));
        }
    }
    all
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn points(dice: &mut Dice, kind: &str, start: i64) -> Points {
    let (mut total, mut points) = (0.0, Points::new());
    for step in 0..STEPS {
        let at = start + step * STEP_MS + dice.below(400).cast_signed();
        let small = dice.below(1000) as f64 / 8.0;
        match kind {
            "counter_total" => {
                total = if dice.below(25) == 0 { 0.0 } else { total + small };
                if dice.below(12) > 0 {
                    points.push((at, total));
                }
            }
            "gauge" => {
                // Now and then longer than the lookback.
                if step / 30 % 3 != 1 || dice.below(20) == 0 {
                    points.push((at, small - 60.0));
                }
            }
            "stale" => {
                let value = if step % 40 > 30 { f64::from_bits(STALE) } else { small };
                points.push((at, value));
            }
            "odd" => {
                let value = match dice.below(9) {
                    0 => f64::NAN,
                    1 => f64::INFINITY,
                    2 => f64::NEG_INFINITY,
                    3 => -0.0,
                    4 => 1e300,
                    _ => small,
                };
                points.push((at, value));
            }
            _ => points.push((at, small)),
        }
    }
    if kind == "late" {
        for at in (0..points.len().saturating_sub(5)).step_by(7) {
            points.swap(at, at + 4);
        }
    }
    points
}

/// What a real node exporter says, scrape after scrape.
fn scraped(node: u16, start: i64) -> Vec<(Vec<(String, String)>, Points)> {
    let exporter = Server::elsewhere(node);
    let mut all: BTreeMap<Vec<(String, String)>, Points> = BTreeMap::new();
    for scrape in 0..40 {
        let (status, text) = exporter.request("GET", "/metrics", "", b"");
        assert_eq!(status, 200);
        for line in text.lines().filter(|line| line.starts_with("node_")) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let (metric, rest) = name.split_once('{').unwrap_or((name, "}"));
            let mut labels = vec![("__name__".to_owned(), metric.to_owned()), ("job".to_owned(), "node".to_owned())];
            let rest = rest.trim_end_matches('}');
            if rest.contains('\\') || rest.contains("\",\"") {
                continue;
            }
            for pair in rest.split("\",").filter(|pair| !pair.is_empty()) {
                let (name, value) = pair.split_once("=\"").unwrap();
                labels.push((name.to_owned(), value.trim_end_matches('"').to_owned()));
            }
            labels.sort();
            let at = start + scrape * 4 * STEP_MS;
            all.entry(labels).or_default().push((at, value.parse().unwrap()));
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    all.into_iter().collect()
}

fn selector(dice: &mut Dice) -> String {
    let metrics =
        ["counter_total", "gauge", "stale", "late", "odd", "counter_total", "node_cpu_seconds_total", "node_load1"];
    let metrics = [
        &metrics[..],
        &["node_network_receive_bytes_total", "node_memory_MemFree_bytes", "{__name__=~\"gauge|late\"}"],
    ]
    .concat();
    let metric = dice.one(&metrics);
    let matcher = match metric.starts_with('{') {
        true => "",
        false => dice.one(&["", "", "{job=\"a\"}", "{job!=\"a\"}", "{instance=~\"i[0-2]\"}", "{instance=\"\"}"]),
    };
    format!("{metric}{matcher}")
}

fn vector(dice: &mut Dice, depth: u64) -> String {
    let pick = if depth == 0 { dice.below(5) } else { dice.below(14) };
    match pick {
        0 => selector(dice),
        1 => format!("{}{}", selector(dice), dice.one(&["", " offset 2m", " offset -1m"])),
        2..=4 => {
            let functions = [
                "rate",
                "increase",
                "delta",
                "irate",
                "idelta",
                "deriv",
                "changes",
                "resets",
                "avg_over_time",
                "min_over_time",
                "max_over_time",
                "sum_over_time",
                "count_over_time",
                "stddev_over_time",
                "stdvar_over_time",
                "last_over_time",
                "present_over_time",
            ];
            let (function, name) = (dice.one(&functions), selector(dice));
            let name = if name.starts_with('{') { "gauge".to_owned() } else { name };
            let range = dice.one(&["20s", "1m", "5m", "7m30s", "31s"]);
            match dice.below(9) {
                0 => format!("quantile_over_time(0.3, {name}[{range}])"),
                1 => format!("predict_linear({name}[{range}], 60)"),
                2 => format!("{function}({name}[{range}:20s])"),
                _ => format!("{function}({name}[{range}])"),
            }
        }
        5..=7 => {
            let aggregation = dice.one(&["sum", "avg", "min", "max", "count", "stddev", "stdvar", "group", "quantile"]);
            let by = dice.one(&["", " by (job)", " without (instance)", " by (instance, mode)", " by (missing)"]);
            let parameter = if aggregation == "quantile" { "0.7, " } else { "" };
            format!("{aggregation}{by} ({parameter}{})", vector(dice, depth - 1))
        }
        8 => {
            let op = dice.one(&["+", "-", "*", "/", "%", "> bool", "< bool", ">=", "!=", "==", "^"]);
            format!(
                "({}) {op} {}",
                vector(dice, depth - 1),
                dice.one(&["2", "0", "-1.5", "scalar(sum(gauge))", "time()"])
            )
        }
        9 => {
            let op = dice.one(&["+", "-", "*", "/", ">", "<=", "and", "or", "unless"]);
            let name = dice.one(&["gauge", "late", "counter_total", "stale"]);
            let other = dice.one(&["gauge", "late", "counter_total"]);
            format!("{name} {op} on (job, instance) {other}")
        }
        10 => {
            let op = dice.one(&["+", "-", "*", "/"]);
            format!("gauge {op} on (job) group_left sum by (job) ({})", dice.one(&["late", "stale", "counter_total"]))
        }
        11 => {
            let function =
                dice.one(&["abs", "ceil", "floor", "exp", "sqrt", "sgn", "round", "timestamp", "absent", "-"]);
            format!("{function}({})", vector(dice, depth - 1))
        }
        12 => format!("clamp({}, -3, 40)", vector(dice, depth - 1)),
        _ => format!("max_over_time(({})[4m:30s])", vector(dice, depth - 1)),
    }
}

/// The answer as numbers by series and time; none if it failed.
fn numbers(answer: Option<&Value>) -> Option<BTreeMap<(String, String), String>> {
    let mut all = BTreeMap::new();
    for series in answer?["data"]["result"].as_array()? {
        let points = series["values"].as_array().cloned().unwrap_or_else(|| vec![series["value"].clone()]);
        for point in points {
            let at = format!("{:.3}", point[0].as_f64()?);
            all.insert((series["metric"].to_string(), at), point[1].as_str()?.to_owned());
        }
    }
    Some(all)
}

fn is_close(a: &str, b: &str) -> bool {
    let (a, b): (f64, f64) = (a.parse().unwrap(), b.parse().unwrap());
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= CLOSE * a.abs().max(b.abs())
}

/// What differs, if anything does.
fn difference(theirs: Option<&Value>, ours: Option<&Value>) -> Option<String> {
    match (numbers(theirs), numbers(ours)) {
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
    let (running, port) = prometheus(&programs, &place, "peer", config, &["--web.enable-remote-write-receiver"]);
    until("its start", &running, || ask(port, "/api/v1/query?query=1"));

    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let start = (i64::try_from(now).unwrap() / 60_000 - 50) * 60_000;
    let mut all = adversarial(&mut dice, start);
    all.extend(scraped(node, start));
    let message: Vec<u8> = all
        .iter()
        .flat_map(|(labels, points)| {
            let labels: Vec<(&str, &str)> =
                labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            // One by one, so that both see the disorder.
            points.iter().map(|(at, value)| series(&labels, &[sample(*at, *value)])).collect::<Vec<_>>().concat()
        })
        .collect();
    let headers = "content-type: application/x-protobuf\r\ncontent-encoding: snappy\r\n";
    for target in [&server, &Server::elsewhere(port)] {
        let (status, answer) = target.request("POST", "/api/v1/write", headers, &snappy(&message));
        assert_eq!(status, 204, "{answer}");
    }

    let (mut wrong, mut answered) = (String::new(), 0);
    for _ in 0..questions {
        let query = vector(&mut dice, 3);
        let at = start / 1000 + i64::try_from(dice.below(2500)).unwrap();
        let parameters = match dice.below(3) {
            0 => {
                let (end, step) = (at + i64::try_from(dice.below(600)).unwrap(), dice.one(&["7", "15", "60", "100"]));
                [
                    ("query", query.clone()),
                    ("start", at.to_string()),
                    ("end", end.to_string()),
                    ("step", step.to_owned()),
                ]
                .to_vec()
            }
            _ => [("query", query.clone()), ("time", at.to_string())].to_vec(),
        };
        let endpoint = if parameters.len() > 2 { "query_range" } else { "query" };
        let encoded = form_urlencoded::Serializer::new(String::new()).extend_pairs(&parameters).finish();
        let path = format!("/api/v1/{endpoint}?{encoded}");
        let (status, body) = server.request("GET", &path, "", b"");
        let ours: Option<Value> = (status == 200).then(|| serde_json::from_str(&body).unwrap());
        let theirs = ask(port, &path);
        answered += usize::from(numbers(theirs.as_ref()).is_some_and(|numbers| !numbers.is_empty()));
        if let Some(what) = difference(theirs.as_ref(), ours.as_ref()) {
            let _ = writeln!(wrong, "{parameters:?}: {what}");
        }
    }
    assert!(wrong.is_empty(), "seed {seed}, {questions} questions, {} differ:\n{wrong}", wrong.lines().count());
    assert!(
        answered * 3 > usize::try_from(questions).unwrap(),
        "most questions found nothing: {answered} of {questions}"
    );
}
