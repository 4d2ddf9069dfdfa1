//! The nodes that this process owns: taking them over, and giving them up.
//!
//! Who wants a node says so in the control log *before* he opens its slate, and looks at the control log again *after* he has opened it.
//! The first lets the owner before give it up instead of taking it back; the second keeps a process with an old idea
//! of where main lies from ever writing there: a promotion is said first and opens the slates afterwards, so whoever opened
//! before it is fenced, and whoever opened after it finds it said.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use futures::StreamExt;
use futures::stream;
use opendata_core::{Error, ErrorKind, Result};

use super::{Inner, Own};
use crate::control::{Branch, BranchPhase, MAIN, Said, State};
use crate::edge::schema::{Registration, register_declared};
use crate::internal::InternalComposite;
use crate::spec::NodeSpec;

/// How many nodes are opened, or closed, side by side.
const AT_ONCE: usize = 8;

/// A node whose writer is here.
#[derive(Clone)]
pub(super) struct Owned {
    pub(super) path: String,
    /// What it was opened as.
    spec: NodeSpec,
    pub(super) composite: InternalComposite,
}

#[derive(Default)]
pub(super) struct Nodes(Mutex<BTreeMap<String, Owned>>);

impl Nodes {
    pub(super) fn get(&self, node: &str) -> Option<Owned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(node).cloned()
    }

    pub(super) fn all(&self) -> BTreeMap<String, Owned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, node: &str, owned: Owned) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(node.to_owned(), owned);
    }

    fn take(&self, node: &str) -> Option<Owned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(node)
    }
}

/// Whether nodes of a branch may be opened for writing, as far as a state tells.
pub(crate) fn may_write(state: &State, branch: &str) -> Result<()> {
    if branch == MAIN && state.promotion.is_some() {
        return Err(Error::conflict("a promotion is under way; nodes of main are opened once it is decided"));
    }
    match state.branch(branch)?.phase {
        BranchPhase::Live => Ok(()),
        phase => Err(Error::conflict(format!("the branch takes no writes, branch={branch}, phase={phase:?}"))),
    }
}

impl Inner {
    /// Opens what is this process's to own and gives up what is not, as the control log has it.
    pub(super) async fn reconcile_nodes(&self, state: &State) -> Result<()> {
        let wanted: BTreeMap<String, String> = match may_write(state, &self.branch) {
            Err(_) => BTreeMap::new(),
            Ok(()) => {
                let nodes = state.branch(&self.branch)?.nodes.iter();
                nodes
                    .filter(|(node, _)| self.owns(node, state) && !state.is_reshaped(&self.branch, node))
                    .map(|(n, p)| (n.clone(), p.clone()))
                    .collect()
            }
        };
        let owned = self.nodes.all();
        let unwanted = owned.iter().filter(|(node, owned)| {
            // Other instances, or other settings of them, want it opened again.
            let spec = state.branch(&self.branch).ok().and_then(|branch| branch.spec.nodes.get(*node));
            let same = wanted.get(*node) == Some(&owned.path) && spec == Some(&owned.spec);
            !same || owned.composite.slate().failure().is_some()
        });
        let given_up = stream::iter(unwanted.map(|(node, _)| self.give_up(node)).collect::<Vec<_>>());
        given_up.buffered(AT_ONCE).collect::<()>().await;
        let missing = wanted.iter().filter(|(node, _)| self.nodes.get(node).is_none());
        let taken = missing.map(|(node, path)| async move {
            let taken = self.take_over(node, path).await;
            taken
                .inspect_err(|error| tracing::warn!(node, %error, "a node could not be opened; it will be tried again"))
        });
        // One that cannot be opened keeps no other from being opened.
        let taken: Vec<Result<()>> = stream::iter(taken.collect::<Vec<_>>()).buffered(AT_ONCE).collect().await;
        taken.into_iter().collect()
    }

    /// Whether a node is this process's: it was asked for here, and nobody has taken it over since.
    pub(super) fn owns(&self, node: &str, state: &State) -> bool {
        let owner = state.branch(&self.branch).ok().and_then(|branch| branch.owners.get(node));
        match owner {
            Some(owner) if *owner == self.owner => true,
            // Said by another: his, unless this process has not yet said that it wants it.
            Some(_) => self.wants(node) && !self.has_claimed(node),
            None => self.wants(node),
        }
    }

