//! The object store a slate lives on, from a URL, with limits that end.
//!
//! | URL | store |
//! |---|---|
//! | `memory:` | this process's memory, a new one each time |
//! | `file:relative/dir`, `file:///absolute/dir` | local files, fsynced unless told otherwise |
//! | `s3://bucket/prefix` | Amazon S3 and what speaks like it (feature `aws`) |
//! | `gs://bucket/prefix` | Google Cloud Storage (feature `gcp`) |
//! | `az://container/prefix` | Azure Blob Storage (feature `azure`) |
//!
//! Cloud credentials and endpoints come from the environment, by the names that the `object_store` crate knows
//! (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`, `AWS_ALLOW_HTTP`, ...).

mod bounded;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use slatedb::admin::Admin;
use slatedb::db_cache::foyer::{FoyerCache, FoyerCacheOptions};
use slatedb::db_cache::{DbCache, SplitCache};

use self::bounded::BoundedStore;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::slate::clock::SlateClock;

/// Whether an acknowledged write to local files survives a power cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LocalDurability {
    /// Files and directories are fsynced before a write is acknowledged.
    #[default]
    Fsync,
    /// A write is acknowledged once the operating system has it. It survives a crash of the process, not of the machine.
    OperatingSystem,
}

/// What kind of store it is. Some stores can do less than others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// Memory of this process.
    Memory,
    /// Local files. They have no conditional overwrite, which garbage collection of manifests must know.
    Local,
    /// An object store behind a network.
    Remote,
}

/// How to open a store.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Whether local files are fsynced.
    pub local_durability: LocalDurability,
    /// Whether the folder of local files is made if it is not there.
    pub creates_folder: bool,
    /// Size of the block cache that all slates on this store share, in bytes.
    pub cache_bytes: u64,
    /// How often a request that failed for a passing reason is tried again.
    pub max_retries: usize,
    /// For how long one request is tried again at most.
    pub retry_timeout: std::time::Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            local_durability: LocalDurability::default(),
            creates_folder: true,
            cache_bytes: 512 * 1024 * 1024,
            max_retries: 3,
            retry_timeout: std::time::Duration::from_secs(15),
        }
    }
}

/// An object store and the block cache its slates share. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    object_store: Arc<dyn ObjectStore>,
    root: Path,
    kind: StoreKind,
    url: Arc<str>,
    cache: Arc<dyn DbCache>,
}

/// What the URL of a store begins with, before the colon.
pub const SCHEMES: [&str; 9] = ["file", "memory", "s3", "s3a", "gs", "az", "azure", "abfs", "abfss"];

/// How often a failed request of administration is tried again; with the delays between, about two seconds.
const ADMIN_RETRIES: u32 = 4;

/// Each slate opened in this process has its own id in the shared cache.
static NEXT_CACHE_ID: AtomicU64 = AtomicU64::new(1);

