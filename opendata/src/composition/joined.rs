//! The part of a composition file that joins several slates: its root, its edges, its cuts.

use std::collections::BTreeSet;

use opendata_compose::cut::CutSchedule;
use opendata_compose::edge::EdgeSpec;
use opendata_compose::{Composition as Joint, InstanceSpec, Log, NodeSpec};
use opendata_core::{DataSystem, Error, Result};
use serde_saphyr::Spanned;

use super::located::{self, Source};
use super::{Composition, Document, SystemConfig};

/// Where the control log lies if the file does not say.
const DEFAULT_ROOT: &str = "composition";

/// What joins the nodes.
#[derive(Clone, Debug)]
pub(super) struct Joined {
    root: String,
    edges: Vec<EdgeSpec>,
    cuts: Option<CutSchedule>,
}

impl Joined {
    /// What a file says of it; none if it describes a single slate.
    pub(super) fn read(source: &Source<'_>, document: &Document) -> Result<Option<Self>> {
        let single = document.nodes.value.len() == 1 && document.edges.is_empty();
        if single && document.root.is_none() && document.cuts.is_none() {
            return Ok(None);
        }
        let mut ids = BTreeSet::new();
        for edge in &document.edges {
            check_ends(source, document, edge)?;
            let wrong = |error: Error| source.wrong_in(&edge.referenced, error.message());
            let source_of = document.nodes.value.get(&edge.value.from.node);
            let instance = source_of.and_then(|node| node.value.instances.get(&edge.value.from.instance));
            let schema = instance.and_then(|instance| instance.value.schema());
            edge.value.validate_over(schema.as_ref()).map_err(wrong)?;
            if !ids.insert(edge.value.id.as_str()) {
                let why = format!("two edges have the same id, edge={}", edge.value.id);
                return Err(source.wrong_in(&edge.referenced, &why));
            }
        }
        if let Some(cuts) = &document.cuts {
            cuts.value.validate().map_err(|error| source.wrong(&cuts.referenced, error.message()))?;
        }
        Ok(Some(Self {
            root: document.root.clone().unwrap_or_else(|| DEFAULT_ROOT.to_owned()),
            edges: document.edges.iter().map(|edge| edge.value.clone()).collect(),
            cuts: document.cuts.as_ref().map(|cuts| cuts.value.clone()),
        }))
    }
}

/// Whether an edge leads from a log to an instance that takes what it makes, as far as the file says what there is.
fn check_ends(source: &Source<'_>, document: &Document, edge: &Spanned<EdgeSpec>) -> Result<()> {
    let spec = &edge.value;
    let nodes = &document.nodes.value;
    let known: Vec<&str> = nodes.keys().map(String::as_str).collect();
    let end = |name: &str, node: &str, instance: &str| -> Result<Option<&'static str>> {
        let Some(found) = nodes.get(node) else {
            let why = format!("edge {}: {name}.node: {}", spec.id, located::unknown("node", node, &known));
            return Err(source.wrong_at_word(&edge.referenced, node, &why));
        };
        let Some(system) = found.value.instances.get(instance) else {
            let instances: Vec<&str> = found.value.instances.keys().map(String::as_str).collect();
            let what = located::unknown("instance", instance, &instances);
            let why = format!("edge {}: {name}.instance: {what}", spec.id);
            return Err(source.wrong_at_word(&edge.referenced, instance, &why));
        };
        Ok(system.value.system())
    };
    if let Some(system) = end("from", &spec.from.node, &spec.from.instance)?.filter(|system| *system != Log::NAME) {
        let why =
            format!("edge {}: from.instance: an edge reads a log, and `{}` is a {system}", spec.id, spec.from.instance);
        return Err(source.wrong_at_word(&edge.referenced, &spec.from.instance, &why));
    }
    if let (Some(node), Some(instance)) = (&spec.to.node, &spec.to.instance) {
        let makes = spec.output().system();
        if let Some(system) = end("to", node, instance)?.filter(|system| *system != makes) {
            let why = format!("edge {}: its steps make what a {makes} takes, and `{instance}` is a {system}", spec.id);
            return Err(source.wrong_at_word(&edge.referenced, instance, &why));
        }
    }
    Ok(())
}

impl Composition {
    /// Whether nodes are joined by a control log.
    pub(crate) fn is_joined(&self) -> bool {
        self.joined.is_some()
    }

    /// Where the control log lies; none if the file describes a single slate.
    pub(crate) fn root(&self) -> Option<&str> {
        self.joined.as_ref().map(|joined| joined.root.as_str())
    }

    /// What the control log shall say.
    pub(crate) fn joint(&self) -> Result<Joint> {
        let joined = self.joined.as_ref().ok_or_else(|| {
            Error::invalid(
                "the composition file describes a single slate; a joined composition has several nodes, edges, or a root",
            )
        })?;
        let nodes = self.nodes.iter().map(|(name, node)| {
            let instances = node.instances.iter().map(|(instance, spec)| {
                let config = serde_json::to_value(&spec.config).map_err(|error| {
                    Error::invalid(format!("settings cannot be written, instance={instance}")).with_source(error)
                })?;
                let (system, schema) = (system(&spec.config).to_owned(), spec.schema.clone());
                Ok((instance.clone(), InstanceSpec { system, config, schema }))
            });
            // A path that is the node's own name was not given: it lies below the root.
            let path = Some(node.path.clone()).filter(|path| path != name);
            Ok((name.clone(), NodeSpec { path, instances: instances.collect::<Result<_>>()? }))
        });
        Ok(Joint { nodes: nodes.collect::<Result<_>>()?, edges: joined.edges.clone(), cuts: joined.cuts.clone() })
    }
}

fn system(config: &SystemConfig) -> &'static str {
    match config {
        SystemConfig::Log(_) => Log::NAME,
        SystemConfig::Tsdb(_) => opendata_compose::Tsdb::NAME,
        SystemConfig::Vector(_) => opendata_compose::Vector::NAME,
    }
}
