//! An instant cut over `u -> v` with a coordinator that may die, a sweeper, a writer, an edge, and retention.

use std::collections::BTreeMap;

use opendata_core::{Position, Timestamp};

use super::super::{CutEdge, CutMember, CutMode, CutPhase, MAIN, Said, State};
use super::{Model, explore, say};
use crate::cut::instant_turn;
use crate::edge::EdgeSpec;
use crate::spec::{Composition, InstanceSpec, NodeSpec};

const HEAD: u64 = 2;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bug {
    None,
    /// Checkpoints are made in any order, and nobody verifies.
    SourcesFirst,
    /// The same, but what was cut is verified: no wrong cut is committed.
    SourcesFirstVerified,
    /// Leftovers are swept without a look at the deadline.
    SweepIgnoresDeadline,
    /// The coordinator commits without asking whether it was aborted.
    CommitUnasked,
}

/// How far the coordinator is with a cut: the phases of the protocol.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Coordinator {
    Idle,
    Held,
    Verified,
    Pinned,
    Done,
    Dead,
}

#[derive(Clone, Debug)]
struct World {
    bug: Bug,
    control: State,
    head: u64,
    trim: u64,
    next: u64,
    overdue: bool,
    coordinator: Coordinator,
    /// The checkpoints there are: of `u` its trim and head, of `v` its cursor.
    of_u: Option<(u64, u64)>,
    of_v: Option<u64>,
    /// A commit that the rules did not see.
    forced: bool,
}

impl World {
    fn new(bug: Bug) -> Self {
        let node = || NodeSpec { path: None, instances: BTreeMap::from([("l".into(), InstanceSpec::of("log"))]) };
        let spec = Composition {
            nodes: ["u", "v"].map(|name| (name.to_owned(), node())).into(),
            edges: vec![EdgeSpec::new("e", ("u", "l"), ("v", "l"))],
            cuts: None,
        };
        let nodes = ["u", "v"].map(|name| (name.to_owned(), name.to_owned())).into();
        let control = say(&State::default(), Said::Create).unwrap();
        let said = Said::Apply {
            branch: MAIN.into(),
            spec,
            nodes,
            regenerate: BTreeMap::new(),
            generations: BTreeMap::new(),
            base: control.next,
        };
        let control = say(&control, said).unwrap();
        let coordinator = Coordinator::Idle;
        Self {
            bug,
            control,
            head: 0,
            trim: 0,
            next: 1,
            overdue: false,
            coordinator,
            of_u: None,
            of_v: None,
            forced: false,
        }
    }

    fn phase(&self) -> Option<CutPhase> {
        self.control.cuts.get("c").map(|cut| cut.phase)
    }

    fn edge(&self) -> Option<CutEdge> {
        let ((trim, head), next) = (self.of_u?, self.of_v?);
        let (next, trim, head) = (Some(Position(next)), Position(trim), Position(head));
        Some(CutEdge { generation: Some(0), next, watermark: None, digest: String::new(), trim, head })
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut next = self.clone();
        change(&mut next);
        next
    }

    fn after(&self, said: Said, change: impl FnOnce(&mut Self)) -> Option<Self> {
        let control = say(&self.control, said)?;
        Some(self.with(|next| {
            next.control = control;
            change(next);
        }))
    }

    fn data_steps(&self, steps: &mut Vec<(String, Self)>) {
        if self.head < HEAD {
            steps.push(("u takes a record".into(), self.with(|next| next.head += 1)));
        }
        if self.next <= self.head {
            steps.push(("the edge applies it".into(), self.with(|next| next.next += 1)));
        }
        if self.trim < self.next - 1 {
            steps.push(("u trims what was applied".into(), self.with(|next| next.trim = next.next)));
        }
    }

    fn part_steps(&self, steps: &mut Vec<(String, Self)>) {
        let Some(cut) = self.control.cuts.get("c").filter(|cut| cut.is_open()) else { return };
        let any_order = matches!(self.bug, Bug::SourcesFirst | Bug::SourcesFirstVerified);
        for node in ["u", "v"] {
            if cut.members.contains_key(node) || !(any_order || instant_turn(cut, node)) {
                continue;
            }
            let member = CutMember {
                path: node.into(),
                slate: String::new(),
                checkpoint: "cut-c".into(),
                position: Position(self.head),
            };
            let said = Said::CutMember { cut: "c".into(), node: node.into(), member };
            let made = self.after(said, |next| match node {
                "u" => next.of_u = Some((next.trim, next.head)),
                _ => next.of_v = Some(next.next),
            });
            steps.extend(made.map(|next| (format!("{node} makes its checkpoint"), next)));
        }
    }

