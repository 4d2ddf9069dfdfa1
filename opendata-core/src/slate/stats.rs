//! What a slate did since it was opened, as counters a user can see.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
        }

        /// Counters of a slate since it was opened in this process.
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
    /// Transactions committed.
    commits,
    /// Transactions refused by a system: invalid, or a condition that did not hold.
    refused,
    /// Batches written; each holds one or more transactions.
    groups,
    /// Rows written.
    rows,
    /// Bytes of keys and values written.
    bytes,
    /// Flushes of the write-ahead log.
    flushes,
    /// Maintenance operations committed.
    maintenance,
    /// Maintenance operations that found things changed and were planned anew.
    maintenance_conflicts,
    /// Maintenance rounds that failed.
    maintenance_failures,
    /// Segments whose files were dropped by retention.
    segments_dropped,
    /// Times the files of a segment were to be merged into one run, to give back space.
    segments_condensed,
}
