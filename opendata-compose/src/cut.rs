//! Cuts: committed, consistent checkpoints of a whole composition.
//!
//! Consistent means, for every edge from u to v: `trim(u) <= next(v) <= head(u) + 1`, where `next` is what the edge reads next.
//! What is in flight is the log between the two, and lies in u already.
//!
//! | phase | |
//! |---|---|
//! | held | said in the control log; edges that close cycles stand still |
//! | cut | every node has made its checkpoint, which expires by itself |
//! | verified | every checkpoint was opened, and the inequality held |
//! | pinned | the checkpoints live as long as the cut shall |
//! | committed | said in the control log: from now on it can be used |
//! | aborted | said in the control log, by anyone once its deadline has passed |
//!
//! An instant cut makes the checkpoints of sinks before those of their sources. An aligned one sends barriers through the logs: an edge
//! applies up to the barrier, and its sink makes its checkpoint in the commit that passes the barrier on.
//! A crash leaves only named checkpoints that expire or are swept.

mod late;
mod part;
mod retention;
pub(crate) mod sweep;
mod verify;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::try_join_all;
use opendata_core::slate::{At, SlateReader, extend_checkpoint};
use opendata_core::{DataSystem, Error, Result, Timestamp};

use crate::control::{Cut, CutMode, CutPhase, Said, State};
use crate::external::{ExternalComposite, Inner};

use self::part::Absent;
#[cfg(test)]
pub(crate) use self::part::instant_turn;
pub use self::retention::{CutSchedule, Keep};

/// For how long a cut waits for another without a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// How a cut is taken and how long it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutOptions {
    /// Instant or aligned.
    pub mode: CutMode,
    /// After this it is given up. 30 seconds.
    pub timeout: Duration,
    /// How long it is kept; until it is released, if none.
    pub lifetime: Option<Duration>,
    /// Free words. A cut with tags is kept until it is released.
    pub tags: Vec<String>,
}

impl Default for CutOptions {
    fn default() -> Self {
        Self { mode: CutMode::Instant, timeout: Duration::from_secs(30), lifetime: None, tags: Vec::new() }
    }
}

impl CutOptions {
    /// An aligned cut.
    #[must_use]
    pub fn aligned() -> Self {
        Self { mode: CutMode::Aligned, ..Self::default() }
    }
}

/// The checkpoint's name of a cut in each of its slates.
pub(crate) fn checkpoint_name(cut: &str) -> String {
    format!("cut-{cut}")
}

/// While it waits for other processes it looks at the control log this often.
const LOOK: Duration = Duration::from_millis(20);

impl ExternalComposite {
    /// Takes a cut of the branch. Nodes of other processes take part through the control log; a node that nobody owns any more, or whose owner does not
    /// answer in half of the time, is taken over for a moment.
    ///
    /// An instant cut waits for nothing but the nodes. An aligned one waits until every edge that is not paused has applied what its
    /// source held when the barrier was put there: as long as the slowest edge needs for its backlog. A cut that is being taken already, such as
    /// one of the schedule, is waited for first, as long as the timeout says.
    ///
    /// # Errors
    /// `Conflict` if the name was used before, another cut does not end in time, or what was cut does not fit together (take another);
    /// `Unavailable` if it was not done in time, saying which nodes were missing and which edges had how much left: nothing of it is kept; what the
    /// store returned.
    pub async fn cut(&self, name: &str, options: &CutOptions) -> Result<Cut> {
        self.begin(name, options).await?;
        let taken = self.drive(name, options.timeout).await;
        match taken {
            Ok(cut) => Ok(cut),
            Err(error) => {
                let reason = error.to_string();
                let abort = |state: &State| {
                    let open = state.cuts.get(name).is_some_and(Cut::is_open);
                    Ok(open.then(|| Said::CutAbort { cut: name.to_owned(), reason: reason.clone() }))
                };
                self.0.control.append_with(abort).await?;
                // Edges that wait at its barriers go on, and its checkpoints go.
                let _ = self.0.reconcile().await;
                let _: Result<()> = self.0.sweep().await;
                Err(error)
            }
        }
    }

