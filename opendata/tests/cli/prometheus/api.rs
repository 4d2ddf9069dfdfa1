//! The HTTP interface: shapes, status codes, forms, compression, prefixes.

use serde_json::{Value, json};

use super::two;
use crate::cli::harness::Server;

const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";

fn filled(server: &Server) {
    let samples =
        "up{job=\"a\"} 1 1000\nup{job=\"b\"} 0 1000\nup{job=\"a\"} 1 2000\n{\"http.requests\",job=\"a\"} 5 2000\n";
    server.json("POST", "/v1/tsdb/one/write", samples);
    server.json("POST", "/v1/tsdb/two/write", "other{tenant=\"x\"} 1 1000\n");
}

fn data(server: &Server, path: &str) -> Value {
    let answer = server.json("GET", path, "");
    assert_eq!(answer["status"], "success", "{path}");
    answer["data"].clone()
}

#[test]
fn each_instance_answers_below_its_prefix_and_the_default_at_the_root() {
    let place = two();
    let server = place.serve();
    filled(&server);
    for (prefix, names) in [
        ("", ["http.requests", "up"].as_slice()),
        ("/v1/tsdb/one", &["http.requests", "up"]),
        ("/v1/tsdb/two", &["other"]),
    ] {
        assert_eq!(data(&server, &format!("{prefix}/api/v1/label/__name__/values")), json!(names), "{prefix}");
        assert_eq!(server.request("GET", &format!("{prefix}/-/healthy"), "", b"").0, 200);
        assert_eq!(server.request("HEAD", &format!("{prefix}/-/ready"), "", b""), (200, String::new()));
    }
    let (status, answer) = server.request("GET", "/v1/tsdb/three/api/v1/labels", "", b"");
    assert_eq!(status, 404);
    assert!(answer.contains("\"errorType\":\"not_found\""), "{answer}");
}

#[test]
fn series_labels_and_values() {
    let place = two();
    let server = place.serve();
    filled(&server);
    let up = |job: &str| json!({"__name__": "up", "job": job});
    assert_eq!(data(&server, "/api/v1/series?match[]=up"), json!([up("a"), up("b")]));
    assert_eq!(
        data(&server, "/api/v1/series?match[]=up%7Bjob=%22a%22%7D&match%5B%5D=up%7Bjob!=%22b%22%7D"),
        json!([up("a")])
    );
    let limited = server.json("GET", "/api/v1/series?match[]=up&limit=1", "");
    assert_eq!(
        (&limited["data"], &limited["warnings"]),
        (&json!([up("a")]), &json!(["results truncated due to limit"]))
    );
    assert_eq!(data(&server, "/api/v1/labels"), json!(["__name__", "job"]));
    assert_eq!(data(&server, "/api/v1/label/job/values?match[]=up&start=0&end=5"), json!(["a", "b"]));
    // Another day.
    assert_eq!(data(&server, "/api/v1/label/job/values?start=864000&end=864001"), json!([]));
    // A name that is no plain word, escaped.
    server.json("POST", "/v1/tsdb/one/write", "x{\"a.b\"=\"c\"} 1 1000\n");
    assert_eq!(data(&server, "/api/v1/label/U__a_2e_b/values"), json!(["c"]));
    let (status, answer) =
        server.request("POST", "/api/v1/series", FORM, b"match[]=up&start=0&end=1970-01-01T01:00:00Z");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, &answer["data"]), (200, &json!([up("a"), up("b")])));
}

#[test]
fn what_is_wrong_has_the_reference_s_names_and_codes() {
    let place = two();
    let server = place.serve();
    filled(&server);
    for (path, expected) in [
        ("query?query=up%7B", (400, "bad_data")),
        ("query?query=up&time=soon", (400, "bad_data")),
        ("query?query=up&timeout=x", (400, "bad_data")),
        ("query?query=up&timeout=0", (503, "timeout")),
        ("query?query=up&lookback_delta=-1", (400, "bad_data")),
        ("query?query=up&limit=-1", (400, "bad_data")),
        // It parses, and two series on the right have the same labels.
        ("query?query=up*on()up&time=1", (422, "execution")),
        ("query_range?query=up&start=0&end=10&step=0", (400, "bad_data")),
        ("query_range?query=up&start=0&end=10", (400, "bad_data")),
        ("query_range?query=up&start=10&end=0&step=1", (400, "bad_data")),
        ("query_range?query=up&start=0&end=100000&step=1", (400, "bad_data")),
        ("series", (400, "bad_data")),
        ("series?match[]=%7B%7D", (400, "bad_data")),
        ("labels?start=2&end=1", (400, "bad_data")),
        ("query_exemplars?query=up%7B&start=0&end=1", (400, "bad_data")),
        ("rules?type=x", (400, "bad_data")),
        ("nothing", (404, "not_found")),
    ] {
        let (status, answer) = server.request("GET", &format!("/api/v1/{path}"), "", b"");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((status, answer["errorType"].as_str().unwrap_or_default()), expected, "{path}: {answer}");
    }
}

