//! The documents that have the words of a query, by BM25 over the live documents of each field.
//!
//! All lists are walked together for the best. How many live documents have a word is counted exactly, from the heads of
//! blocks where a chunk has no dead ids.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::future::try_join_all;
use opendata_core::Result;
use opendata_core::slate::{Access, Order};

use super::{Allowed, LegExplain, Scored, Top};
use crate::key::Key;
use crate::postings::top::{self, List, Mask};
use crate::postings::{Posting as _, blocks};
use crate::state::Snapshot;
use crate::text::{self, Bm25, Posting};

/// The rows of one word: by chunk, with their keys.
struct Rows {
    rows: Vec<(u64, Bytes, Bytes)>,
    /// Live documents that have the word.
    with: u64,
}

pub(super) async fn search(
    snapshot: Snapshot<'_>,
    fields: &[(String, f64)],
    query: &str,
    allowed: Allowed<'_>,
    depth: usize,
    explain: &mut LegExplain,
) -> Result<Vec<Scored>> {
    let mut wanted = Vec::new();
    for (name, boost) in fields {
        let field = snapshot.state.config.schema.text_field(name)?;
        let counted = snapshot.state.counters.texts.get(name).copied().unwrap_or_default();
        // A word that is asked for twice counts once.
        let words: BTreeSet<String> = text::words(field, query).into_iter().collect();
        wanted.extend(words.into_iter().map(|word| (name, word, *boost, counted)));
    }
    let found = try_join_all(wanted.iter().map(|(field, word, ..)| rows(snapshot, field, word))).await?;
    let mut by_chunk: BTreeMap<u64, Vec<List<'_, Posting, Bm25>>> = BTreeMap::new();
    for (order, (rows, (_, _, boost, (documents, total_words)))) in found.iter().zip(&wanted).enumerate() {
        let worth = Bm25::new(rows.with, *documents, *total_words, *boost);
        for (chunk, key, value) in &rows.rows {
            by_chunk.entry(*chunk).or_default().push(List::new(key, value, worth, order)?);
        }
    }
    let mut top = Top::new(depth);
    for (chunk, lists) in by_chunk {
        let within = allowed.set.map(|set| set.chunk(chunk));
        if within == Some(None) {
            continue;
        }
        let dead = allowed.dead.chunk(chunk).map(|ids| &**ids);
        let mask = Mask { allowed: within.flatten().map(|ids| &**ids), dead };
        explain.postings += top::search(chunk, lists, &mask, &mut top)?;
    }
    Ok(top.into_sorted())
}

async fn rows(snapshot: Snapshot<'_>, field: &str, word: &str) -> Result<Rows> {
    let mut found = Rows { rows: Vec::new(), with: 0 };
    let mut rows = snapshot.view.scan(snapshot.keys.term_chunks(field, word), Access::Point, Order::Ascending).await?;
    let mut postings = Vec::new();
    while let Some(row) = rows.next().await? {
        let Key::Term { chunk, .. } = Key::decode(&row.key)? else { continue };
        let dead = snapshot.state.dead.chunk(chunk);
        for block in blocks::<Posting>(&row.key, &row.value)? {
            found.with += block.count as u64;
            if let Some(dead) = dead.filter(|dead| dead.next(block.first).is_some_and(|low| low <= block.last)) {
                postings.clear();
                block.postings(&mut postings).map_err(|error| opendata_core::Error::corrupt_at(&row.key, error))?;
                found.with -= postings.iter().filter(|posting| dead.contains(posting.low())).count() as u64;
            }
        }
        found.rows.push((chunk, row.key, row.value));
    }
    Ok(found)
}
