//! Time series over HTTP: samples as text, and queries in the shape of Prometheus's API.

use axum::Form;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use opendata_compose::Tsdb;
use opendata_core::{Error, Result, Timestamp};
use opendata_tsdb::Reader;
use opendata_tsdb::promql::Engine;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Server;
use super::answer::{Answer, Failed, Json};
use super::request::{Content, InstanceName, Params};
use crate::api::commit::{AckIn, CommitOut, ReceiptOut};
use crate::api::prometheus::{QueryData, Response as Prometheus, error_type};
use crate::cli::instance_in;
use crate::failure::kind_name;
use crate::{exposition, times};

/// The options of a write.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WriteParams {
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    ack: AckIn,
}

/// What a value is.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// The value of the series at that time.
    #[default]
    Set,
    /// An amount to add to a counter.
    Add,
}

/// Writes lines of text, in one transaction.
pub(super) async fn write(
    State(server): State<Server>,
    InstanceName(instance): InstanceName,
    Params(params): Params<WriteParams>,
    content: Content,
) -> Answer<Json<CommitOut>> {
    let handle = server.composite().get::<Tsdb>(&instance)?;
    let mut transaction = server.composite().begin();
    let op = transaction.on(&handle);
    let now = times::now();
    for sample in exposition::parse(content.text()?)? {
        let at = sample.time.unwrap_or(now);
        match params.mode {
            Mode::Set => op.sample(sample.labels, at, sample.value),
            Mode::Add => op.add(sample.labels, at, sample.value),
        };
    }
    let commit = transaction.commit_with(params.ack.into()).await.map_err(Error::from)?;
    let receipts = commit.receipt(&handle).map(|receipt| (instance, ReceiptOut::of_tsdb(receipt)));
    Ok(Json(CommitOut { position: commit.position(), receipts: receipts.into_iter().collect() }))
}

/// The options of an instant query. Prometheus has more; those are passed over, as it passes over ours.
#[derive(Deserialize)]
pub(super) struct QueryParams {
    query: String,
    time: Option<String>,
}

/// The options of a range query.
#[derive(Deserialize)]
pub(super) struct RangeParams {
    query: String,
    start: String,
    end: String,
    step: String,
}

/// A query: its options, from the address or from a form, and the instance that the path names.
pub(super) struct Asked<T> {
    instance: Option<String>,
    params: T,
}

impl<T: DeserializeOwned> FromRequest<Server> for Asked<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, server: &Server) -> Result<Self, Refused> {
        let (mut parts, body) = request.into_parts();
        let instance = match parts.uri.path().starts_with("/v1/tsdb/") {
            true => Some(InstanceName::from_request_parts(&mut parts, server).await?.0),
            false => None,
        };
        match Form::from_request(Request::from_parts(parts, body), server).await {
            Ok(Form(params)) => Ok(Self { instance, params }),
            Err(rejection) => Err(Error::invalid(rejection.body_text()).into()),
        }
    }
}

/// An error in Prometheus's shape.
pub(super) struct Refused(Error);

impl<E: Into<Failed>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self(error.into().error().clone())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (error_type, status) = error_type(self.0.kind());
        if status >= 500 {
            tracing::warn!(error = ?self.0, "query failed");
        }
        let body = Prometheus::<QueryData>::Error {
            error_type: error_type.to_owned(),
            error: self.0.message().to_owned(),
            kind: kind_name(self.0.kind()).to_owned(),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(body)).into_response()
    }
}

type Queried = Result<Json<Prometheus<QueryData>>, Refused>;

pub(super) async fn query(State(server): State<Server>, asked: Asked<QueryParams>) -> Queried {
    let QueryParams { query, time } = asked.params;
    let at = time.as_deref().map_or_else(|| Ok(times::now()), time_of)?;
    let reader = reader(&server, asked.instance.as_deref())?;
    Ok(Json(Engine::default().instant(&reader, &query, at).await?.into()))
}

pub(super) async fn query_range(State(server): State<Server>, asked: Asked<RangeParams>) -> Queried {
    let RangeParams { query, start, end, step } = asked.params;
    let (start, end, step_ms) = (time_of(&start)?, time_of(&end)?, step_of(&step)?);
    let reader = reader(&server, asked.instance.as_deref())?;
    Ok(Json(Engine::default().range(&reader, &query, start, end, step_ms).await?.into()))
}

fn reader(server: &Server, named: Option<&str>) -> Result<Reader> {
    let view = server.view();
    let name = instance_in::<Tsdb>(named, &view)?;
    view.get_reader::<Tsdb>(&name)
}

/// A time as Prometheus takes it: Unix seconds or RFC 3339.
fn time_of(text: &str) -> Result<Timestamp> {
    match times::rfc3339(text) {
        Some(time) => Ok(time),
        None => times::unix_seconds(text),
    }
}

/// A step as Prometheus takes it: seconds, or a duration.
fn step_of(text: &str) -> Result<i64> {
    if let Ok(seconds) = times::unix_seconds(text) {
        return Ok(seconds.0);
    }
    let step = times::parse_duration(text)?;
    Ok(i64::try_from(step.as_millis()).unwrap_or(i64::MAX))
}
