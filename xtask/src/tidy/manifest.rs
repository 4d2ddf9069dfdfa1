//! Which crate may depend on which: `opendata-core` <- the systems <- `opendata-compose` <- `opendata`.
//!
//! Manifests are read line by line; they are ours and plain. What a dependency is for (build, tests) makes no difference.

use super::{File, Finding, Tree};

/// Each crate of ours and the crates of ours it may depend on. A new crate must be added here.
const MAY_USE: &[(&str, &[&str])] = &[
    ("opendata-core", &[]),
    ("opendata-log", &["opendata-core"]),
    ("opendata-tsdb", &["opendata-core"]),
    ("opendata-vector", &["opendata-core"]),
    ("opendata-compose", &["opendata-core", "opendata-log", "opendata-tsdb", "opendata-vector"]),
    ("opendata", &["opendata-core", "opendata-log", "opendata-tsdb", "opendata-vector", "opendata-compose"]),
    (
        "opendata-tests",
        &["opendata-core", "opendata-log", "opendata-tsdb", "opendata-vector", "opendata-compose", "opendata"],
    ),
    ("xtask", &[]),
];

/// Dependencies of one crate only, because whoever embeds the libraries shall not have to carry them.
const ONLY_IN: &[(&str, &str)] = &[("clap", "opendata"), ("axum", "opendata")];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    // Fuzz targets stand apart from the workspace: they need a nightly compiler.
    let is_member = |file: &&File| file.path != "Cargo.toml" && !file.path.contains("/fuzz/");
    let manifests = tree.files.iter().filter(|file| file.name() == "Cargo.toml").filter(is_member);
    manifests.flat_map(|file| check_one(file, &Manifest::parse(&file.text))).collect()
}

fn check_one(file: &File, manifest: &Manifest<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let own = manifest.package;
    let Some((_, may_use)) = MAY_USE.iter().find(|(name, _)| *name == own) else {
        return vec![Finding::file(file, format!("tidy does not know what `{own}` may depend on"))];
    };
    for (line, dependency) in &manifest.dependencies {
        let is_ours = MAY_USE.iter().any(|(name, _)| name == dependency);
        if is_ours && !may_use.contains(dependency) {
            found.push(Finding::line(file, *line, format!("`{own}` must not depend on `{dependency}`")));
        }
        if let Some((_, only)) = ONLY_IN.iter().find(|(name, only)| name == dependency && *only != own) {
            found.push(Finding::line(file, *line, format!("only `{only}` may depend on `{dependency}`")));
        }
    }
    if !manifest.has_workspace_lints {
        found.push(Finding::file(file, "does not take the lints of the workspace: `[lints] workspace = true`"));
    }
    found
}

/// What the rules need of a manifest.
struct Manifest<'a> {
    package: &'a str,
    /// Line and name of each dependency of any kind.
    dependencies: Vec<(usize, &'a str)>,
    has_workspace_lints: bool,
}

impl<'a> Manifest<'a> {
    fn parse(text: &'a str) -> Self {
        let mut manifest = Self { package: "", dependencies: Vec::new(), has_workspace_lints: false };
        let mut section = "";
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if let Some(header) = line.strip_prefix('[') {
                section = header.trim_end_matches(']').trim_start_matches('[');
                // `[dependencies.name]` names one dependency in its header.
                if let Some((kind, name)) = section.rsplit_once('.')
                    && is_dependencies(kind)
                {
                    manifest.dependencies.push((at + 1, name));
                }
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            let (key, value) = (key.trim(), value.trim());
            if is_dependencies(section) {
                let name = key.split('.').next().unwrap_or(key);
                manifest.dependencies.push((at + 1, name.trim_matches('"')));
            } else if section == "package" && key == "name" {
                manifest.package = value.trim_matches('"');
            } else if section == "lints" && key == "workspace" && value == "true" {
                manifest.has_workspace_lints = true;
            }
        }
        manifest
    }
}

/// `dependencies`, `dev-dependencies`, `build-dependencies`, and each of them below `target.'...'`.
fn is_dependencies(section: &str) -> bool {
    let last = section.rsplit('.').next().unwrap_or(section);
    matches!(last, "dependencies" | "dev-dependencies" | "build-dependencies")
}

#[cfg(test)]
mod tests;
