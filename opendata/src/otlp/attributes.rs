//! Attributes as labels: of the resource, of the scope, of a point.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opendata_tsdb::{Labels, METRIC_NAME};
use serde_json::Value as Json;

use super::config::Config;
use super::message::{AnyValue, KeyValue, Resource, Scope};
use super::name::LabelNames;

const SERVICE_NAME: &str = "service.name";
const SERVICE_NAMESPACE: &str = "service.namespace";
const SERVICE_INSTANCE: &str = "service.instance.id";

pub(super) type Pair = (Arc<str>, Arc<str>);

/// The labels that all points of a resource and scope have.
#[derive(Clone, Debug)]
pub(super) struct Base {
    names: LabelNames,
    /// Those that win over a point's own.
    fixed: Vec<Pair>,
    /// Those that give way to a point's own.
    promoted: Vec<Pair>,
}

/// A resource: what its points are labelled with, and what describes it.
pub(super) struct Described {
    pub(super) base: Base,
    /// The labels of its `target_info`; none if there is nothing to say, or nobody to say it of.
    pub(super) target_info: Option<Labels>,
}

/// Makes labels of a resource.
pub(super) fn resource(resource: Option<&Resource>, config: &Config) -> Described {
    let attributes = resource.map(|resource| resource.attributes.as_slice()).unwrap_or_default();
    let names = config.label_names();
    let text = |key: &str| {
        let found = attributes.iter().find(|attribute| attribute.key == key)?;
        Some(text_of(found.value.as_ref()?)).filter(|text| !text.is_empty())
    };
    let mut fixed: Vec<Pair> = Vec::new();
    if let Some(name) = text(SERVICE_NAME) {
        let job = text(SERVICE_NAMESPACE).map_or_else(|| name.to_string(), |space| format!("{space}/{name}"));
        fixed.push(("job".into(), job.into()));
    }
    if let Some(instance) = text(SERVICE_INSTANCE) {
        fixed.push(("instance".into(), instance.into()));
    }
    let promoted = merged(attributes.iter().filter(|attribute| config.promotes(&attribute.key)), names);
    let identifies = |key: &str| matches!(key, SERVICE_NAME | SERVICE_NAMESPACE | SERVICE_INSTANCE);
    let described = attributes
        .iter()
        .filter(|attribute| config.keep_identifying_resource_attributes || !identifies(&attribute.key));
    let described = merged(described, names);
    let target_info = (!described.is_empty() && !fixed.is_empty()).then(|| {
        let name: Pair = (METRIC_NAME.into(), "target_info".into());
        Labels::last_wins(described.into_iter().chain(fixed.iter().cloned()).chain([name]))
    });
    Described { base: Base { names, fixed, promoted }, target_info }
}

impl Base {
    /// The labels of a scope's points.
    pub(super) fn of_scope(&self, scope: Option<&Scope>, schema_url: &str) -> Self {
        let mut base = self.clone();
        let Some(scope) = scope else { return base };
        let mut add = |name: &str, value: &str| {
            if !value.is_empty() {
                base.promoted.push((name.into(), value.into()));
            }
        };
        add("otel_scope_name", &scope.name);
        add("otel_scope_version", &scope.version);
        add("otel_scope_schema_url", schema_url);
        for (name, value) in merged(scope.attributes.iter(), self.names) {
            add(&format!("otel_scope_{name}"), &value);
        }
        base
    }

    /// What a point's series have in common: everything but the name and what a part of it (a bucket) adds.
    pub(super) fn point(&self, attributes: &[KeyValue]) -> PointLabels {
        let own = merged(attributes.iter(), self.names);
        PointLabels(self.promoted.iter().cloned().chain(own).chain(self.fixed.iter().cloned()).collect())
    }
}

/// The labels of a point; of two with one name the later one counts.
pub(super) struct PointLabels(Vec<Pair>);

impl PointLabels {
    /// The labels of a series of the point.
    pub(super) fn series(&self, name: &Arc<str>, part: Option<(&str, &str)>) -> Labels {
        let part = part.map(|(name, value)| (Arc::from(name), Arc::from(value)));
        let name = (Arc::from(METRIC_NAME), Arc::clone(name));
        Labels::last_wins(self.0.iter().cloned().chain(part).chain([name]))
    }
}

/// Attributes under the names that labels may have. Values that come under one name are joined, in the order of the keys.
pub(super) fn merged<'a>(attributes: impl Iterator<Item = &'a KeyValue>, names: LabelNames) -> Vec<Pair> {
    let mut sorted: Vec<(&str, Cow<'_, str>)> = attributes
        .filter(|attribute| !attribute.key.is_empty())
        .filter_map(|attribute| Some((attribute.key.as_str(), text_of(attribute.value.as_ref()?))))
        .collect();
    sorted.sort_by(|a, b| a.0.cmp(b.0));
    // One key twice is against the specification; the last one counts, as in a map.
    sorted.dedup_by(|later, first| {
        let same = later.0 == first.0;
        if same {
            std::mem::swap(&mut later.1, &mut first.1);
        }
        same
    });
    let mut labels: Vec<Pair> = Vec::with_capacity(sorted.len());
    for (key, value) in sorted {
        let name = names.label(key);
        match labels.iter_mut().find(|(known, _)| **known == *name) {
            Some((_, known)) => *known = format!("{known};{value}").into(),
            None => labels.push((Arc::from(name), Arc::from(value))),
        }
    }
    labels
}

/// A value as a text: what is no text or number is JSON.
pub(super) fn text_of(value: &AnyValue) -> Cow<'_, str> {
    if let Some(text) = &value.string_value {
        return Cow::Borrowed(text);
    }
    Cow::Owned(match json_of(value) {
        Json::Null => String::new(),
        Json::String(text) => text,
        json => json.to_string(),
    })
}

fn json_of(value: &AnyValue) -> Json {
    if let Some(text) = &value.string_value {
        Json::from(text.as_str())
    } else if let Some(is) = value.bool_value {
        Json::from(is)
    } else if let Some(number) = value.int_value {
        Json::from(number)
    } else if let Some(number) = value.double_value {
        // Whole numbers without a point, and no exponents: as the language of the reference writes them.
        Json::from(super::number_text(number))
    } else if let Some(bytes) = &value.bytes_value {
        Json::from(STANDARD.encode(bytes))
    } else if let Some(array) = &value.array_value {
        array.values.iter().map(json_in).collect()
    } else if let Some(list) = &value.kvlist_value {
        let pairs = list.values.iter();
        Json::Object(pairs.map(|pair| (pair.key.clone(), pair.value.as_ref().map_or(Json::Null, json_in))).collect())
    } else {
        Json::Null
    }
}

/// Inside of JSON a number is a number.
fn json_in(value: &AnyValue) -> Json {
    match value.double_value {
        Some(number) => Json::from(number),
        None => json_of(value),
    }
}
