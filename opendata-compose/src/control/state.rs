//! What the entries of a control log add up to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use opendata_core::{Error, Result, Timestamp};

use super::entry::{CutEdge, CutMember, CutMode, PromotePolicy, ResetTo};
use crate::spec::Composition;

/// The branch that applications write to.
pub const MAIN: &str = "main";

/// The state of a composition, as its control log says it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The number of the next entry.
    pub next: u64,
    /// When the last entry was said; grows.
    pub at: Timestamp,
    /// Whether it was created.
    pub created: bool,
    /// Main, forks, and what was main before a promotion.
    pub branches: BTreeMap<String, Branch>,
    /// Cuts, those that were aborted or released among them: a name is never used twice.
    pub cuts: BTreeMap<String, Cut>,
    /// The promotion that is under way.
    pub promotion: Option<Promotion>,
    /// Forks that became main.
    pub promoted: BTreeSet<String>,
    /// The split or join of nodes that is under way.
    pub reshaping: Option<Reshaping>,
    /// All splits and joins, by name.
    pub shapes: BTreeMap<String, Shape>,
}

/// A line of development of a composition: its own slates under the same names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Branch {
    /// How it shall be made.
    pub spec: Composition,
    /// Where the slates of its nodes lie.
    pub nodes: BTreeMap<String, String>,
    /// Its edges.
    pub edges: BTreeMap<String, EdgeState>,
    /// The cut it began at.
    pub base: Option<Base>,
    /// Whether it can be used.
    pub phase: BranchPhase,
    /// The ids of the slates that were made, by node.
    pub slates: BTreeMap<String, String>,
    /// Which process took which node over last.
    pub owners: BTreeMap<String, String>,
    /// When another took its place as main, and with which entry.
    pub ceased: Option<(Timestamp, u64)>,
}

/// Where a fork began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The branch.
    pub branch: String,
    /// The cut of it.
    pub cut: String,
}

/// Whether a branch can be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BranchPhase {
    /// Its slates are being made; after the deadline it may be discarded.
    Making(Timestamp),
    /// It can be opened.
    #[default]
    Live,
    /// It was main; its slates are retired. It can be read, forked and discarded.
    Former,
    /// It is being deleted.
    Discarding,
    /// It is gone. Its name stays taken.
    Discarded,
}

/// What was said about an edge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EdgeState {
    /// Grows with each reset; a runner of an older one has to end.
    pub generation: u64,
    /// Where this generation begins; none goes on from the cursor there is.
    pub start: Option<ResetTo>,
    /// Whether it stands still because someone said so.
    pub paused: bool,
    /// Whether it stands still because it would leave a fork.
    pub suspended: bool,
    /// The generation in which a backfill takes the place of what was there.
    pub takes_over: Option<u64>,
}

/// A cut. Its phases are those of the protocol: held, cut, then verified and pinned by whoever takes it, committed or aborted.
#[derive(Clone, Debug, PartialEq)]
pub struct Cut {
    /// The branch.
    pub branch: String,
    /// How it was taken.
    pub mode: CutMode,
    /// How far it is.
    pub phase: CutPhase,
    /// When it was asked for.
    pub begun: Timestamp,
    /// When it was committed or given up.
    pub ended: Option<Timestamp>,
    /// After this anyone may abort it if it is not committed.
    pub deadline: Timestamp,
    /// When it expires.
    pub expires: Option<Timestamp>,
    /// Free words.
    pub tags: Vec<String>,
    /// The specification of the branch when it was asked for.
    pub spec: Composition,
    /// Where the nodes of the branch lay.
    pub nodes: BTreeMap<String, String>,
    /// The generations of its edges.
    pub generations: BTreeMap<String, u64>,
    /// The edges that close cycles and stand still meanwhile.
    pub held: BTreeSet<String>,
    /// The checkpoints, by node.
    pub members: BTreeMap<String, CutMember>,
    /// What the edges stood at, once committed.
    pub edges: BTreeMap<String, CutEdge>,
}

/// How far a cut is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutPhase {
    /// It was asked for; checkpoints are being made.
    Held,
    /// Every node has made its checkpoint.
    Cut,
    /// It can be read, restored, forked.
    Committed,
    /// It was given up.
    Aborted,
    /// It was let go.
    Released,
}

/// A promotion under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promotion {
    /// The fork.
    pub fork: String,
    /// What to do if main has moved.
    pub policy: PromotePolicy,
    /// After this anyone may abort it.
    pub deadline: Timestamp,
}

/// Nodes that are being split or joined.
#[derive(Clone, Debug, PartialEq)]
pub struct Reshaping {
    /// Its name.
    pub shape: String,
    /// The branch.
    pub branch: String,
    /// The old nodes. Nobody opens them for writing.
    pub from: BTreeSet<String>,
    /// How the branch shall be made.
    pub spec: Composition,
    /// Where the slates of the new nodes will lie.
    pub nodes: BTreeMap<String, String>,
    /// After this anyone may abort it.
    pub deadline: Timestamp,
}

impl fmt::Display for Promotion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "promotion of {}", self.fork)
    }
}

impl fmt::Display for Reshaping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "split or join of {}", self.old_nodes())
    }
}

impl Promotion {
    /// What refuses others meanwhile.
    pub(crate) fn conflict(&self) -> Error {
        let Self { fork, deadline, .. } = self;
        Error::conflict(format!(
            "a promotion is under way, fork={fork}, until={deadline}; if whoever does it is gone, it is given up then, or at once by cancelling it"
        ))
    }
}

