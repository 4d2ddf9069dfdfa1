//! What changes an instance by hand: snapshots, deleting, cleaning up.

use opendata_core::Result;
use serde_json::{Value, json};

use super::ask::Asked;
use super::refused::Refused;
use crate::api::prometheus::Response;
use crate::http::answer::Json;
use crate::times;

/// Makes a checkpoint of the slate. Its name is the answer.
pub(super) async fn snapshot(asked: Asked) -> Result<Json<Response<Value>>, Refused> {
    let now = times::now();
    let at = chrono::DateTime::from_timestamp_millis(now.0).unwrap_or_default();
    let name = format!("{}-{:08x}", at.format("%Y%m%dT%H%M%S%3fZ"), asked.server().composite().view().position().0);
    let made = asked.server().composite().checkpoint(&name, None).await?;
    Ok(Json(Response::success(json!({"name": made.name}))))
}
