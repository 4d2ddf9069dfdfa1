//! The requests that Grafana's Prometheus data source makes, as it writes them: it asks by POST, with a form, wherever it can.

use serde_json::{Value, json};

use super::two;
use crate::cli::harness::{Place, Server};

const FORM: &str = "content-type: application/x-www-form-urlencoded\r\naccept: application/json, text/plain, */*\r\n";

fn filled() -> (Place, Server) {
    let place = two();
    let server = place.serve();
    let mut samples = String::from("# TYPE http_requests_total counter\n# HELP http_requests_total All of them.\n");
    for at in 0..20 {
        samples += &format!(
            "http_requests_total{{job=\"api\",code=\"200\"}} {} {}\n",
            at * 10,
            1_700_000_000_000i64 + at * 15_000
        );
    }
    server.json("POST", "/v1/tsdb/one/write", &samples);
    (place, server)
}

fn post(server: &Server, path: &str, form: &str) -> Value {
    let (status, answer) = server.request("POST", &format!("/v1/tsdb/one{path}"), FORM, form.as_bytes());
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, &answer["status"]), (200, &json!("success")), "{path} {form}: {answer}");
    answer["data"].clone()
}

fn get(server: &Server, path: &str) -> Value {
    let answer = server.json("GET", &format!("/v1/tsdb/one{path}"), "");
    assert_eq!(answer["status"], "success", "{path}: {answer}");
    answer["data"].clone()
}

#[test]
fn saving_a_data_source_tests_it() {
    let (_place, server) = filled();
    assert_eq!(
        post(&server, "/api/v1/query", "query=1%2B1&time=4"),
        json!({"resultType": "scalar", "result": [4, "2"]})
    );
    let build = get(&server, "/api/v1/status/buildinfo");
    for field in ["version", "revision", "branch", "buildUser", "buildDate", "goVersion"] {
        assert!(build[field].is_string(), "{field}: {build}");
    }
    assert_eq!(build["application"], Value::Null, "Grafana takes a server with this field for another product");
    assert!(get(&server, "/api/v1/rules")["groups"].is_array());
    assert!(get(&server, "/api/v1/features").is_object());
    assert_eq!(get(&server, "/api/v1/notifications"), json!([]));
}

#[test]
fn the_query_builder_finds_metrics_labels_and_values() {
    let (_place, server) = filled();
    let range = "start=1700000000&end=1700000300";
    let matching = "match%5B%5D=%7B__name__%3D%22http_requests_total%22%7D";
    assert_eq!(post(&server, "/api/v1/labels", range), json!(["__name__", "code", "job"]));
    assert_eq!(
        post(&server, "/api/v1/labels", &format!("{range}&{matching}&limit=40000")),
        json!(["__name__", "code", "job"])
    );
    let values = format!("/api/v1/label/job/values?{range}&{matching}&limit=40000");
    assert_eq!(get(&server, &values), json!(["api"]));
    let names = format!("/api/v1/label/__name__/values?{range}&match[]=%7B__name__%3D~%22.*requests.*%22%7D");
    assert_eq!(get(&server, &names), json!(["http_requests_total"]));
    let series = post(&server, "/api/v1/series", &format!("{range}&{matching}&limit=40000"));
    assert_eq!(series, json!([{"__name__": "http_requests_total", "code": "200", "job": "api"}]));
    assert!(get(&server, "/api/v1/metadata?limit=40000").is_object());
    assert!(get(&server, "/api/v1/metadata?limit=1&limit_per_metric=1&metric=http_requests_total").is_object());
}

#[test]
fn panels_are_drawn() {
    let (_place, server) = filled();
    let query = "query=sum+by+%28job%29+%28rate%28http_requests_total%5B1m0s%5D%29%29";
    let range = "start=1700000060&end=1700000240&step=60";
    let drawn = post(&server, "/api/v1/query_range", &format!("{query}&{range}"));
    assert_eq!(drawn["resultType"], "matrix");
    let values = &drawn["result"][0]["values"];
    assert_eq!((values.as_array().unwrap().len(), &values[0][0]), (4, &json!(1_700_000_060)), "{drawn}");
    // Custom parameters of a data source stand in the address, the query in the form.
    let both = post(&server, "/api/v1/query_range?timeout=30s&stats=all", &format!("{query}&{range}"));
    assert_eq!(both["result"], drawn["result"]);
    assert!(both["stats"].is_object(), "{both}");
    // Fractions, and a step as a duration.
    let odd = "start=1700000060.000&end=1700000240.500&step=1m";
    assert_eq!(post(&server, "/api/v1/query_range", &format!("{query}&{odd}"))["result"], drawn["result"]);
    let now = post(&server, "/api/v1/query", &format!("{query}&time=1700000240.25"));
    assert_eq!((&now["resultType"], &now["result"][0]["value"][0]), (&json!("vector"), &json!(1_700_000_240.25)));
    let exemplars = "query=http_requests_total%7Bjob%3D%22api%22%7D&start=1700000000&end=1700000300";
    assert_eq!(post(&server, "/api/v1/query_exemplars", exemplars), json!([]));
    assert_eq!(get(&server, &format!("/api/v1/query_exemplars?{exemplars}")), json!([]));
}

#[test]
fn what_is_wrong_is_shown_in_the_editor() {
    let (_place, server) = filled();
    let (status, answer) = server.request("POST", "/v1/tsdb/one/api/v1/query", FORM, b"query=rate%28&time=4");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, &answer["status"], &answer["errorType"]), (400, &json!("error"), &json!("bad_data")));
    assert!(answer["error"].as_str().unwrap().contains("query"), "{answer}");
    let warned = server.request("POST", "/v1/tsdb/one/api/v1/query", FORM, b"query=quantile(2%2Cup)&time=4").1;
    let warned: Value = serde_json::from_str(&warned).unwrap();
    assert!(warned["warnings"][0].as_str().unwrap().starts_with("PromQL warning: "), "{warned}");
    let wrong = server.request("DELETE", "/v1/tsdb/one/api/v1/query", "", b"");
    assert_eq!((wrong.0, wrong.1.as_str()), (405, "Method Not Allowed\n"));
    let allowed = server.exchange("DELETE", "/v1/tsdb/one/api/v1/query", "", b"").1;
    assert!(allowed.to_lowercase().contains("allow: get,head,post"), "{allowed}");
}
