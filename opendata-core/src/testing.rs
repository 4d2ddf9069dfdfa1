//! What tests of every crate need: a store that fails on demand, and a small system to fill a slate with.

mod clock_store;
mod fault_store;
mod ledger;

pub use clock_store::ClockStore;
pub use fault_store::{Fault, FaultStore, Method, StoreCounts};
pub use ledger::{Ledger, LedgerConfig, LedgerOp, LedgerReader};
