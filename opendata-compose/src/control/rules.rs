//! The rules of the control log: which entry may stand behind which, and what it changes.

use std::collections::{BTreeMap, BTreeSet};

use opendata_core::{Error, Result, Timestamp};

use super::entry::{CutEdge, CutMember, CutMode, Entry, ResetTo, Said};
use super::state::{Base, Branch, BranchPhase, Cut, CutPhase, EdgeState, MAIN, State};
use crate::spec::{Composition, check_name};

impl State {
    /// Takes the next entry in. If it may not stand here, nothing is changed.
    ///
    /// # Errors
    /// `Invalid`, `Conflict` or `NotFound`, saying which rule it breaks.
    pub fn apply(&mut self, entry: &Entry) -> Result<()> {
        if !self.created && entry.said != Said::Create {
            return Err(Error::not_found("nothing was said about this composition yet; create it first"));
        }
        let mut next = self.clone();
        next.take(entry)?;
        next.next += 1;
        next.at = entry.at;
        *self = next;
        Ok(())
    }

    fn take(&mut self, entry: &Entry) -> Result<()> {
        let now = entry.at;
        match &entry.said {
            Said::Create => self.create(),
            Said::Apply { branch, spec, nodes, regenerate, generations, base } => {
                if *base != self.next {
                    return Err(Error::conflict(format!(
                        "something else was said since the plan was made; plan again, planned_on={base}, next={}",
                        self.next
                    )));
                }
                let branch = self.usable(branch)?;
                branch.change(spec, nodes, regenerate)?;
                for (edge, least) in generations {
                    if let Some(state) = branch.edges.get_mut(edge) {
                        state.generation = state.generation.max(*least);
                    }
                }
                Ok(())
            }
            Said::Own { branch, owner, nodes } => self.own(branch, owner, nodes),
            Said::Made { branch, node, slate } => self.made(branch, node, slate),
            Said::Leave { branch, owner } => {
                self.known(branch)?.owners.retain(|_, found| found != owner);
                Ok(())
            }
            Said::Pause { branch, edge } => {
                self.usable(branch)?.edge(edge)?.paused = true;
                Ok(())
            }
            Said::Resume { branch, edge } => {
                let edge = self.usable(branch)?.edge(edge)?;
                (edge.paused, edge.suspended) = (false, false);
                Ok(())
            }
            Said::Reset { branch, edge, to } => {
                let edge = self.usable(branch)?.edge(edge)?;
                edge.generation += 1;
                edge.start = Some(*to);
                Ok(())
            }
            Said::CutBegin { .. }
            | Said::CutHeld { .. }
            | Said::CutMember { .. }
            | Said::CutCommit { .. }
            | Said::CutAbort { .. }
            | Said::CutTag { .. }
            | Said::CutRelease { .. } => self.take_cut(&entry.said, now),
            Said::ForkBegin { fork, cut, nodes, deadline } => self.begin_fork(fork, cut, nodes, *deadline),
            Said::ForkReady { fork } => self.fork_ready(fork),
            Said::Discard { fork } => self.discard(fork),
            Said::Discarded { fork } => self.discarded(fork),
            Said::TakeOver { branch, edge } => self.usable(branch)?.take_over(edge),
            Said::ReshapeBegin { .. }
            | Said::ReshapeCommit { .. }
            | Said::ReshapeAbort { .. }
            | Said::ReshapeSwept { .. } => self.take_reshape(&entry.said),
            Said::PromoteBegin { fork, policy, deadline } => self.begin_promotion(fork, *policy, *deadline),
            Said::PromoteCommit { fork, former } => self.promote(fork, former, now),
            Said::PromoteAbort { fork, .. } => {
                self.promotion_of(fork)?;
                self.promotion = None;
                Ok(())
            }
        }
    }

    fn create(&mut self) -> Result<()> {
        if self.created {
            return Err(Error::conflict("the composition was created before"));
        }
        self.created = true;
        self.branches.insert(MAIN.to_owned(), Branch::default());
        Ok(())
    }

    pub(super) fn known(&mut self, name: &str) -> Result<&mut Branch> {
        self.branch(name)?;
        self.branches.get_mut(name).ok_or_else(|| Error::not_found(format!("no such branch, name={name}")))
    }

