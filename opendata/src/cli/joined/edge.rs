//! `opendata pause | resume | reset | explain`.

use clap::{ArgGroup, Args};
use opendata_compose::Position;
use opendata_compose::control::ResetTo;
use serde_json::json;

use super::super::context::Context;
use crate::failure::Failure;
use crate::times;

/// Which edge.
#[derive(Debug, Args)]
pub(in crate::cli) struct Which {
    /// The edge's id.
    pub(super) edge: String,
    /// Another branch than main.
    #[arg(long, value_name = "NAME")]
    pub(super) branch: Option<String>,
}

/// Let an edge stand still. It keeps its place.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  opendata pause sales\n  opendata status")]
pub(in crate::cli) struct Pause {
    #[command(flatten)]
    which: Which,
}

impl Pause {
    pub(in crate::cli) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let Which { edge, branch } = self.which;
        super::look(cx, branch.as_deref()).await?.pause(&edge).await?;
        cx.out.say(&json!({"paused": edge}), || format!("edge {edge} stands still"))
    }
}

/// Let an edge go on, one that leaves a fork among them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  opendata resume sales\n  opendata resume alerts --branch trial")]
pub(in crate::cli) struct Resume {
    #[command(flatten)]
    which: Which,
}

impl Resume {
    pub(in crate::cli) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let Which { edge, branch } = self.which;
        super::look(cx, branch.as_deref()).await?.resume(&edge).await?;
        cx.out.say(&json!({"resumed": edge}), || format!("edge {edge} goes on"))
    }
}

const RESET_EXAMPLES: &str = "\
Examples:
  opendata reset titles --start
  opendata reset sales --tail                      leave out what it has not read
  opendata reset sales --time 2026-01-31T12:00:00Z --again

Samples and documents that are written once more are the same as before. Records of a log, what is added to counters, and deliveries would
be there twice: such a reset is refused unless --again says that this is wanted. `opendata backfill` makes them anew without that.";

/// Let an edge start anew at another place of its source, in a new generation. What it wrote before stays.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("place").required(true)))]
#[command(after_help = RESET_EXAMPLES)]
pub(in crate::cli) struct Reset {
    #[command(flatten)]
    which: Which,
    /// At the oldest record that is kept.
    #[arg(long, group = "place")]
    start: bool,
    /// Behind everything there is.
    #[arg(long, group = "place")]
    tail: bool,
    /// At a position of the source.
    #[arg(long, group = "place", value_name = "POSITION")]
    position: Option<u64>,
    /// At the first record that was taken in at this time or later.
    #[arg(long, group = "place", value_name = "TIME")]
    time: Option<String>,
    /// Also if its sink then holds something twice, or windows that are made of a part of their values.
    #[arg(long)]
    again: bool,
}

impl Reset {
    pub(in crate::cli) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let to = match (self.position, &self.time) {
            (Some(position), _) => ResetTo::Position(Position(position)),
            (_, Some(time)) => ResetTo::Time(times::parse_time(time)?),
            _ if self.tail => ResetTo::Tail,
            _ => ResetTo::Start,
        };
        let Which { edge, branch } = self.which;
        let composite = super::look(cx, branch.as_deref()).await?;
        match self.again {
            true => composite.reset_again(&edge, to).await?,
            false => composite.reset(&edge, to).await?,
        }
        let generation = composite
            .state()
            .branch(composite.branch())?
            .edges
            .get(&edge)
            .map(|state| state.generation)
            .unwrap_or_default();
        let said = json!({"reset": edge, "to": to, "generation": generation});
        cx.out.say(&said, || format!("edge {edge} starts anew in generation {generation}"))
    }
}

/// Show everything about an edge: what it is, what follows from that, and where it stands.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  opendata explain sales")]
pub(in crate::cli) struct Explain {
    #[command(flatten)]
    which: Which,
}

impl Explain {
    pub(in crate::cli) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let Which { edge, branch } = self.which;
        let composite = super::look(cx, branch.as_deref()).await?;
        let spec = composite.spec()?;
        let found = spec.find_edge(&edge)?;
        let rows = super::status::rows(&composite).await?;
        let row = rows.into_iter().find(|row| row.edge == edge);
        let said = json!({
            "edge": found,
            "runs_on": found.runs_on(),
            "state_in": format!("{}/{}", found.runs_on(), found.state_instance()),
            "guarantee": found.guarantee(),
            "repeatable": found.is_repeatable(),
            "digest": found.digest()?.to_string(),
            "status": row,
        });
        let text = serde_json::to_string_pretty(&said).unwrap_or_default();
        cx.out.say(&said, || text)
    }
}
