//! Integration tests, one module a capability.

mod composite;
mod faults;
mod s3;
mod simulation;