    /// Says that a cut is being taken, as soon as no other is.
    async fn begin(&self, name: &str, options: &CutOptions) -> Result<()> {
        let begun = tokio::time::Instant::now();
        let mut told = false;
        loop {
            let now = self.0.env.now();
            let after = |duration: Duration| now.plus_ms(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX));
            let said = Said::CutBegin {
                cut: name.to_owned(),
                branch: self.0.branch.clone(),
                mode: options.mode,
                deadline: after(options.timeout),
                expires: options.lifetime.map(after),
                tags: options.tags.clone(),
            };
            match self.0.control.append(said).await {
                Err(error) if begun.elapsed() < options.timeout && self.waits_for_another(name) => {
                    if !told && begun.elapsed() > PATIENCE {
                        tracing::warn!(%error, cut = name, "waiting for another cut, until its deadline at the latest");
                        told = true;
                    }
                }
                said => return said.map(drop),
            }
            // This process has a part in the other one, and ends it if its deadline has passed.
            if let Err(error) = self.0.reconcile().await {
                tracing::warn!(%error, cut = name, "this process could not do its part of another cut");
            }
            tokio::time::sleep(LOOK.min(self.0.poll)).await;
        }
    }

    /// Whether nothing but another cut is in the way of a new one.
    fn waits_for_another(&self, name: &str) -> bool {
        let state = self.0.control.state();
        !state.cuts.contains_key(name) && state.cuts.values().any(|cut| cut.branch == self.0.branch && cut.is_open())
    }

    async fn drive(&self, name: &str, timeout: Duration) -> Result<Cut> {
        let begun = tokio::time::Instant::now();
        let mut patience = timeout / 2;
        let cut = loop {
            if let Err(error) = self.0.reconcile().await {
                tracing::warn!(%error, cut = name, "this process could not do its part of a cut; it will be tried again");
            }
            let cut = self.cut_state(name)?;
            match cut.phase {
                CutPhase::Held if begun.elapsed() >= timeout => {
                    return Err(self.late(name, &cut).await);
                }
                CutPhase::Held => {
                    if self.0.is_left_by_its_owner(&cut) {
                        self.0.stand_in(name, Absent::Left).await?;
                    }
                    if begun.elapsed() >= patience {
                        self.0.stand_in(name, Absent::Silent).await?;
                        // Others may have waited for what was just done.
                        patience = begun.elapsed() + timeout / 16;
                    }
                    tokio::time::sleep(LOOK.min(self.0.poll)).await;
                }
                CutPhase::Cut => break cut,
                // Whoever saw first that its deadline has passed, in this process or another, has said so.
                CutPhase::Aborted if cut.ended.is_some_and(|ended| ended > cut.deadline) => {
                    return Err(self.late(name, &cut).await);
                }
                phase => return Err(Error::conflict(format!("the cut was given up, cut={name}, phase={phase:?}"))),
            }
        };
        let edges = self.0.verify_cut(&cut).await?;
        self.0.pin(&cut).await?;
        self.0.control.append(Said::CutCommit { cut: name.to_owned(), edges }).await?;
        self.cut_state(name)
    }

    /// That a cut was not done in time, and what it was waiting for.
    async fn late(&self, name: &str, cut: &Cut) -> Error {
        let missing: Vec<_> = cut.missing().collect();
        let behind = late::told(&self.0.behind(cut).await);
        Error::unavailable(format!(
            "the cut was not done in time, cut={name}, missing nodes=[{}], edges behind=[{behind}]",
            missing.join(", ")
        ))
    }

    fn cut_state(&self, name: &str) -> Result<Cut> {
        let state = self.0.control.state();
        state.cuts.get(name).cloned().ok_or_else(|| Error::not_found(format!("no such cut, name={name}")))
    }

    /// The committed cuts of the branch, oldest first.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn cuts(&self) -> Result<Vec<(String, Cut)>> {
        let state = self.0.control.refresh().await?;
        let mut cuts: Vec<_> = state
            .cuts
            .iter()
            .filter(|(_, cut)| cut.phase == CutPhase::Committed && cut.branch == self.0.branch)
            .map(|(name, cut)| (name.clone(), cut.clone()))
            .collect();
        cuts.sort_by_key(|(_, cut)| (cut.ended, cut.begun));
        Ok(cuts)
    }

    /// Gives a cut other tags. A cut with tags is kept until it is released.
    ///
    /// # Errors
    /// `NotFound` if there is no such cut that can be used.
    pub async fn tag_cut(&self, name: &str, tags: &[String]) -> Result<()> {
        let state = self.0.control.append(Said::CutTag { cut: name.to_owned(), tags: tags.to_vec() }).await?;
        self.0.pin(state.committed_cut(name)?).await
    }

    /// Lets a cut go. Its files are collected when nothing else needs them.
    ///
    /// # Errors
    /// `NotFound` if there is no such cut that can be used; `Conflict` if a fork began at it.
    pub async fn release_cut(&self, name: &str) -> Result<()> {
        self.0.control.append(Said::CutRelease { cut: name.to_owned() }).await?;
        self.0.sweep().await
    }

    /// The past: all nodes as they were in a cut, read-only.
    ///
    /// # Errors
    /// `NotFound` if there is no such cut that can be used; what the store returned.
    pub async fn at(&self, cut: &str) -> Result<PastComposition> {
        let state = self.0.control.refresh().await?;
        self.0.open_cut(cut, state.committed_cut(cut)?).await
    }

    /// The past: the newest cut of the branch that was committed at this time or earlier.
    ///
    /// # Errors
    /// `NotFound` if there is none; what the store returned.
    pub async fn at_time(&self, time: Timestamp) -> Result<PastComposition> {
        let state = self.0.control.refresh().await?;
        let (name, cut) = state
            .newest_cut(&self.0.branch, time)
            .ok_or_else(|| Error::not_found(format!("there is no cut from that time or earlier, time={time}")))?;
        self.0.open_cut(name, cut).await
    }
}

