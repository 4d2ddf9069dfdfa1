//! Targets, rules and alerts, in the shape of Prometheus's API, and where the server gets them from.
//!
//! Whoever scrapes or evaluates for an instance implements [`Scraping`] or [`Ruling`] and registers itself with the
//! instance's name in [`Monitors`]; an instance for which nobody does has none.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;

/// Labels as JSON has them.
pub(crate) type LabelMap = BTreeMap<String, String>;

/// What is scraped for an instance.
pub(crate) trait Scraping: Send + Sync {
    /// How things stand.
    fn targets(&self) -> Targets;
}

/// What is evaluated for an instance.
pub(crate) trait Ruling: Send + Sync {
    /// How things stand.
    fn rules(&self) -> Rules;
}

/// The targets of an instance.
#[derive(Clone, Debug, Default)]
pub(crate) struct Targets {
    /// The names of all scrape jobs.
    pub(crate) pools: Vec<String>,
    pub(crate) active: Vec<ActiveTarget>,
    pub(crate) dropped: Vec<DroppedTarget>,
    pub(crate) metadata: Vec<TargetMetadata>,
}

/// A target that is scraped.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ActiveTarget {
    pub(crate) discovered_labels: LabelMap,
    pub(crate) labels: LabelMap,
    pub(crate) scrape_pool: String,
    pub(crate) scrape_url: String,
    pub(crate) global_url: String,
    pub(crate) last_error: String,
    /// RFC 3339; `0001-01-01T00:00:00Z` if it was never scraped.
    pub(crate) last_scrape: String,
    /// Seconds.
    pub(crate) last_scrape_duration: f64,
    pub(crate) health: Health,
    /// Such as `15s`.
    pub(crate) scrape_interval: String,
    pub(crate) scrape_timeout: String,
}

/// How a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Health {
    Up,
    Down,
    Unknown,
}

/// A target that relabelling dropped.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DroppedTarget {
    pub(crate) discovered_labels: LabelMap,
    pub(crate) scrape_pool: String,
}

/// What a target says about one of its metrics.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TargetMetadata {
    pub(crate) target: LabelMap,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metric: Option<String>,
    #[serde(rename = "type")]
    pub(crate) metric_type: String,
    pub(crate) help: String,
    pub(crate) unit: String,
}

/// The rules of an instance, and who is told about alerts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// By file, then in the file's order.
    pub(crate) groups: Vec<RuleGroup>,
    pub(crate) alertmanagers: Alertmanagers,
}

/// Who is told about alerts.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Alertmanagers {
    pub(crate) active_alertmanagers: Vec<AlertmanagerUrl>,
    pub(crate) dropped_alertmanagers: Vec<AlertmanagerUrl>,
}

/// Where one listens.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AlertmanagerUrl {
    pub(crate) url: String,
}

/// A group of rules.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuleGroup {
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) rules: Vec<Rule>,
    /// Seconds.
    pub(crate) interval: f64,
    pub(crate) limit: u64,
    /// Seconds.
    pub(crate) evaluation_time: f64,
    /// RFC 3339; `0001-01-01T00:00:00Z` if it was never evaluated.
    pub(crate) last_evaluation: String,
}

/// A rule.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Rule {
    Alerting(AlertingRule),
    Recording(RecordingRule),
}

/// A rule that alerts.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AlertingRule {
    /// The worst state of its alerts.
    pub(crate) state: AlertState,
    pub(crate) name: String,
    pub(crate) query: String,
    /// `for`, in seconds.
    pub(crate) duration: f64,
    /// Seconds.
    pub(crate) keep_firing_for: f64,
    pub(crate) labels: LabelMap,
    pub(crate) annotations: LabelMap,
    pub(crate) alerts: Vec<Alert>,
    pub(crate) health: RuleHealth,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_error: Option<String>,
    /// Seconds.
    pub(crate) evaluation_time: f64,
    pub(crate) last_evaluation: String,
}

/// A rule that records.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecordingRule {
    pub(crate) name: String,
    pub(crate) query: String,
    #[serde(skip_serializing_if = "LabelMap::is_empty")]
    pub(crate) labels: LabelMap,
    pub(crate) health: RuleHealth,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_error: Option<String>,
    /// Seconds.
    pub(crate) evaluation_time: f64,
    pub(crate) last_evaluation: String,
}

/// How a rule's last evaluation went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RuleHealth {
    Ok,
    Err,
    Unknown,
}

/// How far an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AlertState {
    Inactive,
    Pending,
    Firing,
}

/// An alert that stands.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Alert {
    pub(crate) labels: LabelMap,
    pub(crate) annotations: LabelMap,
    pub(crate) state: AlertState,
    /// RFC 3339.
    pub(crate) active_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep_firing_since: Option<String>,
    /// Such as `1e+00`.
    pub(crate) value: String,
}

impl Rule {
    /// Its name: of the series it records, or of the alert.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Alerting(rule) => &rule.name,
            Self::Recording(rule) => &rule.name,
        }
    }

    /// The labels it adds.
    pub(crate) fn labels(&self) -> &LabelMap {
        match self {
            Self::Alerting(rule) => &rule.labels,
            Self::Recording(rule) => &rule.labels,
        }
    }

    /// The alerts that stand.
    pub(crate) fn alerts(&self) -> &[Alert] {
        match self {
            Self::Alerting(rule) => &rule.alerts,
            Self::Recording(_) => &[],
        }
    }

    pub(crate) fn without_alerts(&mut self) {
        if let Self::Alerting(rule) = self {
            rule.alerts.clear();
        }
    }
}

/// Who scrapes and evaluates for which instance.
#[derive(Default)]
pub(crate) struct Monitors {
    scraping: RwLock<BTreeMap<String, Arc<dyn Scraping>>>,
    ruling: RwLock<BTreeMap<String, Arc<dyn Ruling>>>,
}

/// How things stand for one instance.
#[derive(Clone, Debug, Default)]
pub(crate) struct Monitored {
    pub(crate) targets: Targets,
    pub(crate) rules: Rules,
}

impl Monitors {
    /// Who scrapes for an instance from now on.
    pub(crate) fn scrape(&self, instance: &str, by: Arc<dyn Scraping>) {
        self.scraping.write().unwrap_or_else(PoisonError::into_inner).insert(instance.to_owned(), by);
    }

    /// Who evaluates rules for an instance from now on.
    pub(crate) fn rule(&self, instance: &str, by: Arc<dyn Ruling>) {
        self.ruling.write().unwrap_or_else(PoisonError::into_inner).insert(instance.to_owned(), by);
    }

    /// How things stand.
    pub(crate) fn of(&self, instance: &str) -> Monitored {
        let scraping = self.scraping.read().unwrap_or_else(PoisonError::into_inner).get(instance).cloned();
        let ruling = self.ruling.read().unwrap_or_else(PoisonError::into_inner).get(instance).cloned();
        Monitored {
            targets: scraping.map(|by| by.targets()).unwrap_or_default(),
            rules: ruling.map(|by| by.rules()).unwrap_or_default(),
        }
    }
}

impl fmt::Debug for Monitors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitors").finish_non_exhaustive()
    }
}
