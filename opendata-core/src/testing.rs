//! What tests of every crate need: a store that fails on demand, and a small system to fill a slate with.

mod fault_store;
mod ledger;

pub use fault_store::{Fault, FaultStore, Method, StoreCounts};
pub use ledger::{Ledger, LedgerConfig, LedgerOp, LedgerReader};
