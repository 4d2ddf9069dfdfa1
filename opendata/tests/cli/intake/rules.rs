//! Rules in the real program, and who is told of alerts.

use std::fs;

use serde_json::Value;

use super::{Peer, place, until, until_query};
use crate::cli::harness::{Place, Server};

const RULES: &str = "groups:
- name: g
  interval: 100ms
  rules:
  - {record: 'm:double', expr: m * 2}
  - alert: High
    expr: m:double > 5
    for: 200ms
    labels: {severity: page}
    annotations: {summary: '{{ $labels.job }} is at {{ $value | humanize }}'}
";

fn alerting(alertmanager: &Peer) -> Place {
    let place = place(
        &format!(
            "        rules:
          rule_files: ['rules/*.yml']
          external_labels: {{region: eu}}
          external_url: https://metrics.example
          for_grace_period: 0s
          resend_delay: 500ms
          alertmanagers: [{{static_configs: [{{targets: ['{}']}}], path_prefix: /am}}]",
            alertmanager.address
        ),
        "",
    );
    fs::create_dir(place.path().join("rules")).unwrap();
    fs::write(place.path().join("rules/a.yml"), RULES).unwrap();
    place
}

fn write(server: &Server, value: f64) {
    server.json("POST", "/v1/tsdb/usage/write", &format!("m{{job=\"api\"}} {value}\n"));
}

fn states(server: &Server) -> Vec<String> {
    let alerts = server.json("GET", "/api/v1/alerts", "");
    let alerts = alerts["data"]["alerts"].as_array().unwrap();
    alerts.iter().map(|alert| alert["state"].as_str().unwrap().to_owned()).collect()
}

fn told(alertmanager: &Peer) -> Vec<Value> {
    alertmanager.bodies().into_iter().flat_map(|body| body.as_array().cloned().unwrap_or_default()).collect()
}

#[test]
fn an_alert_fires_is_told_goes_on_after_a_kill_and_is_over() {
    let alertmanager = Peer::new("");
    alertmanager.fail_with(503);
    let place = alerting(&alertmanager);
    let server = place.serve();
    write(&server, 4.0);
    until_query(&server, "m:double", &[r#"{"__name__":"m:double","job":"api"} 8"#]);
    until(|| states(&server), |states| states == &["firing"]);
    until_query(
        &server,
        "ALERTS",
        &[r#"{"__name__":"ALERTS","alertname":"High","alertstate":"firing","job":"api","severity":"page"} 1"#],
    );
    // What is not taken is sent again.
    until(|| alertmanager.bodies().len(), |count| *count > 1);
    alertmanager.fail_with(200);
    let alert = until(|| told(&alertmanager), |told| !told.is_empty()).remove(0);
    assert_eq!(alert["labels"]["region"], "eu", "{alert}");
    assert_eq!(alert["annotations"]["summary"], "api is at 8", "{alert}");
    assert_eq!(alert["generatorURL"], "https://metrics.example/graph?g0.expr=m%3Adouble+%3E+5&g0.tab=1", "{alert}");
    assert!(alertmanager.requests.lock().unwrap()[0].0.starts_with("POST /am/api/v2/alerts "));
    let rules = server.json("GET", "/api/v1/rules?type=alert", "");
    let rule = &rules["data"]["groups"][0]["rules"][0];
    assert_eq!((rule["state"].as_str(), rule["health"].as_str()), (Some("firing"), Some("ok")), "{rules}");
    let since = rule["alerts"][0]["activeAt"].clone();
    server.kill();

    let server = place.serve();
    let active = || server.json("GET", "/api/v1/alerts", "")["data"]["alerts"][0].clone();
    let alert = until(active, |alert| alert["state"] == "firing");
    // Times of alerts are kept in whole seconds.
    assert_eq!(alert["activeAt"].as_str().unwrap()[..19], since.as_str().unwrap()[..19]);
    write(&server, 1.0);
    until(|| states(&server), Vec::is_empty);
    // While it fires its end is put off again and again; once it is over its end lies before what was told last.
    let ends = |alert: &Value| alert["endsAt"].as_str().unwrap().to_owned();
    until(|| told(&alertmanager), |told| told.array_windows().any(|[before, after]| ends(after) < ends(before)));
    until_query(&server, "ALERTS", &[]);
}

#[test]
fn files_of_rules_are_checked() {
    let place = Place::empty();
    fs::write(place.path().join("good.yml"), RULES).unwrap();
    fs::write(place.path().join("bad.yml"), RULES.replace("m * 2", "m *")).unwrap();
    assert_eq!(
        place.ok(&["rules", "check", "good.yml"]),
        "good.yml: in order, 1 groups, 1 recording and 1 alerting rules\n"
    );
    let err = place.fails(3, &["rules", "check", "bad.yml"]);
    assert!(err.contains("bad.yml:5:"), "{err}");
}

#[test]
fn the_example_is_in_order_and_runs() {
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples");
    let place = Place::empty();
    for file in ["metrics.yaml", "alerts.yml"] {
        let text = fs::read_to_string(examples.join(file)).unwrap();
        let text = text.replace("file:../metrics-data", "file:data").replace("otlp_grpc: 127.0.0.1:4317", "");
        fs::write(place.path().join(file), text).unwrap();
    }
    fs::rename(place.path().join("metrics.yaml"), place.path().join("opendata.yaml")).unwrap();
    let server = place.serve();
    let rules = server.json("GET", "/api/v1/rules", "");
    assert_eq!(rules["data"]["groups"][0]["rules"].as_array().unwrap().len(), 2, "{rules}");
    let pools = server.json("GET", "/api/v1/scrape_pools", "");
    assert_eq!(pools["data"]["scrapePools"], serde_json::json!(["opendata", "node"]));
}
