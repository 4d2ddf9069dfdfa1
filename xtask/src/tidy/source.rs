//! Size, head and name of Rust files.

use super::{File, Finding, Tree};

/// Past this many lines a file holds two concepts.
const MAX_LINES: usize = 500;

/// Files that may be longer, each with its reason.
const LONGER: &[(&str, &str)] = &[];

/// Names that say nothing about what a file holds.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "manager", "misc"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in tree.rust() {
        found.extend(size(file));
        found.extend(head(file));
        found.extend(name(file));
        found.extend(modules(file));
    }
    for (path, _) in LONGER {
        if tree.find(path).is_none() {
            found.push(Finding::missing(path));
        }
    }
    found
}

/// Unit tests stand in a sibling file called `tests.rs`, or in a folder of that name.
fn is_test(file: &File) -> bool {
    file.name() == "tests.rs" || file.path.contains("/tests/")
}

fn size(file: &File) -> Option<Finding> {
    let lines = file.text.lines().count();
    let may_be_longer = is_test(file) || LONGER.iter().any(|(path, _)| *path == file.path);
    (lines > MAX_LINES && !may_be_longer)
        .then(|| Finding::file(file, format!("has {lines} lines, and {MAX_LINES} is the most: it holds two concepts")))
}

fn head(file: &File) -> Option<Finding> {
    let begins = file.text.starts_with("//!");
    (!begins && !is_test(file)).then(|| Finding::line(file, 1, "does not begin with `//!` and what it is for"))
}

fn name(file: &File) -> Option<Finding> {
    let stem = |part: &str| part.strip_suffix(".rs").unwrap_or(part).to_owned();
    let empty = file.path.split('/').map(stem).find(|part| EMPTY_NAMES.contains(&part.as_str()))?;
    Some(Finding::file(file, format!("the name `{empty}` does not say what is inside")))
}

/// Modules written inside a file.
fn modules(file: &File) -> Vec<Finding> {
    let named = file.text.lines().enumerate().filter_map(|(at, line)| {
        let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
        let name = (words.next() == Some("mod")).then(|| words.next()).flatten()?.trim_end_matches([';', '{']);
        EMPTY_NAMES.contains(&name).then(|| (at + 1, name.to_owned()))
    });
    named
        .map(|(line, name)| Finding::line(file, line, format!("the name `{name}` does not say what is inside")))
        .collect()
}

#[cfg(test)]
mod tests;
