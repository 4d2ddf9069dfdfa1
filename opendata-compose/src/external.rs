//! Several slates joined by edges: nodes, each an internal composition, and the edges between them.
//!
//! A process opens a composition and owns some of its nodes, or all: it is the writer of their slates and runs the edges that end
//! there. Several processes own different nodes of one composition and meet only in the [control log](crate::control). A supervisor
//! follows that log and brings about what it says: it opens and gives up nodes, starts and stops edges, makes this
//! process's part of cuts, and sweeps away what has expired.

mod alignment;
mod backfill;
mod edges;
mod holds;
mod letters;
mod nodes;
mod supervisor;
mod token;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opendata_core::env::Env;
use opendata_core::slate::{At, Settings, SlateReader};
use opendata_core::store::Store;
use opendata_core::{Error, ErrorKind, Position, Result};
use opendata_log::Log;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

pub(crate) use self::alignment::barrier_id;
pub use self::backfill::Backfill;
pub use self::edges::EdgeStanding;
pub(crate) use self::nodes::may_write;
pub use self::token::Token;
pub use self::verify::VerifyOptions;

use self::alignment::Alignments;
use self::edges::Edges;
use self::nodes::Nodes;
use crate::control::{Branch, ControlLog, MAIN, ResetTo, Said, State};
use crate::edge::{Again, Cursor, EdgeSpec, check_begin};
use crate::internal::InternalComposite;
use crate::spec::{Composition, NodeSpec};
use crate::systems::Systems;

/// Which nodes a process owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Own {
    /// All, those that are added later among them.
    #[default]
    All,
    /// These.
    Nodes(BTreeSet<String>),
    /// None: it looks on, takes cuts with the help of the owners, and says things.
    None,
}

/// Describes how a process opens a composition.
pub struct Builder {
    store: Store,
    root: String,
    branch: String,
    owner: Option<String>,
    own: Own,
    settings: Settings,
    systems: Systems,
    env: Env,
    poll: Duration,
}

impl Builder {
    /// Another branch than main.
    #[must_use]
    pub fn branch(mut self, name: &str) -> Self {
        name.clone_into(&mut self.branch);
        self
    }

    /// The name of this process in the control log; a random one by default. A process that comes back under its name takes
    /// back its nodes.
    #[must_use]
    pub fn owner(mut self, name: &str) -> Self {
        self.owner = Some(name.to_owned());
        self
    }

    /// The nodes this process owns; all by default.
    #[must_use]
    pub fn own(mut self, own: Own) -> Self {
        self.own = own;
        self
    }

    /// Settings of the slates.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Which systems there are; Log, TSDB and Vector by default.
    #[must_use]
    pub fn systems(mut self, systems: Systems) -> Self {
        self.systems = systems;
        self
    }

    /// Another clock, and chance that can be repeated.
    #[must_use]
    pub fn env(mut self, env: Env) -> Self {
        self.env = env;
        self
    }

    /// How often the control log is looked at for what other processes say; 250 ms by default.
    #[must_use]
    pub fn poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// Opens a composition that is there.
    ///
    /// # Errors
    /// `NotFound` if nobody has created it, or there is no such branch; what opening its nodes returned.
    pub async fn open(self) -> Result<ExternalComposite> {
        let opened = self.look().await?;
        if !opened.0.control.state().created {
            return Err(Error::not_found(format!("there is no composition at this root, root={}", opened.0.root)));
        }
        opened.start().await
    }

    /// Opens a composition, creates it if it is not there, and makes it as specified if that is possible without losing
    /// anything; see [`ExternalComposite::apply`].
    ///
    /// # Errors
    /// Those of [`open`](Self::open) and [`ExternalComposite::apply`].
    pub async fn open_as(self, spec: &Composition) -> Result<ExternalComposite> {
        self.systems.validate(spec)?;
        let opened = self.look().await?;
        let plan = opened.plan(spec).await?;
        if !plan.is_empty() {
            opened.apply(&plan).await?;
        }
        opened.start().await
    }

