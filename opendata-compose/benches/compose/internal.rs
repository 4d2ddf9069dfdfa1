//! One slate: what a commit over two systems costs beside each alone, many writers beside one, checkpoints and forks over sizes.

use std::collections::VecDeque;
use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use opendata_compose::tsdb::Labels;
use opendata_compose::{
    Ack, Handle, InternalComposite, LocalDurability, Log, Store, StoreOptions, Timestamp, Transaction, Tsdb, labels,
    log, tsdb,
};
use opendata_core::slate::Pending;

use super::{Options, Outcome, PAYLOAD_BYTES, Payloads, median, ms, rate};

/// Transactions on their way at once, where one caller sends all of them.
const IN_FLIGHT: usize = 1024;
const TENANTS: usize = 1000;
const ROUNDS: usize = 3;
const WRITERS: usize = 64;
/// Checkpoints and forks of each size.
const FORKS: usize = 7;

/// All three parts.
pub(crate) async fn run(options: &Options) -> Outcome<()> {
    for durability in [LocalDurability::Fsync, LocalDurability::OperatingSystem] {
        let bench = Bench { folder: options.folder.join(format!("{durability:?}")), durability };
        println!("\nOne slate. Durable means: {}", bench.means());
        bench.atomic(options.transactions).await?;
        bench.writers(options.writing).await?;
    }
    let bench = Bench { folder: options.folder.join("sizes"), durability: LocalDurability::Fsync };
    println!("\nOne slate. Durable means: {}", bench.means());
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
