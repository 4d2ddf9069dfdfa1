//! OpenTelemetry's protocol against the real program: forms, errors, partial success.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::{place, query};
use crate::cli::harness::Server;

const JSON: &str = "content-type: application/json\r\n";
const PATH: &str = "/v1/tsdb/usage/otlp/v1/metrics";

fn now_ns() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_nanos()).unwrap()
}

fn export(metrics: &Value) -> String {
    let attributes = json!([{"key": "service.name", "value": {"stringValue": "api"}}]);
    json!({"resourceMetrics": [{"resource": {"attributes": attributes}, "scopeMetrics": [{"metrics": metrics}]}]})
        .to_string()
}

fn send(server: &Server, path: &str, headers: &str, body: &[u8]) -> (u16, Value) {
    let (status, answer) = server.request("POST", path, headers, body);
    (status, serde_json::from_str(&answer).unwrap())
}

#[test]
fn metrics_as_json_plain_and_packed_on_every_path() {
    let server = place("        otlp: {promote_resource_attributes: [service.name]}", "").serve();
    let gauge = |value: u64| {
        export(
            &json!([{"name": "queue.length", "gauge": {"dataPoints": [{"timeUnixNano": now_ns(), "asInt": value}]}}]),
        )
    };
    for (at, path) in [PATH, "/api/v1/otlp/v1/metrics", "/v1/tsdb/usage/api/v1/otlp/v1/metrics"].iter().enumerate() {
        let value = at as u64 + 1;
        assert_eq!(send(&server, path, JSON, gauge(value).as_bytes()), (200, json!({})), "{path}");
        let expected = format!(r#"{{"__name__":"queue_length","job":"api","service_name":"api"}} {value}"#);
        assert_eq!(query(&server, "queue_length"), [expected]);
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(gauge(9).as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let headers = format!("{JSON}content-encoding: gzip\r\n");
    assert_eq!(send(&server, PATH, &headers, &packed), (200, json!({})));
    assert_eq!(query(&server, "sum(queue_length)"), ["{} 9"]);
}

#[test]
fn start_times_are_stored_where_that_is_set() {
    let now = now_ns() / 1_000_000_000;
    let counter = export(&json!([{"name": "requests", "sum": {"aggregationTemporality": 2, "isMonotonic": true,
        "dataPoints": [{"startTimeUnixNano": (now - 60) * 1_000_000_000, "timeUnixNano": now * 1_000_000_000, "asInt": 7}]}}]));
    for (settings, expected) in [("        otlp: {start_times: true}", now - 60), ("", 0)] {
        let place = place(settings, "");
        let server = place.serve();
        assert_eq!(send(&server, PATH, JSON, counter.as_bytes()), (200, json!({})));
        server.kill();
        assert_eq!(query(&place.serve(), "sum(start_timestamp(requests_total))"), [format!("{{}} {expected}")]);
    }
}

#[test]
fn what_cannot_be_taken_is_told() {
    let server = place("", "").serve();
    let body = export(&json!([
        {"name": "good", "gauge": {"dataPoints": [{"timeUnixNano": now_ns(), "asInt": 1}]}},
        {"name": "bad", "sum": {"dataPoints": [{"timeUnixNano": now_ns(), "asInt": 1}]}},
    ]));
    let (status, answer) = send(&server, PATH, JSON, body.as_bytes());
    let partial = json!({"partialSuccess": {
        "rejectedDataPoints": "1", "errorMessage": "temporality is unspecified, metric=bad"}});
    assert_eq!((status, answer), (200, partial));
    assert_eq!(query(&server, "sum(good)"), ["{} 1"]);
    for (path, headers, body, expected) in [
        (PATH, JSON, "{", 400),
        (PATH, "content-type: text/plain\r\n", "{}", 415),
        ("/v1/tsdb/nothing/otlp/v1/metrics", JSON, "{}", 404),
        (PATH, "content-type: application/json\r\ncontent-encoding: gzip\r\n", "{}", 400),
        (PATH, "content-type: application/json\r\ncontent-encoding: br\r\n", "{}", 400),
    ] {
        let (status, answer) = send(&server, path, headers, body.as_bytes());
        assert_eq!(status, expected, "{path} {headers}: {answer}");
        assert!(!answer["message"].as_str().unwrap().is_empty(), "{answer}");
    }
    let (status, _) = server.request("POST", PATH, "content-type: application/x-protobuf\r\n", b"\x0a\xff");
    assert_eq!(status, 400);
    let (_, metrics) = server.request("GET", "/metrics", "", b"");
    assert!(metrics.contains("opendata_otlp_rejected_points_total{instance=\"usage\"} 1\n"), "{metrics}");
}

#[test]
fn a_delta_that_is_sent_twice_counts_once_over_a_kill() {
    let place = place("", "");
    let start = now_ns();
    let delta = |at: u64, value: f64| {
        export(&json!([{"name": "requests", "sum": {"aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [
            {"startTimeUnixNano": start, "timeUnixNano": start + at * 1_000_000, "asDouble": value}]}}]))
    };
    let server = place.serve();
    for (at, value) in [(1, 2.0), (1, 2.0), (2, 3.0)] {
        assert_eq!(send(&server, PATH, JSON, delta(at, value).as_bytes()), (200, json!({})));
    }
    server.kill();
    let server = place.serve();
    for (at, value) in [(2, 3.0), (3, 5.0)] {
        assert_eq!(send(&server, PATH, JSON, delta(at, value).as_bytes()), (200, json!({})));
    }
    assert_eq!(query(&server, "sum(requests_total)"), ["{} 10"]);
}
