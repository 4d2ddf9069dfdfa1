//! `opendata run`.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use opendata_core::Error;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::context::Context;
use super::joined;
use crate::composition::Creation;
use crate::failure::Failure;
use crate::http::{self, Serve, prometheus};
use crate::intake::Intake;
use crate::times;

/// How long a query may take that does not ask for less.
const QUERY_TIMEOUT: Duration = Duration::from_secs(120);

const EXAMPLES: &str = "\
Examples:
  opendata run
  opendata run --listen 127.0.0.1:0 --json             any free port; the first line says which
  opendata run --own events,metrics --owner host-1     some nodes of a joined composition, and their edges
  opendata --server http://127.0.0.1:8080 log append tenant-7 'through the server'
  curl -s http://127.0.0.1:8080/v1/commit -d '{\"operations\": [
      {\"instance\": \"events\", \"append\": {\"stream\": \"tenant-7\", \"payload\": \"42 tokens\"}},
      {\"instance\": \"usage\", \"add\": {\"labels\": {\"__name__\": \"tokens_total\", \"tenant\": \"7\"}, \"value\": 42}}]}'
  curl -s 'http://127.0.0.1:8080/v1/log/events/streams/tenant-7?limit=10'
  curl -sN http://127.0.0.1:8080/v1/log/events/streams/tenant-7/tail
  curl -s --data-urlencode 'query=tokens_total' http://127.0.0.1:8080/api/v1/query
  curl -s http://127.0.0.1:8080/metrics";

/// Serve the slate over HTTP, as its writer.
///
/// The slate, and the instances that the composition names, are made if they are not there. SIGINT and SIGTERM end the
/// server in order: requests are answered and the slate is closed. If another writer takes the slate over, the server
/// ends with exit code 7. There are no passwords: who can reach the address can read and write.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Run {
    /// Address and port to listen at [default: the node's or the composition's, else 127.0.0.1:8080].
    #[arg(long, env = "OPENDATA_LISTEN", value_name = "ADDRESS")]
    listen: Option<String>,
    /// Of a joined composition: the nodes this process owns; all by default.
    #[arg(long, value_name = "NODES", value_delimiter = ',')]
    own: Vec<String>,
    /// Of a joined composition: another branch than main.
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// Of a joined composition: this process's name in the control log. One that comes back under its name takes its nodes back.
    #[arg(long, env = "OPENDATA_OWNER", value_name = "NAME")]
    owner: Option<String>,
}

impl Run {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        if cx.global.server.is_some() {
            return Err(Error::invalid("run is the server: leave out --server").into());
        }
        let composition = cx.composition()?;
        if composition.is_joined() {
            let (own, branch, owner) = (self.own, self.branch, self.owner);
            let wanted = joined::run::Wanted { own, branch, owner, query_timeout: QUERY_TIMEOUT };
            return joined::run::run(cx, wanted, told_to_end()?).await;
        }
        let node = cx.node()?;
        let said = self.listen.or(node.node.listen.clone()).or(composition.server.listen.clone());
        let listen = said.unwrap_or_else(|| "127.0.0.1:8080".to_owned());
        let settings = node.intake()?;
        // First the address: a second server on it must not fence the first.
        let serve = Serve::listen(&listen).await?;
        let otlp_grpc = match &composition.server.otlp_grpc {
            Some(address) => Some(http::listen(address).await?),
            None => None,
        };
        let stop = told_to_end()?;
        let composite = node.write(Creation::Create).await?;
        let (address, position) = (serve.address(), composite.view().position());
        let otlp_address = otlp_grpc.as_ref().and_then(|listener| listener.local_addr().ok());
        let mut said = json!({"listening": format!("http://{address}"), "position": position});
        if let (Some(address), Some(said)) = (otlp_address, said.as_object_mut()) {
            said.insert("otlp_grpc".to_owned(), json!(format!("http://{address}")));
        }
        let said =
            cx.out.say(&said, || format!("serving `{}` at http://{address}, position {position}", node.node.name));
        // Nobody need read what we say; that is no reason not to serve.
        if !matches!(said, Ok(()) | Err(Failure::OutputClosed)) {
            composite.close().await?;
            return said;
        }
        let prometheus = prometheus::Settings {
            default_instance: composition.server.default_tsdb.clone(),
            monitors: Arc::default(),
            composition: composition.text().into(),
            flags: cx.global.flags(),
            started: times::now(),
            node: node.node.name.clone(),
            joined: None,
            query_timeout: QUERY_TIMEOUT,
            reduced_histograms: Arc::default(),
        };
        let intake = Arc::new(Intake::new(&composite, composition.server.default_tsdb.clone(), settings));
        let limit = node.node.settings.transaction_bytes;
        let served = serve.run(composite.clone(), intake, otlp_grpc, limit, prometheus, stop).await;
        let closed = composite.close().await;
        served?;
        Ok(closed?)
    }
}

/// Waits for SIGINT or SIGTERM.
fn told_to_end() -> Result<impl Future<Output = ()>, Failure> {
    let failed = |error| Failure::Machine("signals cannot be received".to_owned(), error);
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt()).map_err(failed)?, signal(SignalKind::terminate()).map_err(failed)?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
