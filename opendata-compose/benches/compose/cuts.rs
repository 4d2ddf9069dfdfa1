//! Cuts under load, and what branches cost, over sizes of data.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use opendata_compose::control::PromotePolicy;
use opendata_compose::edge::EdgeSpec;
use opendata_compose::{
    Ack, Composition, CutOptions, ExternalComposite, InstanceSpec, InternalComposite, Log, NodeSpec, Settings, Store,
};

use super::{Options, Outcome, PAYLOAD_BYTES, Payloads, median, ms};

const WRITERS: usize = 8;
const ROUNDS: usize = 5;

/// Nodes, each with logs, and an edge that copies one of them.
async fn open(
    options: &Options,
    folder: &str,
    nodes: &[(&str, &[&str])],
    edge: EdgeSpec,
) -> Outcome<ExternalComposite> {
    let store = Store::from_url(&format!("file:{}", options.folder.join(folder).display()))?;
    let node = |logs: &[&str]| NodeSpec {
        path: None,
        instances: logs.iter().map(|log| ((*log).to_owned(), InstanceSpec::of("log"))).collect(),
    };
    let spec = Composition {
        nodes: nodes.iter().map(|(name, logs)| ((*name).to_owned(), node(logs))).collect(),
        edges: vec![edge],
        cuts: None,
    };
    let settings = Settings { garbage_interval_s: 0, ..Settings::default() };
    Ok(ExternalComposite::builder(&store, "c")
        .settings(settings)
        .poll(Duration::from_millis(50))
        .open_as(&spec)
        .await?)
}

/// Appends about so many bytes to a node's log `l`, and lets the edge follow.
async fn fill(composite: &ExternalComposite, node: &str, bytes: u64, payloads: &Payloads) -> Outcome<()> {
    let node = composite.node(node)?;
    let log = node.get::<Log>("l")?;
    let mut number = 0;
    while ((number * PAYLOAD_BYTES) as u64) < bytes {
        let mut tx = node.begin();
        for _ in 0..8_000 {
            tx.on(&log).append(format!("s-{}", number % 50), payloads.get(number));
            number += 1;
        }
        tx.commit_with(Ack::Written).await?;
    }
    node.slate().flush().await?;
    composite.wait_caught_up(Duration::from_secs(600)).await?;
    Ok(())
}

/// Writers that each wait for durability, until they are told to stop. Returns the longest that one of them waited.
async fn write(node: &InternalComposite, stop: Arc<AtomicBool>) -> Outcome<Duration> {
    let log = node.get::<Log>("l")?;
    let one = |writer: usize| {
        let (log, stop) = (&log, &stop);
        async move {
            let mut longest = Duration::ZERO;
            while !stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let mut tx = node.begin();
                tx.on(log).append(format!("w-{writer}"), vec![7; 100]);
                tx.commit().await?;
                longest = longest.max(begun.elapsed());
            }
            Ok::<_, opendata_compose::Error>(longest)
        }
    };
    Ok(futures::future::try_join_all((0..WRITERS).map(one)).await?.into_iter().max().unwrap_or_default())
}

/// How long something takes while writers write, and how long the longest of their waits was.
async fn beside<T>(node: &InternalComposite, work: impl Future<Output = Outcome<T>>) -> Outcome<(Duration, Duration)> {
    let stop = Arc::new(AtomicBool::new(false));
    let timed = async {
        let begun = Instant::now();
        let done = work.await;
        let took = begun.elapsed();
        stop.store(true, Ordering::Relaxed);
        done.map(|_| took)
    };
    let (took, longest) = tokio::join!(timed, write(node, Arc::clone(&stop)));
    Ok((took?, longest?))
}

/// Part `cuts`.
pub(crate) async fn run(options: &Options) -> Outcome<()> {
    cuts(options).await?;
    reshapes(options).await
}

