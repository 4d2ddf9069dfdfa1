//! Letters, looked after by whoever asks: as the owner of the sink's node, or as its writer for a moment.

use std::time::Duration;

use opendata_core::{Error, ErrorKind, Result};

use super::ExternalComposite;
use super::nodes::may_write;
use crate::edge::transform::{Pipeline, Transform};
use crate::edge::{EdgeSpec, Letter, Letters, over_letters};
use crate::internal::InternalComposite;

/// How often a node is opened again whose owner took it back. Each time what was done is kept, and the next begins behind it.
const TRIES: u32 = 12;

impl ExternalComposite {
    /// Forgets letters of an edge. If another process owns the node of its sink, this one is its writer for a moment; the owner opens it again.
    ///
    /// # Errors
    /// `NotFound` if there is no such edge, or its sink was never opened; `Conflict` if the branch is not written now; `Fenced` if the owner took the node back
    /// again and again: letters that are gone by then stay gone; what the store returned.
    pub async fn drop_letters(&self, edge: &str, choose: impl Fn(&Letter) -> bool) -> Result<Letters> {
        self.over_letters(self.spec()?.find_edge(edge)?, choose, None).await
    }

    /// Passes the records of letters through the edge's transform again, as it is now. Those that fit have their effect in the transaction that removes
    /// their letter; the others stay. A value that was late for its window stays late.
    ///
    /// # Errors
    /// Those of [`drop_letters`](Self::drop_letters), and `Unavailable` if the edge delivers outside and that failed.
    pub async fn replay_letters(&self, edge: &str, choose: impl Fn(&Letter) -> bool) -> Result<Letters> {
        let spec = self.spec()?;
        let edge = spec.find_edge(edge)?;
        let transform = Pipeline::new(edge)?;
        self.over_letters(edge, choose, Some(&transform)).await
    }

    async fn over_letters(
        &self,
        edge: &EdgeSpec,
        choose: impl Fn(&Letter) -> bool,
        replay: Option<&dyn Transform>,
    ) -> Result<Letters> {
        let (mut total, mut attempt) = (Letters::default(), 0);
        loop {
            total.kept = 0;
            match self.over_letters_once(edge, &choose, replay, &mut total).await {
                Err(error) if error.kind() == ErrorKind::Fenced && attempt < TRIES => {
                    tracing::info!(edge = edge.id, %error, "the node of a sink was taken back by its owner; opening it again");
                }
                done => return done.map(|()| total),
            }
            tokio::time::sleep(Duration::from_millis(10 << attempt.min(7))).await;
            attempt += 1;
        }
    }

    async fn over_letters_once(
        &self,
        edge: &EdgeSpec,
        choose: impl Fn(&Letter) -> bool,
        replay: Option<&dyn Transform>,
        total: &mut Letters,
    ) -> Result<()> {
        if let Some(own) = self.node_if_owned(edge.runs_on()) {
            return over_letters(own.slate(), edge, choose, replay, total).await;
        }
        let sink = self.open_briefly(edge.runs_on()).await?;
        let done = over_letters(sink.slate(), edge, choose, replay, total).await;
        let closed = sink.close().await;
        // What was done is durable by then, whoever took the node since.
        done.and(closed.or_else(|error| if error.kind() == ErrorKind::Fenced { Ok(()) } else { Err(error) }))
    }

    /// Becomes the writer of a node that someone else may own.
    async fn open_briefly(&self, node: &str) -> Result<InternalComposite> {
        let state = self.0.control.refresh().await?;
        may_write(&state, &self.0.branch)?;
        let branch = state.branch(&self.0.branch)?;
        let missing = || Error::not_found(format!("no such node, node={node}"));
        let (path, spec) = branch.nodes.get(node).zip(branch.spec.nodes.get(node)).ok_or_else(missing)?;
        self.0.writing(path, spec)?.must_exist().briefly().open().await
    }
}
