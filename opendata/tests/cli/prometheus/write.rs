//! Remote write, as a sender sees it.

use serde_json::{Value, json};

use super::message::{bytes, double, histogram, labels, number, sample, series, snappy};
use super::two;
use crate::cli::harness::Server;

const V1: &str = "content-type: application/x-protobuf\r\ncontent-encoding: snappy\r\n";
const V2: &str =
    "content-type: application/x-protobuf;proto=io.prometheus.write.v2.Request\r\ncontent-encoding: snappy\r\n";

fn value_of(server: &Server, query: &str) -> Value {
    let answer = server.json("GET", &format!("/api/v1/query?time=10&query={query}"), "");
    answer["data"]["result"].as_array().unwrap().first().map_or(Value::Null, |first| match first.get("value") {
        Some(value) => value[1].clone(),
        None => first["histogram"][1].clone(),
    })
}

/// How many samples, histograms and exemplars an answer says were written.
fn written(head: &str) -> [u64; 3] {
    ["samples", "histograms", "exemplars"].map(|what| {
        let name = format!("x-prometheus-remote-write-{what}-written: ");
        let line = head.lines().find_map(|line| line.strip_prefix(name.as_str()));
        line.unwrap_or_else(|| panic!("no {name} in {head}")).parse().unwrap()
    })
}

#[test]
fn version_1_writes_samples_histograms_exemplars_and_metadata() {
    let place = two();
    let server = place.serve();
    let exemplar = bytes(3, &[labels(&[("trace_id", "abc")]), double(2, 0.5), number(3, 9000)].concat());
    let about =
        bytes(3, &[number(1, 1), bytes(2, b"requests_total"), bytes(4, b"How many."), bytes(5, b"requests")].concat());
    let message = [
        series(&[("__name__", "requests_total"), ("job", "api")], &[sample(8000, 1.0), sample(9000, 2.0), exemplar]),
        series(&[("__name__", "latency"), ("job", "api")], &[bytes(4, &histogram(9000))]),
        about,
    ]
    .concat();
    let (status, head, body) = server.exchange("POST", "/api/v1/write", V1, &snappy(&message));
    assert_eq!((status, written(&head)), (204, [2, 1, 1]), "{}", String::from_utf8_lossy(&body));
    assert_eq!(value_of(&server, "requests_total"), json!("2"));
    let buckets = json!([[3, "-0.25", "0.25", "1"], [0, "1", "2", "2"]]);
    assert_eq!(value_of(&server, "latency"), json!({"count": "3", "sum": "4.5", "buckets": buckets}));
    let metadata = server.json("GET", "/api/v1/metadata?metric=requests_total", "");
    assert_eq!(
        metadata["data"],
        json!({"requests_total": [{"type": "counter", "help": "How many.", "unit": "requests"}]})
    );
    let exemplars = server.json("GET", "/api/v1/query_exemplars?query=rate(requests_total[5m])&start=0&end=10", "");
    assert_eq!(
        exemplars["data"],
        json!([{
            "seriesLabels": {"__name__": "requests_total", "job": "api"},
            "exemplars": [{"labels": {"trace_id": "abc"}, "value": "0.5", "timestamp": 9}],
        }])
    );
    // All of it is the instance's alone.
    let other = server.json("GET", "/v1/tsdb/two/api/v1/query?time=10&query=requests_total", "");
    assert_eq!(other["data"]["result"], json!([]));
}

/// Fields of a message may stand in any order, and those of one series far from one another.
#[test]
fn labels_are_found_wherever_they_stand() {
    let place = two();
    let server = place.serve();
    let (name, job) = (labels(&[("__name__", "up")]), labels(&[("job", "api")]));
    for (at, fields) in [
        (1000, [name.clone(), job.clone(), sample(1000, 1.0)]),
        (2000, [sample(2000, 2.0), name.clone(), job.clone()]),
        (3000, [name.clone(), sample(3000, 3.0), job.clone()]),
        (4000, [job, name, sample(4000, 4.0)]),
    ] {
        let message = bytes(1, &fields.concat());
        let (status, head, _) = server.exchange("POST", "/api/v1/write", V1, &snappy(&message));
        assert_eq!((status, written(&head)), (204, [1, 0, 0]), "the sample at {at}");
    }
    // A label that is a number makes the message none, and nothing of it is written.
    let wrong =
        [series(&[("__name__", "other")], &[sample(5000, 5.0)]), bytes(1, &[number(1, 7), sample(5000, 5.0)].concat())];
    assert_eq!(server.exchange("POST", "/api/v1/write", V1, &snappy(&wrong.concat())).0, 400);
    assert_eq!(value_of(&server, "other"), Value::Null);
    assert_eq!(value_of(&server, "count_over_time(up%7Bjob=%22api%22%7D[10s])"), json!("4"));
    assert_eq!(value_of(&server, "count(last_over_time(up[10s]))"), json!("1"));
}

