//! Which cuts are taken by themselves, and how long they are kept.

use std::collections::BTreeSet;
use std::time::Duration;

use opendata_core::{Error, Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::CutOptions;
use crate::control::{Cut, CutMode, CutPhase, Said, State};
use crate::external::{ExternalComposite, Inner};

/// The name that scheduled cuts begin with; only they are let go by [`Keep`].
const SCHEDULED: &str = "auto-";
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Cuts that are taken by themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CutSchedule {
    /// How often, in seconds.
    pub every_s: u64,
    /// Instant or aligned.
    #[serde(default)]
    pub mode: CutMode,
    /// Which of them are kept.
    #[serde(default)]
    pub keep: Keep,
}

/// Which cuts are kept. A cut is kept if any of these wants it; cuts with tags and cuts that forks began at are kept anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keep {
    /// The newest so many.
    pub last: usize,
    /// The newest of each of the last so many hours, and the newest before those.
    pub hourly: usize,
    /// The newest of each of the last so many days (UTC), and the newest before those.
    pub daily: usize,
}

impl Default for Keep {
    fn default() -> Self {
        Self { last: 3, hourly: 24, daily: 7 }
    }
}

impl CutSchedule {
    /// Checks it.
    ///
    /// # Errors
    /// `Invalid` if it would take cuts all the time, or keep none.
    pub fn validate(&self) -> Result<()> {
        if self.every_s == 0 {
            return Err(Error::invalid("cuts are taken every second at most, every_s=0"));
        }
        if self.keep.last == 0 {
            return Err(Error::invalid("at least the last cut is kept, last=0"));
        }
        Ok(())
    }
}

impl Keep {
    /// Which of these times, oldest first, are to be let go at `now`.
    #[must_use]
    pub fn to_release(&self, times: &[Timestamp], now: Timestamp) -> BTreeSet<Timestamp> {
        let mut kept: BTreeSet<Timestamp> = times.iter().rev().take(self.last).copied().collect();
        for (period, count) in [(HOUR_MS, self.hourly), (DAY_MS, self.daily)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            let current = now.0.div_euclid(period);
            let mut seen = BTreeSet::new();
            let mut before = false;
            for time in times.iter().rev() {
                let of = time.0.div_euclid(period);
                if current.saturating_sub(of) < count {
                    if seen.insert(of) {
                        kept.insert(*time);
                    }
                } else if count > 0 && !before {
                    // A moment early in the window is read from the last cut before it.
                    before = true;
                    kept.insert(*time);
                }
            }
        }
        times.iter().filter(|time| !kept.contains(time)).copied().collect()
    }
}

impl Inner {
    /// Takes the scheduled cut if it is due, and lets old ones go. The process that owns the first node does it.
    pub(crate) async fn keep_schedule(self: &std::sync::Arc<Self>) -> Result<()> {
        let Ok(branch) = self.branch_state() else { return Ok(()) };
        let Some(schedule) = branch.spec.cuts.clone() else { return Ok(()) };
        let (order, _) = branch.spec.sinks_first();
        if !order.first().is_some_and(|node| self.owns_now(node)) {
            return Ok(());
        }
        let now = self.env.now();
        let state = self.control.state();
        let newest = scheduled(&state, &self.branch).into_iter().map(|(_, cut)| cut.begun).max();
        let every = i64::try_from(schedule.every_s).unwrap_or(i64::MAX).saturating_mul(1000);
        let open = state.cuts.values().any(|cut| cut.branch == self.branch && cut.is_open());
        if !open && newest.is_none_or(|newest| now.0.saturating_sub(newest.0) >= every) {
            let options = CutOptions {
                mode: schedule.mode,
                timeout: Duration::from_secs(schedule.every_s.clamp(10, 60)),
                ..CutOptions::default()
            };
            ExternalComposite(std::sync::Arc::clone(self)).cut(&format!("{SCHEDULED}{}", now.0), &options).await?;
        }
        self.release_old(schedule.keep, now).await
    }

    async fn release_old(&self, keep: Keep, now: Timestamp) -> Result<()> {
        let state = self.control.refresh().await?;
        let committed: Vec<_> = scheduled(&state, &self.branch)
            .into_iter()
            .filter(|(_, cut)| cut.phase == CutPhase::Committed)
            .map(|(name, cut)| (name.clone(), cut.begun))
            .collect();
        let mut times: Vec<_> = committed.iter().map(|(_, begun)| *begun).collect();
        times.sort_unstable();
        let release = keep.to_release(&times, now);
        for (name, _) in committed.iter().filter(|(_, begun)| release.contains(begun)) {
            let decide = |state: &State| {
                let free = state.committed_cut(name).is_ok_and(|cut| cut.tags.is_empty())
                    && state.forks_of(name).next().is_none();
                Ok(free.then(|| Said::CutRelease { cut: name.clone() }))
            };
            self.control.append_with(decide).await?;
        }
        Ok(())
    }
}

/// The scheduled cuts of a branch.
fn scheduled<'a>(state: &'a State, branch: &str) -> Vec<(&'a String, &'a Cut)> {
    state.cuts.iter().filter(|(name, cut)| cut.branch == branch && name.starts_with(SCHEDULED)).collect()
}

#[cfg(test)]
mod tests;
