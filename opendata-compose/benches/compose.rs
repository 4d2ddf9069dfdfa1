//! What composition costs: `cargo xtask bench compose`.
//!
//! 1. One commit over a log and a metrics store, beside the same work on each alone, in slates of their own.
//! 2. Sixty-four writers that each wait for durability, beside one.
//! 3. A checkpoint and a fork, from 10 MB of data to 1 GB.
//!
//! Everything runs on local files. Rates are the median of rounds that alternate, so that a busy moment of the machine meets
//! all sides; what counts are the ratios.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints what it measured")]

use std::collections::VecDeque;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use opendata_compose::tsdb::Labels;
use opendata_compose::{
    Ack, Handle, InternalComposite, LocalDurability, Log, Store, StoreOptions, Timestamp, Transaction, Tsdb, labels,
    log, tsdb,
};
use opendata_core::slate::Pending;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "\
Usage: cargo xtask bench compose [-- OPTIONS]

  --quick             small sizes: does it work at all
  --transactions N    in the first part, 100,000 by default
  --gigabyte BYTES    the largest size of the third part, 1,000,000,000 by default
  --dir DIR           where the slates are made, a temporary folder by default
";

/// Transactions on their way at once, where one caller sends all of them.
const IN_FLIGHT: usize = 1024;
const PAYLOAD_BYTES: usize = 256;
const TENANTS: usize = 1000;
const ROUNDS: usize = 3;
const WRITERS: usize = 64;
/// Checkpoints and forks of each size.
const FORKS: usize = 7;

struct Options {
    transactions: usize,
    /// For how long writers write in the second part.
    writing: Duration,
    largest: u64,
    folder: Option<PathBuf>,
}