impl Store {
    /// Opens the store of a URL with the default options.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn from_url(url: &str) -> Result<Self> {
        Self::open(url, &StoreOptions::default())
    }

    /// Opens the store of a URL.
    ///
    /// # Errors
    /// `Invalid` if the URL is not one of those above or its scheme was not compiled in; `Unavailable` if a
    /// local folder cannot be made; `NotFound` if it is not there and shall not be made.
    pub fn open(url: &str, options: &StoreOptions) -> Result<Self> {
        let scheme = url.split_once(':').map(|(scheme, _)| scheme).ok_or_else(|| {
            Error::invalid(format!("a store URL begins with memory:, file:, s3:, gs: or az:, url={url}"))
        })?;
        let (object_store, root, kind): (Arc<dyn ObjectStore>, Path, StoreKind) = match scheme {
            "memory" => (Arc::new(InMemory::new()), Path::default(), StoreKind::Memory),
            "file" => (local(url, options)?, Path::default(), StoreKind::Local),
            "s3" | "s3a" | "gs" | "az" | "azure" | "abfs" | "abfss" => {
                let (object_store, root) = cloud(scheme, url, options)?;
                (object_store, root, StoreKind::Remote)
            }
            _ => {
                let known = SCHEMES.join(", ");
                let what = format!("unknown scheme of a store URL, scheme={scheme}, url={url}, known=[{known}]");
                return Err(Error::invalid(what));
            }
        };
        Ok(Self { object_store, root, kind, url: url.into(), cache: cache(options.cache_bytes) })
    }

    /// A store that the caller made, such as one wrapped for metering or for tests.
    #[must_use]
    pub fn new(object_store: Arc<dyn ObjectStore>, kind: StoreKind) -> Self {
        let cache_bytes = StoreOptions::default().cache_bytes;
        Self { object_store, root: Path::default(), kind, url: "custom:".into(), cache: cache(cache_bytes) }
    }

    /// The same place through another object store, as a test does that makes it fail.
    #[must_use]
    pub fn map(&self, wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> Self {
        Self { object_store: wrap(Arc::clone(&self.object_store)), ..self.clone() }
    }

    /// The same store with a block cache of its own, empty, as a fresh process would have it.
    #[must_use]
    pub fn with_cold_cache(&self) -> Self {
        Self { cache: cache(StoreOptions::default().cache_bytes), ..self.clone() }
    }

    /// The object store beneath.
    #[must_use]
    pub fn object_store(&self) -> &Arc<dyn ObjectStore> {
        &self.object_store
    }

    /// What kind of store it is.
    #[must_use]
    pub fn kind(&self) -> StoreKind {
        self.kind
    }

    /// The URL it was opened with.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The full path of a slate in the object store.
    ///
    /// # Errors
    /// `Invalid` if the path is empty or not a path.
    pub fn slate_path(&self, path: &str) -> Result<Path> {
        let relative = Path::parse(path)
            .map_err(|error| Error::invalid(format!("not a path of a slate, path={path:?}")).with_source(error))?;
        if relative.as_ref().is_empty() {
            return Err(Error::invalid("the path of a slate is empty"));
        }
        Ok(self.root.parts().chain(relative.parts()).collect())
    }

    /// Administration of the slate at a path: manifests, checkpoints, clones, deletion. What it makes has its time and its ids from `env`.
    pub(crate) fn admin(&self, path: &str, env: &Env) -> Result<Admin> {
        let bounded = BoundedStore::new(Arc::clone(&self.object_store), ADMIN_RETRIES);
        let admin = Admin::builder(self.slate_path(path)?, Arc::new(bounded));
        Ok(admin.with_system_clock(SlateClock::of(env)).with_seed(env.random_seed(path)).build())
    }

    pub(crate) fn cache(&self) -> (Arc<dyn DbCache>, u64) {
        (Arc::clone(&self.cache), NEXT_CACHE_ID.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("url", &self.url).finish_non_exhaustive()
    }
}

fn cache(capacity: u64) -> Arc<dyn DbCache> {
    let part = |max_capacity| -> Option<Arc<dyn DbCache>> {
        Some(Arc::new(FoyerCache::new_with_opts(FoyerCacheOptions { max_capacity, shards: 8 })))
    };
    let metadata = capacity / 4;
    Arc::new(SplitCache::new().with_block_cache(part(capacity - metadata)).with_meta_cache(part(metadata)))
}

fn local(url: &str, options: &StoreOptions) -> Result<Arc<dyn ObjectStore>> {
    let rest = url.strip_prefix("file:").unwrap_or(url);
    let folder = if rest.starts_with("//") {
        let parsed = url::Url::parse(url).ok().and_then(|url| url.to_file_path().ok());
        parsed.ok_or_else(|| Error::invalid(format!("not a file URL, as in file:///var/data, url={url}")))?
    } else {
        PathBuf::from(rest)
    };
    if folder.as_os_str().is_empty() {
        return Err(Error::invalid("a file URL names a folder, as in file:./data"));
    }
    let unusable = |error: std::io::Error| {
        Error::unavailable(format!("folder cannot be made, folder={}", folder.display())).with_source(error)
    };
    if options.creates_folder {
        std::fs::create_dir_all(&folder).map_err(unusable)?;
    } else if !folder.is_dir() {
        return Err(Error::not_found(format!("there is no such folder, folder={}", folder.display())));
    }
    let fsync = options.local_durability == LocalDurability::Fsync;
    let files = LocalFileSystem::new_with_prefix(&folder)?.with_fsync(fsync);
    Ok(Arc::new(files))
}

#[cfg(any(feature = "aws", feature = "gcp", feature = "azure"))]
fn retries(options: &StoreOptions) -> object_store::RetryConfig {
    object_store::RetryConfig {
        max_retries: options.max_retries,
        retry_timeout: options.retry_timeout,
        ..object_store::RetryConfig::default()
    }
}

fn cloud(scheme: &str, url: &str, options: &StoreOptions) -> Result<(Arc<dyn ObjectStore>, Path)> {
    let parsed = url::Url::parse(url)
        .map_err(|error| Error::invalid(format!("not a store URL, url={url}")).with_source(error))?;
    let root = Path::from_url_path(parsed.path())
        .map_err(|error| Error::invalid(format!("not a path in a bucket, url={url}")).with_source(error))?;
    // Without any cloud feature nothing below uses them.
    let _ = (options, &root);
    match scheme {
        #[cfg(feature = "aws")]
        "s3" | "s3a" => {
            let builder = object_store::aws::AmazonS3Builder::from_env().with_url(url).with_retry(retries(options));
            Ok((Arc::new(builder.build()?), root))
        }
        #[cfg(feature = "gcp")]
        "gs" => {
            let builder = object_store::gcp::GoogleCloudStorageBuilder::from_env();
            Ok((Arc::new(builder.with_url(url).with_retry(retries(options)).build()?), root))
        }
        #[cfg(feature = "azure")]
        "az" | "azure" | "abfs" | "abfss" => {
            let builder = object_store::azure::MicrosoftAzureBuilder::from_env();
            Ok((Arc::new(builder.with_url(url).with_retry(retries(options)).build()?), root))
        }
        _ => Err(Error::invalid(format!(
            "this program was built without that store; enable the feature aws, gcp or azure, url={url}"
        ))),
    }
}

#[cfg(test)]
mod tests;
