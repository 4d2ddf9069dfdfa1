//! Time series over HTTP: samples as text.

use axum::extract::State;
use opendata_compose::Tsdb;
use opendata_core::Error;
use serde::Deserialize;

use super::Server;
use super::answer::{Answer, Json};
use super::request::{Content, InstanceName, Params};
use crate::api::commit::{AckIn, CommitOut, ReceiptOut};
use crate::{exposition, times};

/// The options of a write.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WriteParams {
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    ack: AckIn,
}

/// What a value is.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// The value of the series at that time.
    #[default]
    Set,
    /// An amount to add to a counter.
    Add,
}

/// Writes lines of text, in one transaction.
pub(super) async fn write(
    State(server): State<Server>,
    InstanceName(instance): InstanceName,
    Params(params): Params<WriteParams>,
    content: Content,
) -> Answer<Json<CommitOut>> {
    let handle = server.composite().get::<Tsdb>(&instance)?;
    let mut transaction = server.composite().begin();
    let op = transaction.on(&handle);
    let now = times::now();
    for sample in exposition::parse(content.text()?)? {
        let at = sample.time.unwrap_or(now);
        match params.mode {
            Mode::Set => op.sample(sample.labels, at, sample.value),
            Mode::Add => op.add(sample.labels, at, sample.value),
        };
    }
    let commit = transaction.commit_with(params.ack.into()).await.map_err(Error::from)?;
    let receipts = commit.receipt(&handle).map(|receipt| (instance, ReceiptOut::of_tsdb(receipt)));
    Ok(Json(CommitOut { position: commit.position(), receipts: receipts.into_iter().collect() }))
}