    /// Opens a composition to plan, say and look: it owns no nodes, runs nothing in the background, and need not be there yet.
    ///
    /// # Errors
    /// What the store returned; `Corrupt` or `Unsupported` if its control log cannot be read.
    pub async fn attach(mut self) -> Result<ExternalComposite> {
        self.own = Own::None;
        self.look().await
    }

    async fn look(self) -> Result<ExternalComposite> {
        let owner = self.owner.unwrap_or_else(|| format!("process-{}", self.env.random_uuid()));
        let control = ControlLog::open(&self.store, &self.root, &owner, &self.env).await?;
        let (stop, _) = watch::channel(false);
        let inner = Inner {
            store: self.store,
            root: self.root,
            branch: self.branch,
            owner,
            own: self.own,
            settings: self.settings,
            systems: self.systems,
            env: self.env,
            poll: self.poll,
            control,
            nodes: Nodes::default(),
            edges: Edges::default(),
            alignments: Arc::new(Alignments::default()),
            claimed: Mutex::new(BTreeSet::new()),
            has_begun: AtomicBool::new(false),
            reconciling: tokio::sync::Mutex::new(()),
            wake: Notify::new(),
            stop,
            tasks: Mutex::new(Vec::new()),
        };
        Ok(ExternalComposite(Arc::new(inner)))
    }
}

/// A composition of several slates, as one process has it open. Cheap to clone.
#[derive(Clone)]
pub struct ExternalComposite(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) root: String,
    pub(crate) branch: String,
    pub(crate) owner: String,
    own: Own,
    pub(crate) settings: Settings,
    pub(crate) systems: Systems,
    pub(crate) env: Env,
    pub(crate) poll: Duration,
    pub(crate) control: ControlLog,
    nodes: Nodes,
    edges: Edges,
    alignments: Arc<Alignments>,
    /// The nodes of which this process has said that it takes them over.
    claimed: Mutex<BTreeSet<String>>,
    /// Whether it has seen the branch before: what it sees later with an owner was made by him.
    has_begun: AtomicBool,
    reconciling: tokio::sync::Mutex<()>,
    wake: Notify,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Inner {
    /// A node that is open here for writing.
    pub(crate) fn owns_now(&self, node: &str) -> bool {
        self.nodes.get(node).is_some()
    }

    /// A node that is open here for writing, if its slate lies at this path.
    pub(crate) fn owned_at(&self, node: &str, path: &str) -> Option<InternalComposite> {
        self.nodes.get(node).filter(|owned| owned.path == path).map(|owned| owned.composite)
    }

    /// Describes a slate of this store of which nothing is known but its path, to be read in this process's time.
    pub(crate) fn reading(&self, path: &str) -> crate::internal::Builder {
        self.systems.describe_any(&self.store, path).env(self.env.clone())
    }

    /// Describes the slate of a node of this store, to be written in this process's time.
    pub(crate) fn writing(&self, path: &str, spec: &NodeSpec) -> Result<crate::internal::Builder> {
        Ok(self.systems.describe(&self.store, path, spec, &self.settings)?.env(self.env.clone()))
    }

    pub(crate) fn alignments(&self) -> &Alignments {
        &self.alignments
    }

    fn wants(&self, node: &str) -> bool {
        match &self.own {
            Own::All => true,
            Own::Nodes(nodes) => nodes.contains(node),
            Own::None => false,
        }
    }

    pub(crate) fn branch_state(&self) -> Result<Branch> {
        self.control.state().branch(&self.branch).cloned()
    }
}

impl ExternalComposite {
    /// Begins to describe how to open the composition below a root of a store.
    #[must_use]
    pub fn builder(store: &Store, root: &str) -> Builder {
        Builder {
            store: store.clone(),
            root: root.to_owned(),
            branch: MAIN.to_owned(),
            owner: None,
            own: Own::All,
            settings: Settings::default(),
            systems: Systems::default(),
            env: Env::system(),
            poll: Duration::from_millis(250),
        }
    }

