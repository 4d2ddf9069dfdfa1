//! The command line: what can be said, and who does it.

mod checkpoint;
mod context;
mod fork;
mod init;
mod inspect;
mod joined;
mod lines;
mod log;
mod rules;
mod run;
mod schema;
mod stats;
mod tsdb;
mod vector;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use self::context::Context;
pub(crate) use self::context::{instance_in, instance_of};
use crate::failure::{EXIT_CODES, Failure};
use crate::output::{self, Format, Output, When};

const EXAMPLES: &str = "\
Examples:
  opendata init                                    write ./opendata.yaml and make its slate
  opendata log append tenant-7 '42 tokens'         one durable record
  cat events.txt | opendata log append tenant-7    a record a line
  opendata log scan --all --since 1h               what every stream got in the last hour
  echo 'up{job=\"api\"} 1' | opendata tsdb write     samples, as Prometheus writes them
  opendata tsdb query 'sum by (job) (up)'
  opendata checkpoint create before-migration --lifetime 7d
  opendata log scan tenant-7 --at before-migration the past
  opendata fork what-if --at before-migration      a copy that shares every file
  opendata --path what-if log append tenant-7 x    the fork goes its own way
  opendata run                                     serve it over HTTP
  opendata --server http://127.0.0.1:8080 log append tenant-7 'through the server'

Who writes: a slate has one writer at a time. A command that writes takes the slate over, also from a running `opendata run`,
which then ends. To write beside a server, go through it with --server (or OPENDATA_SERVER). Commands that read disturb nobody.

";

/// Event log and metrics in one slate on object storage: one commit, one view, one checkpoint, one fork.
#[derive(Debug, Parser)]
#[command(name = "opendata", version, about, after_long_help = format!("{EXAMPLES}{EXIT_CODES}"), subcommand_required = true)]
#[command(
    after_help = "`opendata --help` shows examples and exit codes; `opendata <command> --help` those of a command."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The composition file.
    #[arg(short, long, global = true, env = "OPENDATA_FILE", default_value = crate::composition::DEFAULT_FILE, value_name = "FILE")]
    file: std::path::PathBuf,
    /// Another store than the file's, such as file:./copy or s3://bucket/prefix.
    #[arg(long, global = true, env = "OPENDATA_STORE", value_name = "URL")]
    store: Option<String>,
    /// Which node of the composition; the only one by default.
    #[arg(long, global = true, env = "OPENDATA_NODE", value_name = "NAME")]
    node: Option<String>,
    /// Another path in the store than the node's: a fork.
    #[arg(long, global = true, value_name = "PATH")]
    path: Option<String>,
    /// Go through a running `opendata run` instead of to the store.
    #[arg(long, global = true, env = "OPENDATA_SERVER", value_name = "URL")]
    server: Option<String>,
    /// JSON for programs; errors too.
    #[arg(long, global = true)]
    json: bool,
    /// Show how far long work is.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", num_args = 0..=1, require_equals = true, default_missing_value = "always")]
    progress: When,
    /// What to log to standard error, such as `info` or `warn,opendata_core=debug`.
    #[arg(long, global = true, env = "OPENDATA_LOG", value_name = "FILTER")]
    log: Option<Targets>,
}

