//! How an instance takes OpenTelemetry's metrics, in the words of Prometheus's `otlp` settings.

use opendata_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::name::{LabelNames, Strategy};

/// The settings, in a composition file `otlp` beside an instance's `config`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// What becomes of names.
    pub(crate) translation_strategy: Strategy,
    /// Attributes of a resource that become labels of all its series.
    pub(crate) promote_resource_attributes: Vec<String>,
    /// All of them do.
    pub(crate) promote_all_resource_attributes: bool,
    /// But these, where all do.
    pub(crate) ignore_resource_attributes: Vec<String>,
    /// Whether `service.name`, `service.namespace` and `service.instance.id` stand in `target_info` too.
    pub(crate) keep_identifying_resource_attributes: bool,
    /// Whether histograms with bounds become native ones with custom buckets.
    pub(crate) convert_histograms_to_nhcb: bool,
    /// Whether the name, version and attributes of the scope become labels `otel_scope_..`.
    pub(crate) promote_scope_metadata: bool,
    /// Whether a label's single underscore in front is written `key_`.
    pub(crate) label_name_underscore_sanitization: bool,
    /// Whether several underscores in a row stay as they are in names of labels.
    pub(crate) label_name_preserve_multiple_underscores: bool,
    /// Whether a cumulative series gets a sample of zero at the time its counting started.
    pub(crate) zero_at_start: bool,
    /// Whether the time at which its counting started is stored with each sample of a cumulative series; then `rate` and
    /// its like heed it.
    pub(crate) start_times: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            translation_strategy: Strategy::default(),
            promote_resource_attributes: Vec::new(),
            promote_all_resource_attributes: false,
            ignore_resource_attributes: Vec::new(),
            keep_identifying_resource_attributes: false,
            convert_histograms_to_nhcb: false,
            promote_scope_metadata: false,
            label_name_underscore_sanitization: true,
            label_name_preserve_multiple_underscores: true,
            zero_at_start: false,
            start_times: false,
        }
    }
}

impl Config {
    /// Whether the settings go together.
    pub(crate) fn validate(&self) -> Result<()> {
        if self.promote_all_resource_attributes && !self.promote_resource_attributes.is_empty() {
            return Err(Error::invalid(
                "otlp: promote_all_resource_attributes and promote_resource_attributes exclude one another",
            ));
        }
        if !self.promote_all_resource_attributes && !self.ignore_resource_attributes.is_empty() {
            return Err(Error::invalid("otlp: ignore_resource_attributes needs promote_all_resource_attributes"));
        }
        Ok(())
    }

    pub(super) fn label_names(&self) -> LabelNames {
        LabelNames {
            strategy: self.translation_strategy,
            guards_underscore: self.label_name_underscore_sanitization,
            keeps_underscores: self.label_name_preserve_multiple_underscores,
        }
    }

    pub(super) fn promotes(&self, attribute: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|name| name == attribute);
        match self.promote_all_resource_attributes {
            true => !named(&self.ignore_resource_attributes),
            false => named(&self.promote_resource_attributes),
        }
    }
}
