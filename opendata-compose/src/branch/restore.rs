//! Going back: to a cut, or to any time.
//!
//! To a time means: the newest cut at or before it, and behind that the records that the logs took until then, appended again. Edges inside
//! the branch make their sinks of them anew. What applications wrote directly into an instance that is no log comes back as it was in the cut,
//! and it is said which.

use std::time::Duration;

use opendata_core::slate::{At, SlateReader};
use opendata_core::{Error, ErrorKind, Position, Result, Timestamp};

use super::promote::{Promoted, logs_of};
use super::replay::{Span, Trimmed, copy_logs};
use crate::control::{Branch, CutMember, PromotePolicy, State};
use crate::external::ExternalComposite;

/// What going back to a time did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The cut it began at.
    pub cut: String,
    /// How many records of logs were appended behind it.
    pub records: u64,
    /// Instances, as `node/instance`, that are no logs and that applications have written to since the cut: they are as they were in it.
    pub as_in_cut: Vec<String>,
}

impl ExternalComposite {
    /// Puts main back to a cut: forks it and promotes the fork. What main was stays as a branch.
    ///
    /// # Errors
    /// Those of [`fork`](Self::fork) and [`promote`](Self::promote).
    pub async fn restore(&self, cut: &str) -> Result<Promoted> {
        let fork = free_name(&*self.0.control.refresh().await?, &format!("restore-{cut}"));
        self.fork(&fork, cut).await?;
        let promoted = self.promote(&fork, PromotePolicy::Discard).await;
        self.or_discard(&fork, promoted).await
    }

    /// Discards the fork of an attempt that came to nothing: it was made for nothing else.
    async fn or_discard<T>(&self, fork: &str, attempt: Result<T>) -> Result<T> {
        // If it is main by now, it is no fork any more, and stays.
        if attempt.is_err()
            && self.0.control.state().branches.contains_key(fork)
            && let Err(error) = self.discard(fork).await
        {
            tracing::info!(fork, %error, "the fork of a restore that came to nothing was not discarded");
        }
        attempt
    }

    /// Forks main as it was at a time: the newest cut at or before it, and behind that what the logs took until then. Positions of
    /// the records that are appended again are new ones.
    ///
    /// # Errors
    /// `NotFound` if there is no cut from that time or earlier, or the logs no longer hold what came between; those of [`fork`](Self::fork).
    pub async fn fork_at_time(&self, name: &str, time: Timestamp) -> Result<Replayed> {
        let state = self.0.control.refresh().await?;
        let (cut, found) = state
            .newest_cut(&self.0.branch, time)
            .ok_or_else(|| Error::not_found(format!("there is no cut from that time or earlier, time={time}")))?;
        // The slates that were written then, and what they took after the cut.
        let branch = state.branch(state.branch_at(&self.0.branch, time))?.clone();
        let (cut, found) = (cut.to_owned(), found.clone());
        self.fork(name, &cut).await?;
        let paths = self.0.control.state().branch(name)?.nodes.clone();
        let (mut records, mut as_in_cut) = (0, Vec::new());
        for (node, path) in &paths {
            let Some(member) = found.members.get(node) else { continue };
            let spec = found.spec.nodes.get(node).cloned().unwrap_or_default();
            let logs = logs_of(&spec);
            let mut writer = None;
            for instance in spec.instances.keys() {
                let now = self.descendant(&branch, member, (node, instance)).await?;
                if !logs.contains(instance) {
                    // Not known any more is not the same as not written.
                    let written = match &now {
                        Some(now) => now.view().written_directly(instance).await? > member.position,
                        None => true,
                    };
                    if written {
                        as_in_cut.push(format!("{node}/{instance}"));
                    }
                    continue;
                }
                let now = now.ok_or_else(|| {
                    Error::not_found(format!(
                        "what a log took after the cut is not there any more; the cut itself can be restored, cut={cut}, node={node}, instance={instance}"
                    ))
                })?;
                if writer.is_none() {
                    writer = Some(self.0.writing(path, &spec)?.must_exist().briefly().open().await?);
                }
                let Some(fork) = &writer else { continue };
                let span = Span { after: member.position, until: time, trimmed: Trimmed::Refused };
                match copy_logs(&now.view(), fork, std::slice::from_ref(instance), span).await {
                    Ok(copied) => records += copied,
                    Err(error) => {
                        let _: Result<()> = fork.close().await;
                        return Err(error);
                    }
                }
            }
            if let Some(fork) = writer {
                fork.close().await?;
            }
        }
        Ok(Replayed { cut, records, as_in_cut })
    }

