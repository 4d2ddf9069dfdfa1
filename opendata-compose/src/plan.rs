//! Plans: what applying a specification would change, before anything is changed.

use std::collections::BTreeMap;
use std::fmt;

use opendata_core::slate::At;
use opendata_core::{Error, ErrorKind, Result};
use opendata_log::Log;
use serde::Serialize;

use crate::control::{Branch, ResetTo, Said, State};
use crate::edge::{Again, Cursor, EdgeSpec, Guarantee, schema};
use crate::external::ExternalComposite;
use crate::spec::{Composition, InstanceSpec};

/// What is to be done about an edge whose meaning changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnChange {
    /// It goes on from its cursor; what it made before stays as it is.
    #[default]
    GoOn,
    /// It reads its source again from the start; what it makes is written again.
    Rebuild,
}

/// One change of a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// A node is added: a slate is made.
    AddNode {
        /// Its name.
        node: String,
        /// Where its slate will lie.
        path: String,
    },
    /// A node is taken out. Its slate stays where it is, and nothing writes to it.
    RemoveNode {
        /// Its name.
        node: String,
        /// Where its slate lies.
        path: String,
    },
    /// An instance is added to a node.
    AddInstance {
        /// The node.
        node: String,
        /// The instance.
        instance: String,
    },
    /// An instance gets other settings.
    ConfigureInstance {
        /// The node.
        node: String,
        /// The instance.
        instance: String,
    },
    /// The records of a log get a schema, or another one.
    ChangeSchema {
        /// The node.
        node: String,
        /// The log.
        instance: String,
        /// Why what read its records may not be able to go on, if so: edges that read it stop until they are given a new generation.
        breaks: Option<String>,
    },
    /// An instance is taken out of the specification. Its rows stay.
    RemoveInstance {
        /// The node.
        node: String,
        /// The instance.
        instance: String,
    },
    /// An edge is added. If it was there before, it goes on where it stopped.
    AddEdge {
        /// Its id.
        edge: String,
        /// How many records it has to read to come to the end of its source.
        replay: Option<u64>,
        /// What follows from the graph.
        guarantee: Guarantee,
    },
    /// An edge is taken out. Its cursor stays.
    RemoveEdge {
        /// Its id.
        edge: String,
    },
    /// An edge works otherwise, but makes the same of its records: nothing is read again.
    RetuneEdge {
        /// Its id.
        edge: String,
    },
    /// An edge makes something else of its records from now on, in a new generation.
    ChangeEdge {
        /// Its id.
        edge: String,
        /// How many records are read again.
        replay: Option<u64>,
        /// What follows from the graph.
        guarantee: Guarantee,
        /// What it makes of the records that it reads again is there twice.
        doubles: bool,
    },
    /// When cuts are taken changes.
    ChangeCuts,
}

impl Change {
    /// Whether something that was stored is no longer kept up or reachable through the composition, or is made wrong.
    #[must_use]
    pub fn loses_state(&self) -> bool {
        let removed = matches!(self, Self::RemoveNode { .. } | Self::RemoveInstance { .. } | Self::RemoveEdge { .. });
        removed || matches!(self, Self::ChangeEdge { doubles: true, .. } | Self::ChangeSchema { breaks: Some(_), .. })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = |replay: &Option<u64>| replay.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
        match self {
            Self::AddNode { node, path } => write!(f, "+ node {node}: a new slate at {path}"),
            Self::RemoveNode { node, path } => write!(f, "- node {node}: its slate stays at {path}, unwritten"),
            Self::AddInstance { node, instance } => write!(f, "+ instance {node}/{instance}"),
            Self::ConfigureInstance { node, instance } => write!(f, "~ instance {node}/{instance}: other settings"),
            Self::ChangeSchema { node, instance, breaks: None } => {
                write!(f, "~ schema of {node}/{instance}: what was read can still be read")
            }
            Self::ChangeSchema { node, instance, breaks: Some(why) } => {
                write!(f, "~ schema of {node}/{instance}: breaks what reads it: {why}")
            }
            Self::RemoveInstance { node, instance } => write!(f, "- instance {node}/{instance}: its rows stay"),
            Self::AddEdge { edge, replay, guarantee } => {
                write!(f, "+ edge {edge}: reads {} records to catch up, {guarantee}", records(replay))
            }
            Self::RemoveEdge { edge } => write!(f, "- edge {edge}: its cursor stays"),
            Self::RetuneEdge { edge } => write!(f, "~ edge {edge}: works otherwise, keeps its state"),
            Self::ChangeEdge { edge, replay, guarantee, doubles } => {
                write!(f, "~ edge {edge}: a new generation, reads {} records again, {guarantee}", records(replay))?;
                if *doubles {
                    f.write_str(
                        "; what it made of them before stays beside it: better backfill it into another instance",
                    )?;
                }
                Ok(())
            }
            Self::ChangeCuts => f.write_str("~ cuts: another schedule"),
        }
    }
}

