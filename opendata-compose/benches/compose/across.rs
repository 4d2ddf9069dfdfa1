//! From appending to being visible at the sink, and from the death of a sink's process until it has caught up.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opendata_compose::edge::{Edge, EdgeParts, EdgeSpec, RunningEdge, SourceAt};
use opendata_compose::log::{ControlRecords, FollowFrom, FollowOptions, Follower, Streams};
use opendata_compose::{Ack, Log, Position, Settings, Store, log};
use opendata_core::slate::Slate;

use super::{Options, Outcome, Payloads, ms, percentile};

const PACE: Duration = Duration::from_millis(7);

fn store(folder: &Path) -> Outcome<Store> {
    Ok(Store::from_url(&format!("file:{}", folder.display()))?)
}

async fn open(store: &Store, path: &str) -> Outcome<Slate> {
    let settings = Settings { garbage_interval_s: 0, ..Settings::default() };
    Ok(Slate::builder(store, path).settings(settings).system::<Log>("log", log::Config::default()).open().await?)
}

fn start(source: SourceAt, sink: &Slate) -> Outcome<RunningEdge> {
    let spec = EdgeSpec::new("bench", ("source", "log"), ("sink", "log"));
    Ok(Edge::start(EdgeParts::new(spec, source, sink.clone()))?)
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Appends records that say when they were appended, one at a time. Returns how long each took to be durable.
async fn append_paced(source: &Slate, count: usize) -> Outcome<Vec<f64>> {
    let log = source.get::<Log>("log")?;
    let mut durable = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        let mut tx = source.begin();
        tx.on(&log).append("s", u64::try_from(now().as_nanos())?.to_le_bytes().to_vec());
        tx.commit().await?;
        durable.push(ms(begun.elapsed()));
        tokio::time::sleep(PACE.saturating_sub(begun.elapsed())).await;
    }
    Ok(durable)
}

/// Waits for so many records at the sink. Returns how long after their appending each was seen there, durable.
async fn arrivals(sink: &Slate, count: usize) -> Outcome<Vec<f64>> {
    let options = FollowOptions { streams: Streams::All, from: FollowFrom::Oldest, control: ControlRecords::Hidden };
    let mut follower = Follower::open(sink.watch(Ack::Durable), &sink.get::<Log>("log")?, options).await?;
    let mut late = Vec::with_capacity(count);
    while late.len() < count {
        let record = follower.next().await?;
        let appended = Duration::from_nanos(u64::from_le_bytes(record.payload.as_ref().try_into()?));
        late.push(ms(now().saturating_sub(appended)));
    }
    Ok(late)
}

/// What stands in a line that one process tells another.
fn told(child: &mut Child) -> Outcome<String> {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().ok_or("no output")?).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

fn spawn(role: &str, folder: &Path, count: usize) -> Outcome<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--child", role, "--dir"]).arg(folder).args(["--records", &count.to_string()]);
    Ok(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?)
}

fn show(name: &str, durable: &mut [f64], late: &mut [f64]) {
    let [d50, d99] = [0.5, 0.99].map(|at| percentile(durable, at));
    let [l50, l99] = [0.5, 0.99].map(|at| percentile(late, at));
    println!(
        "    {name:<22} durable at the source {d50:>6.1} / {d99:>6.1} ms, visible at the sink {l50:>6.1} / {l99:>6.1} ms: {:.1} x / {:.1} x",
        l50 / d50,
        l99 / d99
    );
}

/// Part `latency`.
pub(crate) async fn latency(options: &Options) -> Outcome<()> {
    let count = if options.records < 100_000 { 50 } else { 600 };
    println!(
        "\nFrom appending to visible at the sink, Log -> Log, fsynced, p50 / p99 of {count} records, one every 7 ms:"
    );
    let folder = options.folder.join("latency-one");
    let (source, sink) = (open(&store(&folder)?, "source").await?, open(&store(&folder)?, "sink").await?);
    let edge = start(SourceAt::Open(source.clone()), &sink)?;
    let (durable, late) = tokio::join!(append_paced(&source, count), arrivals(&sink, count));
    show("in one process", &mut durable?, &mut late?);
    edge.stop().await;
    source.close().await?;
    sink.close().await?;

    let folder = options.folder.join("latency-two");
    let mut child = spawn("source", &folder, count)?;
    told(&mut child)?;
    let store = store(&folder)?;
    let sink = open(&store, "sink").await?;
    let edge = start(SourceAt::Path(store.clone(), "source".to_owned()), &sink)?;
    edge.wait_for(Position(1)).await?;
    writeln!(child.stdin.as_mut().ok_or("no input")?, "go")?;
    let mut late = arrivals(&sink, count).await?;
    let line = told(&mut child)?;
    let mut durable = line.split(' ').map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    show("in two processes", &mut durable, &mut late);
    edge.stop().await;
    child.wait()?;
    sink.close().await?;
    Ok(())
}

/// Part `recovery`.
pub(crate) async fn recovery(options: &Options) -> Outcome<()> {
    println!(
        "\nFrom the death of the sink's process (kill -9, started again at once) until it has caught up, Log -> Log, 256 bytes:"
    );
    let folder = options.folder.join("recovery");
    let store = store(&folder)?;
    let source = open(&store, "source").await?;
    let log = source.get::<Log>("log")?;
    let payloads = Payloads::new();
    let mut child = spawn("sink", &folder, 0)?;
    let mut number = 0;
    for backlog in [0, options.records / 50, options.records / 5, options.records] {
        child.kill()?;
        child.wait()?;
        for _ in 0..backlog.div_ceil(1000) {
            let mut tx = source.begin();
            for _ in 0..1000 {
                tx.on(&log).append(format!("s-{}", number % 100), payloads.get(number));
                number += 1;
            }
            tx.commit_with(Ack::Written).await?;
        }
        let mut tx = source.begin();
        tx.on(&log).append("s", "the last");
        let end = tx.commit().await?.position();
        let begun = Instant::now();
        child = spawn("sink", &folder, usize::try_from(end.0)?)?;
        told(&mut child)?;
        let took = begun.elapsed();
        println!(
            "    backlog {backlog:>8} records: {:>8.0} ms, {:>9.0} records/s",
            ms(took),
            super::rate(backlog, took)
        );
    }
    child.kill()?;
    child.wait()?;
    source.close().await?;
    Ok(())
}

/// What a child does.
pub(crate) async fn child(role: &str, folder: PathBuf, count: usize) -> Outcome<()> {
    let store = store(&folder)?;
    if role == "source" {
        let source = open(&store, "source").await?;
        println!("open");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        let durable = append_paced(&source, count).await?;
        let words: Vec<String> = durable.iter().map(f64::to_string).collect();
        println!("{}", words.join(" "));
        source.close().await?;
        return Ok(());
    }
    let sink = open(&store, "sink").await?;
    let edge = start(SourceAt::Path(store, "source".to_owned()), &sink)?;
    edge.wait_for(Position(count as u64).next()).await?;
    println!("caught up");
    // Until it is killed.
    std::future::pending().await
}
