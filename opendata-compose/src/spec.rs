//! What a composition is made of: nodes, each a slate with named instances, and edges between instances.
//!
//! A specification is plain data. It stands in composition files and in the control log; it says what shall be, never where a
//! slate lies right now: that is the control log's to say, because a promotion moves a node to another path.

use std::collections::{BTreeMap, BTreeSet};

use opendata_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::cut::CutSchedule;
use crate::edge::EdgeSpec;
use crate::edge::schema::{Schema, SchemaSpec};

/// A composition: several slates and the edges that join them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Composition {
    /// The nodes, by name.
    pub nodes: BTreeMap<String, NodeSpec>,
    /// The edges. Their ids are unique and stay the same for as long as their state shall.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<EdgeSpec>,
    /// Cuts that are taken by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cuts: Option<CutSchedule>,
}

/// A node: one slate with named instances, itself an internal composition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// Where its slate is made, relative to the store; below the composition's root by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its instances, by name.
    pub instances: BTreeMap<String, InstanceSpec>,
}

/// An instance of a system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceSpec {
    /// The system's name: `log`, `tsdb`, `vector`.
    pub system: String,
    /// Its settings, as the system has them; the default ones if there are none.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub config: serde_json::Value,
    /// Of a log: the fields of its records' JSON payloads. Edges that read it are checked against them, and records that do not
    /// fit go to their dead letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaSpec>,
}

impl InstanceSpec {
    /// An instance with the default settings.
    #[must_use]
    pub fn of(system: &str) -> Self {
        Self { system: system.to_owned(), config: serde_json::Value::Null, schema: None }
    }

    /// Its schema, read.
    ///
    /// # Errors
    /// `Invalid` if it names a type that there is not, or the instance is no log.
    pub fn read_schema(&self) -> Result<Option<Schema>> {
        let Some(schema) = &self.schema else { return Ok(None) };
        if self.system != "log" {
            return Err(Error::invalid(format!("only the records of a log have a schema, system={}", self.system)));
        }
        Schema::new(1, schema.clone()).map(Some)
    }
}

impl Composition {
    /// An edge by its id.
    #[must_use]
    pub fn edge(&self, id: &str) -> Option<&EdgeSpec> {
        self.edges.iter().find(|edge| edge.id == id)
    }

    /// An edge that is asked for by its id.
    ///
    /// # Errors
    /// `NotFound`, naming those that there are.
    pub fn find_edge(&self, id: &str) -> Result<&EdgeSpec> {
        let known = || self.edges.iter().map(|edge| edge.id.as_str()).collect::<Vec<_>>().join(", ");
        self.edge(id).ok_or_else(|| Error::not_found(format!("no such edge, edge={id}, edges=[{}]", known())))
    }

    /// The edges that write into a node.
    pub fn edges_into<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a EdgeSpec> {
        self.edges.iter().filter(move |edge| edge.to.node.as_deref() == Some(node))
    }

    /// The edges that read a node.
    pub fn edges_out_of<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a EdgeSpec> {
        self.edges.iter().filter(move |edge| edge.from.node == node)
    }

    /// The edges whose work is done by the owner of a node: those that write into it, and those that read it to write outside.
    pub fn edges_run_by<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a EdgeSpec> {
        self.edges.iter().filter(move |edge| edge.runs_on() == node)
    }

