//! The server, and commands that go through it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use serde_json::{Value, json};

use super::harness::{Place, Server};

fn commit(server: &Server, tenant: usize) -> Value {
    let body = json!({"operations": [
        {"instance": "events", "append": {"stream": format!("tenant-{tenant}"), "payload": "1 token"}},
        {"instance": "usage", "add": {"labels": {"__name__": "tokens_total", "tenant": tenant.to_string()}, "value": 1}},
    ]});
    server.json("POST", "/v1/commit", &body.to_string())
}

#[test]
fn what_was_acknowledged_survives_a_kill_on_both_sides() {
    let place = Place::new();
    let server = place.serve();
    for n in 0..30 {
        let answer = commit(&server, n % 3);
        assert_eq!(answer["receipts"]["usage"]["totals"], json!([(n / 3 + 1) as f64]), "{answer}");
        assert_eq!(answer["receipts"]["events"]["first"], answer["position"]);
    }
    server.kill();
    // A reader replays what the dead writer left.
    for n in 0..3 {
        assert_eq!(place.payloads(&[&format!("tenant-{n}")]).len(), 10);
    }
    let server = place.serve();
    commit(&server, 0);
    let answer = server.json("GET", "/api/v1/query?query=sum(tokens_total)", "");
    assert_eq!(answer["data"]["result"][0]["value"][1], "31");
    assert_eq!(server.terminate(), 0);
    assert_eq!(place.payloads(&["--all"]).len(), 31);
}

#[test]
fn a_refused_commit_leaves_no_trace() {
    let place = Place::new();
    let server = place.serve();
    let append = json!({"instance": "events", "append": {"stream": "s", "payload": "x"}});
    for (second, expected) in [
        (json!({"instance": "events", "expect_position": {"stream": "other", "position": 1}}), (409, "conflict")),
        (json!({"instance": "usage", "sample": {"labels": {"": "x"}, "value": 1}}), (400, "invalid")),
        (json!({"instance": "nothing", "sample": {"labels": {"__name__": "x"}, "value": 1}}), (404, "not_found")),
        (json!({"instance": "events", "sample": {"labels": {"__name__": "x"}, "value": 1}}), (400, "invalid")),
        (json!({"instance": "events"}), (400, "invalid")),
        (json!({"instance": "events", "apend": {}}), (400, "invalid")),
    ] {
        let body = json!({"operations": [append, second]}).to_string();
        let (status, kind) = server.refused("POST", "/v1/commit", &body);
        assert_eq!((status, kind.as_str()), expected, "{second}");
    }
    let page = server.json("GET", "/v1/log/events/records", "");
    assert_eq!((page["records"].as_array().unwrap().len(), &page["complete"]), (0, &json!(true)));
    let repeated = json!({"operations": [
        {"instance": "events", "producer": {"id": "p", "sequence": 1}, "append": {"stream": "s", "payload": "once"}},
    ]});
    let first = server.json("POST", "/v1/commit", &repeated.to_string());
    let again = server.json("POST", "/v1/commit", &repeated.to_string());
    assert_eq!(again["receipts"]["events"]["duplicate"], true);
    assert_eq!(again["receipts"]["events"]["first"], first["receipts"]["events"]["first"]);
    assert_eq!(place.payloads(&["--all"]), ["once"]);
}

