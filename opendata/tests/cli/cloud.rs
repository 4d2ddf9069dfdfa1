//! A joined composition on stores behind a network: S3 through a proxy that does what networks do, and Azure's blobs. The processes are the real program's, and
//! are killed.

mod azurite;
mod proxy;
#[path = "../../../tests/it/s3/race.rs"]
mod race;
#[expect(dead_code, reason = "the workspace's own tests use more of it")]
#[path = "../../../tests/it/s3/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;

use self::proxy::Proxy;
use self::server as s3;
use super::harness::{Place, Server};

const PATIENCE: Duration = Duration::from_secs(120);

/// Events in one slate, sums of them in another, on some store.
struct Joined {
    place: Place,
    address: String,
    /// Amounts that were acknowledged, and all that were sent.
    taken: BTreeSet<u64>,
    sent: u64,
}

impl Joined {
    fn new(url: &str, environment: &[(&str, &str)]) -> Self {
        // A port that is free now; whoever else asks for one gets another.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let place = Place::empty().with_environment(environment);
        let text = format!(
            r#"version: 1
store: {{url: "{url}"}}
root: shop
nodes:
  events: {{instances: {{orders: log}}, listen: "{address}"}}
  metrics: {{instances: {{sales: tsdb}}}}
edges:
  - id: sales
    from: {{node: events, instance: orders}}
    to: {{node: metrics, instance: sales}}
    transform:
      - to_metrics:
          metrics:
            - {{name: sales_total, kind: add, value: payload.amount}}
            - {{name: orders_total, kind: add, value: "1"}}
"#
        );
        std::fs::write(place.path().join("opendata.yaml"), text).unwrap();
        Self { place, address, taken: BTreeSet::new(), sent: 0 }
    }

    fn own(&self, node: &str) -> Server {
        let running = self.place.own(&["--own", node, "--owner", node], &format!("http://{}", self.address));
        if node == "events" {
            eventually("the events are served", || TcpStream::connect(&self.address).is_ok());
        }
        running
    }

    /// Sends an order of an amount that no other has. Whether it was taken may stay unknown; it is never sent again.
    fn order(&mut self) {
        self.sent += 1;
        let order = format!(r#"{{"amount": {}}}"#, self.sent);
        let sent = || -> std::io::Result<String> {
            let mut connection = TcpStream::connect(&self.address)?;
            connection.set_read_timeout(Some(Duration::from_secs(30)))?;
            let head = format!(
                "POST /v1/log/orders/streams/all HTTP/1.0\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                self.address,
                order.len()
            );
            connection.write_all(head.as_bytes())?;
            connection.write_all(order.as_bytes())?;
            let mut answer = String::new();
            connection.read_to_string(&mut answer)?;
            Ok(answer)
        };
        if sent().is_ok_and(|answer| answer.starts_with("HTTP/1.0 200")) {
            self.taken.insert(self.sent);
        }
    }

    /// A query of the metrics, asked again where the store did not let it.
    fn query(&self, query: &str) -> f64 {
        let asked = || self.place.run(&["--json", "--node", "metrics", "tsdb", "query", query]);
        let mut tried = (0..10).map(|_| asked());
        let ended = tried.find(|ended| ended.code == 0).expect("the store refused ten queries");
        let answer: Value = serde_json::from_str(ended.out.lines().next().unwrap_or_default()).unwrap_or_default();
        let value = answer["data"]["result"][0]["value"][1].as_str().and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("no value: {}{}", ended.out, ended.err))
    }

    /// The amounts in the log, in order.
    fn ordered(&self) -> Vec<u64> {
        let payloads = self.place.payloads(&["--node", "events", "--all"]);
        let amount = |payload: &String| serde_json::from_str::<Value>(payload).unwrap()["amount"].as_u64().unwrap();
        payloads.iter().map(amount).collect()
    }

    fn lag(&self) -> Option<u64> {
        let ended = self.place.run(&["--json", "lag"]);
        let answer: Value = serde_json::from_str(ended.out.lines().next()?).ok()?;
        answer["edges"][0]["lag_records"].as_u64()
    }

    /// Everything that was acknowledged is in the log once, and the sums are those of the log.
    fn agrees(&self) {
        eventually("the metrics catch up", || self.lag() == Some(0));
        let ordered = self.ordered();
        let there: BTreeSet<u64> = ordered.iter().copied().collect();
        assert_eq!(there.len(), ordered.len(), "an order is there twice: {ordered:?}");
        let lost: Vec<_> = self.taken.difference(&there).collect();
        assert!(lost.is_empty(), "orders were taken and are not there: {lost:?}");
        assert_eq!(self.query("sum(orders_total)"), ordered.len() as f64);
        assert_eq!(self.query("sum(sales_total)"), ordered.iter().sum::<u64>() as f64);
    }

    /// Orders come in while one process after the other is killed.
    fn live_through(&mut self, rounds: u64) {
        self.place.ok(&["apply"]);
        let (mut events, mut metrics) = (self.own("events"), self.own("metrics"));
        for round in 0..rounds {
            (0..12).for_each(|_| self.order());
            // In the middle of whatever it is doing.
            std::thread::sleep(Duration::from_millis(61 * round % 400));
            if round % 2 == 0 {
                metrics.kill();
                metrics = self.own("metrics");
            } else {
                events.kill();
                events = self.own("events");
            }
        }
        assert!(!self.taken.is_empty());
        self.agrees();
        self.place.ok(&["cut", "create", "in-the-end", "--aligned"]);
        assert_eq!(metrics.terminate(), 0);
        assert_eq!(events.terminate(), 0);
    }
}

#[track_caller]
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// How often processes are killed: more in the nightly run.
fn rounds(in_the_gate: u64) -> u64 {
    let seeds = std::env::var("OPENDATA_SEEDS").ok().and_then(|seeds| seeds.parse::<u64>().ok());
    seeds.map_or(in_the_gate, |seeds| in_the_gate.max(seeds / 20))
}

#[test]
fn no_order_is_lost_or_counted_twice_on_s3_behind_a_bad_network() {
    let test = "cloud::no_order_is_lost_or_counted_twice_on_s3_behind_a_bad_network";
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(server) = runtime.block_on(s3::Server::start(test)).unwrap() else { return };
    let proxy = Proxy::start(server.endpoint().trim_start_matches("http://"), 7).unwrap();
    let endpoint = format!("http://{}", proxy.address());
    let environment = [
        ("AWS_ENDPOINT", endpoint.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    let mut joined = Joined::new(&format!("s3://{}/joined", s3::BUCKET), &environment);
    // What is to be lived through begins with the processes.
    joined.live_through(rounds(4));
    let counts = proxy.counts();
    let met = [&counts.late, &counts.refused, &counts.denied, &counts.broken, &counts.trickled];
    println!("the proxy: {counts:?}; {} of {} orders acknowledged", joined.taken.len(), joined.sent);
    assert!(met.iter().all(|count| count.load(Ordering::SeqCst) > 0), "a kind of trouble was never met: {counts:?}");
}

#[test]
fn no_order_is_lost_or_counted_twice_on_azure() {
    let Some(server) = azurite::Azurite::start("cloud::no_order_is_lost_or_counted_twice_on_azure") else { return };
    let environment = server.environment();
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut joined = Joined::new(&format!("az://{}/joined", azurite::CONTAINER), &environment);
    joined.live_through(rounds(2));
}
