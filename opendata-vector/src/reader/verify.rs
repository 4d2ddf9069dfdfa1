//! Checks an index against the documents it is made of, and samples its recall.

use std::collections::BTreeSet;

use opendata_core::slate::{Access, Order};
use opendata_core::{Error, Result};

use super::Reader;
use crate::idset::CHUNK;
use crate::key::Key;
use crate::record::{self, column, page};
use crate::search::{Effort, Query, Scored, Top};
use crate::sparse::Weight;
use crate::state::{Snapshot, push_scored};
use crate::{Select, kernel, postings, text};

/// Neighbours that a sampled vector asks for.
const NEIGHBOURS: usize = 10;

impl Reader {
    /// Reads the whole index of every field of vectors and holds it against the vectors: each live one is in exactly one cell, or
    /// still in the tail; no cell names a vector that is neither there nor dead; the table counts what is in the cells. Attributes,
    /// words and sparse vectors name no document that is neither there nor dead. Returns how many vectors were checked.
    ///
    /// # Errors
    /// `Corrupt`, naming what does not hold, or what the store returned.
    pub async fn verify(&self) -> Result<u64> {
        let snapshot = self.snapshot().await?;
        let mut checked = 0;
        verify_rows(snapshot).await?;
        for name in snapshot.state.config.schema.vectors.keys() {
            checked += verify_field(snapshot, name).await?;
        }
        Ok(checked)
    }

    /// The share of the true ten nearest that searches of a field find, for vectors that are sampled from it. Reads every
    /// vector of the field once. None if there are too few vectors to sample.
    ///
    /// # Errors
    /// `Invalid` if there is no such field, or what the store returned.
    pub async fn sampled_recall(&self, field: &str, samples: usize, effort: Effort) -> Result<Option<f64>> {
        let snapshot = self.snapshot().await?;
        let of = snapshot.state.config.schema.vector_field(field)?;
        let next_id = snapshot.state.counters.next_id;
        let mut sampled: Vec<(u64, Vec<f32>, Top)> = Vec::new();
        for at in 0..samples as u64 {
            let from = (next_id as u128 * u128::from(at) / samples.max(1) as u128) as u64;
            let mut vectors = snapshot.vectors(field, of, (from, next_id), Access::Point).await?;
            let Some((id, key, value)) = vectors.next().await? else { break };
            if sampled.last().is_none_or(|(last, ..)| *last < id) {
                let mut vector = Vec::new();
                push_scored(key, &value, of, &mut vector)?;
                sampled.push((id, vector, Top::new(NEIGHBOURS)));
            }
        }
        let mut vectors = snapshot.vectors(field, of, (0, next_id), Access::Bulk).await?;
        let mut vector = Vec::new();
        while let Some((id, key, value)) = vectors.next().await? {
            vector.clear();
            push_scored(key, &value, of, &mut vector)?;
            for (_, query, top) in &mut sampled {
                top.push(Scored { score: f64::from(kernel::score(of.metric, query, &vector)), id });
            }
        }
        let (mut found, mut wanted) = (0, 0);
        for (_, query, top) in sampled {
            let truth: BTreeSet<u64> = top.into_sorted().iter().map(|scored| scored.id).collect();
            let query = Query::nearest(field, query).limit(NEIGHBOURS).effort(effort).select(Select::Id);
            let hits = self.search(&query).await?.hits;
            found += hits.iter().filter(|hit| truth.contains(&hit.version.0)).count();
            wanted += truth.len();
        }
        Ok((wanted > 0).then(|| found as f64 / wanted as f64))
    }
}

