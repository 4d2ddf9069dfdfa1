//! Branches: forks of a whole composition, and which of them is main.
//!
//! A fork is made from a committed cut: a clone of each slate, sharing every file, with the same names for nodes, instances and edges.
//! Edges inside it go on from their cursors; edges to the outside stand still, because the original still serves them. A
//! [promotion](ExternalComposite::promote) puts a fork in the place of main by one entry of the control log.

mod export;
mod moved;
mod promote;
pub(crate) mod replay;
mod reshape;
mod restore;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::try_join_all;
use opendata_core::slate::At;
use opendata_core::{Error, Result, Timestamp};

use crate::control::{BranchPhase, Said, State};
use crate::external::ExternalComposite;

pub use self::moved::Written;
pub use self::promote::Promoted;
pub use self::reshape::Reshaped;

/// A fork that is not ready by then may be swept away.
const MAKING: Duration = Duration::from_secs(600);

/// A branch of a composition, for listings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchInfo {
    /// Its name.
    pub name: String,
    /// Whether it can be used.
    pub phase: BranchPhase,
    /// The branch and the cut it began at; none for main as it was created.
    pub base: Option<(String, String)>,
    /// Where the slates of its nodes lie.
    pub nodes: BTreeMap<String, String>,
}

impl ExternalComposite {
    /// Forks a cut: all its nodes, sharing every file. Open it with [`Builder::branch`](crate::external::Builder::branch). The time it takes
    /// does not grow with the data.
    ///
    /// # Errors
    /// `NotFound` if there is no such cut that can be used; `Conflict` if the name was used before; what the store returned.
    pub async fn fork(&self, name: &str, cut: &str) -> Result<()> {
        let state = self.0.control.refresh().await?;
        let nodes: Vec<String> = state.committed_cut(cut)?.nodes.keys().cloned().collect();
        self.fork_nodes(name, cut, &nodes).await
    }

    /// Forks some nodes of a cut. Only edges between them go with it, and such a fork cannot be promoted.
    ///
    /// # Errors
    /// Those of [`fork`](Self::fork); `Invalid` if the cut has no such node.
    pub async fn fork_nodes(&self, name: &str, cut: &str, nodes: &[String]) -> Result<()> {
        let paths = nodes.iter().map(|node| (node.clone(), format!("{}/_forks/{name}/{node}", self.0.root)));
        let paths: BTreeMap<String, String> = paths.collect();
        let said = Said::ForkBegin {
            fork: name.to_owned(),
            cut: cut.to_owned(),
            nodes: paths.clone(),
            deadline: self.0.env.now().plus_ms(i64::try_from(MAKING.as_millis()).unwrap_or(i64::MAX)),
        };
        let state = self.0.control.append(said).await?;
        let cut = state.committed_cut(cut)?;
        let clones = paths.iter().map(|(node, path)| async move {
            let member = cut.members.get(node);
            let member = member.ok_or_else(|| Error::not_found(format!("the cut has no such node, node={node}")))?;
            let at = At::Checkpoint(member.checkpoint.clone());
            let reader = self.0.reading(&member.path).read(at).await?;
            reader.fork(path).await
        });
        // What a failure leaves behind is swept once the deadline has passed.
        try_join_all(clones).await?;
        self.0.control.append(Said::ForkReady { fork: name.to_owned() }).await?;
        Ok(())
    }

    /// Forks one instance of a node as it was in a cut, with its cursors, into a slate of its own that is in no branch.
    ///
    /// # Errors
    /// `NotFound` if there is no such cut, node or instance; `Conflict` if there is something at the path.
    pub async fn fork_instance(&self, cut: &str, node: &str, instance: &str, path: &str) -> Result<()> {
        self.at(cut).await?.node(node)?.fork_instance(instance, path).await?;
        Ok(())
    }

    /// All branches that are not gone.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn branches(&self) -> Result<Vec<BranchInfo>> {
        let state = self.0.control.refresh().await?;
        let alive = state.branches.iter().filter(|(_, branch)| branch.phase != BranchPhase::Discarded);
        let info = alive.map(|(name, branch)| BranchInfo {
            name: name.clone(),
            phase: branch.phase,
            base: branch.base.as_ref().map(|base| (base.branch.clone(), base.cut.clone())),
            nodes: branch.nodes.clone(),
        });
        Ok(info.collect())
    }

    /// Gives a branch up and deletes its slates. Processes that have it open close it by themselves. If other slates still share
    /// its files, it is deleted once they no longer do.
    ///
    /// # Errors
    /// `Invalid` for main; `NotFound` if there is no such branch; `Conflict` if forks began at its cuts.
    pub async fn discard(&self, branch: &str) -> Result<()> {
        self.0.control.append(Said::Discard { fork: branch.to_owned() }).await?;
        if branch == self.0.branch {
            // Its nodes are open here.
            self.0.reconcile().await?;
        }
        self.0.sweep().await
    }

    /// Waits until a condition on the control log holds.
    ///
    /// # Errors
    /// `Unavailable` if it does not within `timeout`; what the store returned.
    pub async fn wait_until(&self, timeout: Duration, holds: impl Fn(&State) -> bool) -> Result<()> {
        let waited = async {
            while !holds(&*self.0.control.refresh().await?) {
                tokio::time::sleep(self.0.poll.min(Duration::from_millis(50))).await;
            }
            Ok(())
        };
        match tokio::time::timeout(timeout, waited).await {
            Ok(waited) => waited,
            Err(_) => Err(Error::unavailable("what was waited for did not happen in time")),
        }
    }

    pub(crate) fn deadline(&self, after: Duration) -> Timestamp {
        self.0.env.now().plus_ms(i64::try_from(after.as_millis()).unwrap_or(i64::MAX))
    }
}
