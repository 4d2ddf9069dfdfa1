//! The query language PromQL, as version 3 of its reference implementation speaks it.
//!
//! An [`Engine`] answers a query over any [`Storage`]: it parses the text into a typed tree, reads every selector's series
//! once, and evaluates series by series over dense columns of steps. An instant query is a range query of one step.
//!
//! Windows are open on the left: a range of 5 minutes at 12:00 holds samples after 11:55 up to 12:00, both for range
//! selectors and for the lookback of instant ones.

mod ast;
mod calendar;
mod column;
mod duration;
mod engine;
mod eval;
mod function;
mod kernel;
mod lex;
mod number;
mod parse;
mod plan;
#[cfg(test)]
mod queries;
mod storage;
mod value;

pub use engine::{Engine, EngineConfig};
pub use storage::{Series, Storage};
pub use value::{Annotations, Answer, Sample, Value};

/// The bits of the NaN that marks a series as ended (the value the reference writes).
pub const STALE_NAN: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Whether a value is the stale marker. Only the bits tell: a stale marker is a NaN among many.
#[must_use]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN.to_bits()
}
