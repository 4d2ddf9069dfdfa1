//! Queries, warm: the same samples in ours and in the peers, the middle of several runs.

use std::time::{Duration, Instant};

use opendata_core::Timestamp;
use opendata_core::slate::{Handle, Slate};
use opendata_tsdb::promql::Value;
use opendata_tsdb::{Labels, Matcher, Reader, Tsdb};

use super::data::{counter, counters, times};
use super::http::{Client, escaped};
use super::ingest::write;
use super::peers::{self, Peer};
use super::{Figure, Plan, middle, open, row, store};

/// Series of so many samples, in ours and in the peers.
struct Stage {
    slate: Slate,
    metrics: Handle<Tsdb>,
    peers: Vec<(Peer, Client)>,
    end: Timestamp,
}

/// What is asked.
#[derive(Clone, Copy)]
enum Ask<'a> {
    Instant(&'a str),
    Range { query: &'a str, hours: i64 },
    Values { label: &'a str, matcher: &'a str },
}

impl Stage {
    async fn set(plan: &Plan, name: &str, series: &[Labels], steps: usize) -> Self {
        let at = times(steps);
        let (slate, metrics) = open(&store(&plan.dir.join(name))).await;
        // As many steps at once as a transaction holds.
        let at_once = (200_000 / series.len().max(1)).clamp(1, 20);
        write(&slate, &metrics, |block, op| {
            let block = (block * at_once).min(steps)..(block * at_once + at_once).min(steps);
            for (n, labels) in series.iter().enumerate().take(if block.is_empty() { 0 } else { series.len() }) {
                let samples: Vec<_> = block.clone().map(|step| (at[step], counter(n, step))).collect();
                op.samples(labels.clone(), &samples);
            }
            !block.is_empty()
        })
        .await;
        let millis: Vec<i64> = at.iter().map(|time| time.0).collect();
        let peers = peers::start(plan.peers.as_ref(), &plan.dir.join(name));
        let peers = peers.into_iter().map(|peer| {
            peer.feed(series, &millis, counter);
            let client = Client::connect(&peer.address).unwrap();
            (peer, client)
        });
        Self { slate, metrics, peers: peers.collect(), end: *at.last().unwrap() }
    }

    /// How long an answer takes, and how many values it has.
    async fn ask(&self, ask: Ask<'_>) -> (Duration, usize) {
        let begun = Instant::now();
        let reader: Reader = self.slate.view().on(&self.metrics).unwrap();
        let count = match ask {
            Ask::Instant(query) => size(&reader.query(query, self.end).await.unwrap().value),
            Ask::Range { query, hours } => {
                let start = Timestamp(self.end.0 - hours * 3_600_000);
                size(&reader.query_range(query, start, self.end, 60_000).await.unwrap().value)
            }
            Ask::Values { label, matcher } => {
                let matchers = [Matcher::metric(matcher)];
                reader.label_values(label, &matchers, self.end.0 - 3_600_000, self.end.0).await.unwrap().len()
            }
        };
        (begun.elapsed(), count)
    }

    /// One line of the table.
    async fn measure(&mut self, what: &str, goal: Option<f64>, runs: usize, ask: Ask<'_>) {
        let (_, count) = self.ask(ask).await;
        let mut times = Vec::new();
        for _ in 0..runs {
            times.push(self.ask(ask).await.0);
        }
        let path = path(ask, self.end);
        let mut figures = Vec::new();
        for (peer, client) in &mut self.peers {
            let answer = peer.ask(client, &path);
            let found = answer.matches("\"metric\"").count();
            if !matches!(ask, Ask::Values { .. }) && found != count {
                println!("  {} answers with {found} series, ours with {count}", peer.name);
            }
            let took = |_| {
                let begun = Instant::now();
                peer.ask(client, &path);
                begun.elapsed()
            };
            let runs: Vec<Duration> = (0..runs).map(took).collect();
            figures.push((peer.name, Some(middle(runs))));
        }
        row(what, "ms", &Figure::Cost(middle(times)), goal, &figures);
    }

    async fn close(self, plan: &Plan, name: &str) {
        self.slate.close().await.unwrap();
        drop(self.peers);
        let _ = std::fs::remove_dir_all(plan.dir.join(name));
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Vector(samples) => samples.len(),
        Value::Matrix(series) => series.len(),
        Value::Scalar { .. } | Value::String { .. } => 1,
    }
}

fn path(ask: Ask<'_>, end: Timestamp) -> String {
    let end_s = end.0 / 1000;
    match ask {
        Ask::Instant(query) => format!("query?query={}&time={end_s}", escaped(query)),
        Ask::Range { query, hours } => {
            format!("query_range?query={}&start={}&end={end_s}&step=60", escaped(query), end_s - hours * 3600)
        }
        Ask::Values { label, matcher } => {
            format!("label/{label}/values?match[]={matcher}&start={}&end={end_s}", end_s - 3600)
        }
    }
}

const RATE: &str = "sum by (job) (rate(http_requests_total[5m]))";

/// Rates over everything.
pub(crate) async fn aggregations(plan: &Plan) {
    let (small, large) = (plan.size(10_000), plan.size(100_000));
    println!("\nqueries, warm, the middle of several runs; counters every 15 s");
    let mut stage = Stage::set(plan, "small", &counters(small), 1560).await;
    let quick = if plan.quick { None } else { Some(()) };
    for state in ["as written", "half sealed, at rest"] {
        if state == "half sealed, at rest" {
            // Background work leaves up to 8 million samples in memory, half of what there is.
            stage.slate.maintain().await.unwrap();
            stage.slate.flush_files().await.unwrap();
            rest().await;
        }
        let what = format!("sum by (job)(rate(x[5m])), instant, {small} series, {state}");
        stage.measure(&what, quick.map(|()| 15.0), 15, Ask::Instant(RATE)).await;
        let what = format!("the same over 6 h at 60 s, {state}");
        stage.measure(&what, quick.map(|()| 300.0), 5, Ask::Range { query: RATE, hours: 6 }).await;
        let one = r#"http_requests_total{job="job-3",instance="host-00043:9100",path="/api/v1/path-7",region="eu-west-1",code="200"}"#;
        let what = format!("one series by full label match, instant, {state}");
        stage.measure(&what, Some(0.3), 50, Ask::Instant(one)).await;
    }
    stage.close(plan, "small").await;
    let mut stage = Stage::set(plan, "large", &counters(large), 120).await;
    for state in ["as written", "half sealed, at rest"] {
        if state == "half sealed, at rest" {
            stage.slate.maintain().await.unwrap();
            stage.slate.flush_files().await.unwrap();
            rest().await;
        }
        let what = format!("sum by (job)(rate(x[5m])), instant, {large} series, {state}");
        stage.measure(&what, quick.map(|()| 150.0), 7, Ask::Instant(RATE)).await;
    }
    stage.close(plan, "large").await;
}

/// Waits until background work leaves the processors alone: sealing and compaction would be measured with the queries.
async fn rest() {
    // Clock ticks of this process, a hundred a second; where there is no such file, a fixed time must do.
    let used = || {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        behind_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>()
    };
    for _ in 0..60 {
        let before = used();
        tokio::time::sleep(Duration::from_secs(1)).await;
        if used() - before < 5 {
            return;
        }
    }
    println!("  background work did not come to rest within a minute");
}

/// Selectors that are hard on an index.
pub(crate) async fn selectors(plan: &Plan) {
    let count = plan.size(100_000);
    println!("\nselectors, warm, {count} series");
    let mut stage = Stage::set(plan, "selectors", &counters(count), 40).await;
    for (what, query) in [
        ("regex with a prefix", r#"count(http_requests_total{instance=~"host-000.*"})"#),
        ("regex without a prefix", r#"count(http_requests_total{instance=~".*7:9100"})"#),
        ("regex of alternatives", r#"count(http_requests_total{path=~"/api/v1/path-(1|7|13)"})"#),
        ("negative regex", r#"count(http_requests_total{instance!~"host-0.*"})"#),
        ("high cardinality: topk of all series", "topk(5, http_requests_total)"),
        ("count by (job) of all series", "count by (job) (http_requests_total)"),
    ] {
        stage.measure(&format!("{what}, instant"), None, 7, Ask::Instant(query)).await;
    }
    for label in ["job", "instance"] {
        let ask = Ask::Values { label, matcher: "http_requests_total" };
        stage.measure(&format!("values of label {label}"), None, 15, ask).await;
    }
    stage.close(plan, "selectors").await;
}
