//! Settings of a slate: plain data, with defaults that were measured.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use slatedb::config::{
    CompactionWorkerOptions, CompactorOptions, CompressionCodec, GarbageCollectorDirectoryOptions,
    GarbageCollectorOptions, GarbageCollectorScheduleOptions, Settings as Engine,
};

use super::open::Stay;
use crate::error::{Error, Result};
use crate::store::StoreKind;

/// How long the engine tries to update a manifest. Its default is five minutes, for which a broken store could hold up a close.
const MANIFEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How many files may wait for compaction, in a segment and over one key, where somebody adds one and goes: he would wait for a compactor that is not there.
pub(super) const UNBOUNDED_FILES: (usize, usize) = (usize::MAX, usize::MAX);

/// How compacted files are compressed. Each file says it of itself, so files of both kinds live side by side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all: what the systems store in bulk is packed by themselves.
    None,
    /// LZ4: little work for little gain.
    Lz4,
    /// Zstandard: what neighbouring rows have in common stands once. Smaller files, some work for compaction and for
    /// reads that the cache does not answer.
    #[default]
    Zstd,
}

/// How a slate is run. Everything has a default; none of it changes bytes on the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long a write that nobody waits for may stay in memory before it is made durable, in milliseconds.
    pub flush_interval_ms: u64,
    /// Transactions that may wait for the committer. A full queue returns the transaction to its caller.
    pub queue_transactions: usize,
    /// Bytes that may wait for the committer.
    pub queue_bytes: usize,
    /// Bytes of waiting transactions that are written as one batch at most; a larger transaction is a batch of its own.
    pub group_bytes: usize,
    /// The largest transaction, in bytes.
    pub transaction_bytes: usize,
    /// How long `commit` waits for a place in a full queue, in milliseconds.
    pub queue_timeout_ms: u64,
    /// How often background work is looked for, in milliseconds. Zero: only when asked.
    pub maintenance_interval_ms: u64,
    /// Size at which the memtable is written to the store as sorted files, in bytes.
    pub memtable_bytes: usize,
    /// Bytes in memory, not yet written as sorted files, at which writers wait.
    pub unflushed_bytes: usize,
    /// How long a store may refuse sorted files before whoever waits for them is told, in milliseconds. The engine
    /// itself goes on trying; what was acknowledged is in the write-ahead log.
    pub files_timeout_ms: u64,
    /// How often a failed request to the store is tried again, on top of the store client's own limit.
    pub store_retries: u32,
    /// How often the store is looked at for compaction work and for another writer, in milliseconds.
    pub poll_interval_ms: u64,
    /// How old a file must be before garbage collection removes it, in seconds. Longer than the longest read of
    /// another process that follows the slate without a checkpoint.
    pub garbage_age_s: u64,
    /// How often garbage is collected, in seconds. Zero: never.
    pub garbage_interval_s: u64,
    /// How long no file may have come to a segment before its files are merged into one sorted run, in seconds. Segments
    /// that mostly hold deleted rows do not wait. Zero: neither is done; compaction merges files of like sizes only.
    pub condense_after_s: u64,
    /// Whether this process compacts. Exactly one process should.
    pub compaction: bool,
    /// How this process compresses what it compacts. What is written first is never compressed.
    pub compression: Compression,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            flush_interval_ms: 100,
            queue_transactions: 4096,
            queue_bytes: 64 * 1024 * 1024,
            group_bytes: 4 * 1024 * 1024,
            transaction_bytes: 32 * 1024 * 1024,
            queue_timeout_ms: 10_000,
            maintenance_interval_ms: 1_000,
            memtable_bytes: 64 * 1024 * 1024,
            unflushed_bytes: 512 * 1024 * 1024,
            files_timeout_ms: 60_000,
            store_retries: 5,
            poll_interval_ms: 200,
            garbage_age_s: 300,
            garbage_interval_s: 60,
            condense_after_s: 600,
            compaction: true,
            compression: Compression::Zstd,
        }
    }
}

