//! `opendata dlq list | replay | drop`: records that did not fit an edge, with the reason.

use clap::{Args, Subcommand};
use opendata_compose::ExternalComposite;
use opendata_compose::edge::{EdgeSpec, Letter, LetterKind, Letters};
use opendata_core::Error;
use opendata_core::slate::View;
use serde_json::{Value, json};

use super::super::context::Context;
use super::edge::Which;
use crate::failure::Failure;
use crate::output::{Align, Table};
use crate::times;

const EXAMPLES: &str = "\
Examples:
  opendata dlq list sales
  opendata dlq replay sales              after the edge was changed
  opendata dlq drop sales --letter 17.1.0";

/// Dead letters: records that an edge could not use, kept with the reason in the transaction that passed over them.
///
/// `replay` and `drop` are the writer of the sink's slate for a moment; whoever runs the node opens it again.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) enum Dlq {
    /// Show them, oldest first.
    List {
        #[command(flatten)]
        which: Which,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Pass their records through the edge again, as it is now. Those that fit are applied and removed.
    Replay(Chosen),
    /// Forget them.
    Drop(Chosen),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Chosen {
    #[command(flatten)]
    which: Which,
    /// Only this letter, as `list` names it.
    #[arg(long, value_name = "ID")]
    letter: Option<String>,
}

impl Dlq {
    pub(in crate::cli) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        match self {
            Self::List { which, limit } => list(cx, &which, limit).await,
            Self::Replay(chosen) => act(cx, &chosen, true).await,
            Self::Drop(chosen) => act(cx, &chosen, false).await,
        }
    }
}

async fn find(cx: &Context, which: &Which) -> Result<(ExternalComposite, EdgeSpec), Failure> {
    let composite = super::look(cx, which.branch.as_deref()).await?;
    let edge = composite.spec()?.find_edge(&which.edge)?.clone();
    Ok((composite, edge))
}

async fn list(cx: &mut Context, which: &Which, limit: usize) -> Result<(), Failure> {
    let (composite, edge) = find(cx, which).await?;
    let view = composite.reader(edge.runs_on()).await?.view();
    let letters = Letter::list(&view, edge.state_instance(), &edge.id, None, limit).await?;
    let said: Vec<Value> = letters
        .iter()
        .map(|letter| {
            json!({
                "letter": letter.id(), "position": letter.position, "reason": letter.reason,
                "kind": if letter.kind == LetterKind::Refused { "refused" } else { "late" },
                "stream": String::from_utf8_lossy(&letter.stream), "ingest_time": letter.ingest_time,
                "payload": String::from_utf8_lossy(&letter.payload),
            })
        })
        .collect();
    cx.out.say_table(&json!({"edge": edge.id, "letters": said}), || {
        let mut table = Table::new([
            ("letter", Align::Left),
            ("taken in", Align::Left),
            ("reason", Align::Left),
            ("payload", Align::Left),
        ]);
        for letter in &letters {
            let payload: String = String::from_utf8_lossy(&letter.payload).chars().take(60).collect();
            table.row([letter.id(), times::show(letter.ingest_time), letter.reason.clone(), payload]);
        }
        table
    })
}

async fn act(cx: &mut Context, chosen: &Chosen, replays: bool) -> Result<(), Failure> {
    let (composite, edge) = find(cx, &chosen.which).await?;
    let choose = |letter: &Letter| chosen.letter.as_ref().is_none_or(|wanted| letter.id() == *wanted);
    // Nobody is stopped writing for nothing.
    let view = composite.reader(edge.runs_on()).await?.view();
    let done = match (any(&view, &edge, choose).await?, &chosen.letter) {
        (true, _) if replays => composite.replay_letters(&edge.id, choose).await?,
        (true, _) => composite.drop_letters(&edge.id, choose).await?,
        (false, None) => Letters::default(),
        (false, Some(letter)) => {
            let hint = format!("`opendata dlq list {}` shows them", edge.id);
            return Err(Error::not_found(format!("no such letter, edge={}, letter={letter}; {hint}", edge.id)).into());
        }
    };
    let said = json!({"edge": edge.id, "removed": done.removed, "kept": done.kept});
    cx.out.say(&said, || match replays {
        true => format!("replayed {} letters, kept {} that do not fit", done.removed, done.kept),
        false => format!("dropped {} letters", done.removed),
    })
}

/// Whether there is a letter that is chosen.
async fn any(view: &View, edge: &EdgeSpec, choose: impl Fn(&Letter) -> bool) -> Result<bool, Error> {
    const AT_ONCE: usize = 1000;
    let mut behind = None;
    loop {
        let letters = Letter::list(view, edge.state_instance(), &edge.id, behind.as_ref(), AT_ONCE).await?;
        if letters.iter().any(&choose) {
            return Ok(true);
        }
        let Some(last) = letters.into_iter().last() else { return Ok(false) };
        behind = Some(last);
    }
}
