//! Real work at a stated size, with Prometheus and VictoriaMetrics doing the same in the same run. Prints ratios.
//!
//! ```text
//! cargo xtask bench tsdb [-- --quick] [-- --only ingest|query|selectors|disk|memory|cold|http] [-- --no-peers] [-- --dir /somewhere] [-- --record SECONDS]
//! ```
//! A recording of 25 minutes or more (`--record 7200`) gives samples that are really 15 s apart. The peers are installed below `target/bench-tsdb` from Debian's packages; where no package source can be reached the
//! bench says so and goes on without them. They are fed by remote write and asked over HTTP, both on loopback; our
//! library is asked in process, the program over HTTP in the section `http` where its release build stands.
#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    missing_docs,
    reason = "a benchmark stops at the first surprise, and its figures are to look at"
)]

#[path = "tsdb/cold.rs"]
mod cold;
#[path = "tsdb/data.rs"]
mod data;
#[path = "tsdb/disk.rs"]
mod disk;
#[path = "tsdb/http.rs"]
mod http;
#[path = "tsdb/ingest.rs"]
mod ingest;
#[path = "tsdb/memory.rs"]
mod memory;
#[path = "tsdb/peers.rs"]
mod peers;
#[path = "tsdb/query.rs"]
mod query;
#[path = "tsdb/remote.rs"]
mod remote;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use opendata_core::slate::{Handle, Settings, Slate};
use opendata_core::store::{LocalDurability, Store, StoreOptions};
use opendata_tsdb::{Config, Tsdb};

/// As in the program `opendata`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Sizes and places.
pub(crate) struct Plan {
    pub(crate) quick: bool,
    pub(crate) dir: PathBuf,
    /// For how many seconds a node exporter is recorded, if no recording is there.
    pub(crate) record_s: usize,
    /// None: there are none on this machine, or they are not wanted.
    pub(crate) peers: Option<peers::Installed>,
}

impl Plan {
    /// A size, or a tenth of it for a quick run.
    pub(crate) fn size(&self, full: usize) -> usize {
        if self.quick { full / 10 } else { full }
    }
}

pub(crate) fn store(dir: &Path) -> Store {
    let options = StoreOptions { local_durability: LocalDurability::OperatingSystem, ..StoreOptions::default() };
    Store::open(&format!("file:{}", dir.display()), &options).unwrap()
}

pub(crate) async fn open(store: &Store) -> (Slate, Handle<Tsdb>) {
    open_as(store, Config::default()).await
}

pub(crate) async fn open_as(store: &Store, config: Config) -> (Slate, Handle<Tsdb>) {
    let settings = Settings { garbage_age_s: 1, garbage_interval_s: 2, ..Settings::default() };
    let builder = Slate::builder(store, "slate").system::<Tsdb>("metrics", config).settings(settings);
    let slate = builder.open().await.unwrap();
    let metrics = slate.get::<Tsdb>("metrics").unwrap();
    (slate, metrics)
}

pub(crate) fn disk_bytes(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let sizes = entries.filter_map(Result::ok).map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => disk_bytes(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// Resident memory of a process in bytes, where the system tells.
pub(crate) fn resident_bytes(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The middle of several runs, in milliseconds.
pub(crate) fn middle(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

/// A figure beside its goal and those of the peers. A ratio above 1 is better than what it is compared with.
pub(crate) enum Figure {
    /// More is better.
    Rate(f64),
    /// Less is better.
    Cost(f64),
}

impl Figure {
    fn value(&self) -> f64 {
        match self {
            Self::Rate(value) | Self::Cost(value) => *value,
        }
    }

    fn against(&self, other: f64) -> f64 {
        match self {
            Self::Rate(value) => value / other,
            Self::Cost(value) => other / value,
        }
    }
}

pub(crate) fn row(what: &str, unit: &str, ours: &Figure, goal: Option<f64>, peers: &[(&str, Option<f64>)]) {
    let number = |value: f64| match value {
        value if value >= 1e6 => format!("{:.2}M", value / 1e6),
        value if value >= 1e4 => format!("{:.0}k", value / 1e3),
        value if value >= 100.0 => format!("{value:.0}"),
        value => format!("{value:.2}"),
    };
    let mut line = format!("{what:<58} {:>8} {unit:<10}", number(ours.value()));
    match goal {
        Some(goal) => line += &format!(" goal {:>7} ratio {:>6.2}", number(goal), ours.against(goal)),
        None => line += &format!("{:>27}", ""),
    }
    for (name, value) in peers {
        match value {
            Some(value) => line += &format!("  {name} {:>7} ratio {:>6.2}", number(*value), ours.against(*value)),
            None => line += &format!("  {name} -"),
        }
    }
    println!("{line}");
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap();
    if let Some(series) = value("--memory-of") {
        return runtime.block_on(memory::fresh_process(series.parse().unwrap()));
    }
    let temporary = tempfile::tempdir().unwrap();
    let dir = value("--dir").map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let only = |section: &str| value("--only").is_none_or(|only| only == section);
    let peers = if has("--no-peers") { None } else { peers::install() };
    let quick = has("--quick");
    let record_s = value("--record").map_or(if quick { 30 } else { 120 }, |seconds| seconds.parse().unwrap());
    let plan = Plan { quick, dir, record_s, peers };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("tsdb benchmark: local files at {}, {cores} cores, 2 worker threads", plan.dir.display());
    let begun = Instant::now();
    runtime.block_on(async {
        if only("ingest") {
            ingest::library(&plan).await;
        }
        if only("query") {
            query::aggregations(&plan).await;
        }
        if only("selectors") {
            query::selectors(&plan).await;
        }
        if only("cold") {
            cold::cold(&plan).await;
        }
        if only("disk") {
            disk::bytes_a_sample(&plan).await;
        }
        if only("http") {
            ingest::over_http(&plan);
        }
        if only("memory") {
            memory::active_series(&plan);
        }
    });
    println!("took {:.0} s", begun.elapsed().as_secs_f64());
}
