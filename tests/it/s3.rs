//! The slate on a real S3 server, over HTTP: conditional puts, commits, fencing, checkpoints, clones.
//!
//! The server is `ministack`, an emulator whose conditional puts are atomic; [`server`] installs, starts and ends it.
//! Where it cannot be installed each test says that it is skipped, and why; `cargo xtask test` counts them at its end.

mod composite;
mod race;
mod races;
mod server;
mod slate;
mod url;
