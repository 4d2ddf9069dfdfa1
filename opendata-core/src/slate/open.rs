//! Opening: creates a slate, or checks that this program knows everything in it before it takes it over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use slatedb::config::{CloseOptions, DbReaderOptions, FlushOptions, FlushType, WriteOptions};
use slatedb::manifest::VersionedManifest;
use slatedb::{CompactorBuilder, Db, DbReader, DbReaderMode, SstBlockSize, WriteBatch};
use tokio::sync::watch;

use super::clock::SlateClock;
use super::committer::{Committer, Progress, write_failure};
use super::erased::SystemOf;
use super::maintenance;
use super::queue::Queue;
use super::registry::{Registry, SlateId};
use super::router::{EXTRACTOR_NAME, Router, SegmentExtractor};
use super::stats::Counters;
use super::view::{Leases, Source, View, ViewInner};
use super::{Inner, Settings, Slate, retire, wal, worker};
use crate::announce::Announcer;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::system::DataSystem;
use crate::time::{Position, Timestamp};

/// Block size of sorted files. Chunks of records and samples are larger than the engine's default of 4 KiB.
pub(crate) const BLOCK_SIZE: SstBlockSize = SstBlockSize::Block16Kib;

/// What to do if there is no slate at the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Create,
    Refuse,
}

/// What a slate is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stay {
    /// To be at work: compaction, garbage collection and maintenance go on in the background.
    Long,
    /// To do something and go: what would be begun in the background would be broken off.
    Brief,
}

struct Wanted {
    name: String,
    system: crate::key::SystemId,
    config_json: Result<String, String>,
}

/// Describes a slate to be opened for writing.
pub struct Builder {
    store: Store,
    path: String,
    settings: Settings,
    env: Env,
    router: Router,
    wanted: Vec<Wanted>,
    missing: Missing,
    reinstate: bool,
    stay: Stay,
    pub(super) note_direct: bool,
}

impl Builder {
    pub(crate) fn new(store: &Store, path: &str) -> Self {
        Self {
            store: store.clone(),
            path: path.to_owned(),
            settings: Settings::default(),
            env: Env::system(),
            router: Router::default(),
            wanted: Vec::new(),
            missing: Missing::Create,
            reinstate: false,
            stay: Stay::Long,
            note_direct: false,
        }
    }

    /// An instance that the slate shall have. If it is not there, it is added; if it is there under other
    /// settings, the system decides whether they may change.
    #[must_use]
    pub fn system<S: DataSystem>(mut self, name: &str, config: S::Config) -> Self {
        let config_json = serde_json::to_string(&config).map_err(|error| error.to_string());
        self.wanted.push(Wanted { name: name.to_owned(), system: S::ID, config_json });
        self.register::<S>()
    }

    /// A system whose instances may be in the slate already. A slate that holds an instance of a system that is
    /// not registered is not opened, because its records could not be merged.
    #[must_use]
    pub fn register<S: DataSystem>(mut self) -> Self {
        self.router.register(SystemOf::<S>::shared());
        self
    }

    /// Other settings than the default ones.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Another clock, and chance that can be repeated.
    #[must_use]
    pub fn env(mut self, env: Env) -> Self {
        self.env = env;
        self
    }

    /// Opens only a slate that is there; the default is to create it.
    #[must_use]
    pub fn must_exist(mut self) -> Self {
        self.missing = Missing::Refuse;
        self
    }

    /// Opens a slate also if it is [retired](Slate::retire), and takes the mark away.
    #[must_use]
    pub fn reinstate(mut self) -> Self {
        self.reinstate = true;
        self
    }

    /// Opens the slate to do something and close it again: nothing is compacted, collected or maintained in the background meanwhile, and no number of
    /// files that wait for compaction holds it up.
    #[must_use]
    pub fn briefly(mut self) -> Self {
        self.stay = Stay::Brief;
        self
    }

