//! `opendata vector search`.

use clap::Args;
use opendata_core::{Error, Result};

use super::read::shown;
use super::{Context, Place};
use crate::api::commit::OneOrMany;
use crate::api::vector::ask;
use crate::api::vector::query::{EffortIn, FusionIn, GroupIn, NearestIn, QueryIn, ResultsOut, SelectIn, WordsIn};
use crate::failure::Failure;
use crate::output::{Align, Table};

const EXAMPLES: &str = "\
Examples:
  opendata vector search --near 'embedding=[0.1, 0.2]' --filter \"lang = 'en' and year in 1990..2000\"
  opendata vector search --words 'body=red fox' --words 'title=red fox' --group-by lang
  opendata vector search --near 'embedding=[0.1, 0.2]' --words 'body=fox' --weighted
  opendata vector search --query '{\"nearest\": {\"field\": \"embedding\", \"vector\": [0.1, 0.2], \"weight\": 2}}'

Filters: =, !=, <, <=, >, >=, in (1, 2), in 1..5, prefix 'a', contains 'a', exists, and, or, not, parentheses.";

/// Find documents: nearest to vectors, with words, or both, among those that a filter lets through.
///
/// Several rankings are fused into one by reciprocal ranks.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Search {
    #[command(flatten)]
    place: Place,
    /// The nearest to a vector, by a field. May be given several times.
    #[arg(long, value_name = "FIELD=[NUMBERS]", value_parser = near)]
    near: Vec<NearestIn>,
    /// Those with words, by a text field. May be given several times.
    #[arg(long, value_name = "FIELD=TEXT", value_parser = words)]
    words: Vec<WordsIn>,
    /// Only documents that match.
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
    /// At most so many results.
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: usize,
    /// Leave out so many of the best.
    #[arg(long, value_name = "N")]
    offset: Option<usize>,
    /// At most --per-group results with the same value of this attribute.
    #[arg(long, value_name = "ATTRIBUTE")]
    group_by: Option<String>,
    /// See --group-by.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "group_by")]
    per_group: usize,
    /// `id`, `without_vectors`, `everything`, or fields with commas between them.
    #[arg(long, value_name = "FIELDS", default_value = "without_vectors")]
    select: String,
    /// Fuse rankings by their scores instead of their ranks.
    #[arg(long)]
    weighted: bool,
    /// Compare every vector.
    #[arg(long, conflicts_with = "cells")]
    exact: bool,
    /// Look into at least so many cells of the index.
    #[arg(long, value_name = "N")]
    cells: Option<u32>,
    /// Say how it was found.
    #[arg(long)]
    explain: bool,
    /// Find so large a share of the true results, on average: 0.5 to 1.
    #[arg(long, value_name = "SHARE", conflicts_with_all = ["exact", "cells"])]
    recall: Option<f32>,
    /// Go on behind a page: what it said as `next`. Nothing may have been written since, or read with --at.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// The whole search as JSON, as over HTTP; takes the place of the other options.
    #[arg(long, value_name = "JSON", conflicts_with_all = ["near", "words", "filter", "offset", "group_by", "weighted", "exact", "cells", "recall", "cursor"])]
    query: Option<String>,
}

fn near(text: &str) -> Result<NearestIn, String> {
    let (field, vector) = text.split_once('=').ok_or("a vector is FIELD=[NUMBERS]")?;
    let vector = serde_json::from_str(vector).map_err(|error| format!("not a list of numbers: {error}"))?;
    Ok(NearestIn { field: field.to_owned(), vector, weight: 1.0 })
}

fn words(text: &str) -> Result<WordsIn, String> {
    let (field, text) = text.split_once('=').ok_or("words are FIELD=TEXT")?;
    Ok(WordsIn { field: Some(field.to_owned()), text: text.to_owned(), weight: 1.0, ..WordsIn::default() })
}

fn several<T>(all: Vec<T>) -> Option<OneOrMany<T>> {
    (!all.is_empty()).then_some(OneOrMany(all))
}

impl Search {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let source = self.place.open(cx).await?;
        let query = self.query()?;
        let results: ResultsOut =
            source.ask("search", query, async |reader, asked| ask::search(reader, asked).await).await?;
        if cx.out.is_json() {
            cx.out.json(&results)?;
            return cx.out.flush();
        }
        let mut table = Table::new([
            ("score", Align::Right),
            ("id", Align::Left),
            ("version", Align::Right),
            ("fields", Align::Left),
        ]);
        for hit in &results.hits {
            let score = format!("{:.6}", hit.score);
            table.row([score, hit.document.id.show(), hit.version.to_string(), shown(&hit.document)]);
        }
        cx.out.rows(&mut table)?;
        if let Some(next) = &results.next {
            cx.out.note(&format!("more with --cursor {next}"));
        }
        if let Some(explain) = &results.explain {
            cx.out.line(&format!("explain: {explain}"))?;
        }
        cx.out.flush()
    }

    fn query(self) -> Result<QueryIn> {
        if let Some(query) = &self.query {
            return serde_json::from_str(query)
                .map_err(|error| Error::invalid(format!("in --query: {error}")).with_source(error));
        }
        let effort = match (self.exact, self.cells, self.recall) {
            (true, ..) => Some(EffortIn::Exact),
            (_, Some(cells), _) => Some(EffortIn::Cells(cells)),
            (.., recall) => recall.map(EffortIn::Recall),
        };
        Ok(QueryIn {
            nearest: several(self.near),
            words: several(self.words),
            sparse: None,
            max_sim: None,
            cursor: self.cursor,
            paged: false,
            filter: self.filter.as_deref().map(str::parse).transpose()?,
            limit: Some(self.limit),
            offset: self.offset,
            depth: None,
            fusion: self.weighted.then_some(FusionIn::Weighted),
            group_by: self.group_by.map(|attribute| GroupIn { attribute, per_group: self.per_group }),
            select: Some(SelectIn::parse(&self.select)),
            effort,
            explain: self.explain,
        })
    }
}