    /// A branch that can be written.
    pub(super) fn usable(&mut self, name: &str) -> Result<&mut Branch> {
        if let Some(reshaping) = self.reshaping.as_ref().filter(|reshaping| reshaping.branch == name) {
            return Err(reshaping.conflict());
        }
        self.written(name)
    }

    /// A branch that is written, as far as its nodes are not just being split or joined.
    fn written(&mut self, name: &str) -> Result<&mut Branch> {
        if let Some(promotion) = self.promotion.as_ref().filter(|_| name == MAIN) {
            return Err(promotion.conflict());
        }
        let branch = self.known(name)?;
        match branch.phase {
            BranchPhase::Live => Ok(branch),
            phase => Err(Error::conflict(format!("the branch cannot be changed, name={name}, phase={phase:?}"))),
        }
    }

    fn own(&mut self, branch: &str, owner: &str, nodes: &[String]) -> Result<()> {
        // Whoever owns a node that is being split or joined will own what becomes of it.
        let found = self.written(branch)?;
        for node in nodes {
            if !found.nodes.contains_key(node) {
                return Err(Error::not_found(format!("no such node, branch={branch}, node={node}")));
            }
            found.owners.insert(node.clone(), owner.to_owned());
        }
        Ok(())
    }

    fn made(&mut self, branch: &str, node: &str, slate: &str) -> Result<()> {
        if self.is_reshaped(branch, node) {
            return Err(Error::conflict(format!("the node is being split or joined, node={node}")));
        }
        let found = self.written(branch)?;
        if !found.nodes.contains_key(node) {
            return Err(Error::not_found(format!("no such node, branch={branch}, node={node}")));
        }
        let known = found.slates.entry(node.to_owned()).or_insert_with(|| slate.to_owned());
        if known != slate {
            return Err(Error::conflict(format!(
                "the node has another slate, node={node}, slate={known}, found={slate}"
            )));
        }
        Ok(())
    }

    fn take_cut(&mut self, said: &Said, now: Timestamp) -> Result<()> {
        match said {
            Said::CutBegin { cut, branch, mode, deadline, expires, tags } => {
                self.begin_cut(cut, branch, *mode, (now, *deadline, *expires), tags)
            }
            Said::CutHeld { cut, edge } => {
                let of = self.open_cut(cut)?;
                if of.spec.edge(edge).is_none() {
                    return Err(Error::not_found(format!("the cut has no such edge, cut={cut}, edge={edge}")));
                }
                of.held.insert(edge.clone());
                Ok(())
            }
            Said::CutMember { cut, node, member } => self.cut_member(cut, node, member),
            Said::CutCommit { cut, edges } => self.commit_cut(cut, edges, now),
            Said::CutAbort { cut, .. } => {
                let cut = self.open_cut(cut)?;
                (cut.phase, cut.ended) = (CutPhase::Aborted, Some(now));
                Ok(())
            }
            Said::CutTag { cut, tags } => {
                self.committed_cut(cut)?;
                if let Some(cut) = self.cuts.get_mut(cut) {
                    cut.tags.clone_from(tags);
                }
                Ok(())
            }
            Said::CutRelease { cut } => self.release_cut(cut),
            _ => Err(Error::invalid("not an entry about a cut")),
        }
    }

    fn begin_cut(
        &mut self,
        name: &str,
        branch: &str,
        mode: CutMode,
        (begun, deadline, expires): (Timestamp, Timestamp, Option<Timestamp>),
        tags: &[String],
    ) -> Result<()> {
        check_name("cut", name)?;
        if self.cuts.contains_key(name) {
            return Err(Error::conflict(format!("a cut of this name was taken before, name={name}")));
        }
        let open = self.cuts.iter().find(|(_, cut)| cut.branch == branch && cut.is_open());
        if let Some((other, _)) = open {
            return Err(Error::conflict(format!("another cut of this branch is being taken, cut={other}")));
        }
        let of = self.usable(branch)?;
        if of.nodes.is_empty() {
            return Err(Error::invalid(format!("the branch has no nodes yet, branch={branch}")));
        }
        let cut = Cut {
            branch: branch.to_owned(),
            mode,
            phase: CutPhase::Held,
            begun,
            ended: None,
            deadline,
            expires,
            tags: tags.to_vec(),
            spec: of.spec.clone(),
            nodes: of.nodes.clone(),
            generations: of.edges.iter().map(|(id, edge)| (id.clone(), edge.generation)).collect(),
            held: BTreeSet::new(),
            members: BTreeMap::new(),
            edges: BTreeMap::new(),
        };
        self.cuts.insert(name.to_owned(), cut);
        Ok(())
    }

