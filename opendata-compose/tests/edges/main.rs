//! Edges: each promise, with nothing in the middle but object stores.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on panics, also in what its steps share"
)]

mod bed;
mod carry;
mod changes;
mod embedders;
mod faults;
mod graphs;
mod idle;
mod letters;
mod outside;
mod places;
mod verify;
mod windows;
