//! Opening a node: as its writer, or for reading only.

use std::collections::BTreeMap;
use std::path::PathBuf;

use opendata_compose::{InternalComposite, Log, Tsdb, Vector};
use opendata_core::Result;
use opendata_core::slate::{At, SlateReader};
use opendata_core::store::Store;

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
        Ok(OpenNode { store, node, folder: self.folder.clone(), elsewhere: path.is_some() })
    }
}

impl OpenNode {
    /// What flows into its instances by itself. Into a fork nothing does: what is scraped belongs to the original.
    pub(crate) fn intake(&self) -> Result<BTreeMap<String, IntakeSettings>> {
        let specs = self.node.instances.iter().filter(|_| !self.elsewhere);
        specs.map(|(name, spec)| Ok((name.clone(), spec.intake.load(name, &self.folder)?))).collect()
    }

    /// Opens the node as its writer and fences any other.
    pub(crate) async fn write(&self, creation: Creation) -> Result<InternalComposite> {
        let builder = InternalComposite::builder(&self.store, &self.node.path).settings(self.node.settings.clone());
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
        builder.open().await
    }

    /// Opens the node for reading. A writer is not disturbed.
    pub(crate) async fn read(&self, at: At) -> Result<SlateReader> {
        let builder = InternalComposite::builder(&self.store, &self.node.path);
        builder.register::<Log>().register::<Tsdb>().register::<Vector>().read(at).await
    }
}
