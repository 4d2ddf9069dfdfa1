//! Samples a second: through the library, and over HTTP beside the peers.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Instant;

use opendata_core::slate::{Ack, Handle, Slate};
use opendata_tsdb::{Labels, Op, SeriesList, Tsdb};

use super::data::{counter, counters, mixed, times};
use super::peers::{Peer, Process, free_port};
use super::{Figure, Plan, http, open, peers, remote, row, store};

/// Commits whatever `fill` makes until it makes nothing, and waits until all of it is durable.
pub(crate) async fn write(slate: &Slate, metrics: &Handle<Tsdb>, mut fill: impl FnMut(usize, &mut Op) -> bool) {
    let mut waiting = VecDeque::new();
    for step in 0.. {
        let mut tx = slate.begin();
        if !fill(step, tx.on(metrics)) {
            break;
        }
        waiting.push_back(tx.submit(Ack::Written).await.unwrap());
        if waiting.len() > 16 {
            waiting.pop_front().unwrap().wait().await.unwrap();
        }
    }
    for pending in waiting {
        pending.wait().await.unwrap();
    }
    slate.flush().await.unwrap();
}

/// Integers of 20 bits without a pattern: nothing a codec could flatter itself with.
fn noise(series: usize, step: usize) -> f64 {
    (mixed(series as u64, step as u64) >> 44) as f64
}

async fn measured(plan: &Plan, what: &str, goal: f64, samples: usize, fill: impl FnMut(usize, &mut Op) -> bool) {
    let dir = plan.dir.join("ingest");
    let (slate, metrics) = open(&store(&dir)).await;
    let begun = Instant::now();
    write(&slate, &metrics, fill).await;
    let rate = samples as f64 / begun.elapsed().as_secs_f64();
    row(what, "samples/s", &Figure::Rate(rate), Some(goal), &[]);
    slate.close().await.unwrap();
    let _ = std::fs::remove_dir_all(dir);
}

/// The library's ways in.
pub(crate) async fn library(plan: &Plan) {
    let all = counters(10_000);
    let steps = plan.size(1000);
    let at = times(steps.max(1000));
    println!("\ningest through the library, 10,000 series x {steps} samples, durable at the end");
    for (kind, value) in [("counters", counter as fn(usize, usize) -> f64), ("noise", noise)] {
        let what = format!("one sample a series and write, sample(), {kind}");
        measured(plan, &what, 2e6, all.len() * steps, |step, op| {
            for (n, labels) in all.iter().enumerate().take(if step < steps { all.len() } else { 0 }) {
                op.sample(labels.clone(), at[step], value(n, step));
            }
            step < steps
        })
        .await;
    }
    let list = SeriesList::new(all.iter().cloned());
    measured(plan, "one sample a series and write, batch(), counters", 2e6, all.len() * steps, |step, op| {
        if step < steps {
            op.batch(&list, at[step], (0..all.len()).map(|n| counter(n, step)).collect::<Vec<_>>());
        }
        step < steps
    })
    .await;
    let writes = steps / 60;
    for (kind, value) in [("counters", counter as fn(usize, usize) -> f64), ("noise", noise)] {
        let what = format!("60 samples a series and write, samples(), {kind}");
        measured(plan, &what, 6e6, all.len() * writes * 60, |write, op| {
            for (n, labels) in all.iter().enumerate().take(if write < writes { all.len() } else { 0 }) {
                let samples: Vec<_> = (write * 60..write * 60 + 60).map(|step| (at[step], value(n, step))).collect();
                op.samples(labels.clone(), &samples);
            }
            write < writes
        })
        .await;
    }
}

/// Bodies as Prometheus's own queue sends them: 2,000 series, one sample each.
fn lanes(series: &[Labels], times: &[i64]) -> Vec<Vec<Vec<u8>>> {
    const SHARD: usize = 2000;
    let lane = |from: usize| {
        let bodies = times.iter().enumerate().flat_map(move |(step, time)| {
            series.chunks(SHARD).enumerate().skip(from).step_by(2).map(move |(at, part)| {
                let rows: Vec<_> = (0..part.len()).map(|n| [(*time, counter(at * SHARD + n, step))]).collect();
                remote::body(part.iter().zip(rows.iter().map(<[_; 1]>::as_slice)))
            })
        });
        bodies.collect()
    };
    vec![lane(0), lane(1)]
}

/// Remote write over loopback, two connections; the same bodies for everyone.
pub(crate) fn over_http(plan: &Plan) {
    let series = counters(10_000);
    let times: Vec<i64> = times(plan.size(200)).iter().map(|time| time.0).collect();
    let bodies = lanes(&series, &times);
    let samples = series.len() * times.len();
    println!("\ningest by remote write over HTTP, 10,000 series x {} samples, 2,000 samples a request", times.len());
    let rate = |peer: &Peer| {
        let begun = Instant::now();
        peer.send(&bodies);
        samples as f64 / begun.elapsed().as_secs_f64()
    };
    // Nothing is removed before all are measured: a file system that goes round the inodes of files that were deleted in the
    // last minutes, as ext4 does, would slow down whoever comes next.
    let peers = peers::start(plan.peers.as_ref(), &plan.dir);
    let figures: Vec<_> = peers.iter().map(|peer| (peer.name, Some(rate(peer)))).collect();
    drop(peers);
    let goal = figures.iter().find(|(name, _)| *name == "prometheus").and_then(|(_, rate)| rate.map(|r| 1.5 * r));
    // The peers acknowledge what the operating system has; ours waits for the disk unless it is told otherwise.
    for (what, durability) in [("operating system has it", "operating_system"), ("disk has it", "fsync")] {
        match ours(&plan.dir.join(durability), durability) {
            Some(peer) => {
                let what = format!("remote write to the program, answered when the {what}");
                row(&what, "samples/s", &Figure::Rate(rate(&peer)), goal, &figures);
            }
            None => {
                println!("the program has no release build beside this benchmark: its row is left out, {figures:?}")
            }
        }
    }
}

/// The program, if it was built for speed beside this benchmark.
fn ours(dir: &Path, durability: &str) -> Option<Peer> {
    let program = program()?;
    let _ = std::fs::remove_dir_all(dir);
    std::fs::create_dir_all(dir).unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let composition = dir.join("opendata.yaml");
    let data = dir.join("data");
    let text = format!(
        "version: 1\nstore: {{url: \"file:{}\", local_durability: {durability}}}\nnodes:\n  bench:\n    instances:\n      metrics: tsdb\nserver: {{listen: \"{address}\"}}\n",
        data.display()
    );
    std::fs::write(&composition, text).unwrap();
    let args = ["--file", composition.to_str()?, "run"];
    let process = Process::start(&program, &args, &dir.join("log"));
    if !http::wait_until_ready(&address, "/-/ready") {
        let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
        println!("the program did not start: {log}");
        return None;
    }
    Some(Peer { name: "ours", address, prefix: "/v1/tsdb/metrics".to_owned(), dir: data, _process: process })
}

fn program() -> Option<PathBuf> {
    let here = std::env::current_exe().ok()?;
    here.ancestors().map(|folder: &Path| folder.join("opendata")).find(|path| path.is_file())
}
