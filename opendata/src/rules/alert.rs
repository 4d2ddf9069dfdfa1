//! The alerts of a rule: when they begin to wait, fire, and are over.
//!
//! An alert waits (`pending`) while its condition holds, fires once that was so for `for`, and is over when the condition
//! does not hold any more; a firing one not before `keep_firing_for` has passed. Each alert is told in two series: `ALERTS` and
//! `ALERTS_FOR_STATE`, whose value is the time since which the condition holds, in Unix seconds. After a restart that time
//! is read again.

use std::collections::{BTreeMap, HashMap, HashSet};

use opendata_core::{Error, Result, Timestamp};
use opendata_tsdb::{Labels, METRIC_NAME};

use crate::times::Span;

/// For how long alerts that are over are told.
const TOLD_MS: i64 = 15 * 60 * 1000;

/// How an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Inactive,
    Pending,
    Firing,
}

impl State {
    /// The word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// An alert.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alert {
    pub(crate) labels: Labels,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) state: State,
    pub(crate) value: f64,
    pub(crate) active_at: Timestamp,
    pub(crate) fired_at: Option<Timestamp>,
    pub(crate) resolved_at: Option<Timestamp>,
    pub(crate) keep_firing_since: Option<Timestamp>,
    pub(crate) last_sent_at: Option<Timestamp>,
    pub(crate) valid_until: Option<Timestamp>,
}

/// What the query gave for one alert.
pub(super) struct Holding {
    pub(super) labels: Labels,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) value: f64,
}

/// The alerts of one rule.
#[derive(Clone, Debug, Default)]
pub(super) struct Alerts {
    active: HashMap<Labels, Alert>,
    /// Whether what was before the start was looked for.
    pub(super) is_restored: bool,
}

/// What steers a rule's alerts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) hold: Span,
    pub(super) keep_firing: Span,
    /// The most alerts there may be; zero is no limit.
    pub(super) limit: usize,
}

impl Alerts {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Alert> {
        self.active.values()
    }

    /// Takes in those whose condition holds now. `since` says since when, for those that are new.
    ///
    /// # Errors
    /// `Invalid` if two have the same labels.
    pub(super) fn hold(&mut self, holding: Vec<Holding>, at: Timestamp) -> Result<HashSet<Labels>> {
        let mut present = HashSet::with_capacity(holding.len());
        for one in &holding {
            if !present.insert(one.labels.clone()) {
                let labels = &one.labels;
                return Err(Error::invalid(format!(
                    "two alerts have the same labels once the rule's are applied, labels={labels}"
                )));
            }
        }
        for Holding { labels, annotations, value } in holding {
            if let Some(known) = self.active.get_mut(&labels).filter(|known| known.state != State::Inactive) {
                known.annotations = annotations;
                known.value = value;
                continue;
            }
            let alert = Alert {
                labels: labels.clone(),
                annotations,
                state: State::Pending,
                value,
                active_at: at,
                fired_at: None,
                resolved_at: None,
                keep_firing_since: None,
                last_sent_at: None,
                valid_until: None,
            };
            self.active.insert(labels, alert);
        }
        Ok(present)
    }

    /// Lets the condition of an alert hold since an earlier time.
    pub(super) fn restore(&mut self, labels: &Labels, since: Timestamp) {
        if let Some(alert) = self.active.get_mut(labels) {
            alert.active_at = since;
        }
    }

    /// Moves all alerts on to a time at which the conditions of `present` hold.
    ///
    /// # Errors
    /// `Invalid` if there are more than there may be; then there are none.
    pub(super) fn step(&mut self, present: &HashSet<Labels>, at: Timestamp, terms: Terms) -> Result<()> {
        self.active.retain(|labels, alert| {
            if present.contains(labels) {
                alert.keep_firing_since = None;
            } else if !alert.absent(at, terms.keep_firing) {
                return false;
            }
            if alert.state == State::Pending && at.0.saturating_sub(alert.active_at.0) >= terms.hold.as_ms_signed() {
                alert.state = State::Firing;
                alert.fired_at = Some(at);
            }
            true
        });
        let count = self.active.values().filter(|alert| alert.state != State::Inactive).count();
        if terms.limit > 0 && count > terms.limit {
            self.active.clear();
            return Err(Error::invalid(format!("exceeded limit of {} with {count} alerts", terms.limit)));
        }
        Ok(())
    }

