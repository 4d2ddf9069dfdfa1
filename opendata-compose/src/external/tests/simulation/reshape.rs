//! Nodes that are split and joined while records are appended, and edges to the outside that come to an end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use opendata_core::Position;
use rand::Rng;

use super::graph::{NODES, part};
use super::operations::PATIENCE;
use super::world::{Check, World};
use crate::control::MAIN;
use crate::external::ExternalComposite;

impl World {
    /// A node gives its metrics store away, or gets it back. Sometimes whoever does it dies in the middle of it.
    pub(super) async fn split_or_join(&mut self) -> Check {
        self.look().await?;
        let (at, open) = (self.any_process(), self.open_nodes());
        let node = NODES[self.rng.random_range(0..NODES.len())];
        let dies = self.rng.random_bool(0.25);
        let patience = if dies { Duration::from_millis(self.rng.random_range(5..800)) } else { PATIENCE };
        let burst = self.burst(open, 6);
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
        if dies {
            self.restart(at).await?;
        }
        self.appended(burst).await?;
        let decided = self.observer.wait_until(Duration::from_secs(300), |state| state.reshaping.is_none()).await;
        decided.map_err(|error| format!("the split or join of {node} is never decided: {error}"))?;
        let state = self.state().await?;
        let branch = state.branch(MAIN).map_err(|error| error.to_string())?;
        if let (Some(old), Some(new)) = (before.get(node), branch.nodes.get(node))
            && old != new
        {
            // What was retired is all that the new one begins with: it was looked at when nobody could write it any more.
            let retired = self.observer.0.systems.describe_any(self.machine.quiet(), old);
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
