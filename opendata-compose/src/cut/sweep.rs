//! Sweeping: what aborted and released cuts, discarded forks and broken-off promotions leave behind.

use std::collections::{BTreeMap, BTreeSet};

use opendata_core::slate::{self, checkpoints, release_checkpoint};
use opendata_core::{ErrorKind, Result, Timestamp};

use crate::control::{BranchPhase, Cut, CutPhase, Said, Shape, ShapePhase, State};
use crate::external::Inner;

/// Which promotion, split or join is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Overdue,
    Any,
}

impl Inner {
    /// Ends what is overdue, lets go of what has expired, and deletes what nothing speaks of any more. Any process may do it at any
    /// time; it never touches a cut that is being taken within its deadline.
    pub(crate) async fn sweep(&self) -> Result<()> {
        self.end_overdue().await?;
        let (state, now) = (self.control.state(), self.env.now());
        for (name, cut) in &state.cuts {
            let expired = cut.expires.is_some_and(|expires| expires <= now);
            if cut.phase == CutPhase::Committed
                && expired
                && cut.tags.is_empty()
                && state.forks_of(name).next().is_none()
            {
                self.try_say(|state| {
                    let still = state.cuts.get(name).is_some_and(|cut| cut.phase == CutPhase::Committed);
                    (still && state.forks_of(name).next().is_none()).then(|| Said::CutRelease { cut: name.clone() })
                })
                .await?;
            }
        }
        self.sweep_branches().await?;
        self.sweep_checkpoints().await
    }

    /// Aborts a cut unless it was committed meanwhile: the control log decides which came first.
    pub(super) async fn abort_overdue(&self, name: &str) -> Result<()> {
        self.try_say(|state| {
            let late = |deadline| self.env.now() > deadline || planted!(SweepsEarly);
            let overdue = state.cuts.get(name).is_some_and(|cut| cut.is_open() && late(cut.deadline));
            overdue.then(|| Said::CutAbort { cut: name.to_owned(), reason: "its deadline has passed".to_owned() })
        })
        .await
    }

    async fn try_say(&self, decide: impl Fn(&State) -> Option<Said> + Send + Sync) -> Result<()> {
        self.control.append_with(|state| Ok(decide(state))).await.map(drop)
    }

    /// Deletes the slates of discarded branches as soon as no other slate shares their files, and gives up what was never finished.
    async fn sweep_branches(&self) -> Result<()> {
        let state = self.control.refresh().await?;
        let now = self.env.now();
        for (name, branch) in &state.branches {
            match branch.phase {
                BranchPhase::Making(deadline) if now > deadline => {
                    self.control.append(Said::Discard { fork: name.clone() }).await?;
                }
                BranchPhase::Discarding => self.delete_branch(name, &branch.nodes).await?,
                _ => {}
            }
        }
        self.sweep_shapes().await
    }

    /// Ends cuts, a promotion, a split or a join that are overdue, so that they do not stand in the way of what comes.
    pub(crate) async fn end_overdue(&self) -> Result<()> {
        let state = self.control.refresh().await?;
        let now = self.env.now();
        let late = |deadline| now > deadline || planted!(SweepsEarly);
        for (name, _) in state.cuts.iter().filter(|(_, cut)| cut.is_open() && late(cut.deadline)) {
            self.abort_overdue(name).await?;
        }
        // A promotion and a split of another branch may be under way at once.
        let promotion = state.promotion.as_ref().map(|promotion| promotion.deadline);
        let reshaping = state.reshaping.as_ref().map(|reshaping| reshaping.deadline);
        for _ in promotion.into_iter().chain(reshaping).filter(|deadline| now > *deadline) {
            self.break_off(Which::Overdue).await?;
        }
        Ok(())
    }