    /// Opens the slate and takes it over from any other writer.
    ///
    /// # Errors
    /// `Unsupported` if the slate was made by a newer version or holds a system that is not registered;
    /// `Invalid` if what is at the path is no slate of this project, if a name is taken by another system or
    /// a configuration is wrong; `NotFound` under [`must_exist`](Self::must_exist); `Conflict` if it is [retired](Slate::retire). In all of these nothing was changed, and
    /// another writer goes on.
    pub async fn open(mut self) -> Result<Slate> {
        self.settings.validate()?;
        if self.stay == Stay::Brief {
            self.settings = self.settings.idle();
        }
        let full_path = self.store.slate_path(&self.path)?;
        let admin = self.store.admin(&self.path, &self.env)?;
        let manifest = admin.read_manifest(None).await.map_err(Error::from)?;
        let floor = match &manifest {
            None if self.missing == Missing::Refuse => {
                return Err(Error::not_found(format!("there is no slate at this path, path={}", self.path)));
            }
            None => Timestamp(0),
            Some(manifest) => {
                check_extractor(manifest, &self.path)?;
                if let Some(registry) =
                    read_registry(&self.store, (&self.path, &full_path), &self.router, &self.env).await?
                {
                    self.plan(registry)?;
                }
                wal::last_timestamp(&self.store, &full_path, manifest).await?
            }
        };
        let clock = Arc::new(SlateClock::new(self.env.clone(), floor));
        // Names of files are drawn from chance: an opening with the same seed and a standing clock must draw others.
        let opening = manifest.as_ref().map_or(0, VersionedManifest::id);
        let seed = self.env.random_u64() ^ opening.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let db = self.open_db(&full_path, &clock, seed).await?;
        match self.recover(db.clone(), (clock, seed)).await {
            Ok(slate) => Ok(slate),
            Err(error) => {
                // Opening failed after the engine was started; its tasks must end before the caller tries again.
                let _ = db.close_with_options(CloseOptions::default().with_flush_type(None)).await;
                Err(error)
            }
        }
    }

    async fn open_db(&self, path: &object_store::path::Path, clock: &Arc<SlateClock>, seed: u64) -> Result<Db> {
        let object_store = Arc::clone(self.store.object_store());
        let (cache, cache_id) = self.store.cache();
        let mut builder = Db::builder(path.clone(), Arc::clone(&object_store))
            .with_settings(self.settings.engine(self.store.kind(), self.stay))
            .with_merge_operator(self.router.merge_operator())
            .with_segment_extractor(Arc::new(SegmentExtractor))
            .with_filter_policies(self.router.filter_policies())
            .with_sst_block_size(BLOCK_SIZE)
            .with_db_cache(cache, cache_id)
            .with_system_clock(Arc::clone(clock) as _)
            .with_seed(seed);
        if self.settings.compaction {
            let compactor = CompactorBuilder::new(path.clone(), object_store)
                .with_options(self.settings.compactor())
                .with_merge_operator(self.router.merge_operator())
                .with_filter_policies(self.router.filter_policies())
                .with_sst_block_size(BLOCK_SIZE)
                .with_system_clock(Arc::clone(clock) as _)
                .with_seed(seed);
            builder = builder.with_compactor_builder(compactor);
        }
        builder.build().await.map_err(|error| Error::from(error).context(format_args!("open slate {}", self.path)))
    }

    /// Checks a registry against what is registered and wanted. Returns it changed, if it has to change.
    fn plan(&self, mut registry: Registry) -> Result<(Registry, bool)> {
        for instance in registry.instances() {
            self.router.of(instance)?;
        }
        let mut changed = false;
        if let Some(reason) = &registry.retired {
            if !self.reinstate {
                return Err(retire::refusal(reason));
            }
            registry.retired = None;
            changed = true;
        }
        if self.note_direct && !registry.notes_direct {
            registry.notes_direct = true;
            changed = true;
        }
        for wanted in &self.wanted {
            let system = self.router.system(wanted.system).ok_or_else(|| Error::invalid("system is not registered"))?;
            let json = wanted.config_json.clone().map_err(|error| {
                Error::invalid(format!("settings cannot be stored, instance={}, error={error}", wanted.name))
            })?;
            system.parse_config(&wanted.name, &json)?;
            match registry.find(&wanted.name).cloned() {
                Err(_) => {
                    registry.add(&wanted.name, (system.id(), system.name(), system.version()), json)?;
                    changed = true;
                }
                Ok(instance) if instance.system != wanted.system => {
                    return Err(Error::invalid(format!(
                        "the name is taken by an instance of another system, name={}, system={}, wanted={}",
                        wanted.name,
                        instance.system_name,
                        system.name()
                    )));
                }
                Ok(instance) if instance.config_json != json => {
                    system.reconfigure(&wanted.name, &instance.config_json, &json)?;
                    registry.set_config(&wanted.name, json)?;
                    changed = true;
                }
                Ok(_) => {}
            }
        }
        let parsed: Vec<_> = registry
            .instances()
            .map(|instance| {
                let config = self.router.of(instance)?.parse_config(&instance.name, &instance.config_json)?;
                Ok((Arc::clone(&instance.name), config))
            })
            .collect::<Result<_>>()?;
        for (name, config) in parsed {
            registry.attach_config(&name, config)?;
        }
        Ok((registry, changed))
    }

