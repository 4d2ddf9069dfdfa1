//! The rules of splits and joins: what may be said about them, and what it changes.

use std::collections::{BTreeMap, BTreeSet};

use opendata_core::{Error, Result};

use super::entry::{ResetTo, Said};
use super::rules::restrict;
use super::state::{Branch, BranchPhase, Reshaping, Shape, ShapePhase, State};
use crate::spec::{Composition, check_name};

impl State {
    pub(super) fn take_reshape(&mut self, said: &Said) -> Result<()> {
        match said {
            Said::ReshapeBegin { branch, shape, from, spec, nodes, deadline } => {
                let (branch, shape) = (branch.clone(), shape.clone());
                let (from, spec, nodes) = (from.clone(), spec.clone(), nodes.clone());
                self.begin_reshape(Reshaping { shape, branch, from, spec, nodes, deadline: *deadline })
            }
            Said::ReshapeCommit { shape, former, slates } => self.commit_reshape(shape, former, slates),
            Said::ReshapeAbort { shape, .. } => {
                self.reshaping_of(shape)?;
                self.reshaping = None;
                self.set_phase(shape, ShapePhase::Aborted);
                Ok(())
            }
            Said::ReshapeSwept { shape } => match self.shapes.get(shape).map(|shape| shape.phase) {
                Some(ShapePhase::Aborted) => {
                    self.set_phase(shape, ShapePhase::Swept);
                    Ok(())
                }
                _ => Err(Error::conflict(format!("nothing is to be swept of it, name={shape}"))),
            },
            _ => Err(Error::invalid("not an entry about a split or a join")),
        }
    }

    fn set_phase(&mut self, shape: &str, phase: ShapePhase) {
        if let Some(shape) = self.shapes.get_mut(shape) {
            shape.phase = phase;
        }
    }

    fn begin_reshape(&mut self, reshaping: Reshaping) -> Result<()> {
        check_name("shape", &reshaping.shape)?;
        if self.shapes.contains_key(&reshaping.shape) {
            return Err(Error::conflict(format!("there was a split or join of this name, name={}", reshaping.shape)));
        }
        if let Some(other) = &self.reshaping {
            return Err(other.conflict());
        }
        if let Some(other) = &self.promotion {
            return Err(other.conflict());
        }
        let open = self.cuts.iter().find(|(_, cut)| cut.branch == reshaping.branch && cut.is_open());
        if let Some((cut, _)) = open {
            return Err(Error::conflict(format!("a cut of the branch is being taken, cut={cut}")));
        }
        let branch = self.usable(&reshaping.branch)?;
        check_shape(branch, &reshaping)?;
        let made = Shape { nodes: reshaping.nodes.clone(), phase: ShapePhase::Making };
        self.shapes.insert(reshaping.shape.clone(), made);
        self.reshaping = Some(reshaping);
        Ok(())
    }

    fn reshaping_of(&self, shape: &str) -> Result<&Reshaping> {
        let found = self.reshaping.as_ref().filter(|reshaping| reshaping.shape == shape);
        found.ok_or_else(|| Error::conflict(format!("this split or join is not under way, name={shape}")))
    }

    fn commit_reshape(&mut self, shape: &str, former: &str, slates: &BTreeMap<String, String>) -> Result<()> {
        let reshaping = self.reshaping_of(shape)?.clone();
        check_name("branch", former)?;
        self.check_new_branch(former)?;
        if slates.keys().ne(reshaping.nodes.keys()) {
            return Err(Error::invalid(format!("the slates are not those of the new nodes, name={shape}")));
        }
        let branch = self.known(&reshaping.branch)?;
        let old_nodes: BTreeMap<String, String> =
            branch.nodes.iter().filter(|(node, _)| reshaping.from.contains(*node)).map(own).collect();
        let old = Branch {
            spec: restrict(&branch.spec, &old_nodes),
            edges: branch.edges.clone(),
            base: None,
            phase: BranchPhase::Former,
            slates: branch.slates.iter().filter(|(node, _)| reshaping.from.contains(*node)).map(own).collect(),
            owners: BTreeMap::new(),
            nodes: old_nodes,
            ceased: None,
        };
        let mut owners = BTreeMap::new();
        for node in reshaping.nodes.keys() {
            let instances = reshaping.spec.nodes.get(node).into_iter().flat_map(|node| node.instances.keys());
            let parent = instances.filter_map(|instance| holder(&branch.spec, &reshaping.from, instance)).next();
            if let Some(owner) = parent.and_then(|parent| branch.owners.get(parent)) {
                owners.insert(node.clone(), owner.clone());
            }
        }
        for node in &reshaping.from {
            branch.nodes.remove(node);
            branch.slates.remove(node);
            branch.owners.remove(node);
        }
        branch.nodes.extend(reshaping.nodes);
        branch.slates.extend(slates.clone());
        branch.owners.extend(owners);
        branch.spec = reshaping.spec;
        if planted!(ForgetsCursors) {
            branch
                .edges
                .values_mut()
                .for_each(|edge| (edge.generation, edge.start) = (edge.generation + 1, Some(ResetTo::Start)));
        }
        self.branches.insert(former.to_owned(), old);
        self.reshaping = None;
        self.set_phase(shape, ShapePhase::Done);
        Ok(())
    }
}

fn own((name, value): (&String, &String)) -> (String, String) {
    (name.clone(), value.clone())
}

/// Which of these nodes has an instance.
fn holder<'a>(spec: &'a Composition, from: &BTreeSet<String>, instance: &str) -> Option<&'a String> {
    let has = |node: &String| spec.nodes.get(node).is_some_and(|node| node.instances.contains_key(instance));
    spec.nodes.keys().find(|node| from.contains(*node) && has(node))
}

/// The new nodes have the instances of the old ones, each once and unchanged, and the edges are the same ones.
fn check_shape(branch: &Branch, reshaping: &Reshaping) -> Result<()> {
    let Reshaping { from, spec, nodes, .. } = reshaping;
    spec.validate()?;
    if let Some(node) = from.iter().find(|node| !branch.nodes.contains_key(*node)) {
        return Err(Error::not_found(format!("no such node, node={node}")));
    }
    if let Some(node) = nodes.keys().find(|node| branch.nodes.contains_key(*node) && !from.contains(*node)) {
        return Err(Error::conflict(format!("there is a node of this name already, node={node}")));
    }
    let of = |spec: &Composition, names: &mut dyn Iterator<Item = &String>| {
        let nodes = names.filter_map(|node| spec.nodes.get(node));
        let mut instances: Vec<_> =
            nodes.flat_map(|node| node.instances.iter()).map(|(name, spec)| (name.clone(), spec.clone())).collect();
        instances.sort_by(|(a, _), (b, _)| a.cmp(b));
        instances
    };
    if of(&branch.spec, &mut from.iter()) != of(spec, &mut nodes.keys()) {
        return Err(Error::invalid("the new nodes do not have the instances of the old ones"));
    }
    let rest = |spec: &Composition, gone: &dyn Fn(&String) -> bool| {
        spec.nodes
            .iter()
            .filter(|(node, _)| !gone(node))
            .map(|(name, node)| (name.clone(), node.clone()))
            .collect::<Vec<_>>()
    };
    let same = rest(&branch.spec, &|node| from.contains(node)) == rest(spec, &|node| nodes.contains_key(node));
    let ids = |spec: &Composition| spec.edges.iter().map(|edge| edge.id.clone()).collect::<Vec<_>>();
    if !same || ids(&branch.spec) != ids(spec) {
        return Err(Error::invalid("a split or a join changes nothing but the nodes that it names"));
    }
    Ok(())
}
