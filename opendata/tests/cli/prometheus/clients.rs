//! Real programs, from Debian's packages: Prometheus writes to us and reads from us, promtool asks us.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::message::{bytes, histogram, series, snappy};
use super::two;
use crate::cli::debian::{Running, free_port, programs};
use crate::cli::harness::{Place, Server};

/// How long something may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Asks until the answer is as it should be.
#[track_caller]
pub(super) fn until<T>(what: &str, log: &Running, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        match look() {
            Some(found) => return found,
            None if begun.elapsed() > PATIENCE => panic!("{what} did not happen\n{}", log.log()),
            None => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// A Prometheus with this configuration, and its port.
pub(super) fn prometheus(programs: &Path, place: &Place, name: &str, config: &str, more: &[&str]) -> (Running, u16) {
    let port = free_port();
    let folder = place.path().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("prometheus.yml"), config).unwrap();
    let mut args = vec![
        format!("--config.file={}", folder.join("prometheus.yml").display()),
        format!("--storage.tsdb.path={}", folder.join("data").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ];
    args.extend(more.iter().map(|one| (*one).to_owned()));
    (Running::start(&programs.join("prometheus"), &args, folder.join("log")), port)
}

/// The answer of another server.
pub(super) fn ask(port: u16, path: &str) -> Option<Value> {
    let other = Server::elsewhere(port);
    if other.try_connect().is_err() {
        return None;
    }
    let (status, body) = other.request("GET", path, "", b"");
    (status == 200).then(|| serde_json::from_str(&body).unwrap())
}

/// The result of an instant query, sorted.
fn result(answer: &Value) -> Vec<String> {
    let mut rows: Vec<String> = answer["data"]["result"].as_array().unwrap().iter().map(Value::to_string).collect();
    rows.sort();
    rows
}

pub(super) fn is_version_3(programs: &Path) -> bool {
    let told = Command::new(programs.join("prometheus")).arg("--version").output().unwrap();
    String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).contains("version 3.")
}

#[test]
fn prometheus_writes_what_it_scrapes_from_the_node_exporter() {
    let test = "cli::prometheus::clients::prometheus_writes_what_it_scrapes_from_the_node_exporter";
    let Some(programs) = programs(test) else { return };
    let place = two();
    let server = place.serve();
    let node = free_port();
    let listen = [format!("--web.listen-address=127.0.0.1:{node}")];
    let exporter = Running::start(&programs.join("prometheus-node-exporter"), &listen, place.path().join("node.log"));
    // The older version goes to one instance, the newer, where it is known, to the other.
    let newer = is_version_3(&programs);
    let queue = "queue_config: {batch_send_deadline: 500ms}";
    let mut config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: node\n  static_configs: [{{targets: ['127.0.0.1:{node}']}}]\nremote_write:\n- url: {}/v1/tsdb/one/api/v1/write\n  {queue}\n  metadata_config: {{send: true, send_interval: 1s}}\n",
        server.url
    );
    if newer {
        let message = "protobuf_message: io.prometheus.write.v2.Request";
        config += &format!("- url: {}/v1/tsdb/two/api/v1/write\n  {queue}\n  {message}\n", server.url);
    }
    let (running, port) = prometheus(&programs, &place, "writer", &config, &[]);
    until("the first scrape", &running, || {
        let up = ask(port, "/api/v1/query?query=up%20==%201")?;
        (!result(&up).is_empty()).then_some(())
    });
    drop(exporter);
    // The exporter has ended: its series get markers of their end, and from then on everything at a past time stands still.
    let at = until("the end of the series", &running, || {
        let up = ask(port, "/api/v1/query?query=up%20==%200")?;
        let at = up["data"]["result"].as_array()?.first()?["value"][0].as_f64()?;
        Some(at)
    });
    for (instance, wanted) in [("one", true), ("two", newer)] {
        if !wanted {
            continue;
        }
        for query in [
            "up",
            "node_cpu_seconds_total",
            "count({job=\"node\"})",
            "count_over_time(node_cpu_seconds_total[1m])",
            "sum_over_time(node_load1[1m])",
        ] {
            let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("query", query).finish();
            let path = format!("/api/v1/query?{query}&time={at:.3}");
            let theirs = result(&ask(port, &path).unwrap_or_else(|| panic!("{query}\n{}", running.log())));
            until(&format!("{instance}: the same answer to {query}"), &running, || {
                let ours = server.json("GET", &format!("/v1/tsdb/{instance}{path}"), "");
                (result(&ours) == theirs).then_some(())
            });
        }
    }
    let metadata = until("the metadata", &running, || {
        let metadata = server.json("GET", "/v1/tsdb/one/api/v1/metadata?metric=node_cpu_seconds_total", "");
        metadata["data"]["node_cpu_seconds_total"][0]["type"].as_str().map(str::to_owned)
    });
    assert_eq!(metadata, "counter");
    // Nothing of what was sent was refused.
    let (_, metrics) = server.request("GET", "/metrics", "", b"");
    assert!(metrics.contains("opendata_remote_write_refused_total{instance=\"one\"} 0"), "{metrics}");
}

