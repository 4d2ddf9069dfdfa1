//! Counters of a log since its writer was opened: everything that is skipped, dropped or overridden shows here.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
        }

        /// Counters of a log since its writer was opened in this process.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            pub(crate) fn read(&self) -> Stats {
                Stats { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }

        impl Stats {
            /// The counters by name, in a fixed order.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Records appended, control records not counted.
    records,
    /// Control records appended.
    control_records,
    /// Bytes of payloads and headers appended.
    record_bytes,
    /// Chunks written.
    chunks,
    /// Bytes of chunks written, with their keys.
    chunk_bytes,
    /// Transactions of producers that had been committed before and were not written again.
    duplicates,
    /// Segments closed.
    rolls,
    /// Segments dropped by retention or trim.
    segments_dropped,
    /// Records in dropped segments.
    records_dropped,
    /// Chunks of trimmed streams that were removed from live segments.
    chunks_pruned,
    /// Times that retention went over a cursor which held it beyond the limit.
    holds_overridden,
    /// Producers forgotten because they were idle.
    producers_forgotten,
    /// Times a follower was too slow for the ring of recent chunks and went to read from the slate.
    followers_behind,
    /// Chunks that left the ring of recent chunks.
    ring_evictions,
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
