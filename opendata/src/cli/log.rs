//! `opendata log append | scan | tail | streams | segments`.

mod append;
mod read;

use clap::{Args, Subcommand};

use self::append::Append;
use self::read::{Scan, Segments, Streams, Tail};
use super::context::Context;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  opendata log append tenant-7 '42 tokens' --header source=api
  cat events.txt | opendata log append tenant-7
  opendata log scan tenant-7 --limit 10 --reverse
  opendata log scan --prefix tenant- --since 1h
  opendata log tail --all
  opendata log streams tenant-";

/// Streams of records in one order.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Log {
    Append(Append),
    Scan(Scan),
    Tail(Tail),
    Streams(Streams),
    Segments(Segments),
}

/// Which streams a command reads.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// One stream.
    stream: Option<String>,
    /// All streams whose names begin so, in the order of their records.
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// All streams.
    #[arg(long)]
    all: bool,
}

impl Log {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Append(append) => append.execute(cx).await,
            Self::Scan(scan) => scan.execute(cx).await,
            Self::Tail(tail) => tail.execute(cx).await,
            Self::Streams(streams) => streams.execute(cx).await,
            Self::Segments(segments) => segments.execute(cx).await,
        }
    }
}
