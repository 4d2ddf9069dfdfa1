//! Searches: nearest neighbours, words, or both, among the documents that a filter lets through.
//!
//! Each leg of a query ranks documents on its own; several are fused. All of it reads one view.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use opendata_core::{Error, Result};

use crate::document::{Document, Value};
use crate::filter::Filter;
use crate::idset::IdSet;
use crate::op::Version;
use crate::reader::{Found, Select, fetch};
use crate::sparse::SparseVector;
use crate::state::Snapshot;

mod cursor;
mod fuse;
mod maxsim;
mod nearest;
mod ranking;
mod sparse;
mod words;

pub use cursor::Cursor;
pub(crate) use nearest::CellOrder;
pub(crate) use ranking::{Scored, Top};

/// How hard a search for neighbours looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Effort {
    /// A [`Recall`](Self::Recall) of 0.97.
    #[default]
    Normal,
    /// As much as finds this share of the true results on average, 0.5 to 1. Maintenance measures on a sample of the field's own
    /// vectors how far to look for that; queries of another kind than the vectors may find less. 1 visits every cell.
    Recall(f32),
    /// At least this many cells, if there are so many.
    Cells(u32),
    /// Every vector is compared: the truth, at the price of reading all of them.
    Exact,
}

/// How several rankings become one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fusion {
    /// Reciprocal ranks: each leg adds weight / (k + rank), ranks from 1 (Cormack, Clarke and Buettcher, 2009).
    ReciprocalRank {
        /// How little the first ranks stand out; 60 by default.
        k: f64,
    },
    /// Each leg adds its weight times its score, scaled so that its best candidate has 1 and its worst 0.
    Weighted,
}

impl Default for Fusion {
    fn default() -> Self {
        Self::ReciprocalRank { k: 60.0 }
    }
}

/// One way to rank documents.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Leg {
    pub(crate) by: By,
    pub(crate) weight: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum By {
    Nearest { field: String, vector: Vec<f32> },
    Words { fields: Vec<(String, f64)>, text: String },
    Sparse { field: String, vector: SparseVector },
    MaxSim { field: String, vectors: Vec<Vec<f32>>, parent: String },
}

/// What to search for.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    pub(crate) legs: Vec<Leg>,
    pub(crate) filter: Option<Filter>,
    pub(crate) limit: usize,
    pub(crate) offset: usize,
    pub(crate) depth: usize,
    pub(crate) fusion: Fusion,
    pub(crate) group: Option<(String, usize)>,
    pub(crate) select: Select,
    pub(crate) effort: Effort,
    pub(crate) after: Option<Cursor>,
}

/// Most results of one search, the offset among them.
pub const RESULT_LIMIT: usize = 10_000;

impl Default for Query {
    fn default() -> Self {
        Self {
            legs: Vec::new(),
            filter: None,
            limit: 10,
            offset: 0,
            depth: 100,
            fusion: Fusion::default(),
            group: None,
            select: Select::default(),
            effort: Effort::default(),
            after: None,
        }
    }
}

impl Query {
    /// All documents, in the order in which they were written last.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The documents whose vectors are nearest.
    #[must_use]
    pub fn nearest(field: &str, vector: impl Into<Vec<f32>>) -> Self {
        Self::new().and_nearest(field, vector, 1.0)
    }

    /// The documents whose texts have the words, by BM25.
    #[must_use]
    pub fn words(field: &str, text: &str) -> Self {
        Self::new().and_words([(field, 1.0)], text, 1.0)
    }

    /// One more ranking by nearness.
    #[must_use]
    pub fn and_nearest(mut self, field: &str, vector: impl Into<Vec<f32>>, weight: f64) -> Self {
        self.legs.push(Leg { by: By::Nearest { field: field.to_owned(), vector: vector.into() }, weight });
        self
    }

