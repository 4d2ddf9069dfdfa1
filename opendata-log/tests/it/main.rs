//! The log through its public face, in slates of its own.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod append;
mod bed;
mod cursors;
mod faults;
mod follow;
mod model;
mod retention;
mod scan;
mod streams;
