use super::*;

#[test]
fn sources_without_git_are_found_by_walking() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = below(root, Path::new("")).unwrap();
    names.sort();
    assert!(names.contains(&"src/tidy/tests.rs".to_owned()), "{names:?}");
    assert!(below(&root.join("no-such-folder"), Path::new("")).is_err());
}

#[test]
fn a_finding_says_where_and_what() {
    let file = File { path: "a/b.rs".to_owned(), text: String::new() };
    assert_eq!(Finding::line(&file, 7, "is wrong").to_string(), "a/b.rs:7: is wrong");
    assert_eq!(Finding::missing("a/c.rs").to_string(), "a/c.rs: is missing");
}
