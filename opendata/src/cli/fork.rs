//! `opendata fork`.

use clap::Args;

use super::context::Context;
use super::joined::branch::Branches;
use crate::api::slate::{ForkIn, ForkOut};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  opendata fork what-if                               everything as it is now
  opendata fork what-if --at before-migration         as it was at a checkpoint; disturbs nobody
  opendata fork only-usage --instance usage           one instance, in a slate of its own
  opendata --path what-if log append tenant-7 'try'   write to the fork only
  opendata fork create trial --at nightly             a joined composition, as it was in a cut
  opendata fork list
  opendata fork discard trial";

/// Copy the slate in milliseconds: the fork shares every file with its parent until either is written.
///
/// The fork lies in the same store; use it with --path. Without --at this command is the slate's writer for a moment,
/// which ends a running `opendata run`: use --server beside one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(super) struct Fork {
    #[command(subcommand)]
    branches: Option<Branches>,
    /// The path of the new slate in the same store.
    #[arg(value_name = "PATH", required = true)]
    to: Option<String>,
    /// Fork what was at this checkpoint; without it, what is now.
    #[arg(long, value_name = "CHECKPOINT")]
    at: Option<String>,
    /// Fork only this instance, with its cursors.
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
}

impl Fork {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        if let Some(branches) = self.branches {
            return branches.execute(cx).await;
        }
        let wanted = ForkIn { path: self.to.unwrap_or_default(), at: self.at, instance: self.instance };
        let made: ForkOut = match cx.server()? {
            Some(server) => server.post("/v1/forks", &wanted).await?,
            None => fork(cx, wanted).await?,
        };
        cx.out.say(&made, || {
            format!("forked to {} at position {}\nuse it: opendata --path {} ...", made.path, made.position, made.path)
        })
    }
}

async fn fork(cx: &Context, wanted: ForkIn) -> Result<ForkOut, Failure> {
    let ForkIn { path, at, instance } = wanted;
    let fork = match (&at, &instance) {
        (Some(_), None) => cx.reader(at.as_deref()).await?.fork(&path).await?,
        (Some(_), Some(instance)) => cx.reader(at.as_deref()).await?.fork_instance(instance, &path).await?,
        (None, instance) => {
            let composite = cx.writer().await?;
            let forked = match instance {
                None => composite.slate().fork(&path).await,
                Some(instance) => composite.slate().fork_instance(instance, &path).await,
            };
            composite.close().await?;
            forked?
        }
    };
    Ok(ForkOut { path, position: fork.position })
}
