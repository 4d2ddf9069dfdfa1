//! A real target behind TLS and a password that shows native histograms: Prometheus itself. And what it takes of ours: federation.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::clients::{is_version_3, until};
use crate::cli::debian::{Running, free_port, programs};
use crate::cli::harness::{Place, Server};

/// `admin` with the password `test`, as Prometheus's guide to basic authentication has it.
const USERS: &str = "basic_auth_users:\n  admin: $2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay\n";

/// A certificate that signs itself, as `openssl` makes them, so that it says it is an authority, and its key; `false` if there is
/// no `openssl`, which is said.
fn certify(folder: &Path) -> bool {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1,DNS:metrics.example"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .output();
    match made {
        Ok(output) if output.status.success() => true,
        other => {
            println!("skipped: no certificate can be made with openssl: {other:?}");
            false
        }
    }
}

fn result(server: &Server, query: &str) -> Vec<Value> {
    let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("query", query).finish();
    let answer = server.json("GET", &format!("/api/v1/query?{query}"), "");
    answer["data"]["result"].as_array().unwrap().clone()
}

#[test]
fn prometheus_is_scraped_behind_tls_and_a_password_with_its_native_histograms() {
    let test = "cli::prometheus::secured::prometheus_is_scraped_behind_tls_and_a_password_with_its_native_histograms";
    let Some(programs) = programs(test) else { return };
    let place = Place::empty();
    if !is_version_3(&programs) || !certify(place.path()) {
        return;
    }
    let folder = place.path();
    let web =
        format!("tls_server_config:\n  cert_file: {0}/cert.pem\n  key_file: {0}/key.pem\n{USERS}", folder.display());
    std::fs::write(folder.join("web.yml"), web).unwrap();
    std::fs::write(folder.join("password"), "test\n").unwrap();
    std::fs::write(folder.join("prometheus.yml"), "").unwrap();
    let port = free_port();
    let args = [
        format!("--config.file={}/prometheus.yml", folder.display()),
        format!("--storage.tsdb.path={}/peer", folder.display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
        format!("--web.config.file={}/web.yml", folder.display()),
    ];
    let running = Running::start(&programs.join("prometheus"), &args, folder.join("peer.log"));

    let job = |name: &str, more: &str| {
        format!(
            "- {{job_name: {name}, scrape_interval: 200ms, scheme: https, {more}, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}\n        "
        )
    };
    let auth = "basic_auth: {username: admin, password_file: password}";
    let jobs = [
        job("native", &format!("scrape_native_histograms: true, tls_config: {{ca_file: cert.pem}}, {auth}")),
        job("text", &format!("tls_config: {{insecure_skip_verify: true, min_version: TLS12}}, {auth}")),
        job("named", &format!("tls_config: {{ca_file: cert.pem, server_name: metrics.example}}, {auth}")),
        job("misnamed", &format!("tls_config: {{ca_file: cert.pem, server_name: other.example}}, {auth}")),
        job("unknown", auth),
        job("nobody", "tls_config: {ca_file: cert.pem}"),
    ];
    let composition = format!(
        "version: 1\nstore: file:./data\nnodes:\n  main:\n    instances:\n      usage:\n        system: tsdb\n        scrape:\n        {}\n",
        jobs.concat()
    );
    std::fs::write(folder.join("opendata.yaml"), composition).unwrap();
    let server = place.serve();
    let handled = "prometheus_http_request_duration_seconds{handler=\"/metrics\"}";
    until("a native histogram", &running, || {
        let found = result(&server, &format!("histogram_count({handled}) > 3"));
        (found.len() == 1 && found[0]["metric"]["job"] == "native").then_some(())
    });
    // The same observations, as text shows them to the other job.
    until("all jobs", &running, || (result(&server, "up").len() == 6).then_some(()));
    until("the classic form", &running, || {
        let buckets =
            "prometheus_http_request_duration_seconds_bucket{handler=\"/metrics\",job=\"text\",le=\"+Inf\"} > 0";
        (result(&server, buckets).len() == 1).then_some(())
    });
    assert!(result(&server, "prometheus_http_request_duration_seconds_bucket{job=\"native\"}").is_empty());
    let up = result(&server, "up");
    let up: Vec<String> = up.iter().map(|one| format!("{} {}", one["metric"]["job"], one["value"][1])).collect();
    for (job, is_up) in [("native", 1), ("text", 1), ("named", 1), ("misnamed", 0), ("unknown", 0), ("nobody", 0)] {
        let wanted = format!("\"{job}\" \"{is_up}\"");
        assert!(up.contains(&wanted), "{wanted}: {up:?}");
    }
    let targets = server.json("GET", "/api/v1/targets", "").to_string();
    assert!(targets.contains("server returned HTTP status 401"), "{targets}");
    assert!(targets.contains("invalid peer certificate"), "{targets}");

    // Another Prometheus federates them from us, whole.
    let config = format!(
        "scrape_configs:\n- job_name: federate\n  scrape_interval: 300ms\n  scrape_timeout: 300ms\n  honor_labels: true\n  metrics_path: /federate\n  params: {{'match[]': ['{{__name__=~\"prometheus_http_request.*\"}}']}}\n  static_configs: [{{targets: ['{}']}}]\n",
        server.url.trim_start_matches("http://")
    );
    let features = ["--enable-feature=native-histograms"];
    let (other, port) = super::clients::prometheus(&programs, &place, "other", &config, &features);
    let question = format!(
        "/api/v1/query?{}",
        form_urlencoded::Serializer::new(String::new())
            .append_pair("query", &format!("histogram_quantile(0.5, {handled})"))
            .finish()
    );
    until("the federated histogram", &other, || {
        let answer = super::clients::ask(port, &question)?;
        let found = answer["data"]["result"].as_array()?.first()?;
        (found["metric"]["job"] == "native").then_some(())
    });
}