    /// Brings this process to where the control log says it shall be, and keeps it there.
    async fn start(self) -> Result<Self> {
        self.0.claim().await?;
        if let Err(error) = self.0.reconcile().await {
            // Some nodes may be open by now.
            let _ = self.close().await;
            return Err(error);
        }
        let task = self.0.env.spawn(supervisor::run(Arc::downgrade(&self.0), self.0.stop.subscribe()));
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
        Ok(self)
    }

    /// The branch it was opened at.
    #[must_use]
    pub fn branch(&self) -> &str {
        &self.0.branch
    }

    /// The name of this process in the control log.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.0.owner
    }

    /// The control log.
    #[must_use]
    pub fn control(&self) -> &ControlLog {
        &self.0.control
    }

    /// What the control log says, as far as it is known here.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.0.control.state()
    }

    /// How the branch shall be made.
    ///
    /// # Errors
    /// `NotFound` if the branch is gone.
    pub fn spec(&self) -> Result<Composition> {
        Ok(self.0.branch_state()?.spec)
    }

    /// A node that this process owns: write and read it.
    ///
    /// # Errors
    /// `NotFound` if there is no such node; `Conflict` if another process owns it.
    pub fn node(&self, name: &str) -> Result<InternalComposite> {
        if let Some(composite) = self.node_if_owned(name) {
            return Ok(composite);
        }
        let branch = self.0.branch_state()?;
        if !branch.nodes.contains_key(name) {
            let known: Vec<_> = branch.nodes.keys().map(String::as_str).collect();
            return Err(Error::not_found(format!("no such node, name={name}, nodes=[{}]", known.join(", "))));
        }
        let owner = branch.owners.get(name).map_or("none", String::as_str);
        Err(Error::conflict(format!("the node is not open in this process, node={name}, owner={owner}")))
    }

    pub(crate) fn node_if_owned(&self, name: &str) -> Option<InternalComposite> {
        self.0.nodes.get(name).map(|owned| owned.composite)
    }

    /// Reads any node of the branch, whoever owns it: what is durable there.
    ///
    /// # Errors
    /// `NotFound` if there is no such node, or it was never opened; what the store returned.
    pub async fn reader(&self, name: &str) -> Result<SlateReader> {
        let branch = self.0.branch_state()?;
        let path = branch.nodes.get(name).ok_or_else(|| Error::not_found(format!("no such node, name={name}")))?;
        self.0.reading(path).read(At::Latest).await
    }

    pub(crate) fn is_started(&self) -> bool {
        !self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The edges of the branch and what they do, as far as this process runs them.
    #[must_use]
    pub fn edges(&self) -> BTreeMap<String, EdgeStanding> {
        self.0.edges.statuses()
    }

    /// Lets an edge stand still, in whatever process it runs; it holds its place.
    ///
    /// # Errors
    /// `NotFound` if there is no such edge; what the store returned.
    pub async fn pause(&self, edge: &str) -> Result<()> {
        self.say(Said::Pause { branch: self.0.branch.clone(), edge: edge.to_owned() }).await
    }

    /// Lets an edge go on, one that left a fork suspended among them.
    ///
    /// # Errors
    /// `NotFound` if there is no such edge; what the store returned.
    pub async fn resume(&self, edge: &str) -> Result<()> {
        self.say(Said::Resume { branch: self.0.branch.clone(), edge: edge.to_owned() }).await
    }

    /// Lets an edge start anew elsewhere, in a new generation. What it wrote stays, and what it reads again it writes again: where that would be there
    /// twice (records, what is added to counters, deliveries), or a window would be made of a part of its values only, it is refused.
    /// [`backfill`](Self::backfill) makes such things anew.
    ///
    /// # Errors
    /// `NotFound` if there is no such edge; `Conflict` if its sink would not be the same as before; `Invalid` if the position lies outside its source; what
    /// the store returned.
    pub async fn reset(&self, edge: &str, to: ResetTo) -> Result<()> {
        let spec = self.spec()?;
        if let Some(why) = self.would_repeat(spec.find_edge(edge)?, to).await? {
            return Err(Error::conflict(format!(
                "{why}; backfill the edge into another instance, or reset it all the same and say so, edge={edge}"
            )));
        }
        self.reset_again(edge, to).await
    }

    /// What would be wrong in the sink of an edge if it were set back; nothing, if nothing would.
    async fn would_repeat(&self, edge: &EdgeSpec, to: ResetTo) -> Result<Option<&'static str>> {
        let why = match (edge.again(), to) {
            (Again::Same, _) | (_, ResetTo::Tail) | (Again::Windows, ResetTo::Start) => return Ok(None),
            (Again::Adds, _) => "what the edge made of the records that it reads again would be there twice",
            (Again::Windows, _) => "windows would be made of a part of their values",
        };
        let cursor = match self.reader(edge.runs_on()).await {
            Ok(reader) => Cursor::read(&reader.view(), edge.state_instance(), &edge.id).await?,
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let harmless = match (cursor, to) {
            (None, _) => true,
            (Some(cursor), ResetTo::Position(position)) if position >= cursor.next => true,
            (Some(cursor), _) => cursor.ever_applied() == 0,
        };
        Ok((!harmless).then_some(why))
    }

    /// That a place lies in the source of an edge: it is said to whoever asks for it, since the edge could only wait there for ever.
    async fn check_place(&self, edge: &EdgeSpec, to: ResetTo) -> Result<()> {
        let ResetTo::Position(position) = to else { return Ok(()) };
        let view = match self.reader(&edge.from.node).await {
            Ok(reader) => reader.view(),
            // Nobody has opened it yet, so there is nothing in it.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return check_begin(position, Position::ZERO, Position::ZERO);
            }
            Err(error) => return Err(error),
        };
        let trim = view.get_reader::<Log>(&edge.from.instance)?.trim_point().await?;
        check_begin(position, trim, view.position().next())
    }

    /// Lets an edge start anew elsewhere, whatever is there twice afterwards; see [`reset`](Self::reset).
    ///
    /// # Errors
    /// `NotFound` if there is no such edge; `Invalid` if the position lies outside its source; what the store returned.
    pub async fn reset_again(&self, edge: &str, to: ResetTo) -> Result<()> {
        if let Some(found) = self.spec()?.edge(edge) {
            self.check_place(found, to).await?;
        }
        self.say(Said::Reset { branch: self.0.branch.clone(), edge: edge.to_owned(), to }).await
    }

    pub(crate) async fn say(&self, said: Said) -> Result<()> {
        self.0.control.append(said).await?;
        self.0.reconcile().await
    }

    /// Stops all edges, closes all nodes of this process, and says so.
    ///
    /// # Errors
    /// What closing the first of them returned; all are closed nevertheless.
    pub async fn close(&self) -> Result<()> {
        self.0.stop.send_replace(true);
        let tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            if task.await.is_err() {
                tracing::warn!("a task of the composition did not end in order");
            }
        }
        let _last = self.0.reconciling.lock().await;
        let owned = self.0.nodes.all();
        for node in owned.keys() {
            self.0.give_up(node).await;
        }
        if owned.is_empty() {
            return Ok(());
        }
        let said = Said::Leave { branch: self.0.branch.clone(), owner: self.0.owner.clone() };
        match self.0.control.append(said).await {
            Ok(_) => Ok(()),
            // The branch was promoted or discarded: there is nothing left to leave.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl std::fmt::Debug for ExternalComposite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExternalComposite")
            .field("root", &self.0.root)
            .field("branch", &self.0.branch)
            .field("owner", &self.0.owner)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
