//! What is done to a composition, and what is looked at after it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use opendata_core::slate::At;
use opendata_core::{ErrorKind, Position};
use opendata_log::Log;
use rand::Rng;
use rand::seq::IteratorRandom;

use super::check::{Kept, Node, When, nodes_of};
use super::graph::NODES;
use super::reshape::Shaper;
use super::world::{Check, Process, World, describe};
use crate::control::{CutMode, MAIN, PromotePolicy};
use crate::cut::CutOptions;
use crate::edge::Cursor;

/// After this an operation is given up, as by somebody who has lost patience.
pub(super) const PATIENCE: Duration = Duration::from_secs(200);

fn words(error: opendata_core::Error) -> String {
    error.to_string()
}

impl World {
    /// One thing happens.
    pub(super) async fn step(&mut self) -> Check {
        if self.rng.random_bool(0.3) {
            let (at, calls, every, after) = (
                self.any_process(),
                self.rng.random_range(1..4),
                self.rng.random_range(4..60),
                self.rng.random_bool(0.5),
            );
            self.processes[at].access.trouble(calls, every, after);
        }
        match self.rng.random_range(0..100) {
            0..28 => self.append(12).await?,
            28..46 => self.cut().await?,
            46..53 => {
                let at = self.any_process();
                self.restart(at).await?;
            }
            53..59 => self.cut_and_die().await?,
            59..66 => self.sleep_and_take_over().await?,
            66..76 => self.fork().await?,
            76..82 => self.restore().await?,
            82..85 => self.restore_to_a_time().await?,
            85..90 => self.pause_and_resume().await?,
            90..94 => self.trim().await?,
            94..98 => {
                let after = Duration::from_millis(self.rng.random_range(5..800));
                let shaper = match self.rng.random_range(0..8) {
                    0..2 => Shaper::Dies(after),
                    2 => Shaper::IsGivenUp(after),
                    _ => Shaper::Lives,
                };
                self.split_or_join(shaper).await?;
            }
            _ => tokio::time::sleep(Duration::from_secs(12)).await,
        }
        self.look().await
    }

    /// Looks at main as it is now.
    pub(super) async fn look(&mut self) -> Check {
        let (state, mut nodes) = (self.state().await?, BTreeMap::new());
        self.ledger.outside.check(&self.ledger.elsewhere)?;
        if state.promotion.is_some() || state.reshaping.is_some() {
            return Ok(());
        }
        let main = state.branch(MAIN).map_err(words)?.clone();
        self.spec = main.spec.clone();
        // Sinks before sources, as in a cut.
        for node in self.spec.sinks_first().0 {
            let Some(path) = main.nodes.get(&node) else { continue };
            let read = self.observer.0.reading(path).read(At::Latest).await;
            match read {
                Ok(reader) => drop(nodes.insert(node, Node { path: path.clone(), view: reader.view() })),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(format!("node {node} cannot be read: {error}")),
            }
        }
        let edges = self.spec.edges.clone();
        self.ledger.whole(&edges, &nodes, When::Now).await?;
        for (node, seen) in &nodes {
            self.ledger.nothing_lost(node, &seen.path)?;
        }
        Ok(())
    }

    /// A cut while records are appended.
    pub(super) async fn cut(&mut self) -> Check {
        let (at, open) = (self.any_process(), self.open_nodes());
        let burst = self.burst(open, 8);
        let name = self.take_cut(at, PATIENCE).await?;
        self.appended(burst).await?;
        if let Some(name) = name {
            self.look_at_cut(&name).await?;
        }
        Ok(())
    }

    /// Takes a cut; none if that did not succeed for a reason that may be.
    async fn take_cut(&mut self, at: usize, patience: Duration) -> Check<Option<String>> {
        let name = format!("cut-{}", self.number());
        let mode = if self.rng.random_bool(0.5) { CutMode::Instant } else { CutMode::Aligned };
        let lifetime = self.rng.random_bool(0.25).then(|| Duration::from_secs(self.rng.random_range(20..60)));
        let options = CutOptions { mode, lifetime, timeout: Duration::from_secs(40), ..CutOptions::default() };
        let main = self.processes[at].main.clone();
        let taken = tokio::time::timeout(patience, main.cut(&name, &options)).await;
        self.machine.say(&format!("{name} {mode:?}: {taken:?}"));
        let error = match taken {
            Ok(Ok(_)) => return Ok(Some(name)),
            Ok(Err(error)) => error,
            Err(_) => return Ok(None),
        };
        let state = self.state().await?;
        let Some(cut) = state.cuts.get(&name) else { return Ok(None) };
        let early = cut.ended.is_some_and(|ended| ended < cut.deadline);
        let text = error.to_string();
        if text.contains("the cut was given up") && early {
            return Err(format!("{name} was aborted by somebody else before its deadline: {text}"));
        }
        if error.kind() == ErrorKind::Conflict && text.contains("edge") {
            return Err(format!("{name} {mode:?} does not fit together: {text}"));
        }
        Ok(None)
    }