    /// The series that tell of the alerts: labels and value.
    #[expect(clippy::cast_precision_loss, reason = "the value of a sample is a float")]
    pub(super) fn samples(&self) -> Vec<(Labels, f64)> {
        let mut samples = Vec::new();
        let mut told: Vec<&Alert> = self.active.values().filter(|alert| alert.state != State::Inactive).collect();
        told.sort_by(|a, b| a.labels.cmp(&b.labels));
        for alert in told {
            let pairs = || alert.labels.iter().map(|label| (label.name(), label.value()));
            let alerts = [(METRIC_NAME, "ALERTS"), ("alertstate", alert.state.name())];
            samples.push((Labels::last_wins(pairs().chain(alerts)), 1.0));
            let seconds = alert.active_at.0.div_euclid(1000) as f64;
            samples.push((for_state(&alert.labels), seconds));
        }
        samples
    }

    /// The alerts that are to be told to others now.
    pub(super) fn send(&mut self, at: Timestamp, resend: Span, interval: Span) -> Vec<Alert> {
        let mut sent = Vec::new();
        for alert in self.active.values_mut().filter(|alert| alert.is_due(at, resend)) {
            alert.last_sent_at = Some(at);
            alert.valid_until = Some(at.plus_ms(4 * resend.max(interval).as_ms_signed()));
            sent.push(alert.clone());
        }
        sent.sort_by(|a, b| a.labels.cmp(&b.labels));
        sent
    }
}

/// The series that remembers since when an alert's condition holds.
pub(super) fn for_state(labels: &Labels) -> Labels {
    let pairs = labels.iter().map(|label| (label.name(), label.value()));
    Labels::last_wins(pairs.chain([(METRIC_NAME, "ALERTS_FOR_STATE")]))
}

impl Alert {
    /// The condition does not hold. Whether the alert stays known.
    fn absent(&mut self, at: Timestamp, keep_firing: Span) -> bool {
        if self.state == State::Firing && keep_firing.as_ms() > 0 {
            let since = *self.keep_firing_since.get_or_insert(at);
            if at.0.saturating_sub(since.0) < keep_firing.as_ms_signed() {
                return true;
            }
        }
        match self.state {
            State::Pending => false,
            State::Firing => {
                self.state = State::Inactive;
                self.resolved_at = Some(at);
                true
            }
            State::Inactive => self.resolved_at.is_some_and(|resolved| at.0.saturating_sub(resolved.0) <= TOLD_MS),
        }
    }

    fn is_due(&self, at: Timestamp, resend: Span) -> bool {
        if self.state == State::Pending {
            return false;
        }
        let Some(last) = self.last_sent_at else { return true };
        self.resolved_at.is_some_and(|resolved| resolved > last) || last.plus_ms(resend.as_ms_signed()) <= at
    }
}

/// Since when a condition holds, seen over a time in which nobody looked: that time does not count, and what is left to wait is
/// at least `grace`, but an alert that had waited long enough goes on firing.
pub(super) fn since_restored(
    since: Timestamp,
    last_seen: Timestamp,
    now: Timestamp,
    hold: Span,
    grace: Span,
) -> Timestamp {
    let hold = hold.as_ms_signed();
    let waited = last_seen.0.saturating_sub(since.0);
    let left = hold.saturating_sub(waited);
    if left <= 0 {
        return since;
    }
    let grace = grace.as_ms_signed().min(hold);
    if left < grace {
        return Timestamp(now.0.saturating_add(grace).saturating_sub(hold));
    }
    since.plus_ms(now.0.saturating_sub(last_seen.0))
}

#[cfg(test)]
mod tests {
    use opendata_tsdb::labels;

    use super::*;

    fn holding(names: &[&str]) -> Vec<Holding> {
        let one = |name: &&str| Holding { labels: labels! { "a" => *name }, annotations: BTreeMap::new(), value: 1.0 };
        names.iter().map(one).collect()
    }

    fn states(alerts: &Alerts) -> Vec<(&str, State)> {
        let mut states: Vec<_> = alerts.iter().map(|alert| (alert.labels.get("a").unwrap(), alert.state)).collect();
        states.sort();
        states
    }