    fn open_cut(&mut self, name: &str) -> Result<&mut Cut> {
        let cut = self.cuts.get_mut(name).ok_or_else(|| Error::not_found(format!("no such cut, name={name}")))?;
        match cut.is_open() {
            true => Ok(cut),
            false => Err(Error::conflict(format!("the cut has ended, name={name}, phase={:?}", cut.phase))),
        }
    }

    fn cut_member(&mut self, name: &str, node: &str, member: &CutMember) -> Result<()> {
        let cut = self.open_cut(name)?;
        match cut.nodes.get(node) {
            None => return Err(Error::not_found(format!("the cut has no such node, cut={name}, node={node}"))),
            Some(path) if *path != member.path => {
                return Err(Error::conflict(format!("the node lies elsewhere, node={node}, path={path}")));
            }
            Some(_) => {}
        }
        if cut.members.contains_key(node) {
            return Err(Error::conflict(format!("the node has made its checkpoint, cut={name}, node={node}")));
        }
        cut.members.insert(node.to_owned(), member.clone());
        if cut.missing().next().is_none() {
            cut.phase = CutPhase::Cut;
        }
        Ok(())
    }

    fn commit_cut(&mut self, name: &str, edges: &BTreeMap<String, CutEdge>, now: Timestamp) -> Result<()> {
        let cut = self.open_cut(name)?;
        if cut.phase != CutPhase::Cut {
            let missing: Vec<_> = cut.missing().collect();
            return Err(Error::conflict(format!("nodes are missing, cut={name}, nodes=[{}]", missing.join(", "))));
        }
        for edge in &cut.spec.edges {
            let found = edges.get(&edge.id);
            let found =
                found.ok_or_else(|| Error::invalid(format!("an edge is missing, cut={name}, edge={}", edge.id)))?;
            found.check(&edge.id)?;
        }
        cut.edges.clone_from(edges);
        (cut.phase, cut.ended) = (CutPhase::Committed, Some(now));
        Ok(())
    }

    fn release_cut(&mut self, name: &str) -> Result<()> {
        self.committed_cut(name)?;
        if let Some(fork) = self.forks_of(name).next() {
            return Err(Error::conflict(format!(
                "a fork began at this cut; discard it first, cut={name}, fork={fork}"
            )));
        }
        if let Some(cut) = self.cuts.get_mut(name) {
            cut.phase = CutPhase::Released;
        }
        Ok(())
    }

    fn begin_fork(
        &mut self,
        name: &str,
        cut: &str,
        nodes: &BTreeMap<String, String>,
        deadline: Timestamp,
    ) -> Result<()> {
        check_name("fork", name)?;
        self.check_new_branch(name)?;
        let from = self.committed_cut(cut)?;
        if nodes.is_empty() || nodes.keys().any(|node| !from.nodes.contains_key(node)) {
            return Err(Error::invalid(format!("a fork has nodes of its cut, fork={name}, cut={cut}")));
        }
        let spec = restrict(&from.spec, nodes);
        let edges = spec.edges.iter().map(|edge| {
            let generation = from.generations.get(&edge.id).copied().unwrap_or(1);
            // A copy of a subscription must not race with the original for what lies outside.
            let state = EdgeState { generation, suspended: edge.to.is_external(), ..EdgeState::default() };
            (edge.id.clone(), state)
        });
        let branch = Branch {
            edges: edges.collect(),
            spec,
            nodes: nodes.clone(),
            base: Some(Base { branch: from.branch.clone(), cut: cut.to_owned() }),
            phase: BranchPhase::Making(deadline),
            slates: BTreeMap::new(),
            owners: BTreeMap::new(),
            ceased: None,
        };
        self.branches.insert(name.to_owned(), branch);
        Ok(())
    }

    pub(super) fn check_new_branch(&self, name: &str) -> Result<()> {
        if self.branches.contains_key(name) || self.promoted.contains(name) {
            return Err(Error::conflict(format!(
                "a branch of this name was made before; names are not used twice, name={name}"
            )));
        }
        Ok(())
    }

    fn fork_ready(&mut self, name: &str) -> Result<()> {
        let fork = self.known(name)?;
        match fork.phase {
            BranchPhase::Making(_) => {
                fork.phase = BranchPhase::Live;
                Ok(())
            }
            phase => Err(Error::conflict(format!("the fork is not being made, name={name}, phase={phase:?}"))),
        }
    }

