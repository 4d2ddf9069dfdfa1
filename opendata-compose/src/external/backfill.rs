//! Backfill of an edge: a second generation runs beside the first, through the control log, until it takes its place.
//!
//! 1. `apply` adds the edge `<id>.next`, which begins elsewhere. The owner of the sink runs it like any other; both can be seen.
//! 2. Once it has met the first, `take_over` is said: the edge is as the second one was, in a new generation, and the second is no longer there.
//! 3. The owner of the sink stops both, lets the second go on to where the first stood, and puts it in its place in one
//!    commit ([`switch`]); then the edge runs again. Whatever dies on the way, the next one who opens the node does that.

use std::collections::BTreeMap;
use std::time::Duration;

use opendata_core::{Error, ErrorKind, Position, Result};
use opendata_log::Log;

use super::edges::Wanted;
use super::{ExternalComposite, Inner};
use crate::control::{Branch, ResetTo, Said};
use crate::edge::backfill::{beside, switch};
use crate::edge::spec::SinkSpec;
use crate::edge::{Again, Cursor, Edge, EdgeParts, EdgeSpec, SourceAt};
use crate::internal::InternalComposite;
use crate::spec::{Composition, InstanceSpec};

/// How often it is looked at how far the second generation is.
const LOOK: Duration = Duration::from_millis(200);
/// So many records may be left when it takes over: they are made up for meanwhile.
const LEFT: u64 = 1_000;

/// An edge that is to make everything anew.
#[derive(Clone, Debug)]
pub struct Backfill {
    /// The edge, under its id, as it shall be from then on: with other steps, or into another instance of the same node.
    pub edge: EdgeSpec,
    /// Where it begins.
    pub from: ResetTo,
    /// The instances that the sink's node shall have; those that are not there yet are added.
    pub instances: BTreeMap<String, InstanceSpec>,
    /// How long to wait until it has caught up. After that it goes on, and can be waited for again.
    pub timeout: Duration,
}