    fn coordinator_steps(&self, steps: &mut Vec<(String, Self)>) {
        let become_ = |coordinator| self.with(|next| next.coordinator = coordinator);
        let abort = || {
            let said = Said::CutAbort { cut: "c".into(), reason: String::new() };
            self.after(said, |next| next.coordinator = Coordinator::Done)
        };
        match self.coordinator {
            Coordinator::Idle => {
                let said = Said::CutBegin {
                    cut: "c".into(),
                    branch: MAIN.into(),
                    mode: CutMode::Instant,
                    deadline: Timestamp(0),
                    expires: None,
                    tags: vec![],
                };
                let begun = self.after(said, |next| next.coordinator = Coordinator::Held);
                steps.extend(begun.map(|next| ("held".into(), next)));
            }
            Coordinator::Held if self.phase() == Some(CutPhase::Cut) => match self.edge() {
                // A checkpoint that cannot be opened, or an edge that does not fit.
                None => steps.extend(abort().map(|next| ("a member is gone: aborted".into(), next))),
                Some(edge) if self.bug != Bug::SourcesFirst && edge.check("e").is_err() => {
                    steps.extend(abort().map(|next| ("does not fit: aborted".into(), next)));
                }
                Some(_) => steps.push(("verified".into(), become_(Coordinator::Verified))),
            },
            Coordinator::Verified if self.of_u.is_some() && self.of_v.is_some() => {
                steps.push(("pinned".into(), become_(Coordinator::Pinned)));
            }
            Coordinator::Verified => steps.extend(abort().map(|next| ("cannot be pinned: aborted".into(), next))),
            Coordinator::Pinned if self.bug == Bug::CommitUnasked => {
                steps.push((
                    "committed unasked".into(),
                    self.with(|next| {
                        (next.forced, next.coordinator) = (true, Coordinator::Done);
                    }),
                ));
            }
            Coordinator::Pinned => {
                let edge = self.edge().map(|edge| match self.bug {
                    // Who does not verify does not look at what the rules would look at either.
                    Bug::SourcesFirst => CutEdge { next: None, ..edge },
                    _ => edge,
                });
                // If its members are gone the coordinator does not know: it says what it saw.
                let edge = edge.unwrap_or(CutEdge {
                    generation: None,
                    next: None,
                    watermark: None,
                    digest: String::new(),
                    trim: Position(0),
                    head: Position(0),
                });
                let said = Said::CutCommit { cut: "c".into(), edges: [("e".to_owned(), edge)].into() };
                match self.after(said, |next| next.coordinator = Coordinator::Done) {
                    Some(next) => steps.push(("committed".into(), next)),
                    None => steps.push(("told that it was aborted".into(), become_(Coordinator::Done))),
                }
            }
            _ => {}
        }
        if !matches!(self.coordinator, Coordinator::Done | Coordinator::Dead | Coordinator::Idle) {
            steps.push(("the coordinator dies".into(), become_(Coordinator::Dead)));
        }
    }
}

impl Model for World {
    fn steps(&self) -> Vec<(String, Self)> {
        let mut steps = Vec::new();
        self.data_steps(&mut steps);
        self.part_steps(&mut steps);
        self.coordinator_steps(&mut steps);
        if !self.overdue && self.phase().is_some() {
            steps.push(("the deadline passes".into(), self.with(|next| next.overdue = true)));
        }
        if self.overdue {
            let said = Said::CutAbort { cut: "c".into(), reason: String::new() };
            steps.extend(self.after(said, |_| {}).map(|next| ("someone aborts it".into(), next)));
        }
        let over = matches!(self.phase(), Some(CutPhase::Aborted));
        let leftover = self.of_u.is_some() || self.of_v.is_some();
        let ignores = self.bug == Bug::SweepIgnoresDeadline && self.phase() != Some(CutPhase::Committed);
        if leftover && (over || ignores) {
            steps.push(("leftovers are swept".into(), self.with(|next| (next.of_u, next.of_v) = (None, None))));
        }
        steps
    }

    fn check(&self) -> Result<(), String> {
        if self.forced && self.phase() == Some(CutPhase::Aborted) {
            return Err("a cut was both committed and aborted".into());
        }
        if self.phase() == Some(CutPhase::Committed) {
            let edge = self.edge().ok_or("a committed cut cannot be opened")?;
            edge.check("e").map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn is_settled(&self) -> bool {
        match self.phase() {
            Some(CutPhase::Committed) => true,
            Some(CutPhase::Aborted) => self.of_u.is_none() && self.of_v.is_none(),
            _ => self.forced,
        }
    }
}

#[test]
fn every_committed_cut_is_consistent_and_every_other_one_is_swept() {
    let explored = explore(World::new(Bug::None)).unwrap();
    assert!(explored.states > 500, "{explored:?}");
    explore(World::new(Bug::SourcesFirstVerified)).unwrap();
}

#[test]
fn planted_bugs_of_the_cut_are_found() {
    for (bug, expected) in [
        (Bug::SourcesFirst, "does not fit its source"),
        (Bug::SweepIgnoresDeadline, "cannot be opened"),
        (Bug::CommitUnasked, "both committed and aborted"),
    ] {
        let found = explore(World::new(bug)).unwrap_err();
        assert!(found.contains(expected), "{bug:?}: {found}");
    }
}
