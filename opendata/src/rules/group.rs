//! A group of rules being evaluated, again and again: in order, at one time, and written as one commit. A rule sees what those before
//! it gave ([`Overlay`]). Series that a rule gave and does not give any more end with a stale marker.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use opendata_compose::{InternalComposite, Tsdb};
use opendata_core::slate::Handle;
use opendata_core::{Error, Result, Timestamp};
use opendata_tsdb::promql::{Engine, STALE_NAN, Sample, Storage, Value, is_stale};
use opendata_tsdb::{Labels, METRIC_NAME, MatchOp, Matcher, Reader};
use tokio::runtime;
use tokio::sync::watch;

use super::alert::{Alerts, Holding, Terms, since_restored};
use super::config::Settings;
use super::file::{Alerting, Group, Kind, Rule};
use super::notify::Notifier;
use super::overlay::{Given, Overlay, Pending};
use super::status::{Counters, GroupStatus, RuleStatus};
use super::template::{Ask, Scope, Template, Value as TemplateValue};
use crate::times::{self, Span};

/// What all groups of an instance share.
pub(super) struct Ground {
    pub(super) composite: InternalComposite,
    pub(super) handle: Handle<Tsdb>,
    pub(super) settings: Settings,
    pub(super) notifier: Notifier,
    pub(super) counters: Counters,
    pub(super) engine: Engine,
}

/// A group, and what its rules remember.
pub(super) struct Running {
    ground: Arc<Ground>,
    group: Group,
    interval: Span,
    memory: Vec<Memory>,
    status: Arc<GroupStatus>,
}

/// What a rule remembers.
#[derive(Default)]
struct Memory {
    alerts: Alerts,
    /// The series it gave last.
    previous: HashSet<Labels>,
}

impl Running {
    pub(super) fn new(ground: Arc<Ground>, group: Group, status: Arc<GroupStatus>) -> Self {
        let interval = group.interval.unwrap_or(ground.settings.evaluation_interval);
        let memory = group.rules.iter().map(|_| Memory::default()).collect();
        Self { ground, group, interval, memory, status }
    }

    /// Evaluates the group until the server ends.
    pub(super) async fn run(mut self, mut ending: watch::Receiver<bool>) {
        let interval = self.interval.as_ms_signed().max(1);
        let name = Labels::last_wins([("file", self.group.file.as_str()), ("name", self.group.name.as_str())]);
        let offset = i64::try_from(name.fingerprint() >> 1).unwrap_or(0).rem_euclid(interval);
        let mut last: Option<i64> = None;
        loop {
            let now = times::now().0;
            let next = times::next_tick(last.map_or(now, |last| now.max(last + 1)), interval, offset);
            let wait = Duration::from_millis(u64::try_from(next.saturating_sub(now)).unwrap_or(0));
            if tokio::time::timeout(wait, ending.wait_for(|ending| *ending)).await.is_ok() {
                return;
            }
            let missed = last.map_or(0, |last| (next - last) / interval - 1);
            self.ground.counters.missed(u64::try_from(missed).unwrap_or(0));
            last = Some(next);
            tokio::select! {
                () = self.evaluate(Timestamp(next)) => {}
                _ = ending.wait_for(|ending| *ending) => return,
            }
        }
    }

    /// Evaluates all rules at a time.
    pub(super) async fn evaluate(&mut self, at: Timestamp) {
        let begun = Instant::now();
        let offset = self.group.query_offset.unwrap_or(self.ground.settings.query_offset);
        let at = at.plus_ms(-offset.as_ms_signed());
        let reader = match self.ground.composite.view().on(&self.ground.handle) {
            Ok(reader) => reader,
            Err(error) => return tracing::error!(?error, group = self.group.name, "rules cannot be evaluated"),
        };
        let mut pending: Vec<Pending> = Vec::new();
        let mut statuses = Vec::with_capacity(self.group.rules.len());
        let mut given: Vec<Option<HashSet<Labels>>> = Vec::with_capacity(self.group.rules.len());
        for (rule, memory) in self.group.rules.iter().zip(&mut self.memory) {
            let begun = Instant::now();
            let evaluation = Evaluation { ground: &self.ground, group: &self.group, rule, reader: &reader, at };
            let outcome = evaluation.samples(&mut memory.alerts, &pending).await;
            self.ground.counters.evaluated(outcome.is_err());
            let mut error = None;
            match outcome {
                Ok(samples) => {
                    let present: HashSet<Labels> = samples.iter().map(|(labels, _)| labels.clone()).collect();
                    let ended = memory.previous.iter().filter(|labels| !present.contains(labels)).cloned();
                    let ended = ended.map(|labels| Pending { labels, at_ms: at.0, value: Given::Number(STALE_NAN) });
                    pending.extend(ended);
                    pending.extend(samples.into_iter().map(|(labels, value)| Pending { labels, at_ms: at.0, value }));
                    given.push(Some(present));
                }
                Err(failed) => {
                    tracing::warn!(
                        error = failed.message(),
                        rule = rule.name,
                        group = self.group.name,
                        "a rule failed"
                    );
                    error = Some(failed.message().to_owned());
                    given.push(None);
                }
            }
            let alerts = memory.alerts.iter().cloned().collect();
            statuses.push(RuleStatus { error, at, took: begun.elapsed(), alerts });
        }
        self.tell(at);
        let written = self.write(pending).await;
        for (memory, given) in self.memory.iter_mut().zip(given) {
            match (given, written.is_ok()) {
                (Some(given), true) => memory.previous = given,
                // Nobody knows what was written: what was given before may have to end still.
                (Some(given), false) => memory.previous.extend(given),
                (None, _) => {}
            }
        }
        if let Err(error) = &written {
            self.ground.counters.unwritten();
            tracing::error!(?error, group = self.group.name, "what rules gave cannot be written");
            for status in &mut statuses {
                status.error.get_or_insert_with(|| error.message().to_owned());
            }
        }
        self.status.evaluated(at, begun.elapsed(), statuses);
    }

