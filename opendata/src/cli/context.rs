//! What a command works with: the composition, the store or the server, and the output.

use opendata_compose::InternalComposite;
use opendata_core::slate::{At, SlateReader};
use opendata_core::{DataSystem, Error, Result};

use super::Global;
use crate::client::Client;
use crate::composition::{Composition, Creation, OpenNode};
use crate::failure::Failure;
use crate::output::Output;

/// Everything that commands share.
pub(super) struct Context {
    pub(super) global: Global,
    pub(super) out: Output,
}

impl Context {
    pub(super) fn new(global: Global, out: Output) -> Self {
        Self { global, out }
    }

    /// The composition that the command line names.
    pub(super) fn composition(&self) -> Result<Composition> {
        Composition::read(&self.global.file)
    }

    /// The node that the command line names, with its store.
    pub(super) fn node(&self) -> Result<OpenNode> {
        let global = &self.global;
        self.composition()?.prepare(global.node.as_deref(), global.store.as_deref(), global.path.as_deref())
    }

    /// Becomes the writer of a slate that is there.
    pub(super) async fn writer(&self) -> Result<InternalComposite> {
        self.node()?.write(Creation::MustExist).await
    }

    /// Reads the slate, disturbing nobody.
    pub(super) async fn reader(&self, at: Option<&str>) -> Result<SlateReader> {
        let at = at.map_or(At::Latest, |name| At::Checkpoint(name.to_owned()));
        self.node()?.read(at).await
    }

    /// The server to go through, if one is named.
    pub(super) fn server(&self) -> Result<Option<Client>> {
        let Some(url) = &self.global.server else { return Ok(None) };
        if self.global.path.is_some() || self.global.store.is_some() {
            return Err(Error::invalid("with --server, the store and the path are the server's"));
        }
        Client::new(url).map(Some)
    }

    /// Refuses what only the store can answer, if a server is named.
    pub(super) fn without_server(&self, what: &str) -> Result<(), Failure> {
        match self.global.server {
            None => Ok(()),
            Some(_) => Err(Error::invalid(format!("{what} reads the store itself: leave out --server")).into()),
        }
    }
}

/// The instance of a system: the one that is named, or the only one there is.
pub(crate) fn instance_of<'a, S: DataSystem>(
    named: Option<&'a str>,
    instances: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<&'a str> {
    if let Some(name) = named {
        return Ok(name);
    }
    let of_system: Vec<&str> = instances.filter(|(_, system)| *system == S::NAME).map(|(name, _)| name).collect();
    match of_system.as_slice() {
        [one] => Ok(one),
        [] => Err(Error::not_found(format!("the slate has no instance of this system, system={}", S::NAME))),
        several => Err(Error::invalid(format!(
            "there are several instances of this system: name one with --instance, system={}, instances=[{}]",
            S::NAME,
            several.join(", ")
        ))),
    }
}

/// The instance of a system in a view.
pub(crate) fn instance_in<S: DataSystem>(named: Option<&str>, view: &opendata_compose::View) -> Result<String> {
    let instances = view.instances().map(|instance| (instance.name.as_ref(), instance.system_name.as_str()));
    instance_of::<S>(named, instances).map(str::to_owned)
}
