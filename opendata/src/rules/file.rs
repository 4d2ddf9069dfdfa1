//! Files of rules, as Prometheus has them
//! (<https://prometheus.io/docs/prometheus/latest/configuration/recording_rules/>), read and checked whole: an error says where it
//! stands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use opendata_core::{Error, Result};
use opendata_tsdb::promql::Engine;
use opendata_tsdb::{METRIC_NAME, is_legacy_label_name};
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use super::template::Template;
use crate::composition::Source;
use crate::times::Span;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileIn {
    #[serde(default)]
    groups: Vec<Spanned<GroupIn>>,
    #[expect(dead_code, reason = "read by another program, and allowed to be there")]
    namespace: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupIn {
    name: String,
    interval: Option<Span>,
    query_offset: Option<Span>,
    #[serde(default)]
    limit: usize,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    rules: Vec<Spanned<RuleIn>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleIn {
    record: Option<String>,
    alert: Option<String>,
    expr: Spanned<Expression>,
    #[serde(rename = "for")]
    hold: Option<Span>,
    keep_firing_for: Option<Span>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// A query; a number is one too.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Expression {
    Text(String),
    Whole(i64),
    Number(f64),
}

/// Rules that are evaluated together, in order.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) file: String,
    pub(crate) name: String,
    pub(crate) interval: Option<Span>,
    pub(crate) query_offset: Option<Span>,
    /// The most series or alerts that a rule may give; zero is no limit.
    pub(crate) limit: usize,
    pub(crate) rules: Vec<Rule>,
}

/// A rule that was checked.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) query: String,
    /// Its own labels, over those of the group.
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) kind: Kind,
}

/// What a rule does with what its query gives.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Recording,
    Alerting(Box<Alerting>),
}

/// What an alerting rule has more.
#[derive(Clone, Debug)]
pub(crate) struct Alerting {
    pub(crate) hold: Span,
    pub(crate) keep_firing: Span,
    pub(crate) annotations: BTreeMap<String, String>,
    /// The labels and annotations that are templates.
    pub(crate) label_templates: Vec<(String, Template)>,
    pub(crate) annotation_templates: Vec<(String, Template)>,
}

/// Reads a file.
///
/// # Errors
/// `Invalid`, with the place in the file, when it cannot be read or something in it is wrong.
pub(crate) fn read(file: &Path) -> Result<Vec<Group>> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| {
        Error::invalid(format!("rule file cannot be read: {error}, file={name}")).with_source(error)
    })?;
    parse(&text, &name)
}

/// Reads the text of a file. `name` is what messages call it.
///
/// # Errors
/// `Invalid`, with the place in the file.
pub(crate) fn parse(text: &str, name: &str) -> Result<Vec<Group>> {
    let source = Source { name, text };
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let file: FileIn = source.parse()?;
    let mut names = BTreeSet::new();
    let mut groups = Vec::new();
    for Spanned { value: group, referenced: at, .. } in file.groups {
        if group.name.is_empty() {
            return Err(source.wrong(&at, "a group has no name"));
        }
        if !names.insert(group.name.clone()) {
            return Err(source.wrong(&at, &format!("a group of this name stands there twice, group={}", group.name)));
        }
        for label in group.labels.keys() {
            check_label(label).map_err(|why| source.wrong(&at, &why))?;
        }
        let rules = group.rules.into_iter().map(|rule| check(&source, rule, &group.labels)).collect::<Result<_>>()?;
        groups.push(Group {
            file: name.to_owned(),
            name: group.name,
            interval: group.interval,
            query_offset: group.query_offset,
            limit: group.limit,
            rules,
        });
    }
    Ok(groups)
}

fn check(source: &Source<'_>, rule: Spanned<RuleIn>, group_labels: &BTreeMap<String, String>) -> Result<Rule> {
    let at = rule.referenced;
    let rule = rule.value;
    let wrong = |why: &str| source.wrong(&at, why);
    let (name, is_alert) = match (&rule.record, &rule.alert) {
        (Some(name), None) => (name.clone(), false),
        (None, Some(name)) => (name.clone(), true),
        _ => return Err(wrong("a rule has one of `record` and `alert`")),
    };
    if name.is_empty() {
        return Err(wrong("the name of a rule is empty"));
    }
    let query = query(source, &rule.expr)?;
    for label in rule.labels.keys() {
        check_label(label).map_err(|why| wrong(&why))?;
    }
    let mut labels = group_labels.clone();
    labels.extend(rule.labels.clone());
    if is_alert {
        let kind = Kind::Alerting(Box::new(alerting(source, &at, &rule, &labels)?));
        return Ok(Rule { name, query, labels, kind });
    }
    if rule.hold.is_some() || rule.keep_firing_for.is_some() || !rule.annotations.is_empty() {
        return Err(wrong("a recording rule has no `for`, `keep_firing_for` and `annotations`"));
    }
    if name.contains(['{', '}', '"', '\n']) {
        return Err(wrong(&format!("not the name of a metric, record={name:?}")));
    }
    Ok(Rule { name, query, labels, kind: Kind::Recording })
}

