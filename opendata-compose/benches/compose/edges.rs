//! Records a second through an edge, beside its two ends alone.
//!
//! *Reading alone* follows the source from its oldest record as an edge does, and throws everything away. *Writing alone* commits to a sink what the edge would
//! make, in transactions as large as the edge's, out of values that lie ready in memory. An edge reads, transforms and writes on the same core, so with ends
//! that cost alike it could reach one half of either at most. Processor time is shown beside the clock's, because it does not mind who else is busy.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use opendata_compose::edge::spec::Step;
use opendata_compose::edge::transform::{Kind, Output, SeriesCache, SharedTransform, each};
use opendata_compose::edge::{Edge, EdgeParts, EdgeSpec, SourceAt};
use opendata_compose::log::{ControlRecords, FollowFrom, FollowOptions, Follower, NewRecord, Streams};
use opendata_compose::tsdb::Labels;
use opendata_compose::{
    Ack, LocalDurability, Log, Pending, Position, Settings, Store, StoreOptions, Timestamp, Transaction, Tsdb, labels,
    log, tsdb,
};
use opendata_core::slate::Slate;

use super::{Options, Outcome, Payloads, median, rate};

const ROUNDS: usize = 3;
const TENANTS: usize = 100;
const ROUTES: usize = 10;
/// Records of one commit of the source, and of one transaction of the sink alone.
const BATCH: usize = 1000;
const LARGE: usize = 16_384;
const IN_FLIGHT: usize = 3;
const START_MS: i64 = 1_700_000_000_000;

/// What is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// Log to log, as it is.
    Copy,
    /// Eight bytes of a log to samples, the stream being the series, by a function in Rust: what the edge costs without anyone's parsing.
    Values,
    /// JSON of a log to samples, by steps of a composition file.
    Declared,
    /// The same by a function in Rust.
    Typed,
    /// JSON of a log to running counters, by steps.
    Counted,
}

const CASES: [(Case, &str); 5] = [
    (Case::Copy, "Log -> Log, 256 bytes, 1,000 streams"),
    (Case::Values, "Log -> TSDB, 8 bytes to samples, in Rust"),
    (Case::Typed, "Log -> TSDB, JSON to samples, in Rust"),
    (Case::Declared, "Log -> TSDB, JSON to samples, declared"),
    (Case::Counted, "Log -> TSDB, JSON to counters, declared"),
];

pub(crate) async fn run(options: &Options) -> Outcome<()> {
    println!(
        "  {} records, commits of {BATCH}; records/s, and relative to the slower of reading and writing (aim 0.70):",
        options.records
    );
    println!("    {:<54} {:>10} {:>10} {:>10} {:>6} {:>16}", "", "read", "write", "edge", "", "by processor time");
    for batch in [BATCH, 1] {
        for (case, name) in CASES {
            let bench = Bench { options, case, batch };
            let name = if batch == 1 { format!("{name}, one a commit") } else { name.to_owned() };
            let kind = if batch == 1 { "Single".to_owned() } else { format!("{case:?}") };
            let wanted = options.edge.as_ref().is_none_or(|edge| kind.eq_ignore_ascii_case(edge));
            if wanted && (batch == BATCH || case == Case::Copy) {
                bench.run(&name).await?;
            }
        }
    }
    Ok(())
}

struct Bench<'a> {
    options: &'a Options,
    case: Case,
    batch: usize,
}

