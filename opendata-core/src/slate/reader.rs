//! Reading a slate without being its writer: at a checkpoint, or as it is now, from any process.
//!
//! A reader of [`At::Latest`] is a fixed instant as well; [`refresh`](SlateReader::refresh) moves it to a newer
//! one. Between refreshes it costs the store nothing. It does not protect its files from garbage collection: a view that is
//! used for longer than [`Settings::garbage_age_s`](super::Settings) should be one of a checkpoint.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use slatedb::config::DbReaderOptions;
use slatedb::{DbReader, DbReaderMode};
use tokio::sync::watch;

use super::caches::Caches;
use super::checkpoint;
use super::clock::SlateClock;
use super::erased::SystemOf;
use super::opening::OpeningStore;
use super::own;
use super::registry::{Ancestor, Registry, SlateId};
use super::router::{Router, SegmentExtractor};
use super::transaction::Handle;
use super::view::{Access, Order, Row, Source, View, ViewInner};
use super::wal::{self, WalTail};
use super::warm;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::key::KeyRange;
use crate::store::Store;
use crate::system::DataSystem;
use crate::time::Position;

/// Which instant of a slate to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum At {
    /// What is durable now.
    #[default]
    Latest,
    /// A named checkpoint.
    Checkpoint(String),
}

/// Describes a reader.
pub struct ReaderBuilder {
    store: Store,
    path: String,
    router: Router,
    env: Env,
}

/// Reads a slate from any process.
pub struct SlateReader {
    store: Store,
    path: String,
    router: Router,
    env: Env,
    at: At,
    current: Mutex<Opened>,
}

/// The engine's reader. Its poller lives until it is closed, so it is closed when the last view of it is gone.
pub(crate) struct EngineReader(Option<DbReader>);

impl EngineReader {
    pub(crate) fn get(&self) -> Result<&DbReader> {
        self.0.as_ref().ok_or_else(|| Error::closed("the reader is closed"))
    }
}

impl Drop for EngineReader {
    fn drop(&mut self) {
        let (Some(reader), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) else { return };
        runtime.spawn(async move {
            if let Err(error) = reader.close().await {
                tracing::debug!(%error, "a reader did not close in order");
            }
        });
    }
}

#[derive(Clone)]
struct Opened {
    view: View,
    reader: Arc<EngineReader>,
    /// The last file of the log when the reader was opened: everything up to it is in the view.
    log_end: u64,
}

/// A row in words.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The row.
    pub row: Row,
    /// What its system says about it, or why it cannot.
    pub text: String,
}

impl ReaderBuilder {
    /// A system whose instances shall be readable.
    #[must_use]
    pub fn register<S: DataSystem>(mut self) -> Self {
        self.router.register(SystemOf::<S>::shared());
        self
    }

    /// Another clock, by which checkpoints expire for this reader, and chance that can be repeated.
    #[must_use]
    pub fn env(mut self, env: Env) -> Self {
        self.env = env;
        self
    }

    /// Opens the slate for reading. Nothing is written, and a writer is not disturbed.
    ///
    /// # Errors
    /// `NotFound` if there is no slate or no such checkpoint; `Unsupported` if it was made by a newer version.
    pub async fn open(self, at: At) -> Result<SlateReader> {
        let Self { store, path, router, env } = self;
        let opened =
            open(&Place { store: &store, path: &path, router: &router, env: &env }, &at, Arc::default(), None).await?;
        Ok(SlateReader { store, path, router, env, at, current: Mutex::new(opened) })
    }
}

impl SlateReader {
    /// Begins to describe a reader of the slate at a path.
    #[must_use]
    pub fn builder(store: &Store, path: &str) -> ReaderBuilder {
        ReaderBuilder { store: store.clone(), path: path.to_owned(), router: Router::default(), env: Env::system() }
    }

    /// The instant it stands at.
    #[must_use]
    pub fn view(&self) -> View {
        self.opened().view
    }

    /// A handle to an instance.
    ///
    /// # Errors
    /// `NotFound` if there is none of that name, `Invalid` if it is one of another system.
    pub fn get<S: DataSystem>(&self, name: &str) -> Result<Handle<S>> {
        let view = self.view();
        let instance = view.0.registry.find(name)?;
        instance.check_system::<S>()?;
        Ok(Handle::new(view.0.registry.slate_id, instance))
    }

    /// The slate's identity.
    #[must_use]
    pub fn slate_id(&self) -> SlateId {
        self.view().0.registry.slate_id
    }

    /// Where the slate was cloned from, nearest ancestor first.
    #[must_use]
    pub fn lineage(&self) -> Vec<Ancestor> {
        self.view().0.registry.lineage.clone()
    }

    /// Moves to what is durable now, and returns it. If nothing was written since, that costs one request. A
    /// reader of a checkpoint stays. Views taken before stay where they are.
    ///
    /// # Errors
    /// What the store returned; the reader then stands where it stood.
    pub async fn refresh(&self) -> Result<View> {
        let old = self.opened();
        if self.at == At::Latest
            && let Some(end) = wal::last_file(&self.store, &self.path, old.log_end + 1).await?
        {
            let opened = open(&self.place(), &self.at, Arc::clone(&old.view.0.caches), Some(end)).await?;
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            // Two callers may refresh at once; the later instant stays.
            if opened.view.position() >= current.view.position() {
                *current = opened;
            }
        }
        Ok(self.view())
    }

