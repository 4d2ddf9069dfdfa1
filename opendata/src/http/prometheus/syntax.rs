//! Queries as trees and as tidy text, for editors.
//!
//! What is told is the grammar as `promql-parser` knows it, which our own parser is tested against. Durations that are
//! computed and other recent additions are answered by the engine, and have no tree here.

use opendata_core::Result;
use opendata_tsdb::promql::Engine;
use promql_parser::parser::{self, Expr};
use serde_json::Value;

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
    let tree = serde_json::to_value(parsed(&asked)?).map_err(|error| Refused::parameter("query", error))?;
    Ok(Json(Response::success(tree)))
}
