//! Targets scraped by the real program.

use std::fs;

use super::{Peer, place, query, until, until_query};
use crate::cli::harness::Place;

fn scraping(place: &Place, targets: &str) {
    // Replaced as a whole, as those who write such files do.
    let (new, file) = (place.path().join("targets.new"), place.path().join("targets.json"));
    fs::write(&new, targets).unwrap();
    fs::rename(new, file).unwrap();
}

fn scraped_from_file(more: &str) -> Place {
    place(
        &format!(
            "        scrape:
        - job_name: j
          scrape_interval: 100ms
          file_sd_configs: [{{files: [targets.json], refresh_interval: 50ms}}]
{more}"
        ),
        "",
    )
}

#[test]
fn series_come_end_and_are_told_of() {
    let target = Peer::new("# TYPE a counter\na 1\nb{x=\"y\"} 2\n");
    let place = scraped_from_file("          metric_relabel_configs: [{regex: instance, action: labeldrop}]");
    scraping(&place, &format!(r#"[{{"targets": ["{}"], "labels": {{"env": "test"}}}}]"#, target.address));
    let server = place.serve();
    until_query(
        &server,
        "{__name__=~\"a|b\"}",
        &[r#"{"__name__":"a","env":"test","job":"j"} 1"#, r#"{"__name__":"b","env":"test","job":"j","x":"y"} 2"#],
    );
    until_query(&server, "sum(up) + sum(scrape_samples_scraped)", &["{} 3"]);
    until_query(
        &server,
        "scrape_series_added == 0 and on() scrape_samples_post_metric_relabeling == 2",
        &[&format!(r#"{{"__name__":"scrape_series_added","env":"test","instance":"{}","job":"j"}} 0"#, target.address)],
    );
    let targets = server.json("GET", "/api/v1/targets", "");
    let active = &targets["data"]["activeTargets"][0];
    assert_eq!((active["health"].as_str(), active["scrapePool"].as_str()), (Some("up"), Some("j")), "{targets}");
    let metadata = server.json("GET", "/api/v1/targets/metadata?metric=a", "");
    assert_eq!(metadata["data"][0]["type"], "counter", "{metadata}");

    target.say("a 5\n");
    until_query(&server, "{__name__=~\"a|b\"}", &[r#"{"__name__":"a","env":"test","job":"j"} 5"#]);
    target.fail_with(500);
    until_query(&server, "a or sum(up)", &["{} 0"]);
    let targets = server.json("GET", "/api/v1/targets?state=active", "");
    let error = targets["data"]["activeTargets"][0]["lastError"].as_str().unwrap();
    assert!(error.starts_with("server returned HTTP status 500"), "{error}");
    target.fail_with(200);
    until_query(&server, "sum(up)", &["{} 1"]);
    // A target that is gone takes everything with it.
    scraping(&place, "[]");
    until(|| query(&server, "{job=\"j\"}"), Vec::is_empty);
    let (_, metrics) = server.request("GET", "/metrics", "", b"");
    assert!(metrics.contains("opendata_scrape_failed_total{instance=\"usage\"} "), "{metrics}");
    assert!(metrics.contains("opendata_scrape_unwritten_total{instance=\"usage\"} 0"), "{metrics}");
}

#[test]
fn scraping_goes_on_after_a_kill() {
    let target = Peer::new("n_total 1\n");
    let place = scraped_from_file("");
    scraping(&place, &format!(r#"[{{"targets": ["{}"]}}]"#, target.address));
    let server = place.serve();
    until_query(&server, "sum(n_total)", &["{} 1"]);
    server.kill();
    target.say("n_total 4\n");
    let server = place.serve();
    until_query(&server, "sum(n_total)", &["{} 4"]);
    until_query(&server, "sum(resets(n_total[10m]))", &["{} 0"]);
    assert_eq!(server.terminate(), 0);
}

#[test]
fn a_scrape_is_one_commit_or_nothing() {
    let target = Peer::new("a 1\nb 2\n");
    let place = scraped_from_file("          sample_limit: 2");
    scraping(&place, &format!(r#"[{{"targets": ["{}"]}}]"#, target.address));
    let server = place.serve();
    until_query(&server, "sum(a) + sum(b)", &["{} 3"]);
    target.say("a 7\nb 8\nc 9\n");
    until_query(&server, "sum(up)", &["{} 0"]);
    assert_eq!(query(&server, "c or a"), [""; 0]);
    // Nothing of what was over the limit was written at any time.
    assert_eq!(query(&server, "count(last_over_time(c[10m])) or max(max_over_time(a[10m]))"), ["{} 1"]);
}

#[test]
fn what_is_wrong_in_the_composition_is_found_before_anything_runs() {
    for (usage, expected) in [
        ("        scrape: [{job_name: a, sheme: http}]", "sheme"),
        ("        scrape: [{job_name: a}, {job_name: a}]", "a job_name stands there twice"),
        ("        scrape: nowhere.yml", "file cannot be read"),
        ("        rules: [nowhere.yml]", "rule file is not there"),
        ("        otlp: {translation_strategy: none}", "none"),
    ] {
        let err = place(usage, "").fails(3, &["run", "--listen", "127.0.0.1:0"]);
        assert!(err.contains(expected), "{usage}: {err}");
    }
    let log = Place::empty();
    let text = "version: 1\nstore: file:./data\nnodes: {main: {instances: {events: {system: log, scrape: []}}}}\n";
    fs::write(log.path().join("opendata.yaml"), text).unwrap();
    assert!(log.fails(3, &["run", "--listen", "127.0.0.1:0"]).contains("the system must be tsdb"));
}