/// A node with two logs in one slate is split, one log a slate, and joined again: at rest, and while its files are being compacted.
async fn reshapes(options: &Options) -> Outcome<()> {
    let payloads = Payloads::new();
    println!("\nA slate with two logs is split into two, and they are joined again; fsynced, median of {ROUNDS}, ms:");
    println!("    {:>9} {:>9} {:>9} {:>18} {:>9}", "data", "split", "join", "compacting: split", "join");
    for size in [options.largest / 100, options.largest / 10, options.largest] {
        let mut times = Vec::new();
        for state in [Files::Compacted, Files::Compacting] {
            // Each begins anew: what was split and joined before has more ancestors, and that costs something as well.
            let edge = EdgeSpec::new("l-m", ("all", "l"), ("all", "m"));
            let folder = format!("reshapes-{size}-{state:?}");
            let composite = open(options, &folder, &[("all", &["l", "m"])], edge).await?;
            fill(&composite, "all", size, &payloads).await?;
            if state == Files::Compacted {
                composite.node("all")?.slate().compact().await?;
            }
            times.push(reshape(&composite).await?);
            composite.close().await?;
        }
        let row: Vec<_> = times.into_iter().flatten().map(ms).collect();
        let [split, join, split_beside, join_beside] = row.as_slice() else { continue };
        println!("    {:>6} MB {split:>9.1} {join:>9.1} {split_beside:>18.1} {join_beside:>9.1}", size / 1_000_000);
    }
    Ok(())
}

/// What the files of a slate are when it is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Files {
    Compacted,
    /// A compaction that an opening breaks off begins anew with the next, so it goes on over all rounds.
    Compacting,
}

/// How long a split and a join take.
async fn reshape(composite: &ExternalComposite) -> Outcome<[Duration; 2]> {
    let apart = |(node, log): (&str, &str)| (node.to_owned(), BTreeSet::from([log.to_owned()]));
    let parts: BTreeMap<_, _> = [("first", "l"), ("second", "m")].map(apart).into();
    let together = parts.keys().cloned().collect();
    let (mut splits, mut joins) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        composite.split("all", &parts).await?;
        splits.push(begun.elapsed());
        composite.wait_caught_up(Duration::from_secs(60)).await?;
        let begun = Instant::now();
        composite.join(&together, "all").await?;
        joins.push(begun.elapsed());
        composite.wait_caught_up(Duration::from_secs(60)).await?;
    }
    Ok([median(splits), median(joins)])
}

async fn cuts(options: &Options) -> Outcome<()> {
    let edge = EdgeSpec::new("a-b", ("a", "l"), ("b", "l"));
    let composite = open(options, "cuts", &[("a", &["l"]), ("b", &["l"])], edge).await?;
    let payloads = Payloads::new();
    println!("\nCuts of two slates while {WRITERS} writers write, and branches; fsynced, median of {ROUNDS}, ms:");
    println!(
        "    {:>9} {:>14} {:>14} {:>14} {:>14} {:>14} {:>9} {:>9}",
        "data", "longest wait", "instant", "longest wait", "aligned", "longest wait", "fork", "promote"
    );
    let mut held = 0;
    for size in [options.largest / 100, options.largest / 10, options.largest] {
        fill(&composite, "a", size - held, &payloads).await?;
        held = size;
        let mut times = [const { Vec::new() }; 7];
        for round in 0..ROUNDS {
            let node = composite.node("a")?;
            let name = |kind: &str| format!("{kind}-{size}-{round}");
            let nothing = async {
                tokio::time::sleep(Duration::from_millis(150)).await;
                Ok(())
            };
            let (_, idle) = beside(&node, nothing).await?;
            let (instant, aligned) = (name("instant"), name("aligned"));
            let cut = async { Ok(composite.cut(&instant, &CutOptions::default()).await?) };
            let (instant_took, instant_wait) = beside(&node, cut).await?;
            let cut = async { Ok(composite.cut(&aligned, &CutOptions::aligned()).await?) };
            let (aligned_took, aligned_wait) = beside(&node, cut).await?;
            let begun = Instant::now();
            composite.fork(&name("fork"), &aligned).await?;
            let fork = begun.elapsed();
            let begun = Instant::now();
            composite.promote(&name("fork"), PromotePolicy::Discard).await?;
            let promote = begun.elapsed();
            let row = [idle, instant_took, instant_wait, aligned_took, aligned_wait, fork, promote];
            times.iter_mut().zip(row).for_each(|(times, time)| times.push(time));
        }
        let [idle, it, iw, at, aw, fork, promote] = times.map(|times| ms(median(times)));
        println!(
            "    {:>6} MB {idle:>14.1} {it:>14.1} {iw:>14.1} {at:>14.1} {aw:>14.1} {fork:>9.1} {promote:>9.1}",
            size / 1_000_000
        );
    }
    composite.close().await?;
    Ok(())
}
