//! `opendata vector upsert | patch | get | search | delete | scan | count | import | stats`.

mod import;
mod read;
mod search;
mod write;

use clap::{Args, Subcommand};
use opendata_compose::Vector as VectorSystem;
use opendata_compose::vector::Reader;
use opendata_core::Result;
use opendata_core::slate::SlateReader;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::import::Import;
use self::read::{Count, Get, Scan, Stats};
use self::search::Search;
use self::write::{Delete, Patch, Upsert};
use super::context::{Context, instance_in};
use crate::client::Client;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  opendata vector upsert '{\"id\": \"a\", \"embedding\": [0.1, 0.2], \"lang\": \"en\"}'
  opendata vector import wiki.jsonl --progress
  opendata vector import glove.npy --field embedding --ids words.txt
  opendata vector search --near 'embedding=[0.1, 0.2]' --filter \"lang = 'en'\"
  opendata vector search --words 'body=red fox' --limit 3
  opendata vector get a b
  opendata vector delete --filter 'year < 1990'

A document is a JSON object: its `id`, and its fields as the schema in the composition file names them.";

/// Documents of vectors, attributes and texts.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Vector {
    Upsert(Upsert),
    Patch(Patch),
    Get(Get),
    Search(Search),
    Delete(Delete),
    Scan(Scan),
    Count(Count),
    Import(Import),
    Stats(Stats),
}

impl Vector {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Upsert(upsert) => upsert.execute(cx).await,
            Self::Patch(patch) => patch.execute(cx).await,
            Self::Get(get) => get.execute(cx).await,
            Self::Search(search) => search.execute(cx).await,
            Self::Delete(delete) => delete.execute(cx).await,
            Self::Scan(scan) => scan.execute(cx).await,
            Self::Count(count) => count.execute(cx).await,
            Self::Import(import) => import.execute(cx).await,
            Self::Stats(stats) => stats.execute(cx).await,
        }
    }
}

/// Which instance, and of when.
#[derive(Debug, Args)]
struct Place {
    /// Which vector database, if the slate has several.
    #[arg(short, long, value_name = "NAME")]
    instance: Option<String>,
    /// Read it as it was at this checkpoint.
    #[arg(long, value_name = "CHECKPOINT")]
    at: Option<String>,
}

/// Where documents are read.
enum Source {
    Slate { reader: SlateReader, instance: String },
    Server { client: Client, instance: String },
}

impl Place {
    async fn open(&self, cx: &Context) -> Result<Source, Failure> {
        if let Some(client) = cx.server()? {
            if self.at.is_some() {
                cx.without_server("--at")?;
            }
            let instance = client.instance_of::<VectorSystem>(self.instance.as_deref()).await?;
            return Ok(Source::Server { client, instance });
        }
        let reader = cx.reader(self.at.as_deref()).await?;
        let instance = instance_in::<VectorSystem>(self.instance.as_deref(), &reader.view())?;
        Ok(Source::Slate { reader, instance })
    }
}

impl Source {
    /// Asks the server by a word, or does it here.
    async fn ask<Ask: Serialize, Out: DeserializeOwned>(
        &self,
        word: &str,
        ask: Ask,
        here: impl AsyncFnOnce(&Reader, Ask) -> Result<Out>,
    ) -> Result<Out> {
        match self {
            Self::Server { client, instance } => client.ask(&["v1", "vector", instance, word], &ask).await,
            Self::Slate { reader, instance } => here(&reader.view().get_reader::<VectorSystem>(instance)?, ask).await,
        }
    }
}
