//! `opendata checkpoint create | list | release`.

use clap::Subcommand;
use opendata_core::env::Env;
use opendata_core::slate;

use super::context::Context;
use crate::api::slate::{CheckpointIn, CheckpointOut, CheckpointsOut, ReleasedOut};
use crate::failure::Failure;
use crate::output::{Align, Table};
use crate::times;

const EXAMPLES: &str = "\
Examples:
  opendata checkpoint create before-migration --lifetime 7d
  opendata checkpoint list
  opendata log scan tenant-7 --at before-migration
  opendata fork what-if --at before-migration
  opendata checkpoint release before-migration";

/// Named, lasting instants of the whole slate: all its systems at one position.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Checkpoint {
    /// Make a checkpoint of everything committed so far.
    ///
    /// This command is the slate's writer for a moment, which ends a running `opendata run`: use --server beside one.
    Create {
        /// Its name.
        name: String,
        /// How long to keep it, such as 12h or 7d; until it is released, if left out.
        #[arg(long, value_name = "DURATION")]
        lifetime: Option<String>,
    },
    /// Show the checkpoints that have not expired, oldest first.
    List,
    /// Let a checkpoint go; what only it needs is collected later.
    Release {
        /// Its name.
        name: String,
    },
}

impl Checkpoint {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Create { name, lifetime } => create(cx, CheckpointIn { name, lifetime }).await,
            Self::List => list(cx).await,
            Self::Release { name } => release(cx, name).await,
        }
    }
}

async fn create(cx: &mut Context, wanted: CheckpointIn) -> Result<(), Failure> {
    let made: CheckpointOut = match cx.server()? {
        Some(server) => server.post("/v1/checkpoints", &wanted).await?,
        None => {
            let lifetime = wanted.lifetime.as_deref().map(times::parse_duration).transpose()?;
            let composite = cx.writer().await?;
            let made = composite.checkpoint(&wanted.name, lifetime).await;
            composite.close().await?;
            made?.into()
        }
    };
    cx.out.say(&made, || format!("checkpoint {} at position {}", made.name, made.position))
}

async fn list(cx: &mut Context) -> Result<(), Failure> {
    let found: CheckpointsOut = match cx.server()? {
        Some(server) => server.get("/v1/checkpoints").await?,
        None => {
            let node = cx.node()?;
            let found = slate::checkpoints(&node.store, &node.path().await?, &Env::system()).await?;
            CheckpointsOut { checkpoints: found.into_iter().map(Into::into).collect() }
        }
    };
    cx.out.say_table(&found, || {
        let mut table = Table::new([
            ("name", Align::Left),
            ("position", Align::Right),
            ("created", Align::Left),
            ("expires", Align::Left),
        ]);
        for checkpoint in &found.checkpoints {
            table.row([
                checkpoint.name.clone(),
                checkpoint.position.to_string(),
                times::show(checkpoint.created),
                checkpoint.expires.map_or_else(|| "never".to_owned(), times::show),
            ]);
        }
        table
    })
}

async fn release(cx: &mut Context, name: String) -> Result<(), Failure> {
    let released: ReleasedOut = match cx.server()? {
        Some(server) => server.delete(&["v1", "checkpoints", &name]).await?,
        None => {
            let node = cx.node()?;
            slate::release_checkpoint(&node.store, &node.path().await?, &name, &Env::system()).await?;
            ReleasedOut { released: name }
        }
    };
    cx.out.say(&released, || format!("released checkpoint {}", released.released))
}
