//! A joined composition: orders in a log, sales in metrics in another slate, and the edge between them.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::harness::{Place, Server};

/// A folder with the composition, and the address at which its events are served.
pub(super) struct Shop {
    pub(super) place: Place,
    url: String,
}

impl Shop {
    pub(super) fn new() -> Self {
        // A port that is free now; whoever else asks for one gets another.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let shop = Self { place: Place::empty(), url: format!("http://{address}") };
        shop.write("payload.amount");
        shop
    }

    /// The composition, with what the edge makes of an order.
    pub(super) fn write(&self, value: &str) {
        let text = format!(
            r#"version: 1
store: {{url: "file:./data", local_durability: operating_system}}
root: shop
nodes:
  events: {{instances: {{orders: log}}, listen: "{}"}}
  metrics: {{instances: {{sales: tsdb}}}}
edges:
  - id: sales
    from: {{node: events, instance: orders}}
    to: {{node: metrics, instance: sales}}
    transform:
      - to_metrics:
          metrics:
            - {{name: sales_total, kind: add, value: "{value}", labels: {{shop: payload.shop}}}}
"#,
            self.url.trim_start_matches("http://")
        );
        std::fs::write(self.place.path().join("opendata.yaml"), text).unwrap();
    }

    pub(super) fn own(&self, node: &str) -> Server {
        let running = self.place.own(&["--own", node, "--owner", node], &self.url);
        if node == "events" {
            eventually("the events are served", || std::net::TcpStream::connect(&self.url[7..]).is_ok());
        }
        running
    }

    /// One process that owns all nodes.
    pub(super) fn own_all(&self) -> Server {
        let running = self.place.own(&["--owner", "all"], &self.url);
        eventually("the events are served", || std::net::TcpStream::connect(&self.url[7..]).is_ok());
        running
    }

