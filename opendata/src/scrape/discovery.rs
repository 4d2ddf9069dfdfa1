//! Which targets there are: those that stand in the configuration, and those in files that may change at any time.
//!
//! A file is a list of groups in JSON or YAML. Files are looked at again every few seconds, and read when they have
//! changed. One that cannot be read, or makes no sense, keeps the targets it had, and is counted.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::config::{FileDiscovery, ScrapeConfig, TargetGroup};

/// The label that says which file a target is from.
const FILE_PATH: &str = "__meta_filepath";
/// How often files are looked at, if `refresh_interval` asks for no more.
const LOOK: Duration = Duration::from_secs(5);

/// Finds the targets of a job.
pub(super) struct Discovery {
    fixed: Vec<TargetGroup>,
    files: Vec<FileDiscovery>,
    known: BTreeMap<PathBuf, Known>,
    /// How often a file could not be read or understood.
    failures: u64,
}

/// A file as it was when it was read.
struct Known {
    state: Option<(SystemTime, u64)>,
    groups: Vec<TargetGroup>,
}

impl Discovery {
    pub(super) fn new(config: &ScrapeConfig) -> Self {
        let (fixed, files) = (config.static_configs.clone(), config.file_sd_configs.clone());
        Self { fixed, files, known: BTreeMap::new(), failures: 0 }
    }

    /// How long to wait before looking again; none if nothing can change.
    pub(super) fn period(&self) -> Option<Duration> {
        let asked =
            self.files.iter().map(|file| file.refresh_interval.map_or(LOOK, |span| span.as_duration().min(LOOK)));
        asked.min().map(|period| period.max(Duration::from_millis(10)))
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures
    }

    /// All groups of targets there are now.
    pub(super) fn look(&mut self) -> Vec<TargetGroup> {
        let mut present = Vec::new();
        for path in self.files.iter().flat_map(|discovery| &discovery.files) {
            match matching(path) {
                Ok(paths) => present.extend(paths),
                Err(error) => {
                    self.failures += 1;
                    tracing::warn!(%error, path = %path.display(), "targets cannot be listed");
                    // What cannot be listed is not known to be gone.
                    present.extend(self.known.keys().filter(|known| known.parent() == path.parent()).cloned());
                }
            }
        }
        present.sort();
        present.dedup();
        self.known.retain(|path, _| present.binary_search(path).is_ok());
        for path in present {
            self.read(path);
        }
        self.fixed.iter().chain(self.known.values().flat_map(|known| &known.groups)).cloned().collect()
    }

    fn read(&mut self, path: PathBuf) {
        let state = std::fs::metadata(&path).and_then(|data| Ok((data.modified()?, data.len()))).ok();
        if let Some(known) = self.known.get(&path)
            && known.state == state
            && state.is_some()
        {
            return;
        }
        match groups(&path) {
            Ok(groups) => {
                self.known.insert(path, Known { state, groups });
            }
            Err(why) => {
                self.failures += 1;
                tracing::warn!(why, path = %path.display(), "a file of targets is left as it was");
                // Not until it has changed again.
                let groups = self.known.remove(&path).map(|known| known.groups).unwrap_or_default();
                self.known.insert(path, Known { state, groups });
            }
        }
    }
}

/// The groups in a file.
fn groups(path: &Path) -> Result<Vec<TargetGroup>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let mut groups: Vec<TargetGroup> = match path.extension().and_then(OsStr::to_str) {
        Some("json") => serde_json::from_str(&text).map_err(|error| error.to_string())?,
        Some("yml" | "yaml") if text.trim().is_empty() => Vec::new(),
        Some("yml" | "yaml") => serde_saphyr::from_str(&text).map_err(|error| error.without_snippet().to_string())?,
        _ => return Err("the name ends in none of .json, .yml and .yaml".to_owned()),
    };
    for group in &mut groups {
        group.labels.insert(FILE_PATH.to_owned(), path.display().to_string());
    }
    Ok(groups)
}

/// The files of a path, with `*` in its last part standing for anything.
///
/// # Errors
/// If the folder cannot be listed.
pub(crate) fn matching(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let pattern = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    if !pattern.contains('*') {
        return Ok(if path.exists() { vec![path.to_owned()] } else { Vec::new() });
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| !name.starts_with('.') && fits(pattern, name)) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Whether a name is of a pattern.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discovery(path: PathBuf) -> Discovery {
        let file = FileDiscovery { files: vec![path], refresh_interval: None };
        Discovery { fixed: Vec::new(), files: vec![file], known: BTreeMap::new(), failures: 0 }
    }

    fn targets(discovery: &mut Discovery) -> Vec<String> {
        discovery.look().into_iter().flat_map(|group| group.targets).collect()
    }

    #[test]
    fn files_come_change_and_go_and_a_broken_one_keeps_its_targets() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let mut discovery = discovery(folder.path().join("t*.json"));
        assert_eq!(targets(&mut discovery), [""; 0]);
        write("t1.json", r#"[{"targets": ["a:1"], "labels": {"x": "y"}}]"#);
        write("t2.json", r#"[{"targets": ["b:1", "b:2"]}]"#);
        write("other.json", r#"[{"targets": ["c:1"]}]"#);
        assert_eq!(targets(&mut discovery), ["a:1", "b:1", "b:2"]);
        let path = folder.path().join("t1.json").display().to_string();
        assert_eq!(discovery.look()[0].labels, BTreeMap::from([("x".into(), "y".into()), (FILE_PATH.into(), path)]));
        write("t1.json", r#"[{"targets": ["a:1""#);
        assert_eq!(
            (targets(&mut discovery), discovery.failures()),
            (vec!["a:1".into(), "b:1".into(), "b:2".into()], 1)
        );
        write("t1.json", r#"[{"targets": ["a:10"]}]"#);
        std::fs::remove_file(folder.path().join("t2.json")).unwrap();
        assert_eq!(targets(&mut discovery), ["a:10"]);
    }

    #[test]
    fn yaml_is_read_and_patterns_fit() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x.yml"), "- targets: ['a:1']\n  labels: {k: v}\n").unwrap();
        assert_eq!(targets(&mut discovery(folder.path().join("x.yml"))), ["a:1"]);
        for (pattern, name, expected) in [
            ("*", "a", true),
            ("a*b*c", "a1b2c", true),
            ("a*b", "ab", true),
            ("a*b", "a", false),
            ("*.yml", "x.yaml", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
