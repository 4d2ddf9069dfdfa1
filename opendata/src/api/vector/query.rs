//! A search as JSON.
//!
//! ```json
//! {"nearest": {"field": "embedding", "vector": [0.1, 0.2]}, "words": {"field": "body", "text": "red fox", "weight": 2},
//!  "filter": "lang = 'en' and year >= 1990", "limit": 10, "select": ["lang"]}
//! ```

use std::collections::BTreeMap;

use opendata_compose::vector::{Effort, Explain, Filter, Fusion, Query, Results, Select, SparseVector};
use opendata_core::{Error, Position, Result};
use serde::{Deserialize, Serialize};

use super::DocumentJson;
use crate::api::commit::OneOrMany;

/// What to search for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueryIn {
    /// Rankings by nearness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) nearest: Option<OneOrMany<NearestIn>>,
    /// Rankings by words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) words: Option<OneOrMany<WordsIn>>,
    /// Rankings by sparse vectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sparse: Option<OneOrMany<SparseIn>>,
    /// Rankings of wholes by their best parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_sim: Option<OneOrMany<MaxSimIn>>,
    /// As text or as an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) filter: Option<Filter>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) offset: Option<usize>,
    /// Candidates that each ranking brings to the fusion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) depth: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fusion: Option<FusionIn>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group_by: Option<GroupIn>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) select: Option<SelectIn>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) effort: Option<EffortIn>,
    /// The `next` of the page before. It holds for one view: for a checkpoint for ever, on a server for a minute or so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<String>,
    /// Whether a server keeps its view for the next page.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) paged: bool,
    /// Whether the answer says how it was found.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) explain: bool,
}

/// A ranking by nearness.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NearestIn {
    pub(crate) field: String,
    pub(crate) vector: Vec<f32>,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub(crate) weight: f64,
}

/// A ranking by sparse vectors.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SparseIn {
    pub(crate) field: String,
    pub(crate) vector: SparseVector,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub(crate) weight: f64,
}

/// A ranking of wholes: documents with the same value of the attribute `parent`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MaxSimIn {
    pub(crate) field: String,
    pub(crate) vectors: Vec<Vec<f32>>,
    pub(crate) parent: String,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub(crate) weight: f64,
}

/// A ranking by words, in one field or in several with a boost each.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WordsIn {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) fields: BTreeMap<String, f64>,
    pub(crate) text: String,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub(crate) weight: f64,
}

fn one() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_one(weight: &f64) -> bool {
    *weight == 1.0
}

/// How several rankings become one.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum FusionIn {
    ReciprocalRank { k: f64 },
    Weighted,
}

/// Groups of results.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupIn {
    pub(crate) attribute: String,
    #[serde(default = "one_result")]
    pub(crate) per_group: usize,
}

fn one_result() -> usize {
    1
}

/// Which fields are read: a word, or their names.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected `id`, `without_vectors`, `everything`, or a list of fields")]
pub(crate) enum SelectIn {
    Word(SelectWord),
    Fields(Vec<String>),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SelectWord {
    Id,
    WithoutVectors,
    Everything,
}

/// How hard to look.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum EffortIn {
    Normal,
    Exact,
    Cells(u32),
    /// The share of the true results that is to be found.
    Recall(f32),
}

impl SelectIn {
    /// As the command line has it: a word, or names with commas between them.
    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "id" => Self::Word(SelectWord::Id),
            "without_vectors" => Self::Word(SelectWord::WithoutVectors),
            "everything" => Self::Word(SelectWord::Everything),
            names => Self::Fields(names.split(',').map(|name| name.trim().to_owned()).collect()),
        }
    }
}

impl From<SelectIn> for Select {
    fn from(select: SelectIn) -> Self {
        match select {
            SelectIn::Word(SelectWord::Id) => Self::Id,
            SelectIn::Word(SelectWord::WithoutVectors) => Self::WithoutVectors,
            SelectIn::Word(SelectWord::Everything) => Self::Everything,
            SelectIn::Fields(names) => Self::fields(names),
        }
    }
}