impl Options {
    fn parse() -> Outcome<Option<Self>> {
        let second = Duration::from_secs(1);
        let mut options = Self { transactions: 100_000, writing: 3 * second, largest: 1_000_000_000, folder: None };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                // What `cargo bench` adds.
                "--bench" => {}
                "--quick" => {
                    (options.transactions, options.writing, options.largest) = (2_000, second / 4, 20_000_000);
                }
                "--transactions" => options.transactions = value()?.parse()?,
                "--gigabyte" => options.largest = value()?.parse()?,
                "--dir" => options.folder = Some(value()?.into()),
                _ => return Ok(None),
            }
        }
        Ok(Some(options))
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
    let outcome =
        tokio::runtime::Runtime::new().map_err(Into::into).and_then(|runtime| runtime.block_on(run(&options)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmark failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Outcome<()> {
    let temporary = tempfile::tempdir()?;
    let folder = options.folder.as_deref().unwrap_or(temporary.path());
    let cores = std::thread::available_parallelism()?;
    println!("{cores} cores, local files in {}", folder.display());
    for durability in [LocalDurability::Fsync, LocalDurability::OperatingSystem] {
        let bench = Bench { folder: folder.join(format!("{durability:?}")), durability };
        println!("\nDurable means: {}", bench.means());
        bench.atomic(options.transactions).await?;
        bench.writers(options.writing).await?;
    }
    let bench = Bench { folder: folder.join("sizes"), durability: LocalDurability::Fsync };
    println!("\nDurable means: {}", bench.means());
    bench.sizes(options.largest).await
}

/// What a transaction writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Log,
    Tsdb,
    Both,
}

struct Bench {
    folder: PathBuf,
    durability: LocalDurability,
}

/// A slate with both systems; a transaction may use either.
struct Slate {
    composite: InternalComposite,
    events: Handle<Log>,
    usage: Handle<Tsdb>,
    series: Vec<Labels>,
    payloads: Payloads,
}

fn describe(store: &Store, path: &str) -> opendata_compose::internal::Builder {
    InternalComposite::builder(store, path)
        .system::<Log>("events", log::Config::default())
        .system::<Tsdb>("usage", tsdb::Config::default())
}

impl Bench {
    fn means(&self) -> &'static str {
        match self.durability {
            LocalDurability::Fsync => "fsynced",
            LocalDurability::OperatingSystem => "handed to the operating system",
        }
    }

    fn store(&self) -> Outcome<Store> {
        let options = StoreOptions { local_durability: self.durability, ..StoreOptions::default() };
        Ok(Store::open(&format!("file:{}", self.folder.display()), &options)?)
    }

    async fn open(&self, path: &str) -> Outcome<Slate> {
        let composite = describe(&self.store()?, path).open().await?;
        let (events, usage) = (composite.get("events")?, composite.get("usage")?);
        let tenants = (0..TENANTS).map(|tenant| tenant.to_string());
        let series = tenants.map(|tenant| labels! { "__name__" => "tokens_total", "tenant" => tenant.as_str() });
        Ok(Slate { composite, events, usage, series: series.collect(), payloads: Payloads::new() })
    }

    /// Part 1.
    async fn atomic(&self, transactions: usize) -> Outcome<()> {
        let sides = [Side::Log, Side::Tsdb, Side::Both];
        let mut rates = [const { Vec::new() }; 3];
        for round in 0..ROUNDS {
            for (side, rates) in sides.iter().zip(&mut rates) {
                let slate = self.open(&format!("atomic-{side:?}-{round}")).await?;
                rates.push(slate.send(*side, transactions).await?);
                slate.composite.close().await?;
            }
        }
        let [log, tsdb, both] = rates.map(median);
        println!("  {transactions} transactions of one record of {PAYLOAD_BYTES} bytes and one of {TENANTS} counters:");
        println!(
            "    log alone {log:>10.0} a second\n    TSDB alone{tsdb:>10.0} a second\n    both      {both:>10.0} a second"
        );
        println!("    both, relative to the slower alone: {:.2} (aim: at least 0.70)", both / log.min(tsdb));
        Ok(())
    }

    /// Part 2.
    async fn writers(&self, writing: Duration) -> Outcome<()> {
        let slate = self.open("writers").await?;
        let one = slate.write_side_by_side(1, writing).await?;
        let many = slate.write_side_by_side(WRITERS, writing).await?;
        slate.composite.close().await?;
        println!("  Writers that each wait until their transaction over both is durable:");
        println!("    1 writer   {one:>10.0} a second\n    {WRITERS} writers {many:>10.0} a second");
        println!("    {WRITERS} relative to one: {:.1} (aim: at least 20)", many / one);
        Ok(())
    }

    /// Part 3. What lies in the write-ahead log only is read when a fork is opened: up to one memtable, whatever the size of the
    /// data. So each size is measured twice: as writing left it, and with everything in sorted files.
    async fn sizes(&self, largest: u64) -> Outcome<()> {
        let slate = self.open("sizes").await?;
        let mut held = 0;
        let (mut written, mut settled) = (Vec::new(), Vec::new());
        println!("  By the size of the data (median of {FORKS}, ms):      checkpoint   fork made   fork opened");
        for size in [largest / 100, largest / 10, largest] {
            while held < size {
                held += slate.fill().await?;
            }
            slate.composite.slate().flush().await?;
            for (state, rows) in [("as written", &mut written), ("in sorted files", &mut settled)] {
                let row = slate.checkpoint_and_fork(&format!("{held}-{}", rows.len())).await?;
                let [checkpoint, made, opened] = row.map(ms);
                println!("    {:>6} MB, {state:<15} {checkpoint:>29.1} {made:>11.1} {opened:>13.1}", held / 1_000_000);
                rows.push(row);
                slate.composite.slate().flush_files().await?;
            }
        }
        slate.composite.close().await?;
        for (state, rows) in [("as written", written), ("in sorted files", settled)] {
            if let (Some(small), Some(large)) = (rows.first(), rows.last()) {
                let ratio = |at: usize| Some(ms(*large.get(at)?) / ms(*small.get(at)?));
                let [checkpoint, made, opened] = [0, 1, 2].map(|at| ratio(at).unwrap_or_default());
                println!(
                    "    largest to smallest, {state:<15} {checkpoint:>18.1} {made:>11.1} {opened:>13.1}   (flat is 1)"
                );
            }
        }
        Ok(())
    }
}