    /// An instance of a cut's member as it is now: in the slate itself, or in one that was made of it by a split or a join. Its positions there
    /// are those it had.
    async fn descendant(
        &self,
        branch: &Branch,
        member: &CutMember,
        (node, instance): (&String, &String),
    ) -> Result<Option<SlateReader>> {
        let elsewhere = branch.nodes.keys().filter(|other| *other != node);
        for holder in std::iter::once(node).chain(elsewhere) {
            let has = branch.spec.nodes.get(holder).is_some_and(|spec| spec.instances.contains_key(instance));
            let Some(path) = branch.nodes.get(holder).filter(|_| has) else { continue };
            let reader = match self.0.reading(path).read(At::Latest).await {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened?,
            };
            let ancestors = reader.lineage();
            let mut line = ancestors.iter().map(|ancestor| ancestor.slate_id.to_string());
            if reader.slate_id().to_string() == member.slate || line.any(|slate| slate == member.slate) {
                return Ok(Some(reader));
            }
        }
        Ok(None)
    }

    /// Puts main back to a time; see [`fork_at_time`](Self::fork_at_time). The fork's edges are let run until they have caught up.
    ///
    /// # Errors
    /// Those of [`fork_at_time`](Self::fork_at_time) and [`promote`](Self::promote).
    pub async fn restore_to(&self, time: Timestamp) -> Result<(Replayed, Promoted)> {
        let fork = free_name(&*self.0.control.refresh().await?, &format!("restore-to-{}", time.0));
        let attempt = async {
            let replayed = self.fork_at_time(&fork, time).await?;
            Ok((replayed, self.promote(&fork, PromotePolicy::Discard).await?))
        };
        self.or_discard(&fork, attempt.await).await
    }

    /// Waits until every edge that runs in this process, or can be looked at from here, has applied all that its source held when this
    /// was called.
    ///
    /// # Errors
    /// `Unavailable` if that is not so within `timeout`; what the store returned.
    pub async fn wait_caught_up(&self, timeout: Duration) -> Result<()> {
        let spec = self.spec()?;
        let (order, feedback) = spec.sinks_first();
        for node in order.iter().rev() {
            for edge in spec.edges_out_of(node).filter(|edge| !feedback.contains(&edge.id)) {
                if edge.to.is_external() {
                    continue;
                }
                let position = match self.node_if_owned(node) {
                    Some(composite) => composite.durable_view().position(),
                    None => match self.reader(node).await {
                        Ok(reader) => reader.view().position(),
                        Err(error) if error.kind() == ErrorKind::NotFound => Position::ZERO,
                        Err(error) => return Err(error),
                    },
                };
                let arrived = self.wait_for_edge(edge, position);
                let arrived = tokio::time::timeout(timeout, arrived).await;
                arrived.map_err(|_| {
                    Error::unavailable(format!("an edge has not caught up in time, edge={}", edge.id))
                })??;
            }
        }
        Ok(())
    }
}

fn free_name(state: &State, wanted: &str) -> String {
    let taken = |name: &str| state.branches.contains_key(name) || state.promoted(name);
    if !taken(wanted) {
        return wanted.to_owned();
    }
    let mut number = 2;
    while taken(&format!("{wanted}-{number}")) {
        number += 1;
    }
    format!("{wanted}-{number}")
}
