//! Composition files: what init writes, and what wrong ones say.

use super::harness::Place;

#[test]
fn init_writes_a_file_and_a_slate_and_overwrites_neither() {
    let place = Place::empty();
    let out = place.ok(&["init", "--name", "billing"]);
    assert!(out.contains("wrote opendata.yaml and made the slate `billing` in file:./data"), "{out}");
    let written = std::fs::read_to_string(place.path().join("opendata.yaml")).unwrap();
    assert!(written.contains("store: file:./data"));
    let stats = place.json(&["stats"]);
    let names: Vec<_> = stats[0]["instances"].as_array().unwrap().iter().map(|found| &found["name"]).collect();
    assert_eq!(names, ["events", "usage"]);

    let err = place.fails(5, &["init"]);
    assert!(err.starts_with("error: conflict: the file is there already"), "{err}");
    // Another file for the same slate would be as bad.
    let err = place.fails(5, &["-f", "other.yaml", "init", "--name", "billing"]);
    assert!(err.contains("there is a slate at this path already"), "{err}");
    assert!(!place.path().join("other.yaml").exists());
    assert_eq!(std::fs::read_to_string(place.path().join("opendata.yaml")).unwrap(), written);
}

#[test]
fn a_wrong_file_says_where_and_what_was_meant() {
    let place = Place::new();
    let file = place.path().join("opendata.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("usage: tsdb", "usage: {sytem: tsdb}")).unwrap();
    let line = text.lines().position(|line| line.contains("usage: tsdb")).unwrap() + 1;
    let err = place.fails(3, &["log", "scan", "--all"]);
    let expected = format!("error: invalid: opendata.yaml:{line}:15: unknown field `sytem`, did you mean `system`?");
    assert!(err.starts_with(&expected), "{err}");
    assert!(err.contains("usage: {sytem: tsdb}\n"), "{err}");

    let json = place.fails(3, &["--json", "log", "scan", "--all"]);
    let error: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(error["error"]["kind"], "invalid");
}

#[test]
fn without_a_file_it_says_how_to_get_one() {
    let place = Place::empty();
    let err = place.fails(4, &["log", "scan", "--all"]);
    assert!(err.contains("write one with `opendata init`"), "{err}");
    place.ok(&["-f", "deep/inside/composition.yaml", "init"]);
    // The store is relative to the file, from wherever it is used.
    assert!(place.path().join("deep/inside/data").is_dir());
    place.ok(&["-f", "deep/inside/composition.yaml", "log", "append", "s", "x"]);
    assert_eq!(place.payloads(&["s", "-f", "deep/inside/composition.yaml"]), ["x"]);
}

#[test]
fn settings_reach_the_slate() {
    let place = Place::empty();
    let text = "version: 1\nstore: {url: file:./data, local_durability: operating_system}\nnodes:\n  n:\n    path: a/b\n    instances:\n      small: {system: log, config: {max_record_bytes: 8}}\n";
    std::fs::write(place.path().join("opendata.yaml"), text).unwrap();
    // The file was written by hand: nothing is there until a server makes it.
    for refused in [["append", "s", "x"], ["scan", "--all", "--json"]] {
        let err = place.fails(4, &[&["log"][..], &refused].concat());
        assert!(err.contains("no slate at this path") && err.contains("`opendata run` makes it"), "{err}");
    }
    assert_eq!(place.serve().terminate(), 0);
    place.ok(&["log", "append", "s", "12345678"]);
    let err = place.fails(3, &["log", "append", "s", "123456789"]);
    assert!(err.contains("small") || err.contains("record"), "{err}");
    assert!(place.path().join("data/a/b").is_dir());
}
