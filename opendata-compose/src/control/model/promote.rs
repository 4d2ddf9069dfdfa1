//! A promotion of `f` over main, with an owner of main that may be slow, be fenced and come back at any moment, a promoter that may
//! die, and a clock that may pass the deadline. An application and an edge both write to main's one instance.

use std::collections::BTreeMap;

use opendata_core::{Position, Timestamp};

use super::super::{CutMember, CutMode, MAIN, PromotePolicy, Said, State};
use super::{Model, explore, say};
use crate::external::may_write;
use crate::spec::{Composition, InstanceSpec, NodeSpec};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bug {
    None,
    /// The owner opens main without looking at the control log again afterwards.
    NoSecondLook,
    /// The promoter opens main's slate before it says that it promotes.
    FenceBeforeSaying,
    /// The promoter fences nobody.
    NoFence,
    /// The promoter takes all that an instance took for the work of the edge that writes to it.
    DirectUnseen,
    /// The promoter counts what the edge wrote as written by an application.
    DerivedCounted,
}

/// Who holds main's slate: the newest opener.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Holder {
    Nobody,
    Owner,
    Promoter,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Owner {
    /// Knows nothing.
    Idle,
    /// Read in the control log that the old slate is main's and may be written.
    Looked,
    /// Opened it.
    Opened,
    /// Looked again: goes on writing until it is fenced.
    Writing,
    /// Found that the old slate is no longer its own.
    Left,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Promoter {
    Idle,
    Fenced,
    Begun,
    Retired,
    Done,
    Dead,
}

#[derive(Clone, Debug)]
struct World {
    bug: Bug,
    policy: PromotePolicy,
    control: State,
    holder: Holder,
    retired: bool,
    owner: Owner,
    promoter: Promoter,
    overdue: bool,
    /// Records of the application in the old slate, and how many of them the promoter saw when it looked.
    written: u8,
    seen: Option<u8>,
    /// Whether the edge wrote as well.
    derived: bool,
    /// Records of the application that were taken along.
    rebased: u8,
    /// It was refused although nothing would have been lost.
    refused_for_nothing: bool,
}

const RECORDS: u8 = 2;

impl World {
    fn new(bug: Bug, policy: PromotePolicy) -> Self {
        let node = || NodeSpec { path: None, instances: BTreeMap::from([("l".into(), InstanceSpec::of("log"))]) };
        let spec = Composition { nodes: [("u".to_owned(), node())].into(), ..Composition::default() };
        let place = |path: &str| BTreeMap::from([("u".to_owned(), path.to_owned())]);
        let mut control = say(&State::default(), Said::Create).unwrap();
        let member =
            CutMember { path: "old".into(), slate: String::new(), checkpoint: "cut-c".into(), position: Position(0) };
        for said in [
            Said::Apply {
                branch: MAIN.into(),
                spec,
                nodes: place("old"),
                regenerate: BTreeMap::new(),
                generations: BTreeMap::new(),
                base: 1,
            },
            Said::CutBegin {
                cut: "c".into(),
                branch: MAIN.into(),
                mode: CutMode::Instant,
                deadline: Timestamp(0),
                expires: None,
                tags: vec![],
            },
            Said::CutMember { cut: "c".into(), node: "u".into(), member },
            Said::CutCommit { cut: "c".into(), edges: BTreeMap::new() },
            Said::ForkBegin { fork: "f".into(), cut: "c".into(), nodes: place("new"), deadline: Timestamp(0) },
            Said::ForkReady { fork: "f".into() },
        ] {
            control = say(&control, said).unwrap();
        }
        Self {
            bug,
            policy,
            control,
            holder: Holder::Nobody,
            retired: false,
            owner: Owner::Idle,
            promoter: Promoter::Idle,
            overdue: false,
            written: 0,
            seen: None,
            derived: false,
            rebased: 0,
            refused_for_nothing: false,
        }
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut next = self.clone();
        change(&mut next);
        next
    }

    fn said(&self, said: Said, change: impl FnOnce(&mut Self)) -> Option<Self> {
        let control = say(&self.control, said)?;
        Some(self.with(|next| {
            next.control = control;
            change(next);
        }))
    }

    fn old_is_main(&self) -> bool {
        self.control.branches[MAIN].nodes["u"] == "old"
    }

    fn may(&self) -> bool {
        self.old_is_main() && may_write(&self.control, MAIN).is_ok()
    }

    fn owner_steps(&self, steps: &mut Vec<(String, Self)>) {
        match self.owner {
            Owner::Idle if self.may() => {
                steps.push(("the owner looks".into(), self.with(|next| next.owner = Owner::Looked)));
            }
            Owner::Idle if !self.old_is_main() => {
                steps.push(("the owner finds another main".into(), self.with(|next| next.owner = Owner::Left)));
            }
            // A retired slate is reinstated by whoever believes that it is main's.
            Owner::Looked => steps.push((
                "the owner opens the slate".into(),
                self.with(|next| (next.owner, next.holder, next.retired) = (Owner::Opened, Holder::Owner, false)),
            )),
            Owner::Opened => {
                let goes_on = self.may() || self.bug == Bug::NoSecondLook;
                let next = if goes_on { Owner::Writing } else { Owner::Idle };
                steps.push(("the owner looks again".into(), self.with(|world| world.owner = next)));
            }
            Owner::Writing if self.holder == Holder::Owner && !self.retired => {
                if self.written < RECORDS {
                    steps.push(("the application writes".into(), self.with(|next| next.written += 1)));
                }
                if !self.derived {
                    steps.push(("the edge writes".into(), self.with(|next| next.derived = true)));
                }
            }
            Owner::Writing => {
                steps.push(("the owner is fenced".into(), self.with(|next| next.owner = Owner::Idle)));
            }
            Owner::Idle | Owner::Left => {}
        }
    }

    /// Whether main has moved, as the promoter sees it, and that is not to be.
    fn must_refuse(&self) -> bool {
        let moved = match self.bug {
            Bug::DirectUnseen => false,
            Bug::DerivedCounted => self.derived || self.seen > Some(0),
            _ => self.seen > Some(0),
        };
        self.policy == PromotePolicy::Refuse && moved
    }

    fn promoter_steps(&self, steps: &mut Vec<(String, Self)>) {
        let begin = Said::PromoteBegin { fork: "f".into(), policy: self.policy, deadline: Timestamp(0) };
        let fence = |next: &mut Self| {
            if next.bug != Bug::NoFence {
                next.holder = Holder::Promoter;
            }
        };
        match (self.promoter, self.bug) {
            (Promoter::Idle, Bug::FenceBeforeSaying) => steps.push((
                "the promoter fences".into(),
                self.with(|next| {
                    fence(next);
                    next.promoter = Promoter::Fenced;
                }),
            )),
            (Promoter::Fenced, _) => {
                let begun = self.said(begin, |next| {
                    (next.promoter, next.seen) = (Promoter::Retired, Some(next.written));
                });
                steps.extend(begun.map(|next| ("promotion begun".into(), next)));
            }
            (Promoter::Idle, _) => {
                let begun = self.said(begin, |next| next.promoter = Promoter::Begun);
                steps.extend(begun.map(|next| ("promotion begun".into(), next)));
            }
            // Opening and retiring; fenced in between it tries again, which is this step once more.
            (Promoter::Begun, _) => steps.push((
                "the promoter fences and retires".into(),
                self.with(|next| {
                    fence(next);
                    next.retired = next.bug != Bug::NoFence;
                    (next.promoter, next.seen) = (Promoter::Retired, Some(next.written));
                }),
            )),
            (Promoter::Retired, _) if self.must_refuse() => {
                let said = Said::PromoteAbort { fork: "f".into(), reason: String::new() };
                let dead = |next: &mut Self| next.promoter = Promoter::Dead;
                let refused = self.said(said, |next| {
                    dead(next);
                    next.refused_for_nothing = next.seen == Some(0);
                });
                steps.push(("refused".into(), refused.unwrap_or_else(|| self.with(dead))));
            }
            (Promoter::Retired, _) => {
                let commit = Said::PromoteCommit { fork: "f".into(), former: "old".into() };
                let done = |next: &mut Self| {
                    next.promoter = Promoter::Done;
                    if next.policy == PromotePolicy::Rebase && next.bug != Bug::DirectUnseen {
                        next.rebased = next.seen.unwrap_or_default();
                    }
                };
                match self.said(commit, done) {
                    Some(next) => steps.push(("promoted".into(), next)),
                    None => steps
                        .push(("told that it was given up".into(), self.with(|next| next.promoter = Promoter::Dead))),
                }
            }
            _ => {}
        }
        if matches!(self.promoter, Promoter::Fenced | Promoter::Begun | Promoter::Retired) {
            steps.push(("the promoter dies".into(), self.with(|next| next.promoter = Promoter::Dead)));
        }
    }
}

impl Model for World {
    fn steps(&self) -> Vec<(String, Self)> {
        let mut steps = Vec::new();
        self.owner_steps(&mut steps);
        self.promoter_steps(&mut steps);
        if !self.overdue && self.control.promotion.is_some() {
            steps.push(("the deadline passes".into(), self.with(|next| next.overdue = true)));
        }
        if self.overdue {
            let said = Said::PromoteAbort { fork: "f".into(), reason: String::new() };
            steps.extend(self.said(said, |_| {}).map(|next| ("someone gives it up".into(), next)));
        }
        steps
    }

    /// No two mains: once the fork is main, the old slate holds exactly what the promoter saw. And nothing of an application's is lost that was not
    /// to be discarded.
    fn check(&self) -> Result<(), String> {
        if !self.old_is_main() && self.seen != Some(self.written) {
            return Err(format!(
                "two mains: the old one was written after it was looked at, {} of {:?}",
                self.written, self.seen
            ));
        }
        if !self.old_is_main() && self.policy != PromotePolicy::Discard && self.rebased != self.written {
            return Err(format!("lost without a word: {} of {}", self.written - self.rebased, self.written));
        }
        match self.refused_for_nothing {
            true => Err("refused for what the edge makes again".to_owned()),
            false => Ok(()),
        }
    }

    /// It comes to rest where main is written: by the owner, or as the fork.
    fn is_settled(&self) -> bool {
        match self.old_is_main() {
            true => self.owner == Owner::Writing && self.holder == Holder::Owner && !self.retired,
            false => self.owner == Owner::Left || self.owner == Owner::Idle,
        }
    }
}

const POLICIES: [PromotePolicy; 3] = [PromotePolicy::Refuse, PromotePolicy::Rebase, PromotePolicy::Discard];

#[test]
fn there_are_never_two_mains_nothing_is_lost_unsaid_and_main_is_always_written_again() {
    for policy in POLICIES {
        let explored = explore(World::new(Bug::None, policy)).unwrap();
        assert!(explored.states > 100, "{policy:?}: {explored:?}");
    }
}

#[test]
fn planted_bugs_of_the_promotion_are_found() {
    for bug in [Bug::NoSecondLook, Bug::FenceBeforeSaying, Bug::NoFence] {
        let found = explore(World::new(bug, PromotePolicy::Discard)).unwrap_err();
        assert!(found.contains("two mains"), "{bug:?}: {found}");
    }
    for policy in [PromotePolicy::Refuse, PromotePolicy::Rebase] {
        let found = explore(World::new(Bug::DirectUnseen, policy)).unwrap_err();
        assert!(found.contains("lost without a word"), "{policy:?}: {found}");
    }
    let found = explore(World::new(Bug::DerivedCounted, PromotePolicy::Refuse)).unwrap_err();
    assert!(found.contains("refused for what the edge makes again"), "{found}");
}
