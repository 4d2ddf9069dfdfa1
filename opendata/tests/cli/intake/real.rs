//! Real clients and targets: OpenTelemetry's SDK of Python, Debian's node exporter, Debian's Alertmanager.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{packages, place, query, until, until_query};

/// Exports over HTTP and over gRPC, with cumulative and with delta temporality, every instrument there is.
const EXPORT: &str = r#"
import sys
http, grpc = sys.argv[1], sys.argv[2]

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as Grpc
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as Http
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

DELTA = {Counter: AggregationTemporality.DELTA, Histogram: AggregationTemporality.DELTA}
EXPORTERS = {
    "http": lambda: Http(endpoint=http, compression=Compression.Gzip),
    "grpc": lambda: Grpc(endpoint=grpc, insecure=True),
    "http-delta": lambda: Http(endpoint=http, preferred_temporality=DELTA),
    "grpc-delta": lambda: Grpc(endpoint=grpc, insecure=True, preferred_temporality=DELTA),
}
for service, exporter in EXPORTERS.items():
    reader = PeriodicExportingMetricReader(exporter(), export_interval_millis=3600000)
    views = [View(instrument_name="request.size", aggregation=ExponentialBucketHistogramAggregation())]
    resource = Resource.create({"service.name": service, "service.namespace": "shop", "service.instance.id": "1", "host.name": "h"})
    provider = MeterProvider(resource=resource, metric_readers=[reader], views=views)
    meter = provider.get_meter("test", "1.0")
    requests = meter.create_counter("http.server.requests", unit="{request}", description="Requests")
    duration = meter.create_histogram("http.server.duration", unit="s", explicit_bucket_boundaries_advisory=[0.1, 1, 10])
    size = meter.create_histogram("request.size", unit="By")
    queue = meter.create_up_down_counter("queue.length")
    meter.create_observable_gauge("cpu.utilization", unit="1", callbacks=[lambda options: [Observation(0.25, {"cpu": 0})]])
    for part in range(3):
        requests.add(2, {"http.route": "/a"})
        duration.record(0.5 * 10 ** part)
        size.record(100 * (part + 1))
        queue.add(1)
        assert provider.force_flush()
    provider.shutdown()
"#;

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(program: &Path, args: &[&str]) -> Running {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Running(command.spawn().unwrap())
}

