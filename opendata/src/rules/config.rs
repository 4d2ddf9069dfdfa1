//! Which rules an instance has, and who is told of alerts. In a composition file, beside an instance's `config`:
//!
//! ```yaml
//! rules: [alerts.yml, "rules/*.yml"]
//! ```
//! or, with all that may be said:
//!
//! ```yaml
//! rules:
//!   rule_files: [alerts.yml]
//!   evaluation_interval: 1m         # of groups that name none
//!   external_url: https://metrics.example
//!   external_labels: {region: eu}   # added to what others are told
//!   alertmanagers: [{static_configs: [{targets: ["127.0.0.1:9093"]}]}]
//! ```
//! The words are Prometheus's. Files are relative to the composition file, and read when the server starts.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use opendata_core::{Error, Result};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use super::file::{self, Group};
use crate::scrape::{Authorization, BasicAuth, TargetGroup, matching};
use crate::times::Span;

/// The rules of an instance, as the composition file has them.
#[derive(Clone, Debug)]
pub(crate) struct Spec(Settings);

/// How rules are evaluated.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(super) rule_files: Vec<PathBuf>,
    pub(crate) evaluation_interval: Span,
    /// How far in the past rules are evaluated, so that late samples are seen.
    pub(crate) query_offset: Span,
    pub(crate) external_labels: BTreeMap<String, String>,
    pub(crate) external_url: String,
    /// What is left at least of an alert's `for` after a restart.
    pub(crate) for_grace_period: Span,
    /// How long the server may have been away for the `for` of alerts to go on.
    pub(crate) for_outage_tolerance: Span,
    /// How often an alert that goes on firing is told again.
    pub(crate) resend_delay: Span,
    pub(crate) alertmanagers: Vec<AlertmanagerConfig>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rule_files: Vec::new(),
            evaluation_interval: Span::from_secs(60),
            query_offset: Span::default(),
            external_labels: BTreeMap::new(),
            external_url: String::new(),
            for_grace_period: Span::from_secs(600),
            for_outage_tolerance: Span::from_secs(3600),
            resend_delay: Span::from_secs(60),
            alertmanagers: Vec::new(),
        }
    }
}

/// Who is told of alerts.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AlertmanagerConfig {
    pub(crate) static_configs: Vec<TargetGroup>,
    pub(crate) scheme: String,
    pub(crate) path_prefix: String,
    pub(crate) timeout: Span,
    pub(crate) api_version: ApiVersion,
    pub(crate) basic_auth: Option<BasicAuth>,
    pub(crate) authorization: Option<Authorization>,
}

impl Default for AlertmanagerConfig {
    fn default() -> Self {
        Self {
            static_configs: Vec::new(),
            scheme: "http".to_owned(),
            path_prefix: String::new(),
            timeout: Span::from_secs(10),
            api_version: ApiVersion::V2,
            basic_auth: None,
            authorization: None,
        }
    }
}

/// The version of Alertmanager's interface; there is no other one any more.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ApiVersion {
    V2,
}

impl AlertmanagerConfig {
    /// Where alerts are sent.
    pub(crate) fn urls(&self) -> Vec<String> {
        let targets = self.static_configs.iter().flat_map(|group| &group.targets);
        let prefix = self.path_prefix.trim_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        targets.map(|target| format!("{}://{target}{slash}{prefix}/api/v2/alerts", self.scheme)).collect()
    }
}

impl<'de> Deserialize<'de> for Spec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyForm;

        impl<'de> Visitor<'de> for AnyForm {
            type Value = Spec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of rule files, or `rule_files` and more")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Spec, A::Error> {
                let rule_files = Deserialize::deserialize(de::value::SeqAccessDeserializer::new(list))?;
                Ok(Spec(Settings { rule_files, ..Settings::default() }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Spec, A::Error> {
                Deserialize::deserialize(de::value::MapAccessDeserializer::new(map)).map(Spec)
            }
        }

        deserializer.deserialize_any(AnyForm)
    }
}

/// The rules of an instance, read and checked.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    pub(crate) groups: Vec<Group>,
}

impl Spec {
    /// Reads all files. `folder` is where relative paths begin.
    ///
    /// # Errors
    /// `Invalid` when a file is not there or something in it is wrong.
    pub(crate) fn load(&self, folder: &Path) -> Result<Loaded> {
        let settings = self.0.clone();
        if settings.evaluation_interval.as_ms() == 0 {
            return Err(Error::invalid("rules: evaluation_interval must be longer than zero"));
        }
        let mut groups = Vec::new();
        for file in &settings.rule_files {
            let pattern = folder.join(file);
            let mut files = matching(&pattern).map_err(|error| {
                Error::invalid(format!("rule files cannot be listed, files={}", pattern.display())).with_source(error)
            })?;
            files.sort();
            if files.is_empty() && !file.to_string_lossy().contains('*') {
                return Err(Error::invalid(format!("rule file is not there, file={}", pattern.display())));
            }
            for file in files {
                groups.extend(file::read(&file)?);
            }
        }
        Ok(Loaded { settings, groups })
    }
}
