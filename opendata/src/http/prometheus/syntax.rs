//! Queries as trees and as tidy text, for editors.
//!
//! What is told is the grammar as `promql-parser` knows it, which our own parser is tested against. Durations that are
//! computed and other recent additions are answered by the engine, and have no tree here.

use opendata_core::Result;
use opendata_tsdb::METRIC_NAME;
use opendata_tsdb::promql::Engine;
use promql_parser::parser::{self, Expr};
use serde_json::{Value, json};

use super::ask::Asked;
use super::refused::Refused;
use crate::api::prometheus::Response;
use crate::http::answer::Json;

fn parsed(asked: &Asked) -> Result<Expr, Refused> {
    let query = asked.get("query").unwrap_or_default();
    // Our errors know the place.
    Engine::default().check(query).map_err(|error| Refused::parameter("query", error.message()))?;
    parser::parse(query)
        .map_err(|why| Refused::parameter("query", format!("it is understood, and has no tree here: {why}")))
}

pub(super) async fn format_query(asked: Asked) -> Result<Json<Response<String>>, Refused> {
    Ok(Json(Response::success(parsed(&asked)?.prettify())))
}

pub(super) async fn parse_query(asked: Asked) -> Result<Json<Response<Value>>, Refused> {
    let mut tree = serde_json::to_value(parsed(&asked)?).map_err(|error| Refused::parameter("query", error))?;
    name_matchers(&mut tree);
    Ok(Json(Response::success(tree)))
}

/// A selector's name is one of its matchers, too, as the reference has it.
fn name_matchers(tree: &mut Value) {
    match tree {
        Value::Array(all) => all.iter_mut().for_each(name_matchers),
        Value::Object(node) => {
            let name = node.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let is_selector =
                matches!(node.get("type").and_then(Value::as_str), Some("vectorSelector" | "matrixSelector"));
            if is_selector
                && !name.is_empty()
                && let Some(matchers) = node.get_mut("matchers").and_then(Value::as_array_mut)
                && !matchers.iter().any(|matcher| matcher["name"] == METRIC_NAME)
            {
                matchers.push(json!({"name": METRIC_NAME, "type": "=", "value": name}));
            }
            node.values_mut().for_each(name_matchers);
        }
        _ => {}
    }
}
