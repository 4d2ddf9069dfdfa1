//! Entries of the control log: what can be said, and how it is written down.
//!
//! ```text
//! {"version": 1, "id": "<uuid>", "at": <ms since 1970>, "by": "<who>", "say": "<kind>", ...fields of the kind}
//! ```
//!
//! The id tells a writer that did not learn the outcome of its put whether the entry at that number is its own.

use std::collections::{BTreeMap, BTreeSet};

use opendata_core::{Error, Position, Result, Timestamp};
use serde::{Deserialize, Serialize};

use crate::spec::Composition;

/// The version of the entries' form.
pub(crate) const VERSION: u32 = 1;

/// One entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The version of the form.
    pub version: u32,
    /// Unique.
    pub id: String,
    /// When it was said, by the clock of who said it.
    pub at: Timestamp,
    /// Who said it.
    pub by: String,
    /// What was said.
    #[serde(flatten)]
    pub said: Said,
}

/// How a cut is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutMode {
    /// Sinks before sources, nobody waits.
    #[default]
    Instant,
    /// At barriers that travel through the logs: every node reflects the same prefix of what flows into it.
    Aligned,
}

/// What to do if main was written to after the cut that a fork began at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromotePolicy {
    /// Do not promote.
    #[default]
    Refuse,
    /// Promote; what main wrote since stays readable in the branch it becomes, and nowhere else.
    Discard,
    /// Append what main's logs took since to the fork's logs, then promote.
    Rebase,
}

/// What a fork may do from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForkPolicy {
    /// Edges to the outside stand still until they are resumed or the fork is promoted.
    #[default]
    SuspendOutside,
}

/// Where an edge starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetTo {
    /// At the oldest record that is kept.
    Start,
    /// Behind everything there is.
    Tail,
    /// At a position of the source.
    Position(Position),
    /// At the first record that was taken in at this time or later.
    Time(Timestamp),
}

/// One node's part of a cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutMember {
    /// Where the slate lies.
    pub path: String,
    /// The slate's id.
    pub slate: String,
    /// The checkpoint's name in it.
    pub checkpoint: String,
    /// The last position in it: the head of every log of the node.
    pub position: Position,
}

/// One edge's part of a cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutEdge {
    /// The generation of its cursor; none if it has not begun.
    pub generation: Option<u64>,
    /// The next position it will read of its source; none if it has not begun.
    pub next: Option<Position>,
    /// No event older than this is expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Timestamp>,
    /// What it makes of records, in short.
    pub digest: String,
    /// The oldest position of its source that is kept.
    pub trim: Position,
    /// The last position of its source.
    pub head: Position,
}