    async fn write(&self, pending: Vec<Pending>) -> Result<()> {
        if pending.is_empty() {
            return Ok(());
        }
        let mut transaction = self.ground.composite.begin();
        let op = transaction.on(&self.ground.handle);
        for Pending { labels, at_ms, value } in pending {
            match value {
                Given::Number(value) => op.sample(labels, Timestamp(at_ms), value),
                Given::Histogram(histogram) => op.histogram(labels, Timestamp(at_ms), histogram),
            };
        }
        transaction.commit().await.map(|_| ()).map_err(Error::from)
    }

    /// Tells others of the alerts that are due.
    fn tell(&mut self, at: Timestamp) {
        let settings = &self.ground.settings;
        for (rule, memory) in self.group.rules.iter().zip(&mut self.memory) {
            let alerts = memory.alerts.send(at, settings.resend_delay, self.interval);
            self.ground.notifier.tell(&alerts, &rule.query, settings);
        }
    }
}

/// One rule at one time.
struct Evaluation<'a> {
    ground: &'a Ground,
    group: &'a Group,
    rule: &'a Rule,
    reader: &'a Reader,
    at: Timestamp,
}

impl Evaluation<'_> {
    /// The samples that the rule gives.
    async fn samples(&self, alerts: &mut Alerts, pending: &[Pending]) -> Result<Vec<(Labels, Given)>> {
        let storage = Overlay { below: self.reader, pending };
        let found = self.ask(&storage, &self.rule.query).await?;
        match &self.rule.kind {
            Kind::Recording => self.record(found),
            Kind::Alerting(alerting) => {
                let holding = self.holding(&storage, alerting, &found)?;
                let present = alerts.hold(holding, self.at)?;
                if !alerts.is_restored {
                    self.restore(alerts, alerting).await?;
                    alerts.is_restored = true;
                }
                let terms = Terms { hold: alerting.hold, keep_firing: alerting.keep_firing, limit: self.group.limit };
                alerts.step(&present, self.at, terms)?;
                Ok(alerts.samples().into_iter().map(|(labels, value)| (labels, Given::Number(value))).collect())
            }
        }
    }

    /// The vector of a query; a number is one sample without labels.
    async fn ask(&self, storage: &dyn Storage, query: &str) -> Result<Vec<(Labels, Given)>> {
        let answer = self.ground.engine.instant(storage, query, self.at).await?;
        let number = |Sample { labels, value, histogram, .. }: Sample| match histogram {
            None => (labels, Given::Number(value)),
            Some(histogram) => (labels, Given::Histogram(histogram)),
        };
        match answer.value {
            Value::Vector(samples) => Ok(samples.into_iter().map(number).collect()),
            Value::Scalar { value, .. } => Ok(vec![(Labels::empty(), Given::Number(value))]),
            Value::String { .. } | Value::Matrix(_) => {
                Err(Error::invalid("the query of a rule gives neither an instant vector nor a scalar"))
            }
        }
    }

    fn record(&self, found: Vec<(Labels, Given)>) -> Result<Vec<(Labels, Given)>> {
        let limit = self.group.limit;
        if limit > 0 && found.len() > limit {
            return Err(Error::invalid(format!("exceeded limit of {limit} with {} series", found.len())));
        }
        let name = [(METRIC_NAME, self.rule.name.as_str())];
        let own = || self.rule.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut known = HashSet::with_capacity(found.len());
        let mut samples = Vec::with_capacity(found.len());
        for (given, value) in found {
            let labels = with(&given, own().chain(name));
            if !known.insert(labels.clone()) {
                return Err(Error::invalid(format!(
                    "two series have the same labels once the rule's are applied, labels={labels}"
                )));
            }
            samples.push((labels, value));
        }
        Ok(samples)
    }

    /// What holds now, with labels and annotations written out. Templates may ask queries, so this may block.
    fn holding(&self, storage: &dyn Storage, alerting: &Alerting, found: &[(Labels, Given)]) -> Result<Vec<Holding>> {
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let ask = Blocking { engine: &self.ground.engine, storage, at: self.at };
        tokio::task::block_in_place(|| {
            found
                .iter()
                .map(|(labels, value)| {
                    // A histogram has no value that a template could show.
                    let value = if let Given::Number(value) = value { *value } else { 0.0 };
                    let scope = self.scope(&ask, labels, value);
                    let expand = |(name, template): &(String, Template)| {
                        let text = template.expand(&scope);
                        (name.clone(), text.unwrap_or_else(|why| format!("<error expanding template: {why}>")))
                    };
                    let own: Vec<_> = alerting.label_templates.iter().map(expand).collect();
                    let own = own.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                    let name = [("alertname", self.rule.name.as_str())];
                    let labels = with(&labels.without_metric_name(), own.chain(name));
                    let annotations = alerting.annotation_templates.iter().map(expand).collect();
                    Ok(Holding { labels, annotations, value })
                })
                .collect()
        })
    }

    fn scope<'a>(&'a self, ask: &'a dyn Ask, labels: &Labels, value: f64) -> Scope<'a> {
        let settings = &self.ground.settings;
        let labels = TemplateValue::texts(labels.iter().map(|label| (label.name(), label.value())));
        let external = settings.external_labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let external = TemplateValue::texts(external);
        let url = TemplateValue::text(&settings.external_url);
        let value = TemplateValue::Float(value);
        let fields = [
            ("Labels".to_owned(), labels.clone()),
            ("ExternalLabels".to_owned(), external.clone()),
            ("ExternalURL".to_owned(), url.clone()),
            ("Value".to_owned(), value.clone()),
        ];
        Scope {
            ask,
            data: TemplateValue::Map(std::rc::Rc::new(fields.into_iter().collect())),
            variables: vec![
                ("$labels", labels),
                ("$externalLabels", external),
                ("$externalURL", url),
                ("$value", value),
            ],
            now: self.at,
            external_url: &settings.external_url,
        }
    }

    /// Lets alerts wait on from where they were before the server was away.
    async fn restore(&self, alerts: &mut Alerts, alerting: &Alerting) -> Result<()> {
        if alerting.hold.as_ms() == 0 {
            return Ok(());
        }
        let settings = &self.ground.settings;
        let matchers =
            [Matcher::metric("ALERTS_FOR_STATE"), Matcher::new("alertname", MatchOp::Equal, &self.rule.name)?];
        let from = self.at.0.saturating_sub(settings.for_outage_tolerance.as_ms_signed());
        let stored = self.reader.select(&matchers, from, self.at.0).await?;
        let known: HashMap<Labels, (i64, f64)> = stored
            .into_iter()
            .filter_map(|series| {
                let (at, value) = (*series.timestamps.last()?, *series.values.last()?);
                Some((series.labels.without_metric_name(), (at, value)))
                    .filter(|_| !is_stale(value) && value.is_finite())
            })
            .collect();
        let waiting: Vec<Labels> = alerts.iter().map(|alert| alert.labels.clone()).collect();
        for labels in waiting {
            let Some((seen, seconds)) = known.get(&labels) else { continue };
            #[expect(clippy::cast_possible_truncation, reason = "the value is a time that was written here")]
            let since = Timestamp((seconds * 1000.0) as i64);
            let since = since_restored(since, Timestamp(*seen), self.at, alerting.hold, settings.for_grace_period);
            alerts.restore(&labels, since);
        }
        Ok(())
    }
}

