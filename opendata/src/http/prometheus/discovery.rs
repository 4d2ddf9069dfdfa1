//! What there is: series, labels and their values, metadata of metrics, exemplars.

use std::collections::{BTreeMap, BTreeSet};

use opendata_core::Result;
use opendata_tsdb::{Metadata, promql};
use serde::Serialize;

use super::ask::Asked;
use super::refused::Refused;
use super::text;
use crate::api::prometheus::{Response, Seconds, encode, metric, value_text};
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
pub(super) struct Known {
    #[serde(rename = "type")]
    kind: &'static str,
    help: String,
    unit: String,
}

/// One for each metric: of two that were written, the last one holds.
pub(super) async fn metadata(asked: Asked) -> Result<Json<Response<BTreeMap<String, Vec<Known>>>>, Refused> {
    let (limit, _) = (asked.limit("limit")?.unwrap_or(usize::MAX), asked.limit("limit_per_metric")?);
    let found = asked.reader()?.metadata(asked.get("metric")).await?;
    let known = found
        .into_iter()
        .take(limit)
        .map(|(metric, Metadata { kind, unit, help })| (metric, vec![Known { kind: kind.name(), help, unit }]));
    Ok(Json(Response::success(known.collect())))
}

/// Exemplars of a series.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SeriesExemplars {
    series_labels: BTreeMap<String, String>,
    exemplars: Vec<ExemplarOut>,
}

/// A single observation.
#[derive(Serialize)]
struct ExemplarOut {
    labels: BTreeMap<String, String>,
    value: String,
    timestamp: Seconds,
}

/// Those of all series that the selectors of a query find, whatever the query does with them.
pub(super) async fn exemplars(asked: Asked) -> Listed<SeriesExemplars> {
    let (start, end) = asked.range()?;
    let query = asked.get("query").unwrap_or_default();
    let selectors = promql::selectors(query).map_err(|error| Refused::parameter("query", error.message()))?;
    let reader = asked.reader()?;
    let mut found = BTreeMap::new();
    for matchers in &selectors {
        found.extend(reader.exemplars(matchers, start, end).await?);
    }
    let series = found.into_iter().map(|(labels, exemplars)| {
        let exemplars = exemplars.into_iter().map(|one| ExemplarOut {
            labels: metric(&one.labels),
            value: value_text(one.value),
            timestamp: Seconds::of(one.at),
        });
        SeriesExemplars { series_labels: metric(&labels), exemplars: exemplars.collect() }
    });
    Ok(limited(series, None))
}
