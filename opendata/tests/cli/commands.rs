//! Commands on the store itself.

use serde_json::json;

use super::harness::Place;

#[test]
fn records_are_appended_and_scanned() {
    let place = Place::new();
    let first = place.json(&["log", "append", "tenant-7", "one", "--header", "k=v", "--event-time", "@1700000000"]);
    assert_eq!(first[0]["records"], 1);
    let position = first[0]["first"].as_u64().unwrap();
    let ended = place.run_with(&["--json", "log", "append", "tenant-8", "--batch", "100"], &lines(2500));
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&ended.out).unwrap()["records"], 2500);

    let record = &place.json(&["log", "scan", "tenant-7"])[0];
    assert_eq!(record["payload"], "one");
    assert_eq!(record["headers"], json!([["k", "v"]]));
    assert_eq!(record["event_time"], 1_700_000_000_000_u64);
    let all: Vec<String> = (0..2500).map(|n| n.to_string()).collect();
    assert_eq!(place.payloads(&["tenant-8"]), all);
    assert_eq!(place.payloads(&["--prefix", "tenant-", "--limit", "2"]), ["one", "0"]);
    assert_eq!(place.payloads(&["--all", "--reverse", "--limit", "2"]), ["2499", "2498"]);
    assert_eq!(place.payloads(&["--all", "--from", &(position + 2500).to_string()]), ["2499"]);
    assert_eq!(place.payloads(&["--all", "--until", &(position + 1).to_string()]), ["one"]);
    assert_eq!(place.payloads(&["--all", "--since", "1h"]).len(), 2501);
    assert_eq!(place.payloads(&["--all", "--happened-since", "2024-01-01"]).len(), 2500);
    assert_eq!(place.ok(&["log", "streams"]), "tenant-7\ntenant-8\n");
    assert_eq!(place.ok(&["log", "streams", "tenant-8"]), "tenant-8\n");
    assert_eq!(place.json(&["log", "segments"])[0]["segments"][0]["records"], 2501);
    let table = place.ok(&["log", "scan", "tenant-7"]);
    let expected = "position  time                      stream    payload\n";
    assert!(
        table.starts_with(expected) && table.ends_with("2023-11-14T22:13:20.000Z  tenant-7  [k=v] one\n"),
        "{table}"
    );
}

