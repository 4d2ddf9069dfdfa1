//! Bytes a sample on disk, index included, after sealing, compaction and garbage collection: real metrics.

use std::time::{Duration, Instant};

use opendata_core::Timestamp;
use opendata_core::slate::Slate;
use opendata_tsdb::{Breakdown, Config, Labels, Reader, Records};

use super::data::{self, Recording, times};
use super::ingest::write;
use super::peers::{self, Peer};
use super::{Figure, Plan, disk_bytes, http, open, open_as, remote, row, store};

pub(crate) async fn bytes_a_sample(plan: &Plan) {
    println!("\nbytes a sample on disk, real metrics at 15 s");
    let recording = plan.peers.as_ref().and_then(|installed| data::record(installed, plan.record_s));
    let Some(recording) = recording else {
        println!("no recording: the node exporter could not be installed");
        return;
    };
    println!("  {}", recording.description());
    let (hosts, steps) = (recording.hosts(), recording.steps(plan.size(1920)));
    let series = recording.expanded(hosts);
    let at = times(steps);
    let samples = samples(&recording, hosts, steps);
    let peers: Vec<_> = peers::start(plan.peers.as_ref(), &plan.dir)
        .into_iter()
        .map(|peer| {
            (peer.name, feed(&peer, &recording, &series, hosts, &at).map(|bytes| bytes as f64 / samples as f64))
        })
        .collect();
    let dir = plan.dir.join("disk");
    let (slate, metrics) = open(&store(&dir)).await;
    write(&slate, &metrics, |step, op| {
        for host in 0..if step < steps { hosts } else { 0 } {
            let time = Timestamp(recording.time_ms(host, step, &at));
            for (labels, value) in series.iter().skip(host * recording.series.len()).zip(recording.values(host, step)) {
                if let Some(value) = value {
                    op.sample(labels.clone(), time, *value);
                }
            }
        }
        step < steps
    })
    .await;
    let begun = Instant::now();
    // Opened again so that everything is sealed, however little waits.
    slate.close().await.unwrap();
    let (slate, metrics) = open_as(&store(&dir), Config { seal_samples: 1, ..Config::default() }).await;
    slate.maintain().await.unwrap();
    print_files("sealed", &slate, samples).await;
    slate.compact().await.unwrap();
    let bytes = settled(&dir, || async {
        // A commit now and then lets the log be collected up to it.
        let mut tx = slate.begin();
        tx.on(&metrics).sample(series[0].clone(), at[steps - 1], 1.0);
        tx.commit().await.unwrap();
        slate.flush_files().await.unwrap();
    })
    .await;
    slate.maintain().await.unwrap();
    print_files("compacted and collected", &slate, samples).await;
    print_breakdown(&slate.view().on(&metrics).unwrap(), samples).await;
    let ours = bytes as f64 / samples as f64;
    row(&format!("{} series x {steps} samples", series.len()), "bytes", &Figure::Cost(ours), Some(1.3), &peers);
    println!("  {samples} samples; settled after {:.0} s", begun.elapsed().as_secs_f64());
    slate.close().await.unwrap();
    let _ = std::fs::remove_dir_all(dir);
}

fn samples(recording: &Recording, hosts: usize, steps: usize) -> usize {
    let of = |host: usize, step: usize| recording.values(host, step).iter().flatten().count();
    (0..hosts).map(|host| (0..steps).map(|step| of(host, step)).sum::<usize>()).sum()
}

/// The size once compaction and garbage collection change nothing any more.
async fn settled<F: Future<Output = ()>>(dir: &std::path::Path, nudge: impl Fn() -> F) -> u64 {
    let (mut smallest, mut unchanged) = (u64::MAX, 0);
    for _ in 0..40 {
        nudge().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let bytes = disk_bytes(dir);
        unchanged = if bytes + bytes / 200 < smallest { 0 } else { unchanged + 1 };
        smallest = smallest.min(bytes);
        if unchanged == 10 {
            break;
        }
    }
    smallest
}

/// Feeds a peer and lets it make itself small: a snapshot of Prometheus is blocks alone, VictoriaMetrics is told to merge.
fn feed(peer: &Peer, recording: &Recording, series: &[Labels], hosts: usize, at: &[Timestamp]) -> Option<u64> {
    const BLOCK: usize = 40;
    let each = recording.series.len();
    for from in (0..at.len()).step_by(BLOCK) {
        let lane = |first: usize| -> Vec<Vec<u8>> {
            let bodies = (first..hosts).step_by(2).map(|host| {
                let rows: Vec<Vec<(i64, f64)>> = (0..each)
                    .map(|n| {
                        let steps = from..(from + BLOCK).min(at.len());
                        let sample = |step: usize| {
                            let value = recording.values(host, step).get(n).copied().flatten()?;
                            Some((recording.time_ms(host, step, at), value))
                        };
                        steps.filter_map(sample).collect()
                    })
                    .collect();
                let labels = series.iter().skip(host * each);
                remote::body(labels.zip(rows.iter().map(Vec::as_slice)).filter(|(_, samples)| !samples.is_empty()))
            });
            bodies.collect()
        };
        peer.send(&[lane(0), lane(1)]);
    }
    if peer.name == "prometheus" {
        let mut client = http::Client::connect(&peer.address).ok()?;
        client.send("POST /api/v1/admin/tsdb/snapshot", "", &[]).ok()?;
        return Some(disk_bytes(&peer.dir.join("snapshots")));
    }
    http::get(&peer.address, "/internal/force_merge").ok()?;
    std::thread::sleep(Duration::from_secs(8));
    Some(disk_bytes(&peer.dir))
}

async fn print_files(when: &str, slate: &Slate, samples: usize) {
    let files = slate.files().await.unwrap();
    let each = |bytes: u64| bytes as f64 / samples as f64;
    println!(
        "  {when}: {:.3} bytes a sample: log {:.3}, sorted files {:.3}, such that wait to be collected {:.3}, other {:.3}",
        each(files.total_bytes()),
        each(files.log.bytes),
        each(files.sorted.bytes),
        each(files.unnamed.bytes),
        each(files.other.bytes)
    );
    for (prefix, segment) in &files.segments {
        let (all, new) = (each(segment.total().bytes), each(segment.new.bytes));
        println!(
            "    segment {:#x}/{}: {all:.3}, of it {new:.3} in new files, {} runs",
            prefix.system.0, prefix.segment.0, segment.run_count
        );
    }
}

async fn print_breakdown(reader: &Reader, samples: usize) {
    let Breakdown { records, parts, .. } = reader.breakdown().await.unwrap();
    let each = |bytes: u64| bytes as f64 / samples as f64;
    for (kind, Records { count, key_bytes, value_bytes }) in records {
        println!(
            "    {kind:<10} {count:>8} rows, keys {:>7.4}, values {:>7.4} bytes a sample",
            each(key_bytes),
            each(value_bytes)
        );
    }
    for (part, amount) in parts {
        println!("    in chunks: {part:<16} {:>8} times {:>7.4}", amount.count, each(amount.bytes));
    }
}