impl Reshaping {
    fn old_nodes(&self) -> String {
        let nodes: Vec<&str> = self.from.iter().map(String::as_str).collect();
        nodes.join(", ")
    }

    /// What refuses others meanwhile.
    pub(crate) fn conflict(&self) -> Error {
        let Self { shape, deadline, .. } = self;
        let nodes = self.old_nodes();
        Error::conflict(format!(
            "nodes are being split or joined, name={shape}, nodes=[{nodes}], until={deadline}; if whoever does it is gone, it is given up then, or at once by cancelling it"
        ))
    }
}

/// A split or a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Where the slates of its new nodes lie.
    pub nodes: BTreeMap<String, String>,
    /// How far it is.
    pub phase: ShapePhase,
}

/// How far a split or a join is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShapePhase {
    /// Slates are being made.
    Making,
    /// The new nodes are there.
    Done,
    /// It was given up; what was made is to be swept away.
    Aborted,
    /// It was given up, and nothing is left of it.
    Swept,
}

impl State {
    /// A name for a branch that is no longer written.
    #[must_use]
    pub fn free_former(&self) -> String {
        let mut number = self.promoted.len() + 1;
        while self.branches.contains_key(&format!("former-{number}")) {
            number += 1;
        }
        format!("former-{number}")
    }

    /// Whether a node of a branch is being split or joined.
    #[must_use]
    pub fn is_reshaped(&self, branch: &str, node: &str) -> bool {
        let reshaping = self.reshaping.as_ref().filter(|reshaping| reshaping.branch == branch);
        reshaping.is_some_and(|reshaping| reshaping.from.contains(node)) && !planted!(CopiesUnfenced)
    }

    /// A branch.
    ///
    /// # Errors
    /// `NotFound` if there is none of this name.
    pub fn branch(&self, name: &str) -> Result<&Branch> {
        let found = self.branches.get(name).filter(|branch| branch.phase != BranchPhase::Discarded);
        found.ok_or_else(|| {
            let alive = self.branches.iter().filter(|(_, branch)| branch.phase != BranchPhase::Discarded);
            let known: Vec<_> = alive.map(|(name, _)| name.as_str()).collect();
            Error::not_found(format!("no such branch, name={name}, branches=[{}]", known.join(", ")))
        })
    }

    /// A cut that can be read.
    ///
    /// # Errors
    /// `NotFound` if there is none of this name, or it was never committed, or has been let go.
    pub fn committed_cut(&self, name: &str) -> Result<&Cut> {
        let cut = self.cuts.get(name).ok_or_else(|| {
            let usable = self.cuts.iter().filter(|(_, cut)| cut.phase == CutPhase::Committed);
            let known: Vec<&str> = usable.map(|(name, _)| name.as_str()).collect();
            Error::not_found(format!("no such cut, name={name}, cuts=[{}]", known.join(", ")))
        })?;
        match cut.phase {
            CutPhase::Committed => Ok(cut),
            phase => Err(Error::not_found(format!("the cut cannot be used, name={name}, phase={phase:?}"))),
        }
    }

    /// The branch that a name meant at a time: what was main then has another name since a promotion or a restore took its place.
    #[must_use]
    pub fn branch_at<'a>(&'a self, name: &'a str, at: Timestamp) -> &'a str {
        if name != MAIN {
            return name;
        }
        let formers = self.branches.iter().filter_map(|(former, branch)| Some((branch.ceased?, former.as_str())));
        formers.filter(|((ceased, _), _)| *ceased > at).min().map_or(MAIN, |(_, former)| former)
    }

    /// The newest cut of a branch that was committed at this time or earlier: for main one of whatever was main then. Of a branch without
    /// one it is the cut that it began at.
    #[must_use]
    pub fn newest_cut(&self, branch: &str, at: Timestamp) -> Option<(&str, &Cut)> {
        let line = self.branch_at(branch, at);
        let is_usable = |cut: &Cut| cut.phase == CutPhase::Committed && cut.ended.is_some_and(|ended| ended <= at);
        let own = self.cuts.iter().filter(|(_, cut)| cut.branch == line && is_usable(cut));
        let newest = own.max_by_key(|(_, cut)| (cut.ended, cut.begun));
        let base = || self.cuts.get_key_value(&self.branches.get(line)?.base.as_ref()?.cut);
        newest.or_else(|| base().filter(|(_, cut)| is_usable(cut))).map(|(name, cut)| (name.as_str(), cut))
    }

    /// What became of a fork that is no longer there under its name.
    #[must_use]
    pub fn promoted(&self, fork: &str) -> bool {
        self.promoted.contains(fork)
    }

    /// Forks and former mains that began at a cut and are not gone: they keep it alive.
    pub fn forks_of<'a>(&'a self, cut: &'a str) -> impl Iterator<Item = &'a str> {
        self.branches
            .iter()
            .filter(move |(_, branch)| {
                let live = !matches!(branch.phase, BranchPhase::Discarded | BranchPhase::Discarding);
                live && branch.base.as_ref().is_some_and(|base| base.cut == cut)
            })
            .map(|(name, _)| name.as_str())
    }
}

impl Cut {
    /// The nodes that have not made their checkpoint yet.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().filter(|node| !self.members.contains_key(*node)).map(String::as_str)
    }

    /// Whether it is still being taken.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.phase, CutPhase::Held | CutPhase::Cut)
    }
}