#[test]
fn version_2_refers_to_its_table_of_texts() {
    let place = two();
    let server = place.serve();
    let symbols = ["", "__name__", "requests_total", "job", "api", "How many.", "trace_id", "abc"];
    let table: Vec<u8> = symbols.iter().flat_map(|symbol| bytes(4, symbol.as_bytes())).collect();
    let exemplar = bytes(4, &[bytes(1, &[6, 7]), double(2, 0.5), number(3, 9000)].concat());
    let about = bytes(5, &[number(1, 1), number(3, 5), number(4, 0)].concat());
    let one = bytes(5, &[bytes(1, &[1, 2, 3, 4]), sample(9000, 7.0), exemplar, about].concat());
    let latency = bytes(5, &[bytes(1, &[1, 5, 3, 4]), bytes(3, &histogram(9000))].concat());
    // The table may stand anywhere.
    let message = [one, latency, table].concat();
    let (status, head, body) = server.exchange("POST", "/v1/tsdb/one/api/v1/write", V2, &snappy(&message));
    assert_eq!((status, written(&head)), (204, [1, 1, 1]), "{}", String::from_utf8_lossy(&body));
    assert_eq!(value_of(&server, "requests_total%7Bjob=%22api%22%7D"), json!("7"));
    assert_eq!(value_of(&server, "histogram_count(%7B%22How%20many.%22%7D)"), json!("3"));
    let metadata = server.json("GET", "/api/v1/metadata", "");
    assert_eq!(metadata["data"]["requests_total"][0]["type"], "counter");
    // An odd number of references, one that is not there, and a series with nothing in it.
    let bad = [
        bytes(5, &[bytes(1, &[1, 2, 3]), sample(9500, 1.0)].concat()),
        bytes(5, &[bytes(1, &[1, 99]), sample(9500, 1.0)].concat()),
        bytes(5, &bytes(1, &[1, 2])),
        bytes(5, &[bytes(1, &[1, 2, 3, 4]), sample(9500, 8.0)].concat()),
    ];
    let table: Vec<u8> = symbols.iter().flat_map(|symbol| bytes(4, symbol.as_bytes())).collect();
    let (status, head, body) = server.exchange("POST", "/api/v1/write", V2, &snappy(&[table, bad.concat()].concat()));
    let body = String::from_utf8(body).unwrap();
    assert_eq!((status, written(&head)), (400, [1, 0, 0]), "{body}");
    assert!(
        body.starts_with("partial write: the rest is written, refused=3, first: a label has a name and no value;"),
        "{body}"
    );
    assert_eq!(value_of(&server, "requests_total"), json!("8"));
}

#[test]
fn start_times_of_version_2_are_there_after_a_kill() {
    let place = two();
    let server = place.serve();
    let symbols = ["", "__name__", "a_total", "b_total", "c"];
    let table: Vec<u8> = symbols.iter().flat_map(|symbol| bytes(4, symbol.as_bytes())).collect();
    let since =
        |at: u64, value: f64, start: u64| bytes(2, &[double(1, value), number(2, at), number(3, start)].concat());
    // Each sample for itself; all samples of a series, but for one; a histogram.
    let own = bytes(5, &[bytes(1, &[1, 2]), since(8000, 5.0, 1000), since(9000, 6.0, 8500)].concat());
    let of_series = bytes(5, &[bytes(1, &[1, 3]), sample(8000, 1.0), since(9000, 2.0, 3000), number(6, 2000)].concat());
    // Field 17: 4000.
    let counted = [histogram(9000), vec![0x88, 0x01, 0xa0, 0x1f]].concat();
    let distribution = bytes(5, &[bytes(1, &[1, 4]), bytes(3, &counted)].concat());
    let message = [table, own, of_series, distribution].concat();
    let (status, head, body) = server.exchange("POST", "/api/v1/write", V2, &snappy(&message));
    assert_eq!((status, written(&head)), (204, [4, 1, 0]), "{}", String::from_utf8_lossy(&body));
    server.kill();
    let server = place.serve();
    for (query, expected) in [
        ("start_timestamp(a_total)", "8.5"),
        ("start_timestamp(a_total%20offset%202s)", "1"),
        ("resets(a_total%5B5s%5D)", "1"),
        ("start_timestamp(b_total)", "3"),
        ("start_timestamp(b_total%20offset%202s)", "2"),
        ("start_timestamp(c)", "4"),
    ] {
        assert_eq!(value_of(&server, query), json!(expected), "{query}");
    }
}

