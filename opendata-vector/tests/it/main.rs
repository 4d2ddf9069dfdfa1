//! The vector database through its public face, in slates of its own.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod bed;
mod documents;
mod evaluator;
mod faults;
mod fuzz;
mod index;
mod legs;
mod opening;
mod refusals;
mod search;
mod upkeep;
