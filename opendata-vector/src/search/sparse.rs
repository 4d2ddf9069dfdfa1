//! The documents with the greatest inner product of a sparse vector, exactly. Those that share no dimension with the query
//! are no results.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::future::try_join_all;
use opendata_core::slate::{Access, Order};
use opendata_core::{Error, Result};

use super::{Allowed, LegExplain, Scored, Top};
use crate::key::Key;
use crate::postings::top::{self, List, Mask};
use crate::sparse::{Product, SparseVector, Weight};
use crate::state::Snapshot;

pub(super) async fn search(
    snapshot: Snapshot<'_>,
    name: &str,
    query: &SparseVector,
    allowed: Allowed<'_>,
    depth: usize,
    explain: &mut LegExplain,
) -> Result<Vec<Scored>> {
    snapshot.state.config.schema.sparse_field(name)?;
    let entries = query.entries().map_err(|error| Error::context(error, format_args!("query on field {name}")))?;
    let found = try_join_all(entries.iter().map(|(dimension, _)| rows(snapshot, name, *dimension))).await?;
    let mut by_chunk: BTreeMap<u64, Vec<List<'_, Weight, Product>>> = BTreeMap::new();
    for (order, (rows, (_, weight))) in found.iter().zip(&entries).enumerate() {
        for (chunk, key, value) in rows {
            by_chunk.entry(*chunk).or_default().push(List::new(key, value, Product(f64::from(*weight)), order)?);
        }
    }
    let mut top = Top::new(depth);
    for (chunk, lists) in by_chunk {
        let within = allowed.set.map(|set| set.chunk(chunk));
        if within == Some(None) {
            continue;
        }
        let mask =
            Mask { allowed: within.flatten().map(|ids| &**ids), dead: allowed.dead.chunk(chunk).map(|ids| &**ids) };
        explain.postings += top::search(chunk, lists, &mask, &mut top)?;
    }
    Ok(top.into_sorted())
}

/// The rows of one dimension: by chunk, with their keys.
async fn rows(snapshot: Snapshot<'_>, field: &str, dimension: u32) -> Result<Vec<(u64, Bytes, Bytes)>> {
    let range = snapshot.keys.sparse_chunks(field, dimension);
    let mut rows = snapshot.view.scan(range, Access::Point, Order::Ascending).await?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().await? {
        if let Key::Sparse { chunk, .. } = Key::decode(&row.key)? {
            found.push((chunk, row.key, row.value));
        }
    }
    Ok(found)
}