impl Settings {
    pub(crate) fn validate(&self) -> Result<()> {
        let wrong = |setting: &str, rule: &str| Err(Error::invalid(format!("{setting} must be {rule}")));
        if self.queue_transactions == 0 || self.group_bytes == 0 || self.flush_interval_ms == 0 {
            return wrong("queue_transactions, group_bytes and flush_interval_ms", "at least 1");
        }
        if self.transaction_bytes > self.queue_bytes {
            return wrong("transaction_bytes", "at most queue_bytes");
        }
        if self.unflushed_bytes <= self.memtable_bytes {
            return wrong("unflushed_bytes", "larger than memtable_bytes");
        }
        if self.poll_interval_ms == 0 {
            return wrong("poll_interval_ms", "at least 1");
        }
        Ok(())
    }

    pub(crate) fn files_timeout(&self) -> Duration {
        Duration::from_millis(self.files_timeout_ms)
    }

    pub(crate) fn flush_interval(&self) -> Duration {
        Duration::from_millis(self.flush_interval_ms)
    }

    /// The same, with nothing to do in the background.
    pub(crate) fn idle(self) -> Self {
        Self { compaction: false, maintenance_interval_ms: 0, garbage_interval_s: 0, ..self }
    }

    /// The engine's settings. The committer decides when the write-ahead log is flushed, so the engine's own timer is off.
    pub(crate) fn engine(&self, kind: StoreKind, stay: Stay) -> Engine {
        let (files, files_per_key) = match stay {
            Stay::Long => (256, 64),
            Stay::Brief => UNBOUNDED_FILES,
        };
        Engine {
            flush_interval: None,
            manifest_poll_interval: Duration::from_millis(self.poll_interval_ms),
            manifest_update_timeout: MANIFEST_TIMEOUT,
            l0_sst_size_bytes: self.memtable_bytes,
            l0_max_ssts: files,
            l0_max_ssts_per_key: files_per_key,
            max_unflushed_bytes: self.unflushed_bytes,
            compactor_options: None,
            garbage_collector_options: self.garbage(kind),
            object_store_max_retries: Some(self.store_retries),
            ..Engine::default()
        }
    }

    pub(crate) fn compactor(&self) -> CompactorOptions {
        let poll = Duration::from_millis(self.poll_interval_ms);
        CompactorOptions {
            poll_interval: poll,
            manifest_update_timeout: MANIFEST_TIMEOUT,
            commit_compacted_interval: poll,
            object_store_max_retries: Some(self.store_retries),
            // One that compresses is run beside the engine (see `worker`).
            worker: (self.compression == Compression::None).then(|| self.worker()),
            checkpoint_lifetime: Duration::from_secs(self.garbage_age_s.max(1)),
            ..CompactorOptions::default()
        }
    }

    pub(crate) fn worker(&self) -> CompactionWorkerOptions {
        CompactionWorkerOptions {
            compactions_poll_interval: Duration::from_millis(self.poll_interval_ms),
            object_store_max_retries: Some(self.store_retries),
            compression_codec: match self.compression {
                Compression::None => None,
                Compression::Lz4 => Some(CompressionCodec::Lz4),
                Compression::Zstd => Some(CompressionCodec::Zstd),
            },
            ..CompactionWorkerOptions::default()
        }
    }

    fn garbage(&self, kind: StoreKind) -> Option<GarbageCollectorOptions> {
        if self.garbage_interval_s == 0 {
            return None;
        }
        let interval = Some(Duration::from_secs(self.garbage_interval_s));
        let directory = Some(GarbageCollectorDirectoryOptions {
            interval,
            min_age: Duration::from_secs(self.garbage_age_s),
            ..GarbageCollectorDirectoryOptions::default()
        });
        Some(GarbageCollectorOptions {
            manifest_options: directory,
            wal_options: directory,
            wal_fence_options: None,
            compacted_options: directory,
            compactions_options: directory,
            detach_options: Some(GarbageCollectorScheduleOptions { interval }),
            metric_level: None,
            boundary_files_enabled: kind != StoreKind::Local,
            object_store_max_retries: Some(self.store_retries),
        })
    }
}
