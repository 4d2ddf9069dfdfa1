//! The query language.

mod storage;

pub use storage::{Series, Storage};

/// The bits of the NaN that marks a series as ended (the value the reference writes).
pub const STALE_NAN: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Whether a value is the stale marker. Only the bits tell: a stale marker is a NaN among many.
#[must_use]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN.to_bits()
}