/// What was forgotten to be dead must be in no index.
async fn verify_rows(snapshot: Snapshot<'_>) -> Result<()> {
    let mut known = snapshot.state.dead.clone();
    let mut rows = snapshot.view.scan(snapshot.keys.all_docs(), Access::Bulk, Order::Ascending).await?;
    let mut live = 0;
    while let Some(row) = rows.next().await? {
        let Key::Docs(page) = Key::decode(&row.key)? else { continue };
        let mut entries = page::Entries::new(&row.key, &row.value)?;
        while let Some((low, entry)) = entries.next(&row.key)? {
            let Some(_) = entry else { continue };
            live += 1;
            let id = page * page::DOCUMENTS + u64::from(low);
            if !known.insert(id) {
                return Err(Error::corrupt_at(&row.key, "a dead document was not deleted"));
            }
            snapshot.stored(id).await?;
        }
    }
    if live != snapshot.state.counters.live {
        let counted = snapshot.state.counters.live;
        return Err(Error::corrupt(format!("documents are miscounted, documents={live}, counted={counted}")));
    }
    let mut rows = snapshot.view.scan(snapshot.keys.swept(None), Access::Bulk, Order::Ascending).await?;
    while let Some(row) = rows.next().await? {
        let (chunk, lows) = match Key::decode(&row.key)? {
            Key::Attr { chunk, .. } | Key::Has { chunk, .. } => {
                let ids = record::decode_bitmap(&row.key, &row.value)?;
                (chunk, ids.iter().map(|low| low as u16).collect::<Vec<u16>>())
            }
            Key::Num { chunk, .. } => {
                (chunk, column::decode(&row.key, &row.value)?.into_iter().map(|(_, low)| low).collect())
            }
            Key::Term { chunk, .. } => {
                (chunk, text::decode(&row.key, &row.value)?.into_iter().map(|posting| posting.low).collect())
            }
            Key::Sparse { chunk, .. } => {
                let weights = postings::decode::<Weight>(&row.key, &row.value)?;
                (chunk, weights.into_iter().map(|weight| weight.low).collect())
            }
            _ => continue,
        };
        let first = chunk * CHUNK;
        if let Some(low) = lows.iter().find(|low| !known.contains(first + u64::from(**low))) {
            let id = first + u64::from(*low);
            return Err(Error::corrupt_at(
                &row.key,
                format_args!("names a document that is neither there nor dead, id={id}"),
            ));
        }
    }
    Ok(())
}

async fn verify_field(snapshot: Snapshot<'_>, name: &str) -> Result<u64> {
    let field = snapshot.state.config.schema.vector_field(name)?;
    let table = snapshot.state.table(name);
    let wrong = |what: &str, id: u64| {
        Err(Error::corrupt(format!("index does not match its vectors: {what}, field={name}, vector={id}")))
    };
    // Reading the routes checks that table and centroids name the same cells.
    snapshot.routes(name, field).await?;
    let mut indexed = BTreeSet::new();
    for (cell, info) in &table.cells {
        let key = snapshot.keys.cell(name, *cell);
        let value = snapshot.view.get(&key).await?.ok_or_else(|| Error::corrupt_at(&key, "cell is missing"))?;
        let stored = crate::cell::Cell::decode(&key, &value)?;
        if stored.rows() as u64 != info.rows {
            return Err(Error::corrupt_at(&key, "the table counts other vectors in a cell"));
        }
        for id in stored.ids() {
            if id >= table.drained_to {
                return wrong("a cell has what is in the tail as well", id);
            }
            if !indexed.insert(id) {
                return wrong("two cells have the same", id);
            }
        }
    }
    let mut live = 0;
    let mut vectors = snapshot.vectors(name, field, (0, snapshot.state.counters.next_id), Access::Bulk).await?;
    while let Some((id, ..)) = vectors.next().await? {
        live += 1;
        if snapshot.state.dead.contains(id) {
            return wrong("a dead one was not deleted", id);
        }
        if id < table.drained_to && !indexed.remove(&id) {
            return wrong("one is in no cell and not in the tail", id);
        }
    }
    if let Some(id) = indexed.iter().find(|id| !snapshot.state.dead.contains(**id)) {
        return wrong("a cell has one that is neither there nor dead", *id);
    }
    let counted = snapshot.state.counters.vectors.get(name).copied().unwrap_or(0);
    if live != counted {
        return Err(Error::corrupt(format!("vectors are miscounted, field={name}, vectors={live}, counted={counted}")));
    }
    Ok(live)
}