fn query(source: &Source<'_>, expr: &Spanned<Expression>) -> Result<String> {
    let query = match &expr.value {
        Expression::Text(text) => text.trim().to_owned(),
        Expression::Whole(number) => number.to_string(),
        Expression::Number(number) => number.to_string(),
    };
    if query.is_empty() {
        return Err(source.wrong(&expr.referenced, "the query of a rule is empty"));
    }
    Engine::default()
        .check(&query)
        .map_err(|error| source.wrong(&expr.referenced, &format!("query: {}", error.message())).with_source(error))?;
    Ok(query)
}

fn alerting(source: &Source<'_>, at: &Location, rule: &RuleIn, labels: &BTreeMap<String, String>) -> Result<Alerting> {
    let templates = |what: &str, texts: &BTreeMap<String, String>| -> Result<Vec<(String, Template)>> {
        texts
            .iter()
            .map(|(name, text)| {
                let template = Template::parse(text).map_err(|why| {
                    source.wrong(at, &format!("the template of the {what} is wrong: {why}, {what}={name}"))
                })?;
                Ok((name.clone(), template))
            })
            .collect()
    };
    for name in rule.annotations.keys() {
        if !is_legacy_label_name(name) {
            return Err(source.wrong(at, &format!("not the name of an annotation, annotation={name:?}")));
        }
    }
    Ok(Alerting {
        hold: rule.hold.unwrap_or_default(),
        keep_firing: rule.keep_firing_for.unwrap_or_default(),
        annotations: rule.annotations.clone(),
        label_templates: templates("label", labels)?,
        annotation_templates: templates("annotation", &rule.annotations)?,
    })
}

fn check_label(name: &str) -> std::result::Result<(), String> {
    if name.is_empty() || name == METRIC_NAME {
        return Err(format!("a rule cannot set this label, label={name:?}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let error = parse(text, "rules.yml").expect_err(text);
        assert!(error.message().starts_with(expected), "{}", error.message());
    }

    #[test]
    fn a_file_of_rules() {
        let groups = parse(
            "groups:\n- name: g\n  interval: 30s\n  limit: 5\n  labels: {team: a, x: group}\n  rules:\n  - record: job:up:sum\n    expr: sum by (job) (up)\n    labels: {x: rule}\n  - alert: Down\n    expr: up == 0\n    for: 5m\n    keep_firing_for: 1m\n    labels: {severity: page}\n    annotations: {summary: '{{ $labels.job }} is down'}\n- name: empty\n",
            "rules.yml",
        )
        .unwrap();
        let [group, empty] = groups.as_slice() else { panic!("{groups:?}") };
        assert_eq!((group.interval, group.limit, empty.rules.len()), (Some(Span::from_secs(30)), 5, 0));
        let [record, alert] = group.rules.as_slice() else { panic!("{group:?}") };
        assert_eq!(record.labels, BTreeMap::from([("team".into(), "a".into()), ("x".into(), "rule".into())]));
        let Kind::Alerting(alerting) = &alert.kind else { panic!("{alert:?}") };
        assert_eq!((alerting.hold, alerting.keep_firing), (Span::from_secs(300), Span::from_secs(60)));
        assert!(parse("", "x").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_found_where_it_stands() {
        let rule = |rule: &str| format!("groups:\n- name: g\n  rules:\n  - {rule}\n");
        refused(&rule("{expr: up}"), "rules.yml:4:5: a rule has one of `record` and `alert`");
        refused(&rule("{record: a, alert: b, expr: up}"), "rules.yml:4:5: a rule has one of `record` and `alert`");
        refused(&rule("{record: a, expr: 'sum('}"), "rules.yml:4:23: query: ");
        refused(&rule("{record: a, expr: up, for: 5m}"), "rules.yml:4:5: a recording rule has no `for`");
        refused(&rule("{record: a, expr: up, labels: {__name__: b}}"), "rules.yml:4:5: a rule cannot set this label");
        refused(
            &rule("{alert: a, expr: up, annotations: {s: '{{ $x'}}"),
            "rules.yml:4:5: the template of the annotation is wrong",
        );
        refused(&rule("{alert: a, expr: up, annotation: {s: x}}"), "rules.yml:4:26: unknown field `annotation`");
        refused(&rule("{alert: a, expr: up, for: soon}"), "rules.yml:4:");
        refused("groups: [{name: g}, {name: g}]", "rules.yml:1:21: a group of this name stands there twice, group=g");
        refused("groups: [{name: ''}]", "rules.yml:1:10: a group has no name");
        refused("rules: []", "rules.yml:1:1: unknown field `rules`");
    }
}
