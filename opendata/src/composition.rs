//! Composition files: which slates there are, where they lie, and what lives in them.
//!
//! ```yaml
//! version: 1
//! store: file:./data          # or {url: .., local_durability: .., cache_bytes: ..}
//! nodes:
//!   billing:                  # a node is a slate
//!     path: billing           # where in the store; the node's name by default
//!     settings: {}            # of the slate, see `opendata_core::slate::Settings`
//!     instances:
//!       events: log           # or {system: log, config: {..}}
//!       usage: tsdb             # beside its config: otlp, scrape, rules, see `crate::intake`
//! server:
//!   listen: 127.0.0.1:8080
//!   default_tsdb: usage       # answers Prometheus's paths at the root, if there are several
//! ```
//!
//! Several nodes, or one with edges, are a *joined* composition: what shall be stands in the file, what is stands in the control log below
//! `root`, and `opendata apply` takes the one to the other.
//!
//! ```yaml
//! root: billing               # where the control log lies; slates lie below it as well
//! nodes: {events: {instances: {orders: log}}, metrics: {instances: {sales: tsdb}, listen: 127.0.0.1:8081}}
//! edges:
//!   - id: sales
//!     from: {node: events, instance: orders}
//!     to: {node: metrics, instance: sales}
//!     transform: [{to_metrics: {metrics: [..]}}]
//! cuts: {every_s: 3600, keep: {last: 3, hourly: 24, daily: 7}}
//! ```
//!
//! Unknown fields are errors that say where they stand and what was probably meant. A relative `file:` URL is
//! relative to the folder of the file.

mod instance;
pub(crate) mod joined;
mod located;
mod open;
pub(crate) mod schema;
mod store;
pub(crate) mod template;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use opendata_core::slate::Settings;
use opendata_core::{Error, Result};
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use opendata_compose::cut::CutSchedule;
use opendata_compose::edge::EdgeSpec;

use self::instance::{InstanceIn, SYSTEMS};
pub(crate) use self::instance::{InstanceSpec, SystemConfig};
use self::joined::Joined;
pub(crate) use self::located::Source;
pub(crate) use self::open::{Creation, OpenNode};
pub(crate) use self::store::StoreSpec;

/// Where a composition file is looked for by default.
pub(crate) const DEFAULT_FILE: &str = "opendata.yaml";

/// The version of the file's own format.
const VERSION: u32 = 1;

/// A whole composition file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: Spanned<u32>,
    store: Spanned<StoreSpec>,
    root: Option<String>,
    nodes: Spanned<BTreeMap<String, Spanned<NodeSpec>>>,
    #[serde(default)]
    edges: Vec<Spanned<EdgeSpec>>,
    cuts: Option<Spanned<CutSchedule>>,
    #[serde(default = "no_server")]
    server: Spanned<ServerSpec>,
}

fn no_server() -> Spanned<ServerSpec> {
    Spanned::new(ServerSpec::default(), Location::UNKNOWN, Location::UNKNOWN)
}

/// A slate of the composition.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeSpec {
    path: Option<String>,
    listen: Option<String>,
    #[serde(default)]
    settings: Settings,
    #[serde(default)]
    instances: BTreeMap<String, Spanned<InstanceIn>>,
}

/// How `opendata run` listens.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerSpec {
    /// Address and port.
    pub(crate) listen: Option<String>,
    /// Address and port for OpenTelemetry's metrics over gRPC; nobody listens for them without.
    pub(crate) otlp_grpc: Option<String>,
    /// The TSDB instance that answers below `/api/v1`; the only one there is, if left out.
    pub(crate) default_tsdb: Option<String>,
}

/// A composition that was read and found to be in order.
#[derive(Clone, Debug)]
pub(crate) struct Composition {
    text: String,
    folder: PathBuf,
    store: StoreSpec,
    nodes: BTreeMap<String, Node>,
    joined: Option<Joined>,
    /// How `opendata run` listens.
    pub(crate) server: ServerSpec,
}

