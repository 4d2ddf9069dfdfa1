//! `opendata wait`.

use clap::Args;
use opendata_compose::Token;
use opendata_core::Error;
use serde_json::json;

use super::super::context::Context;
use crate::failure::Failure;
use crate::times;

const EXAMPLES: &str = "\
Examples:
  opendata wait events@574 --node metrics
  curl -si localhost:8081/v1/log/orders/streams/all -d '{\"shop\": \"north\", \"amount\": 3}' | grep opendata-token
  curl -s localhost:8082/api/v1/query?query=sales_total -H 'opendata-after: events@574'

A token is `<node>@<position>`. A running node tells it in the header `opendata-token` of what it answers to a write; a command that writes
tells the position. Sent along as `opendata-after` to a node downstream, it makes the request wait, up to `opendata-after-timeout` (10s), until
everything that follows from the write can be read there.";

/// Wait until what follows from a commit can be read at a node downstream.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Wait {
    /// The commit, as `<node>@<position>`. Where to wait for it is `--node`.
    token: String,
    /// Give up after this long.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    timeout: String,
    /// Another branch than main.
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
}

impl Wait {
    pub(in crate::cli) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let token: Token = self.token.parse()?;
        let timeout = times::parse_duration(&self.timeout)?;
        let node = cx.global.node.clone();
        let node = node.ok_or_else(|| Error::invalid("say with --node where the commit shall be waited for"))?;
        let composite = super::look(cx, self.branch.as_deref()).await?;
        let position = composite.wait_for(&token, &node, timeout).await?;
        let said = json!({"token": token.to_string(), "node": node, "position": position});
        cx.out.say(&said, || format!("{token} can be read at {node} from position {position} on"))
    }
}
