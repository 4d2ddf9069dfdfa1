//! What is asked of a vector instance besides searches, and what is answered: the same over HTTP and on the command line.

use opendata_compose::vector::{Effort, Filter, Found, Op, Reader, Receipt, Refused, Select, Version};
use opendata_core::{Error, ErrorKind, Position, Result};
use serde::{Deserialize, Serialize};

use super::DocumentJson;
use super::query::{QueryIn, ResultsOut, SelectIn};
use crate::api::bytes::Text;
use crate::failure::kind_name;

/// Documents of a page that names no limit, and the most that one may have.
const PAGE: usize = 100;
const MAX_PAGE: usize = 10_000;
/// Vectors of a field that are searched for at most to sample recall.
const SAMPLES: usize = 1000;

/// Documents by their ids.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GetIn {
    pub(crate) ids: Vec<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) select: Option<SelectIn>,
}

/// A document with its version.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FoundOut {
    pub(crate) version: u64,
    pub(crate) document: DocumentJson,
}

/// Documents by their ids, `null` for those that are not there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct GotOut {
    pub(crate) documents: Vec<Option<FoundOut>>,
    pub(crate) position: Position,
}

/// A page of documents, in the order of their ids.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScanIn {
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) select: Option<SelectIn>,
}

/// A page of documents.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ScanOut {
    pub(crate) documents: Vec<FoundOut>,
    /// Ask for those behind this one to go on; none: that was all.
    pub(crate) next: Option<Text>,
    pub(crate) position: Position,
}

/// Which documents to count.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CountIn {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) filter: Option<Filter>,
}

/// How many there are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CountOut {
    pub(crate) documents: u64,
    pub(crate) position: Position,
}

/// Which documents to delete: of these ids, and all that match.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteIn {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ids: Vec<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) filter: Option<Filter>,
}

/// A document, and the version it must have; `null`: it must not be there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VersionIn {
    pub(crate) id: Text,
    pub(crate) version: Option<u64>,
}

/// The version that a write gave a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct VersionOut {
    pub(crate) id: Text,
    pub(crate) version: u64,
}

/// A row of an import that was left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RefusedOut {
    /// Its number, from 1 on.
    pub(crate) row: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<Text>,
    pub(crate) kind: String,
    pub(crate) message: String,
}

/// What an import did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ImportOut {
    pub(crate) written: u64,
    pub(crate) refused: Vec<RefusedOut>,
    pub(crate) position: Option<Position>,
}

impl RefusedOut {
    pub(crate) fn of(row: u64, id: Option<Text>, error: &Error) -> Self {
        Self { row, id, kind: kind_name(error.kind()).to_owned(), message: error.message().to_owned() }
    }
}

impl ImportOut {
    /// Adds what a commit says about its rows. `rows` are their numbers, in the order of the calls.
    pub(crate) fn add(&mut self, receipt: &Receipt, rows: &[u64], position: Position) {
        self.written += receipt.versions.len() as u64;
        self.position = Some(position);
        for refused in &receipt.refused {
            let row = rows.get(refused.call).copied().unwrap_or(0);
            self.refused.push(RefusedOut { row, ..refused.into() });
        }
    }
}

/// A row of JSON lines as a document, or why it is none.
pub(crate) fn row(line: &[u8]) -> Result<DocumentJson> {
    serde_json::from_slice(line).map_err(|error| Error::invalid(format!("not a document: {error}")).with_source(error))
}

pub(crate) async fn get(reader: &Reader, ask: GetIn) -> Result<GotOut> {
    if ask.ids.len() > MAX_PAGE {
        return Err(Error::invalid(format!("too many ids, ids={}, limit={MAX_PAGE}", ask.ids.len())));
    }
    let select = ask.select.map_or(Select::Everything, Select::from);
    let found = reader.get_all(ask.ids.iter().map(|id| &id.0), &select).await?;
    let documents = found.iter().map(|found| found.as_ref().map(FoundOut::try_from).transpose());
    Ok(GotOut { documents: documents.collect::<Result<_>>()?, position: reader.position() })
}