    async fn recover(self, db: Db, (clock, seed): (Arc<SlateClock>, u64)) -> Result<Slate> {
        let snapshot = db.snapshot()?;
        let mut last = Position(snapshot.seq());
        let stored = snapshot.get(Registry::key()).await?;
        let (registry, is_new) = match stored {
            Some(value) => (Registry::decode(&value)?, false),
            None if last == Position::ZERO => (Registry::new(SlateId(self.env.random_uuid()), clock.timestamp()), true),
            None => return Err(Error::corrupt_at(&Registry::key(), "the slate has no record of itself")),
        };
        drop(snapshot);
        let (registry, changed) = self.plan(registry)?;
        if is_new || changed {
            last = write_registry(&db, &registry, last, self.settings.files_timeout()).await?;
        }
        let registry = Arc::new(registry);
        let leases = Arc::new(Leases::default());
        let bare = View(Arc::new(ViewInner {
            source: Source::Snapshot(db.snapshot()?),
            position: last,
            registry: Arc::clone(&registry),
            states: BTreeMap::new(),
            caches: Arc::default(),
            lease: None,
        }));
        let (mut writers, mut states) = (BTreeMap::new(), BTreeMap::new());
        for instance in registry.shared().filter(|i| self.wanted.iter().any(|w| *w.name == *i.name)) {
            let system = self.router.of(instance)?;
            let mut writer = system
                .recover(&bare, instance, self.env.clone())
                .await
                .map_err(|error| error.context(format_args!("recover instance {}", instance.name)))?;
            states.insert(instance.address(), writer.publish(last));
            writers.insert(instance.address(), writer);
        }
        let view = View(Arc::new(ViewInner {
            source: Source::Snapshot(db.snapshot()?),
            position: last,
            registry: Arc::clone(&registry),
            states: states.clone(),
            caches: Arc::default(),
            lease: Some(leases.take(last)),
        }));
        // A new or changed registry was flushed, and what was recovered came from the store: all of it is durable.
        let worker = worker::build(&self.store, &self.path, &self.settings, &self.router, &clock, !seed).await?;
        let slate = self.start(db, clock, registry, (writers, states), view, leases);
        if let Some(worker) = worker {
            let working = slate.0.env.spawn(worker.run(slate.0.failure.clone()));
            slate.0.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(working);
        }
        Ok(slate)
    }

