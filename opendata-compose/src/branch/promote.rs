//! Promotion: a fork takes the place of main, by one entry of the control log.
//!
//! 1. `promote_begin` is said. From here on nobody who reads the log opens nodes of main for writing, and whoever has opened one looks at the log
//!    again before he uses it.
//! 2. Every slate of main is opened, which fences its writer, and retired, so that not even a program that knows nothing of
//!    the control log can write to it.
//! 3. Main now stands still. What it wrote since the cut that the fork began at is looked for; the policy says what becomes of it.
//! 4. `promote_commit` is said: the fork is main, what was main is a branch that can be read and forked.
//!
//! If this process dies on the way, main stands still until the deadline has passed, or somebody cancels the promotion; then `promote_abort` is said, and the
//! owners open their nodes again, which takes the mark of a retired slate away.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use opendata_core::{DataSystem, Error, ErrorKind, Position, Result, Timestamp};
use opendata_log::Log;

use super::moved::{Written, refusal, written_since};
use super::replay::{Span, Trimmed, copy_logs};
use super::reshape::no_node;
use crate::control::{Branch, MAIN, PromotePolicy, Said, State};
use crate::cut::sweep::Which;
use crate::external::{ExternalComposite, may_write};
use crate::internal::InternalComposite;
use crate::spec::NodeSpec;

const DEADLINE: Duration = Duration::from_secs(120);
/// Another process may open a node at the very moment it is fenced; it then finds the promotion and gives it up.
const FENCING_TRIES: usize = 5;
const LOG: &str = <Log as DataSystem>::NAME;

/// What a promotion did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promoted {
    /// The name that what was main has now.
    pub former: String,
    /// Nodes of main that had been written to since the cut that the fork began at, with their positions then and at the end.
    pub moved: BTreeMap<String, (Position, Position)>,
    /// How many records that applications had appended to main's logs since were appended to the fork's logs again.
    pub rebased: u64,
    /// What applications wrote to main since that cut and what main does not hold now.
    pub discarded: Vec<Written>,
}

impl ExternalComposite {
    /// Puts a fork in the place of main. Processes that own nodes of main go on with the fork's slates under the same names; a process
    /// that has the fork open closes it.
    ///
    /// Main has *moved* if an application has written to it since the cut, whether edges write to the same instance or not. Only
    /// records of logs can be rebased; what edges made of them, they make again.
    ///
    /// # Errors
    /// `Conflict` if main has moved and the policy does not say what to do, or if what moved cannot be rebased, or another promotion is
    /// under way: main goes on as before. What the store returned.
    pub async fn promote(&self, fork: &str, policy: PromotePolicy) -> Result<Promoted> {
        self.0.end_overdue().await?;
        let said = Said::PromoteBegin { fork: fork.to_owned(), policy, deadline: self.deadline(DEADLINE) };
        let state = self.0.control.append(said).await?;
        if self.0.branch == MAIN {
            // Main's nodes that are open here are given up like everyone else's.
            self.0.reconcile().await?;
        }
        let mut fenced = BTreeMap::new();
        let outcome = self.promote_fenced(&state, fork, policy, &mut fenced).await;
        let _: Vec<Result<()>> = join_all(fenced.values().map(InternalComposite::close)).await;
        if let Err(error) = &outcome {
            let reason = error.to_string();
            let abort = |state: &State| {
                let ours = state.promotion.as_ref().is_some_and(|promotion| promotion.fork == fork);
                Ok(ours.then(|| Said::PromoteAbort { fork: fork.to_owned(), reason: reason.clone() }))
            };
            self.0.control.append_with(abort).await?;
        }
        self.0.reconcile().await?;
        outcome
    }

    async fn promote_fenced(
        &self,
        state: &State,
        fork: &str,
        policy: PromotePolicy,
        fenced: &mut BTreeMap<String, InternalComposite>,
    ) -> Result<Promoted> {
        let main = state.branch(MAIN)?;
        let branch = state.branch(fork)?;
        let base = branch.base.as_ref();
        let base = base.ok_or_else(|| Error::invalid(format!("the branch did not begin at a cut, branch={fork}")))?;
        if base.branch != MAIN && policy != PromotePolicy::Discard {
            return Err(Error::conflict(format!(
                "the fork did not begin at a cut of what is main now; all that main holds would be discarded, fork={fork}, began_at={}/{}",
                base.branch, base.cut
            )));
        }
        let cut = state.committed_cut(&base.cut)?;
        let why = "another branch is being promoted to main";
        let ends = self.fence_all(main, main.nodes.keys(), why, fenced).await?;
        // Of another line altogether it is all that main holds.
        let since = |node: &str| match base.branch == MAIN {
            true => cut.members.get(node).map_or(Position::ZERO, |member| member.position),
            false => Position::ZERO,
        };
        let written = written_since(main, fenced, &since).await?;
        if !written.is_empty() && policy == PromotePolicy::Refuse {
            return Err(refusal(fork, &base.cut, &written));
        }
        let has_moved = |node: &String| base.branch != MAIN || written.iter().any(|written| written.node == *node);
        let moved: BTreeMap<String, (Position, Position)> = ends
            .iter()
            .filter(|(node, _)| has_moved(node))
            .map(|(node, end)| (node.clone(), (since(node), *end)))
            .collect();
        let mut rebased = 0;
        if policy == PromotePolicy::Rebase {
            // All of it before any of it is appended: a promotion that is refused changes nothing in the fork.
            check_rebase(branch, &written)?;
            for (node, (from, _)) in &moved {
                let written: Vec<&Written> = written.iter().filter(|written| written.node == *node).collect();
                rebased += self.rebase(branch, (node, *from), &written, fenced).await?;
            }
        }
        let mut name = String::new();
        let commit = |state: &State| {
            name = state.free_former();
            Ok(Some(Said::PromoteCommit { fork: fork.to_owned(), former: name.clone() }))
        };
        self.0.control.append_with(commit).await?;
        // A rebase has taken all of it along, or was refused.
        let discarded = if policy == PromotePolicy::Discard { written } else { Vec::new() };
        Ok(Promoted { former: name, moved, rebased, discarded })
    }

