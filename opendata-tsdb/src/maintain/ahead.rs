//! Preparing the next bucket: in the last hour of a bucket the series that are written to get their ids in the one
//! after it, in the order of their labels. So midnight is no stampede, and the posting lists of stable series are runs.

use std::sync::{Arc, Mutex, PoisonError};

use opendata_core::key::SegmentId;

use crate::config::Config;
use crate::op::Prepare;
use crate::state::State;

/// Series prepared in one step.
const SERIES_A_STEP: usize = 4096;
/// How long after one round the next begins, for series that came later.
const NEXT_ROUND_MS: i64 = 600_000;

/// How far the preparation has come. Memory only: doing it again changes nothing.
#[derive(Clone, Default)]
pub(crate) struct Ahead(Arc<Mutex<Option<Round>>>);

struct Round {
    bucket: SegmentId,
    begun_ms: i64,
    /// The series in the order of their labels.
    ids: Vec<u32>,
    done: usize,
}

/// The next step of preparing the next bucket.
pub(super) fn plan(config: &Config, state: &State) -> Option<Prepare> {
    let calendar = config.calendar();
    let now_ms = state.env.now().0;
    let from = calendar.segment(now_ms)?;
    let into = calendar.segment(calendar.last_ms(from).saturating_add(1))?;
    let early = i64::try_from(config.prepare_ahead_ms).unwrap_or(i64::MAX);
    // The series of a source must count as its own, which this would not know.
    let is_time = calendar.last_ms(from).saturating_sub(now_ms) < early && config.max_series_per_source.is_none();
    let series = state.series.get(&from).filter(|_| is_time)?;
    let head = state.heads.get(&from)?;
    let mut round = state.ahead.0.lock().unwrap_or_else(PoisonError::into_inner);
    let is_current = round.as_ref().is_some_and(|round| {
        let is_done = round.done >= round.ids.len();
        round.bucket == into && !(is_done && now_ms.saturating_sub(round.begun_ms) >= NEXT_ROUND_MS)
    });
    if !is_current {
        let mut ids = head.ids();
        ids.sort_by_cached_key(|id| series.get(*id).map(|entry| entry.labels.clone()));
        *round = Some(Round { bucket: into, begun_ms: now_ms, ids, done: 0 });
    }
    let round = round.as_mut()?;
    let ids: Vec<u32> = round.ids.iter().skip(round.done).take(SERIES_A_STEP).copied().collect();
    round.done += ids.len();
    (!ids.is_empty()).then_some(Prepare { from, into, ids })
}
