//! The schema says what the types say: the same fields, the same words, and every file that is in order.

use std::collections::BTreeSet;

use opendata_compose::cut::{CutSchedule, Keep};
use opendata_compose::edge::EdgeSpec;
use opendata_compose::edge::spec::*;
use opendata_compose::{Settings, log, tsdb, vector};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_saphyr::Error as Yaml;

use super::SCHEMA;
use crate::composition::{Document, NodeSpec, ServerSpec, StoreSpec, template};

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

/// The fields that a type knows, as it says itself when it meets another one.
fn fields<T: DeserializeOwned>() -> BTreeSet<String> {
    let error = serde_saphyr::from_str::<T>("no_such_field: 0").map(drop).unwrap_err();
    match error.without_snippet() {
        Yaml::SerdeUnknownField { expected, .. } => expected.iter().map(|name| (*name).to_owned()).collect(),
        other => panic!("another error: {other}"),
    }
}

/// The words that a type knows.
fn words<T: DeserializeOwned>() -> BTreeSet<String> {
    let error = serde_saphyr::from_str::<T>("no_such_word").map(drop).unwrap_err();
    match error.without_snippet() {
        Yaml::SerdeUnknownVariant { expected, .. } => expected.iter().map(|name| (*name).to_owned()).collect(),
        other => panic!("another error: {other}"),
    }
}

fn properties(of: &Value) -> BTreeSet<String> {
    of["properties"].as_object().unwrap().keys().cloned().collect()
}

/// The words of a choice: plain ones, and those that name what follows.
fn choices(of: &Value) -> BTreeSet<String> {
    let one = |of: &Value| -> Vec<String> {
        match of["enum"].as_array() {
            Some(words) => words.iter().map(|word| word.as_str().unwrap().to_owned()).collect(),
            None => properties(of).into_iter().collect(),
        }
    };
    of["oneOf"].as_array().map_or_else(|| one(of), |all| all.iter().flat_map(one).collect()).into_iter().collect()
}

