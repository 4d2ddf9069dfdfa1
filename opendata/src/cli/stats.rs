//! `opendata stats`.

use clap::Args;

use super::context::Context;
use crate::api::slate::{StatsOut, describe};
use crate::failure::Failure;
use crate::output::{Align, Table};

/// Show what the slate is and what it holds, without reading its data.
///
/// With --server also the counters of the running writer.
#[derive(Debug, Args)]
pub(super) struct Stats {
    /// Read the slate as it was at this checkpoint.
    #[arg(long, value_name = "CHECKPOINT")]
    at: Option<String>,
}

impl Stats {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let stats: StatsOut = match cx.server()? {
            Some(server) if self.at.is_none() => server.get("/v1/stats").await?,
            _ => {
                cx.without_server("--at")?;
                let node = cx.node()?;
                let view = cx.reader(self.at.as_deref()).await?.view();
                describe(&view, &node.node.path).await?
            }
        };
        cx.out.say_table(&stats, || {
            let mut table = Table::new([("of", Align::Left), ("what", Align::Left), ("is", Align::Left)]);
            table.row(["slate".to_owned(), "id".to_owned(), stats.slate_id.clone()]);
            table.row(["slate".to_owned(), "path".to_owned(), stats.path.clone()]);
            table.row(["slate".to_owned(), "position".to_owned(), stats.position.to_string()]);
            for instance in &stats.instances {
                table.row([instance.name.clone(), "system".to_owned(), instance.system.clone()]);
                for (name, value) in &instance.holds {
                    table.row([instance.name.clone(), name.clone(), value.to_string()]);
                }
            }
            for (name, value) in &stats.counters {
                table.row(["writer".to_owned(), name.clone(), value.to_string()]);
            }
            table
        })
    }
}