#[test]
fn answers_and_forms_may_be_compressed() {
    let place = two();
    let server = place.serve();
    filled(&server);
    let (_, plain) = server.request("GET", "/api/v1/series?match[]=up", "", b"");
    let (status, head, packed) = server.exchange("GET", "/api/v1/series?match[]=up", "accept-encoding: gzip\r\n", b"");
    assert!(status == 200 && head.contains("content-encoding: gzip"), "{head}");
    let mut unpacked = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed[..]), &mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
    let mut form = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut form, b"match[]=up").unwrap();
    let headers = format!("{FORM}content-encoding: gzip\r\n");
    let (status, answer) = server.request("POST", "/api/v1/series", &headers, &form.finish().unwrap());
    assert_eq!((status, answer), (200, plain));
}

#[test]
fn queries_are_told_as_trees_and_as_tidy_text() {
    let place = two();
    let server = place.serve();
    assert_eq!(data(&server, "/api/v1/format_query?query=foo%2Fbar"), "foo / bar");
    let tree = data(&server, "/api/v1/parse_query?query=sum%20by%20(job)(rate(up%5B5m%5D))");
    assert_eq!(
        (&tree["type"], &tree["op"], &tree["grouping"]),
        (&json!("aggregation"), &json!("sum"), &json!(["job"]))
    );
    let selector = &tree["expr"]["args"][0];
    assert_eq!(selector["range"], 300_000);
    assert_eq!(selector["matchers"], json!([{"name": "__name__", "type": "=", "value": "up"}]));
    assert_eq!(server.request("GET", "/api/v1/parse_query?query=up%7B", "", b"").0, 400);
}

#[test]
fn statistics_are_told_on_demand() {
    let place = two();
    let server = place.serve();
    filled(&server);
    assert_eq!(data(&server, "/api/v1/query?query=up&time=2")["stats"], Value::Null);
    let told = data(&server, "/api/v1/query?query=up&time=2&stats=all");
    assert_eq!(told["stats"]["samples"]["totalQueryableSamples"], 2, "{told}");
    assert!(told["stats"]["timings"]["execTotalTime"].as_f64().unwrap() > 0.0);
    assert_eq!(told["stats"]["samples"]["totalQueryableSamplesPerStep"], json!([[2, 2]]));
    assert_eq!(told["stats"]["samples"]["samplesReadPerStep"], json!([[2, 2]]));
    let totals = data(&server, "/api/v1/query?query=up&time=2&stats=true");
    assert_eq!(totals["stats"]["samples"]["totalQueryableSamplesPerStep"], Value::Null);
    let odd = server.json("GET", "/api/v1/query?query=up&time=2&stats=yes", "");
    assert!(odd["warnings"][0].as_str().unwrap().contains("stats"), "{odd}");
}

#[test]
fn queries_are_explained_by_the_server_and_by_the_program() {
    let place = two();
    let server = place.serve();
    filled(&server);
    let query = "/api/v1/query_range?query=sum%20by%20(job)(up%7Bjob%3D%22a%22%7D)&start=1&end=3&step=1";
    assert_eq!(data(&server, query)["explanation"], Value::Null);
    let explained = data(&server, &format!("{query}&explain=true"));
    assert_eq!(explained["result"], data(&server, query)["result"]);
    let (plan, read) = (&explained["explanation"]["plan"], &explained["explanation"]["reads"][0]);
    assert_eq!((&plan["what"], &plan["steps"]), (&json!("sum by job: one accumulator a group"), &json!(3)), "{plan}");
    assert_eq!(read["narrowed"][0]["matchers"][1]["matcher"], "job=\"a\"", "{read}");
    assert!(explained["explanation"]["cost"]["samplesQueried"].as_u64() > Some(0), "{explained}");

    let asked = ["tsdb", "explain", "up{job=\"a\"}", "--instance", "one", "--time", "@2"];
    let of_server = place.json(&[&["--server", server.url.as_str()][..], &asked].concat());
    assert_eq!(of_server[0]["plan"]["what"], "the newest sample of each series", "{of_server:?}");
    drop(server);
    let alone = place.json(&asked);
    for part in ["plan", "reads"] {
        assert_eq!(alone[0][part], of_server[0][part]);
    }
}

