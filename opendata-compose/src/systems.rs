//! The systems that a composition can name, and how a node of it is described.

use std::collections::BTreeMap;
use std::sync::Arc;

use opendata_core::slate::Settings;
use opendata_core::store::Store;
use opendata_core::{DataSystem, Error, Result};
use serde_json::Value;

use crate::internal::{Builder, InternalComposite};
use crate::spec::{Composition, NodeSpec};

type Add = Arc<dyn Fn(Builder, &str, &Value) -> Result<Builder> + Send + Sync>;
type Register = Arc<dyn Fn(Builder) -> Builder + Send + Sync>;

/// The systems that compositions may use, by name. Log, TSDB and Vector are there; others can be added.
#[derive(Clone)]
pub struct Systems(BTreeMap<&'static str, (Add, Register)>);

impl Default for Systems {
    fn default() -> Self {
        let mut systems = Self(BTreeMap::new());
        systems.add::<opendata_log::Log>().add::<opendata_tsdb::Tsdb>().add::<opendata_vector::Vector>();
        systems
    }
}

impl Systems {
    /// Adds a system under its own name.
    pub fn add<S: DataSystem>(&mut self) -> &mut Self {
        let add: Add = Arc::new(|builder, instance, config| {
            let config: S::Config = match config {
                Value::Null => S::Config::default(),
                given => serde_json::from_value(given.clone()).map_err(|error| {
                    Error::invalid(format!(
                        "settings of an instance cannot be read, instance={instance}, system={}, error={error}",
                        S::NAME
                    ))
                })?,
            };
            S::validate(&config).map_err(|error| error.context(format_args!("instance {instance}")))?;
            Ok(builder.system::<S>(instance, config))
        });
        self.0.insert(S::NAME, (add, Arc::new(Builder::register::<S>)));
        self
    }

    /// Describes a node, ready to be opened or read.
    ///
    /// # Errors
    /// `Invalid` if an instance is of a system that is not known, or its settings are wrong.
    pub fn describe(&self, store: &Store, path: &str, node: &NodeSpec, settings: &Settings) -> Result<Builder> {
        let mut builder = InternalComposite::builder(store, path).settings(settings.clone());
        for (name, instance) in &node.instances {
            let (add, _) = self.0.get(instance.system.as_str()).ok_or_else(|| {
                let known: Vec<_> = self.0.keys().copied().collect();
                Error::invalid(format!(
                    "no such system, instance={name}, system={}, systems=[{}]",
                    instance.system,
                    known.join(", ")
                ))
            })?;
            builder = add(builder, name, &instance.config)?;
        }
        // What takes the place of a node's slate must be able to say what would be lost.
        Ok(builder.note_direct_writes())
    }

    /// Describes a slate of which nothing is known but its path: whatever is in it can be read.
    #[must_use]
    pub fn describe_any(&self, store: &Store, path: &str) -> Builder {
        let builder = InternalComposite::builder(store, path);
        self.0.values().fold(builder, |builder, (_, register)| register(builder))
    }

    /// Checks a whole composition: names, ends of edges, systems and their settings.
    ///
    /// # Errors
    /// `Invalid`, naming what is wrong.
    pub fn validate(&self, spec: &Composition) -> Result<()> {
        spec.validate()?;
        let nowhere = Store::from_url("memory:")?;
        for (name, node) in &spec.nodes {
            self.describe(&nowhere, "x", node, &Settings::default())
                .map_err(|error| error.context(format_args!("node {name}")))?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Systems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}
