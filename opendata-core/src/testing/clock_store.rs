//! An object store that dates its objects by a clock.
//!
//! What is garbage is judged by the age of files as the store tells it, so in a world with a time of its own the store must be in that time as well.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::DateTime;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

use crate::env::Clock;
use crate::time::Timestamp;

/// Wraps a store; an object was modified when the clock says so. One in several parts was modified when its first part was announced.
#[derive(Clone)]
pub struct ClockStore {
    inner: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    modified: Arc<Mutex<BTreeMap<Path, Timestamp>>>,
}

impl ClockStore {
    /// Wraps a store.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>) -> Self {
        Self { inner, clock, modified: Arc::default() }
    }

    fn date(&self, location: &Path) {
        let now = self.clock.now();
        self.modified.lock().unwrap_or_else(PoisonError::into_inner).insert(location.clone(), now);
    }

    fn dated(&self, mut meta: ObjectMeta) -> ObjectMeta {
        let modified = self.modified.lock().unwrap_or_else(PoisonError::into_inner).get(&meta.location).copied();
        if let Some(time) = modified.and_then(|time| DateTime::from_timestamp_millis(time.0)) {
            meta.last_modified = time;
        }
        meta
    }
}

#[async_trait]
impl ObjectStore for ClockStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let put = self.inner.put_opts(location, payload, options).await?;
        self.date(location);
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.date(location);
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let got = self.inner.get_opts(location, options).await?;
        Ok(GetResult { meta: self.dated(got.meta.clone()), ..got })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let this = self.clone();
        self.inner.list(prefix).map_ok(move |meta| this.dated(meta)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut listed = self.inner.list_with_delimiter(prefix).await?;
        listed.objects = listed.objects.into_iter().map(|meta| self.dated(meta)).collect();
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        self.date(to);
        Ok(())
    }
}

impl fmt::Display for ClockStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClockStore({})", self.inner)
    }
}

impl fmt::Debug for ClockStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
