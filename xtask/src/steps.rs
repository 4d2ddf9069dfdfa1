//! Runs the steps of a task one after the other, says what happens and how long each took, and sums up.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

/// One step: a command, or a check of our own.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    /// What happens while it runs, for a person who waits.
    pub(crate) about: String,
    pub(crate) work: Work,
}

/// What a step does.
pub(crate) enum Work {
    /// A program with its arguments and environment.
    Run { program: String, args: Vec<String>, env: Vec<(&'static str, String)> },
    /// A function that prints what it finds, and returns whether all is well.
    Check(fn(&Path) -> bool),
}

impl Step {
    /// A step that runs cargo.
    pub(crate) fn cargo(name: &'static str, about: impl Into<String>, args: &[&str]) -> Self {
        let args = args.iter().map(ToString::to_string).collect();
        Self { name, about: about.into(), work: Work::Run { program: "cargo".to_owned(), args, env: Vec::new() } }
    }

    /// The same step with a variable in its environment.
    pub(crate) fn with_env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Work::Run { env, .. } = &mut self.work {
            env.push((name, value.into()));
        }
        self
    }

    /// The same step with more arguments.
    pub(crate) fn with_args(mut self, more: &[String]) -> Self {
        if let Work::Run { args, .. } = &mut self.work {
            args.extend_from_slice(more);
        }
        self
    }
}

/// What to do after a step has failed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFailure {
    Stop,
    KeepGoing,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed(u8),
    NotRun,
}

struct Done {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
}

/// Runs the steps and returns the code of the first that failed, or success.
pub(crate) fn run(root: &Path, task: &str, steps: Vec<Step>, on_failure: OnFailure) -> ExitCode {
    let count = steps.len();
    let mut done: Vec<Done> = Vec::with_capacity(count);
    let mut stopped = false;
    for (at, step) in steps.into_iter().enumerate() {
        if stopped {
            done.push(Done { name: step.name, outcome: Outcome::NotRun, took: Duration::ZERO });
            continue;
        }
        println!("\n[{}/{count}] {}: {}", at + 1, step.name, step.about);
        let begun = Instant::now();
        let outcome = perform(root, &step);
        let took = begun.elapsed();
        println!("[{}/{count}] {}: {} in {}", at + 1, step.name, word(outcome), seconds(took));
        stopped = on_failure == OnFailure::Stop && outcome != Outcome::Passed;
        done.push(Done { name: step.name, outcome, took });
    }
    print!("{}", summary(task, &done));
    first_failure(&done).map_or(ExitCode::SUCCESS, ExitCode::from)
}

fn perform(root: &Path, step: &Step) -> Outcome {
    match &step.work {
        Work::Check(check) => {
            if check(root) {
                Outcome::Passed
            } else {
                Outcome::Failed(1)
            }
        }
        Work::Run { program, args, env } => {
            let shown: String = env.iter().map(|(name, value)| format!("{name}={value:?} ")).collect();
            println!("      {shown}{program} {}", args.join(" "));
            let status =
                Command::new(program).args(args).envs(env.iter().map(|(n, v)| (n, v))).current_dir(root).status();
            match status {
                Ok(status) if status.success() => Outcome::Passed,
                Ok(status) => Outcome::Failed(code(status)),
                Err(error) => {
                    eprintln!("      cannot start {program}: {error}");
                    Outcome::Failed(127)
                }
            }
        }
    }
}

/// The exit code as the shell would see it; 1 where a signal ended the program.
fn code(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(1)
}

fn first_failure(done: &[Done]) -> Option<u8> {
    done.iter().find_map(|step| match step.outcome {
        Outcome::Failed(code) => Some(code),
        Outcome::Passed | Outcome::NotRun => None,
    })
}

fn word(outcome: Outcome) -> String {
    match outcome {
        Outcome::Passed => "passed".to_owned(),
        Outcome::Failed(code) => format!("FAILED with code {code}"),
        Outcome::NotRun => "not run".to_owned(),
    }
}

fn seconds(took: Duration) -> String {
    match took.as_secs() {
        0..60 => format!("{:.1} s", took.as_secs_f64()),
        all => format!("{} min {:02} s", all / 60, all % 60),
    }
}

fn summary(task: &str, done: &[Done]) -> String {
    let mut text = format!("\ncargo xtask {task}\n");
    for step in done {
        let _ = writeln!(text, "  {:<12} {:>14}  {}", step.name, seconds(step.took), word(step.outcome));
    }
    let total = seconds(done.iter().map(|step| step.took).sum());
    let passed = done.iter().filter(|step| step.outcome == Outcome::Passed).count();
    let _ = match first_failure(done) {
        None => writeln!(text, "all {passed} steps passed in {total}"),
        Some(code) => writeln!(text, "FAILED: {passed} of {} steps passed in {total}, exit code {code}", done.len()),
    };
    text
}

#[cfg(test)]
mod tests;
