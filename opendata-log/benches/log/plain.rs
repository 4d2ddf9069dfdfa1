//! The baseline: plain SlateDB, one put a record in the same batches, durable at the end.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use opendata_core::key::KeyRange;
use opendata_core::store::LocalDurability;
use slatedb::config::{ScanOptions, Settings, WriteOptions};
use slatedb::{Db, WriteBatch};

use super::{BATCH, store, stream_name};

pub(crate) async fn open(dir: &Path, durability: LocalDurability) -> Db {
    let store = store(dir, durability);
    let settings = Settings {
        flush_interval: Some(Duration::from_millis(100)),
        l0_sst_size_bytes: 64 * 1024 * 1024,
        l0_max_ssts: 256,
        max_unflushed_bytes: 512 * 1024 * 1024,
        garbage_collector_options: None,
        ..Settings::default()
    };
    let path = store.slate_path("plain").unwrap();
    Db::builder(path, Arc::clone(store.object_store())).with_settings(settings).build().await.unwrap()
}

pub(crate) async fn write(db: &Db, payloads: &[Bytes], streams: usize) -> Duration {
    let names: Vec<_> = (0..streams).map(stream_name).collect();
    let begun = Instant::now();
    let mut position = 0u64;
    for payloads in payloads.chunks(BATCH) {
        let mut batch = WriteBatch::new();
        for payload in payloads {
            let name = &names[usize::try_from(position).unwrap() % streams];
            let mut key = Vec::with_capacity(name.len() + 8);
            key.extend_from_slice(name.as_bytes());
            key.extend_from_slice(&position.to_be_bytes());
            batch.put_bytes(key.into(), payload.clone());
            position += 1;
        }
        db.write_with_options(batch, &WriteOptions::default()).await.unwrap();
    }
    db.flush().await.unwrap();
    begun.elapsed()
}

pub(crate) async fn append(dir: &Path, durability: LocalDurability, payloads: &[Bytes], streams: usize) -> Duration {
    let db = open(dir, durability).await;
    let took = write(&db, payloads, streams).await;
    db.close().await.unwrap();
    took
}

/// Reads everything in key order, with the same read-ahead as the log.
pub(crate) async fn scan(dir: &Path, durability: LocalDurability) -> (usize, Duration) {
    let db = open(dir, durability).await;
    let options = ScanOptions { read_ahead_bytes: 2 * 1024 * 1024, max_fetch_tasks: 4, ..ScanOptions::default() };
    let begun = Instant::now();
    let all = KeyRange { start: Bound::Unbounded, end: Bound::Unbounded };
    let mut rows = db.scan_with_options(all, &options).await.unwrap();
    let mut count = 0;
    while rows.next().await.unwrap().is_some() {
        count += 1;
    }
    let took = begun.elapsed();
    db.close().await.unwrap();
    (count, took)
}
