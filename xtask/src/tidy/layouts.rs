//! `docs/format.md` shows the byte layouts that stand in the heads of the files that read and write them.
//!
//! Below a line `<!-- layout: path/of/file.rs -->` the document repeats the drawings of that file, character by
//! character. A file that draws records and is not repeated, a copy that is not the same, and a copy of nothing are found;
//! `cargo xtask tidy --write` brings the copies up to date.

use super::{File, Finding, Tree};

pub(super) const DOCUMENT: &str = "docs/format.md";
const OPEN: &str = "```text";
const CLOSE: &str = "```";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(document) = tree.find(DOCUMENT) else { return Vec::new() };
    let mut found = Vec::new();
    let marked: Vec<&str> = document.text.lines().filter_map(marker).collect();
    for file in tree.rust().filter(|file| holds_records(file) && !drawings(&file.text).is_empty()) {
        if !marked.contains(&file.path.as_str()) {
            found.push(Finding::file(file, format!("its layout is not in {DOCUMENT}: <!-- layout: {} -->", file.path)));
        }
    }
    for (at, line) in document.text.lines().enumerate() {
        if let Some(path) = marker(line)
            && tree.find(path).is_none_or(|file| drawings(&file.text).is_empty())
        {
            found.push(Finding::line(document, at + 1, format!("there is no layout in {path}")));
        }
    }
    if found.is_empty() && written(tree, &document.text) != document.text {
        found.push(Finding::file(document, "is not as the files draw it: run `cargo xtask tidy --write`"));
    }
    found
}

/// The document with every drawing as its file has it.
pub(super) fn written(tree: &Tree, document: &str) -> String {
    let mut text = String::new();
    let mut lines = document.lines().peekable();
    while let Some(line) = lines.next() {
        push(&mut text, line);
        let Some(file) = marker(line).and_then(|path| tree.find(path)) else { continue };
        // The old copy: blocks, with nothing but empty lines before and between them.
        while lines.peek().is_some_and(|line| line.is_empty() || *line == OPEN) {
            if lines.next().is_some_and(|line| line == OPEN) {
                for _ in lines.by_ref().take_while(|line| *line != CLOSE) {}
            }
        }
        for drawing in drawings(&file.text) {
            push(&mut text, OPEN);
            drawing.iter().for_each(|line| push(&mut text, line));
            push(&mut text, CLOSE);
        }
        if lines.peek().is_some() {
            push(&mut text, "");
        }
    }
    text
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn marker(line: &str) -> Option<&str> {
    line.strip_prefix("<!-- layout: ")?.strip_suffix(" -->")
}

/// Whether a file reads and writes records, by the names that all crates use for such files.
fn holds_records(file: &File) -> bool {
    const ROOMS: [&str; 5] = ["key", "record", "chunk", "registry", "cursor"];
    let is_room = |part: &str| ROOMS.contains(&part.strip_suffix(".rs").unwrap_or(part));
    file.path.contains("/src/") && file.name() != "tests.rs" && file.path.split('/').any(is_room)
}

/// The drawings in the head of a file: its lines between fences.
fn drawings(text: &str) -> Vec<Vec<&str>> {
    let mut drawings = Vec::new();
    let head = text.lines().map_while(|line| line.strip_prefix("//!"));
    let mut head = head.map(|line| line.strip_prefix(' ').unwrap_or(line));
    while head.any(|line| line == OPEN) {
        drawings.push(head.by_ref().take_while(|line| *line != CLOSE).collect());
    }
    drawings
}

#[cfg(test)]
mod tests;
