//! Reads ahead what opening a slate for reading will ask the store for.
//!
//! The engine opens step by step, and each step waits for the one before: nine rounds of requests. What it will ask for is
//! known earlier, so it is read together, in three rounds, and held until the engine asks:
//!
//! 1. the listings of the manifests and of the log,
//! 2. the newest manifest, and how far manifests were collected as garbage,
//! 3. the files of the log behind that manifest, and what [`warm`](super::warm) wants of the sorted files.
//!
//! Files of a slate never change, so what is held of one is what the store has. A listing does grow old: while it is held,
//! the slate looks as it did then, and a file that was written later is not there. That is also what makes it right to list
//! the log beside the manifests: the view holds every file of that listing, from sorted files if the manifest is newer than
//! the listing, else from the log. What could not be read ahead is not held, and the store is asked for it when the engine
//! asks. When the slate is open everything held is let go.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use slatedb::manifest::VersionedManifest;
use slatedb::object_store_tag::ObjectStoreCallTag;
use slatedb::{DbReaderMode, PathResolver};

use super::warm;
use crate::env::Env;
use crate::store::Store;

/// A longer log is read by the engine, which bounds what it holds at once.
const LOG_BYTES: u64 = 32 << 20;
/// How many requests are under way at once.
const REQUESTS: usize = 128;

/// An object store that answers from what was read ahead. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct OpeningStore {
    inner: Arc<dyn ObjectStore>,
    root: Path,
    held: Arc<Mutex<Option<Held>>>,
}

#[derive(Debug, Default)]
struct Held {
    /// What was in a folder when it was listed.
    folders: HashMap<Path, Vec<ObjectMeta>>,
    objects: HashMap<Path, Object>,
}

#[derive(Clone, Debug)]
enum Object {
    /// There is none.
    Missing,
    /// It from `start` to its end.
    End { meta: ObjectMeta, start: u64, bytes: Bytes },
}

impl OpeningStore {
    /// The first two rounds. Returns also the last file of the log, zero if it has none: a view that is opened through this
    /// store holds at least that much.
    pub(crate) async fn look(store: &Store, path: &str) -> crate::Result<(Self, u64)> {
        let root = store.slate_path(path)?;
        let held = Arc::new(Mutex::new(Some(Held::default())));
        let this = Self { inner: Arc::clone(store.object_store()), root, held };
        let (_, log) = futures::join!(this.look_at_manifests(), this.list_ahead("wal"));
        let log_end = log?.iter().filter_map(id).max().unwrap_or(0);
        Ok((this, log_end))
    }

    async fn look_at_manifests(&self) {
        let Ok(manifests) = self.list_ahead("manifest").await else { return };
        let Some(newest) = manifests.iter().max_by_key(|meta| id(meta)) else { return };
        let boundary = self.root.clone().join("gc").join("manifest.boundary");
        futures::join!(self.read_ahead(newest.location.clone(), 0), self.read_ahead(boundary, 0));
        // If it was collected since it was listed, the engine has to list again.
        if !self.holds(&newest.location) {
            self.with(|held| held.folders.retain(|folder, _| folder.filename() != Some("manifest")));
        }
    }

    /// The third round, for a reader that will be opened in this mode. `store` is the one that asks this one. Nothing depends on it but
    /// how long opening takes.
    pub(crate) async fn read_files(
        &self,
        store: &Store,
        path: &str,
        env: &Env,
        mode: DbReaderMode,
    ) -> crate::Result<()> {
        let admin = store.admin(path, env)?;
        let Some(mut manifest) = admin.read_manifest(None).await? else { return Ok(()) };
        let mut log_end = u64::MAX;
        if let DbReaderMode::Checkpoint(id) = mode {
            let checkpoint = manifest.checkpoints().iter().find(|checkpoint| checkpoint.id == id);
            let Some(id) = checkpoint.map(|checkpoint| checkpoint.manifest_id) else { return Ok(()) };
            self.read_ahead(self.root.clone().join("manifest").join(format!("{id:020}.manifest")), 0).await;
            let Some(pinned) = admin.read_manifest(Some(id)).await? else { return Ok(()) };
            manifest = pinned;
            log_end = manifest.next_wal_sst_id();
        }
        let paths = PathResolver::new(self.root.clone(), &manifest);
        let sorted = warm::wanted(&manifest).into_iter().map(|wanted| (paths.sst_path(&wanted.file), wanted.start));
        let log = self.log_files(&manifest, log_end).into_iter().map(|location| (location, 0));
        let reads = futures::stream::iter(log.chain(sorted));
        reads.for_each_concurrent(REQUESTS, |(location, start)| self.read_ahead(location, start)).await;
        Ok(())
    }

    /// The files of the log that will be replayed, if they are not too many.
    fn log_files(&self, manifest: &VersionedManifest, end: u64) -> Vec<Path> {
        let replayed = manifest.replay_after_wal_id();
        let wanted = |meta: &&ObjectMeta| id(meta).is_some_and(|id| id > replayed && id < end);
        let found = self.with(|held| {
            let listed = held.folders.get(&self.root.clone().join("wal"))?;
            Some(listed.iter().filter(wanted).cloned().collect::<Vec<_>>())
        });
        let mut files: Vec<_> = found.flatten().unwrap_or_default();
        if files.iter().map(|meta| meta.size).sum::<u64>() > LOG_BYTES {
            files.clear();
        }
        files.into_iter().map(|meta| meta.location).collect()
    }

