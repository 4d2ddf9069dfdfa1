//! Where the bytes of a slate are on its store.

use std::collections::{BTreeMap, HashSet};

use futures::TryStreamExt;
use slatedb::VersionedManifest;

use super::Slate;
use crate::error::{Error, Result};
use crate::key::Prefix;

/// A number of files or rows, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub count: u64,
    /// How many bytes they take together.
    pub bytes: u64,
}

impl Amount {
    /// Counts one more.
    pub fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

/// What one segment has on the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentFiles {
    /// Files that were written from memory and not merged with others yet.
    pub new: Amount,
    /// Files of sorted runs.
    pub runs: Amount,
    /// How many sorted runs there are.
    pub run_count: u64,
}

impl SegmentFiles {
    /// All its files.
    #[must_use]
    pub fn total(&self) -> Amount {
        Amount { count: self.new.count + self.runs.count, bytes: self.new.bytes + self.runs.bytes }
    }
}

/// What a slate has on its store: objects of each kind, and the segments that its newest manifest names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Files of the write-ahead log.
    pub log: Amount,
    /// Sorted files that the newest manifest names.
    pub sorted: Amount,
    /// Sorted files that it does not name: checkpoints or forks hold them, or they wait to be collected.
    pub unnamed: Amount,
    /// Manifests and what else the engine keeps.
    pub other: Amount,
    /// By segment; sizes are those of the whole files, also where a fork shows a part of them.
    pub segments: BTreeMap<Prefix, SegmentFiles>,
}

impl Files {
    /// All objects at the slate's path.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        [self.log, self.sorted, self.unnamed, self.other].iter().map(|amount| amount.bytes).sum()
    }
}

impl Slate {
    /// Lists what is on the store at the slate's path. It costs one listing of all its objects.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn files(&self) -> Result<Files> {
        let inner = &self.0;
        let path = inner.store.slate_path(&inner.path)?;
        let manifest = inner.db.manifest();
        let mut files = Files { segments: segments(&manifest), ..Files::default() };
        let named: HashSet<String> =
            manifest.all_sst_views().map(|view| format!("{}.sst", view.sst.id.value())).collect();
        let mut objects = inner.store.object_store().list(Some(&path));
        while let Some(object) = objects.try_next().await.map_err(Error::from)? {
            let mut parts = object.location.prefix_match(&path).into_iter().flatten();
            let folder = parts.next().map(|part| part.as_ref().to_owned()).unwrap_or_default();
            let name = parts.next().map(|part| part.as_ref().to_owned()).unwrap_or_default();
            let kind = match folder.as_str() {
                "wal" => &mut files.log,
                "compacted" if named.contains(&name) => &mut files.sorted,
                "compacted" => &mut files.unnamed,
                _ => &mut files.other,
            };
            kind.add(object.size);
        }
        Ok(files)
    }
}

fn segments(manifest: &VersionedManifest) -> BTreeMap<Prefix, SegmentFiles> {
    let mut all = BTreeMap::new();
    for segment in manifest.segments() {
        let Ok((prefix, _)) = Prefix::decode(segment.prefix()) else { continue };
        let mut files = SegmentFiles { run_count: segment.compacted().len() as u64, ..SegmentFiles::default() };
        segment.l0().iter().for_each(|file| files.new.add(file.estimate_size()));
        let of_runs = segment.compacted().iter().flat_map(|run| run.sst_views());
        of_runs.for_each(|file| files.runs.add(file.estimate_size()));
        all.insert(prefix, files);
    }
    all
}