impl Bench<'_> {
    fn store(&self) -> Outcome<Store> {
        let options = StoreOptions { local_durability: LocalDurability::OperatingSystem, ..StoreOptions::default() };
        let folder = self.options.folder.join(format!("edges-{:?}-{}", self.case, self.batch));
        Ok(Store::open(&format!("file:{}", folder.display()), &options)?)
    }

    async fn open(&self, store: &Store, path: &str) -> Outcome<Slate> {
        let slate = Slate::builder(store, path)
            .settings(Settings { garbage_interval_s: 0, ..Settings::default() })
            .system::<Log>("log", log::Config::default())
            .system::<Tsdb>("tsdb", tsdb::Config::default());
        Ok(slate.open().await?)
    }

    async fn run(&self, name: &str) -> Outcome<()> {
        let store = self.store()?;
        let payloads = Payloads::new();
        let source = self.open(&store, "source").await?;
        let end = self.fill(&source, &payloads).await?;
        // At rest: reading would share the core with its compaction.
        source.compact().await?;
        source.close().await?;
        let source = self.open(&store, "source").await?;
        let (mut rates, mut efforts) = ([const { Vec::new() }; 3], [const { Vec::new() }; 3]);
        for round in 0..ROUNDS {
            let mut cpu = cpu_seconds();
            let mut effort = || {
                let before = std::mem::replace(&mut cpu, cpu_seconds());
                cpu - before
            };
            let read = (self.read(&source, end).await?, effort());
            let write = (self.write(&store, &format!("alone-{round}"), &payloads).await?, effort());
            let edge = (self.edge(&store, &format!("sink-{round}"), &source, end).await?, effort());
            for (at, (rate, effort)) in [read, write, edge].into_iter().enumerate() {
                rates.get_mut(at).ok_or("three sides")?.push(rate);
                efforts.get_mut(at).ok_or("three sides")?.push(effort);
            }
        }
        source.close().await?;
        let ([read, write, edge], [reading, writing, carrying]) = (rates.map(median), efforts.map(median));
        println!(
            "    {name:<54} {read:>10.0} {write:>10.0} {edge:>10.0} {:>6.2} {:>16.2}   ({reading:.2} s, {writing:.2} s, {carrying:.2} s)",
            edge / read.min(write),
            reading.max(writing) / carrying.max(1e-3)
        );
        Ok(())
    }

    fn payload(&self, number: usize, payloads: &Payloads) -> Vec<u8> {
        if self.case == Case::Copy {
            return payloads.get(number);
        }
        if self.case == Case::Values {
            return f64::from(u32::try_from(number * 7919 % 1000).unwrap_or(0)).to_le_bytes().to_vec();
        }
        let (tenant, route) = (number % TENANTS, number / TENANTS % ROUTES);
        let at = START_MS + i64::try_from(number / 100).unwrap_or(0);
        format!(
            r#"{{"tenant":"tenant-{tenant}","route":"/v1/route-{route}","status":200,"tokens":{},"at":{at}}}"#,
            number * 7919 % 1000
        )
        .into_bytes()
    }

    /// Fills the source. Returns the position behind its last record.
    async fn fill(&self, source: &Slate, payloads: &Payloads) -> Outcome<Position> {
        let log = source.get::<Log>("log")?;
        let mut waiting = Flights::default();
        let mut number = 0;
        while number < self.options.records {
            let mut tx = source.begin();
            for _ in 0..self.batch {
                tx.on(&log).append(format!("stream-{:08}", number % 1000), self.payload(number, payloads));
                number += 1;
            }
            waiting.send(tx, Ack::Written, 256).await?;
        }
        waiting.land().await?;
        Ok(source.flush().await?.next())
    }

    async fn read(&self, source: &Slate, end: Position) -> Outcome<f64> {
        let log = source.get::<Log>("log")?;
        let options = FollowOptions { streams: Streams::All, from: FollowFrom::Oldest, control: ControlRecords::Shown };
        let begun = Instant::now();
        let mut follower = Follower::open(source.watch(Ack::Durable), &log, options).await?;
        let (mut records, mut bytes) = (0, 0);
        while follower.position() < end {
            let batch = follower.next_batch().await?;
            records += batch.records.len();
            bytes += batch.records.iter().map(|record| record.payload.len()).sum::<usize>();
        }
        std::hint::black_box(bytes);
        Ok(rate(records, begun.elapsed()))
    }

    async fn write(&self, store: &Store, path: &str, payloads: &Payloads) -> Outcome<f64> {
        let sink = self.open(store, path).await?;
        let (log, metrics) = (sink.get::<Log>("log")?, sink.get::<Tsdb>("tsdb")?);
        let (series, streams) = (series(), streams());
        let ready: Vec<bytes::Bytes> = match self.case {
            Case::Copy => (0..LARGE).map(|number| payloads.get(number).into()).collect(),
            _ => Vec::new(),
        };
        let begun = Instant::now();
        let mut waiting = Flights::default();
        let mut number = 0;
        while number < self.options.records {
            let mut tx = sink.begin();
            for at in 0..LARGE.min(self.options.records - number) {
                let time = Timestamp(START_MS + i64::try_from(number / 100)?);
                let value = || f64::from(u32::try_from(number * 7919 % 1000).unwrap_or(0));
                let labels = || series.get(number % (TENANTS * ROUTES)).cloned().unwrap_or_default();
                match self.case {
                    Case::Copy => {
                        let record = NewRecord::new(ready.get(at).cloned().unwrap_or_default()).event_time(time);
                        tx.on(&log).append_record(streams.get(number % 1000).map_or("", String::as_str), record);
                    }
                    Case::Counted => drop(tx.on(&metrics).add(labels(), time, value())),
                    _ => drop(tx.on(&metrics).sample(labels(), time, value())),
                }
                number += 1;
            }
            waiting.send(tx, Ack::Durable, IN_FLIGHT).await?;
        }
        waiting.land().await?;
        let rate = rate(number, begun.elapsed());
        sink.close().await?;
        Ok(rate)
    }

    async fn edge(&self, store: &Store, path: &str, source: &Slate, end: Position) -> Outcome<f64> {
        let sink = self.open(store, path).await?;
        let to = if self.case == Case::Copy { "log" } else { "tsdb" };
        let mut spec = EdgeSpec::new("bench", ("source", "log"), ("sink", to));
        let kind = if self.case == Case::Counted { "add" } else { "sample" };
        if matches!(self.case, Case::Declared | Case::Counted) {
            let steps = format!(
                r#"[{{"to_metrics": {{"metrics": [{{"name": "tokens", "kind": "{kind}", "value": "payload.tokens", "time": "payload.at",
                    "labels": {{"tenant": "payload.tenant", "route": "payload.route"}}}}]}}}}]"#
            );
            spec = spec.transform(serde_json::from_str::<Vec<Step>>(&steps)?);
        }
        let transform = match self.case {
            Case::Typed => Some(typed()),
            Case::Values => Some(values()),
            _ => None,
        };
        let parts = EdgeParts { transform, ..EdgeParts::new(spec, SourceAt::Open(source.clone()), sink.clone()) };
        let begun = Instant::now();
        let status = Edge::run_until(parts, end).await?;
        let took = begun.elapsed();
        let counts = status.cursor.map(|cursor| cursor.counts).unwrap_or_default();
        if counts.applied != counts.records() || usize::try_from(counts.applied)? < self.options.records {
            return Err(format!("the edge did not apply everything: {counts:?}").into());
        }
        if std::env::var_os("BENCH_DETAIL").is_some() {
            println!("      {:?}: {} transactions", self.case, status.totals.commits);
        }
        sink.close().await?;
        Ok(rate(self.options.records, took))
    }
}