/// What applying a specification would change.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The changes, in the order they are made.
    pub changes: Vec<Change>,
    spec: Composition,
    nodes: BTreeMap<String, String>,
    regenerate: BTreeMap<String, Option<ResetTo>>,
    base: u64,
    allowed: bool,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether something that was stored is no longer kept up or reachable through the composition afterwards.
    #[must_use]
    pub fn loses_state(&self) -> bool {
        self.changes.iter().any(Change::loses_state)
    }

    /// Allows changes that [lose state](Self::loses_state).
    #[must_use]
    pub fn allow_loss(mut self) -> Self {
        self.allowed = true;
        self
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing to change");
        }
        for (index, change) in self.changes.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            change.fmt(f)?;
        }
        Ok(())
    }
}

impl ExternalComposite {
    /// What applying this specification to the branch would change; edges whose meaning changes go on from their cursors.
    ///
    /// # Errors
    /// `Invalid` if the specification is wrong; what the store returned.
    pub async fn plan(&self, spec: &Composition) -> Result<Plan> {
        self.plan_with(spec, OnChange::GoOn).await
    }

    /// What applying this specification would change, with a choice about edges whose meaning changes.
    ///
    /// # Errors
    /// `Invalid` if the specification is wrong; what the store returned.
    pub async fn plan_with(&self, spec: &Composition, on_change: OnChange) -> Result<Plan> {
        self.0.systems.validate(spec)?;
        let state = self.0.control.refresh().await?;
        let nothing = Branch::default();
        let branch = if state.created { state.branch(&self.0.branch)? } else { &nothing };
        let mut plan = Plan {
            changes: Vec::new(),
            spec: spec.clone(),
            nodes: BTreeMap::new(),
            regenerate: BTreeMap::new(),
            base: state.next,
            allowed: false,
        };
        self.plan_nodes(branch, &mut plan).await?;
        self.plan_edges(branch, on_change, &mut plan).await?;
        if branch.spec.cuts != spec.cuts {
            plan.changes.push(Change::ChangeCuts);
        }
        Ok(plan)
    }

    /// Why what reads a log now could not read it under another schema.
    async fn breaks(&self, branch: &Branch, node: &str, instance: &str, spec: &InstanceSpec) -> Result<Option<String>> {
        // A declaration that is taken back leaves the schema in place.
        let Some(newer) = spec.read_schema()? else { return Ok(None) };
        let Some(path) = branch.nodes.get(node).filter(|_| branch.slates.contains_key(node)) else { return Ok(None) };
        let reader = self.0.reading(path).read(At::Latest).await?;
        let stored = schema::latest(&reader.view(), instance).await?;
        Ok(stored.and_then(|stored| stored.accepts(&newer).err()).map(|error| error.message().to_owned()))
    }

    async fn plan_nodes(&self, branch: &Branch, plan: &mut Plan) -> Result<()> {
        for (name, node) in &plan.spec.nodes {
            let Some(old) = branch.spec.nodes.get(name) else {
                let path = node.path.clone().unwrap_or_else(|| format!("{}/{name}", self.0.root));
                plan.nodes.insert(name.clone(), path.clone());
                plan.changes.push(Change::AddNode { node: name.clone(), path });
                continue;
            };
            if old.path != node.path {
                return Err(Error::invalid(format!(
                    "the path of a node stays the same; its slate is moved by a fork and a promotion, node={name}"
                )));
            }
            for (instance, spec) in &node.instances {
                let (node, instance) = (name.clone(), instance.clone());
                match old.instances.get(&instance) {
                    None => plan.changes.push(Change::AddInstance { node, instance }),
                    Some(old) if old.system != spec.system => {
                        return Err(Error::invalid(format!(
                            "an instance does not become one of another system, node={node}, instance={instance}, system={}",
                            old.system
                        )));
                    }
                    Some(old) => {
                        if old.config != spec.config {
                            plan.changes
                                .push(Change::ConfigureInstance { node: node.clone(), instance: instance.clone() });
                        }
                        if old.schema != spec.schema {
                            let breaks = self.breaks(branch, &node, &instance, spec).await?;
                            plan.changes.push(Change::ChangeSchema { node, instance, breaks });
                        }
                    }
                }
            }
            for instance in old.instances.keys().filter(|instance| !node.instances.contains_key(*instance)) {
                plan.changes.push(Change::RemoveInstance { node: name.clone(), instance: instance.clone() });
            }
        }
        for name in branch.spec.nodes.keys().filter(|name| !plan.spec.nodes.contains_key(*name)) {
            let path = branch.nodes.get(name).cloned().unwrap_or_default();
            plan.changes.push(Change::RemoveNode { node: name.clone(), path });
        }
        Ok(())
    }

