//! One target: where it is, and the labels that its series get.
//!
//! Labels that begin with `__` steer the scrape and are gone afterwards: `__address__`, `__scheme__`, `__metrics_path__`,
//! `__scrape_interval__`, `__scrape_timeout__`, `__param_<name>`; relabelling may change them.

use std::collections::{BTreeMap, HashSet};

use opendata_core::{Error, Result};
use opendata_tsdb::Labels;

use super::config::{Global, ScrapeConfig, TargetGroup};
use super::relabel::{Builder, Fate, Rule, relabel};
use crate::times::Span;

/// What is scraped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The address with path and options.
    pub(crate) url: String,
    /// The labels of its series.
    pub(crate) labels: Labels,
    /// The labels it was found with.
    pub(crate) discovered: BTreeMap<String, String>,
    pub(crate) interval: Span,
    pub(crate) timeout: Span,
}

impl Target {
    /// What makes two targets one: what is asked, and how its series are labelled.
    pub(crate) fn identity(&self) -> (String, Labels) {
        (self.url.clone(), self.labels.clone())
    }
}

/// What became of the targets that were found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) active: Vec<Target>,
    /// The labels of those that relabelling dropped.
    pub(crate) dropped: Vec<BTreeMap<String, String>>,
    /// Why others cannot be scraped.
    pub(crate) wrong: Vec<String>,
}

/// The targets of groups. Of two that are the same one is left.
pub(crate) fn targets(groups: &[TargetGroup], config: &ScrapeConfig, global: &Global, rules: &[Rule]) -> Found {
    let (mut found, mut known) = (Found::default(), HashSet::new());
    for group in groups {
        for address in &group.targets {
            let discovered = discovered(address, group, config, global);
            match target(&discovered, config, rules) {
                Ok(Some(target)) => {
                    if known.insert(target.identity()) {
                        found.active.push(target);
                    }
                }
                Ok(None) => found.dropped.push(discovered),
                Err(error) => found.wrong.push(format!("target={address}: {}", error.message())),
            }
        }
    }
    found
}

fn discovered(address: &str, group: &TargetGroup, config: &ScrapeConfig, global: &Global) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        ("job".to_owned(), config.job_name.clone()),
        ("__scheme__".to_owned(), config.scheme.clone()),
        ("__metrics_path__".to_owned(), config.metrics_path.clone()),
        ("__scrape_interval__".to_owned(), config.interval(global).to_string()),
        ("__scrape_timeout__".to_owned(), config.timeout(global).to_string()),
    ]);
    for (name, values) in &config.params {
        if let Some(first) = values.first() {
            labels.insert(format!("__param_{name}"), first.clone());
        }
    }
    labels.extend(group.labels.clone());
    labels.insert("__address__".to_owned(), address.to_owned());
    labels
}

/// The target of labels; none if relabelling drops it.
fn target(discovered: &BTreeMap<String, String>, config: &ScrapeConfig, rules: &[Rule]) -> Result<Option<Target>> {
    let mut labels = Builder::default();
    for (name, value) in discovered {
        labels.set(name.clone(), value.clone());
    }
    if relabel(&mut labels, rules) == Fate::Dropped {
        return Ok(None);
    }
    let get = |name: &str| labels.get(name).unwrap_or_default().to_owned();
    let address = get("__address__");
    if address.is_empty() {
        return Err(Error::invalid("it has no address"));
    }
    if address.contains('/') {
        return Err(Error::invalid("its address has a `/` in it"));
    }
    let span = |name: &str| {
        let text = get(name);
        let span = Span::parse(&text).filter(|span| span.as_ms() > 0);
        span.ok_or_else(|| Error::invalid(format!("{name} is no duration, found={text:?}")))
    };
    let (interval, timeout) = (span("__scrape_interval__")?, span("__scrape_timeout__")?);
    if timeout > interval {
        return Err(Error::invalid("its timeout is longer than its interval"));
    }
    let url = url(&labels, &address, config)?;
    if labels.get("instance").is_none() {
        labels.set("instance", address);
    }
    labels.retain(|name| !name.starts_with("__"));
    let labels = Labels::new(labels.into_pairs())?;
    Ok(Some(Target { url, labels, discovered: discovered.clone(), interval, timeout }))
}

fn url(labels: &Builder, address: &str, config: &ScrapeConfig) -> Result<String> {
    let scheme = labels.get("__scheme__").unwrap_or("http");
    if !matches!(scheme, "http" | "https") {
        return Err(Error::invalid(format!("its scheme is neither http nor https, scheme={scheme}")));
    }
    let path = labels.get("__metrics_path__").unwrap_or_default();
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut url = reqwest::Url::parse(&format!("{scheme}://{address}{slash}{path}"))
        .map_err(|error| Error::invalid(format!("its address is not one: {error}")))?;
    let mut params: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, values) in &config.params {
        // The first value is a label, which may have been changed.
        params.insert(name, values.iter().skip(1).map(String::as_str).collect());
    }
    for (name, value) in labels.iter().filter_map(|(name, value)| Some((name.strip_prefix("__param_")?, value))) {
        params.entry(name).or_default().insert(0, value);
    }
    if params.values().any(|values| !values.is_empty()) {
        let mut pairs = url.query_pairs_mut();
        for (name, values) in &params {
            for value in values {
                pairs.append_pair(name, value);
            }
        }
    }
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::relabel;

    fn found(config: &str) -> Found {
        let config: ScrapeConfig = serde_saphyr::from_str(config).unwrap();
        let rules = relabel::check(&config.relabel_configs).unwrap();
        targets(&config.static_configs, &config, &Global::default(), &rules)
    }

    #[test]
    fn targets_get_their_address_and_labels_from_job_group_and_rules() {
        let found = found(
            "{job_name: j, params: {module: [x y, z]}, static_configs: [{targets: ['a:1', 'b:2', 'a:1'], labels: {env: prod}}],
              relabel_configs: [
                {source_labels: [__address__], regex: 'b.*', action: drop},
                {source_labels: [__address__], target_label: host, regex: '(.*):.*'},
                {target_label: __metrics_path__, replacement: /probe}]}",
        );
        assert_eq!(found.active.len(), 1);
        let target = &found.active[0];
        assert_eq!(target.url, "http://a:1/probe?module=x+y&module=z");
        assert_eq!(target.labels.to_string(), r#"{env="prod", host="a", instance="a:1", job="j"}"#);
        assert_eq!((found.dropped.len(), found.dropped[0]["__address__"].as_str()), (1, "b:2"));
        assert_eq!((target.interval, target.timeout), (Span::from_secs(60), Span::from_secs(10)));
    }

    #[test]
    fn what_cannot_be_scraped_is_told() {
        let found = found(
            "{job_name: j, static_configs: [{targets: ['a:1/metrics', '', 'ok:1']}],
              relabel_configs: [{source_labels: [__address__], regex: 'ok:1', target_label: __scrape_interval__, replacement: never}]}",
        );
        assert_eq!((found.active.len(), found.wrong.len()), (0, 3), "{found:?}");
        assert!(found.wrong[2].contains("__scrape_interval__ is no duration"), "{found:?}");
    }
}
