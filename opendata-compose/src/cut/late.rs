//! What a cut that was not done in time was waiting for.

use opendata_core::slate::{At, View};
use opendata_core::{Position, Result};
use opendata_log::Log;

use crate::control::{Cut, CutMode, State};
use crate::edge::{Cursor, EdgeSpec};
use crate::external::Inner;

/// An edge that has not come to the barrier of an aligned cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Behind {
    pub(crate) edge: String,
    /// How many records lie before it, if that could be found out.
    pub(crate) lag: Option<u64>,
}

impl Inner {
    /// The edges into nodes without a checkpoint that have not passed the barrier in their source. The slowest comes first.
    pub(super) async fn behind(&self, cut: &Cut) -> Vec<Behind> {
        let state = self.control.state();
        let mut behind = Vec::new();
        for edge in cut.spec.edges.iter().filter(|edge| waits(cut, &state, edge)) {
            let Some(source) = cut.members.get(&edge.from.node) else { continue };
            match self.left_before(cut, edge, source.position).await {
                Ok(Some(0)) => {}
                Ok(lag) => behind.push(Behind { edge: edge.id.clone(), lag }),
                Err(error) => {
                    tracing::debug!(edge = edge.id, %error, "how far an edge is behind cannot be found out");
                    behind.push(Behind { edge: edge.id.clone(), lag: None });
                }
            }
        }
        behind.sort_by_key(|behind| std::cmp::Reverse(behind.lag));
        behind
    }

    /// How many records of its source an edge has not applied, if it has not come to a position.
    async fn left_before(&self, cut: &Cut, edge: &EdgeSpec, barrier: Position) -> Result<Option<u64>> {
        let (Some(source), Some(sink)) =
            (self.newest(cut, &edge.from.node).await?, self.newest(cut, edge.runs_on()).await?)
        else {
            return Ok(None);
        };
        let log = source.get_reader::<Log>(&edge.from.instance)?;
        let cursor = Cursor::read(&sink, edge.state_instance(), &edge.id).await?;
        match cursor.map(|cursor| cursor.next) {
            Some(next) if next > barrier => Ok(Some(0)),
            Some(next) => log.lag_all(next).await.map(Some),
            None => log.lag_all(log.trim_point().await?).await.map(Some),
        }
    }

    async fn newest(&self, cut: &Cut, node: &str) -> Result<Option<View>> {
        let Some(path) = cut.nodes.get(node) else { return Ok(None) };
        if let Some(composite) = self.owned_at(node, path) {
            return Ok(Some(composite.durable_view()));
        }
        Ok(Some(self.reading(path).read(At::Latest).await?.view()))
    }
}

/// Whether a cut waits for an edge to bring its barrier to a node.
fn waits(cut: &Cut, state: &State, edge: &EdgeSpec) -> bool {
    let (_, feedback) = cut.spec.sinks_first();
    let said = state.branches.get(&cut.branch).and_then(|branch| branch.edges.get(&edge.id));
    let sink = edge.to.node.as_deref();
    cut.mode == CutMode::Aligned
        && sink.is_some_and(|sink| sink != edge.from.node && !cut.members.contains_key(sink))
        && !feedback.contains(&edge.id)
        && !said.is_some_and(|said| said.paused || said.suspended)
}

/// As part of an error.
pub(super) fn told(behind: &[Behind]) -> String {
    let one = |behind: &Behind| match behind.lag {
        Some(lag) => format!("{} by {lag} records", behind.edge),
        None => format!("{} by an unknown number of records", behind.edge),
    };
    behind.iter().map(one).collect::<Vec<_>>().join(", ")
}
