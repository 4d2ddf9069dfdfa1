//! Splitting a node into several, and joining several into one, without copying a row.
//!
//! 1. `reshape_begin` is said: which nodes shall become which, and where their slates will lie. From here on nobody opens the old nodes for writing; the
//!    others, and edges between them, go on.
//! 2. Every old slate is opened, which fences its writer, and retired: what it holds now is all it will ever hold.
//! 3. The new slates are made of them, sharing every file. Cursors, windows and letters of edges lie with their instances and come along; a cursor that
//!    counts in an old slate is valid in what was made of it.
//! 4. `reshape_commit` is said: the new nodes are there, the edges lead to and from them under their old ids, and the old nodes are a branch that can be
//!    read and discarded. Whoever owned an old node owns what became of it.
//!
//! If this process dies on the way, the old nodes stand still until the deadline has passed, or somebody cancels it; then `reshape_abort` is said, their
//! owners open them again, and what was made is swept away.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use opendata_core::slate::{self, At, Fork, SlateReader};
use opendata_core::{Error, Result};

use crate::control::{Branch, Reshaping, Said, ShapePhase, State};
use crate::external::ExternalComposite;
use crate::internal::InternalComposite;
use crate::spec::{Composition, NodeSpec, check_name};

const DEADLINE: Duration = Duration::from_secs(120);
/// How long what is joined is held while it is being joined.
const PIN: Duration = Duration::from_secs(600);

/// What a split or a join did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reshaped {
    /// The new nodes, and where their slates lie.
    pub nodes: BTreeMap<String, String>,
    /// The branch that the old nodes are now.
    pub former: String,
}

/// A new node that has some instances of one old node, and where its slate will lie.
struct Part<'a> {
    node: &'a String,
    instances: Vec<&'a str>,
    path: &'a str,
}

impl ExternalComposite {
    /// Splits a node into several, each with some of its instances. Every instance goes to exactly one of them; one of them may have the old name.
    /// The time it takes does not grow with the data; the node takes no writes meanwhile.
    ///
    /// # Errors
    /// `Invalid` if the parts are not those of the node; `Conflict` if a name is taken, or a cut, a promotion or another split is under way: then the
    /// node goes on as before. What the store returned.
    pub async fn split(&self, node: &str, parts: &BTreeMap<String, BTreeSet<String>>) -> Result<Reshaped> {
        let whole =
            |instance: &str| parts.iter().find(|(_, instances)| instances.contains(instance)).map(|(name, _)| name);
        self.reshape(|branch| {
            let spec = branch.spec.nodes.get(node).ok_or_else(|| no_node(branch, node))?;
            if parts.len() < 2 {
                return Err(Error::invalid(format!("a node is split into at least two, node={node}")));
            }
            let placed: Vec<&String> = parts.values().flatten().collect();
            let unknown = placed.iter().find(|instance| !spec.instances.contains_key(**instance));
            let left = spec.instances.keys().find(|instance| whole(instance).is_none());
            if let Some(instance) = unknown.copied().or(left) {
                let known: Vec<_> = spec.instances.keys().map(String::as_str).collect();
                let known = known.join(", ");
                return Err(Error::invalid(format!(
                    "each instance of the node goes to exactly one part, node={node}, instance={instance}, instances=[{known}]"
                )));
            }
            if placed.len() != spec.instances.len() {
                return Err(Error::invalid(format!("an instance goes to two parts, node={node}")));
            }
            let to = |name: &str, instance: &str| {
                whole(instance).filter(|_| name == node).cloned().unwrap_or_else(|| name.to_owned())
            };
            Ok((BTreeSet::from([node.to_owned()]), moved(&branch.spec, &to)))
        })
        .await
    }

