//! `opendata vector upsert | patch | delete`: one transaction each.

use clap::Args;
use opendata_compose::Vector;
use opendata_core::{Error, Result};

use super::Context;
use crate::api::bytes::Text;
use crate::api::commit::{AckIn, CommitIn, CommitOut, OneOrMany, Operation, ReceiptOut};
use crate::api::vector::DocumentJson;
use crate::api::vector::ask::{self, DeleteIn, VersionIn};
use crate::cli::context::instance_in;
use crate::cli::lines::Lines;
use crate::failure::Failure;

/// Write documents, durably and all of them or none.
///
/// Documents are JSON objects: arguments, or the lines of standard input. For many, see `import`.
///
/// This command is the slate's writer while it runs, which ends a running `opendata run`: use --server beside one.
#[derive(Debug, Args)]
pub(in crate::cli) struct Upsert {
    /// Documents; without any, the lines of standard input.
    #[arg(value_name = "DOCUMENT")]
    documents: Vec<String>,
    #[command(flatten)]
    to: To,
}

/// Change documents, durably and all of them or none: fields that are named are replaced, those that are `null` removed.
///
/// Changes are JSON objects with the `id` of the document: arguments, or the lines of standard input.
#[derive(Debug, Args)]
pub(in crate::cli) struct Patch {
    /// Changes; without any, the lines of standard input.
    #[arg(value_name = "CHANGE")]
    changes: Vec<String>,
    #[command(flatten)]
    to: To,
}

/// Delete documents, by their ids or by a filter, durably and all of them or none.
#[derive(Debug, Args)]
pub(in crate::cli) struct Delete {
    /// Ids of documents.
    #[arg(value_name = "ID", required_unless_present = "filter")]
    ids: Vec<String>,
    /// Delete all documents that match, 10,000 at most.
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
    #[command(flatten)]
    to: To,
}

/// Where writes go, and on which conditions.
#[derive(Debug, Args)]
struct To {
    /// Which vector database, if the slate has several.
    #[arg(short, long, value_name = "NAME")]
    instance: Option<String>,
    /// Only if the document has this version; `none`: only if it is not there. May be given several times.
    #[arg(long, value_name = "ID=VERSION", value_parser = version)]
    if_version: Vec<VersionIn>,
}

fn version(text: &str) -> Result<VersionIn, String> {
    let (id, version) = text.rsplit_once('=').ok_or("a condition is ID=VERSION or ID=none")?;
    let version = match version {
        "none" => None,
        number => Some(number.parse().map_err(|_| "a version is a number, or `none`")?),
    };
    Ok(VersionIn { id: id.into(), version })
}

/// Documents from arguments or from lines.
async fn documents(given: Vec<String>) -> Result<Vec<DocumentJson>, Failure> {
    let mut documents = Vec::new();
    for text in &given {
        documents.push(ask::row(text.as_bytes())?);
    }
    if given.is_empty() {
        let mut lines = Lines::open(None)?;
        let mut number = 0;
        while let Some(batch) = lines.batch(usize::MAX).await? {
            for line in batch.lines {
                number += 1;
                if !line.trim_ascii().is_empty() {
                    documents.push(ask::row(&line).map_err(|error| error.context(format_args!("line {number}")))?);
                }
            }
        }
    }
    if documents.is_empty() {
        return Err(Error::invalid("there is no document to write").into());
    }
    Ok(documents)
}

impl To {
    /// Commits an operation, and says what came of it.
    async fn commit(self, cx: &mut Context, operation: Operation) -> Result<(), Failure> {
        let if_version = (!self.if_version.is_empty()).then_some(OneOrMany(self.if_version));
        let operation = Operation { if_version, ..operation };
        let one =
            |instance: String| CommitIn { operations: vec![Operation { instance, ..operation }], ack: AckIn::Durable };
        let committed = match cx.server()? {
            Some(client) => {
                let instance = client.instance_of::<Vector>(self.instance.as_deref()).await?;
                client.post::<CommitOut>("/v1/commit", &one(instance)).await
            }
            None => {
                let composite = cx.writer().await?;
                let committed = match instance_in::<Vector>(self.instance.as_deref(), &composite.view()) {
                    Ok(instance) => one(instance).commit(&composite).await,
                    Err(error) => Err(error),
                };
                let closed = composite.close().await;
                committed.and_then(|committed| closed.map(|()| committed))
            }
        };
        let committed = committed?;
        cx.out.say(&committed, || {
            let mut said = format!("nothing to do at position {}", committed.position);
            for receipt in committed.receipts.values() {
                if let ReceiptOut::Vector { versions, deleted, .. } = receipt {
                    let plural = |count: usize| if count == 1 { "document" } else { "documents" };
                    said = match (versions.len(), *deleted) {
                        (0, deleted) => format!("deleted {deleted} {}", plural(deleted as usize)),
                        (written, _) => format!("wrote {written} {}", plural(written)),
                    };
                    said.push_str(&format!(" at position {}", committed.position));
                }
            }
            said
        })
    }
}

impl Upsert {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let upsert = Some(OneOrMany(documents(self.documents).await?));
        self.to.commit(cx, Operation { upsert, ..Operation::default() }).await
    }
}

impl Patch {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let patch = Some(OneOrMany(documents(self.changes).await?));
        self.to.commit(cx, Operation { patch, ..Operation::default() }).await
    }
}

impl Delete {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let ids = self.ids.iter().map(|id| Text::from(id.as_str())).collect();
        let filter = self.filter.as_deref().map(str::parse).transpose()?;
        let delete = Some(DeleteIn { ids, filter });
        self.to.commit(cx, Operation { delete, ..Operation::default() }).await
    }
}