#[test]
fn logs_over_http() {
    let place = Place::new();
    let server = place.serve();
    // Any bytes, in the name and in the payload.
    let path = "/v1/log/events/streams/a%2Fb%FF";
    let (status, answer) = server.request("POST", &format!("{path}?expect_position=none"), "", b"\x00\xff");
    assert_eq!(status, 200, "{answer}");
    let lines = "{\"payload\": \"1\", \"headers\": [[\"k\", \"v\"]]}\n\n{\"payload\": \"2\", \"event_time\": 5}\n";
    let ndjson = "content-type: application/x-ndjson\r\n";
    let (status, answer) = server.request("POST", path, ndjson, lines.as_bytes());
    assert_eq!(status, 200, "{answer}");
    let page = server.json("GET", path, "");
    let payloads: Vec<_> = page["records"].as_array().unwrap().iter().map(|record| &record["payload"]).collect();
    assert_eq!(payloads, [&json!({"base64": "AP8="}), &json!("1"), &json!("2")]);
    assert_eq!(page["records"][0]["stream"], json!({"base64": "YS9i/w=="}));

    // Pages join without a gap, in both directions.
    for reverse in [false, true] {
        let (mut found, mut more) = (Vec::new(), String::new());
        loop {
            let page = server.json("GET", &format!("{path}?limit=2&reverse={reverse}{more}"), "");
            found.extend(page["records"].as_array().unwrap().iter().map(|record| record["position"].as_u64().unwrap()));
            if page["complete"] == true {
                break;
            }
            more = format!("&{}={}", if reverse { "until" } else { "from" }, page["next"]);
        }
        assert_eq!(found.len(), 3);
        assert!(if reverse { found.is_sorted_by(|a, b| a > b) } else { found.is_sorted_by(|a, b| a < b) });
    }
    let (_, text) = server.request("GET", path, "accept: application/x-ndjson\r\n", b"");
    assert_eq!(text.lines().count(), 3);
    let page = server.json("GET", "/v1/log/events/streams?limit=1", "");
    assert_eq!(page["streams"], json!([{"base64": "YS9i/w=="}]));

    let (status, answer) = server.request("POST", path, ndjson, b"{\"payload\": \"ok\"}\n{\"paylod\": 1}\n");
    assert_eq!(status, 400);
    assert!(answer.contains("line 2: unknown field"), "{answer}");
    assert_eq!(server.refused("POST", &format!("{path}?expect_position=none"), "x"), (409, "conflict".to_owned()));
    assert_eq!(server.refused("GET", "/v1/log/usage/records", "").0, 400);
    assert_eq!(server.refused("GET", "/v1/log/nothing/records", "").0, 404);
    assert_eq!(server.refused("GET", &format!("{path}?form=1"), "").0, 400);
    assert_eq!(server.refused("GET", "/nothing", "").0, 404);
    assert_eq!(server.refused("PUT", "/v1/commit", "").0, 405);
    let (status, _) = server.request("POST", path, "", &vec![0; 33 * 1024 * 1024]);
    assert_eq!(status, 413);
    let (status, _) = server.request("POST", path, "origin: http://evil.example\r\n", b"x");
    assert_eq!(status, 403);
    assert_eq!(server.json("GET", path, "")["records"].as_array().unwrap().len(), 3);
}

#[test]
fn series_over_http() {
    let place = Place::new();
    let server = place.serve();
    let written = server.json("POST", "/v1/tsdb/usage/write", "up{job=\"a\"} 1 1000\nup{job=\"b\"} 2 1000\n");
    assert_eq!(written["receipts"]["usage"]["samples"], 2);
    let added = server.json("POST", "/v1/tsdb/usage/write?mode=add", "n_total 2\nn_total 3\n");
    assert_eq!(added["receipts"]["usage"]["totals"], json!([2.0, 5.0]));
    let answer = server.json("GET", "/v1/tsdb/usage/api/v1/query?query=sum(up)&time=1", "");
    assert_eq!(
        answer,
        json!({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "3"]}]}})
    );
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let (status, answer) =
        server.request("POST", "/api/v1/query_range", form, b"query=sum(up)&start=0&end=1970-01-01T00:00:03Z&step=1");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, answer["data"]["result"][0]["values"].as_array().unwrap().len()), (200, 3), "{answer}");
    for (path, expected) in [
        ("/api/v1/query?query=up%7B", (400, "bad_data")),
        ("/api/v1/query", (400, "bad_data")),
        ("/api/v1/query?query=up&time=soon", (400, "bad_data")),
        ("/api/v1/query_range?query=up&start=2&end=1&step=1", (400, "bad_data")),
        ("/v1/tsdb/nothing/api/v1/query?query=up", (404, "not_found")),
    ] {
        let (status, answer) = server.request("GET", path, "", b"");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((status, answer["errorType"].as_str().unwrap()), expected, "{path}: {answer}");
        assert_eq!(answer["status"], "error");
    }
    let (status, answer) = server.request("POST", "/v1/tsdb/usage/write", "", b"up 1\nup\n");
    assert_eq!(status, 400);
    assert!(answer.contains("line 2: not a value"), "{answer}");
}