    /// Lets go of what is held: from now on it is the store beneath.
    pub(crate) fn finish(&self) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn with<T>(&self, ask: impl FnOnce(&mut Held) -> T) -> Option<T> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(ask)
    }

    fn holds(&self, location: &Path) -> bool {
        self.with(|held| held.objects.contains_key(location)).unwrap_or(false)
    }

    async fn list_ahead(&self, folder: &str) -> Result<Vec<ObjectMeta>> {
        let folder = self.root.clone().join(folder);
        let listed: Vec<_> = self.inner.list(Some(&folder)).try_collect().await?;
        self.with(|held| held.folders.insert(folder, listed.clone()));
        Ok(listed)
    }

    /// Reads an object from an offset to its end.
    async fn read_ahead(&self, location: Path, start: u64) {
        let object = match self.try_read(&location, start).await {
            Ok(object) => object,
            Err(Error::NotFound { .. }) if start == 0 => Object::Missing,
            Err(error) => {
                tracing::debug!(%error, %location, "part of a slate could not be read ahead");
                return;
            }
        };
        self.with(|held| held.objects.insert(location, object));
    }

    async fn try_read(&self, location: &Path, start: u64) -> Result<Object> {
        // An offset into an object may lie at its end only if it has none.
        let range = (start > 0).then_some(GetRange::Offset(start));
        let found = self.inner.get_opts(location, GetOptions { range, ..GetOptions::default() }).await?;
        let (meta, start) = (found.meta.clone(), found.range.start);
        Ok(Object::End { meta, start, bytes: found.bytes().await? })
    }

    /// The answer, if what is held knows it.
    fn answer(&self, location: &Path, options: &GetOptions) -> Option<Result<GetResult>> {
        // The engine asks again for what it found to be damaged on the way.
        let is_again = ObjectStoreCallTag::from_extensions(&options.extensions).is_some_and(|tag| tag.retry.is_some());
        let is_conditional = options.if_match.is_some()
            || options.if_none_match.is_some()
            || options.if_modified_since.is_some()
            || options.if_unmodified_since.is_some();
        if is_again || is_conditional || options.version.is_some() {
            return None;
        }
        self.with(|held| held.answer(location, options)).flatten()
    }
}

impl Held {
    fn answer(&self, location: &Path, options: &GetOptions) -> Option<Result<GetResult>> {
        match self.objects.get(location) {
            Some(Object::Missing) => Some(Err(missing(location))),
            Some(Object::End { meta, start, bytes }) if options.head => {
                Some(Ok(result(meta, *start..meta.size, bytes.slice(0..0))))
            }
            Some(Object::End { meta, start, bytes }) => {
                let range = match &options.range {
                    Some(range) => range.as_range(meta.size).ok()?,
                    None => 0..meta.size,
                };
                let part = part(*start, bytes, &range)?;
                Some(Ok(result(meta, range, part)))
            }
            None => self.listed(location, options),
        }
    }

    /// What the listing of its folder tells about an object: whether it is there.
    fn listed(&self, location: &Path, options: &GetOptions) -> Option<Result<GetResult>> {
        let (_, listed) = self.folders.iter().find(|(folder, _)| {
            location.prefix_match(folder).is_some_and(|mut rest| rest.next().is_some() && rest.next().is_none())
        })?;
        match listed.iter().find(|meta| meta.location == *location) {
            None => Some(Err(missing(location))),
            Some(meta) if options.head => Some(Ok(result(meta, 0..meta.size, Bytes::new()))),
            Some(_) => None,
        }
    }
}

fn result(meta: &ObjectMeta, range: Range<u64>, bytes: Bytes) -> GetResult {
    let payload = GetResultPayload::Stream(futures::stream::once(async move { Ok(bytes) }).boxed());
    GetResult {
        payload,
        meta: meta.clone(),
        range,
        attributes: object_store::Attributes::default(),
        extensions: object_store::Extensions::default(),
    }
}

/// A range of an object that is held from `start` on.
fn part(start: u64, bytes: &Bytes, range: &Range<u64>) -> Option<Bytes> {
    let from = usize::try_from(range.start.checked_sub(start)?).ok()?;
    let to = usize::try_from(range.end.checked_sub(start)?).ok()?;
    (from <= to && to <= bytes.len()).then(|| bytes.slice(from..to))
}

fn missing(location: &Path) -> Error {
    Error::NotFound { path: location.to_string(), source: "it was not there when its folder was listed".into() }
}

/// The number that a manifest or a file of the log is named by.
fn id(meta: &ObjectMeta) -> Option<u64> {
    meta.location.filename()?.split('.').next()?.parse().ok()
}

#[async_trait]
impl ObjectStore for OpeningStore {
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
        match self.answer(location, &options) {
            Some(answer) => answer,
            None => self.inner.get_opts(location, options).await,
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let held = prefix.and_then(|folder| self.with(|held| held.folders.get(folder).cloned()).flatten());
        match held {
            Some(listed) => futures::stream::iter(listed.into_iter().map(Ok)).boxed(),
            None => self.inner.list(prefix),
        }
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

impl fmt::Display for OpeningStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpeningStore({})", self.inner)
    }
}

#[cfg(test)]
mod tests;
