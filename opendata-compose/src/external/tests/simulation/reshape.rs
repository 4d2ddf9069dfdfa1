//! Nodes that are split and joined while records are appended, and edges to the outside that come to an end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use opendata_core::Position;
use rand::Rng;

use super::graph::{NODES, part};
use super::operations::PATIENCE;
use super::world::{Check, World};
use crate::control::{MAIN, Said, State};
use crate::external::ExternalComposite;

/// What becomes of whoever splits or joins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shaper {
    /// Goes on to the end.
    Lives,
    /// Dies on the way.
    Dies(Duration),
    /// Another process gives the split or join up, as one whose clock runs ahead takes it for overdue.
    IsGivenUp(Duration),
}

impl World {
    /// A node gives its metrics store away, or gets it back.
    pub(super) async fn split_or_join(&mut self, shaper: Shaper) -> Check {
        self.look().await?;
        let (at, open) = (self.any_process(), self.open_nodes());
        let node = NODES[self.rng.random_range(0..NODES.len())];
        let bursts = [self.burst(open, 6), self.burst_on(node, 10)];
        // Sweeps come at any time.
        let (sweeper, after) = (self.any_process(), Duration::from_millis(self.rng.random_range(0..2_000)));
        let sweeper = self.processes[sweeper].main.clone();
        let sweep = tokio::spawn(async move {
            tokio::time::sleep(after).await;
            tokio::time::timeout(PATIENCE, sweeper.0.sweep()).await
        });
        let (patience, given_up_after) = match shaper {
            Shaper::Lives => (PATIENCE, None),
            Shaper::Dies(after) => (after, None),
            Shaper::IsGivenUp(after) => (PATIENCE, Some(after)),
        };
        let given_up = tokio::spawn(give_up(self.observer.clone(), given_up_after));
        let before = self.paths().await?;
        let (main, is_split) = (self.processes[at].main.clone(), self.spec.nodes.contains_key(&part(node)));
        let done = async {
            let (whole, metrics) = (node.to_owned(), part(node));
            if is_split {
                return main.join(&BTreeSet::from([whole, metrics]), node).await;
            }
            let of = |instance: &str| BTreeSet::from([instance.to_owned()]);
            main.split(node, &BTreeMap::from([(whole, of("l")), (metrics, of("t"))])).await
        };
        let done = tokio::time::timeout(patience, done).await;
        self.machine.say(&format!("{} {node}: {done:?}", if is_split { "join" } else { "split" }));
        given_up.await.map_err(|error| error.to_string())?;
        if let Shaper::Dies(_) = shaper {
            self.restart(at).await?;
        }
        for burst in bursts {
            self.appended(burst).await?;
        }
        let swept = sweep.await.map_err(|error| error.to_string())?;
        self.machine.say(&format!("swept: {swept:?}"));
        let decided = self.observer.wait_until(Duration::from_secs(300), |state| state.reshaping.is_none()).await;
        decided.map_err(|error| format!("the split or join of {node} is never decided: {error}"))?;
        let state = self.state().await?;
        let branch = state.branch(MAIN).map_err(|error| error.to_string())?;
        if let (Some(old), Some(new)) = (before.get(node), branch.nodes.get(node))
            && old != new
        {
            // What was retired is all that the new one begins with: it was looked at when nobody could write it any more.
            let retired = self.observer.0.reading(old);
            let retired = retired.read(opendata_core::slate::At::Latest).await;
            let view = retired.map_err(|error| format!("what was {node} cannot be read: {error}"))?.view();
            self.ledger.collect(&super::check::Node { path: old.clone(), view }).await?;
            self.ledger.forked(old, Position::MAX, new);
        } else if matches!(done, Ok(Ok(_))) {
            return Err(format!("{node} was split or joined, and lies where it lay"));
        }
        self.spec = branch.spec.clone();
        self.settle().await;
        Ok(())
    }

    /// A split or a join that nobody dies of, so that no deadline has to pass. All nodes are open after it.
    pub(super) async fn only_split_or_join(&mut self) -> Check {
        let after = Duration::from_millis(self.rng.random_range(5..1_500));
        let shaper = if self.rng.random_bool(0.4) { Shaper::IsGivenUp(after) } else { Shaper::Lives };
        self.split_or_join(shaper).await?;
        let open = self.open_nodes();
        if let Some(node) = NODES.iter().find(|node| !open.iter().any(|(open, _)| open == *node)) {
            return Err(format!("node {node} is not opened again"));
        }
        self.look().await
    }

    /// In the end, the outside knows everything.
    pub(super) async fn all_is_told(&self, main: &ExternalComposite) -> Check {
        for edge in self.spec.edges.iter().filter(|edge| edge.to.is_external()) {
            let words = |error: opendata_core::Error| format!("in the end: {}: {error}", edge.id);
            let position = main.reader(&edge.from.node).await.map_err(words)?.view().position();
            let told = tokio::time::timeout(Duration::from_secs(300), main.wait_for_edge(edge, position)).await;
            told.map_err(|_| format!("in the end: {} tells no more", edge.id))?.map_err(words)?;
        }
        Ok(())
    }
}

/// Gives up after some time whatever split or join is under way then.
async fn give_up(observer: ExternalComposite, after: Option<Duration>) {
    let Some(after) = after else { return };
    tokio::time::sleep(after).await;
    let abort = |state: &State| {
        let shape = state.reshaping.as_ref().map(|reshaping| reshaping.shape.clone());
        Ok(shape.map(|shape| Said::ReshapeAbort { shape, reason: "it took too long".to_owned() }))
    };
    // Where it is not said, another entry came first.
    let _: opendata_core::Result<_> = observer.control().append_with(abort).await;
}
