//! Edges: each promise, with nothing in the middle but object stores.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on panics, also in what its steps share")]

mod bed;
mod carry;
mod faults;
mod graphs;
mod letters;
mod places;
mod windows;
