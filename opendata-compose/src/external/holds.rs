//! Holding the retention of logs for the edges that read them, in whatever process those run.

use std::collections::BTreeMap;

use opendata_core::slate::At;
use opendata_core::{DataSystem, ErrorKind, Result};
use opendata_log::Log;

use super::Inner;
use crate::edge::{Cursor, EdgeSpec, hold};

impl Inner {
    /// Holds each log of a node that is open here at the cursors of the edges that read it, and lets go of what edges held that are no
    /// longer there.
    pub(super) async fn hold_sources(&self) -> Result<()> {
        let Ok(branch) = self.branch_state() else { return Ok(()) };
        for (node, owned) in self.nodes.all() {
            let mut by_log: BTreeMap<&str, Vec<&EdgeSpec>> = BTreeMap::new();
            // Logs that nobody reads any more are looked at as well.
            let instances = branch.spec.nodes.get(&node).map(|spec| &spec.instances).into_iter().flatten();
            for (instance, _) in instances.filter(|(_, spec)| spec.system == Log::NAME) {
                by_log.entry(instance).or_default();
            }
            for edge in branch.spec.edges_out_of(&node) {
                by_log.entry(&edge.from.instance).or_default().push(edge);
            }
            let slate = owned.composite.slate();
            for (instance, edges) in by_log {
                let mut cursors = Vec::with_capacity(edges.len());
                for edge in &edges {
                    cursors.push(self.cursor_of(edge).await?);
                }
                let log = slate.get::<Log>(instance)?;
                let held: Vec<_> = edges.iter().copied().zip(cursors.iter().map(Option::as_ref)).collect();
                hold::hold(slate, &log, &held).await?;
                for name in slate.view().on(&log)?.cursors().await?.into_keys() {
                    let of_edge = std::str::from_utf8(&name).ok().and_then(|name| name.strip_prefix("edge/"));
                    if let Some(gone) = of_edge.filter(|id| !edges.iter().any(|edge| edge.id == **id)) {
                        hold::release(slate, &log, gone).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Where an edge stands, in whatever process it runs; none if it never ran.
    async fn cursor_of(&self, edge: &EdgeSpec) -> Result<Option<Cursor>> {
        if let Some(owned) = self.nodes.get(edge.runs_on()) {
            return Cursor::read(&owned.composite.durable_view(), edge.state_instance(), &edge.id).await;
        }
        let branch = self.branch_state()?;
        let Some(path) = branch.nodes.get(edge.runs_on()) else { return Ok(None) };
        match self.reading(path).read(At::Latest).await {
            Ok(reader) => Cursor::read(&reader.view(), edge.state_instance(), &edge.id).await,
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
