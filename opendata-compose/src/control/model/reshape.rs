//! A split of `u` into `u` and `v`, with an owner of `u` that may be slow, be fenced and come back at any moment, a process that splits and may
//! die or be too late, a clock that may pass the deadline, and a sweeper. A join differs only in the number of old slates.

use std::collections::{BTreeMap, BTreeSet};

use opendata_core::Timestamp;

use super::super::{MAIN, Said, ShapePhase, State};
use super::{Model, explore, say};
use crate::external::may_write;
use crate::spec::{Composition, InstanceSpec, NodeSpec};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bug {
    None,
    /// The owner opens the old slate without looking at the control log again afterwards.
    NoSecondLook,
    /// The new slates are made of the old one before its writer is fenced.
    MadeBeforeFencing,
    /// The sweeper deletes what an undecided split has made.
    SweepsUndecided,
    /// Who finds that it was given up leaves what it made.
    LeavesLeftovers,
}

/// Who holds the old slate: the newest opener.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Holder {
    Nobody,
    Owner,
    Shaper,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Owner {
    Idle,
    /// Read in the control log that the old slate is the node's and may be written.
    Looked,
    Opened,
    Writing,
    /// Found that the old slate is no node's any more.
    Left,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shaper {
    Idle,
    Begun,
    Fenced,
    Made,
    /// Was told that somebody gave it up.
    TooLate,
    Done,
    Dead,
}

#[derive(Clone, Debug)]
struct World {
    bug: Bug,
    control: State,
    holder: Holder,
    retired: bool,
    owner: Owner,
    shaper: Shaper,
    overdue: bool,
    /// Records in the old slate.
    written: u8,
    /// How many of them the new slates hold, while there are any.
    made: Option<u8>,
    /// Whoever made the slates died behind the sweep: nothing speaks of them, and nobody finds them.
    orphaned: bool,
}

const RECORDS: u8 = 2;
const SHAPE: &str = "s";

fn node(instances: &[(&str, &str)]) -> NodeSpec {
    let instances = instances.iter().map(|(name, system)| ((*name).to_owned(), InstanceSpec::of(system)));
    NodeSpec { path: None, instances: instances.collect() }
}

fn places(nodes: &[(&str, &str)]) -> BTreeMap<String, String> {
    nodes.iter().map(|(node, path)| ((*node).to_owned(), (*path).to_owned())).collect()
}

impl World {
    fn new(bug: Bug) -> Self {
        let whole = node(&[("l", "log"), ("t", "tsdb")]);
        let spec = Composition { nodes: [("u".to_owned(), whole)].into(), ..Composition::default() };
        let said = Said::Apply {
            branch: MAIN.into(),
            spec,
            nodes: places(&[("u", "old")]),
            regenerate: BTreeMap::new(),
            generations: BTreeMap::new(),
            base: 1,
        };
        let control = say(&say(&State::default(), Said::Create).unwrap(), said).unwrap();
        Self {
            bug,
            control,
            holder: Holder::Nobody,
            retired: false,
            owner: Owner::Idle,
            shaper: Shaper::Idle,
            overdue: false,
            written: 0,
            made: None,
            orphaned: false,
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

    fn phase(&self) -> Option<ShapePhase> {
        self.control.shapes.get(SHAPE).map(|shape| shape.phase)
    }

    fn is_old(&self) -> bool {
        self.control.branches[MAIN].nodes["u"] == "old"
    }

    /// What an owner asks before it opens a node, and once more afterwards.
    fn may(&self) -> bool {
        self.is_old() && may_write(&self.control, MAIN).is_ok() && !self.control.is_reshaped(MAIN, "u")
    }

    fn owner_steps(&self, steps: &mut Vec<(String, Self)>) {
        let becomes = |owner| self.with(|next| next.owner = owner);
        match self.owner {
            Owner::Idle if self.may() => steps.push(("the owner looks".into(), becomes(Owner::Looked))),
            Owner::Idle if !self.is_old() => steps.push(("the owner finds other nodes".into(), becomes(Owner::Left))),
            // A retired slate is reinstated by whoever believes that it is the node's.
            Owner::Looked => steps.push((
                "the owner opens the slate".into(),
                self.with(|next| (next.owner, next.holder, next.retired) = (Owner::Opened, Holder::Owner, false)),
            )),
            Owner::Opened => {
                let goes_on = self.may() || self.bug == Bug::NoSecondLook;
                let owner = if goes_on { Owner::Writing } else { Owner::Idle };
                steps.push(("the owner looks again".into(), becomes(owner)));
            }
            Owner::Writing if self.holder == Holder::Owner && !self.retired => {
                if self.written < RECORDS {
                    steps.push(("the owner writes".into(), self.with(|next| next.written += 1)));
                }
            }
            Owner::Writing => steps.push(("the owner is fenced".into(), becomes(Owner::Idle))),
            Owner::Idle | Owner::Left => {}
        }
    }

    fn begin(&self) -> Said {
        let nodes = [("u", node(&[("l", "log")])), ("v", node(&[("t", "tsdb")]))];
        let nodes = nodes.map(|(name, node)| (name.to_owned(), node)).into();
        Said::ReshapeBegin {
            branch: MAIN.into(),
            shape: SHAPE.into(),
            from: BTreeSet::from(["u".to_owned()]),
            spec: Composition { nodes, ..Composition::default() },
            nodes: places(&[("u", "new/u"), ("v", "new/v")]),
            deadline: Timestamp(0),
        }
    }

    fn shaper_steps(&self, steps: &mut Vec<(String, Self)>) {
        let fence = |next: &mut Self| (next.holder, next.retired) = (Holder::Shaper, true);
        let make = |next: &mut Self| next.made = Some(next.written);
        match self.shaper {
            Shaper::Idle => {
                let begun = self.said(self.begin(), |next| next.shaper = Shaper::Begun);
                steps.extend(begun.map(|next| ("a split is begun".into(), next)));
            }
            Shaper::Begun | Shaper::Fenced => {
                let fences = (self.shaper == Shaper::Begun) != (self.bug == Bug::MadeBeforeFencing);
                let (name, shaper) = match self.shaper {
                    Shaper::Begun => ("it does the first of fencing and making", Shaper::Fenced),
                    _ => ("it does the second of fencing and making", Shaper::Made),
                };
                let next = self.with(|next| {
                    if fences {
                        fence(next)
                    } else {
                        make(next)
                    }
                    next.shaper = shaper;
                });
                steps.push((name.into(), next));
            }
            Shaper::Made => {
                let slates = places(&[("u", "id-u"), ("v", "id-v")]);
                let commit = Said::ReshapeCommit { shape: SHAPE.into(), former: "former".into(), slates };
                let too_late = if self.bug == Bug::LeavesLeftovers { Shaper::Done } else { Shaper::TooLate };
                let next = self.said(commit, |next| next.shaper = Shaper::Done);
                let told = || self.with(|next| next.shaper = too_late);
                steps.push(("it is committed, or given up already".into(), next.unwrap_or_else(told)));
            }
            Shaper::TooLate => steps.push((
                "it deletes what it made".into(),
                self.with(|next| (next.made, next.shaper) = (None, Shaper::Done)),
            )),
            Shaper::Done | Shaper::Dead => {}
        }
        if matches!(self.shaper, Shaper::Begun | Shaper::Fenced | Shaper::Made | Shaper::TooLate) {
            steps.push((
                "who splits dies".into(),
                self.with(|next| {
                    next.shaper = Shaper::Dead;
                    next.orphaned = next.made.is_some() && next.phase() == Some(ShapePhase::Swept);
                }),
            ));
        }
    }

    fn sweeper_steps(&self, steps: &mut Vec<(String, Self)>) {
        if !self.overdue && self.control.reshaping.is_some() {
            steps.push(("the deadline passes".into(), self.with(|next| next.overdue = true)));
        }
        if self.overdue {
            let said = Said::ReshapeAbort { shape: SHAPE.into(), reason: String::new() };
            steps.extend(self.said(said, |_| {}).map(|next| ("someone gives it up".into(), next)));
        }
        let undecided = self.bug == Bug::SweepsUndecided && self.phase() == Some(ShapePhase::Making);
        if (self.phase() == Some(ShapePhase::Aborted) || undecided) && self.made.is_some() {
            steps.push(("its slates are swept".into(), self.with(|next| next.made = None)));
        } else {
            let said = Said::ReshapeSwept { shape: SHAPE.into() };
            steps.extend(self.said(said, |_| {}).map(|next| ("nothing is left to sweep".into(), next)));
        }
    }
}

impl Model for World {
    fn steps(&self) -> Vec<(String, Self)> {
        let mut steps = Vec::new();
        self.owner_steps(&mut steps);
        self.shaper_steps(&mut steps);
        self.sweeper_steps(&mut steps);
        steps
    }

    /// The new nodes are there, and hold everything that the old one ever acknowledged.
    fn check(&self) -> Result<(), String> {
        match (self.is_old(), self.made) {
            (false, None) => Err("the new nodes are gone".to_owned()),
            (false, Some(made)) if made != self.written => {
                Err(format!("lost in a split: {made} of {} records are in the new nodes", self.written))
            }
            _ => Ok(()),
        }
    }

    /// It comes to rest where the node is written or was split, and of a split that was given up nothing is left.
    fn is_settled(&self) -> bool {
        match self.is_old() {
            true => {
                let written = self.owner == Owner::Writing && self.holder == Holder::Owner && !self.retired;
                written && (self.made.is_none() || self.orphaned)
            }
            false => matches!(self.owner, Owner::Left | Owner::Idle),
        }
    }
}

#[test]
fn a_split_loses_nothing_and_one_that_is_given_up_leaves_nothing() {
    let explored = explore(World::new(Bug::None)).unwrap();
    assert!(explored.states > 200, "{explored:?}");
}

#[test]
fn planted_bugs_of_the_split_are_found() {
    for (bug, expected) in [
        (Bug::NoSecondLook, "lost in a split"),
        (Bug::MadeBeforeFencing, "lost in a split"),
        (Bug::SweepsUndecided, "the new nodes are gone"),
        (Bug::LeavesLeftovers, "never comes to rest"),
    ] {
        let found = explore(World::new(bug)).unwrap_err();
        assert!(found.contains(expected), "{bug:?}: {found}");
    }
}
