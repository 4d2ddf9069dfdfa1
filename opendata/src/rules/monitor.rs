//! Rules and alerts as Prometheus's interface shows them.

use opendata_core::Timestamp;
use opendata_tsdb::Labels;

use super::Groups;
use super::alert::{self, State};
use super::file::{self, Kind};
use super::status::{GroupStatus, RuleStatus};
use super::template::scientific;
use crate::api::prometheus::monitor::{
    Alert, AlertState, AlertingRule, AlertmanagerUrl, Alertmanagers, LabelMap, RecordingRule, Rule, RuleGroup,
    RuleHealth, Rules, Ruling,
};
use crate::times;

/// The time of what never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

impl Ruling for Groups {
    fn rules(&self) -> Rules {
        let url = |url| AlertmanagerUrl { url };
        let alertmanagers = Alertmanagers {
            active_alertmanagers: self.alertmanagers().into_iter().map(url).collect(),
            dropped_alertmanagers: Vec::new(),
        };
        let mut groups: Vec<RuleGroup> = self.groups().iter().map(|status| group(status)).collect();
        groups.sort_by(|a, b| a.file.cmp(&b.file));
        Rules { groups, alertmanagers }
    }
}

fn group(status: &GroupStatus) -> RuleGroup {
    let last = status.last();
    let group = &status.group;
    let rules = group.rules.iter().enumerate();
    RuleGroup {
        name: group.name.clone(),
        file: group.file.clone(),
        rules: rules.map(|(at, found)| rule(found, last.as_ref().and_then(|last| last.rules.get(at)))).collect(),
        interval: status.interval.as_secs_f64(),
        limit: group.limit as u64,
        evaluation_time: last.as_ref().map_or(0.0, |last| last.took.as_secs_f64()),
        last_evaluation: shown(last.as_ref().map(|last| last.at)),
    }
}

fn rule(rule: &file::Rule, last: Option<&RuleStatus>) -> Rule {
    let health = match last {
        None => RuleHealth::Unknown,
        Some(last) if last.error.is_some() => RuleHealth::Err,
        Some(_) => RuleHealth::Ok,
    };
    let last_error = last.and_then(|last| last.error.clone());
    let evaluation_time = last.map_or(0.0, |last| last.took.as_secs_f64());
    let last_evaluation = shown(last.map(|last| last.at));
    let (name, query, labels) = (rule.name.clone(), rule.query.clone(), rule.labels.clone());
    let alerting = match &rule.kind {
        Kind::Recording => {
            let rule = RecordingRule { name, query, labels, health, last_error, evaluation_time, last_evaluation };
            return Rule::Recording(rule);
        }
        Kind::Alerting(alerting) => alerting,
    };
    let standing = last.iter().flat_map(|last| &last.alerts).filter(|alert| alert.state != State::Inactive);
    let mut standing: Vec<&alert::Alert> = standing.collect();
    standing.sort_by(|a, b| a.labels.cmp(&b.labels));
    Rule::Alerting(AlertingRule {
        state: state(standing.iter().map(|alert| alert.state).max().unwrap_or(State::Inactive)),
        name,
        query,
        duration: alerting.hold.as_secs_f64(),
        keep_firing_for: alerting.keep_firing.as_secs_f64(),
        labels,
        annotations: alerting.annotations.clone(),
        alerts: standing.into_iter().map(alert).collect(),
        health,
        last_error,
        evaluation_time,
        last_evaluation,
    })
}

fn alert(alert: &alert::Alert) -> Alert {
    Alert {
        labels: label_map(&alert.labels),
        annotations: alert.annotations.clone(),
        state: state(alert.state),
        active_at: times::show(alert.active_at),
        keep_firing_since: alert.keep_firing_since.map(times::show),
        value: scientific(alert.value),
    }
}

fn state(state: State) -> AlertState {
    match state {
        State::Inactive => AlertState::Inactive,
        State::Pending => AlertState::Pending,
        State::Firing => AlertState::Firing,
    }
}

fn shown(time: Option<Timestamp>) -> String {
    time.map_or_else(|| NEVER.to_owned(), times::show)
}

fn label_map(labels: &Labels) -> LabelMap {
    labels.iter().map(|label| (label.name().to_owned(), label.value().to_owned())).collect()
}