    fn discard(&mut self, name: &str) -> Result<()> {
        if name == MAIN {
            return Err(Error::invalid("main cannot be discarded"));
        }
        if self.promotion.as_ref().is_some_and(|promotion| promotion.fork == name) {
            return Err(Error::conflict(format!("the fork is being promoted, name={name}")));
        }
        let cuts = self.cuts.iter().filter(|(_, cut)| cut.branch == name && cut.phase == CutPhase::Committed);
        if let Some((cut, _)) =
            cuts.map(|(name, cut)| (name.clone(), cut)).find(|(cut, _)| self.forks_of(cut).next().is_some())
        {
            return Err(Error::conflict(format!("forks began at a cut of this branch, name={name}, cut={cut}")));
        }
        self.known(name)?.phase = BranchPhase::Discarding;
        for cut in self.cuts.values_mut().filter(|cut| cut.branch == name) {
            cut.phase = if cut.is_open() { CutPhase::Aborted } else { CutPhase::Released };
        }
        Ok(())
    }

    fn discarded(&mut self, name: &str) -> Result<()> {
        let branch = self.known(name)?;
        if branch.phase != BranchPhase::Discarding {
            return Err(Error::conflict(format!("the branch was not given up, name={name}")));
        }
        branch.phase = BranchPhase::Discarded;
        branch.owners.clear();
        Ok(())
    }
}

impl Branch {
    fn edge(&mut self, id: &str) -> Result<&mut EdgeState> {
        let known: Vec<_> = self.spec.edges.iter().map(|edge| edge.id.clone()).collect();
        self.edges
            .get_mut(id)
            .filter(|_| known.iter().any(|found| found == id))
            .ok_or_else(|| Error::not_found(format!("no such edge, edge={id}, edges=[{}]", known.join(", "))))
    }

    fn change(
        &mut self,
        spec: &Composition,
        nodes: &BTreeMap<String, String>,
        regenerate: &BTreeMap<String, Option<ResetTo>>,
    ) -> Result<()> {
        spec.validate()?;
        for node in spec.nodes.keys() {
            if let Some(path) = nodes.get(node) {
                self.nodes.entry(node.clone()).or_insert_with(|| path.clone());
            }
            if !self.nodes.contains_key(node) {
                return Err(Error::invalid(format!("nobody says where the node lies, node={node}")));
            }
        }
        self.nodes.retain(|node, _| spec.nodes.contains_key(node));
        self.slates.retain(|node, _| spec.nodes.contains_key(node));
        self.owners.retain(|node, _| spec.nodes.contains_key(node));
        // The state of an edge that is taken out is kept, so that it never starts again in a generation that was used.
        for edge in &spec.edges {
            let first = || EdgeState { generation: 1, ..EdgeState::default() };
            let state = self.edges.entry(edge.id.clone()).or_insert_with(first);
            if let Some(start) = regenerate.get(&edge.id) {
                state.generation += 1;
                state.start = *start;
            }
        }
        self.spec = spec.clone();
        Ok(())
    }
}

impl CutEdge {
    /// The cut inequality: what the edge reads next is still kept, and nothing was read that is not in the source.
    ///
    /// # Errors
    /// `Conflict` if it does not hold.
    pub fn check(&self, id: &str) -> Result<()> {
        let Some(next) = self.next else { return Ok(()) };
        if self.trim <= next && next <= self.head.next() {
            return Ok(());
        }
        Err(Error::conflict(format!(
            "the edge does not fit its source in this cut, edge={id}, next={next}, trim={}, head={}",
            self.trim, self.head
        )))
    }
}

/// What is left of a composition when only some nodes are taken.
pub(super) fn restrict(spec: &Composition, nodes: &BTreeMap<String, String>) -> Composition {
    let has = |node: &str| nodes.contains_key(node);
    Composition {
        nodes: spec
            .nodes
            .iter()
            .filter(|(name, _)| has(name))
            .map(|(name, node)| (name.clone(), node.clone()))
            .collect(),
        edges: spec
            .edges
            .iter()
            .filter(|edge| has(&edge.from.node) && edge.to.node.as_deref().is_none_or(has))
            .cloned()
            .collect(),
        // A fork is not cut by itself unless someone says so.
        cuts: None,
    }
}

#[cfg(test)]
mod tests;