#[test]
fn deleting_and_snapshots() {
    let place = two();
    let server = place.serve();
    filled(&server);
    let snapshot = server.json("POST", "/api/v1/admin/tsdb/snapshot", "");
    let path = "/api/v1/admin/tsdb/delete_series?match[]=up%7Bjob=%22a%22%7D&start=1.5";
    assert_eq!(server.request("POST", path, "", b""), (204, String::new()));
    let left = data(&server, "/api/v1/query?query=up%5B1h%5D&time=10");
    assert_eq!(
        left["result"].as_array().unwrap().iter().map(|one| one["values"].as_array().unwrap().len()).sum::<usize>(),
        2
    );
    assert_eq!(server.request("PUT", "/api/v1/admin/tsdb/clean_tombstones", "", b"").0, 204);
    assert_eq!(data(&server, "/api/v1/query?query=up%5B1h%5D&time=10"), left);
    assert_eq!(server.request("POST", "/api/v1/admin/tsdb/delete_series", "", b"").0, 400);
    drop(server);
    let name = snapshot["data"]["name"].as_str().unwrap();
    let then = place.json(&["tsdb", "query", "up", "--instance", "one", "--time", "@2", "--at", name]);
    assert_eq!(then[0]["data"]["result"].as_array().unwrap().len(), 2);
}

#[test]
fn the_server_tells_about_itself() {
    let place = two();
    let server = place.serve();
    filled(&server);
    assert!(data(&server, "/api/v1/status/config")["yaml"].as_str().unwrap().contains("default_tsdb: one"));
    assert!(data(&server, "/api/v1/status/flags")["file"].is_string());
    assert_eq!(data(&server, "/api/v1/status/runtimeinfo")["storageRetention"], "forever");
    assert_eq!(data(&server, "/api/v1/status/buildinfo")["version"].as_str().unwrap().split('.').count(), 3);
    let held = data(&server, "/api/v1/status/tsdb?limit=1");
    assert_eq!(
        (&held["headStats"]["numSeries"], &held["seriesCountByMetricName"]),
        (&json!(3), &json!([{"name": "up", "value": 2}]))
    );
    for (path, expected) in [
        ("targets", json!({"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {}})),
        ("scrape_pools", json!({"scrapePools": []})),
        ("rules", json!({"groups": []})),
        ("alerts", json!({"alerts": []})),
        ("alertmanagers", json!({"activeAlertmanagers": [], "droppedAlertmanagers": []})),
        ("metadata", json!({})),
        ("status/walreplay", json!({"min": 0, "max": 0, "current": 0, "state": "done"})),
    ] {
        assert_eq!(data(&server, &format!("/v1/tsdb/one/api/v1/{path}")), expected, "{path}");
    }
}

#[test]
fn federation_tells_the_newest_samples_as_text() {
    let place = two();
    let server = place.serve();
    server.json("POST", "/v1/tsdb/one/write", "up{job=\"a\"} 1\n{\"http.requests\",job=\"a\"} 5\nold 1 1000\n");
    let (status, text) = server.request("GET", "/federate?match[]=%7Bjob=%22a%22%7D&match[]=old", "", b"");
    let lines: Vec<_> =
        text.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap().0).collect();
    assert_eq!((status, lines), (200, vec!["{\"http.requests\",job=\"a\"} 5", "up{job=\"a\"} 1"]));
    let (_, head, body) =
        server.exchange("GET", "/federate?match[]=up", "accept: application/openmetrics-text\r\n", b"");
    assert!(head.contains("content-type: application/openmetrics-text"), "{head}");
    assert!(body.ends_with(b"# EOF\n"));
    assert_eq!(server.request("GET", "/federate", "", b""), (200, String::new()));
}
