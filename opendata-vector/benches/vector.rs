//! Real vectors at a stated size: recall, queries a second, ingest, space and cold reads, beside brute force with our best
//! kernel and beside what a user would pick instead, in the same run.
//!
//! ```text
//! cargo xtask bench vector [-- --quick] [-- --set 256|50|debian|clustered] [-- --no-peers | -- --only-peers | -- --only ingest|search|cold] [-- --churn] [-- --trace] [-- --rows 100000] [-- --grow 16] [-- --bits 4] [-- --cell-rows 200] [-- --cache-mib 256]
//! ```
//!
//! The first run installs Python packages into `target/bench-vector` (GloVe vectors, wordllama's token table, the peers) and
//! keeps the vectors there. `--grow` makes more of them: each real one again some times, with noise of about its distance to its
//! neighbours. 1,000 vectors are held out as queries; the truth is exact, filtered too. Files are local and fsynced.
#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark stops at the first surprise"
)]

#[path = "vector/cold.rs"]
mod cold;
#[path = "vector/ours.rs"]
mod ours;
#[path = "vector/peers.rs"]
mod peers;
#[path = "vector/sets.rs"]
mod sets;

use opendata_vector::{CodeBits, Effort, kernel};

use ours::{Bed, Figures, Space};
use sets::Set;

/// As in the program `opendata`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A part of the benchmark.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Part {
    Ingest,
    Search,
    Cold,
}

/// What was asked for.
pub(crate) struct Asked {
    pub(crate) quick: bool,
    pub(crate) sets: Vec<String>,
    pub(crate) peers: bool,
    /// Ours at a few recalls and the peers, nothing else.
    pub(crate) only_peers: bool,
    /// One part alone, behind the ingest that all of them need.
    pub(crate) only: Option<Part>,
    pub(crate) churn: bool,
    pub(crate) trace: bool,
    pub(crate) rows: Option<usize>,
    /// So many vectors are made of each real one.
    pub(crate) grow: usize,
    pub(crate) bits: CodeBits,
    pub(crate) cell_rows: Option<u32>,
    pub(crate) cache_mib: Option<u64>,
}

fn asked() -> Asked {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let after = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)).cloned();
    let has = |name: &str| args.iter().any(|arg| arg == name);
    Asked {
        quick: has("--quick"),
        sets: after("--set").map_or_else(|| vec!["256".to_owned(), "50".to_owned()], |set| vec![set]),
        peers: !has("--no-peers") && !has("--quick"),
        only_peers: has("--only-peers"),
        only: after("--only").map(|part| match part.as_str() {
            "ingest" => Part::Ingest,
            "search" => Part::Search,
            "cold" => Part::Cold,
            other => panic!("no such part: {other}"),
        }),
        churn: has("--churn"),
        trace: has("--trace"),
        rows: after("--rows").and_then(|rows| rows.parse().ok()),
        grow: after("--grow").map_or(1, |times| times.parse().unwrap()),
        cell_rows: after("--cell-rows").map(|rows| rows.parse().unwrap()),
        cache_mib: after("--cache-mib").map(|mib| mib.parse().unwrap()),
        bits: if after("--bits").as_deref() == Some("4") { CodeBits::Four } else { CodeBits::Eight },
    }
}

#[tokio::main]
async fn main() {
    let asked = asked();
    println!("kernels {}, {} cores", kernel::name(), cores());
    for name in &asked.sets {
        let set = sets::load(name, &asked);
        run(&set, &asked).await;
    }
}

pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

async fn run(set: &Set, asked: &Asked) {
    println!("\n== {}: {} x {}, {:?}, {} queries", set.name, set.count(), set.dims, set.metric, set.queries());
    let folder = tempfile::tempdir_in(sets::work()).unwrap();
    let before = ours::anonymous_bytes();
    let bed = Bed::open(folder.path(), set, asked).await;
    let indexed_per_second = bed.ingest(set).await;
    println!("{:?}", bed.reader().stats().await.unwrap().fields["v"]);
    if let Some(part) = asked.only {
        if part != Part::Ingest {
            bed.compact(set).await;
        }
        match part {
            Part::Ingest => {}
            Part::Search => {
                searches(&bed, set).await;
                filtered_searches(&bed, set).await;
            }
            Part::Cold => cold::run(folder.path(), set, asked.trace).await,
        }
        return bed.slate.close().await.unwrap();
    }
    let floor = set.floor();
    println!(
        "brute force, f32 in memory: {:.0} queries/s on all cores ({:.2} ms of one core)",
        floor.per_second, floor.core_ms
    );
    if !asked.only_peers {
        bed.print_disk(set, "before compaction").await;
    }
    bed.compact(set).await;
    let disk_bytes = bed.print_disk(set, "after compaction, index included").await;
    bed.print_rows(set).await;
    let found = searches(&bed, set).await;
    let memory_bytes = ours::anonymous_bytes().saturating_sub(before) as f64 / set.count() as f64;
    if !asked.only_peers {
        filtered_searches(&bed, set).await;
        cold::run(folder.path(), set, asked.trace).await;
    }
    if asked.churn {
        bed.churn(set, &found[2], disk_bytes).await;
    }
    bed.slate.close().await.unwrap();
    if asked.peers || asked.only_peers {
        peers::run(set, &found, &Space { indexed_per_second, disk_bytes, memory_bytes }, &floor);
    }
}

async fn searches(bed: &Bed, set: &Set) -> Vec<Figures> {
    println!("warm: recall@10, queries/s on all cores, ms of processor a query, p50 and p99 of one client");
    bed.warm(set).await;
    let mut found = Vec::new();
    for recall in [0.9, 0.95, 0.97, 0.99, 0.998] {
        found.push(bed.measure(set, Effort::Recall(recall), None).await);
    }
    found
}

async fn filtered_searches(bed: &Bed, set: &Set) {
    for thousandths in [500, 100, 10, 1] {
        bed.measure(set, Effort::Normal, Some(thousandths)).await;
    }
}
