//! Integration tests, one module a capability.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on panics, also in what its steps share"
)]

mod composite;
mod faults;
mod retention;
mod s3;
mod simulation;