    /// Opens a cut and holds everything in it against everything else.
    async fn look_at_cut(&mut self, name: &str) -> Check {
        let past = self.observer.at(name).await.map_err(|error| format!("{name} cannot be opened: {error}"))?;
        let (nodes, edges) = (nodes_of(&past)?, past.cut().spec.edges.clone());
        let checked = self.ledger.whole(&edges, &nodes, When::Then).await;
        checked.map_err(|wrong| format!("in {name} {:?}: {wrong}", past.cut().mode))?;
        let members: BTreeMap<String, (String, Position)> =
            nodes.iter().map(|(node, seen)| (node.clone(), (seen.path.clone(), seen.view.position()))).collect();
        let durable = self.ledger.durable_in(&members)?;
        let kept = Kept { durable, expires: past.cut().expires, members };
        self.ledger.cuts.insert(name.to_owned(), kept);
        Ok(())
    }

    /// Whoever takes the cut dies in the middle of it.
    async fn cut_and_die(&mut self) -> Check {
        let (at, open) = (self.any_process(), self.open_nodes());
        let burst = self.burst(open, 6);
        let patience = Duration::from_millis(self.rng.random_range(5..600));
        let name = self.take_cut(at, patience).await?;
        self.restart(at).await?;
        self.appended(burst).await?;
        if let Some(name) = name {
            self.look_at_cut(&name).await?;
        }
        Ok(())
    }

    /// A process sleeps while another takes its nodes over. When it wakes, it goes on writing as if nothing had been.
    async fn sleep_and_take_over(&mut self) -> Check {
        let at = self.any_process();
        let nodes = self.processes[at].nodes.clone();
        let time = Duration::from_millis(self.rng.random_range(500..6_000));
        self.processes[at].access.sleep(time);
        let open = self.open_nodes();
        let asleep: Vec<_> = open.into_iter().filter(|(node, _)| nodes.contains(node)).collect();
        let burst = self.burst(asleep.clone(), 4);
        let name = format!("thief-{}", self.number());
        let thief = self.start(&name, nodes).await?;
        self.machine.say(&format!("{} was taken over by {name}", self.processes[at].access.name));
        let old = std::mem::replace(&mut self.processes[at], thief);
        let open = self.open_nodes();
        let new = self.burst(open, 6);
        tokio::time::sleep(time).await;
        let again = self.burst(asleep, 3);
        for burst in [burst, new, again] {
            self.appended(burst).await?;
        }
        self.zombies.push((old.access, old.main));
        if self.zombies.len() > 2 {
            let (access, main) = self.zombies.remove(0);
            let _ = tokio::time::timeout(Duration::from_secs(30), main.close()).await;
            access.kill();
        }
        Ok(())
    }

    /// A fork of some cut is written to, and then discarded or put in the place of main.
    async fn fork(&mut self) -> Check {
        let Some(cut) = self.any_cut() else { return self.cut().await };
        let at = self.any_process();
        let number = self.number();
        let name = format!("fork-{number}");
        let mut main = self.processes[at].main.clone();
        if let Err(error) = main.fork(&name, &cut).await {
            self.machine.say(&format!("{name} of {cut}: {error}"));
            return self.may_fail(&error, &cut);
        }
        let paths = self.state().await?.branch(&name).map_err(words)?.nodes.clone();
        self.ledger_forks(&cut, &paths);
        let access = self.machine.process(&name);
        let opened = describe(&access.store, Some(&access), &self.machine).branch(&name).open().await;
        let fork = opened.map_err(|error| format!("a fork cannot be opened: {name}: {error}"))?;
        let open: Vec<_> = NODES.iter().filter_map(|node| Some(((*node).to_owned(), fork.node(node).ok()?))).collect();
        let appended = self.burst(open, 6).await.map_err(|error| error.to_string())?;
        if self.rng.random_bool(0.7) {
            fork.wait_caught_up(Duration::from_secs(60)).await.map_err(|error| format!("{name}: {error}"))?;
        }
        let numbers = appended.iter().map(|appended| appended.number);
        self.ledger.elsewhere.extend(numbers.clone());
        let policy = match self.rng.random_range(0..4) {
            0 => PromotePolicy::Refuse,
            1 => PromotePolicy::Rebase,
            2 => PromotePolicy::Discard,
            _ => {
                let closed = tokio::time::timeout(PATIENCE, fork.close()).await;
                let discarded = main.discard(&name).await;
                self.machine.say(&format!("{name}: {closed:?}, discarded: {discarded:?}"));
                access.kill();
                return Ok(());
            }
        };
        let before = self.paths().await?;
        if policy == PromotePolicy::Rebase && number.is_multiple_of(2) {
            self.break_off(at, &name, Duration::from_millis(100 + number * 97 % 1_500)).await?;
            main = self.processes[at].main.clone();
        }
        let open = self.open_nodes();
        let burst = self.burst(open, 4);
        let promoted = main.promote(&name, policy).await;
        self.machine.say(&format!("promote {name} {policy:?}: {promoted:?}"));
        self.appended(burst).await?;
        let _ = tokio::time::timeout(PATIENCE, fork.close()).await;
        access.kill();
        if self.paths().await? != before {
            self.ledger.forget_elsewhere(numbers);
            let own = appended.iter().filter(|appended| appended.durable).collect::<Vec<_>>();
            self.became_main(&cut, policy == PromotePolicy::Discard).await?;
            own.into_iter().for_each(|appended| self.ledger.appended(appended));
        }
        Ok(())
    }

