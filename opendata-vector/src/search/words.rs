//! The documents that have the words of a query, by BM25 over the live documents of each field.

use std::collections::{BTreeSet, HashMap};

use opendata_core::Result;
use opendata_core::slate::{Access, Order};

use super::{Allowed, LegExplain, Scored, Top};
use crate::idset::CHUNK;
use crate::key::Key;
use crate::state::Snapshot;
use crate::text::{self, Postings};

pub(super) async fn search(
    snapshot: Snapshot<'_>,
    fields: &[(String, f64)],
    query: &str,
    allowed: Allowed<'_>,
    depth: usize,
    explain: &mut LegExplain,
) -> Result<Vec<Scored>> {
    let mut scores = HashMap::new();
    for (name, boost) in fields {
        let field = snapshot.state.config.schema.text_field(name)?;
        let (documents, total_words) = snapshot.state.counters.texts.get(name).copied().unwrap_or_default();
        // A word that is asked for twice counts once.
        let words: BTreeSet<String> = text::words(field, query).into_iter().collect();
        for word in words {
            let postings = postings(snapshot, name, &word, explain).await?;
            text::score(&mut scores, &postings, documents, total_words, *boost);
        }
    }
    let mut top = Top::new(depth);
    for (id, score) in scores {
        if allowed.contains(id) {
            top.push(Scored { score, id });
        }
    }
    Ok(top.into_sorted())
}

async fn postings(snapshot: Snapshot<'_>, field: &str, word: &str, explain: &mut LegExplain) -> Result<Postings> {
    let mut found = Vec::new();
    let mut rows = snapshot.view.scan(snapshot.keys.term_chunks(field, word), Access::Point, Order::Ascending).await?;
    while let Some(row) = rows.next().await? {
        let Key::Term { chunk, .. } = Key::decode(&row.key)? else { continue };
        let dead = snapshot.state.dead.chunk(chunk);
        for posting in text::decode(&row.key, &row.value)? {
            explain.postings += 1;
            if dead.is_none_or(|dead| !dead.contains(posting.low.into())) {
                found.push((chunk * CHUNK + u64::from(posting.low), posting.occurrences, posting.words));
            }
        }
    }
    Ok(found)
}