/// What can be said about a composition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum Said {
    /// The first entry.
    Create,
    /// A branch shall be made like this from now on. `nodes` says where slates of new nodes lie; `generations` raises those of
    /// edges whose state does not fit any more; `base` is the number of the entry it was planned on.
    Apply {
        /// The branch.
        branch: String,
        /// How it shall be made.
        spec: Composition,
        /// Where the slates of its new nodes lie.
        nodes: BTreeMap<String, String>,
        /// Edges that get a new generation, and where they start then; none goes on from its cursor.
        #[serde(default)]
        regenerate: BTreeMap<String, Option<ResetTo>>,
        /// The least generations of edges, where slates come from elsewhere with cursors in them.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        generations: BTreeMap<String, u64>,
        /// The number of entries the plan was made on.
        base: u64,
    },
    /// A process has taken nodes over as their writer.
    Own {
        /// The branch.
        branch: String,
        /// The process.
        owner: String,
        /// The nodes.
        nodes: Vec<String>,
    },
    /// The slate of a node is there, and who it is. From now on another one in its place is an error.
    Made {
        /// The branch.
        branch: String,
        /// The node.
        node: String,
        /// The slate's id.
        slate: String,
    },
    /// A process has given its nodes up.
    Leave {
        /// The branch.
        branch: String,
        /// The process.
        owner: String,
    },
    /// An edge shall stand still.
    Pause {
        /// The branch.
        branch: String,
        /// The edge.
        edge: String,
    },
    /// An edge shall go on.
    Resume {
        /// The branch.
        branch: String,
        /// The edge.
        edge: String,
    },
    /// An edge shall start anew elsewhere, in a new generation.
    Reset {
        /// The branch.
        branch: String,
        /// The edge.
        edge: String,
        /// Where.
        to: ResetTo,
    },
    /// A cut of a branch is asked for: held.
    CutBegin {
        /// Its name.
        cut: String,
        /// The branch.
        branch: String,
        /// How.
        mode: CutMode,
        /// After this anyone may abort it.
        deadline: Timestamp,
        /// When it expires once committed; never, if none.
        expires: Option<Timestamp>,
        /// Free words. A cut with tags does not expire.
        #[serde(default)]
        tags: Vec<String>,
    },
    /// An edge that closes a cycle stands still for as long as the cut is being taken.
    CutHeld {
        /// The cut.
        cut: String,
        /// The edge.
        edge: String,
    },
    /// A node's checkpoint for a cut is made.
    CutMember {
        /// The cut.
        cut: String,
        /// The node.
        node: String,
        /// The checkpoint.
        member: CutMember,
    },
    /// A cut was verified, its members are pinned: from here on it can be read, restored and forked.
    CutCommit {
        /// The cut.
        cut: String,
        /// What each edge stood at.
        edges: BTreeMap<String, CutEdge>,
    },
    /// A cut is given up.
    CutAbort {
        /// The cut.
        cut: String,
        /// Why.
        reason: String,
    },
    /// A cut has other tags from now on.
    CutTag {
        /// The cut.
        cut: String,
        /// The tags.
        tags: Vec<String>,
    },
    /// A cut is let go: its members may be deleted.
    CutRelease {
        /// The cut.
        cut: String,
    },
    /// A fork of a cut is being made.
    ForkBegin {
        /// Its name.
        fork: String,
        /// The cut.
        cut: String,
        /// Where the slates of its nodes will lie.
        nodes: BTreeMap<String, String>,
        /// After this anyone may discard it if it is not ready.
        deadline: Timestamp,
    },
    /// A fork can be opened.
    ForkReady {
        /// Its name.
        fork: String,
    },
    /// A branch other than main is given up: its slates may be deleted.
    Discard {
        /// Its name.
        fork: String,
    },
    /// The slates of a discarded branch are gone.
    Discarded {
        /// Its name.
        fork: String,
    },
    /// What a backfill of an edge made takes the place of what the edge made before.
    TakeOver {
        /// The branch.
        branch: String,
        /// The edge.
        edge: String,
    },
    /// Nodes shall be split or joined: nobody opens them for writing until this is decided.
    ReshapeBegin {
        /// The branch.
        branch: String,
        /// Its name.
        shape: String,
        /// The old nodes.
        from: BTreeSet<String>,
        /// How the branch shall be made.
        spec: Composition,
        /// Where the slates of the new nodes will lie.
        nodes: BTreeMap<String, String>,
        /// After this anyone may abort it.
        deadline: Timestamp,
    },
    /// The new nodes are there in the place of the old, which are the branch `former`.
    ReshapeCommit {
        /// Its name.
        shape: String,
        /// The branch that the old nodes are from now on.
        former: String,
        /// The ids of the new slates, by node.
        slates: BTreeMap<String, String>,
    },
    /// The old nodes stay as they are.
    ReshapeAbort {
        /// Its name.
        shape: String,
        /// Why.
        reason: String,
    },
    /// Nothing is left of a split or join that was given up.
    ReshapeSwept {
        /// Its name.
        shape: String,
    },
    /// A fork shall take the place of main: nobody opens nodes of main for writing until this is decided.
    PromoteBegin {
        /// The fork.
        fork: String,
        /// What to do if main has moved.
        policy: PromotePolicy,
        /// After this anyone may abort it.
        deadline: Timestamp,
    },
    /// The fork is main now; what was main is the branch `former`.
    PromoteCommit {
        /// The fork.
        fork: String,
        /// The name that what was main has from now on.
        former: String,
    },
    /// The fork stays a fork.
    PromoteAbort {
        /// The fork.
        fork: String,
        /// Why.
        reason: String,
    },
}

impl Entry {
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec_pretty(self)
            .map_err(|error| Error::invalid("an entry of the control log cannot be written").with_source(error))
    }

    pub(crate) fn decode(path: &str, bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let corrupt = |error: serde_json::Error| {
            Error::corrupt(format!("entry of the control log cannot be read, path={path}")).with_source(error)
        };
        let head: Head = serde_json::from_slice(bytes).map_err(corrupt)?;
        if head.version != VERSION {
            return Err(Error::unsupported(format!(
                "the control log was written by a newer version, path={path}, version={}, known={VERSION}",
                head.version
            )));
        }
        serde_json::from_slice(bytes).map_err(corrupt)
    }
}
