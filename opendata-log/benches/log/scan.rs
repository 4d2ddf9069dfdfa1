//! Scans from a fresh process, page cache warm: one long stream, many short ones, everything in order.

use std::path::Path;
use std::time::{Duration, Instant};

use opendata_core::slate::{At, SlateReader};
use opendata_core::store::LocalDurability;
use opendata_log::{Log, Reader};

use super::{Plan, append, disk_bytes, open, payloads, plain, rate, store, stream_name};

const SHORT_STREAMS: usize = 1000;
const SHORT_RECORDS: usize = 10;

/// Writes what is to be read, then reads it in processes of their own.
pub(crate) async fn scans(plan: &Plan) {
    let payloads = payloads(plan.records);
    println!("\nscans from a fresh process, page cache warm");
    for (name, streams, records) in [
        ("one", 1, plan.records),
        ("short", SHORT_STREAMS, SHORT_STREAMS * SHORT_RECORDS),
        ("thousand", 1000, plan.records),
        ("scattered", 100_000, plan.records),
    ] {
        let dir = plan.dir.join(format!("scan-{name}"));
        let payloads = &payloads[..records.min(payloads.len())];
        let slate = open(&store(&dir, LocalDurability::OperatingSystem)).await;
        append(&slate, payloads, streams).await;
        slate.flush_files().await.unwrap();
        let before = disk_bytes(&dir) / payloads.len() as u64;
        slate.close().await.unwrap();
        println!("{name}: {} records over {streams} streams, {before} bytes on disk a record", payloads.len());
        let status = std::process::Command::new(std::env::current_exe().unwrap()).arg("--scan").arg(&dir).status();
        assert!(status.unwrap().success(), "the reading process failed");
        if name == "one" || name == "scattered" {
            let plain_dir = plan.dir.join(format!("scan-plain-{name}"));
            plain::append(&plain_dir, LocalDurability::OperatingSystem, payloads, streams).await;
            let (count, took) = plain::scan(&plain_dir, LocalDurability::OperatingSystem).await;
            println!("  plain SlateDB, everything in key order: {:.0} records/s", rate(count, took));
            let _ = std::fs::remove_dir_all(plain_dir);
        }
        let _ = std::fs::remove_dir_all(dir);
    }
}

/// The reading side.
pub(crate) async fn fresh_process(dir: &Path) {
    let store = store(dir, LocalDurability::OperatingSystem);
    let slate = SlateReader::builder(&store, "slate").register::<Log>().open(At::Latest).await.unwrap();
    let reader = || slate.view().get_reader::<Log>("events").unwrap();
    let streams = reader().streams("", None, SHORT_STREAMS + 1).await.unwrap().streams.len();
    match streams {
        1 => {
            let (count, took) = long(&reader()).await;
            println!("  one stream, record by record in batches: {:.0} records/s (goal 3000000)", rate(count, took));
        }
        ..=SHORT_STREAMS => {
            let begun = Instant::now();
            for stream in 0..streams {
                let mut scan = reader().scan(stream_name(stream), ..).await.unwrap();
                while scan.next_batch().await.unwrap().is_some() {}
            }
            let took = begun.elapsed();
            println!("  {streams} streams, one scan each: {:.0} streams/s", rate(streams, took));
            let begun = Instant::now();
            let reader = std::sync::Arc::new(reader());
            let tasks: Vec<_> = (0..2)
                .map(|half| {
                    let reader = std::sync::Arc::clone(&reader);
                    tokio::spawn(async move {
                        for stream in (half..streams).step_by(2) {
                            let mut scan = reader.scan(stream_name(stream), ..).await.unwrap();
                            while scan.next_batch().await.unwrap().is_some() {}
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            println!(
                "  {streams} streams, one reader, two tasks: {:.0} streams/s (goal 20000)",
                rate(streams, begun.elapsed())
            );
        }
        _ => {}
    }
    let begun = Instant::now();
    let mut scan = reader().scan_all(..).await.unwrap();
    let mut count = 0;
    let mut last = opendata_core::Position::ZERO;
    while let Some(records) = scan.next_batch().await.unwrap() {
        count += records.len();
        assert!(records[0].position > last, "in order of position");
        last = records[records.len() - 1].position;
    }
    println!("  everything in order of position: {:.0} records/s (goal 1000000)", rate(count, begun.elapsed()));
}

async fn long(reader: &Reader) -> (usize, Duration) {
    let begun = Instant::now();
    let mut scan = reader.scan(stream_name(0), ..).await.unwrap();
    let (mut count, mut bytes) = (0, 0);
    while let Some(records) = scan.next_batch().await.unwrap() {
        count += records.len();
        bytes += records.iter().map(opendata_log::Record::size_bytes).sum::<usize>();
    }
    assert_eq!(bytes, count * super::RECORD_BYTES);
    (count, begun.elapsed())
}