    /// One more ranking by words, over several fields with a boost each.
    #[must_use]
    pub fn and_words<'a>(mut self, fields: impl IntoIterator<Item = (&'a str, f64)>, text: &str, weight: f64) -> Self {
        let fields = fields.into_iter().map(|(field, boost)| (field.to_owned(), boost)).collect();
        self.legs.push(Leg { by: By::Words { fields, text: text.to_owned() }, weight });
        self
    }

    /// The documents with the greatest inner product of a sparse vector.
    #[must_use]
    pub fn sparse(field: &str, vector: SparseVector) -> Self {
        Self::new().and_sparse(field, vector, 1.0)
    }

    /// Several query vectors against documents that are parts of a whole: those with the same value of the attribute
    /// `parent`. A whole is as good as the sum, over the query vectors, of the best score of a part, and is shown as its best part.
    #[must_use]
    pub fn max_sim(field: &str, vectors: impl IntoIterator<Item = Vec<f32>>, parent: &str) -> Self {
        Self::new().and_max_sim(field, vectors, parent, 1.0)
    }

    /// One more ranking by sparse vectors.
    #[must_use]
    pub fn and_sparse(mut self, field: &str, vector: SparseVector, weight: f64) -> Self {
        self.legs.push(Leg { by: By::Sparse { field: field.to_owned(), vector }, weight });
        self
    }

    /// One more ranking of wholes, see [`max_sim`](Self::max_sim).
    #[must_use]
    pub fn and_max_sim(
        mut self,
        field: &str,
        vectors: impl IntoIterator<Item = Vec<f32>>,
        parent: &str,
        weight: f64,
    ) -> Self {
        let (field, vectors) = (field.to_owned(), vectors.into_iter().collect());
        self.legs.push(Leg { by: By::MaxSim { field, vectors, parent: parent.to_owned() }, weight });
        self
    }

    /// Goes on behind the results of the search before, on the same view: no result comes twice.
    #[must_use]
    pub fn after(self, cursor: Cursor) -> Self {
        Self { after: Some(cursor), ..self }
    }

    /// Only documents that match.
    #[must_use]
    pub fn filter(self, filter: Filter) -> Self {
        Self { filter: Some(filter), ..self }
    }

    /// How many results; 10 by default.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// How many of the best results to leave out.
    #[must_use]
    pub fn offset(self, offset: usize) -> Self {
        Self { offset, ..self }
    }

    /// How many candidates each leg brings to a fusion; 100 by default, and at least as many as results are asked for. All
    /// pages of a fused ranking are of these candidates.
    #[must_use]
    pub fn depth(self, depth: usize) -> Self {
        Self { depth, ..self }
    }

    /// How several legs become one ranking.
    #[must_use]
    pub fn fusion(self, fusion: Fusion) -> Self {
        Self { fusion, ..self }
    }

    /// At most `per_group` results with the same value of an attribute. Documents without it are a group.
    #[must_use]
    pub fn group_by(self, attribute: &str, per_group: usize) -> Self {
        Self { group: Some((attribute.to_owned(), per_group)), ..self }
    }

    /// Which fields are read of each result.
    #[must_use]
    pub fn select(self, select: Select) -> Self {
        Self { select, ..self }
    }

    /// How hard to look for neighbours.
    #[must_use]
    pub fn effort(self, effort: Effort) -> Self {
        Self { effort, ..self }
    }

    /// The fields of vectors that it looks into.
    pub(crate) fn searched(&self) -> BTreeSet<&str> {
        let fields = self.legs.iter().filter_map(|leg| match &leg.by {
            By::Nearest { field, .. } | By::MaxSim { field, .. } => Some(field.as_str()),
            By::Words { .. } | By::Sparse { .. } => None,
        });
        fields.collect()
    }

    fn check(&self, snapshot: Snapshot<'_>) -> Result<()> {
        let seen = self.after.map_or(0, |after| after.seen);
        let reach = seen.saturating_add(self.offset).saturating_add(self.limit).max(self.depth);
        if reach > RESULT_LIMIT {
            return Err(Error::invalid(format!(
                "search asks for too many results, results={reach}, limit={RESULT_LIMIT}"
            )));
        }
        if let Some(after) = self.after {
            after.check(snapshot.view.position())?;
        }
        if let Some((attribute, per_group)) = &self.group {
            snapshot.state.config.schema.attribute_type(attribute)?;
            if *per_group == 0 {
                return Err(Error::invalid("a group must have room for one result"));
            }
        }
        if let Effort::Recall(recall) = self.effort
            && !(0.5..=1.0).contains(&recall)
        {
            return Err(Error::invalid(format!("recall is out of range, recall={recall}, range=0.5..=1")));
        }
        match self.legs.iter().find(|leg| !leg.weight.is_finite() || leg.weight < 0.0) {
            Some(leg) => Err(Error::invalid(format!("weight is not a number from 0 on, weight={}", leg.weight))),
            None => Ok(()),
        }
    }
}

/// A document that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The document, with the fields that were selected.
    pub document: Document,
    /// Its version.
    pub version: Version,
    /// How good it is, higher is better: the cosine, the inner product, the squared distance negated, the BM25 score, or
    /// what the fusion made of them.
    pub score: f64,
    /// Its score on each leg of the query; none where it was not among the candidates.
    pub legs: Vec<Option<f64>>,
}

/// What a leg of a search did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LegExplain {
    /// Cells of the index.
    pub cells: u64,
    /// Cells that were looked into.
    pub probed: u64,
    /// Vectors whose score was estimated by their code.
    pub estimated: u64,
    /// Vectors that were read in full and scored.
    pub scored: u64,
    /// Postings that were read; blocks of them that cannot matter are passed over.
    pub postings: u64,
    /// Candidates that it brought.
    pub candidates: u64,
}

/// What a search did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explain {
    /// How many documents the filter let through; none without a filter.
    pub matching: Option<u64>,
    /// By leg of the query.
    pub legs: Vec<LegExplain>,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// Best first. Equal scores stand in the order in which the documents were written.
    pub hits: Vec<Hit>,
    /// How it was found.
    pub explain: Explain,
    /// Where the next page begins; none: these were all.
    pub next: Option<Cursor>,
}

