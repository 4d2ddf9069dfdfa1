//! Targets that are scraped, rules that are evaluated, alerts that stand.

use std::collections::BTreeMap;

use opendata_core::Result;
use serde_json::{Value, json};

use super::ask::Asked;
use super::refused::Refused;
use crate::api::prometheus::Response;
use crate::api::prometheus::monitor::{Rule, RuleGroup, TargetMetadata};
use crate::http::answer::Json;

type Told = Result<Json<Response<Value>>, Refused>;

fn told(data: Value) -> Told {
    Ok(Json(Response::success(data)))
}

pub(super) async fn targets(asked: Asked) -> Told {
    let targets = asked.monitors()?.targets;
    let pool = asked.get("scrapePool");
    let state = asked.get("state").unwrap_or("any");
    let (active, dropped) = match state {
        "active" => (true, false),
        "dropped" => (false, true),
        _ => (true, true),
    };
    let in_pool = |name: &str| pool.is_none_or(|pool| pool == name);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for target in &targets.active {
        counts.entry(&target.scrape_pool).or_default();
    }
    for target in &targets.dropped {
        *counts.entry(&target.scrape_pool).or_default() += 1;
    }
    told(json!({
        "activeTargets": targets.active.iter().filter(|one| active && in_pool(&one.scrape_pool)).collect::<Vec<_>>(),
        "droppedTargets": targets.dropped.iter().filter(|one| dropped && in_pool(&one.scrape_pool)).collect::<Vec<_>>(),
        "droppedTargetCounts": counts,
    }))
}

pub(super) async fn targets_metadata(asked: Asked) -> Told {
    let limit = asked.limit("limit")?.unwrap_or(usize::MAX);
    let matchers = match asked.get("match_target") {
        Some(selector) => opendata_tsdb::promql::parse_selector(selector)
            .map_err(|error| Refused::parameter("match_target", error.message()))?,
        None => Vec::new(),
    };
    let metric = asked.get("metric");
    let fits = |one: &TargetMetadata| {
        let of = |name: &str| one.target.get(name).map(String::as_str).unwrap_or_default();
        matchers.iter().all(|matcher| matcher.matches(of(matcher.name())))
            && metric.is_none_or(|metric| one.metric.as_deref() == Some(metric))
    };
    let monitors = asked.monitors()?;
    let found = monitors.targets.metadata.into_iter().filter(fits).take(limit);
    // Whoever asks for a metric knows its name.
    let found = found.map(|one| TargetMetadata { metric: one.metric.filter(|_| metric.is_none()), ..one });
    told(json!(found.collect::<Vec<_>>()))
}

pub(super) async fn scrape_pools(asked: Asked) -> Told {
    told(json!({"scrapePools": asked.monitors()?.targets.pools}))
}

/// What the reference has to say of itself, such as that it begins or reloads its file; there is nothing of that here.
pub(super) async fn notifications() -> Told {
    told(json!([]))
}

pub(super) async fn alertmanagers(asked: Asked) -> Told {
    told(json!(asked.monitors()?.rules.alertmanagers))
}

pub(super) async fn alerts(asked: Asked) -> Told {
    let rules = asked.monitors()?.rules;
    let alerts = rules.groups.iter().flat_map(|group| &group.rules).flat_map(Rule::alerts).collect::<Vec<_>>();
    told(json!({"alerts": alerts}))
}

/// Which rules are wanted.
struct Filter {
    recording: bool,
    alerting: bool,
    names: Vec<String>,
    groups: Vec<String>,
    files: Vec<String>,
    selectors: Vec<Vec<opendata_tsdb::Matcher>>,
    alerts: bool,
}

impl Filter {
    fn of(asked: &Asked) -> Result<Self, Refused> {
        let (recording, alerting) = match asked.get("type").map(str::to_lowercase).as_deref() {
            None => (true, true),
            Some("record") => (true, false),
            Some("alert") => (false, true),
            Some(_) => {
                return Err(Refused::parameter(
                    "type",
                    "not supported value \"type\": must be \"alert\" or \"record\"",
                ));
            }
        };
        let exclude = match asked.get("exclude_alerts") {
            None => false,
            Some(value) => value.parse().map_err(|_| Refused::parameter("exclude_alerts", "not true or false"))?,
        };
        let all = |name| asked.all(name).filter(|value| !value.is_empty()).map(str::to_owned).collect();
        Ok(Self {
            recording,
            alerting,
            names: all("rule_name[]"),
            groups: all("rule_group[]"),
            files: all("file[]"),
            selectors: asked.selectors()?,
            alerts: !exclude,
        })
    }

    fn takes_group(&self, group: &RuleGroup) -> bool {
        let among = |wanted: &[String], name: &String| wanted.is_empty() || wanted.contains(name);
        among(&self.groups, &group.name) && among(&self.files, &group.file)
    }

    fn takes(&self, rule: &Rule) -> bool {
        let wanted = match rule {
            Rule::Recording(_) => self.recording,
            Rule::Alerting(_) => self.alerting,
        };
        let labels = rule.labels();
        let of = |name: &str| labels.get(name).map(String::as_str).unwrap_or_default();
        wanted
            && (self.names.is_empty() || self.names.iter().any(|name| name == rule.name()))
            && (self.selectors.is_empty()
                || self.selectors.iter().any(|all| all.iter().all(|matcher| matcher.matches(of(matcher.name())))))
    }

    /// The group with the rules that are wanted; `None` if it has none.
    fn apply(&self, mut group: RuleGroup) -> Option<RuleGroup> {
        let takes_all = self.names.is_empty() && self.selectors.is_empty() && self.recording && self.alerting;
        group.rules.retain(|rule| self.takes(rule));
        if group.rules.is_empty() && !takes_all {
            return None;
        }
        if !self.alerts {
            group.rules.iter_mut().for_each(Rule::without_alerts);
        }
        Some(group)
    }
}

pub(super) async fn rules(asked: Asked) -> Told {
    let filter = Filter::of(&asked)?;
    let limit = asked.limit("group_limit")?;
    let next = asked.get("group_next_token");
    if next.is_some() && limit.is_none() {
        return Err(Refused::parameter(
            "group_limit",
            "group_limit needs to be set in order to paginate over the groups",
        ));
    }
    let groups = asked.monitors()?.rules.groups.into_iter().filter(|group| filter.takes_group(group));
    let mut groups = groups.filter_map(|group| filter.apply(group)).peekable();
    if let Some(token) = next {
        while groups.next_if(|group| page_token(group) != token).is_some() {}
        if groups.peek().is_none() {
            return Err(Refused::parameter("group_next_token", "invalid group_next_token"));
        }
    }
    let page: Vec<RuleGroup> = groups.by_ref().take(limit.unwrap_or(usize::MAX)).collect();
    match groups.peek() {
        Some(following) => told(json!({"groups": page, "groupNextToken": page_token(following)})),
        None => told(json!({"groups": page})),
    }
}

/// Which group a page begins with.
fn page_token(group: &RuleGroup) -> String {
    opendata_tsdb::labels! { "file" => group.file.as_str(), "name" => group.name.as_str() }
        .fingerprint()
        .to_be_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
