//! What the documents say is there, and nothing of one machine is in any file.

use super::{File, Finding, Tree};
use crate::help;

/// Documents that must exist.
const DOCUMENTS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "docs/edges.md",
    "docs/format.md",
    "examples/data/README.md",
];

/// Folders of one machine. Split in two, so that this file does not hold them.
const MACHINE: &[(&str, &str)] = &[("/wo", "rk/"), ("/ro", "ot/"), ("/ho", "me/"), ("/Us", "ers/")];

/// Temporary folders are no place a document can point to.
const TEMPORARY: (&str, &str) = ("/tm", "p/");

/// Hosts of package registries: mirrors differ, names of packages do not.
const REGISTRIES: &[(&str, &str)] = &[
    ("pypi", ".org"),
    ("pythonhosted", ".org"),
    ("registry.npmjs", ".org"),
    ("index.crates", ".io"),
    ("static.crates", ".io"),
    ("proxy.golang", ".org"),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found: Vec<Finding> =
        DOCUMENTS.iter().filter(|path| tree.find(path).is_none()).map(|path| Finding::missing(path)).collect();
    for file in &tree.files {
        found.extend(machine(file));
        found.extend(commands(file));
    }
    found.extend(version(tree));
    found.extend(tags(tree));
    found.extend(lock(tree));
    found
}

/// Paths of one machine and hosts of package registries.
fn machine(file: &File) -> Vec<Finding> {
    let mut forbidden: Vec<String> = MACHINE.iter().map(|(a, b)| format!("{a}{b}")).collect();
    if file.has_extension("md") {
        forbidden.push(format!("{}{}", TEMPORARY.0, TEMPORARY.1));
    }
    forbidden.extend(REGISTRIES.iter().map(|(a, b)| format!("{a}{b}")));
    let lines = file.text.lines().enumerate();
    lines
        .filter_map(|(at, line)| {
            let text = forbidden.iter().find(|text| line.contains(text.as_str()))?;
            Some(Finding::line(file, at + 1, format!("names something of one machine or registry: {text}")))
        })
        .collect()
}

/// `cargo xtask NAME` in a document or script must be a task.
fn commands(file: &File) -> Vec<Finding> {
    if !(file.has_extension("md") || file.path.starts_with(".ci/")) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        for rest in line.split("cargo xtask ").skip(1) {
            let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
            if !name.is_empty() && !name.starts_with('-') && help::find(&name).is_none() {
                found.push(Finding::line(file, at + 1, format!("there is no `cargo xtask {name}`")));
            }
        }
    }
    found
}

/// The change log has a section for the version that is being built.
fn version(tree: &Tree) -> Option<Finding> {
    let manifest = tree.find("Cargo.toml")?;
    let change_log = tree.find("CHANGELOG.md")?;
    let line = manifest.text.lines().find_map(|line| line.trim().strip_prefix("version = "))?;
    let version = line.trim().trim_matches('"');
    let is_told = change_log.text.lines().any(|line| line.starts_with("## ") && line.contains(version));
    (!is_told).then(|| Finding::file(change_log, format!("has no section for version {version}")))
}

/// Each tag that a crate declares has its row in `docs/format.md`, in the section of that crate. Tests may have systems of
/// their own, which no real slate holds.
fn tags(tree: &Tree) -> Vec<Finding> {
    let Some(format) = tree.find("docs/format.md") else { return Vec::new() };
    let mut found = Vec::new();
    let is_real = |file: &&File| {
        file.path.starts_with("opendata") && file.name() != "tests.rs" && !file.path.contains("/testing/")
    };
    for file in tree.rust().filter(is_real) {
        let krate = file.path.split('/').next().unwrap_or_default();
        for (line, name, number) in declared_tags(&file.text) {
            let row = |row: &str| {
                row.starts_with('|') && row.contains(&format!("`{number}`")) && row.contains(&format!("`{name}`"))
            };
            if !section(&format.text, krate).any(row) {
                found.push(Finding::line(
                    file,
                    line,
                    format!("docs/format.md has no row `{number}` `{name}` in the section of {krate}"),
                ));
            }
        }
    }
    found
}

/// Line, name and number of constants such as `const DATA: Tag = Tag(0x10);`.
fn declared_tags(text: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    text.lines().enumerate().filter_map(|(at, line)| {
        let (before, rest) = line.split_once(": Tag = Tag(")?;
        let name = before.split_whitespace().next_back()?;
        let number = rest.split(')').next()?;
        Some((at + 1, name, number))
    })
}

/// The lines below the heading that names a crate, up to the next heading of the same level.
fn section<'a>(text: &'a str, krate: &'a str) -> impl Iterator<Item = &'a str> {
    let heading = format!("`{krate}`");
    let begin = move |line: &&str| !(line.starts_with("## ") && line.contains(&heading));
    text.lines().skip_while(begin).skip(1).take_while(|line| !line.starts_with("## "))
}

/// All packages come from where everyone can get them.
fn lock(tree: &Tree) -> Vec<Finding> {
    let Some(lock) = tree.find("Cargo.lock") else { return vec![Finding::missing("Cargo.lock")] };
    let public = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let lines = lock.text.lines().enumerate();
    lines
        .filter(|(_, line)| line.starts_with("source = ") && *line != public)
        .map(|(at, line)| Finding::line(lock, at + 1, format!("a package from elsewhere: {line}")))
        .collect()
}

#[cfg(test)]
mod tests;
