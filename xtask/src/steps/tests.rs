use super::*;

fn done(name: &'static str, outcome: Outcome, millis: u64) -> Done {
    Done { name, outcome, took: Duration::from_millis(millis) }
}

#[test]
fn the_summary_names_each_step_its_time_and_its_end() {
    let steps = [
        done("format", Outcome::Passed, 400),
        done("lints", Outcome::Failed(101), 75_250),
        done("tests", Outcome::NotRun, 0),
    ];
    assert_eq!(
        summary("test", &steps),
        "
cargo xtask test
  format                0.4 s  passed
  lints            1 min 15 s  FAILED with code 101
  tests                 0.0 s  not run
FAILED: 1 of 3 steps passed in 1 min 15 s, exit code 101
"
    );
    assert_eq!(first_failure(&steps), Some(101));
}

#[test]
fn a_failure_stops_the_run_and_its_code_is_the_result() {
    let root = Path::new(".");
    let step = |name, check: fn(&Path) -> bool| Step { name, about: String::new(), work: Work::Check(check) };
    let fail = |name| Step {
        name,
        about: String::new(),
        work: Work::Run { program: "sh".into(), args: vec!["-c".into(), "exit 7".into()], env: Vec::new() },
    };
    let never: fn(&Path) -> bool = |_| unreachable!("a step after the failure was run");
    let code = run(root, "test", vec![step("good", |_| true), fail("bad"), step("late", never)], OnFailure::Stop);
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(7)));
    let code = run(root, "test", vec![fail("bad"), step("worse", |_| false)], OnFailure::KeepGoing);
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(7)));
    let code = run(root, "test", vec![step("good", |_| true)], OnFailure::Stop);
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
}

#[test]
fn a_program_that_is_not_there_is_a_failure_of_its_own() {
    let missing = Step {
        name: "missing",
        about: String::new(),
        work: Work::Run { program: "no-such-program-anywhere".into(), args: Vec::new(), env: Vec::new() },
    };
    assert_eq!(perform(Path::new("."), &missing), Outcome::Failed(127));
}