#[test]
fn what_is_wrong_is_left_out_and_the_rest_is_written() {
    let place = two();
    let server = place.serve();
    let message = [
        series(&[("job", "api")], &[sample(1000, 1.0), sample(2000, 1.0)]),
        series(&[("__name__", "good")], &[sample(9000, 1.0)]),
        series(&[("__name__", "good"), ("a", "1"), ("a", "2")], &[sample(9000, 1.0)]),
    ]
    .concat();
    for _ in 0..2 {
        let (status, head, body) = server.exchange("POST", "/api/v1/write", V1, &snappy(&message));
        let body = String::from_utf8(body).unwrap();
        assert_eq!((status, written(&head)), (400, [1, 0, 0]), "{body}");
        assert!(body.contains("refused=3") && body.contains("a series has no metric name"), "{body}");
    }
    assert_eq!(value_of(&server, "good"), json!("1"));
    let (_, metrics) = server.request("GET", "/metrics", "", b"");
    for line in [
        "opendata_remote_write_requests_total{instance=\"one\"} 2",
        "opendata_remote_write_refused_total{instance=\"one\"} 6",
        "opendata_tsdb_samples_total{instance=\"one\"} 2",
        "opendata_tsdb_refused_total{instance=\"one\",reason=\"too_old\"} 0",
    ] {
        assert!(metrics.lines().any(|known| known == line), "{line}: {metrics}");
    }
}

#[test]
fn late_repeated_and_disordered_samples_are_taken_and_the_last_written_wins() {
    let place = two();
    let server = place.serve();
    let name = [("__name__", "x")];
    for (samples, expected) in [
        (vec![sample(9000, 1.0), sample(5000, 2.0)], "1"),
        (vec![sample(9000, 3.0)], "3"),
        (vec![sample(1000, 4.0), sample(9000, 3.0)], "3"),
        // The reference's marker of a series' end.
        (vec![sample(9500, f64::from_bits(0x7ff0_0000_0000_0002))], ""),
    ] {
        let (status, _, body) = server.exchange("POST", "/api/v1/write", V1, &snappy(&series(&name, &samples)));
        assert_eq!(status, 204, "{}", String::from_utf8_lossy(&body));
        let found = value_of(&server, "x");
        assert_eq!(found.as_str().unwrap_or_default(), expected);
    }
    assert_eq!(value_of(&server, "sum_over_time(x[10s])"), json!("9"));
}

#[test]
fn requests_that_are_none_say_so() {
    let place = two();
    let server = place.serve();
    let good = snappy(&series(&[("__name__", "x")], &[sample(9000, 1.0)]));
    let huge = snappy(&vec![0; 40 << 20]);
    for (path, headers, body, expected) in [
        ("/api/v1/write", V1, &b"not snappy"[..], 400),
        ("/api/v1/write", V1, &snappy(b"\xff\xff")[..], 400),
        ("/api/v1/write", "content-type: application/json\r\ncontent-encoding: snappy\r\n", &good, 415),
        ("/api/v1/write", "content-type: application/x-protobuf\r\ncontent-encoding: gzip\r\n", &good, 415),
        ("/api/v1/write", "content-type: application/x-protobuf;proto=x\r\ncontent-encoding: snappy\r\n", &good, 415),
        ("/v1/tsdb/three/api/v1/write", V1, &good, 404),
        ("/api/v1/write", V1, &huge, 413),
        ("/api/v1/write", V1, &good, 204),
        ("/api/v1/write", V1, &[0], 204),
    ] {
        let (status, _, answer) = server.exchange("POST", path, headers, body);
        assert_eq!(status, expected, "{path} {headers}: {}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(server.request("GET", "/api/v1/write", "", b"").0, 405);
}
