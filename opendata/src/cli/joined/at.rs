//! `opendata at <cut|time> <command>`: reads the past.

use clap::{Args, Parser};
use opendata_core::Error;

use super::super::Command;
use super::super::context::Context;
use crate::failure::Failure;
use crate::times;

const EXAMPLES: &str = "\
Examples:
  opendata --node metrics at nightly tsdb query 'sum(sales_total)'
  opendata --node events at 15m log scan --all          the newest cut from a quarter of an hour ago, or earlier
  opendata at before-migration verify                   also of the whole composition

It is the same as giving the command `--at` with the name of the cut.";

/// Read the past: as it was in a cut, or in the newest cut at or before a time. Any command that reads may follow.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct At {
    /// A cut, a checkpoint of a single slate, or a time such as 15m (ago) or 2026-01-31T12:00:00Z.
    when: String,
    /// What to read, as without `at`.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// The command that follows.
#[derive(Debug, Parser)]
#[command(name = "opendata at", no_binary_name = true)]
struct Inner {
    #[command(subcommand)]
    command: Command,
}

impl At {
    pub(in crate::cli) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let name = self.cut(cx).await?;
        let args = self.command.iter().cloned().chain(["--at".to_owned(), name]);
        let inner = Inner::try_parse_from(args).map_err(|error| {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Error::invalid(format!("this cannot be read in the past: {first}"))
        })?;
        inner.command.execute(cx).await
    }

    /// The name of the cut that is meant.
    async fn cut(&self, cx: &Context) -> Result<String, Failure> {
        if !cx.composition()?.is_joined() {
            return Ok(self.when.clone());
        }
        let composite = super::look(cx, None).await?;
        let state = composite.state();
        if state.committed_cut(&self.when).is_ok() {
            return Ok(self.when.clone());
        }
        let known: Vec<&str> = state.cuts.keys().map(String::as_str).collect();
        let time = times::parse_time(&self.when).map_err(|_| {
            let known = known.join(", ");
            Error::not_found(format!("neither a cut that can be used nor a time, found={}, cuts=[{known}]", self.when))
        })?;
        let found = state.newest_cut(composite.branch(), time).map(|(name, _)| name.to_owned());
        found.ok_or_else(|| {
            Error::not_found(format!("there is no cut from that time or earlier, time={}", times::show(time))).into()
        })
    }
}
