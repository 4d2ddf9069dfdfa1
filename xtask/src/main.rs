//! The project's tasks, run as `cargo xtask <task>`: no dependency outside the standard library, so that it compiles in seconds.
//!
//! - [`help`]: the tasks by name and what they say of themselves.
//! - [`tasks`]: what each task runs, as a list of steps.
//! - [`steps`]: runs steps one after the other, times them and sums up.
//! - [`tidy`]: the habits of the code that a program can check.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a task speaks to the person who started it")]

mod help;
mod steps;
mod tasks;
mod tidy;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let Some((task, rest)) = args.split_first() else {
        print!("{}", help::overview());
        return ExitCode::from(help::USAGE);
    };
    if matches!(task.as_str(), "help" | "--help" | "-h") {
        return help::show(rest.first().map(String::as_str));
    }
    let Some(known) = help::find(task) else {
        eprintln!("no task of that name: {task}\n");
        eprint!("{}", help::overview());
        return ExitCode::from(help::USAGE);
    };
    // What stands behind `--` belongs to the program that the task runs, also its own `--help`.
    let own = rest.split(|arg| arg == "--").next().unwrap_or_default();
    if own.iter().any(|arg| arg == "--help" || arg == "-h") {
        return help::show(Some(task));
    }
    match (known.run)(&root(), rest) {
        Ok(code) => code,
        Err(wrong) => {
            eprintln!("{wrong}\n");
            eprint!("{}", help::of(known));
            ExitCode::from(help::USAGE)
        }
    }
}

/// The workspace's folder: the parent of this crate's.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
