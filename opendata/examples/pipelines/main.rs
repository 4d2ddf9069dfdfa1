//! The second part of the demonstration: telemetry and embedding pipelines over several processes, which are killed while they work.
//!
//! The flights of `examples/data` go into a log; an edge counts them in a metrics store, another makes a document of each. Each of the three slates has a
//! process of its own, of the real program. While flights are written, processes are killed with SIGKILL at random moments and started again. In the end everything is
//! counted again: no flight may be lost or doubled. A cut that was taken meanwhile is restored elsewhere and must agree with itself, and a fork with another
//! transform takes the place of main.
//!
//! - `data`: the flights, as records.
//! - `program`: runs the program, and processes of it.
//! - `load`: writes flights while processes are killed.
//! - `story`: the run, step by step.
//!
//! The exit code is 0 if everything agreed, 1 if anything did not.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example speaks to whoever runs it")]

mod data;
mod load;
mod program;
mod story;

use std::process::ExitCode;

/// Everything that ends the run: something failed, or two answers differ.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    match story::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nFAILED: {error}");
            ExitCode::FAILURE
        }
    }
}
