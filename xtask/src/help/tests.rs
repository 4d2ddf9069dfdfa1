use super::*;

#[test]
fn every_task_is_listed_and_taught_by_an_example_of_itself() {
    for task in TASKS {
        assert!(overview().contains(&format!("cargo xtask {}", task.name)));
        assert!(task.usage.starts_with(&format!("cargo xtask {}", task.name)), "{}", task.usage);
        assert!(of(task).contains(task.about) && of(task).ends_with('\n'));
    }
}

#[test]
fn a_task_is_found_by_its_whole_name() {
    assert!(find("test").is_some());
    assert!(find("tes").is_none());
}
