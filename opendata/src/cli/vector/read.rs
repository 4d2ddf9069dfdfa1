//! `opendata vector get | scan | count | stats`.

use clap::Args;
use opendata_core::Error;

use super::{Context, Place};
use crate::api::bytes::Text;
use crate::api::vector::DocumentJson;
use crate::api::vector::ask::{self, CountIn, CountOut, FoundOut, GetIn, GotOut, ScanIn, ScanOut, StatsIn};
use crate::api::vector::query::SelectIn;
use crate::failure::Failure;
use crate::output::{Align, Table};

/// Read documents by their ids. One that is not there is an error (exit code 4), after the others were shown.
#[derive(Debug, Args)]
pub(in crate::cli) struct Get {
    /// Ids of documents.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    #[command(flatten)]
    place: Place,
    /// `id`, `without_vectors`, `everything`, or fields with commas between them.
    #[arg(long, value_name = "FIELDS", default_value = "everything")]
    select: String,
}

/// Read documents in the order of their ids.
#[derive(Debug, Args)]
pub(in crate::cli) struct Scan {
    #[command(flatten)]
    place: Place,
    /// Only those behind this id.
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// At most so many documents.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// `id`, `without_vectors`, `everything`, or fields with commas between them.
    #[arg(long, value_name = "FIELDS", default_value = "without_vectors")]
    select: String,
}

/// Count the documents that match a filter, or all.
#[derive(Debug, Args)]
pub(in crate::cli) struct Count {
    #[command(flatten)]
    place: Place,
    /// Only documents that match.
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
}

/// Show what the vector database holds: documents, and of each vector field the index and what waits for it.
#[derive(Debug, Args)]
pub(in crate::cli) struct Stats {
    #[command(flatten)]
    place: Place,
    /// Search for so many vectors of each field, and show which share of their true ten nearest is found. Reads every vector once.
    #[arg(long, value_name = "VECTORS", num_args = 0..=1, default_missing_value = "50")]
    sample_recall: Option<usize>,
}

/// The fields of a document, on one line.
pub(super) fn shown(document: &DocumentJson) -> String {
    let fields = document.fields.iter().map(|(name, value)| format!("{name}={}", value.get()));
    fields.collect::<Vec<_>>().join(" ")
}

fn table() -> Table {
    Table::new([("id", Align::Left), ("version", Align::Right), ("fields", Align::Left)])
}

fn show(cx: &mut Context, table: &mut Table, found: &[FoundOut]) -> Result<(), Failure> {
    if cx.out.is_json() {
        for one in found {
            cx.out.json(one)?;
        }
        return cx.out.flush();
    }
    for FoundOut { version, document } in found {
        table.row([document.id.show(), version.to_string(), shown(document)]);
    }
    cx.out.rows(table)?;
    cx.out.flush()
}

impl Get {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let ids: Vec<Text> = self.ids.iter().map(|id| id.as_str().into()).collect();
        let asked = GetIn { ids: ids.clone(), select: Some(SelectIn::parse(&self.select)) };
        let source = self.place.open(cx).await?;
        let got: GotOut = source.ask("get", asked, async |reader, asked| ask::get(reader, asked).await).await?;
        let missing: Vec<String> =
            ids.iter().zip(&got.documents).filter(|(_, found)| found.is_none()).map(|(id, _)| id.show()).collect();
        let found: Vec<FoundOut> = got.documents.into_iter().flatten().collect();
        if !found.is_empty() {
            show(cx, &mut table(), &found)?;
        }
        match missing.is_empty() {
            true => Ok(()),
            false => Err(Error::not_found(format!("no such documents, documents=[{}]", missing.join(", "))).into()),
        }
    }
}

impl Scan {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let source = self.place.open(cx).await?;
        let mut after = self.after.as_deref().map(Text::from);
        let mut left = self.limit;
        let mut shown = table();
        loop {
            let select = Some(SelectIn::parse(&self.select));
            let asked = ScanIn { after: after.clone(), limit: Some(left.clamp(1, 1000)), select };
            let page: ScanOut = source.ask("scan", asked, async |reader, asked| ask::scan(reader, asked).await).await?;
            left = left.saturating_sub(page.documents.len());
            show(cx, &mut shown, &page.documents)?;
            match page.next {
                Some(next) if left > 0 => after = Some(next),
                Some(_) => {
                    cx.out.note(&format!("stopped after {} documents: ask for more with --limit", self.limit));
                    return Ok(());
                }
                None => return Ok(()),
            }
        }
    }
}

impl Count {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let asked = CountIn { filter: self.filter.as_deref().map(str::parse).transpose()? };
        let source = self.place.open(cx).await?;
        let count: CountOut = source.ask("count", asked, async |reader, asked| ask::count(reader, asked).await).await?;
        cx.out.say(&count, || count.documents.to_string())
    }
}

impl Stats {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let asked = StatsIn { sample: self.sample_recall };
        let stats: serde_json::Value = match self.place.open(cx).await? {
            super::Source::Server { client, instance } => {
                let sample = asked.sample.map(|sample| sample.to_string());
                let query: Vec<_> = sample.iter().map(|sample| ("sample", sample.as_str())).collect();
                client.query(&["v1", "vector", &instance, "stats"], &query).await?
            }
            super::Source::Slate { reader, instance } => {
                let reader = reader.view().get_reader::<opendata_compose::Vector>(&instance)?;
                ask::describe(&reader, asked).await?
            }
        };
        cx.out.say_table(&stats, || {
            let mut table = Table::new([("of", Align::Left), ("what", Align::Left), ("is", Align::Right)]);
            for (name, value) in stats.as_object().into_iter().flatten().filter(|(_, value)| !value.is_object()) {
                table.row(["instance".to_owned(), name.clone(), value.to_string()]);
            }
            let fields = stats.get("fields").and_then(serde_json::Value::as_object);
            for (field, figures) in fields.into_iter().flatten() {
                for (name, value) in figures.as_object().into_iter().flatten() {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    table.row([field.clone(), name.clone(), value]);
                }
            }
            table
        })
    }
}
