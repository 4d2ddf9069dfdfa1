//! What each task runs.
//!
//! All steps of `test` see the whole workspace with one set of features, so that a dependency is compiled twice at most:
//! once checked (lints, documentation) and once built (tests, examples in the documentation). The cloud stores are in that
//! set because the program has them by default. `demo` builds with the same set; `bench` builds single crates for speed, without
//! the cloud stores.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::steps::{OnFailure, Step, Work, run};
use crate::tidy;

/// Where tests that could not run say so: one file each, named like the test, with the reason inside.
const SKIPPED: &str = "skipped-tests";

const NIGHTLY: &[(&str, &str)] =
    &[("OPENDATA_SEEDS", "1000"), ("OPENDATA_DIFFERENTIAL", "20000"), ("PROPTEST_CASES", "4096")];

/// `cargo xtask test`
pub(crate) fn test(root: &Path, args: &[String]) -> Result<ExitCode, String> {
    let (mut nightly, mut on_failure) = (false, OnFailure::Stop);
    for arg in args {
        match arg.as_str() {
            "--nightly" => nightly = true,
            "--keep-going" => on_failure = OnFailure::KeepGoing,
            other => return Err(format!("unknown argument: {other}")),
        }
    }
    forget_skipped(root)?;
    Ok(run(root, "test", test_steps(nightly), on_failure))
}

/// `cargo xtask ci`
pub(crate) fn ci(root: &Path, args: &[String]) -> Result<ExitCode, String> {
    let nightly = match args {
        [] => false,
        [only] if only == "--nightly" => true,
        _ => return Err(format!("unknown arguments: {}", args.join(" "))),
    };
    forget_skipped(root)?;
    let mut steps = test_steps(nightly);
    steps.extend(demo_steps(root, &[]));
    Ok(run(root, "ci", steps, OnFailure::Stop))
}

/// `cargo xtask demo`
pub(crate) fn demo(root: &Path, args: &[String]) -> Result<ExitCode, String> {
    let args: Vec<String> = args.iter().filter(|arg| *arg != "--").cloned().collect();
    Ok(run(root, "demo", demo_steps(root, &args), OnFailure::Stop))
}

/// `cargo xtask bench`
pub(crate) fn bench(root: &Path, args: &[String]) -> Result<ExitCode, String> {
    let Some((name, rest)) = args.split_first() else {
        return Err("which benchmark? log, tsdb, vector or compose".to_owned());
    };
    let known = ["log", "tsdb", "vector", "compose"];
    if !known.contains(&name.as_str()) {
        return Err(format!("no benchmark of that name: {name}"));
    }
    let package = format!("opendata-{name}");
    if !root.join(&package).join("benches").join(format!("{name}.rs")).is_file() {
        return Err(format!("{package} has no benchmark yet"));
    }
    let rest: Vec<String> = rest.iter().filter(|arg| *arg != "--").cloned().collect();
    let build = ["bench", "--package", &package, "--bench", name, "--no-run"];
    let measure = ["bench", "--quiet", "--package", &package, "--bench", name, "--"];
    let mut steps = vec![Step::cargo("build", "compiling for speed; the first time this takes minutes", &build)];
    // What is measured over HTTP is the program, which the benchmark finds beside itself.
    let only = rest.iter().position(|arg| arg == "--only").and_then(|at| rest.get(at + 1));
    if name == "tsdb" && only.is_none_or(|section| section == "http") {
        let program = ["build", "--release", "--package", "opendata", "--no-default-features", "--bin", "opendata"];
        steps.push(Step::cargo("program", "the program too, without the cloud stores", &program));
    }
    steps.push(Step::cargo("measure", "keep the machine quiet meanwhile", &measure).with_args(&rest));
    Ok(run(root, "bench", steps, OnFailure::Stop))
}