    fn start(
        self,
        db: Db,
        clock: Arc<SlateClock>,
        registry: Arc<Registry>,
        (writers, states): (
            BTreeMap<super::registry::Address, Box<dyn super::erased::AnyWriter>>,
            BTreeMap<super::registry::Address, super::view::AnyState>,
        ),
        view: View,
        leases: Arc<Leases>,
    ) -> Slate {
        let settings = Arc::new(self.settings);
        let counters = Arc::new(Counters::default());
        let (written, durable) = (Announcer::new(view.clone()), Announcer::new(view.clone()));
        let (written_audience, durable_audience) = (written.audience(), durable.audience());
        let (failure, failure_receiver) = watch::channel(None);
        let (queue, requests) = Queue::new(Arc::clone(&settings), failure_receiver.clone());
        let committer = Committer {
            db: db.clone(),
            registry: Arc::clone(&registry),
            router: self.router.clone(),
            env: self.env.clone(),
            writers,
            states,
            caches: Arc::clone(&view.0.caches),
            leases: Arc::clone(&leases),
            clock,
            settings: Arc::clone(&settings),
            counters: Arc::clone(&counters),
            written,
            durable,
            failure,
            last: view.position(),
            progress: Progress::default(),
        };
        let slate = Slate(Arc::new(Inner {
            store: self.store,
            path: self.path,
            id: registry.slate_id,
            db,
            router: self.router,
            env: self.env,
            settings,
            queue,
            written: written_audience,
            durable: durable_audience,
            failure: failure_receiver,
            leases,
            counters,
            wake_maintenance: Arc::new(tokio::sync::Notify::new()),
            maintaining: tokio::sync::Mutex::new(()),
            tasks: std::sync::Mutex::new(Vec::new()),
        }));
        let tasks =
            [slate.0.env.spawn(committer.run(requests)), slate.0.env.spawn(maintenance::run(Arc::downgrade(&slate.0)))];
        slate.0.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(tasks);
        slate
    }
}

fn check_extractor(manifest: &VersionedManifest, path: &str) -> Result<()> {
    match manifest.segment_extractor_name() {
        Some(EXTRACTOR_NAME) => Ok(()),
        found => Err(Error::invalid(format!(
            "what is at this path was not made by this project, or by a version with another key layout, path={path}, extractor={}",
            found.unwrap_or("none")
        ))),
    }
}

/// Reads the slate's record without touching the slate, so that a slate this program does not know is refused
/// before its writer is fenced. Records newer than the last sorted file are checked again after opening.
async fn read_registry(
    store: &Store,
    (path, full_path): (&str, &object_store::path::Path),
    router: &Router,
    env: &Env,
) -> Result<Option<Registry>> {
    let options = DbReaderOptions {
        // It is asked once; with any shorter interval the engine would look a second time at once.
        manifest_poll_interval: Duration::MAX,
        skip_wal_replay: true,
        object_store_max_retries: Some(5),
        ..DbReaderOptions::default()
    };
    let (cache, cache_id) = store.cache();
    let reader = DbReader::builder(full_path.clone(), Arc::clone(store.object_store()))
        .with_system_clock(SlateClock::of(env))
        .with_seed(env.random_seed(path))
        .with_reader_mode(DbReaderMode::FollowLatest)
        .with_segment_extractor(Arc::new(SegmentExtractor))
        .with_merge_operator(router.merge_operator())
        .with_filter_policies(router.filter_policies())
        .with_db_cache(cache, cache_id)
        .with_options(options)
        .build()
        .await?;
    let value = reader.get(Registry::key()).await;
    let closed = reader.close().await;
    let registry = value?.map(|value| Registry::decode(&value)).transpose()?;
    closed?;
    Ok(registry)
}

/// Writes the slate's record behind `last` and pushes it into a sorted file, where a careful opener looks first.
async fn write_registry(db: &Db, registry: &Registry, last: Position, timeout: Duration) -> Result<Position> {
    let position = last.next();
    let mut batch = WriteBatch::new();
    batch.put_bytes(Registry::key(), registry.encode());
    db.write_with_options(batch, &WriteOptions { seqnum: position.0 }).await.map_err(write_failure)?;
    db.flush().await.map_err(write_failure)?;
    flush_files(db, timeout).await?;
    Ok(position)
}

/// Writes what is in memory as sorted files. The engine tries for ever to write one that the store refuses, so
/// the wait is bounded here.
pub(crate) async fn flush_files(db: &Db, timeout: Duration) -> Result<()> {
    let flush = db.flush_with_options(FlushOptions { flush_type: FlushType::MemTable });
    match tokio::time::timeout(timeout, flush).await {
        Ok(flushed) => flushed.map_err(write_failure),
        Err(_) => Err(Error::unavailable(format!(
            "the store did not take the slate's files in time, timeout_ms={}",
            timeout.as_millis()
        ))),
    }
}

#[cfg(test)]
mod tests;
