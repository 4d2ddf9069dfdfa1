//! `opendata backfill`.

use std::time::Duration;

use clap::{ArgGroup, Args};
use opendata_compose::Position;
use opendata_compose::control::ResetTo;
use opendata_compose::external::Backfill;
use opendata_core::Error;
use serde_json::json;

use super::super::context::Context;
use super::edge::Which;
use crate::failure::Failure;
use crate::times;

const EXAMPLES: &str = "\
Examples:
  opendata backfill sales                    what the file says of the edge, from the oldest record on
  opendata backfill sales --time 7d
  opendata backfill sales --cancel           give it up; the edge goes on as it was

A second generation of the edge, `sales.next`, runs beside the first from the place that is named, until it has met it; then one commit puts it in its
place, with every record applied exactly once by either. It is made as the composition file says now: with other steps, or into another
instance of the same node. Counters and records of a log would be there twice in one instance, so such edges need another one: change
`to.instance` in the file. If this command is ended, the second generation goes on; the same command takes the wait up again.";

/// Let an edge make everything anew, from an older place of its source, and take over exactly where it has caught up.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group(ArgGroup::new("place")))]
pub(in crate::cli) struct BackfillIt {
    #[command(flatten)]
    which: Which,
    /// From this position of the source on; from the oldest record that is kept, by default.
    #[arg(long, group = "place", value_name = "POSITION")]
    position: Option<u64>,
    /// From the first record that was taken in at this time or later.
    #[arg(long, group = "place", value_name = "TIME")]
    time: Option<String>,
    /// Give a backfill up that is under way.
    #[arg(long, group = "place")]
    cancel: bool,
    /// How long to wait until it has caught up.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = times::parse_duration)]
    timeout: Duration,
}

impl BackfillIt {
    pub(in crate::cli) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let Which { edge, branch } = self.which;
        let composite = super::look(cx, branch.as_deref()).await?;
        if self.cancel {
            composite.cancel_backfill(&edge).await?;
            return cx.out.say(&json!({"cancelled": edge}), || format!("edge {edge} goes on as it was"));
        }
        let file = cx.composition()?.joint()?;
        let known: Vec<_> = file.edges.iter().map(|edge| edge.id.as_str()).collect();
        let wanted = file.edge(&edge).cloned().ok_or_else(|| {
            Error::not_found(format!(
                "the composition file has no such edge, edge={edge}, edges=[{}]",
                known.join(", ")
            ))
        })?;
        let from = match (self.position, &self.time) {
            (Some(position), _) => ResetTo::Position(Position(position)),
            (_, Some(time)) => ResetTo::Time(times::parse_time(time)?),
            _ => ResetTo::Start,
        };
        let instances = file.nodes.get(wanted.runs_on()).map(|node| node.instances.clone()).unwrap_or_default();
        let backfill = Backfill { edge: wanted, from, instances, timeout: self.timeout };
        let mut progress = cx.out.progress("backfill", None);
        let done = composite.backfill(&backfill, &mut |records| progress.advance(records, 0)).await;
        progress.finish();
        let done = done?;
        let said =
            json!({"edge": edge, "generation": done.generation, "next": done.next, "applied": done.counts.applied});
        cx.out.say(&said, || {
            format!("edge {edge} has made everything anew: generation {}, next position {}", done.generation, done.next)
        })
    }
}