    pub(super) fn order(&self, events: &Server, amount: usize) {
        let record = format!(r#"{{"shop": "s{}", "amount": {amount}}}"#, amount % 3);
        let (status, answer) = events.request("POST", "/v1/log/orders/streams/all", "", record.as_bytes());
        assert_eq!(status, 200, "{answer}");
    }

    /// Whether an order is known to be taken; a server that ends meanwhile closes the connection.
    pub(super) fn sold_now(&self, events: &Server, order: &[u8]) -> bool {
        let Ok(mut connection) = events.try_connect() else { return false };
        let (host, length) = (self.url.trim_start_matches("http://"), order.len());
        let head = format!(
            "POST /v1/log/orders/streams/all HTTP/1.0\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        let mut answer = String::new();
        let sent = connection.write_all(&[head.as_bytes(), order].concat());
        sent.is_ok() && connection.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.0 200")
    }

    /// What was sold, in the metrics.
    pub(super) fn sold(&self, at: &[&str]) -> f64 {
        let query = ["--node", "metrics", "tsdb", "query", "sum(sales_total)"];
        let answers = self.place.json(&[&query[..], at].concat());
        let value = &answers[0]["data"]["result"][0]["value"][1];
        value.as_str().map_or(0.0, |value| value.parse().unwrap())
    }

    /// What was ordered, in the log.
    pub(super) fn ordered(&self, at: &[&str]) -> f64 {
        let payloads = self.place.payloads(&[&["--node", "events", "--all"][..], at].concat());
        let amount = |payload: &String| serde_json::from_str::<Value>(payload).unwrap()["amount"].as_f64().unwrap();
        payloads.iter().map(amount).sum()
    }

    pub(super) fn lag(&self) -> u64 {
        self.place.json(&["lag"])[0]["edges"][0]["lag_records"].as_u64().unwrap()
    }
}

#[track_caller]
pub(super) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_composition_is_validated_planned_applied_and_explained() {
    let shop = Shop::new();
    assert_eq!(shop.place.ok(&["validate"]), "the composition is valid: 2 nodes\nedge sales: exactly once\n");
    assert!(shop.place.fails(4, &["status"]).contains("opendata apply"));
    let planned = shop.place.ok(&["plan"]);
    assert!(planned.contains("+ node events") && planned.contains("+ edge sales"), "{planned}");
    assert_eq!(shop.place.json(&["plan"])[0]["applied"], false);
    shop.place.ok(&["apply"]);
    assert_eq!(shop.place.ok(&["apply"]), "nothing to change\n");
    let explained = &shop.place.json(&["explain", "sales"])[0];
    assert_eq!((&explained["guarantee"], &explained["runs_on"]), (&"exactly_once".into(), &"metrics".into()));
    shop.write("payload.amount * 2");
    let planned = shop.place.ok(&["plan"]);
    assert!(planned.contains("~ edge sales: a new generation"), "{planned}");
    shop.write("payload.amount +");
    let wrong = shop.place.fails(3, &["validate"]);
    assert!(wrong.contains("opendata.yaml"), "{wrong}");
    shop.write("payload.amount");
    assert!(shop.place.fails(4, &["pause", "nonsense"]).contains("no such edge"));
}

/// A request over a connection of its own; the whole answer, headers and all.
fn whole_answer(address: &str, request: &str, headers: &str, body: &str) -> String {
    let mut connection = std::net::TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!("{request} HTTP/1.0\r\nhost: {address}\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
    connection.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn who_sends_the_token_of_a_write_along_reads_what_follows_from_it_in_another_process() {
    let shop = Shop::new();
    let file = shop.place.path().join("opendata.yaml");
    let metrics = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let text = std::fs::read_to_string(&file).unwrap();
    let listening = format!("metrics: {{listen: \"{metrics}\", ");
    std::fs::write(&file, text.replace("metrics: {", &listening)).unwrap();
    shop.place.ok(&["apply"]);
    let (events, _metrics) = (shop.own("events"), shop.own("metrics"));
    eventually("the metrics are served", || std::net::TcpStream::connect(&metrics).is_ok());
    let address = events.url.trim_start_matches("http://");
    let mut token = String::new();
    for sold in 1..=20 {
        let answer = whole_answer(address, "POST /v1/log/orders/streams/all", "", r#"{"shop": "s", "amount": 1}"#);
        let told = answer.lines().find_map(|line| line.strip_prefix("opendata-token: "));
        token = told.expect("a write tells its token").to_owned();
        let query = "GET /api/v1/query?query=sum(sales_total)";
        let answer = whole_answer(&metrics, query, &format!("opendata-after: {token}\r\n"), "");
        assert!(answer.contains(&format!("\"{sold}\"]")), "{answer}");
    }
    let answer = whole_answer(address, "GET /v1/log/orders/streams/all", &format!("opendata-after: {token}\r\n"), "");
    assert_eq!(answer.matches("amount").count(), 20, "{answer}");
    assert!(
        shop.place.ok(&["wait", &token, "--node", "metrics"]).starts_with(&format!("{token} can be read at metrics"))
    );

    let late = "opendata-after: events@999999\r\nopendata-after-timeout: 50ms\r\n";
    let answer = whole_answer(&metrics, "GET /api/v1/labels", late, "");
    assert!(answer.starts_with("HTTP/1.0 503") && answer.contains("has not arrived in time"), "{answer}");
    let answer = whole_answer(address, "GET /v1/stats", "opendata-after: metrics@1\r\n", "");
    assert!(answer.starts_with("HTTP/1.0 400") && answer.contains("no edges lead from metrics to events"), "{answer}");
    let answer = whole_answer(address, "GET /v1/stats", "opendata-after: nonsense\r\n", "");
    assert!(answer.starts_with("HTTP/1.0 400") && answer.contains("a token is <node>@<position>"), "{answer}");
    assert!(
        shop.place.fails(8, &["wait", "events@999999", "--node", "metrics", "--timeout", "50ms"]).contains("in time")
    );
}

#[test]
fn no_order_is_lost_or_counted_twice_whoever_is_killed() {
    let shop = Shop::new();
    shop.place.ok(&["apply"]);
    let (mut events, mut metrics) = (shop.own("events"), shop.own("metrics"));
    let mut total = 0;
    for round in 0..6 {
        for amount in 1..=15 {
            shop.order(&events, amount);
            total += amount;
        }
        // In the middle of whatever it is doing.
        std::thread::sleep(Duration::from_millis(37 * round));
        if round % 2 == 0 {
            metrics.kill();
            metrics = shop.own("metrics");
        } else {
            events.kill();
            events = shop.own("events");
        }
    }
    eventually("the metrics catch up", || shop.lag() == 0);
    assert_eq!(shop.sold(&[]), total as f64);
    assert_eq!(shop.ordered(&[]), total as f64);
    let status = &shop.place.json(&["status"])[0]["edges"][0];
    assert_eq!((&status["applied"], &status["letters"]), (&90.into(), &0.into()));

    // A record that is no order goes to the letters, and is counted once it fits.
    let (code, _) = events.request("POST", "/v1/log/orders/streams/all", "", br#"{"shop": "s1", "sum": 1000}"#);
    assert_eq!(code, 200);
    eventually("the letter arrives", || shop.place.json(&["status"])[0]["edges"][0]["letters"] == 1);
    let letters = shop.place.json(&["dlq", "list", "sales"]);
    assert!(letters[0]["letters"][0]["payload"].as_str().unwrap().contains("1000"));
    let said = shop.place.fails(4, &["dlq", "drop", "sales", "--letter", "1.1.9"]);
    assert!(said.contains("letter=1.1.9; `opendata dlq list sales` shows them"), "{said}");
    assert_eq!(shop.place.ok(&["dlq", "replay", "sales"]), "replayed 0 letters, kept 1 that do not fit\n");
    assert_eq!(shop.place.ok(&["dlq", "drop", "sales"]), "dropped 1 letters\n");
    assert_eq!(shop.place.ok(&["dlq", "drop", "sales"]), "dropped 0 letters\n");
    eventually("the letter is gone", || shop.place.json(&["status"])[0]["edges"][0]["letters"] == 0);
    assert_eq!(metrics.terminate(), 0);
    assert_eq!(events.terminate(), 0);
}

#[test]
fn a_process_that_is_told_to_end_stops_its_edges_before_their_slates() {
    let shop = Shop::new();
    shop.place.ok(&["apply"]);
    let all = shop.own_all();
    shop.order(&all, 1);
    eventually("the order is sold", || shop.sold(&[]) == 1.0);
    let words = all.last_words();
    assert!(!words.contains("WARN") && !words.contains("ERROR"), "{words}");
    assert_eq!(shop.place.json(&["status"])[0]["edges"][0]["problem"], Value::Null);
}

#[test]
fn a_cut_under_load_agrees_with_itself_and_main_is_put_back_to_it() {
    let shop = Shop::new();
    shop.place.ok(&["apply"]);
    let (events, metrics) = (shop.own("events"), shop.own("metrics"));
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| (1..=60).for_each(|amount| shop.order(&events, amount)));
        shop.place.ok(&["cut", "create", "under-load", "--aligned"]);
        writing.join().unwrap();
    });
    let (ordered, sold) = (shop.ordered(&["--at", "under-load"]), shop.sold(&["--at", "under-load"]));
    assert_eq!(ordered, sold, "an aligned cut reflects the same prefix everywhere");
    eventually("the metrics catch up", || shop.lag() == 0);
    assert_eq!(shop.sold(&[]), 1830.0);

    shop.place.ok(&["restore", "under-load"]);
    assert_eq!(shop.ordered(&[]), ordered);
    eventually("an order is taken", || {
        // The server of the old slate ends, and that of the new one begins.
        let order = br#"{"shop": "s0", "amount": 7}"#;
        shop.sold_now(&events, order)
    });
    eventually("it is sold", || {
        let now = shop.ordered(&[]);
        shop.lag() == 0 && now > ordered && shop.sold(&[]) == now
    });
    let branches = shop.place.json(&["fork", "list"]);
    assert!(branches[0]["branches"].to_string().contains("former-1"), "{branches:?}");
    assert_eq!(metrics.terminate(), 0);
    assert_eq!(events.terminate(), 0);
}
