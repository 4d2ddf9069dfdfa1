//! The habits of the code that a program can check. Each rule takes a [`Tree`] and returns what it found.
//!
//! - [`source`]: size, head and name of Rust files.
//! - [`manifest`]: which crate may depend on which.
//! - [`documents`]: what the documents say is there, and nothing of one machine is in any file.
//! - [`layouts`]: `docs/format.md` shows the bytes as the files that write them do.

mod documents;
mod layouts;
mod manifest;
mod source;

use std::fmt;
use std::path::Path;
use std::process::Command;

/// A text file of the repository.
pub(crate) struct File {
    /// Its path from the root, with `/`.
    path: String,
    text: String,
}

impl File {
    /// The last part of the path.
    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|own| own == extension)
    }
}

/// All text files that are, or are about to be, in the repository.
pub(crate) struct Tree {
    files: Vec<File>,
}

impl Tree {
    fn read(root: &Path) -> Result<Self, String> {
        let names = if root.join(".git").exists() { known_to_git(root)? } else { below(root, Path::new(""))? };
        // A file that was deleted but not committed yet, or that is no text, has nothing to check.
        let files = names.into_iter().filter_map(|path| {
            let text = std::fs::read_to_string(root.join(&path)).ok()?;
            Some(File { path, text })
        });
        let mut tree = Self { files: files.collect() };
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.has_extension("rs"))
    }

    fn find(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    #[cfg(test)]
    fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| File { path: (*path).to_owned(), text: (*text).to_owned() });
        Self { files: files.collect() }
    }
}

/// What git knows, and what it would add.
fn known_to_git(root: &Path) -> Result<Vec<String>, String> {
    let list = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot start git: {error}"))?;
    if !list.status.success() {
        return Err(format!("git ls-files failed: {}", String::from_utf8_lossy(&list.stderr)));
    }
    let names = String::from_utf8_lossy(&list.stdout).into_owned();
    Ok(names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

/// Every file, where the sources came without git.
fn below(root: &Path, folder: &Path) -> Result<Vec<String>, String> {
    let place = root.join(folder);
    let unreadable = |error: std::io::Error| format!("cannot read {}: {error}", place.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&place).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = folder.join(entry.file_name());
        if !entry.file_type().map_err(unreadable)?.is_dir() {
            names.push(path.to_string_lossy().into_owned());
        } else if path != Path::new("target") {
            names.extend(below(root, &path)?);
        }
    }
    Ok(names)
}

/// A rule that does not hold, and where.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    /// Counted from 1; 0 if the whole file is meant.
    line: usize,
    message: String,
}

impl Finding {
    fn file(file: &File, message: impl Into<String>) -> Self {
        Self::line(file, 0, message)
    }

    fn line(file: &File, line: usize, message: impl Into<String>) -> Self {
        Self { path: file.path.clone(), line, message: message.into() }
    }

    fn missing(path: &str) -> Self {
        Self { path: path.to_owned(), line: 0, message: "is missing".to_owned() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// Checks the repository, prints what was found, and returns whether all is well.
pub(crate) fn check(root: &Path) -> bool {
    let tree = match Tree::read(root) {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("tidy: {error}");
            return false;
        }
    };
    let mut found = source::check(&tree);
    found.extend(manifest::check(&tree));
    found.extend(documents::check(&tree));
    found.extend(layouts::check(&tree));
    found.sort();
    for finding in &found {
        eprintln!("tidy: {finding}");
    }
    println!("tidy: {} files, {} findings", tree.files.len(), found.len());
    found.is_empty()
}

/// Brings the copies in `docs/format.md` up to date, and returns whether that could be done.
pub(crate) fn write(root: &Path) -> bool {
    let done = Tree::read(root).and_then(|tree| {
        let document = tree.find(layouts::DOCUMENT).ok_or_else(|| format!("{} is missing", layouts::DOCUMENT))?;
        let written = layouts::written(&tree, &document.text);
        std::fs::write(root.join(layouts::DOCUMENT), written).map_err(|error| error.to_string())
    });
    if let Err(error) = &done {
        eprintln!("tidy: {error}");
    }
    done.is_ok()
}

#[cfg(test)]
mod tests;
