//! The main job: airlines are billed by the miles they fly.
//!
//! Each real flight of `examples/data` is one transaction over two systems in one slate: an event in the log, in its carrier's
//! stream, and the carrier's counters in the metrics store. Because both are one commit, the bill can be made from either side,
//! at any instant, and both bills must agree: while writing, after the writer was killed, in the past, and in a fork.
//!
//! - `data`: what happened, from two CSV files.
//! - `book`: writes one event, resumes where the last one stands.
//! - `bill`: answers the same question from the log and from the metrics.
//! - `crash`: a process that writes until it is killed, and what must be true afterwards.
//! - `story`: the run, step by step.
//! - `show`: what a person sees.
//!
//! The exit code is 0 if all agreed, 1 if anything disagreed, 2 if it was called wrongly.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example speaks to whoever runs it")]

mod bill;
mod book;
mod crash;
mod data;
mod show;
mod story;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

/// Everything that ends the run: an error of the database, or two answers that differ.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "\
Bills airlines by the miles they flew, from the flights in examples/data, and checks every answer twice.

Usage: billing [--dir DIR]

  --dir DIR   an empty or new folder, kept at the end; without it a temporary one is used and removed
";

enum Task {
    Run(Option<PathBuf>),
    /// What the run starts and kills: see `crash`.
    Write(PathBuf, usize),
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let task = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => Task::Run(None),
        ["--dir", folder] => Task::Run(Some(PathBuf::from(folder))),
        ["--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        [crash::ARGUMENT, folder, until] if until.parse::<usize>().is_ok() => {
            Task::Write(PathBuf::from(folder), until.parse().unwrap_or_default())
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let outcome = tokio::runtime::Runtime::new().map_err(Into::into).and_then(|runtime| {
        runtime.block_on(async {
            match task {
                Task::Run(folder) => story::run(folder).await,
                Task::Write(folder, until) => crash::write_until_killed(&folder, until).await,
            }
        })
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            show::failure(&*error);
            ExitCode::FAILURE
        }
    }
}
