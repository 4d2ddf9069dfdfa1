//! Whole documents by their parts: several query vectors against the vectors of sub-documents.
//!
//! Sub-documents that have the same value of an attribute belong together. Such a whole is as good as the sum, over the
//! query vectors, of the best score that one of its parts has (late interaction; Khattab and Zaharia, 2020). It stands in the
//! ranking as the part with the best single score. A document without the attribute is a whole by itself.

use std::collections::{BTreeMap, BTreeSet};

use opendata_core::slate::Access;
use opendata_core::{Error, Result};

use super::{Allowed, Effort, LegExplain, Scored, Top, nearest};
use crate::document::Value;
use crate::filter::Filter;
use crate::kernel;
use crate::schema::{Metric, VectorField};
use crate::state::{Snapshot, push_scored};

/// A leg of this kind.
pub(super) struct MaxSim<'a> {
    pub(super) field: &'a str,
    pub(super) vectors: &'a [Vec<f32>],
    pub(super) parent: &'a str,
}

/// A whole, as far as its parts were seen.
struct Whole {
    /// The best score of a part, for each query vector.
    best: Vec<f64>,
    part: Scored,
}

impl Whole {
    fn add(whole: Option<Self>, id: u64, scores: Vec<f64>) -> Self {
        let score = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let part = Scored { score, id };
        match whole {
            None => Self { best: scores, part },
            Some(mut whole) => {
                whole.best.iter_mut().zip(scores).for_each(|(best, score)| *best = best.max(score));
                whole.part = whole.part.max(part);
                whole
            }
        }
    }

    fn scored(&self) -> Scored {
        Scored { score: self.best.iter().sum(), id: self.part.id }
    }
}

impl MaxSim<'_> {
    pub(super) async fn search(
        &self,
        snapshot: Snapshot<'_>,
        allowed: Allowed<'_>,
        depth: usize,
        effort: Effort,
        explain: &mut LegExplain,
    ) -> Result<Vec<Scored>> {
        let schema = &snapshot.state.config.schema;
        let field = schema.vector_field(self.field)?;
        if schema.attribute_type(self.parent)?.is_array() {
            return Err(Error::invalid(format!("parts are joined by a single value, attribute={}", self.parent)));
        }
        if self.vectors.is_empty() {
            return Err(Error::invalid("there is no query vector"));
        }
        for vector in self.vectors {
            check(self.field, field, vector)?;
        }
        let queries: Vec<Vec<f32>> = self
            .vectors
            .iter()
            .cloned()
            .map(|mut query| {
                kernel::normalise(field.metric, &mut query);
                query
            })
            .collect();
        let wholes = match effort {
            Effort::Exact => self.all(snapshot, field, &queries, allowed, explain).await?,
            effort => self.near(snapshot, field, &queries, allowed, depth, effort, explain).await?,
        };
        let mut top = Top::new(depth);
        wholes.iter().for_each(|whole| top.push(whole.scored()));
        Ok(top.into_sorted())
    }

    /// Every whole there is.
    async fn all(
        &self,
        snapshot: Snapshot<'_>,
        field: VectorField,
        queries: &[Vec<f32>],
        allowed: Allowed<'_>,
        explain: &mut LegExplain,
    ) -> Result<Vec<Whole>> {
        let mut wholes: BTreeMap<String, Whole> = BTreeMap::new();
        let every = (0, snapshot.state.counters.next_id);
        let mut vectors = snapshot.vectors(self.field, field, every, Access::Bulk).await?;
        let mut vector = Vec::with_capacity(field.dims as usize);
        while let Some((id, key, value)) = vectors.next().await? {
            if !allowed.contains(id) {
                continue;
            }
            vector.clear();
            push_scored(key, &value, field, &mut vector)?;
            explain.scored += 1;
            let name = self.name(snapshot, id).await?.1;
            let whole = Whole::add(wholes.remove(&name), id, scores(field, queries, &vector));
            wholes.insert(name, whole);
        }
        Ok(wholes.into_values().collect())
    }

    /// The wholes of which a part is near to one of the query vectors, each with all of its parts.
    #[expect(clippy::too_many_arguments, reason = "what a leg of a search is given")]
    async fn near(
        &self,
        snapshot: Snapshot<'_>,
        field: VectorField,
        queries: &[Vec<f32>],
        allowed: Allowed<'_>,
        depth: usize,
        effort: Effort,
        explain: &mut LegExplain,
    ) -> Result<Vec<Whole>> {
        let mut seen = BTreeSet::new();
        let mut wholes = Vec::new();
        for query in queries {
            // Several of the nearest may be parts of one whole.
            let found = nearest::search(snapshot, self.field, query, allowed, depth.saturating_mul(4), effort, explain);
            for candidate in found.await? {
                let (value, name) = self.name(snapshot, candidate.id).await?;
                if !seen.insert(name) {
                    continue;
                }
                let parts = match value {
                    Some(value) => {
                        let filter = Filter::eq(self.parent, value);
                        snapshot.matching(&filter).await?.iter().filter(|id| allowed.contains(*id)).collect()
                    }
                    None => vec![candidate.id],
                };
                let mut whole = None;
                for id in parts {
                    let (key, Some(value)) = snapshot.vector_bytes(self.field, field, id).await? else { continue };
                    let mut vector = Vec::with_capacity(field.dims as usize);
                    push_scored(&key, &value, field, &mut vector)?;
                    explain.scored += 1;
                    whole = Some(Whole::add(whole, id, scores(field, queries, &vector)));
                }
                wholes.extend(whole);
            }
        }
        Ok(wholes)
    }

    /// What a document is a part of, and a name for it.
    async fn name(&self, snapshot: Snapshot<'_>, id: u64) -> Result<(Option<Value>, String)> {
        let value = snapshot.stored(id).await?.attributes.get(self.parent).cloned();
        let name = value.as_ref().map_or_else(|| format!("id {id}"), |value| format!("{value:?}"));
        Ok((value, name))
    }
}

fn check(name: &str, field: VectorField, vector: &[f32]) -> Result<()> {
    if vector.len() != field.dims as usize {
        let (found, dims) = (vector.len(), field.dims);
        return Err(Error::invalid(format!(
            "wrong number of dimensions in a query, field={name}, dims={found}, expected={dims}"
        )));
    }
    let squared = kernel::dot(vector, vector);
    if !squared.is_finite() || (field.metric == Metric::Cosine && squared <= f32::MIN_POSITIVE) {
        return Err(Error::invalid(format!("query vector has no finite length or no direction, field={name}")));
    }
    Ok(())
}

fn scores(field: VectorField, queries: &[Vec<f32>], vector: &[f32]) -> Vec<f64> {
    queries.iter().map(|query| f64::from(kernel::score(field.metric, query, vector))).collect()
}