#[test]
fn the_opentelemetry_sdk_exports_over_http_and_grpc() {
    let packages =
        ["opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http", "opentelemetry-exporter-otlp-proto-grpc"];
    let Some(python) = packages::python("otlp::the_opentelemetry_sdk", "opentelemetry", &packages) else { return };
    let grpc = free_port();
    let place = place("        config: {}", &format!("server: {{otlp_grpc: '127.0.0.1:{grpc}'}}"));
    let server = place.serve();
    let http = format!("{}/v1/tsdb/usage/otlp/v1/metrics", server.url);
    let exported = Command::new(python)
        .args(["-c", EXPORT, &http, &format!("http://127.0.0.1:{grpc}")])
        .env_remove("HTTP_PROXY")
        .env_remove("http_proxy")
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .unwrap();
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let said = String::from_utf8_lossy(&exported.stderr);
    assert!(!said.contains("Failed to export"), "{said}");
    let by_job = |value: &str| -> Vec<String> {
        ["grpc", "grpc-delta", "http", "http-delta"]
            .iter()
            .map(|job| format!(r#"{{"job":"shop/{job}"}} {value}"#))
            .collect()
    };
    for (text, value) in [
        ("sum by (job) (http_server_requests_total{http_route='/a', instance='1'})", "6"),
        ("sum by (job) (http_server_duration_seconds_count)", "3"),
        ("sum by (job) (http_server_duration_seconds_bucket{le='1'})", "1"),
        ("sum by (job) (http_server_duration_seconds_sum)", "55.5"),
        ("histogram_count(sum by (job) (request_size_bytes))", "3"),
        ("histogram_sum(sum by (job) (request_size_bytes))", "600"),
        ("sum by (job) (queue_length)", "3"),
        ("sum by (job) (cpu_utilization_ratio{cpu='0'})", "0.25"),
        ("sum by (job) (target_info{host_name='h', telemetry_sdk_language='python'})", "1"),
    ] {
        assert_eq!(query(&server, text), by_job(value), "{text}");
    }
    let (_, metrics) = server.request("GET", "/metrics", "", b"");
    assert!(metrics.contains("opendata_otlp_duplicate_samples_total{instance=\"usage\"} 0"), "{metrics}");
}

#[test]
fn debians_node_exporter_is_scraped() {
    let Some(root) = packages::debian("scrape::debians_node_exporter", "prometheus-node-exporter") else { return };
    let port = free_port();
    let listen = format!("--web.listen-address=127.0.0.1:{port}");
    let _exporter = start(&root.join("usr/bin/prometheus-node-exporter"), &[&listen]);
    let server = place(
        &format!(
            "        scrape:
        - job_name: node
          scrape_interval: 500ms
          static_configs: [{{targets: ['127.0.0.1:{port}']}}]"
        ),
        "",
    )
    .serve();
    until_query(&server, "sum(up{job='node'})", &["{} 1"]);
    until_query(&server, "sum(scrape_samples_scraped) > bool 200", &["{} 1"]);
    until(|| query(&server, "sum(rate(node_cpu_seconds_total[30s])) > bool 0"), |found| found == &["{} 1"]);
    assert_eq!(query(&server, "count(node_uname_info)"), ["{} 1"]);
    // As many as it exposes, and none twice.
    let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).unwrap();
    let exposed = text.lines().filter(|line| line.starts_with("node_cpu_seconds_total{")).count();
    assert_eq!(query(&server, "count(node_cpu_seconds_total)"), [format!("{{}} {exposed}")]);
    let targets = server.json("GET", "/api/v1/targets/metadata?metric=node_cpu_seconds_total", "");
    assert_eq!(targets["data"][0]["type"], "counter", "{targets}");
}

#[test]
fn debians_alertmanager_is_told_of_alerts() {
    let Some(root) = packages::debian("rules::debians_alertmanager", "prometheus-alertmanager") else { return };
    let port = free_port();
    let place = place(
        &format!(
            "        rules:
          rule_files: [alerts.yml]
          alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]"
        ),
        "",
    );
    fs::write(
        place.path().join("alerts.yml"),
        "groups: [{name: g, interval: 100ms, rules: [{alert: High, expr: 'm > 5', annotations: {summary: 'at {{ $value }}'}}]}]",
    )
    .unwrap();
    let config = place.path().join("alertmanager.yml");
    fs::write(&config, "route: {receiver: none}\nreceivers: [{name: none}]\n").unwrap();
    let args = [
        format!("--config.file={}", config.display()),
        format!("--storage.path={}", place.path().join("am").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
        "--cluster.listen-address=".to_owned(),
    ];
    // It looks for its templates where the package would have put them: in a view of the file system of its own.
    let mount = format!("mount --bind '{}' /usr/share && exec \"$@\"", root.join("usr/share").display());
    let program = root.join("usr/bin/prometheus-alertmanager").display().to_string();
    let isolated = ["--map-root-user", "--mount", "sh", "-c", &mount, "sh"];
    let works = Command::new("unshare").args(isolated).arg("true").output();
    if !works.is_ok_and(|done| done.status.success()) {
        return packages::skip(
            "rules::debians_alertmanager",
            "it needs a mount namespace, which is not to be had here",
        );
    }
    let args: Vec<&str> =
        isolated.into_iter().chain([program.as_str()]).chain(args.iter().map(String::as_str)).collect();
    let _alertmanager = start(Path::new("unshare"), &args);
    let server = place.serve();
    server.json("POST", "/v1/tsdb/usage/write", "m{job=\"api\"} 7\n");
    let alerts = || -> Value {
        let mut answer = String::new();
        let Ok(mut connection) = TcpStream::connect(("127.0.0.1", port)) else { return Value::Null };
        let _ = connection.write_all(b"GET /api/v2/alerts HTTP/1.0\r\nhost: x\r\n\r\n");
        let _ = connection.read_to_string(&mut answer);
        answer.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok()).unwrap_or_default()
    };
    let found = until(alerts, |alerts| alerts[0]["status"]["state"] == "active");
    assert_eq!(found[0]["labels"]["alertname"], "High", "{found}");
    assert_eq!(found[0]["annotations"]["summary"], "at 7", "{found}");
}