    async fn plan_edges(&self, branch: &Branch, on_change: OnChange, plan: &mut Plan) -> Result<()> {
        for edge in &plan.spec.edges {
            let guarantee = edge.guarantee();
            let id = edge.id.clone();
            match branch.spec.edge(&edge.id) {
                None => {
                    let replay = self.behind(branch, edge, false).await?;
                    plan.changes.push(Change::AddEdge { edge: id, replay, guarantee });
                }
                Some(old) if old == edge => {}
                Some(old) if let Some(moved) = has_moved(branch, old, edge) => return Err(moved),
                Some(old) if old.from.node != edge.from.node || old.from.instance != edge.from.instance => {
                    return Err(Error::invalid(format!(
                        "another source is another edge: give it another id, edge={id}, from={}/{}",
                        old.from.node, old.from.instance
                    )));
                }
                Some(old) if old.to.node != edge.to.node || old.to.instance != edge.to.instance => {
                    return Err(Error::invalid(format!(
                        "another sink is another edge: give it another id, or backfill it into another instance of its node, edge={id}"
                    )));
                }
                Some(old) if old.digest()? == edge.digest()? => plan.changes.push(Change::RetuneEdge { edge: id }),
                Some(_) => {
                    let rebuild = on_change == OnChange::Rebuild;
                    let replay = self.behind(branch, edge, rebuild).await?;
                    plan.regenerate.insert(id.clone(), rebuild.then_some(ResetTo::Start));
                    let doubles = rebuild && edge.again() == Again::Adds && replay != Some(0);
                    plan.changes.push(Change::ChangeEdge { edge: id, replay, guarantee, doubles });
                }
            }
        }
        for edge in branch.spec.edges.iter().filter(|edge| plan.spec.edge(&edge.id).is_none()) {
            plan.changes.push(Change::RemoveEdge { edge: edge.id.clone() });
        }
        Ok(())
    }

    /// How many records lie between an edge's cursor, or the start, and the end of its source.
    async fn behind(&self, branch: &Branch, edge: &EdgeSpec, from_start: bool) -> Result<Option<u64>> {
        let open = async |node: &str| -> Result<_> {
            let Some(path) = branch.nodes.get(node) else { return Ok(None) };
            match self.0.reading(path).read(At::Latest).await {
                Ok(reader) => Ok(Some(reader)),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        };
        let Some(source) = open(&edge.from.node).await? else { return Ok(Some(0)) };
        let Ok(log) = source.get::<Log>(&edge.from.instance) else { return Ok(Some(0)) };
        let reader = source.view().on(&log)?;
        let mut from = reader.trim_point().await?;
        if !from_start && let Some(keeper) = open(edge.runs_on()).await? {
            match Cursor::read(&keeper.view(), edge.state_instance(), &edge.id).await {
                Ok(Some(cursor)) => from = cursor.next,
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        match reader.lag_all(from).await {
            Ok(records) => Ok(Some(records)),
            // The cursor stands outside of what is kept: the edge will say so.
            Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the branch as planned, by one entry of the control log; every process brings about its part. Edges that the plan does not
    /// name run on.
    ///
    /// # Errors
    /// `Conflict` if anything was said since the plan was made (plan again), or if it [loses state](Plan::loses_state) and does not
    /// allow it; what the store returned.
    pub async fn apply(&self, plan: &Plan) -> Result<()> {
        if plan.is_empty() {
            return Ok(());
        }
        if let Some(change) = plan.changes.iter().find(|change| change.loses_state() && !plan.allowed) {
            return Err(Error::conflict(format!("the plan gives up state and was not allowed to: {change}")));
        }
        let mut base = plan.base;
        if base == 0 {
            let create = |state: &State| Ok((!state.created).then_some(Said::Create));
            base = self.0.control.append_with(create).await?.next;
        }
        let said = Said::Apply {
            branch: self.0.branch.clone(),
            spec: plan.spec.clone(),
            nodes: plan.nodes.clone(),
            regenerate: plan.regenerate.clone(),
            generations: BTreeMap::new(),
            base,
        };
        self.0.control.append(said).await?;
        match self.is_started() {
            true => self.0.reconcile().await,
            false => Ok(()),
        }
    }
}

/// What to say of an edge whose end lies, as the file says, in a node that there is not, but otherwise as it was: nodes were split or joined since, or are to be.
fn has_moved(branch: &Branch, old: &EdgeSpec, new: &EdgeSpec) -> Option<Error> {
    let from = (Some(&old.from.node), Some(&old.from.instance), Some(&new.from.node), Some(&new.from.instance));
    let to = (old.to.node.as_ref(), old.to.instance.as_ref(), new.to.node.as_ref(), new.to.instance.as_ref());
    [from, to].into_iter().find_map(|(was_in, was, node, instance)| {
        let (was_in, node, instance) = (was_in?, node?, instance?);
        let moved = was == Some(instance) && was_in != node && !branch.spec.nodes.contains_key(node);
        moved.then(|| {
            Error::invalid(format!(
                "the instance lies in another node: only a split or a join moves it, and then the file is changed, instance={instance}, node={was_in}, file={node}, edge={}",
                new.id
            ))
        })
    })
}