/// Seconds of processor time that this process has used, where the system tells.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn series() -> Vec<Labels> {
    let at = |n: usize| (format!("tenant-{}", n % TENANTS), format!("/v1/route-{}", n / TENANTS % ROUTES));
    let labels = |(tenant, route): (String, String)| {
        labels! { "__name__" => "tokens", "tenant" => tenant.as_str(), "route" => route.as_str() }
    };
    (0..TENANTS * ROUTES).map(at).map(labels).collect()
}

fn streams() -> Vec<String> {
    (0..1000).map(|stream| format!("stream-{stream:08}")).collect()
}

/// What a program of a user's would do: read the fields it needs, and ask for the series by its labels' values.
fn typed() -> SharedTransform {
    #[derive(serde::Deserialize)]
    struct Request<'a> {
        tenant: &'a str,
        route: &'a str,
        tokens: f64,
        at: i64,
    }
    let series = SeriesCache::new("tokens", ["tenant", "route"]);
    Arc::new(each("tokens/1", Kind::Samples, move |record, out| {
        let request: Request<'_> = serde_json::from_slice(&record.payload).map_err(|error| error.to_string())?;
        let labels = series.labels(&[request.tenant, request.route]).map_err(|error| error.to_string())?;
        out.push(Output::Sample(labels, Timestamp(request.at), request.tokens));
        Ok(())
    }))
}

/// A sample a record: its eight bytes, at the time it was taken in, in the series of its stream.
fn values() -> SharedTransform {
    let known = Mutex::new(HashMap::<bytes::Bytes, Labels>::new());
    Arc::new(each("values/1", Kind::Samples, move |record, out| {
        let bytes = record.payload.as_ref().try_into().map_err(|_| "a value has eight bytes".to_owned())?;
        let mut known = known.lock().map_err(|error| error.to_string())?;
        let labels = match known.get(&record.stream) {
            Some(labels) => labels.clone(),
            None => {
                let stream = String::from_utf8_lossy(&record.stream);
                let made = labels! { "__name__" => "tokens", "stream" => stream.as_ref() };
                known.insert(bytes::Bytes::copy_from_slice(&record.stream), made.clone());
                made
            }
        };
        // Records of one commit have one time; their positions tell them apart.
        let at = i64::try_from(record.position.0).map_err(|error| error.to_string())?;
        out.push(Output::Sample(labels, Timestamp(START_MS + at), f64::from_le_bytes(bytes)));
        Ok(())
    }))
}

/// Transactions on their way.
#[derive(Default)]
struct Flights(VecDeque<Pending>);

impl Flights {
    async fn send(&mut self, tx: Transaction, ack: Ack, most: usize) -> Outcome<()> {
        while self.0.len() >= most
            && let Some(pending) = self.0.pop_front()
        {
            pending.wait().await?;
        }
        self.0.push_back(tx.submit(ack).await?);
        Ok(())
    }

    async fn land(&mut self) -> Outcome<()> {
        for pending in self.0.drain(..) {
            pending.wait().await?;
        }
        Ok(())
    }
}