    /// Says in the control log that this process takes over all nodes it was asked to own.
    pub(super) async fn claim(&self) -> Result<()> {
        let state = self.control.refresh().await?;
        let Ok(branch) = state.branch(&self.branch) else { return Ok(()) };
        if may_write(&state, &self.branch).is_err() {
            return Ok(());
        }
        let unclaimed = |node: &&String| self.wants(node) && !self.has_claimed(node);
        let (theirs, nodes): (Vec<String>, Vec<String>) =
            branch.nodes.keys().filter(unclaimed).cloned().partition(|node| self.was_born_to_another(branch, node));
        // As if it had been this process's once and was taken over.
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner).extend(theirs);
        self.has_begun.store(true, Ordering::Relaxed);
        if nodes.is_empty() {
            return Ok(());
        }
        let said = Said::Own { branch: self.branch.clone(), owner: self.owner.clone(), nodes: nodes.clone() };
        self.control.append(said).await?;
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner).extend(nodes);
        Ok(())
    }

    /// Whether a node that this process did not find at its beginning has an owner already: what a split or a join makes belongs to whoever owned
    /// what it was made of. A process that takes whatever nobody else has leaves it to him; one that was asked for the node by name takes it.
    fn was_born_to_another(&self, branch: &Branch, node: &str) -> bool {
        let is_anothers = || branch.owners.get(node).is_some_and(|owner| *owner != self.owner);
        self.own == Own::All && self.has_begun.load(Ordering::Relaxed) && is_anothers()
    }

    fn has_claimed(&self, node: &str) -> bool {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner).contains(node)
    }

    async fn take_over(&self, node: &str, path: &str) -> Result<()> {
        let state = self.control.state();
        let branch = state.branch(&self.branch)?;
        let spec = branch.spec.nodes.get(node).ok_or_else(|| Error::not_found(format!("no such node, node={node}")))?;
        let builder = self.writing(path, spec)?;
        // A slate that was there once and is gone is an error; only a node that never had one gets a new one.
        let known = branch.slates.get(node);
        let builder = if known.is_some() || branch.base.is_some() { builder.must_exist() } else { builder };
        let composite = match builder.clone().open().await {
            // It was retired by a promotion, a split or a join that came to nothing.
            Err(error) if error.kind() == ErrorKind::Conflict && !planted!(StaysRetired) => {
                let now = self.control.refresh().await?;
                may_write(&now, &self.branch)?;
                if now.branch(&self.branch)?.nodes.get(node).is_none_or(|found| found != path) {
                    return Err(Error::conflict(format!("the node lies elsewhere by now, node={node}, path={path}")));
                }
                builder.reinstate().open().await?
            }
            opened => opened?,
        };
        let slate = composite.slate().id().to_string();
        if known.is_some_and(|known| *known != slate) {
            let _ = composite.close().await;
            return Err(Error::corrupt(format!("the slate of the node is another one, node={node}, path={path}")));
        }
        if known.is_none() {
            let said = Said::Made { branch: self.branch.clone(), node: node.to_owned(), slate };
            self.control.append(said).await?;
        }
        let now = self.control.refresh().await?;
        let still = may_write(&now, &self.branch).is_ok()
            && !now.is_reshaped(&self.branch, node)
            && now.branch(&self.branch)?.nodes.get(node).is_some_and(|found| found == path)
            && self.owns(node, &now);
        if !still {
            let _ = composite.close().await;
            return Err(Error::conflict(format!("the node was given to someone else meanwhile, node={node}")));
        }
        // Whether what reads them still can was asked when the specification was planned.
        let declared = spec.instances.iter().filter_map(|(name, it)| Some((name.as_str(), it.schema.as_ref()?)));
        let declared: Vec<_> = declared.collect();
        if let Err(error) = register_declared(composite.slate(), &declared, Registration::Breaking).await {
            let _ = composite.close().await;
            return Err(error);
        }
        self.nodes.put(node, Owned { path: path.to_owned(), spec: spec.clone(), composite });
        Ok(())
    }

    /// Stops the edges that run at a node and closes it.
    pub(super) async fn give_up(&self, node: &str) {
        self.stop_edges_at(node).await;
        let Some(owned) = self.nodes.take(node) else { return };
        if let Err(error) = owned.composite.close().await {
            tracing::debug!(node, %error, "a node did not close in order");
        }
    }
}
