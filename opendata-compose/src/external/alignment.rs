//! Where edges wait for one another in an aligned cut.
//!
//! An edge that meets a cut's barrier in its source has applied everything before it, and applies nothing behind it until its
//! sink has made its checkpoint for that cut, or the cut has ended.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use opendata_core::Position;
use opendata_core::announce::Announcer;
use tokio::sync::Notify;

use crate::edge::Barriers;

const MARK: &[u8] = b"cut:";

/// The id of a cut's barrier in the logs.
pub(crate) fn barrier_id(cut: &str) -> Vec<u8> {
    [MARK, cut.as_bytes()].concat()
}

fn cut_of(id: &[u8]) -> Option<&str> {
    std::str::from_utf8(id.strip_prefix(MARK)?).ok()
}

/// The edges that stand at barriers, by cut.
#[derive(Default)]
pub(crate) struct Alignments {
    standing: Announcer<BTreeMap<String, BTreeMap<String, Position>>>,
    arrival: Notify,
}

impl Alignments {
    /// Waits until an edge has come to a barrier.
    pub(crate) async fn arrival(&self) {
        self.arrival.notified().await;
    }

    /// The cuts at whose barriers edges stand.
    pub(crate) fn cuts(&self) -> Vec<String> {
        self.standing.now().into_keys().collect()
    }

    /// The edges that stand at a cut's barrier.
    pub(crate) fn standing(&self, cut: &str) -> BTreeSet<String> {
        self.standing.now().get(cut).map(|edges| edges.keys().cloned().collect()).unwrap_or_default()
    }

    /// Lets edges go on; all that stand at the cut's barrier if `keep` says so of none.
    pub(crate) fn release(&self, cut: &str, keep: impl Fn(&str) -> bool) {
        self.standing.modify(|standing| {
            let Some(edges) = standing.get_mut(cut) else { return false };
            let before = edges.len();
            edges.retain(|edge, _| keep(edge));
            let changed = edges.len() != before;
            if edges.is_empty() {
                standing.remove(cut);
            }
            changed
        });
    }
}

#[async_trait]
impl Barriers for Alignments {
    async fn arrived(&self, edge: &str, barrier: &[u8], at: Position) {
        // A barrier that somebody else put there means nothing here.
        let Some(cut) = cut_of(barrier) else { return };
        self.standing.modify(|all| {
            all.entry(cut.to_owned()).or_default().insert(edge.to_owned(), at);
            true
        });
        let mut standing = self.standing.audience().watch();
        self.arrival.notify_one();
        let stands = |all: &BTreeMap<String, BTreeMap<String, Position>>| {
            all.get(cut).is_some_and(|edges| edges.contains_key(edge))
        };
        // An edge that is stopped meanwhile drops this future; its place is taken away with it.
        let _place = Place { alignments: self, cut, edge };
        let _ = standing.wait_for(|all| !stands(all)).await;
    }
}

struct Place<'a> {
    alignments: &'a Alignments,
    cut: &'a str,
    edge: &'a str,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.alignments.release(self.cut, |edge| edge != self.edge);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn an_edge_stands_until_it_is_released_and_leaves_no_place_when_it_is_stopped() {
        let alignments = Arc::new(Alignments::default());
        let arrive = |edge: &'static str| {
            let alignments = Arc::clone(&alignments);
            tokio::spawn(async move { alignments.arrived(edge, b"cut:c", Position(3)).await })
        };
        let (a, b) = (arrive("a"), arrive("b"));
        while alignments.standing("c").len() < 2 {
            tokio::task::yield_now().await;
        }
        alignments.release("c", |edge| edge == "b");
        a.await.unwrap();
        assert_eq!(alignments.standing("c"), BTreeSet::from(["b".to_owned()]));
        b.abort();
        assert!(b.await.unwrap_err().is_cancelled());
        assert!(alignments.cuts().is_empty());
        alignments.arrived("a", b"somebody else's", Position(1)).await;
    }
}
