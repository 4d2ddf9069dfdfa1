//! `opendata run` of a joined composition: owns nodes, runs their edges, and serves those that have an address.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use opendata_compose::control::MAIN;
use opendata_compose::{ExternalComposite, InternalComposite, Own};
use opendata_core::{Error, Result};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::context::Context;
use crate::composition::Composition;
use crate::failure::Failure;
use crate::http::{Serve, prometheus};
use crate::intake::Intake;
use crate::times;

/// How often it is looked at whether nodes were opened or given up.
const LOOK: Duration = Duration::from_millis(200);

/// How the command line says it.
pub(in crate::cli) struct Wanted {
    pub(in crate::cli) own: Vec<String>,
    pub(in crate::cli) branch: Option<String>,
    pub(in crate::cli) owner: Option<String>,
    pub(in crate::cli) query_timeout: Duration,
}

/// A node that is served.
struct Served {
    composite: InternalComposite,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), Failure>>,
}

/// Owns nodes and serves them until it is told to end.
pub(in crate::cli) async fn run(
    cx: &mut Context,
    wanted: Wanted,
    stop: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let composition = cx.composition()?;
    let mut builder = super::describe(cx, wanted.branch.as_deref())?;
    if !wanted.own.is_empty() {
        let known: BTreeSet<String> = composition.joint()?.nodes.into_keys().collect();
        if let Some(node) = wanted.own.iter().find(|node| !known.contains(*node)) {
            let known: Vec<_> = known.into_iter().collect();
            return Err(Error::not_found(format!("no such node, name={node}, nodes=[{}]", known.join(", "))).into());
        }
        builder = builder.own(Own::Nodes(wanted.own.iter().cloned().collect()));
    }
    if let Some(owner) = &wanted.owner {
        builder = builder.owner(owner);
    }
    let composite = builder.open().await.map_err(|error| match error.kind() {
        opendata_core::ErrorKind::NotFound => {
            Error::not_found(format!("{}; make it with `opendata apply`", error.message()))
        }
        _ => error,
    })?;
    let said = json!({"running": composite.branch(), "owner": composite.owner(), "nodes": owned(&composite)});
    let told = cx.out.say(&said, || {
        format!("running {} as {}: nodes {}", composite.branch(), composite.owner(), owned(&composite).join(", "))
    });
    if !matches!(told, Ok(()) | Err(Failure::OutputClosed)) {
        composite.close().await?;
        return told;
    }
    let mut served = BTreeMap::new();
    tokio::pin!(stop);
    let ended = loop {
        if let Err(failure) = follow(cx, &composition, &composite, &wanted, &mut served).await {
            break Err(failure);
        }
        if gone(&composite) {
            tracing::info!(branch = composite.branch(), "ending: the branch is no longer there under this name");
            break Ok(());
        }
        tokio::select! {
            () = &mut stop => break Ok(()),
            () = tokio::time::sleep(LOOK) => {}
        }
    };
    for (_, node) in served {
        finish(node).await;
    }
    composite.close().await?;
    ended
}

fn owned(composite: &ExternalComposite) -> Vec<String> {
    let state = composite.state();
    let Ok(branch) = state.branch(composite.branch()) else { return Vec::new() };
    branch.nodes.keys().filter(|node| composite.node(node).is_ok()).cloned().collect()
}

fn gone(composite: &ExternalComposite) -> bool {
    composite.state().branch(composite.branch()).is_err()
}

/// Serves nodes that are open here and have an address, and stops serving those that were given up.
async fn follow(
    cx: &Context,
    composition: &Composition,
    composite: &ExternalComposite,
    wanted: &Wanted,
    served: &mut BTreeMap<String, Served>,
) -> Result<(), Failure> {
    let open: BTreeMap<String, InternalComposite> =
        owned(composite).into_iter().filter_map(|node| Some((node.clone(), composite.node(&node).ok()?))).collect();
    let stale: Vec<String> = served
        .iter()
        .filter(|(node, running)| {
            let same = |now: &InternalComposite| now.slate().id() == running.composite.slate().id();
            running.task.is_finished()
                || running.composite.slate().failure().is_some()
                || !open.get(*node).is_some_and(same)
        })
        .map(|(node, _)| node.clone())
        .collect();
    for node in stale {
        if let Some(running) = served.remove(&node) {
            finish(running).await;
        }
    }
    for (node, inner) in open {
        let known = composition.node(Some(&node)).ok().cloned();
        let Some((known, listen)) = known.and_then(|known| known.listen.clone().map(|listen| (known, listen))) else {
            continue;
        };
        if served.contains_key(&node) {
            continue;
        }
        let serve = Serve::listen(&listen).await?;
        tracing::info!(node, address = %serve.address(), "serving a node");
        let prometheus = prometheus::Settings {
            default_instance: None,
            monitors: Arc::default(),
            composition: composition.text().into(),
            flags: cx.global.flags(),
            started: times::now(),
            node: node.clone(),
            joined: Some(composite.clone()),
            query_timeout: wanted.query_timeout,
            reduced_histograms: Arc::default(),
        };
        // Into a fork nothing flows by itself: what is scraped belongs to the original.
        let flows = composite.branch() == MAIN;
        let settings = if flows { composition.prepare(Some(&node), None, None)?.intake()? } else { BTreeMap::new() };
        let intake = Arc::new(Intake::new(&inner, None, settings));
        let (end, mut ending) = watch::channel(false);
        let task = tokio::spawn({
            let inner = inner.clone();
            let limit = known.settings.transaction_bytes;
            async move {
                let stop = async move {
                    let _ = ending.wait_for(|end| *end).await;
                };
                serve.run(inner, intake, None, limit, prometheus, stop).await
            }
        });
        served.insert(node, Served { composite: inner, stop: end, task });
    }
    Ok(())
}

/// Ends serving a node; its requests are answered first.
async fn finish(node: Served) {
    node.stop.send_replace(true);
    match node.task.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::info!(%error, "a node is no longer served"),
        Err(error) => tracing::warn!(%error, "serving a node did not end in order"),
    }
}