pub(crate) async fn scan(reader: &Reader, ask: ScanIn) -> Result<ScanOut> {
    let limit = ask.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let select = ask.select.map_or(Select::WithoutVectors, Select::from);
    // One more than the page holds tells whether that is all.
    let mut found = reader.scan(ask.after.as_ref().map(|after| after.0.as_ref()), limit + 1, &select).await?;
    let is_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| is_more).map(|last| Text::from(&last.document.id));
    let documents = found.iter().map(FoundOut::try_from).collect::<Result<_>>()?;
    Ok(ScanOut { documents, next, position: reader.position() })
}

pub(crate) async fn count(reader: &Reader, ask: CountIn) -> Result<CountOut> {
    let filter = ask.filter.unwrap_or_else(Filter::all);
    Ok(CountOut { documents: reader.count(&filter).await?, position: reader.position() })
}

pub(crate) async fn search(reader: &Reader, ask: QueryIn) -> Result<ResultsOut> {
    let explain = ask.explain;
    let results = reader.search(&ask.query()?).await?;
    ResultsOut::of(&results, reader.position(), explain)
}

/// Which figures of an instance.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatsIn {
    /// How many vectors of each field shall be searched for, to see how many of their true neighbours are found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sample: Option<usize>,
}

/// Figures of an instance. Sampling recall reads every vector once.
pub(crate) async fn describe(reader: &Reader, asked: StatsIn) -> Result<serde_json::Value> {
    if asked.sample.is_some_and(|sample| !(1..=SAMPLES).contains(&sample)) {
        return Err(Error::invalid(format!("a sample is of 1 to {SAMPLES} vectors")));
    }
    let (stats, config) = (reader.stats().await?, reader.config());
    let mut fields = serde_json::Map::new();
    for (name, field) in &stats.fields {
        let mut shown = serde_json::json!({
            "vectors": field.vectors, "cells": field.cells, "indexed": field.indexed, "tail": field.tail,
            // Replaced and deleted vectors in cells, as far as the tail lets tell.
            "tombstones": field.indexed.saturating_sub(field.vectors), "code_bits": config.code_bits,
        });
        if let (Some(shown), Some(of)) = (shown.as_object_mut(), config.schema.vectors.get(name)) {
            shown.insert("storage".to_owned(), serde_json::json!(of.storage));
            shown.insert("metric".to_owned(), serde_json::json!(of.metric));
            if let Some(sample) = asked.sample {
                let recall = reader.sampled_recall(name, sample, Effort::Normal).await?;
                shown.insert("sampled_recall".to_owned(), serde_json::json!(recall));
            }
        }
        fields.insert(name.clone(), shown);
    }
    Ok(serde_json::json!({
        "documents": stats.documents, "versions": stats.versions, "dead": stats.dead,
        "state_bytes": stats.state_bytes, "cached_bytes": stats.cached_bytes, "drained_by_commits": stats.drained_by_commits, "fields": fields, "position": reader.position(),
    }))
}

impl From<&Refused> for RefusedOut {
    fn from(refused: &Refused) -> Self {
        let Refused { call, id, kind, message } = refused;
        Self { row: *call as u64 + 1, id: Some(id.into()), kind: kind_name(*kind).to_owned(), message: message.clone() }
    }
}

impl DeleteIn {
    /// Asks for the deletion.
    pub(crate) fn stage(self, op: &mut Op) -> Result<()> {
        if self.ids.is_empty() && self.filter.is_none() {
            return Err(Error::new(ErrorKind::Invalid, "a deletion names ids or a filter"));
        }
        for id in self.ids {
            op.delete(id.0);
        }
        if let Some(filter) = self.filter {
            op.delete_where(filter);
        }
        Ok(())
    }
}

impl VersionIn {
    /// Demands the version.
    pub(crate) fn stage(self, op: &mut Op) {
        op.if_version(self.id.0, self.version.map(Version));
    }
}

impl TryFrom<&Found> for FoundOut {
    type Error = Error;

    fn try_from(found: &Found) -> Result<Self> {
        Ok(Self { version: found.version.0, document: (&found.document).try_into()? })
    }
}