    /// Joins nodes into one that has the instances of all. Their names must differ, and so must their keys: two instances of one system can only be
    /// joined if they came from one slate. The new node may have the name of one of the old ones.
    ///
    /// # Errors
    /// `Invalid` if fewer than two nodes are named or there is no such node; `Conflict` if names or keys of instances are the same, a name is taken, or a
    /// cut, a promotion or another split is under way: then the nodes go on as before. What the store returned.
    pub async fn join(&self, nodes: &BTreeSet<String>, into: &str) -> Result<Reshaped> {
        self.reshape(|branch| {
            if nodes.len() < 2 {
                return Err(Error::invalid("at least two nodes are joined"));
            }
            let mut names = BTreeSet::new();
            for node in nodes {
                let spec = branch.spec.nodes.get(node).ok_or_else(|| no_node(branch, node))?;
                if let Some(twice) = spec.instances.keys().find(|instance| !names.insert((*instance).clone())) {
                    return Err(Error::conflict(format!("two instances have the same name, instance={twice}")));
                }
            }
            let to = |name: &str, _: &str| if nodes.contains(name) { into.to_owned() } else { name.to_owned() };
            Ok((nodes.clone(), moved(&branch.spec, &to)))
        })
        .await
    }

    async fn reshape(
        &self,
        shape: impl Fn(&Branch) -> Result<(BTreeSet<String>, Composition)> + Send + Sync,
    ) -> Result<Reshaped> {
        self.0.end_overdue().await?;
        let mut name = String::new();
        let deadline = self.deadline(DEADLINE);
        let (own, root) = (self.0.branch.clone(), self.0.root.clone());
        let begin = |state: &State| {
            let branch = state.branch(&own)?;
            let (from, spec) = shape(branch)?;
            name = format!("shape-{}", state.next);
            let made = spec.nodes.keys().filter(|node| from.contains(*node) || !branch.nodes.contains_key(*node));
            let nodes: BTreeMap<String, String> =
                made.map(|node| (node.clone(), format!("{root}/_shapes/{name}/{node}"))).collect();
            nodes.keys().try_for_each(|node| check_name("node", node))?;
            let (branch, shape) = (own.clone(), name.clone());
            Ok(Some(Said::ReshapeBegin { branch, shape, from, spec, nodes, deadline }))
        };
        let state = self.0.control.append_with(begin).await?;
        let found = state.reshaping.clone().filter(|found| found.shape == name);
        let found = found.ok_or_else(|| Error::conflict("the split was given up by somebody else"))?;
        // Nodes that are open here are given up like everyone else's.
        let given_up = self.0.reconcile().await;
        let mut fenced = BTreeMap::new();
        let outcome = match given_up {
            Ok(()) => self.reshape_fenced(&state, &found, &mut fenced).await,
            Err(error) => Err(error),
        };
        let _: Vec<Result<()>> = join_all(fenced.values().map(InternalComposite::close)).await;
        if let Err(error) = &outcome {
            let reason = error.to_string();
            let abort = |state: &State| {
                let ours = state.reshaping.as_ref().is_some_and(|reshaping| reshaping.shape == name);
                Ok(ours.then(|| Said::ReshapeAbort { shape: name.clone(), reason: reason.clone() }))
            };
            let state = self.0.control.append_with(abort).await?;
            if state.shapes.get(&name).is_some_and(|shape| shape.phase != ShapePhase::Done) {
                // Somebody else may have given it up and swept before this process made the last of it.
                let _: Result<bool> = self.0.delete_slates(&found.nodes).await;
            }
            let _: Result<()> = self.0.sweep().await;
        }
        self.0.reconcile().await?;
        outcome
    }

    async fn reshape_fenced(
        &self,
        state: &State,
        reshaping: &Reshaping,
        fenced: &mut BTreeMap<String, InternalComposite>,
    ) -> Result<Reshaped> {
        let branch = state.branch(&reshaping.branch)?;
        self.fence_all(branch, reshaping.from.iter(), "it is being split or joined", fenced).await?;
        let slates = self.make_slates(branch, reshaping, fenced).await?;
        let mut former = String::new();
        let commit = |state: &State| {
            former = state.free_former();
            let (shape, former) = (reshaping.shape.clone(), former.clone());
            Ok(Some(Said::ReshapeCommit { shape, former, slates: slates.clone() }))
        };
        self.0.control.append_with(commit).await?;
        Ok(Reshaped { nodes: reshaping.nodes.clone(), former })
    }

