use super::super::{File, Tree};
use super::*;

fn findings(path: &str, text: &str) -> Vec<String> {
    check(&Tree::of(&[(path, text)])).iter().map(ToString::to_string).collect()
}

#[test]
fn a_short_file_with_a_head_is_fine() {
    assert_eq!(findings("a/src/key.rs", "//! Keys.\n"), Vec::<String>::new());
}

#[test]
fn five_hundred_lines_are_allowed_and_one_more_is_not() {
    let most = format!("//! Head.\n{}", "\n".repeat(499));
    assert_eq!(findings("a/src/key.rs", &most), Vec::<String>::new());
    assert_eq!(
        findings("a/src/key.rs", &format!("{most}\n")),
        ["a/src/key.rs: has 501 lines, and 500 is the most: it holds two concepts"]
    );
}

#[test]
fn tests_may_be_long_and_need_no_head() {
    let long = "use super::*;\n".repeat(900);
    assert_eq!(findings("a/src/key/tests.rs", &long), Vec::<String>::new());
    assert_eq!(findings("a/src/key/tests/golden.rs", &long), Vec::<String>::new());
}

#[test]
fn a_head_comes_first() {
    assert_eq!(
        findings("a/src/key.rs", "use std::fmt;\n//! Keys.\n"),
        ["a/src/key.rs:1: does not begin with `//!` and what it is for"]
    );
}

#[test]
fn empty_names_are_found_in_files_folders_and_modules() {
    let message = |at: &str, name: &str| vec![format!("{at}: the name `{name}` does not say what is inside")];
    assert_eq!(findings("a/src/util.rs", "//! x\n"), message("a/src/util.rs", "util"));
    assert_eq!(findings("a/src/common/x.rs", "//! x\n"), message("a/src/common/x.rs", "common"));
    assert_eq!(findings("a/src/x.rs", "//! x\nmod helpers;\n"), message("a/src/x.rs:2", "helpers"));
    assert_eq!(findings("a/src/x.rs", "//! x\npub(crate) mod misc {\n"), message("a/src/x.rs:2", "misc"));
    assert_eq!(findings("a/src/x.rs", "//! x\n// mod utilities\nmod utilities;\n"), Vec::<String>::new());
}

#[test]
fn a_file_knows_its_name_and_extension() {
    let file = File { path: "a/b.rs".to_owned(), text: String::new() };
    assert_eq!(file.name(), "b.rs");
    assert!(file.has_extension("rs") && !file.has_extension("s"));
}
