use super::super::Tree;
use super::*;

fn findings(text: &str) -> Vec<String> {
    check(&Tree::of(&[("x/Cargo.toml", text)])).iter().map(ToString::to_string).collect()
}

fn manifest(name: &str, rest: &str) -> String {
    format!("[package]\nname = \"{name}\"\n{rest}\n[lints]\nworkspace = true\n")
}

#[test]
fn a_system_may_use_core_and_nothing_beside_it() {
    let fine = manifest("opendata-log", "[dependencies]\nopendata-core.workspace = true\nbytes = \"1\"");
    assert_eq!(findings(&fine), Vec::<String>::new());
    let sideways = manifest("opendata-log", "[dev-dependencies]\nopendata-tsdb.workspace = true");
    assert_eq!(findings(&sideways), ["x/Cargo.toml:4: `opendata-log` must not depend on `opendata-tsdb`"]);
    let upwards = manifest("opendata-core", "[dependencies.opendata-compose]\npath = \"..\"");
    assert_eq!(findings(&upwards), ["x/Cargo.toml:3: `opendata-core` must not depend on `opendata-compose`"]);
}

#[test]
fn only_the_program_has_a_command_line_and_a_server() {
    let text = manifest("opendata-compose", "[target.'cfg(unix)'.dependencies]\nclap = { version = \"4\" }");
    assert_eq!(findings(&text), ["x/Cargo.toml:4: only `opendata` may depend on `clap`"]);
    assert_eq!(findings(&manifest("opendata", "[dependencies]\nclap.workspace = true")), Vec::<String>::new());
}

#[test]
fn a_crate_that_is_not_known_and_one_without_lints_are_found() {
    assert_eq!(
        findings(&manifest("opendata-new", "")),
        ["x/Cargo.toml: tidy does not know what `opendata-new` may depend on"]
    );
    assert_eq!(
        findings("[package]\nname = \"xtask\"\n"),
        ["x/Cargo.toml: does not take the lints of the workspace: `[lints] workspace = true`"]
    );
}

#[test]
fn names_outside_of_dependency_sections_are_none() {
    let text = manifest("opendata-log", "[features]\nopendata-tsdb = []\n[[bench]]\nname = \"opendata-tsdb\"");
    assert_eq!(findings(&text), Vec::<String>::new());
}
