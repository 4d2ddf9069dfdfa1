//! Tokens of commits: read your own writes through edges.
//!
//! A token names a node and a position in it. At a node downstream it is reached once every edge on every way from the one to the other
//! has applied everything up to it. Along a way of several edges the position is translated: what the next node held when the edge
//! had passed the position is where the edge behind it must come.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use opendata_core::slate::{SlateReader, View};
use opendata_core::{Error, Position, Result};
use opendata_log::{Log, ScanOptions};

use super::ExternalComposite;
use crate::edge::{Cursor, EdgeSpec, streams_of};
use crate::internal::InternalComposite;
use crate::spec::Composition;

/// Names a commit of a node, so that others can wait for what follows from it. As text: `<node>@<position>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// The node.
    pub node: String,
    /// The commit's position.
    pub position: Position,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.node, self.position)
    }
}

impl FromStr for Token {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.rsplit_once('@').and_then(|(node, at)| Some((node, at.parse().ok()?)));
        let (node, position) =
            parsed.ok_or_else(|| Error::invalid(format!("a token is <node>@<position>, token={text:?}")))?;
        Ok(Self { node: node.to_owned(), position: Position(position) })
    }
}

impl ExternalComposite {
    /// Waits until everything that follows at `node` from the commit of a token can be read there. Returns the position of that
    /// node at which it can.
    ///
    /// # Errors
    /// `Invalid` if no edges lead from the token's node to this one; `Unavailable` if it did not come within `timeout`, saying which
    /// edge was waited for; what the store returned.
    pub async fn wait_for(&self, token: &Token, node: &str, timeout: Duration) -> Result<Position> {
        let spec = self.spec()?;
        let between = between(&spec, &token.node, node);
        if !between.contains(node) {
            return Err(Error::invalid(format!("no edges lead from {} to {node}", token.node)));
        }
        let mut reached = BTreeMap::from([(token.node.clone(), token.position)]);
        let waiting_for = std::sync::Mutex::new(String::new());
        let walk = async {
            // Sources first: the reverse of the order in which cuts are taken.
            let (order, feedback) = spec.sinks_first();
            for at in order.into_iter().rev().filter(|at| between.contains(at) && *at != token.node) {
                let edges: Vec<_> = spec
                    .edges_into(&at)
                    .filter(|edge| between.contains(&edge.from.node) && !feedback.contains(&edge.id))
                    .filter_map(|edge| reached.get(&edge.from.node).map(|position| (edge, *position)))
                    .collect();
                let mut position = Position::ZERO;
                for (edge, needed) in edges {
                    edge.id.clone_into(&mut waiting_for.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
                    position = position.max(self.wait_for_edge(edge, needed).await?);
                }
                reached.insert(at, position);
            }
            reached.get(node).copied().ok_or_else(|| Error::invalid(format!("no edges lead to {node}")))
        };
        if let Ok(position) = tokio::time::timeout(timeout, walk).await {
            return position;
        }
        let edge = waiting_for.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        Err(Error::unavailable(format!("the commit has not arrived in time, token={token}, node={node}, edge={edge}")))
    }

    /// Waits until everything of an edge's source up to a position has its effect in the sink. Returns the sink's position then.
    pub(crate) async fn wait_for_edge(&self, edge: &EdgeSpec, needed: Position) -> Result<Position> {
        const POLL: Duration = Duration::from_millis(20);
        let keeper = Shown::open(self, edge.runs_on()).await?;
        let source = Shown::open(self, &edge.from.node).await?;
        loop {
            let view = keeper.view().await?;
            let cursor = Cursor::read(&view, edge.state_instance(), &edge.id).await?;
            let next = cursor.map(|cursor| cursor.next);
            if next.is_some_and(|next| next > needed) {
                return Ok(view.position());
            }
            // The cursor does not move for what is not the edge's: other instances of the source, other streams.
            let shown = source.view().await?;
            if shown.position() >= needed && !has_records(&shown, edge, next, needed).await? {
                return Ok(view.position());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// What is durable in a node, whoever owns it.
enum Shown {
    Owned(InternalComposite),
    Read(SlateReader),
}

impl Shown {
    async fn open(composite: &ExternalComposite, node: &str) -> Result<Self> {
        match composite.node_if_owned(node) {
            Some(owned) => Ok(Self::Owned(owned)),
            None => Ok(Self::Read(composite.reader(node).await?)),
        }
    }

    async fn view(&self) -> Result<View> {
        match self {
            Self::Owned(composite) => match composite.slate().failure() {
                None => Ok(composite.durable_view()),
                Some(error) => Err(error),
            },
            Self::Read(reader) => reader.refresh().await,
        }
    }
}

/// Whether a source holds records for an edge from `next` on up to a position, both included.
async fn has_records(source: &View, edge: &EdgeSpec, next: Option<Position>, upto: Position) -> Result<bool> {
    let reader = source.get_reader::<Log>(&edge.from.instance)?;
    let from = match next {
        Some(next) => next,
        None => reader.trim_point().await?,
    };
    if from > upto {
        return Ok(false);
    }
    let options = ScanOptions { max_records: Some(1), ..ScanOptions::of(streams_of(&edge.from.streams)) };
    Ok(reader.scan_with(options.within(from..=upto)).await?.next().await?.is_some())
}

/// The nodes on any way from one node to another, both included; without the other if there is no way.
fn between(spec: &Composition, from: &str, to: &str) -> BTreeSet<String> {
    let step = |start: &str, next: &dyn Fn(&str) -> Vec<String>| {
        let mut seen = BTreeSet::from([start.to_owned()]);
        let mut open = vec![start.to_owned()];
        while let Some(node) = open.pop() {
            for found in next(&node) {
                if seen.insert(found.clone()) {
                    open.push(found);
                }
            }
        }
        seen
    };
    let down = step(from, &|node| spec.edges_out_of(node).filter_map(|edge| edge.to.node.clone()).collect());
    let up = step(to, &|node| spec.edges_into(node).map(|edge| edge.from.node.clone()).collect());
    down.intersection(&up).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(edges: &[(&str, &str)]) -> Composition {
        let edges = edges.iter().map(|(from, to)| EdgeSpec::new(&format!("{from}-{to}"), (from, "l"), (to, "l")));
        Composition { edges: edges.collect(), ..Composition::default() }
    }

    #[test]
    fn what_lies_between_two_nodes_is_on_a_way_from_one_to_the_other() {
        let spec = spec(&[("a", "b"), ("b", "d"), ("a", "c"), ("c", "d"), ("d", "e"), ("x", "d"), ("b", "y")]);
        let names = |found: BTreeSet<String>| found.into_iter().collect::<Vec<_>>().join("");
        assert_eq!(names(between(&spec, "a", "d")), "abcd");
        assert_eq!(names(between(&spec, "a", "y")), "aby");
        assert_eq!(names(between(&spec, "e", "a")), "");
    }

    #[test]
    fn a_token_reads_back_as_it_is_printed() {
        let token = Token { node: "a@b".into(), position: Position(7) };
        assert_eq!(token.to_string().parse::<Token>().unwrap(), token);
        assert!("a".parse::<Token>().is_err() && "a@x".parse::<Token>().is_err());
    }
}