#[test]
fn it_has_the_fields_of_the_types_and_no_others() {
    let schema = schema();
    assert_eq!(properties(&schema), fields::<Document>());
    let mut seen = BTreeSet::new();
    let mut same = |name: &str, known: BTreeSet<String>| {
        assert_eq!(properties(&schema["$defs"][name]), known, "{name}");
        seen.insert(name.to_owned());
    };
    same("Node", fields::<NodeSpec>());
    same("Server", fields::<ServerSpec>());
    same("Settings", fields::<Settings>());
    same("Edge", fields::<EdgeSpec>());
    same("Source", fields::<SourceSpec>());
    same("Shard", fields::<ShardSpec>());
    same("Sink", fields::<SinkSpec>());
    same("HttpSink", fields::<HttpSink>());
    same("EventTime", fields::<EventTimeSpec>());
    same("Batch", fields::<BatchSpec>());
    same("Retry", fields::<RetrySpec>());
    same("DeadLetters", fields::<LetterSpec>());
    same("Detach", fields::<DetachSpec>());
    same("Map", fields::<MapStep>());
    same("Route", fields::<RouteStep>());
    same("Metrics", fields::<Metrics>());
    same("Metric", fields::<Metric>());
    same("Window", fields::<Window>());
    same("Documents", fields::<Documents>());
    same("Cuts", fields::<CutSchedule>());
    same("Keep", fields::<Keep>());
    same("LogConfig", fields::<log::Config>());
    same("TsdbConfig", fields::<tsdb::Config>());
    same("Rollup", fields::<tsdb::Rollup>());
    same("VectorConfig", fields::<vector::Config>());
    same("VectorSchema", fields::<vector::Schema>());
    same("VectorField", fields::<vector::VectorField>());
    same("TextField", fields::<vector::TextField>());
    same("Otlp", fields::<crate::otlp::Config>());
    let store = &schema["$defs"]["Store"]["oneOf"][1];
    assert_eq!(properties(store), fields::<StoreSpec>());
    seen.insert("Store".to_owned());
    let mut same = |name: &str, known: BTreeSet<String>| {
        assert_eq!(choices(&schema["$defs"][name]), known, "{name}");
        seen.insert(name.to_owned());
    };
    same("Streams", words::<StreamsSpec>());
    same("StartFrom", words::<StartFrom>());
    same("OnHold", words::<OnHold>());
    same("Guarantee", words::<Guarantee>());
    same("Step", words::<Step>());
    same("Aggregate", words::<Aggregate>());
    same("VectorOf", words::<VectorOf>());
    same("Embedder", words::<EmbedderSpec>());
    same("CutMode", words::<opendata_compose::control::CutMode>());
    same("SlateCompression", words::<opendata_core::slate::Compression>());
    same("LogCompression", words::<log::Compression>());
    same("Resolution", words::<tsdb::Resolution>());
    same("CodeBits", words::<vector::CodeBits>());
    same("VectorMetric", words::<vector::Metric>());
    same("Storage", words::<vector::Storage>());
    same("AttributeType", words::<vector::AttributeType>());
    same("Stemming", words::<vector::Stemming>());
    // What is not of one type is made by hand, and files are held to it below.
    let by_hand = ["Fields", "Instance", "OtlpNames", "SparseField"].map(str::to_owned);
    let all: BTreeSet<String> = schema["$defs"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(all.difference(&seen).cloned().collect::<BTreeSet<_>>(), BTreeSet::from(by_hand));
}

/// Whether a value is as a schema says: the words of JSON schema that ours uses.
fn fits(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        fits(root, &root["$defs"][name.trim_start_matches("#/$defs/")], value, at)?;
    }
    for all in schema["allOf"].as_array().into_iter().flatten() {
        fits(root, all, value, at)?;
    }
    if let Some(any) = schema["oneOf"].as_array() {
        let found: Vec<_> = any.iter().map(|one| fits(root, one, value, at)).collect();
        let good = found.iter().filter(|found| found.is_ok()).count();
        if good != 1 {
            return Err(format!("{at}: {good} choices fit: {found:?}"));
        }
    }
    if let Some(words) = schema["enum"].as_array().filter(|words| !words.contains(value)) {
        return Err(format!("{at}: {value} is none of {words:?}"));
    }
    if schema.get("const").is_some_and(|only| only != value) {
        return Err(format!("{at}: {value} is not {}", schema["const"]));
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds = match &schema["type"] {
        Value::String(one) => vec![one.clone()],
        Value::Array(several) => several.iter().map(|kind| kind.as_str().unwrap().to_owned()).collect(),
        _ => vec![kind.to_owned()],
    };
    if !kinds.iter().any(|known| known == kind || (known == "number" && kind == "integer")) {
        return Err(format!("{at}: a {kind}, wanted {kinds:?}"));
    }
    for element in value.as_array().into_iter().flatten() {
        fits(root, &schema["items"], element, at)?;
    }
    let missing = |name: &&Value| value.is_object() && value.get(name.as_str().unwrap()).is_none();
    if let Some(name) = schema["required"].as_array().into_iter().flatten().find(missing) {
        return Err(format!("{at}: {name} is missing"));
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(known), _) => fits(root, known, inner, &at)?,
            (None, Value::Bool(false)) => return Err(format!("{at}: no such field")),
            (None, more) => fits(root, more, inner, &at)?,
        }
    }
    Ok(())
}

#[test]
fn every_example_and_what_init_writes_fit_it_and_mistakes_do_not() {
    let root = schema();
    let check = |text: &str| {
        let value: Value = serde_saphyr::from_str(text).unwrap();
        fits(&root, &root, &value, "")
    };
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut examples = 0;
    for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        // Files of rules lie there as well.
        if file.extension().is_some_and(|end| end == "yaml") && text.contains("\nversion:") {
            check(&text).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
            examples += 1;
        }
    }
    assert!(examples >= 4);
    let written = template::render("file:./data", "billing");
    check(&written).unwrap();
    assert!(check(&written.replace("usage: tsdb", "usage: tsbd")).is_err());
    assert!(check(&written.replace("nodes:", "node:")).is_err());
    assert!(check(&written.replace("version: 1", "version: one")).is_err());
}