/// A slate of the composition, with every default filled in.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) path: String,
    /// Where `opendata run` serves this node.
    pub(crate) listen: Option<String>,
    pub(crate) settings: Settings,
    pub(crate) instances: BTreeMap<String, InstanceSpec>,
}

impl Composition {
    /// Reads a file.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::not_found(format!(
                "there is no composition file; write one with `opendata init`, or name it with --file, file={}",
                file.display()
            )),
            _ => Error::invalid(format!("composition file cannot be read, file={}", file.display())).with_source(error),
        })?;
        let folder = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self::parse(&text, &file.display().to_string(), folder)
    }

    /// Reads the text of a file. `name` is what messages call it.
    pub(crate) fn parse(text: &str, name: &str, folder: &Path) -> Result<Self> {
        let source = Source { name, text };
        let document: Document = source.parse()?;
        let version = document.version.value;
        if version != VERSION {
            let at = &document.version.referenced;
            return Err(
                source.wrong(at, &format!("this program reads version {VERSION}, and the file is of {version}"))
            );
        }
        document.store.value.check().map_err(|why| source.wrong(&document.store.referenced, &why))?;
        if document.nodes.value.is_empty() {
            return Err(source.wrong(&document.nodes.referenced, "a composition has at least one node"));
        }
        let joined = Joined::read(&source, &document)?;
        let nodes = document.nodes.value.into_iter().map(|(name, node)| {
            let node = node_of(&source, &name, node)?;
            Ok((name, node))
        });
        let nodes: BTreeMap<String, Node> = nodes.collect::<Result<_>>()?;
        let server = document.server.value;
        if let Some(name) = &server.default_tsdb {
            let is_tsdb = |node: &Node| {
                node.instances.get(name).is_some_and(|instance| matches!(instance.config, SystemConfig::Tsdb(_)))
            };
            if !nodes.values().any(is_tsdb) {
                let why = format!("server.default_tsdb: there is no tsdb of this name, name={name}");
                return Err(source.wrong(&document.server.referenced, &why));
            }
        }
        let (text, folder) = (text.to_owned(), folder.to_owned());
        Ok(Self { text, folder, store: document.store.value, nodes, joined, server })
    }

    /// The text of the file.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// A node by its name, or the only one.
    pub(crate) fn node(&self, name: Option<&str>) -> Result<&Node> {
        let names = || self.nodes.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        match name {
            Some(name) => self
                .nodes
                .get(name)
                .ok_or_else(|| Error::not_found(format!("no such node, name={name}, nodes=[{}]", names()))),
            None if self.nodes.len() > 1 => {
                Err(Error::invalid(format!("which node? name one with --node, nodes=[{}]", names())))
            }
            None => self.nodes.values().next().ok_or_else(|| Error::invalid("the composition has no node")),
        }
    }
}

fn node_of(source: &Source<'_>, name: &str, node: Spanned<NodeSpec>) -> Result<Node> {
    let at = &node.referenced;
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
        let why = format!("a node's name is made of letters, digits, `-` and `_`, and here is `{name}`");
        return Err(source.wrong(at, &why));
    }
    let NodeSpec { path, listen, settings, instances } = node.value;
    let instances = instances.into_iter().map(|(name, instance)| {
        let at = &instance.referenced;
        let spec = match instance.value {
            InstanceIn::Known(spec) => *spec,
            InstanceIn::Unknown(system) => return Err(source.wrong(at, &located::unknown("system", &system, SYSTEMS))),
        };
        let why = |error: Error| source.wrong(at, &format!("instance {name}: {}", error.message()));
        spec.validate().map_err(why)?;
        Ok((name, spec))
    });
    let instances = instances.collect::<Result<_>>()?;
    Ok(Node { name: name.to_owned(), path: path.unwrap_or_else(|| name.to_owned()), listen, settings, instances })
}

#[cfg(test)]
mod tests;
