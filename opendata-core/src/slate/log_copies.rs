//! Copies the log of a slate that is being cloned, many files at once.
//!
//! The engine copies one file after the other, and a slate that is committed to in small pieces has thousands of them behind its sorted files. When it
//! asks for one, those behind it are copied along, and when it asks for these they are there. None is copied that it would not ask for: one too many
//! in the log of a clone would be read as what the clone wrote itself.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

/// How many files are copied at once.
pub(super) const AT_ONCE: u64 = 64;

/// An object store that copies files of one log together.
#[derive(Debug)]
pub(super) struct LogCopies {
    inner: Arc<dyn ObjectStore>,
    folder: Path,
    /// The last file that is to be copied.
    last: u64,
    /// What was copied along and was not asked for yet.
    made: Mutex<HashSet<Path>>,
}

impl LogCopies {
    /// Copies what lies in this folder, up to the file `last`.
    pub(super) fn new(inner: Arc<dyn ObjectStore>, folder: Path, last: u64) -> Self {
        Self { inner, folder, last, made: Mutex::default() }
    }

    fn made(&self) -> MutexGuard<'_, HashSet<Path>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy that is asked for, and those to make along with it.
    fn batch(&self, from: &Path, to: &Path) -> Vec<(Path, Path)> {
        let number = from.filename().and_then(|name| name.strip_suffix(".sst")).and_then(|name| name.parse().ok());
        let (Some(number), Some(to_folder)) = (number, folder_of(to)) else { return vec![(from.clone(), to.clone())] };
        if self.folder.clone().join(name(number)) != *from || to_folder.clone().join(name(number)) != *to {
            return vec![(from.clone(), to.clone())];
        }
        let end = self.last.min(number.saturating_add(AT_ONCE - 1)).max(number);
        let pair = |number| (self.folder.clone().join(name(number)), to_folder.clone().join(name(number)));
        (number..=end).map(pair).collect()
    }
}

fn name(number: u64) -> String {
    format!("{number:020}.sst")
}

fn folder_of(location: &Path) -> Option<Path> {
    let (folder, _) = location.as_ref().rsplit_once('/')?;
    Path::parse(folder).ok()
}

#[async_trait]
impl ObjectStore for LogCopies {
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        if self.made().remove(to) {
            return Ok(());
        }
        let mut batch = self.batch(from, to);
        {
            let made = self.made();
            batch.retain(|(_, to)| !made.contains(to));
        }
        let copies = batch.iter().map(|(from, to)| self.inner.copy_opts(from, to, options.clone()));
        let mut outcomes = join_all(copies).await.into_iter().zip(batch);
        let asked_for = outcomes.next().map_or(Ok(()), |(outcome, _)| outcome);
        // What could not be copied along is asked for in its turn.
        let along = outcomes.filter(|(outcome, _)| outcome.is_ok()).map(|(_, (_, to))| to);
        self.made().extend(along);
        asked_for
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

impl fmt::Display for LogCopies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogCopies({})", self.inner)
    }
}

#[cfg(test)]
mod tests;