#[test]
fn promtool_asks_and_pushes() {
    let test = "cli::prometheus::clients::promtool_asks_and_pushes";
    let Some(programs) = programs(test) else { return };
    let place = two();
    let server = place.serve();
    server.json("POST", "/v1/tsdb/two/write", "up{job=\"a\"} 1 1000\nup{job=\"b\"} 0.5 2000\n");
    let url = format!("{}/v1/tsdb/two", server.url);
    let tool = |args: &[&str]| {
        let told = Command::new(programs.join("promtool")).args(args).output().unwrap();
        let said = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(told.status.success(), "{args:?}: {said}");
        String::from_utf8(told.stdout).unwrap()
    };
    assert_eq!(
        tool(&["query", "instant", "--time=2", &url, "up"]),
        "up{job=\"a\"} => 1 @[2]\nup{job=\"b\"} => 0.5 @[2]\n"
    );
    let range = tool(&["query", "range", "--start=1", "--end=3", "--step=1s", &url, "sum(up)"]);
    assert_eq!(range, "{} =>\n1 @[1]\n1.5 @[2]\n1.5 @[3]\n");
    assert_eq!(tool(&["query", "labels", "--start=0", "--end=10", &url, "job"]), "a\nb\n");
    let series = tool(&["query", "series", "--start=0", "--end=10", "--match=up{job=\"a\"}", &url]);
    assert!(series.contains("job=\"a\"") && !series.contains("job=\"b\""), "{series}");
    let file = place.path().join("metrics.txt");
    std::fs::write(&file, "# TYPE pushed counter\npushed{x=\"y\"} 42\n").unwrap();
    tool(&["push", "metrics", &format!("{url}/api/v1/write"), file.to_str().unwrap()]);
    let answer = server.json("GET", "/v1/tsdb/two/api/v1/query?query=pushed", "");
    assert_eq!(answer["data"]["result"][0]["value"][1], "42", "{answer}");
}

#[test]
fn prometheus_reads_from_us() {
    let test = "cli::prometheus::clients::prometheus_reads_from_us";
    let Some(programs) = programs(test) else { return };
    let place = two();
    let server = place.serve();
    // Long enough for many chunks, with values of every kind, ending now.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let mut samples = String::new();
    for n in 0..1000_i64 {
        let at = now - (1000 - n) * 1000 + n % 7;
        let value = if n % 50 == 0 { 1e300 } else { f64::from(n as i32) / 3.0 };
        samples += &format!("long{{n=\"1\"}} {value} {at}\nsteady 1 {at}\n");
    }
    server.json("POST", "/v1/tsdb/one/write", &samples);
    let message = series(&[("__name__", "native")], &[bytes(4, &histogram(now - 1000)), bytes(4, &histogram(now))]);
    let headers = "content-type: application/x-protobuf\r\ncontent-encoding: snappy\r\n";
    assert_eq!(server.request("POST", "/api/v1/write", headers, &snappy(&message)).0, 204);
    let config = format!("remote_read:\n- url: {}/v1/tsdb/one/api/v1/read\n  read_recent: true\n", server.url);
    let (running, port) = prometheus(&programs, &place, "reader", &config, &[]);
    until("its start", &running, || ask(port, "/api/v1/query?query=1"));
    #[expect(clippy::cast_precision_loss, reason = "a time of this age is far below 2^53")]
    let at = (now + 1) as f64 / 1000.0;
    for query in [
        "long",
        "count_over_time(long[30m])",
        "sum_over_time(long[10m])",
        "max_over_time(long{n=~\"1|2\"}[1h])",
        "stddev_over_time(steady[20m])",
        "changes(long[17m]) + on() group_left() steady",
        "histogram_count(native)",
        "histogram_quantile(0.5, native)",
        "absent(nothing)",
    ] {
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("query", query).finish();
        let path = format!("/api/v1/query?{query}&time={at:.3}");
        let theirs = ask(port, &path).unwrap_or_else(|| panic!("{query}\n{}", running.log()));
        assert!(!result(&theirs).is_empty(), "{query}: {theirs}\n{}", running.log());
        assert_eq!(result(&theirs), result(&server.json("GET", &path, "")), "{query}");
    }
}
