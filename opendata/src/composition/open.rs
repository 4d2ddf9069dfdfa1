//! Opening a node: as its writer, or for reading only.

use std::collections::BTreeMap;
use std::path::PathBuf;

use opendata_compose::control::{ControlLog, MAIN};
use opendata_compose::edge::schema::{Registration, register_declared};
use opendata_compose::{InternalComposite, Log, Tsdb, Vector};
use opendata_core::env::Env;
use opendata_core::slate::{At, SlateReader};
use opendata_core::store::Store;
use opendata_core::{Error, ErrorKind, Result};

use super::{Composition, Node, SystemConfig};
use crate::intake::IntakeSettings;

/// Whether a slate that is not there is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Creation {
    /// It is made.
    Create,
    /// It must be there.
    MustExist,
}

/// A node, ready to be opened: its store, its path, its instances.
pub(crate) struct OpenNode {
    pub(crate) store: Store,
    pub(crate) node: Node,
    /// Where relative paths of the composition file begin.
    folder: PathBuf,
    /// Whether the path was given by hand. What lies there need not hold all instances of the composition, and is left as it is.
    elsewhere: bool,
    /// Of a node of a joined composition: where its control log lies, which says where the slate is.
    root: Option<String>,
}

impl Composition {
    /// Prepares a node. `store` and `path` replace what the file says.
    pub(crate) fn prepare(&self, node: Option<&str>, store: Option<&str>, path: Option<&str>) -> Result<OpenNode> {
        let mut node = self.node(node)?.clone();
        if let Some(path) = path {
            path.clone_into(&mut node.path);
        }
        let store = match store {
            Some(url) => self.store.at(url).open(std::path::Path::new("."))?,
            None => self.store.open(&self.folder)?,
        };
        let root = self.root().filter(|_| path.is_none()).map(str::to_owned);
        Ok(OpenNode { store, node, folder: self.folder.clone(), elsewhere: path.is_some(), root })
    }
}

impl OpenNode {
    /// What flows into its instances by itself. Into a fork nothing does: what is scraped belongs to the original.
    pub(crate) fn intake(&self) -> Result<BTreeMap<String, IntakeSettings>> {
        let specs = self.node.instances.iter().filter(|_| !self.elsewhere);
        specs.map(|(name, spec)| Ok((name.clone(), spec.intake.load(name, &self.folder)?))).collect()
    }

    /// Where the slate lies: as the file says, or, in a joined composition, as its control log says.
    pub(crate) async fn path(&self) -> Result<String> {
        let Some(root) = &self.root else { return Ok(self.node.path.clone()) };
        let control = ControlLog::open(&self.store, root, "opendata", &Env::system()).await?;
        let state = control.state();
        let nodes = state.branches.get(MAIN).map(|main| &main.nodes);
        if let Some(path) = nodes.and_then(|nodes| nodes.get(&self.node.name)) {
            return Ok(path.clone());
        }
        let (node, names) = (&self.node.name, nodes.into_iter().flat_map(BTreeMap::keys).map(String::as_str));
        let names: Vec<&str> = names.collect();
        Err(Error::not_found(format!(
            "the composition has no such node; make it as the file says with `opendata apply`, or the file as it is now if nodes were split or joined, node={node}, nodes=[{}]",
            names.join(", ")
        )))
    }

    /// The checkpoint that a name means: one of the slate, or of a cut of the whole composition. Returns the slate's path with it.
    async fn at(&self, at: At) -> Result<(String, At)> {
        let (At::Checkpoint(name), Some(root)) = (&at, &self.root) else { return Ok((self.path().await?, at)) };
        let control = ControlLog::open(&self.store, root, "opendata", &Env::system()).await?;
        let member = control.state().committed_cut(name).ok().and_then(|cut| cut.members.get(&self.node.name).cloned());
        match member {
            Some(member) => Ok((member.path, At::Checkpoint(member.checkpoint))),
            None => Ok((self.path().await?, at)),
        }
    }

    /// Opens the node as its writer and fences any other.
    pub(crate) async fn write(&self, creation: Creation) -> Result<InternalComposite> {
        let builder = InternalComposite::builder(&self.store, &self.path().await?).settings(self.node.settings.clone());
        let mut builder = builder.register::<Log>().register::<Tsdb>().register::<Vector>();
        if !self.elsewhere {
            for (name, instance) in &self.node.instances {
                builder = match &instance.config {
                    SystemConfig::Log(config) => builder.system::<Log>(name, config.clone()),
                    SystemConfig::Tsdb(config) => builder.system::<Tsdb>(name, config.clone()),
                    SystemConfig::Vector(config) => builder.system::<Vector>(name, config.clone()),
                };
            }
        }
        if self.elsewhere || creation == Creation::MustExist {
            builder = builder.must_exist();
        }
        let composite = builder.open().await.map_err(|error| self.unmade(error))?;
        if let Err(error) = self.register_schemas(&composite).await {
            let _ = composite.close().await;
            return Err(error);
        }
        Ok(composite)
    }

    /// A composition file that was written by hand, or applied, has no slates before somebody runs it.
    fn unmade(&self, error: Error) -> Error {
        if self.elsewhere || error.kind() != ErrorKind::NotFound {
            return error;
        }
        let (node, path) = (&self.node.name, &self.node.path);
        let why = match self.root {
            Some(_) => format!("the slate of this node is not made yet: `opendata run` makes it, node={node}"),
            None => format!(
                "there is no slate at this path yet: `opendata run` makes it, with its instances, as the file says, node={node}, path={path}"
            ),
        };
        Error::not_found(why).with_source(error)
    }

    /// Registers the schemas that its logs are declared with. In a joined composition the owner of a node does that once a plan was applied.
    async fn register_schemas(&self, composite: &InternalComposite) -> Result<()> {
        if self.elsewhere || self.root.is_some() {
            return Ok(());
        }
        let instances = self.node.instances.iter();
        let declared: Vec<_> = instances.filter_map(|(name, it)| Some((name.as_str(), it.schema.as_ref()?))).collect();
        register_declared(composite.slate(), &declared, Registration::Compatible).await
    }

    /// Opens the node for reading. A writer is not disturbed.
    pub(crate) async fn read(&self, at: At) -> Result<SlateReader> {
        let (path, at) = self.at(at).await?;
        let is_latest = at == At::Latest;
        let builder = InternalComposite::builder(&self.store, &path);
        let read = builder.register::<Log>().register::<Tsdb>().register::<Vector>().read(at).await;
        read.map_err(|error| if is_latest { self.unmade(error) } else { error })
    }
}
