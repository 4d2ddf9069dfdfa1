//! What changes an instance by hand: snapshots, deleting, cleaning up.

use axum::http::StatusCode;
use opendata_compose::Tsdb;
use opendata_core::{Error, Result, Timestamp};
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

/// Deletes the samples of series in a range of times; of all times, if none is given.
pub(super) async fn delete_series(asked: Asked) -> Result<StatusCode, Refused> {
    let (selectors, (start, end)) = (asked.selectors()?, asked.range()?);
    if selectors.is_empty() {
        return Err(Refused::bad_data("no match[] parameter provided"));
    }
    let composite = asked.server().composite();
    let handle = composite.get::<Tsdb>(&asked.instance()?)?;
    let mut transaction = composite.begin();
    for matchers in selectors {
        transaction.on(&handle).delete(matchers, Timestamp(start), Timestamp(end));
    }
    transaction.commit().await.map_err(Error::from)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Does at once what would be done in the background: deleted samples leave the files.
pub(super) async fn clean_tombstones(asked: Asked) -> Result<StatusCode, Refused> {
    asked.instance()?;
    asked.server().composite().slate().maintain().await?;
    Ok(StatusCode::NO_CONTENT)
}