impl Slate {
    fn transaction(&self, side: Side, number: usize) -> Transaction {
        let mut tx = self.composite.begin();
        if side != Side::Tsdb {
            tx.on(&self.events).append(format!("tenant-{}", number % TENANTS), self.payloads.get(number));
        }
        if side != Side::Log
            && let Some(series) = self.series.get(number % TENANTS)
        {
            // A second for every tenant's turn.
            let at = Timestamp(1_700_000_000_000 + i64::try_from(number / TENANTS).unwrap_or(0) * 1000);
            tx.on(&self.usage).add(series.clone(), at, 1.0);
        }
        tx
    }

    /// One caller sends transactions without waiting for each. Returns durable ones a second.
    async fn send(&self, side: Side, count: usize) -> Outcome<f64> {
        let begun = Instant::now();
        let mut waiting: VecDeque<Pending> = VecDeque::with_capacity(IN_FLIGHT);
        for number in 0..count {
            if waiting.len() == IN_FLIGHT
                && let Some(pending) = waiting.pop_front()
            {
                pending.wait().await?;
            }
            waiting.push_back(self.transaction(side, number).submit(Ack::Durable).await?);
        }
        for pending in waiting {
            pending.wait().await?;
        }
        Ok(rate(count, begun.elapsed()))
    }

    /// Writers side by side, each with one transaction at a time. Returns durable transactions a second.
    async fn write_side_by_side(&self, writers: usize, writing: Duration) -> Outcome<f64> {
        let begun = Instant::now();
        let write = |writer: usize| async move {
            let mut count = 0;
            while begun.elapsed() < writing {
                self.transaction(Side::Both, writer + count * writers).commit().await?;
                count += 1;
            }
            Ok::<usize, Box<dyn Error + Send + Sync>>(count)
        };
        let counts = futures::future::try_join_all((0..writers).map(write)).await?;
        Ok(rate(counts.iter().sum(), begun.elapsed()))
    }

    /// The median times of making a checkpoint, making a fork, and opening it.
    async fn checkpoint_and_fork(&self, name: &str) -> Outcome<[Duration; 3]> {
        let mut times = [const { Vec::new() }; 3];
        for round in 0..FORKS {
            let (checkpoint, fork) = (format!("checkpoint-{name}-{round}"), format!("fork-{name}-{round}"));
            let begun = Instant::now();
            self.composite.checkpoint(&checkpoint, None).await?;
            let checkpointed = begun.elapsed();
            self.composite.slate().fork(&fork).await?;
            let made = begun.elapsed();
            let opened = describe(self.composite.slate().store(), &fork).open().await?;
            let all = begun.elapsed();
            opened.discard().await?;
            self.composite.release(&checkpoint).await?;
            for (times, time) in times.iter_mut().zip([checkpointed, made - checkpointed, all - made]) {
                times.push(time);
            }
        }
        Ok(times.map(median))
    }

    /// Adds about four megabytes, and returns how many bytes.
    async fn fill(&self) -> Outcome<u64> {
        const RECORDS: usize = 4096;
        let mut tx = self.composite.begin();
        let mut bytes = 0;
        for number in 0..RECORDS {
            // Four payloads a record: fewer, larger records fill faster.
            let payload: Vec<u8> = (0..4).flat_map(|part| self.payloads.get(number * 7 + part)).collect();
            bytes += payload.len() as u64;
            tx.on(&self.events).append(format!("tenant-{}", number % 16), payload);
        }
        tx.commit_with(Ack::Written).await?;
        Ok(bytes)
    }
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

fn rate(count: usize, took: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate is read, not computed with")]
    let count = count as f64;
    count / took.as_secs_f64().max(1e-9)
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}