#[test]
fn the_schema_of_a_log_is_registered_by_its_writer_and_a_breaking_one_is_refused() {
    let place = Place::empty();
    let declare = |schema: &str| {
        let file = format!(
            "version: 1\nstore: file:./data\nnodes:\n  shop:\n    instances:\n      orders: {{system: log, schema: {{{schema}}}}}\n"
        );
        std::fs::write(place.path().join("opendata.yaml"), file).unwrap();
    };
    let versions = || {
        let rows = place.json(&["inspect", "orders", "--limit", "1000"]);
        rows.iter().filter(|row| row["text"].as_str().unwrap_or_default().starts_with("state schema")).count()
    };
    declare("id: string, amount: float64");
    assert_eq!(place.serve().terminate(), 0);
    place.ok(&["log", "append", "one", r#"{"id": "a", "amount": 1}"#]);
    assert_eq!(versions(), 1);
    declare("id: string, amount: float64, note: string?");
    place.ok(&["log", "append", "one", r#"{"id": "b", "amount": 2}"#]);
    assert_eq!(versions(), 2);
    declare("id: string, amount: string, note: string?");
    let refused = place.fails(5, &["log", "append", "one", r#"{"id": "c", "amount": "3"}"#]);
    assert!(refused.contains("schema of instance orders") && refused.contains("amount"), "{refused}");
    assert_eq!(place.payloads(&["one"]).len(), 2);
}

fn lines(count: usize) -> Vec<u8> {
    (0..count).flat_map(|n| format!("{n}\n").into_bytes()).collect()
}

#[test]
fn a_condition_that_does_not_hold_is_a_conflict() {
    let place = Place::new();
    let appended = place.json(&["log", "append", "s", "1", "--expect-position", "none"]);
    let err = place.fails(5, &["log", "append", "s", "2", "--expect-position", "none"]);
    assert!(err.starts_with("error: conflict: "), "{err}");
    let at = appended[0]["last"].to_string();
    place.ok(&["log", "append", "s", "2", "--expect-position", &at]);
    assert_eq!(place.payloads(&["s"]), ["1", "2"]);
}

#[test]
fn samples_are_written_and_queried() {
    let place = Place::new();
    let text = b"# TYPE up gauge\nup{job=\"api\"} 1\nup{job=\"db\"} 0\n\nup{job=\"old\"} 7 1000\n";
    let ended = place.run_with(&["tsdb", "write"], text);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.starts_with("wrote 3 samples, 3 series were new"), "{}", ended.out);
    for _ in 0..2 {
        assert_eq!(place.run_with(&["tsdb", "write", "--add"], b"tokens_total 21\n").code, 0);
    }
    let answer = &place.json(&["tsdb", "query", "sum(tokens_total)"])[0];
    assert_eq!(answer["data"]["result"][0]["value"][1], "42");
    let table = place.ok(&["tsdb", "query", "up"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((rows[0].as_slice(), rows.len()), (["series", "time", "value"].as_slice(), 3), "{table}");
    assert_eq!((rows[1][0], rows[1][2]), ("up{job=\"api\"}", "1"));
    let then = place.json(&["tsdb", "query", "up", "--time", "@1"]);
    assert_eq!(then[0]["data"]["result"][0]["metric"]["job"], "old");
    let range = place.json(&["tsdb", "query", "up", "--start", "@0", "--end", "@4", "--step", "1s"]);
    let values = range[0]["data"]["result"][0]["values"].as_array().unwrap();
    assert_eq!((values.len(), &values[0]), (4, &json!([1, "7"])));

    let ended = place.run_with(&["tsdb", "write"], b"up 1\nup{ 2\n");
    assert_eq!(ended.code, 3);
    assert!(ended.err.contains("line 2: expected"), "{}", ended.err);
    assert!(place.fails(3, &["tsdb", "query", "sum(up"]).contains("does not parse"));
}

#[test]
fn the_past_stays_and_a_fork_goes_its_own_way() {
    let place = Place::new();
    place.ok(&["log", "append", "s", "before"]);
    assert_eq!(place.run_with(&["tsdb", "write"], b"up 1\n").code, 0);
    let made = &place.json(&["checkpoint", "create", "c", "--lifetime", "7d"])[0];
    assert_eq!(made["name"], "c");
    place.fails(5, &["checkpoint", "create", "c"]);
    place.ok(&["log", "append", "s", "after"]);
    assert_eq!(place.run_with(&["tsdb", "write"], b"up 2\n").code, 0);

    assert_eq!(place.payloads(&["s", "--at", "c"]), ["before"]);
    assert_eq!(place.payloads(&["s"]), ["before", "after"]);
    let value = |args: &[&str]| {
        let answer = place.json(&[&["tsdb", "query", "up"], args].concat());
        answer[0]["data"]["result"][0]["value"][1].as_str().unwrap().to_owned()
    };
    assert_eq!((value(&["--at", "c"]), value(&[])), ("1".to_owned(), "2".to_owned()));

    place.ok(&["fork", "now"]);
    let forked = place.json(&["fork", "then", "--at", "c"]);
    assert_eq!(forked[0]["position"], made["position"]);
    place.fails(5, &["fork", "now"]);
    place.ok(&["--path", "then", "log", "append", "s", "in the fork"]);
    assert_eq!(place.payloads(&["s", "--path", "then"]), ["before", "in the fork"]);
    assert_eq!(place.payloads(&["s", "--path", "now"]), ["before", "after"]);
    assert_eq!(place.payloads(&["s"]), ["before", "after"]);

    place.ok(&["fork", "one", "--instance", "usage"]);
    assert_eq!(value(&["--path", "one"]), "2");
    assert!(place.fails(4, &["--path", "one", "log", "append", "s", "x"]).contains("no instance of this system"));
    place.ok(&["fork", "one-then", "--instance", "usage", "--at", "c"]);
    assert_eq!(value(&["--path", "one-then"]), "1");

    let names: Vec<_> = place.json(&["checkpoint", "list"])[0]["checkpoints"].as_array().unwrap().clone();
    assert_eq!(names.iter().map(|found| &found["name"]).collect::<Vec<_>>(), ["c"]);
    place.ok(&["checkpoint", "release", "c"]);
    place.fails(4, &["checkpoint", "release", "c"]);
    place.fails(4, &["log", "scan", "s", "--at", "c"]);
}

#[test]
fn inspect_takes_names_and_digits() {
    let place = Place::new();
    place.ok(&["log", "append", "s", "payload"]);
    let rows = place.json(&["inspect", "events"]);
    assert!(rows.iter().all(|row| row["system"] == 3 && row["instance"] == 1), "{rows:?}");
    let chunk = rows.iter().find(|row| row["segment"] == 1 && row["tag"] == 0x10).unwrap();
    assert!(chunk["text"].as_str().unwrap().contains("stream=s"), "{chunk}");
    let key = chunk["key"].as_str().unwrap();
    assert_eq!(place.json(&["inspect", key]), std::slice::from_ref(chunk));
    assert_eq!(
        place.json(&["inspect", &format!("0x{}", &key[..16])]).len(),
        rows.iter().filter(|row| row["segment"] == 1).count()
    );
    let whole = place.json(&["inspect"]);
    assert!(whole.iter().any(|row| row["text"].as_str().unwrap().starts_with("slate record")), "{whole:?}");
    assert_eq!(place.json(&["inspect", "--limit", "1"]).len(), 1);
    assert!(place.ok(&["inspect", "events"]).starts_with("instance  segment  tag"));
    assert!(place.fails(3, &["inspect", "nothing"]).contains("neither an instance nor hexadecimal"));
}

#[test]
fn wrong_usage_is_2_and_what_is_not_there_is_4() {
    let place = Place::new();
    for wrong in
        [&["log", "scan"][..], &["log", "scan", "s", "--all"], &["no-such-command"], &["--progress=loud", "stats"]]
    {
        let err = place.fails(2, wrong);
        assert!(err.contains("try '--help'"), "{err}");
    }
    place.fails(4, &["log", "scan", "s", "--instance", "nothing"]);
    place.fails(3, &["log", "scan", "s", "--instance", "usage"]);
    place.fails(4, &["--path", "nothing", "log", "scan", "s"]);
    place.fails(4, &["--node", "nothing", "stats"]);
    place.fails(3, &["--store", "ftp://x", "stats"]);
    let help = place.ok(&["--help"]);
    assert!(help.contains("Exit codes:") && help.contains("opendata log append tenant-7"), "{help}");
}

#[test]
fn progress_is_beside_the_answer() {
    let place = Place::new();
    let ended = place.run_with(&["log", "append", "s", "--progress"], &lines(10));
    assert!(ended.err.starts_with("append: 10 done in "), "{}", ended.err);
    assert!(ended.out.starts_with("appended 10 records"), "{}", ended.out);
    assert_eq!(place.run_with(&["log", "append", "s"], &lines(10)).err, "");
}