    /// Checks names and that every edge joins instances that exist and fit; the edges' own settings are checked with them.
    ///
    /// # Errors
    /// `Invalid`, naming the node or edge.
    pub fn validate(&self) -> Result<()> {
        for (name, node) in &self.nodes {
            check_name("node", name)?;
            if node.instances.is_empty() {
                return Err(Error::invalid(format!("a node has at least one instance, node={name}")));
            }
            for (instance, spec) in &node.instances {
                check_name("instance", instance)?;
                spec.read_schema().map_err(|error| error.context(format_args!("instance {name}/{instance}")))?;
            }
        }
        let paths: Vec<_> = self.nodes.values().filter_map(|node| node.path.as_deref()).collect();
        if paths.iter().collect::<BTreeSet<_>>().len() != paths.len() {
            return Err(Error::invalid("two nodes have the same path"));
        }
        if let Some(cuts) = &self.cuts {
            cuts.validate()?;
        }
        let mut ids = BTreeSet::new();
        for edge in &self.edges {
            if !ids.insert(edge.id.as_str()) {
                return Err(Error::invalid(format!("two edges have the same id, edge={}", edge.id)));
            }
            self.check_end(&edge.id, "from", &edge.from.node, &edge.from.instance, Some("log"))?;
            if let (Some(node), Some(instance)) = (&edge.to.node, &edge.to.instance) {
                self.check_end(&edge.id, "to", node, instance, None)?;
            }
            edge.validate_over(self.schema_of(&edge.from.node, &edge.from.instance)?.as_ref())?;
        }
        Ok(())
    }

    fn schema_of(&self, node: &str, instance: &str) -> Result<Option<Schema>> {
        let spec = self.nodes.get(node).and_then(|node| node.instances.get(instance));
        spec.map_or(Ok(None), InstanceSpec::read_schema)
    }

    fn check_end(&self, edge: &str, end: &str, node: &str, instance: &str, system: Option<&str>) -> Result<()> {
        let Some(found) = self.nodes.get(node) else {
            let known: Vec<_> = self.nodes.keys().map(String::as_str).collect();
            return Err(Error::invalid(format!(
                "an edge names a node that is not there, edge={edge}, {end}={node}, nodes=[{}]",
                known.join(", ")
            )));
        };
        let Some(spec) = found.instances.get(instance) else {
            let known: Vec<_> = found.instances.keys().map(String::as_str).collect();
            return Err(Error::invalid(format!(
                "an edge names an instance that is not there, edge={edge}, {end}={node}/{instance}, instances=[{}]",
                known.join(", ")
            )));
        };
        match system {
            Some(system) if spec.system != system => Err(Error::invalid(format!(
                "an edge reads from a log, edge={edge}, from={node}/{instance}, system={}",
                spec.system
            ))),
            _ => Ok(()),
        }
    }

    /// The nodes in an order in which every sink stands before its sources, and the edges that had to be left out of
    /// account because they close a cycle: the *feedback* edges. The order depends on the specification only.
    #[must_use]
    pub fn sinks_first(&self) -> (Vec<String>, Vec<String>) {
        let mut walk = Walk { spec: self, done: Vec::new(), open: Vec::new(), feedback: Vec::new() };
        for node in self.nodes.keys() {
            walk.visit(node);
        }
        (walk.done, walk.feedback)
    }
}

/// A depth-first walk along the edges: a node is done once all that read from it are.
struct Walk<'a> {
    spec: &'a Composition,
    done: Vec<String>,
    open: Vec<String>,
    feedback: Vec<String>,
}

impl Walk<'_> {
    fn visit(&mut self, node: &str) {
        if self.done.iter().any(|done| done == node) {
            return;
        }
        self.open.push(node.to_owned());
        for edge in self.spec.edges.iter().filter(|edge| edge.from.node == node) {
            let Some(sink) = edge.to.node.as_deref().filter(|sink| *sink != node) else { continue };
            if self.open.iter().any(|open| open == sink) {
                self.feedback.push(edge.id.clone());
            } else {
                self.visit(sink);
            }
        }
        self.open.pop();
        self.done.push(node.to_owned());
    }
}

/// Names become parts of paths and labels, so they are kept plain.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if plain && (1..=64).contains(&name.len()) && !name.starts_with(['.', '_']) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "a name is 1 to 64 letters, digits, '-', '_' or '.', and begins with none of '_' and '.', {what}={name:?}"
    )))
}

#[cfg(test)]
mod tests;
