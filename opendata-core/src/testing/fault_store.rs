//! An object store that counts its calls, takes its time, and fails when it is told to.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

/// Which call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A put of a whole object, or a part of one.
    Put,
    /// A get or head.
    Get,
    /// A listing.
    List,
    /// A deletion.
    Delete,
    /// A copy.
    Copy,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails and has no effect.
    Error,
    /// The call has its effect, and fails nevertheless.
    ErrorAfterEffect,
    /// The call never returns.
    Hang,
    /// The call takes this long, and succeeds.
    Slow(Duration),
}

type Rule = Box<dyn FnMut(Method, &Path) -> Option<Fault> + Send>;

/// How many calls there were, and how many bytes they moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreCounts {
    /// Puts and parts of puts.
    pub puts: u64,
    /// Gets and heads.
    pub gets: u64,
    /// Listings.
    pub lists: u64,
    /// Deletions.
    pub deletes: u64,
    /// Bytes put.
    pub put_bytes: u64,
    /// Bytes of the objects or ranges that were got.
    pub get_bytes: u64,
    /// Calls that were made to fail.
    pub faults: u64,
}

#[derive(Default)]
struct Counters {
    puts: AtomicU64,
    gets: AtomicU64,
    lists: AtomicU64,
    deletes: AtomicU64,
    put_bytes: AtomicU64,
    get_bytes: AtomicU64,
    faults: AtomicU64,
}

/// Wraps a store. Clones share counts and rule.
#[derive(Clone)]
pub struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    rule: Arc<Mutex<Option<Rule>>>,
    counters: Arc<Counters>,
}

impl FaultStore {
    /// Wraps a store; nothing fails until a rule is set.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, rule: Arc::default(), counters: Arc::default() }
    }

    /// Asks `rule` about every call from now on.
    pub fn set_rule(&self, rule: impl FnMut(Method, &Path) -> Option<Fault> + Send + 'static) {
        *self.rule.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(rule));
    }

    /// Lets everything succeed again.
    pub fn clear_rule(&self) {
        *self.rule.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Calls so far.
    #[must_use]
    pub fn counts(&self) -> StoreCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        StoreCounts {
            puts: get(&self.counters.puts),
            gets: get(&self.counters.gets),
            lists: get(&self.counters.lists),
            deletes: get(&self.counters.deletes),
            put_bytes: get(&self.counters.put_bytes),
            get_bytes: get(&self.counters.get_bytes),
            faults: get(&self.counters.faults),
        }
    }

    fn decide(&self, method: Method, path: &Path) -> Option<Fault> {
        let fault = self.rule.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?(method, path);
        if fault.is_some() {
            self.counters.faults.fetch_add(1, Ordering::SeqCst);
        }
        fault
    }

    async fn call<T>(&self, method: Method, path: &Path, effect: impl Future<Output = Result<T>>) -> Result<T> {
        match self.decide(method, path) {
            None => effect.await,
            Some(Fault::Error) => Err(injected()),
            Some(Fault::ErrorAfterEffect) => effect.await.and(Err(injected())),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Slow(time)) => {
                tokio::time::sleep(time).await;
                effect.await
            }
        }
    }
}

fn injected() -> object_store::Error {
    object_store::Error::Generic { store: "fault", source: "injected fault".into() }
}

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::SeqCst);
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        add(&self.counters.puts, 1);
        add(&self.counters.put_bytes, payload.content_length() as u64);
        self.call(Method::Put, location, self.inner.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        add(&self.counters.puts, 1);
        self.call(Method::Put, location, self.inner.put_multipart_opts(location, options)).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        add(&self.counters.gets, 1);
        let result = self.call(Method::Get, location, self.inner.get_opts(location, options)).await?;
        add(&self.counters.get_bytes, result.range.end - result.range.start);
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        add(&self.counters.gets, 1);
        let parts = self.call(Method::Get, location, self.inner.get_ranges(location, ranges)).await?;
        add(&self.counters.get_bytes, parts.iter().map(|part| part.len() as u64).sum());
        Ok(parts)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let allowed = locations.map(move |location| {
            let location = location?;
            add(&this.counters.deletes, 1);
            match this.decide(Method::Delete, &location) {
                None | Some(Fault::Slow(_) | Fault::Hang) => Ok(location),
                Some(Fault::Error | Fault::ErrorAfterEffect) => Err(injected()),
            }
        });
        self.inner.delete_stream(allowed.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        add(&self.counters.lists, 1);
        let path = prefix.cloned().unwrap_or_default();
        match self.decide(Method::List, &path) {
            Some(Fault::Error | Fault::ErrorAfterEffect) => futures::stream::once(async { Err(injected()) }).boxed(),
            Some(Fault::Hang) => futures::stream::pending().boxed(),
            Some(Fault::Slow(time)) => {
                let listing = self.inner.list(prefix);
                futures::stream::once(async move {
                    tokio::time::sleep(time).await;
                    listing
                })
                .flatten()
                .boxed()
            }
            None => self.inner.list(prefix),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        add(&self.counters.lists, 1);
        let path = prefix.cloned().unwrap_or_default();
        self.call(Method::List, &path, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.call(Method::Copy, to, self.inner.copy_opts(from, to, options)).await
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({})", self.inner)
    }
}

impl fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
