//! Relabelling: rules that change, keep or drop a label set, in Prometheus's words
//! (<https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config>).

use md5::{Digest, Md5};
use opendata_core::{Error, Result};
use opendata_tsdb::{is_legacy_label_name, whole_value_regex};
use regex_automata::meta::Regex;
use serde::Deserialize;

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    #[default]
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

/// A rule as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RuleIn {
    source_labels: Vec<String>,
    separator: String,
    target_label: String,
    regex: String,
    modulus: u64,
    replacement: Option<String>,
    action: Action,
}

impl Default for RuleIn {
    fn default() -> Self {
        Self {
            source_labels: Vec::new(),
            separator: ";".to_owned(),
            target_label: String::new(),
            regex: "(.*)".to_owned(),
            modulus: 0,
            replacement: None,
            action: Action::default(),
        }
    }
}

/// A rule that was checked.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    source_labels: Vec<String>,
    separator: String,
    target_label: String,
    regex: Regex,
    modulus: u64,
    replacement: String,
    action: Action,
}

impl RuleIn {
    /// Checks the rule, and compiles its expression.
    ///
    /// # Errors
    /// `Invalid` when the expression does not parse, or the action lacks what it needs.
    pub(crate) fn check(&self) -> Result<Rule> {
        let action = self.action;
        let needs = |holds: bool, what: &str| {
            if holds { Ok(()) } else { Err(Error::invalid(format!("relabelling by {action:?} needs {what}"))) }
        };
        let has_target = !self.target_label.is_empty();
        match action {
            Action::Replace | Action::Lowercase | Action::Uppercase => needs(has_target, "a target_label")?,
            Action::KeepEqual | Action::DropEqual => {
                needs(has_target, "a target_label")?;
                let plain =
                    self.regex == "(.*)" && self.replacement.is_none() && self.separator == ";" && self.modulus == 0;
                needs(plain, "source_labels and target_label only")?;
            }
            Action::HashMod => {
                needs(has_target, "a target_label")?;
                needs(self.modulus > 0, "a modulus")?;
            }
            Action::LabelDrop | Action::LabelKeep => {
                let plain = !has_target && self.source_labels.is_empty() && self.replacement.is_none();
                needs(plain, "a regex only")?;
            }
            Action::Keep | Action::Drop | Action::LabelMap => {}
        }
        Ok(Rule {
            source_labels: self.source_labels.clone(),
            separator: self.separator.clone(),
            target_label: self.target_label.clone(),
            regex: whole_value_regex(&self.regex)?,
            modulus: self.modulus,
            replacement: self.replacement.clone().unwrap_or_else(|| "$1".to_owned()),
            action,
        })
    }
}

/// Checks all rules of a list.
pub(crate) fn check(rules: &[RuleIn]) -> Result<Vec<Rule>> {
    rules.iter().map(RuleIn::check).collect()
}

/// Labels that are being changed: names are unique, values not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Builder(Vec<(String, String)>);

impl Builder {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Sets a label; an empty value takes it away.
    pub(crate) fn set(&mut self, name: impl Into<String> + AsRef<str>, value: impl Into<String>) {
        let value = value.into();
        let at = self.0.iter().position(|(known, _)| known == name.as_ref());
        match (at, value.is_empty()) {
            (Some(at), true) => {
                self.0.remove(at);
            }
            (Some(at), false) => {
                if let Some((_, known)) = self.0.get_mut(at) {
                    *known = value;
                }
            }
            (None, true) => {}
            (None, false) => self.0.push((name.into(), value)),
        }
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        self.0
    }
}

/// Whether a label set stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Kept,
    Dropped,
}

/// Applies all rules, in order, until one drops the set.
pub(crate) fn relabel(labels: &mut Builder, rules: &[Rule]) -> Fate {
    for rule in rules {
        if rule.apply(labels) == Fate::Dropped {
            return Fate::Dropped;
        }
    }
    Fate::Kept
}

impl Rule {
    fn source(&self, labels: &Builder) -> String {
        let values = self.source_labels.iter().map(|name| labels.get(name).unwrap_or_default());
        values.collect::<Vec<_>>().join(&self.separator)
    }

    fn matches(&self, value: &str) -> bool {
        self.regex.is_match(value)
    }

    fn apply(&self, labels: &mut Builder) -> Fate {
        let source = self.source(labels);
        let keep_if = |keep: bool| if keep { Fate::Kept } else { Fate::Dropped };
        match self.action {
            Action::Keep => return keep_if(self.matches(&source)),
            Action::Drop => return keep_if(!self.matches(&source)),
            Action::KeepEqual => return keep_if(labels.get(&self.target_label).unwrap_or_default() == source),
            Action::DropEqual => return keep_if(labels.get(&self.target_label).unwrap_or_default() != source),
            Action::Replace => self.replace(labels, &source),
            Action::HashMod => labels.set(self.target_label.clone(), (hash(&source) % self.modulus).to_string()),
            Action::Lowercase => labels.set(self.target_label.clone(), source.to_lowercase()),
            Action::Uppercase => labels.set(self.target_label.clone(), source.to_uppercase()),
            Action::LabelDrop => labels.retain(|name| !self.matches(name)),
            Action::LabelKeep => labels.retain(|name| self.matches(name)),
            Action::LabelMap => {
                for (name, value) in labels.clone().into_pairs() {
                    if let Some(mapped) = self.expand(&name, &self.replacement) {
                        labels.set(mapped, value);
                    }
                }
            }
        }
        Fate::Kept
    }

    fn replace(&self, labels: &mut Builder, source: &str) {
        let Some(target) = self.expand(source, &self.target_label) else { return };
        // A name that cannot be one leaves the set as it is.
        if target.is_empty() || self.target_label.contains('$') && !is_legacy_label_name(&target) {
            return;
        }
        if let Some(value) = self.expand(source, &self.replacement) {
            labels.set(target, value);
        }
    }

    /// A text with the groups of a match in it; none without a match.
    fn expand(&self, source: &str, template: &str) -> Option<String> {
        let mut captures = self.regex.create_captures();
        self.regex.captures(source, &mut captures);
        if !captures.is_match() {
            return None;
        }
        let mut text = String::new();
        captures.interpolate_string_into(source, template, &mut text);
        Some(text)
    }
}

/// The hash that targets are spread by: the last eight bytes of MD5.
fn hash(text: &str) -> u64 {
    let digest = Md5::digest(text.as_bytes());
    digest.iter().skip(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;
