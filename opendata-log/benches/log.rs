//! Real work at a stated size, each beside plain SlateDB doing the same in the same run. Prints ratios.
//!
//! ```text
//! cargo xtask bench log [-- --quick] [-- --records 1000000] [-- --dir /somewhere] [-- --only append|writers|scan|tail] [-- --streams 1000]
//! ```
#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark stops at the first surprise"
)]

#[path = "log/plain.rs"]
mod plain;
#[path = "log/scan.rs"]
mod scan;
#[path = "log/tail.rs"]
mod tail;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use opendata_core::slate::{Ack, Settings, Slate};
use opendata_core::store::{LocalDurability, Store, StoreOptions};
use opendata_log::{Config, Log};
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

/// As in the program `opendata`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) const RECORD_BYTES: usize = 256;
const BATCH: usize = 1000;
const WRITERS: usize = 64;

/// Sizes and places.
pub(crate) struct Plan {
    records: usize,
    dir: PathBuf,
    streams: Vec<usize>,
}

pub(crate) fn store(dir: &Path, durability: LocalDurability) -> Store {
    let options = StoreOptions { local_durability: durability, ..StoreOptions::default() };
    Store::open(&format!("file:{}", dir.display()), &options).unwrap()
}

pub(crate) async fn open(store: &Store) -> Slate {
    Slate::builder(store, "slate")
        .system::<Log>("events", Config::default())
        .settings(Settings { garbage_interval_s: 0, ..Settings::default() })
        .open()
        .await
        .unwrap()
}

pub(crate) fn stream_name(stream: usize) -> String {
    format!("stream-{stream:08}")
}

/// Random bytes, which nothing compresses.
pub(crate) fn payloads(count: usize) -> Vec<bytes::Bytes> {
    let mut random = SmallRng::seed_from_u64(7);
    let mut all = vec![0; count * RECORD_BYTES];
    random.fill_bytes(&mut all);
    let all = bytes::Bytes::from(all);
    (0..count).map(|at| all.slice(at * RECORD_BYTES..(at + 1) * RECORD_BYTES)).collect()
}

pub(crate) fn rate(count: usize, took: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
    let count = count as f64;
    count / took.as_secs_f64()
}

/// Seconds of processor time that this process has used, where the system tells.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    ticks / 100.0
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

/// Appends all payloads over so many streams, durable at the end. Returns how long it took.
pub(crate) async fn append(slate: &Slate, payloads: &[bytes::Bytes], streams: usize) -> Duration {
    let log = slate.get::<Log>("events").unwrap();
    let names: Vec<_> = (0..streams).map(stream_name).collect();
    let begun = Instant::now();
    let mut pending = std::collections::VecDeque::new();
    for (batch, payloads) in payloads.chunks(BATCH).enumerate() {
        let mut tx = slate.begin();
        let op = tx.on(&log);
        for (at, payload) in payloads.iter().enumerate() {
            op.append(&names[(batch * BATCH + at) % streams], payload.clone());
        }
        pending.push_back(tx.submit(Ack::Written).await.unwrap());
        if pending.len() > 16 {
            pending.pop_front().unwrap().wait().await.unwrap();
        }
    }
    for commit in pending {
        commit.wait().await.unwrap();
    }
    slate.flush().await.unwrap();
    begun.elapsed()
}

async fn appends(plan: &Plan, durability: LocalDurability) {
    let payloads = payloads(plan.records);
    println!("\nappend {} records of {RECORD_BYTES} random bytes, batches of {BATCH}, {durability:?}", plan.records);
    println!("{:>9} {:>14} {:>14} {:>7}   goal", "streams", "log rec/s", "plain rec/s", "ratio");
    for streams in plan.streams.iter().copied() {
        let dir = plan.dir.join(format!("append-{streams}-{durability:?}"));
        let plain_dir = plan.dir.join(format!("plain-{streams}-{durability:?}"));
        let begun = cpu_seconds();
        let plain = plain::append(&plain_dir, durability, &payloads, streams).await;
        let plain_cpu = cpu_seconds() - begun;
        let slate = open(&store(&dir, durability)).await;
        let log = append(&slate, &payloads, streams).await;
        let stats = slate.view().get_reader::<Log>("events").unwrap().stats().unwrap();
        let before = disk_bytes(&dir);
        slate.close().await.unwrap();
        let log_cpu = cpu_seconds() - begun - plain_cpu;
        let (log, plain) = (rate(plan.records, log), rate(plan.records, plain));
        let goal = if stats.records >= 16 * stats.chunks { 1.5 } else { 0.9 };
        println!(
            "{streams:>9} {log:>14.0} {plain:>14.0} {:>7.2}   {goal} ({} records a chunk, {} bytes on disk a record; \
             processor {log_cpu:.2} s, plain {plain_cpu:.2} s)",
            log / plain,
            stats.records / stats.chunks.max(1),
            before / stats.records.max(1),
        );
        let _ = std::fs::remove_dir_all(dir);
        let _ = std::fs::remove_dir_all(plain_dir);
    }
}

async fn commits(slate: &Slate, writers: usize, each: usize) -> Duration {
    let begun = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let slate = slate.clone();
            tokio::spawn(async move {
                let log = slate.get::<Log>("events").unwrap();
                let stream = stream_name(writer);
                for _ in 0..each {
                    let mut tx = slate.begin();
                    tx.on(&log).append(&stream, "a small record");
                    tx.commit().await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    begun.elapsed()
}

async fn concurrent(plan: &Plan, durability: LocalDurability) {
    let dir = plan.dir.join(format!("writers-{durability:?}"));
    let slate = open(&store(&dir, durability)).await;
    let each = (plan.records / 10_000).clamp(20, 200);
    let one = rate(each, commits(&slate, 1, each).await);
    let many = rate(each * WRITERS, commits(&slate, WRITERS, each).await);
    println!(
        "\none small record, awaiting durability, {durability:?}: 1 writer {one:.0}/s, {WRITERS} writers {many:.0}/s, \
         ratio {:.1} (goal 20)",
        many / one
    );
    slate.close().await.unwrap();
    let _ = std::fs::remove_dir_all(dir);
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap();
    if let Some(dir) = value("--scan") {
        return runtime.block_on(scan::fresh_process(Path::new(dir)));
    }
    let quick = args.iter().any(|arg| arg == "--quick");
    let records = value("--records").map(|records| records.parse().unwrap());
    let records = records.unwrap_or(if quick { 100_000 } else { 1_000_000 });
    let temporary = tempfile::tempdir().unwrap();
    let dir = value("--dir").map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let streams = value("--streams").map(|streams| vec![streams.parse().unwrap()]);
    let plan = Plan { records, dir, streams: streams.unwrap_or_else(|| vec![1, 1000, 100_000, 1_000_000]) };
    let only = |section: &str| value("--only").is_none_or(|only| only == section);
    println!("log benchmark: local files at {}, 2 worker threads", plan.dir.display());
    runtime.block_on(async {
        for durability in [LocalDurability::Fsync, LocalDurability::OperatingSystem] {
            if only("append") {
                appends(&plan, durability).await;
            }
            if only("writers") {
                concurrent(&plan, durability).await;
            }
        }
        if only("scan") {
            scan::scans(&plan).await;
        }
        if only("tail") {
            tail::tails(&plan).await;
        }
    });
}