impl ExternalComposite {
    /// Lets an edge make everything anew beside what it goes on making, and puts the new in the place of the old exactly where they meet: each record
    /// has its effect once in either. `tell` is told how many records were made something of since it was last told. Whoever owns the sink's node
    /// must run. Calling it again goes on waiting.
    ///
    /// # Errors
    /// `Invalid` if that would put something into one instance twice, or the edge delivers outside, or it never ran; `Conflict` if another backfill of it is under way;
    /// `Unavailable` if it has not caught up in time; what the store returned.
    pub async fn backfill(&self, backfill: &Backfill, tell: &mut (dyn FnMut(u64) + Send)) -> Result<Cursor> {
        self.begin_backfill(backfill).await?;
        let (id, begun) = (backfill.edge.id.clone(), tokio::time::Instant::now());
        let told = self.meet(backfill, begun, tell).await?;
        let said = Said::TakeOver { branch: self.0.branch.clone(), edge: id.clone() };
        let state = self.0.control.append(said).await?;
        let generation = state.branch(&self.0.branch)?.edges.get(&id).map_or(0, |edge| edge.generation);
        if self.is_started() {
            self.0.reconcile().await?;
        }
        // One view of the sink shows the one cursor or the other.
        let keeper = self.reader(backfill.edge.runs_on()).await?;
        loop {
            let view = keeper.refresh().await?;
            let cursor = Cursor::read(&view, backfill.edge.state_instance(), &id).await?;
            let left = Cursor::read(&view, backfill.edge.state_instance(), &beside(&backfill.edge).id).await?;
            match cursor {
                Some(cursor) if cursor.generation >= generation && left.is_none() => {
                    // What was left when they had nearly met was made up for since.
                    tell(cursor.counts.records().saturating_sub(told));
                    return Ok(cursor);
                }
                _ if begun.elapsed() > backfill.timeout => {
                    return Err(Error::unavailable(format!(
                        "whoever owns the node has not put it in its place yet, edge={id}, node={}",
                        backfill.edge.runs_on()
                    )));
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Gives a backfill up. What it made in the sink stays.
    ///
    /// # Errors
    /// `NotFound` if none of this edge is under way; what the store returned.
    pub async fn cancel_backfill(&self, edge: &str) -> Result<()> {
        let state = self.0.control.refresh().await?;
        let branch = state.branch(&self.0.branch)?;
        let next = format!("{edge}.next");
        if branch.spec.edge(&next).is_none() {
            return Err(Error::not_found(format!("no backfill of this edge is under way, edge={edge}")));
        }
        let mut spec = branch.spec.clone();
        spec.edges.retain(|found| found.id != next);
        self.say_spec(spec, BTreeMap::new(), state.next).await
    }

    async fn begin_backfill(&self, backfill: &Backfill) -> Result<()> {
        let state = self.0.control.refresh().await?;
        let branch = state.branch(&self.0.branch)?;
        let new = &backfill.edge;
        let old = branch.spec.find_edge(&new.id)?;
        self.check_backfill(old, new).await?;
        self.check_place(old, backfill.from).await?;
        let next = beside(new);
        match branch.spec.edge(&next.id) {
            Some(found) if *found == next => return Ok(()),
            Some(_) => {
                return Err(Error::conflict(format!(
                    "another backfill of the edge is under way; give it up first, edge={}",
                    new.id
                )));
            }
            None => {}
        }
        let mut spec = branch.spec.clone();
        if let Some(node) = spec.nodes.get_mut(new.runs_on()) {
            for (name, instance) in &backfill.instances {
                node.instances.entry(name.clone()).or_insert_with(|| instance.clone());
            }
        }
        spec.edges.push(next.clone());
        self.0.systems.validate(&spec)?;
        self.say_spec(spec, BTreeMap::from([(next.id, Some(backfill.from))]), state.next).await
    }

    async fn check_backfill(&self, old: &EdgeSpec, new: &EdgeSpec) -> Result<()> {
        let id = &new.id;
        let ends = |spec: &EdgeSpec| (spec.from.node.clone(), spec.from.instance.clone(), spec.to.node.clone());
        if ends(old) != ends(new) {
            return Err(Error::invalid(format!(
                "the source of an edge and the node of its sink stay the same; another edge has another id, edge={id}"
            )));
        }
        if old.to.is_external() || new.to.is_external() {
            return Err(Error::invalid(format!(
                "what is delivered outside cannot be put in the place of what was; reset the edge instead, edge={id}"
            )));
        }
        if old.to == new.to && new.again() == Again::Adds {
            return Err(Error::invalid(format!(
                "what the edge adds would be there twice; let it write into another instance of the node, edge={id}, instance={}",
                new.state_instance()
            )));
        }
        let reader = self.reader(old.runs_on()).await?;
        if Cursor::read(&reader.view(), old.state_instance(), id).await?.is_none() {
            return Err(Error::invalid(format!("the edge never ran, so there is nothing to make anew, edge={id}")));
        }
        Ok(())
    }

    async fn say_spec(
        &self,
        spec: Composition,
        regenerate: BTreeMap<String, Option<ResetTo>>,
        base: u64,
    ) -> Result<()> {
        let (nodes, generations) = (BTreeMap::new(), BTreeMap::new());
        let branch = self.0.branch.clone();
        self.0.control.append(Said::Apply { branch, spec, nodes, regenerate, generations, base }).await?;
        if self.is_started() {
            self.0.reconcile().await?;
        }
        Ok(())
    }

    /// Waits until the second generation has met the first, or nearly so. Returns how many of its records were told.
    async fn meet(
        &self,
        backfill: &Backfill,
        begun: tokio::time::Instant,
        tell: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64> {
        let (new, next) = (&backfill.edge, beside(&backfill.edge));
        let (keeper, source) = (self.reader(new.runs_on()).await?, self.reader(&new.from.node).await?);
        let mut before = 0;
        loop {
            let branch = self.0.branch_state()?;
            let Some(old) = branch.spec.edge(&new.id) else {
                return Err(Error::not_found(format!("the edge was taken out, edge={}", new.id)));
            };
            let view = keeper.refresh().await?;
            let first = Cursor::read(&view, old.state_instance(), &new.id).await?;
            let second = match Cursor::read(&view, new.state_instance(), &next.id).await {
                // The instance is still to be made.
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                second => second?,
            };
            // A cursor that another attempt left is of an older generation.
            let generation = branch.edges.get(&next.id).map_or(0, |edge| edge.generation);
            if let (Some(first), Some(second)) = (first, second.filter(|second| second.generation >= generation)) {
                tell(second.counts.records().saturating_sub(before));
                before = second.counts.records();
                let log = source.refresh().await?.get_reader::<Log>(&new.from.instance)?;
                let left = async |from: Position| match log.lag_all(from).await {
                    Err(error) if error.kind() == ErrorKind::Invalid => Ok(0),
                    left => left,
                };
                let behind = left(second.next).await?.saturating_sub(left(first.next).await?);
                if second.next >= first.next || behind <= LEFT {
                    return Ok(before);
                }
            }
            if begun.elapsed() > backfill.timeout {
                return Err(Error::unavailable(format!(
                    "the second generation has not caught up in time; it goes on, and can be waited for again, edge={}",
                    next.id
                )));
            }
            tokio::time::sleep(LOOK).await;
            self.0.control.refresh().await?;
        }
    }
}

impl Inner {
    /// Puts the second generation of an edge in the place of the first, if that was said and is not done.
    pub(super) async fn finish_backfill(
        &self,
        wanted: &Wanted,
        sink: &InternalComposite,
        source: &SourceAt,
    ) -> Result<()> {
        if wanted.said.takes_over != Some(wanted.said.generation) {
            return Ok(());
        }
        let (new, next) = (&wanted.spec, beside(&wanted.spec));
        let view = sink.view();
        let Some(second) = Cursor::read(&view, new.state_instance(), &next.id).await? else { return Ok(()) };
        let mut old = new.clone();
        let mut first = None;
        for instance in view.instances() {
            if let Some(cursor) = Cursor::read(&view, &instance.name, &new.id).await? {
                old.to = SinkSpec { instance: Some(instance.name.to_string()), ..new.to.clone() };
                first = Some(cursor);
            }
        }
        let first = first.ok_or_else(|| Error::not_found(format!("the edge has no cursor, edge={}", new.id)))?;
        if second.next < first.next {
            let parts = EdgeParts {
                generation: second.generation,
                env: self.env.clone(),
                ..EdgeParts::new(next, source.clone(), sink.slate().clone())
            };
            Edge::run_until(parts, first.next).await?;
        }
        switch(sink.slate(), &old, new, None).await?;
        Ok(())
    }
}

impl Branch {
    /// The edge that a backfill made takes the place of the one that was there.
    pub(crate) fn take_over(&mut self, id: &str) -> Result<()> {
        let next = format!("{id}.next");
        let missing = || Error::not_found(format!("no backfill of this edge is under way, edge={id}"));
        let mut new = self.spec.edge(&next).cloned().ok_or_else(missing)?;
        id.clone_into(&mut new.id);
        let generation = |edge: &str| self.edges.get(edge).map_or(0, |state| state.generation);
        let last = generation(id).max(generation(&next)) + 1;
        let place = self.spec.edges.iter_mut().find(|edge| edge.id == id).ok_or_else(missing)?;
        *place = new;
        self.spec.edges.retain(|edge| edge.id != next);
        let state = self.edges.entry(id.to_owned()).or_default();
        (state.generation, state.start, state.takes_over) = (last, None, Some(last));
        Ok(())
    }
}
