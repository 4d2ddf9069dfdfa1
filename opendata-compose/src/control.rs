//! The control log: everything that was said about a composition, in one total order.
//!
//! ```text
//! <root>/_control/00000000000000000000.json
//! <root>/_control/00000000000000000001.json   ...
//! ```
//!
//! Each entry is one object, written with put-if-absent, so that two processes never write the same number. Processes that own
//! different nodes of a composition meet only here. What was said adds up to a [`State`], by rules that are the same everywhere:
//! whoever appends reads to the end first, checks his entry against the state, and tries the next number; if another was
//! faster he reads that and checks again. So the log holds only entries that are valid where they stand.
//!
//! Invariants: entries are never changed and never deleted; numbers have no gaps; the state is a function of the entries.

mod entry;
mod log;
mod promotion;
mod reshape;
mod rules;
mod state;

pub use entry::{CutEdge, CutMember, CutMode, Entry, ForkPolicy, PromotePolicy, ResetTo, Said};
pub use log::ControlLog;
pub use state::{
    Base, Branch, BranchPhase, Cut, CutPhase, EdgeState, MAIN, Promotion, Reshaping, Shape, ShapePhase, State,
};

#[cfg(test)]
mod model;
