//! An object store whose failures end.
//!
//! The storage engine's administration retries a failed request for ever, and has no setting for it. This
//! wrapper retries a bounded number of times and then reports the failure as one that is not retried.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use slatedb_common::retry::{NonRetryable, should_retry};

#[derive(Debug)]
pub(crate) struct BoundedStore {
    inner: Arc<dyn ObjectStore>,
    retries: u32,
}

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(1);

impl BoundedStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, retries: u32) -> Self {
        Self { inner, retries }
    }

    async fn bounded<T, F: Future<Output = Result<T>>>(&self, call: impl Fn() -> F) -> Result<T> {
        let mut delay = FIRST_DELAY;
        for _ in 0..self.retries {
            match call().await {
                Err(error) if should_retry(&error) && !is_refusal(&error) => {
                    tokio::time::sleep(delay).await;
                    delay = LONGEST_DELAY.min(delay * 2);
                }
                outcome => return outcome,
            }
        }
        call().await.map_err(last)
    }
}

/// Credentials that were refused once will be refused again.
fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. } | Error::InvalidPath { .. })
}

/// What would be tried again, as an error that is not.
fn last(error: Error) -> Error {
    match error {
        Error::Generic { store, source } => Error::Generic { store, source: Box::new(NonRetryable(source)) },
        refusal if is_refusal(&refusal) => {
            Error::Generic { store: "store", source: Box::new(NonRetryable(Box::new(refusal))) }
        }
        other => other,
    }
}

#[async_trait]
impl ObjectStore for BoundedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.bounded(|| self.inner.put_opts(location, payload.clone(), options.clone())).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.bounded(|| self.inner.put_multipart_opts(location, options.clone())).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.bounded(|| self.inner.get_opts(location, options.clone())).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.bounded(|| self.inner.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations).map(|deleted| deleted.map_err(last)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix).map(|found| found.map_err(last)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.bounded(|| self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.bounded(|| self.inner.copy_opts(from, to, options.clone())).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.bounded(|| self.inner.rename_opts(from, to, options.clone())).await
    }
}

impl fmt::Display for BoundedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BoundedStore({})", self.inner)
    }
}