impl QueryIn {
    /// As the vector database understands it.
    pub(crate) fn query(self) -> Result<Query> {
        let mut query = Query::new();
        for NearestIn { field, vector, weight } in self.nearest.into_iter().flat_map(|list| list.0) {
            query = query.and_nearest(&field, vector, weight);
        }
        for WordsIn { field, fields, text, weight } in self.words.into_iter().flat_map(|list| list.0) {
            let fields: Vec<(&str, f64)> = field
                .iter()
                .map(|field| (field.as_str(), 1.0))
                .chain(fields.iter().map(|(f, b)| (f.as_str(), *b)))
                .collect();
            if fields.is_empty() {
                return Err(Error::invalid("words are looked for in a `field` or in `fields`"));
            }
            query = query.and_words(fields, &text, weight);
        }
        for SparseIn { field, vector, weight } in self.sparse.into_iter().flat_map(|list| list.0) {
            query = query.and_sparse(&field, vector, weight);
        }
        for MaxSimIn { field, vectors, parent, weight } in self.max_sim.into_iter().flat_map(|list| list.0) {
            query = query.and_max_sim(&field, vectors, &parent, weight);
        }
        if let Some(cursor) = self.cursor {
            query = query.after(cursor.parse()?);
        }
        if let Some(filter) = self.filter {
            query = query.filter(filter);
        }
        if let Some(limit) = self.limit {
            query = query.limit(limit);
        }
        if let Some(offset) = self.offset {
            query = query.offset(offset);
        }
        if let Some(depth) = self.depth {
            query = query.depth(depth);
        }
        query = match self.fusion {
            Some(FusionIn::ReciprocalRank { k }) => query.fusion(Fusion::ReciprocalRank { k }),
            Some(FusionIn::Weighted) => query.fusion(Fusion::Weighted),
            None => query,
        };
        if let Some(GroupIn { attribute, per_group }) = self.group_by {
            query = query.group_by(&attribute, per_group);
        }
        if let Some(select) = self.select {
            query = query.select(select.into());
        }
        Ok(match self.effort {
            None | Some(EffortIn::Normal) => query,
            Some(EffortIn::Exact) => query.effort(Effort::Exact),
            Some(EffortIn::Cells(cells)) => query.effort(Effort::Cells(cells)),
            Some(EffortIn::Recall(recall)) => query.effort(Effort::Recall(recall)),
        })
    }
}

/// What a search found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ResultsOut {
    /// Best first.
    pub(crate) hits: Vec<HitOut>,
    /// The position that was read at.
    pub(crate) position: Position,
    /// The `cursor` of the next page; none: these were all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) explain: Option<serde_json::Value>,
}

/// A document that was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HitOut {
    pub(crate) score: f64,
    pub(crate) version: u64,
    /// Its score in each ranking, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) legs: Vec<Option<f64>>,
    pub(crate) document: DocumentJson,
}

impl ResultsOut {
    pub(crate) fn of(results: &Results, position: Position, explain: bool) -> Result<Self> {
        let hits = results.hits.iter().map(|hit| {
            let legs = if hit.legs.len() > 1 { hit.legs.clone() } else { Vec::new() };
            Ok(HitOut { score: hit.score, version: hit.version.0, legs, document: (&hit.document).try_into()? })
        });
        let explain = explain.then(|| explained(&results.explain));
        let next = results.next.map(|next| next.to_string());
        Ok(Self { hits: hits.collect::<Result<_>>()?, position, next, explain })
    }
}

fn explained(explain: &Explain) -> serde_json::Value {
    let legs = explain.legs.iter().map(|leg| {
        serde_json::json!({
            "cells": leg.cells, "probed": leg.probed, "estimated": leg.estimated, "scored": leg.scored,
            "postings": leg.postings, "candidates": leg.candidates,
        })
    });
    serde_json::json!({"matching": explain.matching, "legs": legs.collect::<Vec<_>>()})
}