/// Labels with others over them.
fn with<'b>(labels: &Labels, over: impl Iterator<Item = (&'b str, &'b str)>) -> Labels {
    let text = |(name, value): (&str, &str)| -> (Arc<str>, Arc<str>) { (name.into(), value.into()) };
    let own = labels.iter().map(|label| text((label.name(), label.value())));
    Labels::last_wins(own.chain(over.map(text)))
}

/// Asks the queries of templates, on a thread that may block.
struct Blocking<'a> {
    engine: &'a Engine,
    storage: &'a dyn Storage,
    at: Timestamp,
}

impl Ask for Blocking<'_> {
    fn query(&self, query: &str) -> Result<Vec<(BTreeMap<String, String>, f64)>> {
        let answer = runtime::Handle::current().block_on(self.engine.instant(self.storage, query, self.at))?;
        let labels = |labels: &Labels| {
            labels.iter().map(|label| (label.name().to_owned(), label.value().to_owned())).collect::<BTreeMap<_, _>>()
        };
        match answer.value {
            Value::Vector(samples) => Ok(samples.iter().map(|sample| (labels(&sample.labels), sample.value)).collect()),
            Value::Scalar { value, .. } => Ok(vec![(BTreeMap::new(), value)]),
            Value::String { .. } | Value::Matrix(_) => {
                Err(Error::invalid("the query of a template gives neither an instant vector nor a scalar"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
