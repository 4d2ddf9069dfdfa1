use super::super::Tree;
use super::*;

fn said(found: &[Finding]) -> Vec<String> {
    found.iter().map(ToString::to_string).collect()
}

fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}

#[test]
fn every_document_must_be_there() {
    let found = said(&check(&Tree::of(&[("README.md", "")])));
    assert!(found.contains(&"docs/format.md: is missing".to_owned()), "{found:?}");
    assert!(!found.contains(&"README.md: is missing".to_owned()), "{found:?}");
}

#[test]
fn nothing_of_one_machine_is_let_through() {
    let path = ["see /wo", "rk/notes"].concat();
    let found = machine(&file("src/a.rs", &format!("fine\n{path}\n")));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].line, 2);
    let host = ["https://files.pythonhosted", ".org/x"].concat();
    assert_eq!(machine(&file("a.sh", &host)).len(), 1);
    let temporary = ["in /tm", "p/x"].concat();
    assert_eq!(machine(&file("a.md", &temporary)).len(), 1);
    assert_eq!(machine(&file("a.rs", &temporary)).len(), 0, "code may make temporary folders");
    assert_eq!(machine(&file("a.md", "a network/route, homework/tmp")).len(), 0);
}

#[test]
fn a_command_in_a_document_must_be_a_task() {
    let found = commands(&file("README.md", "run `cargo xtask demo`\nthen cargo xtask frobnicate --now\n"));
    assert_eq!(said(&found), ["README.md:2: there is no `cargo xtask frobnicate`"]);
    assert!(commands(&file("README.md", "cargo xtask <task> --help, cargo xtask --help")).is_empty());
    assert!(commands(&file("a.rs", "cargo xtask frobnicate")).is_empty());
    assert_eq!(commands(&file(".ci/run", "exec cargo xtask tests\n")).len(), 1);
}

#[test]
fn the_change_log_tells_of_the_version_being_built() {
    let manifest = ("Cargo.toml", "[workspace.package]\nversion = \"0.3.0\"\n");
    let told = Tree::of(&[manifest, ("CHANGELOG.md", "# Changes\n\n## 0.3.0\n")]);
    assert_eq!(version(&told), None);
    let untold = Tree::of(&[manifest, ("CHANGELOG.md", "# Changes\n\n## 0.2.0\n0.3.0\n")]);
    assert_eq!(version(&untold).map(|f| f.message), Some("has no section for version 0.3.0".to_owned()));
}

#[test]
fn each_tag_has_its_row_in_the_section_of_its_crate() {
    let key = ("opendata-log/src/key.rs", "//! Keys.\npub(crate) const DATA: Tag = Tag(0x10);\n");
    let format = "# Format\n## The log: `opendata-log`\n| tag | name |\n| `0x10` | `DATA` | chunks |\n## Other\n";
    assert_eq!(said(&tags(&Tree::of(&[key, ("docs/format.md", format)]))), Vec::<String>::new());
    let elsewhere = "# Format\n## `opendata-tsdb`\n| `0x10` | `DATA` | chunks |\n## `opendata-log`\n";
    assert_eq!(
        said(&tags(&Tree::of(&[key, ("docs/format.md", elsewhere)]))),
        ["opendata-log/src/key.rs:2: docs/format.md has no row `0x10` `DATA` in the section of opendata-log"]
    );
}

#[test]
fn packages_come_from_the_public_registry() {
    let public = "source = \"registry+https://github.com/rust-lang/crates.io-index\"\n";
    assert!(lock(&Tree::of(&[("Cargo.lock", public)])).is_empty());
    assert_eq!(lock(&Tree::of(&[("Cargo.lock", "source = \"git+https://example.com/x\"\n")])).len(), 1);
}
