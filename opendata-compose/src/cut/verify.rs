//! Verifying a cut: every checkpoint is opened, and every edge is held against its source.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use opendata_core::slate::{Ancestor, At, SlateReader};
use opendata_core::{Error, Result};
use opendata_log::Log;

use crate::control::{Cut, CutEdge};
use crate::edge::{Cursor, EdgeSpec};
use crate::external::Inner;

impl Inner {
    /// Opens every member of a cut and checks the inequality for every edge. Returns what the edges stood at.
    pub(super) async fn verify_cut(&self, cut: &Cut) -> Result<BTreeMap<String, CutEdge>> {
        let opened = cut.members.iter().map(|(node, member)| async move {
            let at = At::Checkpoint(member.checkpoint.clone());
            let reader = self.reading(&member.path).read(at).await?;
            let (slate, position) = (reader.slate_id().to_string(), reader.view().position());
            if slate != member.slate || position != member.position {
                return Err(Error::conflict(format!(
                    "the checkpoint is not what was said, node={node}, slate={slate}, position={position}, said={}@{}",
                    member.slate, member.position
                )));
            }
            Ok((node.as_str(), reader))
        });
        let members: BTreeMap<&str, SlateReader> = try_join_all(opened).await?.into_iter().collect();
        let edges = cut.spec.edges.iter().map(|edge| async {
            let stood = stood_at(edge, &members).await?;
            stood.check(&edge.id)?;
            Ok::<_, Error>((edge.id.clone(), stood))
        });
        Ok(try_join_all(edges).await?.into_iter().collect())
    }
}

/// What an edge stood at in a cut.
async fn stood_at(edge: &EdgeSpec, members: &BTreeMap<&str, SlateReader>) -> Result<CutEdge> {
    let member = |node: &str| {
        members
            .get(node)
            .ok_or_else(|| Error::not_found(format!("the cut has no such node, edge={}, node={node}", edge.id)))
    };
    let (source, keeper) = (member(&edge.from.node)?, member(edge.runs_on())?);
    let cursor = Cursor::read(&keeper.view(), edge.state_instance(), &edge.id).await?;
    let log = source.get::<Log>(&edge.from.instance)?;
    let view = source.view();
    if let Some(cursor) = &cursor {
        check_lineage(&edge.id, cursor, &source.slate_id().to_string(), &source.lineage())?;
    }
    Ok(CutEdge {
        generation: cursor.as_ref().map(|cursor| cursor.generation),
        next: cursor.as_ref().map(|cursor| cursor.next),
        watermark: cursor.as_ref().map(|cursor| cursor.watermark).filter(|time| time.0 > i64::MIN),
        digest: edge.digest()?.to_string(),
        trim: view.on(&log)?.trim_point().await?,
        head: view.position(),
    })
}

/// A cursor speaks of the positions of one slate. It is valid in a fork of that slate up to where the fork left it.
fn check_lineage(edge: &str, cursor: &Cursor, source: &str, lineage: &[Ancestor]) -> Result<()> {
    let of = cursor.source.to_string();
    if of == source {
        return Ok(());
    }
    match lineage.iter().find(|ancestor| ancestor.slate_id.to_string() == of) {
        Some(ancestor) if cursor.next <= ancestor.fork_position.next() => Ok(()),
        Some(ancestor) => Err(Error::conflict(format!(
            "the edge has read past the point where its source was forked, edge={edge}, next={}, forked_at={}",
            cursor.next, ancestor.fork_position
        ))),
        None => {
            Err(Error::conflict(format!("the edge has read another slate, edge={edge}, slate={of}, source={source}")))
        }
    }
}
