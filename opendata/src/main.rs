//! The `opendata` program: a command line and a server over a composition file.
//!
//! It is thin: what it does is done by `opendata-compose`, and each command is one file below [`cli`]. Answers go to
//! standard output, everything else to standard error, and exit codes mean something ([`failure::EXIT_CODES`]).

mod api;
mod cli;
mod client;
mod composition;
mod exposition;
mod failure;
mod http;
mod intake;
mod otlp;
mod output;
mod proto;
mod rules;
mod scrape;
mod times;

use std::process::ExitCode;

/// With the system's allocator documents are written about a third slower.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