    /// Whoever promotes a fork and takes along what main took dies on the way, and main goes on.
    async fn break_off(&mut self, at: usize, fork: &str, after: Duration) -> Check {
        let (main, open) = (self.processes[at].main.clone(), self.open_nodes());
        let burst = self.burst(open, 4);
        let promoted = tokio::time::timeout(after, main.promote(fork, PromotePolicy::Rebase)).await;
        self.machine.say(&format!("promote {fork}, until it dies: {promoted:?}"));
        self.appended(burst).await?;
        self.restart(at).await?;
        let cancelled = tokio::time::timeout(PATIENCE, self.observer.cancel_under_way()).await;
        self.machine.say(&format!("cancelled: {cancelled:?}"));
        self.settle().await;
        self.append(6).await
    }

    /// A fork of what is main now, which is written to beside it.
    pub(super) async fn only_fork(&mut self) -> Check {
        self.ledger.cuts.clear();
        self.cut().await?;
        self.append(6).await?;
        self.fork().await?;
        self.look().await
    }

    fn ledger_forks(&mut self, cut: &str, paths: &BTreeMap<String, String>) {
        let members = self.ledger.cuts.get(cut).map(|kept| kept.members.clone()).unwrap_or_default();
        for (node, (from, position)) in members {
            if let Some(to) = paths.get(&node) {
                self.ledger.forked(&from, position, to);
            }
        }
    }

    /// Main is another line now: what of what was acknowledged must be in it.
    async fn became_main(&mut self, cut: &str, discarded: bool) -> Check {
        let then = self.ledger.cuts.get(cut).map(|kept| kept.durable.clone()).unwrap_or_default();
        self.spec = self.state().await?.branch(MAIN).map_err(words)?.spec.clone();
        if discarded {
            for node in NODES {
                let kept = then.get(node).cloned().unwrap_or_default();
                self.ledger.durable.insert(node.to_owned(), kept);
            }
        }
        self.settle().await;
        Ok(())
    }