/// `cargo xtask promqltest`
pub(crate) fn promqltest(root: &Path, args: &[String]) -> Result<ExitCode, String> {
    let brief = args.iter().any(|arg| arg == "--brief");
    let mut folders = args.iter().filter(|arg| *arg != "--brief");
    let (folder, more) = (folders.next(), folders.next());
    if let Some(more) = more {
        return Err(format!("one folder at a time, not also {more}"));
    }
    let asked = folder.map(PathBuf::from).or_else(|| std::env::var_os("PROMQLTEST_DIR").map(PathBuf::from));
    // The test runs in its package's folder: what was asked for counts from here.
    let here = std::env::current_dir().map_err(|error| error.to_string())?;
    let folder = asked.map_or_else(|| root.join("opendata-tsdb/tests/promql"), |folder| here.join(folder));
    if !folder.is_dir() {
        return Err(format!("no folder: {}", folder.display()));
    }
    let mut test = Command::new("cargo");
    test.args(["test", "--quiet", "--package", "opendata-tsdb", "--test", "promqltest", "--", "--nocapture"]);
    test.args(["--test-threads", "1", "the_cases_of_the_reference_are_counted"]);
    test.current_dir(root).env("PROMQLTEST_DIR", &folder);
    if !brief {
        test.env("PROMQLTEST_FAILURES", "1");
    }
    let status = test.status().map_err(|error| format!("cargo cannot be started: {error}"))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `cargo xtask tidy`
pub(crate) fn tidy(root: &Path, args: &[String]) -> Result<ExitCode, String> {
    let write = match args {
        [] => false,
        [only] if only == "--write" => true,
        _ => return Err(format!("unknown arguments: {}", args.join(" "))),
    };
    let is_tidy = (!write || tidy::write(root)) && tidy::check(root);
    Ok(if is_tidy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn demo_steps(root: &Path, args: &[String]) -> Vec<Step> {
    // As `test` compiles it, so that neither compiles anything for itself that the other has; the figures want `--release`.
    let (flags, args): (Vec<&String>, Vec<&String>) = args.iter().partition(|arg| *arg == "--release");
    let (profile, folder, about) = match flags.first() {
        None => (None, "debug", "the first time some 350 crates, three to six minutes on two cores"),
        Some(_) => (
            Some("--release"),
            "release",
            "for speed; the first time some 350 crates, ten to fifteen minutes on two cores",
        ),
    };
    let build = |targets: &[&'static str]| [&["build", "--workspace"], targets, profile.as_slice()].concat();
    // Started directly and not through cargo, which would look at everything once more.
    let example = |name: &str| target(root).join(folder).join("examples").join(name).display().to_string();
    let billing =
        Work::Run { program: example("billing"), args: args.iter().copied().cloned().collect(), env: Vec::new() };
    let mut steps = vec![
        Step::cargo("build", about, &build(&["--example", "billing"])),
        Step { name: "demo", about: "billing carriers by distance flown, from real flights".to_owned(), work: billing },
    ];
    // A folder that is to be kept, or a question about the first part, is for that part alone.
    if args.is_empty() {
        let pipelines = Work::Run { program: example("pipelines"), args: Vec::new(), env: Vec::new() };
        let targets = build(&["--bin", "opendata", "--example", "pipelines"]);
        steps.push(Step::cargo("program", "the program itself; the first time two or three minutes more", &targets));
        let about =
            "telemetry and embeddings over three processes that are killed, counted again in the end".to_owned();
        steps.push(Step { name: "pipelines", about, work: pipelines });
    }
    steps
}

fn test_steps(nightly: bool) -> Vec<Step> {
    let mut tests = if has_nextest() {
        Step::cargo("tests", "cargo-nextest, a process a test", &["nextest", "run", "--workspace"])
    } else {
        // Doc tests have had a step of their own.
        let args = ["test", "--workspace", "--lib", "--bins", "--examples", "--tests"];
        Step::cargo("tests", "cargo test (install cargo-nextest for a quicker run)", &args)
    };
    if nightly {
        for (name, value) in NIGHTLY {
            // A number given by hand stands.
            if std::env::var_os(name).is_none() {
                tests = tests.with_env(name, *value);
            }
        }
    }
    let lints = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    // With examples among the targets the features are those of the lints, and no dependency is checked a second time.
    let docs = ["doc", "--workspace", "--no-deps", "--lib", "--bins", "--examples"];
    vec![
        Step::cargo("format", "is everything as rustfmt writes it", &["fmt", "--all", "--check"]),
        Step { name: "tidy", about: "habits a program can check".to_owned(), work: Work::Check(tidy::check) },
        Step::cargo("lints", "clippy on every target; the first time it checks all dependencies", &lints),
        Step::cargo("docs", "does the documentation build", &docs).with_env("RUSTDOCFLAGS", "-D warnings"),
        Step::cargo("doc tests", "builds the workspace, then runs the examples", &["test", "--workspace", "--doc"]),
        tests,
        Step { name: "skipped", about: "tests that could not run here".to_owned(), work: Work::Check(show_skipped) },
    ]
}

/// Where cargo puts what it builds.
fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder))
}

fn has_nextest() -> bool {
    let version =
        Command::new("cargo").args(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// What earlier runs skipped is of no interest to this one.
fn forget_skipped(root: &Path) -> Result<(), String> {
    let folder = target(root).join(SKIPPED);
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// A skipped test is no failure, but nobody shall take it for a passed one.
fn show_skipped(root: &Path) -> bool {
    let mut skipped: Vec<(String, String)> = std::fs::read_dir(target(root).join(SKIPPED))
        .map(|entries| {
            entries
                .flatten()
                .map(|entry| {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    (name, std::fs::read_to_string(entry.path()).unwrap_or_default())
                })
                .collect()
        })
        .unwrap_or_default();
    skipped.sort();
    println!("      {} skipped", skipped.len());
    for (name, why) in &skipped {
        println!("      SKIPPED {name}: {}", why.trim());
    }
    true
}