    /// Follows the slate: refreshes every `interval` for as long as the receiver or a clone of it lives, and shows each new
    /// instant. A failed refresh is logged and tried again.
    #[must_use]
    pub fn follow(self: &Arc<Self>, interval: Duration) -> watch::Receiver<View> {
        let (shown, receiver) = watch::channel(self.view());
        let reader = Arc::clone(self);
        // It ends by itself within one interval after the last receiver is gone.
        self.env.clone().spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    () = shown.closed() => return,
                    () = tokio::time::sleep(interval) => {}
                }
                match reader.refresh().await {
                    Ok(view) if view.position() > shown.borrow().position() => drop(shown.send_replace(view)),
                    Ok(_) => {}
                    Err(error) => tracing::warn!(%error, "the slate could not be looked at; it will be tried again"),
                }
            }
        });
        receiver
    }

    /// Follows the write-ahead log from this reader's instant on: every row that is written after it, once.
    ///
    /// # Errors
    /// What the store returned.
    pub fn tail(&self) -> Result<WalTail> {
        let opened = self.opened();
        let read = opened.log_end.max(opened.reader.get()?.manifest().replay_after_wal_id());
        WalTail::new(&self.store, &self.path, read, opened.view.position())
    }

    /// The rows of a range in words, at most `limit`.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn inspect(&self, range: KeyRange, limit: usize) -> Result<Vec<Inspected>> {
        let view = self.view();
        let mut rows = view.scan(range, Access::Bulk, Order::Ascending).await?;
        let mut inspected = Vec::new();
        while inspected.len() < limit {
            let Some(row) = rows.next().await? else { break };
            let text = match row.key == Registry::key() {
                true => Registry::decode(&row.value).map(|registry| format!("slate record: {registry:?}")),
                false => match own::describe(&row.key, &row.value).transpose() {
                    Some(own) => own,
                    None => self.router.describe(&row.key, &row.value),
                },
            };
            inspected.push(Inspected { row, text: text.unwrap_or_else(|error| error.to_string()) });
        }
        Ok(inspected)
    }

    pub(crate) fn parts(&self) -> (&Store, &str, &Router, &At) {
        (&self.store, &self.path, &self.router, &self.at)
    }

    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    fn place(&self) -> Place<'_> {
        Place { store: &self.store, path: &self.path, router: &self.router, env: &self.env }
    }

    fn opened(&self) -> Opened {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is opened, and in which world.
struct Place<'a> {
    store: &'a Store,
    path: &'a str,
    router: &'a Router,
    env: &'a Env,
}

/// Opens the engine. Whoever has read the slate before says where its log ends; what he read is in the cache, and nothing is read ahead.
async fn open(place: &Place<'_>, at: &At, caches: Arc<Caches>, log_end: Option<u64>) -> Result<Opened> {
    let Place { path, env, .. } = *place;
    let (ahead, log_end) = match log_end {
        Some(end) => (None, end),
        None => OpeningStore::look(place.store, path).await.map(|(ahead, end)| (Some(ahead), end))?,
    };
    let mapped = ahead.as_ref().map(|ahead| place.store.map(|_| Arc::new(ahead.clone())));
    let store = mapped.as_ref().unwrap_or(place.store);
    let (mode, position, log_end) = match at {
        At::Latest => (DbReaderMode::FollowLatest, None, log_end),
        At::Checkpoint(name) => {
            let found = checkpoint::find(store, path, name, env).await?;
            (DbReaderMode::Checkpoint(found.id), Some(found.position), 0)
        }
    };
    if let Some(ahead) = &ahead
        && let Err(error) = ahead.read_files(store, path, env, mode).await
    {
        tracing::debug!(%error, "a slate could not be read ahead");
    }
    let reader = Arc::new(EngineReader(Some(open_engine(&Place { store, ..*place }, mode).await?)));
    let engine = reader.get()?;
    let position = position.unwrap_or_else(|| Position(engine.status().durable_seq));
    warm::warm(engine).await;
    let value = engine.get(Registry::key()).await?;
    if let Some(ahead) = &ahead {
        ahead.finish();
    }
    let value = value.ok_or_else(|| {
        Error::not_found(format!("there is no slate at this path, or nothing durable in it yet, path={path}"))
    })?;
    let registry = Registry::decode(&value)?;
    let view = View(Arc::new(ViewInner {
        source: Source::Reader(Arc::clone(&reader)),
        position,
        registry: Arc::new(registry),
        states: BTreeMap::new(),
        caches,
        lease: None,
    }));
    Ok(Opened { view, reader, log_end })
}

/// Opens the engine at an instant. It follows nothing: the next look at the store is a new one.
async fn open_engine(place: &Place<'_>, mode: DbReaderMode) -> Result<DbReader> {
    let Place { store, path, router, env } = *place;
    let options = DbReaderOptions {
        // The engine's poller counts from the earliest time its clock knows, so with any shorter interval it looks at
        // the store at once, and a view that is already in use would move.
        manifest_poll_interval: Duration::MAX,
        object_store_max_retries: Some(5),
        ..DbReaderOptions::default()
    };
    let (cache, cache_id) = store.cache();
    let opened = DbReader::builder(store.slate_path(path)?, Arc::clone(store.object_store()))
        .with_reader_mode(mode)
        .with_segment_extractor(Arc::new(SegmentExtractor))
        .with_merge_operator(router.merge_operator())
        .with_filter_policies(router.filter_policies())
        .with_db_cache(cache, cache_id)
        .with_system_clock(SlateClock::of(env))
        .with_seed(env.random_seed(path))
        .with_options(options)
        .build()
        .await;
    match opened {
        Ok(reader) => Ok(reader),
        // To the engine, a slate that is not there is one whose manifest was lost.
        Err(_) if matches!(store.admin(path, env)?.read_manifest(None).await, Ok(None)) => {
            Err(Error::not_found(format!("there is no slate at this path, path={path}")))
        }
        Err(error) => Err(Error::from(error).context(format_args!("open slate {path} for reading"))),
    }
}
