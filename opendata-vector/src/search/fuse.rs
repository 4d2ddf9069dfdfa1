//! Makes one ranking of several.

use std::collections::BTreeMap;

use super::{Fusion, Query, Ranking, Scored};

/// One list stays as it is; several are fused as the query asks.
pub(super) fn fuse(query: &Query, mut lists: Vec<Vec<Scored>>) -> Ranking {
    if lists.len() == 1 {
        let only = lists.pop().unwrap_or_default();
        return only.into_iter().map(|scored| (scored, vec![Some(scored.score)])).collect();
    }
    let count = lists.len();
    let mut fused: BTreeMap<u64, (f64, Vec<Option<f64>>)> = BTreeMap::new();
    for (at, (list, leg)) in lists.iter().zip(&query.legs).enumerate() {
        let best = list.first().map_or(0.0, |scored| scored.score);
        let worst = list.last().map_or(0.0, |scored| scored.score);
        for (rank, scored) in list.iter().enumerate() {
            let part = match query.fusion {
                Fusion::ReciprocalRank { k } => 1.0 / (k + rank as f64 + 1.0),
                Fusion::Weighted if best > worst => (scored.score - worst) / (best - worst),
                Fusion::Weighted => 1.0,
            };
            let (sum, legs) = fused.entry(scored.id).or_insert_with(|| (0.0, vec![None; count]));
            *sum += leg.weight * part;
            if let Some(own) = legs.get_mut(at) {
                *own = Some(scored.score);
            }
        }
    }
    let mut ranking: Ranking = fused.into_iter().map(|(id, (score, legs))| (Scored { score, id }, legs)).collect();
    ranking.sort_by_key(|(scored, _)| std::cmp::Reverse(*scored));
    ranking
}
