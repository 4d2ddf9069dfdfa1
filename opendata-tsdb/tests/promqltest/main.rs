//! Runs PromQL test scripts, in the format of the reference implementation, against the engine.
//!
//! Our own scripts stand in `tests/promql` and must all pass. The reference's scripts are not part of this project: set
//! `PROMQLTEST_DIR` to a directory of them to see how many cases pass, and `PROMQLTEST_FAILURES=1` to see which do not.
//! Warnings and hints must have the reference's words. Where it expects a certain error, any error counts, and a remark shows ours.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test program: whatever goes wrong ends the test"
)]

mod classic;
mod histogram;
mod memory;
mod run;
mod script;
mod series;

use std::path::{Path, PathBuf};

use run::{Outcome, run};

fn scripts(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "test"))
        .collect();
    paths.sort();
    paths
}

fn outcomes(path: &Path) -> Vec<Outcome> {
    run(&std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[test]
fn our_cases_pass() {
    let mut failures = Vec::new();
    let mut cases = 0;
    for path in scripts(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/promql"))) {
        for outcome in outcomes(&path) {
            cases += 1;
            if let Some(why) = outcome.failure {
                failures.push(format!("{}:{} {}\n    {why}", name(&path), outcome.line, outcome.query));
            }
        }
    }
    assert!(cases > 0, "no cases found");
    assert!(failures.is_empty(), "{} of {cases} cases fail\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_cases_of_the_reference_are_counted() {
    let Ok(dir) = std::env::var("PROMQLTEST_DIR") else {
        println!("skipped: PROMQLTEST_DIR is not set");
        return;
    };
    let show = std::env::var("PROMQLTEST_FAILURES").is_ok();
    let (mut passed, mut total) = (0, 0);
    for path in scripts(Path::new(&dir)) {
        let outcomes = outcomes(&path);
        let good = outcomes.iter().filter(|outcome| outcome.failure.is_none()).count();
        let remarks = outcomes.iter().filter(|outcome| outcome.remark.is_some()).count();
        let other = if remarks > 0 { format!("  ({remarks} errors in other words)") } else { String::new() };
        println!("{:<28} {good:>4} / {:<4}{other}", name(&path), outcomes.len());
        for outcome in outcomes.iter().filter(|_| show) {
            if let Some(why) = &outcome.failure {
                println!("    line {}: {}\n        {why}", outcome.line, outcome.query);
            }
        }
        passed += good;
        total += outcomes.len();
    }
    println!("{:<28} {passed:>4} / {total}", "all");
    assert!(total > 0, "no cases found in {dir}");
}

/// Each function and aggregation of the documentation stands in at least one of our cases.
#[test]
fn our_cases_cover_the_language() {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/promql"));
    let all: String = scripts(dir).iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let called = |name: &str| {
        all.match_indices(name).any(|(at, _)| {
            let before = all[..at].chars().next_back().is_none_or(|c| !(c.is_ascii_alphanumeric() || c == '_'));
            let after = all[at + name.len()..].trim_start();
            before && ["(", "by", "without"].iter().any(|next| after.starts_with(next))
        })
    };
    let documented = "abs absent absent_over_time acos acosh asin asinh atan atanh avg avg_over_time bottomk ceil changes clamp \
        clamp_max clamp_min cos cosh count count_over_time count_values day_of_month day_of_week day_of_year days_in_month deg \
        delta deriv double_exponential_smoothing end exp first_over_time floor group histogram_avg histogram_count \
        histogram_fraction histogram_quantile histogram_quantiles histogram_stddev histogram_stdvar histogram_sum hour idelta \
        increase info irate label_join label_replace last_over_time limit_ratio limitk ln log10 log2 mad_over_time max max_of \
        max_over_time min min_of min_over_time minute month pi predict_linear present_over_time quantile quantile_over_time rad \
        range rate resets round scalar sgn sin sinh sort sort_by_label sort_by_label_desc sort_desc sqrt start stddev \
        stddev_over_time stdvar stdvar_over_time step sum sum_over_time tan tanh time timestamp topk ts_of_first_over_time \
        ts_of_last_over_time ts_of_max_over_time ts_of_min_over_time vector year";
    let missing: Vec<&str> = documented.split_whitespace().filter(|name| !called(name)).collect();
    assert!(missing.is_empty(), "no case calls {missing:?}");
}
