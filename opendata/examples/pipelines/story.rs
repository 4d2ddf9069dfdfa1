//! The run, step by step. Every step checks what it shows.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;

use crate::Outcome;
use crate::data::{self, Count, Counts, Flight};
use crate::load::{self, NODES};
use crate::program::{Process, Program};

/// A query that finds counters however long ago they last moved.
const SUMS: [(&str, &str); 2] = [
    ("flights", "sum by (carrier) (last_over_time(flights_total[1d]))"),
    ("miles", "sum by (carrier) (last_over_time(miles_total[1d]))"),
];

pub(crate) fn run() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let begun = Instant::now();
    let flights = data::flights()?;
    let program = Program::new(folder.path())?;
    println!("\nPipelines over three processes, killed while they work\n{}", "=".repeat(54));
    say(&format!(
        "{} real flights go into a log; one edge counts them in metrics, one makes documents of them",
        flights.len()
    ));

    section(1, "Make the composition of examples/pipelines.yaml");
    program.show(&["apply"])?;

    section(
        2,
        "Run each node in a process of its own, and kill -9 one of them at random moments while flights are written",
    );
    let mut processes: BTreeMap<&'static str, Process> = BTreeMap::new();
    for node in NODES {
        processes.insert(node, program.own(node, None)?);
    }
    let mut cut = String::new();
    let writing = Instant::now();
    let kills = load::write_and_kill(&program, &flights, &mut processes, || take_cut(&program, &mut cut))?;
    say(&format!(
        "written in {:.1} s; killed: {:?}; commits sent again: {}",
        writing.elapsed().as_secs_f64(),
        kills.by_node,
        kills.retries
    ));
    if kills.by_node.values().sum::<usize>() == 0 {
        return Err("nobody was killed".into());
    }

    section(3, "Count everything again, from the file, the log, the metrics and the documents");
    program.caught_up("main")?;
    let expected = data::count(&flights);
    compare(&program, &[], &expected)?;
    table(&expected);
    program.show(&["verify"])?;

    section(4, "The cut that was taken under load, at barriers, restored elsewhere");
    elsewhere(&program, &cut, &flights)?;

    section(5, "A fork with another transform, compared and promoted");
    fork(&program, &mut processes)?;
    println!("\nAll answers agreed\n   in {:.1} s; the folder is removed", begun.elapsed().as_secs_f64());
    Ok(())
}

