//! A process's part of a cut: the checkpoints of the nodes it owns, each when it is its turn.

use std::time::Duration;

use opendata_core::slate::{Checkpoint, Slate, Transaction};
use opendata_core::{Error, ErrorKind, Result};
use opendata_log::Log;

use super::checkpoint_name;
use crate::control::{Cut, CutMember, CutMode, Said, State};
use crate::external::Inner;

/// How much longer than the cut's deadline an unfinished checkpoint lives: clocks need not agree.
const SLACK: Duration = Duration::from_secs(300);

/// Who is stood in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    /// Nodes that nobody owns: their owner said that it left.
    Left,
    /// Those, and nodes whose owner did not answer.
    Silent,
}

impl Inner {
    /// Makes the checkpoints that are this process's to make now, and ends cuts whose deadline has passed.
    pub(crate) async fn take_part_in_cuts(&self) -> Result<()> {
        let state = self.control.state();
        for cut in self.alignments().cuts() {
            self.release_barrier(&state, &cut);
        }
        let open = state.cuts.iter().filter(|(_, cut)| cut.branch == self.branch && cut.is_open());
        for (name, cut) in open {
            if self.env.now() > cut.deadline {
                self.abort_overdue(name).await?;
            } else {
                self.take_part(name).await?;
            }
            self.release_barrier(&self.control.state(), name);
        }
        Ok(())
    }

    async fn take_part(&self, name: &str) -> Result<()> {
        self.hold_feedback(name).await?;
        // Each checkpoint may make it another node's turn.
        loop {
            let state = self.control.state();
            let Some(cut) = state.cuts.get(name).filter(|cut| cut.is_open()) else { return Ok(()) };
            let next = cut.missing().find_map(|node| {
                let composite = self.owned_at(node, cut.nodes.get(node)?)?;
                self.is_turn(name, cut, &state, node).then(|| (node.to_owned(), composite))
            });
            let Some((node, composite)) = next else { return Ok(()) };
            self.make_member(name, cut, &node, composite.slate()).await?;
        }
    }

    /// In an instant cut, edges that close a cycle stand still until it is over: no order of the nodes would do for them.
    async fn hold_feedback(&self, name: &str) -> Result<()> {
        let state = self.control.state();
        let Some(cut) = state.cuts.get(name).filter(|cut| cut.mode == CutMode::Instant) else { return Ok(()) };
        let (_, feedback) = cut.spec.sinks_first();
        for edge in feedback.iter().filter(|edge| !cut.held.contains(*edge)) {
            let Some(spec) = cut.spec.edge(edge) else { continue };
            if self.owns_now(spec.runs_on()) {
                self.stand_still(edge).await;
                self.control.append(Said::CutHeld { cut: name.to_owned(), edge: edge.clone() }).await?;
            }
        }
        Ok(())
    }

    /// Whether everything that must come before a node's checkpoint has come.
    fn is_turn(&self, name: &str, cut: &Cut, state: &State, node: &str) -> bool {
        match cut.mode {
            CutMode::Instant => instant_turn(cut, node),
            CutMode::Aligned => {
                let (_, feedback) = cut.spec.sinks_first();
                let joins = |edge: &&crate::edge::EdgeSpec| !feedback.contains(&edge.id);
                let standing = self.alignments().standing(name);
                let branch = state.branches.get(&cut.branch);
                cut.spec.edges_into(node).filter(joins).filter(|edge| edge.from.node != node).all(|edge| {
                    // An edge that stands still is only an old cursor.
                    let said = branch.and_then(|branch| branch.edges.get(&edge.id));
                    standing.contains(&edge.id) || said.is_some_and(|said| said.paused || said.suspended)
                })
            }
        }
    }

    /// Makes the checkpoint of a node and says so.
    pub(super) async fn make_member(&self, name: &str, cut: &Cut, node: &str, slate: &Slate) -> Result<()> {
        let left = u64::try_from(cut.deadline.0.saturating_sub(self.env.now().0)).unwrap_or(0);
        let lifetime = Some(Duration::from_millis(left) + SLACK);
        let checkpoint = checkpoint_name(name);
        let made = match cut.mode {
            CutMode::Instant => slate.checkpoint(&checkpoint, lifetime).await,
            CutMode::Aligned => {
                let tx = barriers(slate, cut, name, node)?;
                slate.commit_and_checkpoint(tx, &checkpoint, lifetime).await.map(|(_, made)| made)
            }
        };
        let made = match made {
            // It was made before, and whoever made it could not say so.
            Err(error) if error.kind() == ErrorKind::Conflict => find(slate, &checkpoint).await?.ok_or(error)?,
            made => made?,
        };
        let member = CutMember {
            path: slate.path().to_owned(),
            slate: slate.id().to_string(),
            checkpoint,
            position: made.position,
        };
        let decide = |state: &State| {
            let wanted = state.cuts.get(name).is_some_and(|cut| cut.is_open() && !cut.members.contains_key(node));
            Ok(wanted.then(|| Said::CutMember { cut: name.to_owned(), node: node.to_owned(), member: member.clone() }))
        };
        self.control.append_with(decide).await?;
        Ok(())
    }

