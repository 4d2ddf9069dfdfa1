//! What a writer takes: times within limits, and no more series than are allowed.

use opendata_core::Timestamp;
use opendata_core::slate::PrepareContext;
use opendata_core::{Error, Result};

use super::Writer;
use super::draft::Draft;
use crate::config::Config;
use crate::dictionary::Slot;
use crate::labels::{Labels, METRIC_NAME};
use crate::refused::{Reason, Refusal};

/// The most bytes that names and values of a series' labels may take. They become parts of keys.
const LABEL_BYTES: usize = 16 * 1024;
/// For so many seconds series may be created at once, after a time in which none were.
const BURST_SECONDS: f64 = 10.0;

/// The times that are taken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    pub(super) oldest_ms: i64,
    pub(super) newest_ms: i64,
}

impl Limits {
    #[inline]
    pub(super) fn hold(&self, time_ms: i64) -> bool {
        (self.oldest_ms..=self.newest_ms).contains(&time_ms)
    }

    /// Why a time is not taken.
    pub(super) fn refuse(&self, series: &Labels, time_ms: i64) -> Error {
        let (oldest, newest) = (self.oldest_ms, self.newest_ms);
        if time_ms < oldest {
            return refuse(Reason::TooOld, series, time_ms, format!("the sample is too old, oldest_ms={oldest}"));
        }
        let detail = format!("the sample is too far in the future, newest_ms={newest}");
        refuse(Reason::TooNew, series, time_ms, detail)
    }
}

pub(super) fn refuse(reason: Reason, series: &Labels, time_ms: i64, detail: impl Into<String>) -> Error {
    Refusal { reason, series: series.clone(), at: Timestamp(time_ms), detail: detail.into() }.into()
}

/// How fast series are created: an account that fills with time and is paid from, in series. It may be overdrawn by
/// the transaction that empties it, so that one with many new series comes through, and those after it wait.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Account {
    balance: f64,
    /// When that was its balance; none before the first use.
    at_ms: Option<i64>,
}

impl Account {
    fn balance(&self, config: &Config, now_ms: i64) -> Option<f64> {
        let rate = f64::from(config.max_new_series_per_second?);
        let Some(at_ms) = self.at_ms else { return Some(rate * BURST_SECONDS) };
        #[expect(clippy::cast_precision_loss, reason = "a limit")]
        let seconds = now_ms.saturating_sub(at_ms).max(0) as f64 / 1000.0;
        Some((self.balance + seconds * rate).min(rate * BURST_SECONDS))
    }

    pub(super) fn pay(&mut self, config: &Config, now_ms: i64, series: u32) {
        if let Some(balance) = self.balance(config, now_ms) {
            *self = Self { balance: balance - f64::from(series), at_ms: Some(now_ms) };
        }
    }
}

impl Writer {
    pub(super) fn limits(&self, cx: &PrepareContext<'_>) -> Limits {
        let back = |ms: Option<u64>| ms.map(|ms| cx.now().0.saturating_sub_unsigned(ms));
        // What retention keeps are whole buckets, and each is open until it goes.
        let kept = back(self.config.retention_ms).map(|ms| self.calendar.start_ms(self.calendar.nearest_segment(ms)));
        let kept = kept.unwrap_or(i64::MIN).max(self.calendar.start_ms(self.live));
        let newest_ms = self.config.future_limit_ms.map(|ms| cx.now().0.saturating_add_unsigned(ms));
        Limits {
            oldest_ms: kept.max(back(self.config.late_limit_ms).unwrap_or(i64::MIN)),
            newest_ms: newest_ms.unwrap_or(i64::MAX),
        }
    }

    /// Whether no series may be created now, because too many were a moment ago.
    pub(super) fn creates_too_fast(&self, now_ms: i64) -> bool {
        self.account.balance(&self.config, now_ms).is_some_and(|balance| balance <= 0.0)
    }

    /// Whether a series that is new in a bucket is new altogether, as far as memory knows.
    pub(super) fn is_new_altogether(&self, slot: Slot) -> bool {
        !self.buckets.values().any(|loaded| loaded.bucket.contains(slot))
    }

    /// Whether a series may be created in the current bucket of a draft, as its series number `id`.
    pub(super) fn admit(&self, draft: &Draft, slot: Slot, labels: &Labels, id: u32, time_ms: i64) -> Result<()> {
        if labels.is_empty() {
            return Err(refuse(Reason::InvalidSeries, labels, time_ms, "a series needs at least one label"));
        }
        let bytes: usize = labels.iter().map(|label| label.name().len() + label.value().len()).sum();
        if bytes > LABEL_BYTES {
            let detail = format!("the labels are too long, size_bytes={bytes}, limit={LABEL_BYTES}");
            // Told without its labels: they are what is too long.
            return Err(refuse(Reason::InvalidSeries, &Labels::empty(), time_ms, detail));
        }
        let full = |reason, what: &str, limit: u32| {
            Err(refuse(reason, labels, time_ms, format!("{what} as many series as are allowed, limit={limit}")))
        };
        if id >= self.config.max_series {
            return full(Reason::SeriesLimit, "the bucket has", self.config.max_series);
        }
        let loaded = self.buckets.get(&draft.bucket()).map(|loaded| &loaded.bucket);
        let metric = labels.get(METRIC_NAME).unwrap_or_default();
        if let Some(limit) = self.config.max_series_per_metric {
            let stored = loaded.map_or(0, |bucket| bucket.len_of_metric(metric));
            if stored.saturating_add(draft.created_of_metric(metric)) >= limit {
                return full(Reason::MetricLimit, "the metric has", limit);
            }
        }
        if let (Some(limit), Some(source)) = (self.config.max_series_per_source, &draft.source) {
            let stored = loaded.map_or(0, |bucket| bucket.len_of_source(source));
            if stored.saturating_add(draft.created()) >= limit {
                return full(Reason::SourceLimit, "the source has created", limit);
            }
        }
        if draft.too_fast && self.is_new_altogether(slot) {
            let rate = self.config.max_new_series_per_second.unwrap_or(0);
            let detail = format!("series are created too fast, limit_per_second={rate}");
            return Err(refuse(Reason::NewSeriesRate, labels, time_ms, detail));
        }
        Ok(())
    }
}
