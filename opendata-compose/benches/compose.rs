//! What composition costs: `cargo xtask bench compose`.
//!
//! | part | |
//! |---|---|
//! | `internal` | one commit over a log and a metrics store beside each alone; 64 writers beside one; checkpoint and fork over sizes |
//! | `edges` | records a second through an edge beside reading its source alone and writing its sink alone, on one core |
//! | `latency` | from appending to being visible at the sink, in one process and in two, in multiples of the source's durable commit |
//! | `cuts` | how long a cut takes and for how long writers wait, instant and aligned; fork and promotion, split and join; over sizes |
//! | `recovery` | from the death of a sink's process until it has caught up, over backlogs |
//!
//! Everything runs on local files. Rates are the median of rounds that alternate, so that a busy moment of the machine meets
//! all sides; what counts are the ratios.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints what it measured")]

#[path = "compose/across.rs"]
mod across;
#[path = "compose/cuts.rs"]
mod cuts;
#[path = "compose/edges.rs"]
mod edges;
#[path = "compose/internal.rs"]
mod internal;

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

/// As in the program `opendata`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "\
Usage: cargo xtask bench compose [-- OPTIONS]

  --quick             small sizes: does it work at all
  --only PART         one part: internal, edges, latency, cuts or recovery; may be given again
  --transactions N    commits over two systems, 100,000 by default
  --records N         records through an edge, 500,000 by default
  --edge NAME         one kind of edge: copy, values, typed, declared, counted or single
  --gigabyte BYTES    the largest size of data, 1,000,000,000 by default
  --dir DIR           where the slates are made, a temporary folder by default
";

const PARTS: [&str; 5] = ["internal", "edges", "latency", "cuts", "recovery"];
const PAYLOAD_BYTES: usize = 256;

struct Options {
    transactions: usize,
    records: usize,
    /// For how long writers write side by side.
    writing: Duration,
    largest: u64,
    folder: PathBuf,
    only: Vec<String>,
    edge: Option<String>,
    /// What this process does for the one that started it.
    child: Option<String>,
}

impl Options {
    fn parse() -> Outcome<Option<Self>> {
        let second = Duration::from_secs(1);
        let mut options = Self {
            transactions: 100_000,
            records: 500_000,
            writing: 3 * second,
            largest: 1_000_000_000,
            folder: PathBuf::new(),
            only: Vec::new(),
            edge: None,
            child: None,
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                // What `cargo bench` adds.
                "--bench" => {}
                "--quick" => {
                    (options.transactions, options.records) = (2_000, 20_000);
                    (options.writing, options.largest) = (second / 4, 20_000_000);
                }
                "--child" => options.child = Some(value()?),
                "--edge" => options.edge = Some(value()?),
                "--only" => options.only.push(value()?),
                "--transactions" => options.transactions = value()?.parse()?,
                "--records" => options.records = value()?.parse()?,
                "--gigabyte" => options.largest = value()?.parse()?,
                "--dir" => options.folder = value()?.into(),
                _ => return Ok(None),
            }
        }
        Ok(options.only.iter().all(|part| PARTS.contains(&part.as_str())).then_some(options))
    }

    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == part)
    }
}

fn main() -> ExitCode {
    let options = match Options::parse() {
        Ok(Some(options)) => options,
        Ok(None) => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmark failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut options: Options) -> Outcome<()> {
    if let Some(role) = &options.child {
        return runtime(2)?.block_on(across::child(role, options.folder.clone(), options.records));
    }
    let temporary = tempfile::tempdir()?;
    if options.folder.as_os_str().is_empty() {
        temporary.path().clone_into(&mut options.folder);
    }
    let cores = std::thread::available_parallelism()?;
    println!("{cores} cores, local files in {}", options.folder.display());
    if options.wants("edges") {
        // Threads that are started later keep to the core of the one that starts them.
        let pinned = pin("0");
        println!("\nEdges, {}", if pinned { "on one core" } else { "NOT bound to one core" });
        runtime(1)?.block_on(edges::run(&options))?;
        pin(&format!("0-{}", cores.get().saturating_sub(1)));
    }
    let runtime = runtime(cores.get())?;
    if options.wants("latency") {
        runtime.block_on(across::latency(&options))?;
    }
    if options.wants("cuts") {
        runtime.block_on(cuts::run(&options))?;
    }
    if options.wants("recovery") {
        runtime.block_on(across::recovery(&options))?;
    }
    if options.wants("internal") {
        runtime.block_on(internal::run(&options))?;
    }
    Ok(())
}

fn runtime(workers: usize) -> Outcome<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?)
}

/// Binds this thread to cores, where the system has a command for that.
fn pin(cores: &str) -> bool {
    let mut taskset = Command::new("taskset");
    taskset.args(["-cp", cores, &std::process::id().to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    taskset.status().is_ok_and(|status| status.success())
}

/// Random bytes, so that nothing is gained by compressing them.
struct Payloads(Vec<u8>);

impl Payloads {
    fn new() -> Self {
        // xorshift64 (Marsaglia 2003): enough for bytes that do not compress, and no dependency.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let words = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        Self(words.take(1 << 17).flatten().collect())
    }

    fn get(&self, number: usize) -> Vec<u8> {
        let start = (number * 8191) % (self.0.len() - PAYLOAD_BYTES);
        self.0.get(start..start + PAYLOAD_BYTES).unwrap_or_default().to_vec()
    }
}

fn median<T: PartialOrd + Copy + Default>(mut values: Vec<T>) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The value below which a part of all lie.
fn percentile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place")]
    let at = (values.len() as f64 * part) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn rate(count: usize, took: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate is read, not computed with")]
    let count = count as f64;
    count / took.as_secs_f64().max(1e-9)
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}