    /// Gives up a promotion, or else a split or join, whoever does it. What was given up, if anything.
    pub(crate) async fn break_off(&self, which: Which) -> Result<Option<String>> {
        let (now, reason) = match which {
            Which::Overdue => (self.env.now(), "its deadline has passed"),
            Which::Any => (Timestamp(i64::MAX), "it was cancelled"),
        };
        let mut given_up = None;
        let abort = |state: &State| {
            given_up = None;
            let promotion = state.promotion.as_ref().filter(|promotion| now > promotion.deadline);
            let reshaping = state.reshaping.as_ref().filter(|reshaping| now > reshaping.deadline);
            let (what, said) = match (promotion, reshaping) {
                (Some(promotion), _) => {
                    let fork = promotion.fork.clone();
                    (promotion.to_string(), Said::PromoteAbort { fork, reason: reason.to_owned() })
                }
                (None, Some(reshaping)) => {
                    let shape = reshaping.shape.clone();
                    (reshaping.to_string(), Said::ReshapeAbort { shape, reason: reason.to_owned() })
                }
                (None, None) => return Ok(None),
            };
            given_up = Some(what);
            Ok(Some(said))
        };
        self.control.append_with(abort).await?;
        Ok(given_up)
    }

    /// Deletes what splits and joins made that were given up.
    async fn sweep_shapes(&self) -> Result<()> {
        let state = self.control.state();
        let is_given_up = |shape: &Shape| match shape.phase {
            ShapePhase::Aborted => true,
            ShapePhase::Making => planted!(SweepsUndecided),
            ShapePhase::Done | ShapePhase::Swept => false,
        };
        for (name, shape) in state.shapes.iter().filter(|(_, shape)| is_given_up(shape)) {
            if self.delete_slates(&shape.nodes).await? {
                self.try_say(|state| {
                    let left = state.shapes.get(name).is_some_and(|shape| shape.phase == ShapePhase::Aborted);
                    left.then(|| Said::ReshapeSwept { shape: name.clone() })
                })
                .await?;
            }
        }
        Ok(())
    }

    async fn delete_branch(&self, name: &str, nodes: &BTreeMap<String, String>) -> Result<()> {
        if self.delete_slates(nodes).await? {
            self.try_say(|state| {
                let discarding = state.branches.get(name).is_some_and(|b| b.phase == BranchPhase::Discarding);
                discarding.then(|| Said::Discarded { fork: name.to_owned() })
            })
            .await?;
        }
        Ok(())
    }

    /// Deletes slates as far as nobody shares their files. Whether none is left.
    pub(crate) async fn delete_slates(&self, nodes: &BTreeMap<String, String>) -> Result<bool> {
        let mut left = false;
        for path in nodes.values() {
            match slate::delete(&self.store, path).await {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                // Forks still share its files: it goes when they are gone or have rewritten them.
                Err(error) if error.kind() == ErrorKind::Conflict => left = true,
                Err(error) => return Err(error),
            }
        }
        Ok(!left)
    }

    /// Lets go of the checkpoints of cuts that have ended without being committed, or were let go.
    async fn sweep_checkpoints(&self) -> Result<()> {
        let state = self.control.refresh().await?;
        let paths: BTreeSet<&String> = state
            .branches
            .values()
            .filter(|branch| branch.phase != BranchPhase::Discarded)
            .flat_map(|branch| branch.nodes.values())
            .collect();
        for path in paths {
            let found = match checkpoints(&self.store, path, &self.env).await {
                Ok(found) => found,
                // Not made yet, or deleted.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for checkpoint in found {
                let Some(cut) = checkpoint.name.strip_prefix("cut-") else { continue };
                if state.cuts.get(cut).is_some_and(|cut| !is_over(cut)) || !state.cuts.contains_key(cut) {
                    continue;
                }
                let released = release_checkpoint(&self.store, path, &checkpoint.name, &self.env).await;
                match released {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// Whether nobody needs a cut's checkpoints any more.
fn is_over(cut: &Cut) -> bool {
    matches!(cut.phase, CutPhase::Aborted | CutPhase::Released)
}