impl Inner {
    async fn open_cut(&self, name: &str, cut: &Cut) -> Result<PastComposition> {
        let opened = cut.members.iter().map(|(node, member)| async move {
            let at = At::Checkpoint(member.checkpoint.clone());
            let reader = self.reading(&member.path).read(at).await?;
            Ok::<_, Error>((node.clone(), reader))
        });
        let nodes = try_join_all(opened).await?.into_iter().collect();
        Ok(PastComposition { name: name.to_owned(), cut: cut.clone(), nodes })
    }

    /// Lets the checkpoints of a cut live as long as the cut.
    async fn pin(&self, cut: &Cut) -> Result<()> {
        let lifetime = match cut.expires {
            Some(expires) if cut.tags.is_empty() => {
                // The sweep lets go of it when the cut says so; the checkpoint's own end only stands behind that.
                let left = u64::try_from(expires.0.saturating_sub(self.env.now().0)).unwrap_or(0);
                Some(Duration::from_millis(left) + Duration::from_secs(600))
            }
            _ => None,
        };
        let pinned = cut
            .members
            .values()
            .map(|member| extend_checkpoint(&self.store, &member.path, &member.checkpoint, lifetime, &self.env));
        try_join_all(pinned).await?;
        Ok(())
    }
}

/// A composition as it was in a cut.
pub struct PastComposition {
    name: String,
    cut: Cut,
    nodes: BTreeMap<String, SlateReader>,
}

impl PastComposition {
    /// The cut's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the control log says about the cut.
    #[must_use]
    pub fn cut(&self) -> &Cut {
        &self.cut
    }

    /// A node as it was.
    ///
    /// # Errors
    /// `NotFound` if the cut has no such node.
    pub fn node(&self, name: &str) -> Result<&SlateReader> {
        let known: Vec<_> = self.nodes.keys().map(String::as_str).collect();
        self.nodes
            .get(name)
            .ok_or_else(|| Error::not_found(format!("no such node, name={name}, nodes=[{}]", known.join(", "))))
    }

    /// A reader of an instance as it was.
    ///
    /// # Errors
    /// `NotFound` if there is no such node or instance, `Invalid` if it is one of another system.
    pub fn on<S: DataSystem>(&self, node: &str, instance: &str) -> Result<S::Reader> {
        let reader = self.node(node)?;
        let handle = reader.get::<S>(instance)?;
        reader.view().on(&handle)
    }
}
