//! The tasks by name, and the help that teaches them.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::tasks;

/// The exit code of a task that was called wrongly. Nothing was run.
pub(crate) const USAGE: u8 = 2;

/// A task: its name, what it is for, how it is called, and what runs it.
pub(crate) struct Task {
    pub(crate) name: &'static str,
    about: &'static str,
    usage: &'static str,
    details: &'static str,
    pub(crate) run: fn(&Path, &[String]) -> Result<ExitCode, String>,
}

/// All tasks, in the order a newcomer meets them.
pub(crate) const TASKS: &[Task] = &[
    Task {
        name: "demo",
        about: "run the main job on real data, on local files",
        usage: "cargo xtask demo [--dir DIR] [--release]",
        details: "\
Builds the example `billing` (the first time that is nearly all of the run: some 350 crates) and runs it on the flights and the
weather in examples/data. It needs no network, no server and no setting. `test` compiles the same crates the same way, and finds them
compiled. With --release all is compiled for speed, which takes thrice as long and makes the times it prints a half to a quarter.

Then it builds the program and runs its example `pipelines`: the same flights through three slates, each with a process of its own that is
killed at random moments; everything is counted again, a cut is restored elsewhere, a fork is promoted. With --dir that part is left out.

It exits with 0 if every answer agreed, and with 1 if anything disagreed.

  cargo xtask demo                     in a temporary folder, removed at the end
  cargo xtask demo --release           compiled for speed
  cargo xtask demo --dir billing-data  in a folder of yours, kept: look into it with `opendata inspect`
",
        run: tasks::demo,
    },
    Task {
        name: "test",
        about: "everything a change must pass",
        usage: "cargo xtask test [--nightly] [--keep-going]",
        details: "\
Runs, in this order: format, tidy, lints, documentation, examples in the documentation, tests. It stops at the first that
fails and exits with its code. Tests run with cargo-nextest where that is installed, and with cargo test where not.

  --nightly     more of everything that is random: 1,000 seeds of simulation, 4,096 cases a property
  --keep-going  run the remaining steps after a failure; the exit code is still the first failure's

  OPENDATA_SEEDS=50 cargo xtask test   as many seeds as you like
  OPENDATA_SEED=7 cargo xtask test     one seed again, as a failure printed it
  OPENDATA_S3=off cargo xtask test     without the S3 server (it is installed from PyPI once, below target/)
",
        run: tasks::test,
    },
    Task {
        name: "bench",
        about: "measure, beside a baseline in the same run",
        usage: "cargo xtask bench <log|tsdb|vector|compose> [-- ARGS]",
        details: "\
Builds one benchmark for speed and runs it. Each prints ratios to a baseline measured in the same run; read those, not the
absolute figures. What stands behind `--` goes to the benchmark.

  cargo xtask bench log -- --quick     small sizes: does it work at all
  cargo xtask bench log                the sizes of the tables in README.md
  cargo xtask bench compose            commits over two systems, edges, latency, cuts under load, recovery
",
        run: tasks::bench,
    },
    Task {
        name: "promqltest",
        about: "run scripts in the reference's format against the PromQL engine",
        usage: "cargo xtask promqltest [DIR] [--brief]",
        details: "\
Runs every `.test` file of a folder and prints how many of its queries pass, and those that do not with the reason. Without DIR
it takes the folder in PROMQLTEST_DIR, or else the project's own cases, which `test` runs too. It exits with 0 however many fail.

  --brief  only the counts
",
        run: tasks::promqltest,
    },
    Task {
        name: "tidy",
        about: "the habits of the code that a program can check",
        usage: "cargo xtask tidy [--write]",
        details: "\
Checks file sizes, the heads and names of files, the direction of dependencies, that the documents name tasks, versions and
record tags that exist, and that nothing of one machine stands in them. Takes no time; `test` runs it as well.

  --write  first copies the byte layouts from the heads of the files into docs/format.md
",
        run: tasks::tidy,
    },
    Task {
        name: "ci",
        about: "test, then demo: what a release must pass",
        usage: "cargo xtask ci [--nightly]",
        details: "\
Runs the steps of `test` and then the demo. A machine that has only minutes for each change runs `test` alone.
",
        run: tasks::ci,
    },
];

/// The task of that name.
pub(crate) fn find(name: &str) -> Option<&'static Task> {
    TASKS.iter().find(|task| task.name == name)
}

/// All tasks in a table.
pub(crate) fn overview() -> String {
    let mut text = String::from("The tasks of this project.\n\n");
    for task in TASKS {
        let _ = writeln!(text, "  cargo xtask {:<8}{}", task.name, task.about);
    }
    text.push_str("\nMore about one of them: cargo xtask <task> --help\n");
    text
}

/// One task in full.
pub(crate) fn of(task: &Task) -> String {
    format!("{}: {}\n\nUsage: {}\n\n{}", task.name, task.about, task.usage, task.details)
}

/// Prints the help that was asked for.
pub(crate) fn show(name: Option<&str>) -> ExitCode {
    match name.map(find) {
        None => print!("{}", overview()),
        Some(Some(task)) => print!("{}", of(task)),
        Some(None) => {
            eprintln!("no task of that name\n");
            eprint!("{}", overview());
            return ExitCode::from(USAGE);
        }
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests;
