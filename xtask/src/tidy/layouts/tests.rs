use super::super::Tree;
use super::*;

const KEY: &str =
    "//! Keys.\n//!\n//! ```text\n//! 0x10 | stream\n//!   indented\n//! ```\n//! More.\n\nuse std::fmt;\n";
const MARKER: &str = "<!-- layout: opendata-log/src/key.rs -->";

fn tree(document: &str) -> Tree {
    Tree::of(&[("opendata-log/src/key.rs", KEY), (DOCUMENT, document)])
}

fn findings(document: &str) -> Vec<String> {
    check(&tree(document)).iter().map(ToString::to_string).collect()
}

#[test]
fn a_layout_is_copied_below_its_marker_and_then_stays() {
    let empty = format!("# Format\n\n{MARKER}\n\nMore text.\n");
    let filled = format!("# Format\n\n{MARKER}\n```text\n0x10 | stream\n  indented\n```\n\nMore text.\n");
    assert_eq!(written(&tree(&empty), &empty), filled);
    assert_eq!(written(&tree(&filled), &filled), filled);
    assert_eq!(findings(&filled), Vec::<String>::new());
}

#[test]
fn an_old_copy_is_found_and_replaced() {
    let old = format!("{MARKER}\n```text\n0x10 | name\n```\n\n```text\nsecond\n```\n");
    assert_eq!(findings(&old), ["docs/format.md: is not as the files draw it: run `cargo xtask tidy --write`"]);
    assert_eq!(written(&tree(&old), &old), format!("{MARKER}\n```text\n0x10 | stream\n  indented\n```\n"));
}

#[test]
fn a_file_without_a_copy_and_a_copy_without_a_file_are_found() {
    assert_eq!(
        findings("# Format\n"),
        ["opendata-log/src/key.rs: its layout is not in docs/format.md: <!-- layout: opendata-log/src/key.rs -->"]
    );
    let stray = format!("{MARKER}\n<!-- layout: opendata-log/src/gone.rs -->\n");
    assert_eq!(findings(&stray), ["docs/format.md:2: there is no layout in opendata-log/src/gone.rs"]);
}

#[test]
fn only_files_that_hold_records_must_be_shown() {
    let elsewhere = Tree::of(&[("opendata-log/src/writer.rs", KEY), (DOCUMENT, "# Format\n")]);
    assert!(check(&elsewhere).is_empty());
    let beneath = Tree::of(&[("opendata-log/src/record/page.rs", KEY), (DOCUMENT, "# Format\n")]);
    assert_eq!(check(&beneath).len(), 1);
}
