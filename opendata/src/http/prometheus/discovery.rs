//! What there is: series, labels and their values, metadata of metrics, exemplars.

use std::collections::{BTreeMap, BTreeSet};

use opendata_core::Result;
use serde::Serialize;

use super::ask::Asked;
use super::refused::Refused;
use super::text;
use crate::api::prometheus::{Response, encode, metric};
use crate::http::answer::Json;

/// A list, cut off at the limit.
fn limited<T: Serialize>(items: impl IntoIterator<Item = T>, limit: Option<usize>) -> Json<Response<Vec<T>>> {
    let mut items = items.into_iter();
    let data: Vec<T> = items.by_ref().take(limit.unwrap_or(usize::MAX)).collect();
    let warnings = items.next().map(|_| encode::TRUNCATED.to_owned()).into_iter().collect();
    Json(Response::Success { data, warnings, infos: Vec::new() })
}

type Listed<T> = Result<Json<Response<Vec<T>>>, Refused>;

pub(super) async fn series(asked: Asked) -> Listed<BTreeMap<String, String>> {
    let (limit, selectors) = (asked.limit("limit")?, asked.selectors()?);
    if selectors.is_empty() {
        return Err(Refused::bad_data("no match[] parameter provided"));
    }
    let ((start, end), reader) = (asked.range()?, asked.reader()?);
    let mut found = BTreeSet::new();
    for matchers in &selectors {
        found.extend(reader.series(matchers, start, end).await?);
    }
    Ok(limited(found.iter().map(metric), limit))
}

pub(super) async fn labels(asked: Asked) -> Listed<String> {
    let (limit, mut selectors) = (asked.limit("limit")?, asked.selectors()?);
    let ((start, end), reader) = (asked.range()?, asked.reader()?);
    if selectors.is_empty() {
        selectors.push(Vec::new());
    }
    let mut found = BTreeSet::new();
    for matchers in &selectors {
        found.extend(reader.label_names(matchers, start, end).await?);
    }
    Ok(limited(found, limit))
}

pub(super) async fn label_values(asked: Asked) -> Listed<String> {
    let name = text::unescaped_name(&asked.last_but_one());
    if name.is_empty() {
        return Err(Refused::bad_data("invalid label name: \"\""));
    }
    let (limit, mut selectors) = (asked.limit("limit")?, asked.selectors()?);
    let ((start, end), reader) = (asked.range()?, asked.reader()?);
    if selectors.is_empty() {
        selectors.push(Vec::new());
    }
    let mut found = BTreeSet::new();
    for matchers in &selectors {
        found.extend(reader.label_values(&name, matchers, start, end).await?);
    }
    Ok(limited(found, limit))
}

/// What is known about a metric.
#[derive(Serialize)]
pub(super) struct Metadata {
    #[serde(rename = "type")]
    metric_type: String,
    help: String,
    unit: String,
}

pub(super) async fn metadata(asked: Asked) -> Result<Json<Response<BTreeMap<String, Vec<Metadata>>>>, Refused> {
    let (_, _) = (asked.limit("limit")?, asked.limit("limit_per_metric")?);
    asked.reader()?;
    Ok(Json(Response::success(BTreeMap::new())))
}

/// Exemplars of a series.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SeriesExemplars {
    series_labels: BTreeMap<String, String>,
    exemplars: Vec<()>,
}

pub(super) async fn exemplars(asked: Asked) -> Listed<SeriesExemplars> {
    asked.range()?;
    let query = asked.get("query").unwrap_or_default();
    opendata_tsdb::promql::selectors(query).map_err(|error| Refused::parameter("query", error.message()))?;
    asked.reader()?;
    Ok(limited(Vec::new(), None))
}