#[test]
fn commands_go_through_the_server() {
    let place = Place::new();
    let server = place.serve();
    let via = |args: &[&str]| [&["--server", &server.url], args].concat().iter().map(ToString::to_string).collect();
    let json_of = |args: &[&str]| {
        let args: Vec<String> = via(args);
        place.json(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    json_of(&["log", "append", "a/b", "1", "--expect-position", "none"]);
    let numbers: Vec<u8> = (0..2500).flat_map(|n| format!("{n}\n").into_bytes()).collect();
    assert_eq!(place.run_with(&["--server", &server.url, "log", "append", "n"], &numbers).code, 0);
    let records = json_of(&["log", "scan", "n"]);
    assert_eq!((records.len(), &records[2499]["payload"]), (2500, &json!("2499")));
    assert_eq!(json_of(&["log", "scan", "--all", "--reverse", "--limit", "1"]), records[2499..]);
    assert_eq!(json_of(&["log", "streams"]), [json!({"stream": "a/b"}), json!({"stream": "n"})]);
    assert_eq!(place.run_with(&["--server", &server.url, "tsdb", "write"], b"up 1\n").code, 0);
    assert_eq!(json_of(&["tsdb", "query", "up"])[0]["data"]["result"][0]["value"][1], "1");
    json_of(&["checkpoint", "create", "c"]);
    assert_eq!(json_of(&["checkpoint", "list"])[0]["checkpoints"][0]["name"], "c");
    json_of(&["fork", "f", "--at", "c", "--instance", "usage"]);
    json_of(&["checkpoint", "release", "c"]);
    assert!(json_of(&["stats"])[0]["counters"]["commits"].as_u64().unwrap() >= 4);
    // An error keeps its kind on the way.
    place.fails(5, &["--server", &server.url, "log", "append", "n", "x", "--expect-position", "none"]);
    place.fails(3, &["--server", &server.url, "inspect"]);
    place.fails(3, &["--server", &server.url, "tsdb", "query", "up{"]);
    // Whoever reads the store beside the server disturbs nobody.
    assert_eq!(place.payloads(&["a/b"]), ["1"]);
    json_of(&["log", "append", "a/b", "2"]);
    assert_eq!(place.payloads(&["a/b"]), ["1", "2"]);
    let url = server.url.clone();
    assert_eq!(server.terminate(), 0);
    place.fails(8, &["--server", &url, "log", "append", "n", "x"]);
}

#[test]
fn followers_see_each_record_once_in_and_beside_the_server() {
    let place = Place::new();
    let server = place.serve();
    let mut connection = server.connect();
    write!(connection, "GET /v1/log/events/tail?prefix=s HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n")
        .unwrap();
    let mut events = BufReader::new(connection).lines().map(Result::unwrap);
    // Once the head of the answer is there, the follower stands.
    assert_eq!(events.find(|line| line.is_empty()), Some(String::new()));
    std::thread::scope(|scope| {
        let beside = scope.spawn(|| place.json(&["log", "tail", "s1", "--oldest", "--limit", "3", "--poll", "20ms"]));
        let through =
            scope.spawn(|| place.json(&["--server", &server.url, "log", "tail", "--all", "--oldest", "--limit", "4"]));
        for (stream, payload) in [("s1", "1"), ("other", "2"), ("s1", "3"), ("s1", "4")] {
            server.json("POST", &format!("/v1/log/events/streams/{stream}"), payload);
        }
        let payloads = |records: Vec<Value>| -> Vec<String> {
            records.iter().map(|record| record["payload"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(payloads(beside.join().unwrap()), ["1", "3", "4"]);
        assert_eq!(payloads(through.join().unwrap()), ["1", "2", "3", "4"]);
    });
    let data: Vec<String> = events.filter(|line| line.starts_with("data: ")).take(3).collect();
    assert!(data[0].contains("\"payload\":\"1\"") && data[2].contains("\"payload\":\"4\""), "{data:?}");
    // A follower that waits does not hold the end up.
    let mut waiting = server.connect();
    write!(waiting, "GET /v1/log/events/tail HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut head = String::new();
    BufReader::new(waiting.try_clone().unwrap()).read_line(&mut head).unwrap();
    assert_eq!(server.terminate(), 0);
}

#[test]
fn a_server_that_lost_the_slate_ends() {
    let place = Place::new();
    let server = place.serve();
    assert_eq!(server.request("GET", "/-/ready", "", b""), (200, "ready\n".to_owned()));
    assert_eq!(server.request("GET", "/-/healthy", "", b"").0, 200);
    let (_, metrics) = server.request("GET", "/metrics", "", b"");
    assert!(
        metrics.contains("# TYPE opendata_slate_commits_total counter\nopendata_slate_commits_total 0\n"),
        "{metrics}"
    );
    assert!(metrics.contains("opendata_log_records_total{instance=\"events\"} 0"), "{metrics}");
    place.ok(&["log", "append", "s", "taken over"]);
    assert_eq!(server.wait(), 7);
    assert_eq!(place.payloads(&["s"]), ["taken over"]);
}

#[test]
fn a_lone_node_is_served_where_it_says_and_else_where_the_composition_says() {
    let place = Place::new();
    let file = place.path().join("opendata.yaml");
    let plain = std::fs::read_to_string(&file).unwrap();
    let taken = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [node, composition] = taken.each_ref().map(|listener| listener.local_addr().unwrap().to_string());
    let everywhere = format!("{plain}\nserver: {{listen: \"{composition}\"}}\n");
    std::fs::write(&file, &everywhere).unwrap();
    assert!(place.fails(1, &["run"]).contains(&composition));
    std::fs::write(&file, everywhere.replace("    instances:", &format!("    listen: \"{node}\"\n    instances:")))
        .unwrap();
    assert!(place.fails(1, &["run"]).contains(&node));
}

#[test]
fn a_second_server_on_the_address_does_not_take_the_slate() {
    let place = Place::new();
    let server = place.serve();
    let address = server.url.strip_prefix("http://").unwrap();
    let err = place.fails(1, &["run", "--listen", address]);
    assert!(err.contains("cannot listen"), "{err}");
    commit(&server, 1);
}