    /// Makes the new slates. Returns their identities, by node.
    async fn make_slates(
        &self,
        branch: &Branch,
        reshaping: &Reshaping,
        fenced: &BTreeMap<String, InternalComposite>,
    ) -> Result<BTreeMap<String, String>> {
        let mut slates = BTreeMap::new();
        // What one old node becomes, for nodes that take over nothing of others.
        let mut parts: BTreeMap<&String, Vec<Part<'_>>> = BTreeMap::new();
        for (node, path) in &reshaping.nodes {
            let instances = reshaping.spec.nodes.get(node).into_iter().flat_map(|node| node.instances.keys());
            let instances: Vec<&str> = instances.map(String::as_str).collect();
            let holds = |old: &&String| {
                let spec = branch.spec.nodes.get(*old);
                spec.is_some_and(|spec| instances.iter().any(|instance| spec.instances.contains_key(*instance)))
            };
            let parents: Vec<&String> = reshaping.from.iter().filter(holds).collect();
            match parents.as_slice() {
                [parent] => parts.entry(parent).or_default().push(Part { node, instances, path }),
                parents => {
                    let joined = self.join_slates(branch, parents, &reshaping.shape, path, fenced).await?;
                    slates.insert(node.clone(), joined.slate_id.to_string());
                }
            }
        }
        for (parent, parts) in parts {
            let slate = fenced.get(parent).ok_or_else(|| no_node(branch, parent))?.slate();
            let wanted: Vec<_> = parts.iter().map(|part| (part.instances.as_slice(), part.path)).collect();
            let forks = slate.fork_parts(&wanted).await?;
            slates.extend(parts.iter().zip(forks).map(|(part, fork)| (part.node.clone(), fork.slate_id.to_string())));
        }
        Ok(slates)
    }

    /// Joins slates that take no writes any more.
    async fn join_slates(
        &self,
        branch: &Branch,
        parents: &[&String],
        shape: &str,
        path: &str,
        fenced: &BTreeMap<String, InternalComposite>,
    ) -> Result<Fork> {
        let held = parents.iter().map(async |parent: &&String| {
            let old = branch.nodes.get(*parent).ok_or_else(|| no_node(branch, parent))?;
            let composite = fenced.get(*parent).ok_or_else(|| no_node(branch, parent))?;
            composite.checkpoint(shape, Some(PIN)).await?;
            self.0.reading(old).read(At::Checkpoint(shape.to_owned())).await
        });
        let readers: Vec<SlateReader> = try_join_all(held).await?;
        let joined = slate::join(&readers.iter().collect::<Vec<_>>(), path).await;
        drop(readers);
        let released =
            parents.iter().filter_map(|parent| fenced.get(*parent)).map(|composite| composite.release(shape));
        for outcome in join_all(released).await {
            if let Err(error) = outcome {
                tracing::debug!(%error, "a checkpoint expires by itself");
            }
        }
        joined
    }
}

pub(super) fn no_node(branch: &Branch, node: &str) -> Error {
    let known: Vec<_> = branch.nodes.keys().map(String::as_str).collect();
    Error::invalid(format!("no such node, name={node}, nodes=[{}]", known.join(", ")))
}

/// The same composition with its instances in other nodes.
fn moved(spec: &Composition, to: &dyn Fn(&str, &str) -> String) -> Composition {
    let mut nodes: BTreeMap<String, NodeSpec> = BTreeMap::new();
    for (name, node) in &spec.nodes {
        for (instance, system) in &node.instances {
            let target = to(name, instance);
            let stays = target == *name && node.instances.keys().all(|instance| to(name, instance) == *name);
            let place = nodes.entry(target).or_default();
            // Where a new slate lies is the control log's to say.
            place.path = if stays { node.path.clone() } else { None };
            place.instances.insert(instance.clone(), system.clone());
        }
    }
    let mut moved = Composition { nodes, ..spec.clone() };
    for edge in &mut moved.edges {
        edge.from.node = to(&edge.from.node, &edge.from.instance);
        if let (Some(node), Some(instance)) = (&edge.to.node, &edge.to.instance) {
            edge.to.node = Some(to(node, instance));
        }
    }
    moved
}