/// A cut while processes die: one that is killed at the wrong moment makes it fail, and another is taken.
fn take_cut(program: &Program, name: &mut String) -> Outcome<()> {
    let mut last = None;
    for attempt in 0..5 {
        let cut = format!("under-load-{attempt}");
        match program.ask(&["cut", "create", &cut, "--aligned", "--timeout", "60s"]) {
            Ok(_) => {
                *name = cut;
                return Ok(());
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| "no cut".into()))
}

fn elsewhere(program: &Program, cut: &str, flights: &[Flight]) -> Outcome<()> {
    program.show(&["export", cut, "--to", "file:./elsewhere"])?;
    let other = ["--store", "file:./elsewhere"];
    let log = from_log(program, &other)?;
    let taken: u64 = log.values().map(|count| count.flights).sum();
    compare(program, &other, &log)?;
    if log != data::count(flights.get(..usize::try_from(taken)?).unwrap_or_default()) {
        return Err("what the cut holds is not the beginning of the flights".into());
    }
    say(&format!("{taken} of {} flights: the same in its log, metrics and documents", flights.len()));
    program.show(&[&other[..], &["verify"]].concat())
}

fn fork(program: &Program, processes: &mut BTreeMap<&'static str, Process>) -> Outcome<()> {
    program.show(&["fork", "create", "trial"])?;
    // Documents say how far a flight went, in words.
    program.write_file(|text| {
        text.replace(
            "texts: {route: payload.route}",
            "texts: {route: \"payload.route + (payload.miles > 1000 ? ' far away' : ' nearby')\"}",
        )
    })?;
    program.show(&["plan", "--branch", "trial", "--rebuild"])?;
    program.show(&["apply", "--branch", "trial", "--rebuild"])?;
    let search = program.own("search", Some("trial"))?;
    let metrics = program.own("metrics", Some("trial"))?;
    program.caught_up("trial")?;
    program.show(&["verify", "embedding", "--branch", "trial"])?;
    drop((search, metrics));
    let far = ["--node", "search", "vector", "search", "--words", "route=away", "--limit", "10000", "--select", "id"];
    let before = hits(&program.ask(&far)?);
    program.show(&["promote", "trial"])?;
    program.caught_up("main")?;
    let after = hits(&program.ask(&far)?);
    let miles = data::flights()?.iter().filter(|flight| flight.miles > 1000).count();
    say(&format!(
        "documents with the word `away`: {before} before, {after} after; {miles} flights were longer than 1,000 miles"
    ));
    if before != 0 || after != miles.min(10_000) {
        return Err("the fork's documents are not what main answers with".into());
    }
    if processes.len() != NODES.len() {
        return Err("a process is gone".into());
    }
    // What was promoted takes flights on, through the same processes.
    let begun = Instant::now();
    let one = r#"{"id": "f99999", "time": "2013-01-15T12:00:00Z", "carrier": "XX", "miles": 7, "delay": 0, "origin": "JFK", "route": "XX 1"}"#;
    while !matches!(program.post("/v1/log/flights/streams/XX", one), Ok((200, _))) {
        if begun.elapsed().as_secs() > 30 {
            return Err("main takes no flights after the promotion".into());
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    program.caught_up("main")?;
    let log = from_log(program, &[])?;
    compare(program, &[], &log)?;
    program.show(&["verify"])
}

/// A text within an answer; an empty one if it is not there.
fn text<'a>(answer: &'a Value, at: &str) -> &'a str {
    answer.pointer(at).and_then(Value::as_str).unwrap_or_default()
}

fn hits(answer: &Value) -> usize {
    let hits = answer.get("hits").or_else(|| answer.get("results")).unwrap_or(answer);
    hits.as_array().map_or(0, Vec::len)
}

/// What the log holds.
fn from_log(program: &Program, more: &[&str]) -> Outcome<Counts> {
    let records = program.ask(&[more, &["--node", "events", "log", "scan", "--all"]].concat())?;
    let mut counts = Counts::new();
    for record in records.as_array().into_iter().flatten() {
        let payload: Value = serde_json::from_str(text(record, "/payload"))?;
        let count = counts.entry(text(&payload, "/carrier").to_owned()).or_default();
        count.flights += 1;
        count.miles += payload.pointer("/miles").and_then(Value::as_u64).unwrap_or_default();
    }
    Ok(counts)
}

/// What the metrics hold.
fn from_metrics(program: &Program, more: &[&str]) -> Outcome<Counts> {
    let mut counts = Counts::new();
    for (what, query) in SUMS {
        let answer = program.ask(&[more, &["--node", "metrics", "tsdb", "query", query]].concat())?;
        for series in answer.pointer("/data/result").and_then(Value::as_array).into_iter().flatten() {
            let carrier = text(series, "/metric/carrier").to_owned();
            let value: f64 = text(series, "/value/1").parse()?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "whole numbers of flights and miles"
            )]
            let value = value.round() as u64;
            let count: &mut Count = counts.entry(carrier).or_default();
            match what {
                "flights" => count.flights = value,
                _ => count.miles = value,
            }
        }
    }
    Ok(counts)
}

/// Log, metrics and documents must say the same.
fn compare(program: &Program, more: &[&str], expected: &Counts) -> Outcome<()> {
    for (what, found) in [("log", from_log(program, more)?), ("metrics", from_metrics(program, more)?)] {
        if found != *expected {
            return Err(format!("the {what} disagrees: found {found:?}, expected {expected:?}").into());
        }
    }
    let documents = program.ask(&[more, &["--node", "search", "vector", "count"]].concat())?;
    let (found, flights) = (
        documents.pointer("/documents").and_then(Value::as_u64),
        expected.values().map(|count| count.flights).sum::<u64>(),
    );
    if found != Some(flights) {
        return Err(format!("{found:?} documents of {flights} flights").into());
    }
    Ok(())
}

fn table(counts: &Counts) {
    say(&format!("{:<9} {:>9} {:>12}", "carrier", "flights", "miles"));
    for (carrier, Count { flights, miles }) in counts {
        say(&format!("{carrier:<9} {flights:>9} {miles:>12}  agree"));
    }
}

fn section(number: usize, text: &str) {
    println!("\n{number}. {text}");
}

fn say(text: &str) {
    println!("   {text}");
}