impl Global {
    /// The options that say what is served, by their names.
    fn flags(&self) -> Vec<(String, String)> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let file = self.file.display().to_string();
        [("file", file), ("store", text(&self.store)), ("node", text(&self.node)), ("path", text(&self.path))]
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Run(run::Run),
    #[command(subcommand)]
    Log(log::Log),
    #[command(subcommand)]
    Tsdb(tsdb::Tsdb),
    #[command(subcommand)]
    Vector(vector::Vector),
    #[command(subcommand)]
    Rules(rules::Rules),
    #[command(subcommand)]
    Checkpoint(checkpoint::Checkpoint),
    Fork(fork::Fork),
    Validate(joined::plan::Validate),
    Plan(joined::plan::PlanIt),
    Apply(joined::plan::Apply),
    Status(joined::status::Status),
    Lag(joined::status::Lag),
    Explain(joined::edge::Explain),
    Pause(joined::edge::Pause),
    Resume(joined::edge::Resume),
    Reset(joined::edge::Reset),
    Backfill(joined::backfill::BackfillIt),
    Verify(joined::verify::Verify),
    #[command(subcommand)]
    Dlq(joined::letters::Dlq),
    #[command(subcommand)]
    Cut(joined::cut::Cut),
    Restore(joined::branch::Restore),
    Promote(joined::branch::Promote),
    Split(joined::reshape::Split),
    Join(joined::reshape::Join),
    At(joined::at::At),
    Wait(joined::wait::Wait),
    Export(joined::branch::Export),
    Import(joined::branch::Import),
    Inspect(inspect::Inspect),
    Stats(stats::Stats),
    Schema(schema::Schema),
}

/// Reads the command line, does what it says, and tells how it went.
pub(crate) fn run() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    let format = if global.json { Format::Json } else { Format::Table };
    let default = if matches!(command, Command::Run(_)) { tracing::Level::INFO } else { tracing::Level::ERROR };
    log_to_stderr(global.log.clone().unwrap_or_else(|| Targets::new().with_default(default)));
    match execute(global, command, format) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::report(&failure, format);
            ExitCode::from(failure.code())
        }
    }
}

fn log_to_stderr(filter: Targets) {
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(layer).with(filter).init();
}

fn execute(global: Global, command: Command, format: Format) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Machine("threads cannot be started".to_owned(), error))?;
    let out = Output::new(format, global.progress);
    let mut cx = Context::new(global, out);
    let done = runtime.block_on(command.execute(&mut cx));
    let flushed = cx.out.flush();
    // A thread may still wait for a line of standard input that nobody will type.
    runtime.shutdown_background();
    done.and(flushed)
}

impl Command {
    /// Does what was said.
    async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Init(init) => init.execute(cx).await,
            Self::Run(run) => run.execute(cx).await,
            Self::Log(log) => log.execute(cx).await,
            Self::Tsdb(tsdb) => tsdb.execute(cx).await,
            Self::Vector(vector) => vector.execute(cx).await,
            Self::Rules(rules) => rules.execute(cx),
            Self::Checkpoint(checkpoint) => checkpoint.execute(cx).await,
            Self::Fork(fork) => fork.execute(cx).await,
            Self::Validate(validate) => validate.execute(cx).await,
            Self::Plan(plan) => plan.execute(cx).await,
            Self::Apply(apply) => apply.execute(cx).await,
            Self::Status(status) => status.execute(cx).await,
            Self::Lag(lag) => lag.execute(cx).await,
            Self::Explain(explain) => explain.execute(cx).await,
            Self::Pause(pause) => pause.execute(cx).await,
            Self::Resume(resume) => resume.execute(cx).await,
            Self::Reset(reset) => reset.execute(cx).await,
            Self::Backfill(backfill) => backfill.execute(cx).await,
            Self::Verify(verify) => verify.execute(cx).await,
            Self::Dlq(dlq) => dlq.execute(cx).await,
            Self::Cut(cut) => cut.execute(cx).await,
            Self::Restore(restore) => restore.execute(cx).await,
            Self::Promote(promote) => promote.execute(cx).await,
            Self::Split(split) => split.execute(cx).await,
            Self::Join(join) => join.execute(cx).await,
            Self::At(at) => Box::pin(at.execute(cx)).await,
            Self::Wait(wait) => wait.execute(cx).await,
            Self::Export(export) => export.execute(cx).await,
            Self::Import(import) => import.execute(cx).await,
            Self::Inspect(inspect) => inspect.execute(cx).await,
            Self::Stats(stats) => stats.execute(cx).await,
            Self::Schema(schema) => schema.execute(cx),
        }
    }
}

#[cfg(test)]
mod tests;