    /// Whether a node that has no checkpoint yet has no owner who could make it.
    pub(super) fn is_left_by_its_owner(&self, cut: &Cut) -> bool {
        let state = self.control.state();
        cut.missing().any(|node| !self.owns_now(node) && is_left(&state, cut, node))
    }

    /// Makes the checkpoints of nodes whose owner is absent: takes them over for a moment. An owner that is only slow is fenced
    /// and opens the node again.
    pub(super) async fn stand_in(&self, name: &str, whose: Absent) -> Result<()> {
        loop {
            let state = self.control.refresh().await?;
            let Some(cut) = state.cuts.get(name).filter(|cut| cut.is_open()) else { return Ok(()) };
            let (order, feedback) = cut.spec.sinks_first();
            let dead = |node: &&String| {
                let absent = whose == Absent::Silent || is_left(&state, cut, node);
                absent && !cut.members.contains_key(*node) && !self.owns_now(node)
            };
            // An edge of a node that was taken over does not run.
            let still = |edge: &&crate::edge::EdgeSpec| dead(&&edge.runs_on().to_owned());
            for edge in feedback.iter().filter(|edge| !cut.held.contains(*edge)) {
                if cut.spec.edge(edge).as_ref().is_some_and(still) {
                    self.control.append(Said::CutHeld { cut: name.to_owned(), edge: edge.clone() }).await?;
                }
            }
            let Some(node) = (match cut.mode {
                CutMode::Instant => order.iter().filter(dead).find(|node| self.is_turn(name, cut, &state, node)),
                // The one nearest to the sources: those behind it may only be waiting for its barrier.
                CutMode::Aligned => order.iter().rev().find(dead),
            }) else {
                return Ok(());
            };
            let path = cut.nodes.get(node).ok_or_else(|| Error::not_found(format!("no such node, node={node}")))?;
            match whose {
                Absent::Left => tracing::debug!(node, cut = name, "nobody owns a node; opening it for this cut"),
                Absent::Silent => {
                    tracing::warn!(
                        node,
                        cut = name,
                        "the owner of a node does not answer; taking it over for this cut"
                    );
                }
            }
            let spec = cut.spec.nodes.get(node).cloned().unwrap_or_default();
            let composite = self.writing(path, &spec)?.must_exist().briefly().open().await?;
            let made = self.make_member(name, cut, node, composite.slate()).await;
            let closed = composite.close().await;
            made?;
            closed?;
            if cut.mode == CutMode::Aligned {
                return Ok(());
            }
        }
    }

    /// Lets edges go on that have nothing to wait for at a barrier any more.
    fn release_barrier(&self, state: &State, name: &str) {
        let Some(cut) = state.cuts.get(name).filter(|cut| cut.is_open()) else {
            self.alignments().release(name, |_| false);
            return;
        };
        let (_, feedback) = cut.spec.sinks_first();
        self.alignments().release(name, |id| {
            cut.spec.edge(id).is_some_and(|edge| {
                let sink = edge.to.node.as_deref();
                let joins = !feedback.contains(&edge.id) && sink != Some(edge.from.node.as_str());
                joins && sink.is_some_and(|sink| !cut.members.contains_key(sink))
            })
        });
    }
}

/// Whether a node was opened once and nobody owns it now.
fn is_left(state: &State, cut: &Cut, node: &str) -> bool {
    let branch = state.branches.get(&cut.branch);
    branch.is_some_and(|branch| branch.slates.contains_key(node) && !branch.owners.contains_key(node))
}

/// Whether it is a node's turn in an instant cut: edges that close cycles stand still, and every sink of the node has made its
/// checkpoint, so that no edge in the cut has read more than its source holds there.
pub(crate) fn instant_turn(cut: &Cut, node: &str) -> bool {
    if planted!(SourcesFirst) {
        let mut sources = cut.spec.edges_into(node).map(|edge| edge.from.node.as_str()).filter(|from| *from != node);
        return sources.all(|source| cut.members.contains_key(source));
    }
    let (_, feedback) = cut.spec.sinks_first();
    let outward = cut.spec.edges_out_of(node).filter(|edge| !feedback.contains(&edge.id));
    let mut sinks = outward.filter_map(|edge| edge.to.node.as_deref()).filter(|sink| *sink != node);
    feedback.iter().all(|edge| cut.held.contains(edge)) && sinks.all(|sink| cut.members.contains_key(sink))
}

/// The transaction that puts a cut's barrier into every log of a node that edges read.
fn barriers(slate: &Slate, cut: &Cut, name: &str, node: &str) -> Result<Transaction> {
    let mut tx = slate.begin();
    tx.mark_derived();
    let mut logs: Vec<&str> = cut.spec.edges_out_of(node).map(|edge| edge.from.instance.as_str()).collect();
    logs.sort_unstable();
    logs.dedup();
    for log in logs {
        tx.on(&slate.get::<Log>(log)?).barrier(crate::external::barrier_id(name));
    }
    Ok(tx)
}

async fn find(slate: &Slate, checkpoint: &str) -> Result<Option<Checkpoint>> {
    Ok(slate.checkpoints().await?.into_iter().find(|found| found.name == checkpoint))
}