    /// Lets processes find out where main lies.
    pub(super) async fn settle(&self) {
        for process in &self.processes {
            for _ in 0..20 {
                let mut nodes = process.nodes.iter().filter(|node| self.spec.nodes.contains_key(*node));
                if nodes.all(|node| process.main.node(node).is_ok()) {
                    break;
                }
                let _ = tokio::time::timeout(Duration::from_secs(5), process.main.0.reconcile()).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }

    fn any_cut(&mut self) -> Option<String> {
        let now = self.now().plus_ms(15_000);
        let live = self.ledger.cuts.iter().filter(|(_, kept)| kept.expires.is_none_or(|expires| expires > now));
        live.map(|(name, _)| name.clone()).choose(&mut self.rng)
    }

    /// Whether an operation on a cut may fail so: for the store's sake, but not because the cut is not there.
    fn may_fail(&self, error: &opendata_core::Error, cut: &str) -> Check {
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::Corrupt | ErrorKind::Invalid => {
                Err(format!("{cut} was committed and has not expired, and cannot be used: {error}"))
            }
            _ => Ok(()),
        }
    }

    /// Main is put back to some cut.
    async fn restore(&mut self) -> Check {
        let Some(cut) = self.any_cut() else { return self.cut().await };
        let at = self.any_process();
        let before = self.paths().await?;
        let main = self.processes[at].main.clone();
        let restored = main.restore(&cut).await;
        self.machine.say(&format!("restore {cut}: {restored:?}"));
        let after = self.paths().await?;
        if after == before {
            return restored.err().map_or(Ok(()), |error| self.may_fail(&error, &cut));
        }
        self.ledger_forks(&cut, &after);
        self.became_main(&cut, true).await
    }

    /// Main is put back to some time since the newest cut.
    async fn restore_to_a_time(&mut self) -> Check {
        let Some(cut) = self.any_cut() else { return self.cut().await };
        self.append(5).await?;
        let (at, before) = (self.any_process(), self.paths().await?);
        let time = self.now().plus_ms(-self.rng.random_range(0..400));
        let main = self.processes[at].main.clone();
        let restored = main.restore_to(time).await;
        self.machine.say(&format!("restore to {time}: {restored:?}"));
        let after = self.paths().await?;
        if after != before {
            let began = self.state().await?.branch(MAIN).map_err(words)?.base.clone().map(|base| base.cut);
            let began = began.unwrap_or(cut);
            if !self.ledger.cuts.contains_key(&began) {
                self.look_at_cut(&began).await?;
            }
            self.ledger_forks(&began, &after);
            self.became_main(&began, true).await?;
        }
        Ok(())
    }

    async fn pause_and_resume(&mut self) -> Check {
        let edge = self.spec.edges.iter().map(|edge| edge.id.clone()).choose(&mut self.rng).ok_or("no edge")?;
        let at = self.any_process();
        let main = self.processes[at].main.clone();
        let paused = main.pause(&edge).await;
        self.append(8).await?;
        let resumed = main.resume(&edge).await;
        self.machine.say(&format!("paused {edge}: {paused:?}, resumed: {resumed:?}"));
        Ok(())
    }

    /// A log gives up what every edge has read.
    async fn trim(&mut self) -> Check {
        self.look().await?;
        let Some((node, composite)) = self.open_nodes().into_iter().choose(&mut self.rng) else { return Ok(()) };
        let paths = self.paths().await?;
        if paths.get(&node).is_none_or(|path| path != composite.slate().path()) {
            return Ok(());
        }
        let mut before = composite.durable_view().position();
        for edge in self.spec.edges_out_of(&node) {
            let Some(path) = paths.get(edge.runs_on()) else { return Ok(()) };
            let Ok(reader) = self.observer.0.reading(path).read(At::Latest).await else {
                return Ok(());
            };
            let cursor = Cursor::read(&reader.view(), edge.state_instance(), &edge.id).await.map_err(words)?;
            before = before.min(cursor.map_or(Position::ZERO, |cursor| cursor.next));
        }
        // What is trimmed was seen.
        let view = composite.durable_view();
        self.ledger.collect(&Node { path: composite.slate().path().to_owned(), view }).await?;
        let trimmed = async {
            let mut tx = composite.begin();
            tx.on(&composite.get::<Log>("l")?).trim_all(before);
            tx.commit().await?;
            Ok::<_, opendata_core::Error>(())
        };
        let trimmed = tokio::time::timeout(PATIENCE, trimmed).await;
        self.machine.say(&format!("trim {node} before {before}: {trimmed:?}"));
        Ok(())
    }

    /// Everything comes to rest: what is left must be whole, and every cut that has not expired must still be there.
    pub(super) async fn end(&mut self) -> Check {
        for (access, _) in self.zombies.drain(..) {
            access.kill();
        }
        for at in 0..self.processes.len() {
            self.restart(at).await?;
        }
        self.calm();
        let undecided = |state: &crate::control::State| state.promotion.is_some() || state.reshaping.is_some();
        let decided = self.observer.wait_until(Duration::from_secs(300), |state| !undecided(state)).await;
        decided.map_err(|error| format!("in the end: something is never decided: {error}"))?;
        self.spec = self.state().await?.branch(MAIN).map_err(words)?.spec.clone();
        self.settle().await;
        let all: BTreeSet<String> = self.processes.iter().flat_map(|process| process.nodes.clone()).collect();
        if !NODES.iter().all(|node| all.contains(*node)) {
            return Err("a node has no owner".to_owned());
        }
        let Some(Process { main, .. }) = self.processes.first() else { return Ok(()) };
        let main = main.clone();
        for edge in self.spec.edges.clone() {
            main.resume(&edge.id).await.map_err(words)?;
        }
        self.append(6).await?;
        main.wait_caught_up(Duration::from_secs(300)).await.map_err(|error| format!("in the end: {error}"))?;
        self.all_is_told(&main).await?;
        self.look().await?;
        let now = self.now();
        let live = self.ledger.cuts.iter().filter(|(_, kept)| kept.expires.is_none_or(|expires| expires > now));
        for name in live.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.look_at_cut(&name).await?;
        }
        // A cut whose taker died is over once its deadline has passed.
        let open = |state: &crate::control::State| state.cuts.values().any(|cut| cut.branch == MAIN && cut.is_open());
        let over = main.wait_until(Duration::from_secs(120), |state| !open(state)).await;
        over.map_err(|error| format!("in the end: a cut is never over: {error}"))?;
        let cut = main.cut("the-last", &CutOptions::aligned()).await.map_err(|error| format!("in the end: {error}"))?;
        if cut.members.len() != self.spec.nodes.len() {
            return Err("the last cut is not whole".to_owned());
        }
        self.look_at_cut("the-last").await
    }
}