/// The documents that a search is about.
#[derive(Clone, Copy)]
pub(crate) struct Allowed<'a> {
    /// Live ones that match the filter; none without a filter.
    pub(crate) set: Option<&'a IdSet>,
    pub(crate) dead: &'a IdSet,
}

impl Allowed<'_> {
    pub(crate) fn contains(&self, id: u64) -> bool {
        self.set.map_or_else(|| !self.dead.contains(id), |set| set.contains(id))
    }
}

pub(crate) async fn run(snapshot: Snapshot<'_>, query: &Query) -> Result<Results> {
    query.check(snapshot)?;
    let set = match &query.filter {
        Some(filter) => Some(snapshot.matching(filter).await?),
        None => None,
    };
    let matching = set.as_ref().map(IdSet::len);
    let allowed = Allowed { set: set.as_ref(), dead: &snapshot.state.dead };
    let seen = query.after.map_or(0, |after| after.seen);
    let wanted = seen + query.offset + query.limit;
    let mut reach = wanted;
    loop {
        let (ranking, explain, is_whole) = rank(snapshot, query, allowed, reach).await?;
        let grouped = group(snapshot, query, ranking).await?;
        if query.group.is_none() || grouped.len() >= wanted || is_whole || reach >= RESULT_LIMIT {
            let is_behind = |scored: &Scored| query.after.is_none_or(|after| after.is_before(scored));
            let behind = grouped.into_iter().filter(|(scored, _)| is_behind(scored));
            let page: Ranking = behind.skip(query.offset).take(query.limit).collect();
            let is_full = page.len() == query.limit && query.limit > 0;
            let last = page.last().filter(|_| is_full).map(|(last, _)| *last);
            let hits = try_join_all(page.into_iter().map(|(scored, legs)| async move {
                let Found { document, version } = fetch(snapshot, scored.id, &query.select).await?;
                Ok::<_, Error>(Hit { document, version, score: scored.score, legs })
            }));
            let next = last.map(|last| Cursor::behind(snapshot.view.position(), wanted, last));
            return Ok(Results { hits: hits.await?, explain: Explain { matching, legs: explain }, next });
        }
        reach = (reach * 4).min(RESULT_LIMIT);
    }
}

type Ranking = Vec<(Scored, Vec<Option<f64>>)>;

/// The best `reach` documents over all legs, and whether these are all there are.
async fn rank(
    snapshot: Snapshot<'_>,
    query: &Query,
    allowed: Allowed<'_>,
    reach: usize,
) -> Result<(Ranking, Vec<LegExplain>, bool)> {
    if query.legs.is_empty() {
        let all = match allowed.set {
            Some(set) => set.clone(),
            None => snapshot.everything().await?.without(allowed.dead),
        };
        let ranking: Ranking = all.iter().take(reach).map(|id| (Scored { score: 0.0, id }, Vec::new())).collect();
        let is_whole = all.len() <= reach as u64;
        return Ok((ranking, Vec::new(), is_whole));
    }
    // A fused ranking is one of the same candidates on all its pages.
    let is_fused = query.legs.len() > 1;
    let depth = if is_fused { query.depth.max(query.limit) } else { reach };
    let mut lists = Vec::new();
    let mut explains = Vec::new();
    for leg in &query.legs {
        let mut explain = LegExplain::default();
        let list = match &leg.by {
            By::Nearest { field, vector } => {
                nearest::search(snapshot, field, vector, allowed, depth, query.effort, &mut explain).await?
            }
            By::Words { fields, text } => words::search(snapshot, fields, text, allowed, depth, &mut explain).await?,
            By::Sparse { field, vector } => {
                sparse::search(snapshot, field, vector, allowed, depth, &mut explain).await?
            }
            By::MaxSim { field, vectors, parent } => {
                let leg = maxsim::MaxSim { field, vectors, parent };
                leg.search(snapshot, allowed, depth, query.effort, &mut explain).await?
            }
        };
        explain.candidates = list.len() as u64;
        explains.push(explain);
        lists.push(list);
    }
    let is_whole = is_fused || lists.iter().all(|list| list.len() < depth);
    let mut ranking = fuse::fuse(query, lists);
    if !is_fused {
        ranking.truncate(reach);
    }
    Ok((ranking, explains, is_whole))
}

/// Leaves out what its group has no room for.
async fn group(snapshot: Snapshot<'_>, query: &Query, ranking: Ranking) -> Result<Ranking> {
    let Some((attribute, per_group)) = &query.group else { return Ok(ranking) };
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    let mut kept = Vec::new();
    for (scored, legs) in ranking {
        let value: Option<Value> = snapshot.stored(scored.id).await?.attributes.get(attribute).cloned();
        let taken = taken.entry(format!("{value:?}")).or_default();
        if *taken < *per_group {
            *taken += 1;
            kept.push((scored, legs));
        }
    }
    Ok(kept)
}