    type Step<'a> = (i64, &'a [&'a str], &'a [(&'a str, State)]);

    /// Steps through times in seconds, with what holds then, and what is told of it.
    fn check(terms: Terms, steps: &[Step<'_>]) -> Alerts {
        let mut alerts = Alerts::default();
        for (at, names, expected) in steps {
            let at = Timestamp(at * 1000);
            let present = alerts.hold(holding(names), at).unwrap();
            alerts.step(&present, at, terms).unwrap();
            assert_eq!(states(&alerts), *expected, "at {at:?}");
        }
        alerts
    }

    const TERMS: Terms = Terms { hold: Span::from_secs(10), keep_firing: Span::from_secs(0), limit: 0 };

    #[test]
    fn an_alert_waits_fires_and_is_over() {
        use State::{Firing, Inactive, Pending};
        let alerts = check(
            TERMS,
            &[
                (0, &["x", "y"], &[("x", Pending), ("y", Pending)]),
                (5, &["x"], &[("x", Pending)]),
                (10, &["x", "y"], &[("x", Firing), ("y", Pending)]),
                (15, &["y"], &[("x", Inactive), ("y", Pending)]),
                (20, &["x", "y"], &[("x", Pending), ("y", Firing)]),
            ],
        );
        let samples: Vec<_> = alerts.samples().iter().map(|(labels, value)| format!("{labels} {value}")).collect();
        assert_eq!(
            samples,
            [
                r#"ALERTS{a="x", alertstate="pending"} 1"#,
                r#"ALERTS_FOR_STATE{a="x"} 20"#,
                r#"ALERTS{a="y", alertstate="firing"} 1"#,
                r#"ALERTS_FOR_STATE{a="y"} 10"#
            ]
        );
    }

    #[test]
    fn a_firing_alert_is_kept_for_as_long_as_it_shall_be() {
        use State::{Firing, Inactive};
        let terms = Terms { hold: Span::from_secs(0), keep_firing: Span::from_secs(10), ..TERMS };
        check(
            terms,
            &[
                (0, &["x"], &[("x", Firing)]),
                (5, &[], &[("x", Firing)]),
                (10, &["x"], &[("x", Firing)]),
                (15, &[], &[("x", Firing)]),
                (24, &[], &[("x", Firing)]),
                (25, &[], &[("x", Inactive)]),
                (25 + 15 * 60, &[], &[("x", Inactive)]),
                (26 + 15 * 60, &[], &[]),
            ],
        );
    }

    #[test]
    fn alerts_are_told_once_in_a_while_and_when_they_are_over() {
        let terms = Terms { hold: Span::from_secs(0), ..TERMS };
        let mut alerts = Alerts::default();
        let mut sent = Vec::new();
        for (at, names) in [(0, &["x"][..]), (30, &["x"]), (60, &["x"]), (70, &[]), (80, &[])] {
            let at = Timestamp(at * 1000);
            let present = alerts.hold(holding(names), at).unwrap();
            alerts.step(&present, at, terms).unwrap();
            let now = alerts.send(at, Span::from_secs(60), Span::from_secs(30));
            sent.extend(now.iter().map(|alert| (at.0 / 1000, alert.state.name(), alert.resolved_at.is_some())));
        }
        assert_eq!(sent, [(0, "firing", false), (60, "firing", false), (70, "inactive", true)]);
    }

    #[test]
    fn too_many_alerts_and_two_alike_are_refused() {
        let terms = Terms { limit: 1, ..TERMS };
        let mut alerts = Alerts::default();
        let present = alerts.hold(holding(&["x", "y"]), Timestamp(0)).unwrap();
        let error = alerts.step(&present, Timestamp(0), terms).unwrap_err();
        assert_eq!(error.message(), "exceeded limit of 1 with 2 alerts");
        assert!(alerts.hold(holding(&["x", "x"]), Timestamp(0)).is_err());
    }

    #[test]
    fn time_in_which_nobody_looked_does_not_count() {
        let (hold, grace) = (Span::from_secs(100), Span::from_secs(30));
        let restored = |since: i64, seen: i64, now: i64| {
            since_restored(Timestamp(since * 1000), Timestamp(seen * 1000), Timestamp(now * 1000), hold, grace).0 / 1000
        };
        // 40 s waited, then 10 s away.
        assert_eq!(restored(0, 40, 50), 10);
        // It was firing, and goes on.
        assert_eq!(restored(0, 100, 150), 0);
        // 20 s were left: it gets 30.
        assert_eq!(restored(0, 80, 90), 20);
    }
}
