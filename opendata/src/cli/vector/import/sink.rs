//! Where imported rows go: several transactions on their way at the same time, or to a server.

use std::collections::VecDeque;

use opendata_compose::vector::{Config, Schema};
use opendata_compose::{InternalComposite, Vector};
use opendata_core::slate::{Ack, Handle, Pending};
use opendata_core::{DataSystem, Error, Result};

use super::rows::Row;
use crate::api::bytes::Text;
use crate::api::slate::StatsOut;
use crate::api::vector::DocumentJson;
use crate::api::vector::ask::{self, ImportOut, RefusedOut};
use crate::cli::context::{Context, instance_in};
use crate::client::Client;
use crate::failure::Failure;

/// Transactions that are on their way at the same time.
const IN_FLIGHT: usize = 8;
/// Bytes of one request to a server, about: well below what it takes.
const REQUEST_BYTES: usize = 4 << 20;

pub(super) struct Sink {
    schema: Schema,
    to: To,
}

enum To {
    Writer { composite: InternalComposite, docs: Handle<Vector>, in_flight: VecDeque<(Pending, Vec<u64>)> },
    Server { client: Client, instance: String },
}

impl Sink {
    pub(super) async fn open(cx: &Context, instance: Option<&str>) -> Result<Self, Failure> {
        if let Some(client) = cx.server()? {
            let instance = client.instance_of::<Vector>(instance).await?;
            let stats: StatsOut = client.get("/v1/stats").await?;
            let found =
                stats.instances.into_iter().find(|found| found.name == instance && found.system == Vector::NAME);
            let found = found.ok_or_else(|| Error::not_found(format!("no such vector instance, name={instance}")))?;
            let config: Config = serde_json::from_value(found.config)
                .map_err(|error| Error::unsupported("the server's settings cannot be read").with_source(error))?;
            return Ok(Self { schema: config.schema, to: To::Server { client, instance } });
        }
        let composite = cx.writer().await?;
        let opened = instance_in::<Vector>(instance, &composite.view()).and_then(|name| {
            let docs = composite.get::<Vector>(&name)?;
            let schema = composite.view().on(&docs)?.config().schema.clone();
            Ok((docs, schema))
        });
        match opened {
            Ok((docs, schema)) => Ok(Self { schema, to: To::Writer { composite, docs, in_flight: VecDeque::new() } }),
            Err(error) => {
                composite.close().await?;
                Err(error.into())
            }
        }
    }

    pub(super) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Sends rows. Answers what is known by now of these and of earlier ones.
    pub(super) async fn send(&mut self, rows: Vec<(u64, Row)>) -> Result<ImportOut> {
        match &mut self.to {
            To::Writer { composite, docs, in_flight } => {
                let mut out = ImportOut::default();
                let mut transaction = composite.begin();
                let op = transaction.on(docs);
                op.skip_invalid();
                let mut numbers = Vec::with_capacity(rows.len());
                for (number, row) in rows {
                    let document = match row {
                        Row::Document(document) => Ok(document),
                        Row::Wrong(id, error) => Err((id, error)),
                        Row::Json(line) => match ask::row(&line) {
                            Ok(json) => json.document(&self.schema).map_err(|error| (Some(json.id), error)),
                            Err(error) => Err((None, error)),
                        },
                    };
                    match document {
                        Ok(document) => {
                            op.upsert(document);
                            numbers.push(number);
                        }
                        Err((id, error)) => out.refused.push(RefusedOut::of(number, id, &error)),
                    }
                }
                if !numbers.is_empty() {
                    in_flight.push_back((transaction.submit(Ack::Durable).await?, numbers));
                }
                if in_flight.len() >= IN_FLIGHT
                    && let Some((oldest, numbers)) = in_flight.pop_front()
                {
                    settle(oldest, &numbers, docs, &mut out).await?;
                }
                Ok(out)
            }
            To::Server { client, instance } => through(client, instance, rows).await,
        }
    }

    /// Waits for everything that is under way and ends in order.
    pub(super) async fn end(self) -> Result<ImportOut, Failure> {
        let mut out = ImportOut::default();
        let To::Writer { composite, docs, in_flight } = self.to else { return Ok(out) };
        let mut outcome = Ok(());
        for (pending, numbers) in in_flight {
            let settled = settle(pending, &numbers, &docs, &mut out).await;
            outcome = outcome.and(settled);
        }
        let closed = composite.close().await;
        outcome.and(closed)?;
        Ok(out)
    }
}

async fn settle(pending: Pending, numbers: &[u64], docs: &Handle<Vector>, out: &mut ImportOut) -> Result<()> {
    let commit = pending.wait().await?;
    if let Some(receipt) = commit.receipt(docs) {
        out.add(receipt, numbers, commit.position());
    }
    Ok(())
}

/// Sends rows to a server, in requests of a bounded size.
async fn through(client: &Client, instance: &str, rows: Vec<(u64, Row)>) -> Result<ImportOut> {
    let mut out = ImportOut::default();
    let (mut body, mut numbers) = (Vec::new(), Vec::new());
    for (number, row) in rows {
        match line(row) {
            Ok(line) => {
                body.extend_from_slice(&line);
                body.push(b'\n');
                numbers.push(number);
            }
            Err((id, error)) => out.refused.push(RefusedOut::of(number, id, &error)),
        }
        if body.len() >= REQUEST_BYTES {
            post(client, instance, std::mem::take(&mut body), std::mem::take(&mut numbers), &mut out).await?;
        }
    }
    if !numbers.is_empty() {
        post(client, instance, body, numbers, &mut out).await?;
    }
    out.refused.sort_by_key(|refused| refused.row);
    Ok(out)
}

/// A row as one line. What is no JSON object on one line might be taken for several.
fn line(row: Row) -> Result<Vec<u8>, (Option<Text>, Error)> {
    let json = match row {
        Row::Json(line) => return ask::row(&line).map(|_| line.to_vec()).map_err(|error| (None, error)),
        Row::Document(document) => {
            DocumentJson::try_from(&document).map_err(|error| (Some((&document.id).into()), error))?
        }
        Row::Wrong(id, error) => return Err((id, error)),
    };
    serde_json::to_vec(&json).map_err(|error| {
        let wrong = Error::invalid("document cannot be written as JSON").with_source(error);
        (Some(json.id.clone()), wrong)
    })
}

async fn post(client: &Client, instance: &str, body: Vec<u8>, numbers: Vec<u64>, out: &mut ImportOut) -> Result<()> {
    let answer: ImportOut = client.post_lines(&["v1", "vector", instance, "import"], body).await?;
    out.written += answer.written;
    out.position = answer.position.or(out.position);
    for refused in answer.refused {
        let at = usize::try_from(refused.row).unwrap_or(0).saturating_sub(1);
        out.refused.push(RefusedOut { row: numbers.get(at).copied().unwrap_or(0), ..refused });
    }
    Ok(())
}
