//! Commits, checkpoints, forks, and what the slate holds.

use axum::extract::State;
use opendata_compose::{Log, Tsdb, Vector};
use opendata_core::Error;
use opendata_core::slate::{At, SlateReader};

use super::Server;
use super::answer::{Answer, Json};
use super::request::{Content, PathPart};
use crate::api::commit::{CommitIn, CommitOut};
use crate::api::slate::{CheckpointIn, CheckpointOut, CheckpointsOut, ForkIn, ForkOut, ReleasedOut, StatsOut};
use crate::api::slate::{counters, describe};
use crate::times;

pub(super) async fn commit(State(server): State<Server>, content: Content) -> Answer<Json<CommitOut>> {
    let commit: CommitIn = content.json()?;
    Ok(Json(commit.commit(server.composite()).await?))
}

pub(super) async fn checkpoint(State(server): State<Server>, content: Content) -> Answer<Json<CheckpointOut>> {
    let CheckpointIn { name, lifetime } = content.json()?;
    let lifetime = lifetime.as_deref().map(times::parse_duration).transpose()?;
    Ok(Json(server.composite().checkpoint(&name, lifetime).await?.into()))
}

pub(super) async fn checkpoints(State(server): State<Server>) -> Answer<Json<CheckpointsOut>> {
    let found = server.composite().checkpoints().await?;
    Ok(Json(CheckpointsOut { checkpoints: found.into_iter().map(Into::into).collect() }))
}

pub(super) async fn release(State(server): State<Server>, PathPart(name): PathPart<2>) -> Answer<Json<ReleasedOut>> {
    let name = String::from_utf8(name.into())
        .map_err(|error| Error::not_found("no such checkpoint: its name is not UTF-8").with_source(error))?;
    server.composite().release(&name).await?;
    Ok(Json(ReleasedOut { released: name }))
}

pub(super) async fn fork(State(server): State<Server>, content: Content) -> Answer<Json<ForkOut>> {
    let ForkIn { path, at, instance } = content.json()?;
    let slate = server.composite().slate();
    let fork = match (at, instance) {
        (None, None) => slate.fork(&path).await?,
        (None, Some(instance)) => slate.fork_instance(&instance, &path).await?,
        (Some(at), None) => slate.fork_at(&at, &path).await?,
        (Some(at), Some(instance)) => {
            let reader = SlateReader::builder(slate.store(), slate.path());
            let reader = reader.register::<Log>().register::<Tsdb>().register::<Vector>();
            reader.open(At::Checkpoint(at)).await?.fork_instance(&instance, &path).await?
        }
    };
    Ok(Json(ForkOut { path, position: fork.position }))
}

pub(super) async fn stats(State(server): State<Server>) -> Answer<Json<StatsOut>> {
    let slate = server.composite().slate();
    let mut stats = describe(&server.view(), slate.path()).await?;
    stats.counters = counters(&slate.stats());
    Ok(Json(stats))
}