    /// Takes nodes of a branch away from their writers, side by side. Returns the last positions they have. Those that could be taken are in `fenced` also if
    /// others could not.
    pub(super) async fn fence_all(
        &self,
        branch: &Branch,
        nodes: impl Iterator<Item = &String> + Clone,
        why: &str,
        fenced: &mut BTreeMap<String, InternalComposite>,
    ) -> Result<BTreeMap<String, Position>> {
        let fence = async |node: &String| {
            let path = branch.nodes.get(node).ok_or_else(|| no_node(branch, node))?;
            match self.0.owned_at(node, path).filter(|_| planted!(CopiesUnfenced)) {
                Some(writing) => {
                    let end = writing.view().position();
                    Ok((writing, end))
                }
                None => self.fence(branch, node, path, why).await,
            }
        };
        let (mut ends, mut failed) = (BTreeMap::new(), None);
        for (node, outcome) in nodes.clone().zip(join_all(nodes.map(fence)).await) {
            match outcome {
                Ok((composite, end)) => {
                    fenced.insert(node.clone(), composite);
                    ends.insert(node.clone(), end);
                }
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        failed.map_or(Ok(ends), Err)
    }

    /// Takes a node of a branch away from its writer for good. Returns the last position it has.
    async fn fence(&self, main: &Branch, node: &str, path: &str, why: &str) -> Result<(InternalComposite, Position)> {
        let spec = main.spec.nodes.get(node).cloned().unwrap_or_default();
        let mut tries = 0;
        loop {
            let builder = self.0.writing(path, &spec)?;
            let composite = builder.must_exist().reinstate().briefly().open().await?;
            match composite.slate().retire(why).await {
                Ok(end) => return Ok((composite, end)),
                Err(error) if tries >= FENCING_TRIES => return Err(error.context(format_args!("fence node {node}"))),
                Err(error) => tracing::info!(node, %error, "a node of main could not be fenced; trying again"),
            }
            let _: Result<()> = composite.close().await;
            tries += 1;
            tokio::time::sleep(Duration::from_millis(20 << tries)).await;
        }
    }

    /// Appends what applications wrote to logs of a node since the cut to the fork's logs. It was checked before that nothing else was written.
    async fn rebase(
        &self,
        branch: &Branch,
        (node, from): (&str, Position),
        written: &[&Written],
        fenced: &BTreeMap<String, InternalComposite>,
    ) -> Result<u64> {
        let missing = || Error::not_found(format!("no such node, node={node}"));
        let view = fenced.get(node).ok_or_else(missing)?.view();
        let (path, spec) = branch.nodes.get(node).zip(branch.spec.nodes.get(node)).ok_or_else(missing)?;
        let logs: Vec<String> = written.iter().map(|written| written.instance.clone()).collect();
        let span = Span { after: from, until: Timestamp(i64::MAX), trimmed: Trimmed::Passed };
        let described = self.0.writing(path, spec)?.must_exist().briefly();
        let mut tries = 0;
        loop {
            // The fork's own writer is fenced; before it has read of the promotion it may open the node once more.
            let new = described.clone().open().await?;
            let copied = copy_logs(&view, &new, &logs, span).await;
            let closed = new.close().await;
            match copied.and_then(|copied| closed.map(|()| copied)) {
                // What was appended before is not appended again.
                Err(error) if error.kind() == ErrorKind::Fenced && tries < FENCING_TRIES => tries += 1,
                outcome => return outcome,
            }
            tokio::time::sleep(Duration::from_millis(20 << tries)).await;
        }
    }

    /// Gives up a promotion, a split or a join that is under way, as its deadline would: for when whoever does it is gone. Nodes go on as they were
    /// before; if it is decided in the same moment, the control log says which came first. Records that were taken along into a fork until then stay in
    /// it; promoted with [`PromotePolicy::Rebase`] again, it goes on behind them. Returns what was given up, in words; none if nothing is under way.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn cancel_under_way(&self) -> Result<Option<String>> {
        let given_up = self.0.break_off(Which::Any).await?;
        if given_up.is_some() {
            self.0.reconcile().await?;
            self.0.sweep().await?;
        }
        Ok(given_up)
    }

    /// Whether nodes of the branch can be written now, as far as the control log is known here.
    ///
    /// # Errors
    /// `Conflict` if a promotion is under way or the branch is no longer written; `NotFound` if it is gone.
    pub fn check_writable(&self) -> Result<()> {
        may_write(&self.0.control.state(), &self.0.branch)
    }
}

/// Whether all that applications wrote to main can be taken along.
fn check_rebase(branch: &Branch, written: &[Written]) -> Result<()> {
    for Written { node, instance, records, .. } in written {
        let known = branch.spec.nodes.get(node).is_some_and(|spec| spec.instances.contains_key(instance));
        let why = match known {
            true if records.is_some() => continue,
            true => "only records of logs can be rebased; another instance was or may have been written to",
            false => "an instance that the fork does not have was written to; it can only be discarded",
        };
        return Err(Error::conflict(format!("{why}, node={node}, instance={instance}")));
    }
    Ok(())
}

/// The logs of a node.
pub(super) fn logs_of(spec: &NodeSpec) -> Vec<String> {
    spec.instances.iter().filter(|(_, spec)| spec.system == LOG).map(|(name, _)| name.clone()).collect()
}
