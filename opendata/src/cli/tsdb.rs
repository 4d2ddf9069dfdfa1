//! `opendata tsdb write | query | explain`.

mod explain;
mod query;
mod write;

use clap::Subcommand;

use self::explain::Explain;
use self::query::Query;
use self::write::Write;
use super::context::Context;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  echo 'up{job=\"api\"} 1' | opendata tsdb write
  opendata tsdb query 'sum by (job) (up)'
  opendata tsdb query 'rate(requests_total[5m])' --start 1h --step 1m";

/// Time series, queried with PromQL.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Tsdb {
    Write(Write),
    Query(Query),
    Explain(Explain),
}

impl Tsdb {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Write(write) => write.execute(cx).await,
            Self::Query(query) => query.execute(cx).await,
            Self::Explain(explain) => explain.execute(cx).await,
        }
    }
}
