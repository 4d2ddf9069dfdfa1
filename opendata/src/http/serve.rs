//! The server's life: it listens, serves until it is told to end or can no longer write, and closes the slate.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use opendata_compose::InternalComposite;
use opendata_core::{Error, ErrorKind, Result};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{Server, Shared, prometheus, router};
use crate::failure::Failure;
use crate::intake::Intake;
use crate::otlp::grpc;

/// How long requests that are under way may take once the server ends.
const GRACE: Duration = Duration::from_secs(10);
/// How often the slate is asked whether it can still be written.
const LOOK: Duration = Duration::from_millis(200);

/// Listens at an address and port; port 0 is any that is free.
pub(crate) async fn listen(address: &str) -> Result<TcpListener, Failure> {
    let failed = |error| Failure::Machine(format!("cannot listen, address={address}"), error);
    TcpListener::bind(address).await.map_err(failed)
}

/// A server that listens and does not serve yet.
pub(crate) struct Serve {
    listener: TcpListener,
    address: SocketAddr,
}

impl Serve {
    /// Listens at an address and port; port 0 is any that is free.
    pub(crate) async fn listen(address: &str) -> Result<Self, Failure> {
        let listener = listen(address).await?;
        let failed = |error| Failure::Machine(format!("cannot listen, address={address}"), error);
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is done, or until the slate can no longer be written. Closing the slate is the caller's: others may still be at work on it.
    ///
    /// # Errors
    /// Why the slate can no longer be written.
    pub(crate) async fn run(
        self,
        composite: InternalComposite,
        intake: Arc<Intake>,
        otlp_grpc: Option<TcpListener>,
        body_limit: usize,
        prometheus: prometheus::Settings,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Failure> {
        let (end, ending) = watch::channel(false);
        let monitors = Arc::clone(&prometheus.monitors);
        let shared = Shared {
            pages: Default::default(),
            composite: composite.clone(),
            intake: Arc::clone(&intake),
            prometheus,
            receivers: prometheus::Receivers::default(),
            body_limit,
            ending: ending.clone(),
        };
        let server = Server(Arc::new(shared));
        let flowing = intake.start(&monitors, &ending)?;
        let grpc = otlp_grpc.map(|listener| {
            let ended = until(ending.clone());
            tokio::spawn(async move {
                if let Err(failure) = grpc::serve(listener, intake, body_limit, ended).await {
                    tracing::error!(%failure, "nobody takes metrics over gRPC any more");
                }
            })
        });
        let served = axum::serve(self.listener, router(server, body_limit)).with_graceful_shutdown(until(ending));
        let mut serving = tokio::spawn(served.into_future());
        let failure = tokio::select! {
            () = stop => None,
            failure = failed(&composite) => Some(failure),
            _ = &mut serving => Some(Error::closed("the server ended by itself")),
        };
        let given_up = |error: Error| matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Closed);
        let is_given_up = composite.slate().failure().is_some_and(given_up);
        match &failure {
            None => tracing::info!("ending: told to"),
            // Whoever took it over has what is in it, and a joined composition goes on with what is there now.
            Some(error) if is_given_up => tracing::warn!(%error, "ending: the slate is not written here any more"),
            Some(error) => tracing::error!(?error, "ending: the slate can no longer be written"),
        }
        end.send_replace(true);
        if let Some(mut grpc) = grpc
            && tokio::time::timeout(GRACE, &mut grpc).await.is_err()
        {
            grpc.abort();
        }
        if !serving.is_finished() && tokio::time::timeout(GRACE, &mut serving).await.is_err() {
            tracing::warn!("requests were still under way and are given up");
            serving.abort();
        }
        for task in flowing {
            // What flows in ends at once when it is told to; a task that panicked has said so.
            let _ = tokio::time::timeout(GRACE, task).await;
        }
        match failure {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }
}

/// Waits until the server is told to end.
async fn until(mut ending: watch::Receiver<bool>) {
    // An error means that nobody is left to tell, which is an end as well.
    let _ = ending.wait_for(|ending| *ending).await;
}

/// Waits until the slate can no longer be written.
async fn failed(composite: &InternalComposite) -> Error {
    loop {
        if let Some(error) = composite.slate().failure() {
            return error;
        }
        tokio::time::sleep(LOOK).await;
    }
}
