//! One slate with named instances, its past, and its forks.

use std::sync::Arc;
use std::time::Duration;

use opendata_core::env::Env;
use opendata_core::slate::{self, At, Checkpoint, Handle, Settings, Slate, SlateReader, Transaction, View};
use opendata_core::store::Store;
use opendata_core::{DataSystem, Position, Result};

type OpenWith = Arc<dyn Fn(slate::Builder) -> slate::Builder + Send + Sync>;
type ReadWith = Arc<dyn Fn(slate::ReaderBuilder) -> slate::ReaderBuilder + Send + Sync>;

/// What a composite is made of, so that its forks and its past can be opened alike.
#[derive(Clone, Default)]
struct Parts {
    open: Vec<OpenWith>,
    read: Vec<ReadWith>,
    settings: Settings,
    env: Option<Env>,
}

impl Parts {
    fn describe(&self, store: &Store, path: &str) -> slate::Builder {
        let mut builder = Slate::builder(store, path).settings(self.settings.clone());
        if let Some(env) = &self.env {
            builder = builder.env(env.clone());
        }
        self.open.iter().fold(builder, |builder, add| add(builder))
    }

    async fn read(&self, store: &Store, path: &str, at: At) -> Result<SlateReader> {
        let mut builder = SlateReader::builder(store, path);
        if let Some(env) = &self.env {
            builder = builder.env(env.clone());
        }
        self.read.iter().fold(builder, |builder, add| add(builder)).open(at).await
    }
}

/// Describes a composite.
#[derive(Clone)]
pub struct Builder {
    store: Store,
    path: String,
    parts: Parts,
    must_exist: bool,
    reinstate: bool,
    briefly: bool,
}

impl Builder {
    /// A named instance of a system. It is created if it is not there, also in a slate that exists already.
    #[must_use]
    pub fn system<S: DataSystem>(mut self, name: &str, config: S::Config) -> Self {
        let name = name.to_owned();
        self.parts.open.push(Arc::new(move |builder| builder.system::<S>(&name, config.clone())));
        self.parts.read.push(Arc::new(|builder| builder.register::<S>()));
        self
    }

    /// Keeps account of where instances are written to directly; see [`slate::Builder::note_direct_writes`].
    #[must_use]
    pub fn note_direct_writes(mut self) -> Self {
        self.parts.open.push(Arc::new(slate::Builder::note_direct_writes));
        self
    }

    /// A system whose instances may be in the slate already. All systems in a slate must be known to whoever
    /// writes it; instances that are not named are recovered when they are first written to.
    #[must_use]
    pub fn register<S: DataSystem>(mut self) -> Self {
        self.parts.open.push(Arc::new(|builder| builder.register::<S>()));
        self.parts.read.push(Arc::new(|builder| builder.register::<S>()));
        self
    }

    /// Other settings than the default ones.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.parts.settings = settings;
        self
    }

    /// Another clock, and chance that can be repeated.
    #[must_use]
    pub fn env(mut self, env: Env) -> Self {
        self.parts.env = Some(env);
        self
    }

    /// Opens only a composite that is there; the default is to create it.
    #[must_use]
    pub fn must_exist(mut self) -> Self {
        self.must_exist = true;
        self
    }

    /// Opens a composite also if it is retired, and takes the mark away; see [`Slate::retire`].
    #[must_use]
    pub fn reinstate(mut self) -> Self {
        self.reinstate = true;
        self
    }

    /// Opens the composite to do something and close it again; see [`slate::Builder::briefly`].
    #[must_use]
    pub fn briefly(mut self) -> Self {
        self.briefly = true;
        self
    }

    /// Opens the composite and takes it over from any other writer.
    ///
    /// # Errors
    /// Those of [`slate::Builder::open`].
    pub async fn open(self) -> Result<InternalComposite> {
        let mut builder = self.parts.describe(&self.store, &self.path);
        if self.must_exist {
            builder = builder.must_exist();
        }
        if self.reinstate {
            builder = builder.reinstate();
        }
        if self.briefly {
            builder = builder.briefly();
        }
        Ok(InternalComposite { slate: builder.open().await?, parts: self.parts })
    }

    /// Reads the composite without being its writer.
    ///
    /// # Errors
    /// Those of [`slate::ReaderBuilder::open`].
    pub async fn read(self, at: At) -> Result<SlateReader> {
        self.parts.read(&self.store, &self.path, at).await
    }
}

/// One slate with named instances of several systems. Cheap to clone.
#[derive(Clone)]
pub struct InternalComposite {
    slate: Slate,
    parts: Parts,
}

impl InternalComposite {
    /// Begins to describe a composite at a path of a store.
    #[must_use]
    pub fn builder(store: &Store, path: &str) -> Builder {
        Builder {
            store: store.clone(),
            path: path.to_owned(),
            parts: Parts::default(),
            must_exist: false,
            reinstate: false,
            briefly: false,
        }
    }

    /// A handle to an instance.
    ///
    /// # Errors
    /// `NotFound` if there is none of that name, `Invalid` if it is one of another system.
    pub fn get<S: DataSystem>(&self, name: &str) -> Result<Handle<S>> {
        self.slate.get(name)
    }

    /// Begins a transaction over any of the instances.
    #[must_use]
    pub fn begin(&self) -> Transaction {
        self.slate.begin()
    }

    /// One instant over all instances: everything committed so far.
    #[must_use]
    pub fn view(&self) -> View {
        self.slate.view()
    }

    /// One instant over all instances: what is durable.
    #[must_use]
    pub fn durable_view(&self) -> View {
        self.slate.durable_view()
    }

    /// The slate beneath, with all it can do.
    #[must_use]
    pub fn slate(&self) -> &Slate {
        &self.slate
    }

    /// Makes a named checkpoint over all instances; see [`Slate::checkpoint`].
    ///
    /// # Errors
    /// Those of [`Slate::checkpoint`].
    pub async fn checkpoint(&self, name: &str, lifetime: Option<Duration>) -> Result<Checkpoint> {
        self.slate.checkpoint(name, lifetime).await
    }

    /// The checkpoints, oldest first.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn checkpoints(&self) -> Result<Vec<Checkpoint>> {
        self.slate.checkpoints().await
    }

    /// Lets a checkpoint go.
    ///
    /// # Errors
    /// `NotFound` if there is none of this name.
    pub async fn release(&self, name: &str) -> Result<()> {
        self.slate.release(name).await
    }

    /// The past: all instances as they were at a checkpoint, read-only.
    ///
    /// # Errors
    /// `NotFound` if there is no such checkpoint.
    pub async fn at(&self, checkpoint: &str) -> Result<Past> {
        let at = At::Checkpoint(checkpoint.to_owned());
        let reader = self.parts.read(self.slate.store(), self.slate.path(), at).await?;
        Ok(Past { reader })
    }

    /// Forks the composite as it is now to another path, sharing every file, and opens the fork.
    ///
    /// # Errors
    /// `Conflict` if there is something at the path; what the store returned.
    pub async fn fork(&self, path: &str) -> Result<Self> {
        self.slate.fork(path).await?;
        self.open_fork(path).await
    }

    /// Forks the composite as it was at a checkpoint, and opens the fork.
    ///
    /// # Errors
    /// `NotFound` if there is no such checkpoint, and those of [`fork`](Self::fork).
    pub async fn fork_at(&self, checkpoint: &str, path: &str) -> Result<Self> {
        self.slate.fork_at(checkpoint, path).await?;
        self.open_fork(path).await
    }

    async fn open_fork(&self, path: &str) -> Result<Self> {
        let slate = self.parts.describe(self.slate.store(), path).must_exist().open().await?;
        Ok(Self { slate, parts: self.parts.clone() })
    }

    /// Forks one instance, with its cursors, into a slate of its own, and opens that.
    ///
    /// # Errors
    /// `NotFound` if there is no such instance, `Invalid` if it is one of another system; those of [`fork`](Self::fork).
    pub async fn fork_instance<S: DataSystem>(&self, handle: &Handle<S>, path: &str) -> Result<Self> {
        let name = self.view().instances().find(|instance| instance.id == handle.id()).map(|i| i.name.to_string());
        let name = name.unwrap_or_else(|| handle.name().to_owned());
        self.slate.fork_instance(&name, path).await?;
        let parts = Parts {
            open: vec![Arc::new(|builder| builder.register::<S>())],
            read: vec![Arc::new(|builder| builder.register::<S>())],
            ..self.parts.clone()
        };
        let slate = parts.describe(self.slate.store(), path).must_exist().open().await?;
        Ok(Self { slate, parts })
    }

    /// Closes this composite and deletes everything in it. Forks of it must be discarded, or have rewritten what they
    /// share, first.
    ///
    /// # Errors
    /// `Conflict` if forks still share its files; it is closed then, but not deleted.
    pub async fn discard(self) -> Result<()> {
        self.slate.close().await?;
        slate::delete(self.slate.store(), self.slate.path()).await
    }

    /// Gives an instance another name.
    ///
    /// # Errors
    /// `NotFound`, or `Conflict` if the new name is taken.
    pub async fn rename(&self, from: &str, to: &str) -> Result<Position> {
        self.slate.rename(from, to).await
    }

    /// Commits what is queued, makes it durable, and ends.
    ///
    /// # Errors
    /// What the last flush returned.
    pub async fn close(&self) -> Result<()> {
        self.slate.close().await
    }
}

impl std::fmt::Debug for InternalComposite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("InternalComposite").field(&self.slate).finish()
    }
}

/// All instances as they were at a checkpoint.
pub struct Past {
    reader: SlateReader,
}

impl Past {
    /// The instant.
    #[must_use]
    pub fn view(&self) -> View {
        self.reader.view()
    }

    /// A handle to an instance as it was then.
    ///
    /// # Errors
    /// `NotFound` if there was none of that name, `Invalid` if it was one of another system.
    pub fn get<S: DataSystem>(&self, name: &str) -> Result<Handle<S>> {
        self.reader.get(name)
    }
}
