//! Queries, at one time and over a range of times.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use opendata_core::{Result, Timestamp};
use opendata_tsdb::promql::{Answer, Engine, EngineConfig, Explained, Value};

use super::ask::Asked;
use super::refused::Refused;
use crate::api::prometheus::Explanation;
use crate::api::prometheus::encode::{self, Stats};

/// What is said of other values of `stats` than `true` and `all`: the reference still takes them.
const ODD_STATS: &str = "the stats parameter has the values true and all; others are deprecated, and count as true";
/// The most points that an answer may have for each series.
const MAX_POINTS: i64 = 11_000;

pub(super) async fn query(asked: Asked) -> Result<Response, Refused> {
    let limit = asked.limit("limit")?;
    let at = asked.time_or_now("time")?;
    let engine = engine(&asked)?;
    let query = parsed(&engine, &asked)?;
    let reader = asked.reader()?;
    let explain = asked.is_set("explain");
    let answered = async {
        match explain {
            true => engine.explain(&reader, query, at).await.map(Answered::from),
            false => engine.instant(&reader, query, at).await.map(Answered::from),
        }
    };
    let mut answered = within(&asked, answered).await?;
    let truncated = truncate(&mut answered.answer, limit);
    Ok(respond(&asked, &answered, truncated))
}

pub(super) async fn query_range(asked: Asked) -> Result<Response, Refused> {
    let limit = asked.limit("limit")?;
    let (start, end) = (asked.required_time("start")?, asked.required_time("end")?);
    if end < start {
        return Err(Refused::parameter("end", "end timestamp must not be before start time"));
    }
    let step_ms = step_ms(&asked, start, end)?;
    let engine = engine(&asked)?;
    let query = parsed(&engine, &asked)?;
    let reader = asked.reader()?;
    let explain = asked.is_set("explain");
    let answered = async {
        match explain {
            true => engine.explain_range(&reader, query, start, end, step_ms).await.map(Answered::from),
            false => engine.range(&reader, query, start, end, step_ms).await.map(Answered::from),
        }
    };
    let mut answered = within(&asked, answered).await?;
    let truncated = truncate(&mut answered.answer, limit);
    Ok(respond(&asked, &answered, truncated))
}

/// An answer, and how it came about where that was asked for.
struct Answered {
    answer: Answer,
    explanation: Option<Explanation>,
}

impl From<Answer> for Answered {
    fn from(answer: Answer) -> Self {
        Self { answer, explanation: None }
    }
}

impl From<Explained> for Answered {
    fn from(explained: Explained) -> Self {
        let (answer, explanation) = Explanation::of(explained);
        Self { answer, explanation: Some(explanation) }
    }
}

fn step_ms(asked: &Asked, start: Timestamp, end: Timestamp) -> Result<i64, Refused> {
    let step_ms = asked
        .duration_ms("step")?
        .ok_or_else(|| Refused::parameter("step", "cannot parse \"\" to a valid duration"))?;
    if step_ms <= 0 {
        let why = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(Refused::parameter("step", why));
    }
    if end.0.saturating_sub(start.0) / step_ms > MAX_POINTS {
        return Err(Refused::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    Ok(step_ms)
}

/// The engine as the request wants it.
fn engine(asked: &Asked) -> Result<Engine, Refused> {
    let mut config = EngineConfig::default();
    if let Some(lookback_ms) = asked.duration_ms("lookback_delta")? {
        if lookback_ms <= 0 {
            return Err(Refused::parameter("lookback_delta", "must be longer than zero"));
        }
        config.lookback_ms = lookback_ms;
    }
    config.count_steps = asked.get("stats") == Some("all");
    // The waiting for the answer has its own end.
    config.timeout_ms = None;
    // A range may have one point more than it has steps.
    config.max_points = config.max_points.max(usize::try_from(MAX_POINTS + 1).unwrap_or(usize::MAX));
    Ok(Engine::new(config))
}

/// The text of the query, if it parses: what is wrong with it otherwise is the client's fault.
fn parsed<'a>(engine: &Engine, asked: &'a Asked) -> Result<&'a str, Refused> {
    let query = asked.get("query").unwrap_or_default();
    engine.check(query).map_err(|error| Refused::parameter("query", error.message()))?;
    Ok(query)
}

/// Waits for an answer as long as the client and the server allow.
async fn within<T>(asked: &Asked, answer: impl Future<Output = Result<T>>) -> Result<T, Refused> {
    let most = asked.server().prometheus().query_timeout;
    let wanted = asked.duration_ms("timeout")?.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
    let patience = wanted.map_or(most, |wanted| wanted.min(most));
    if patience.is_zero() {
        return Err(Refused::timeout());
    }
    match tokio::time::timeout(patience, answer).await {
        Ok(answer) => answer.map_err(Refused::execution),
        Err(_) => Err(Refused::timeout()),
    }
}

/// Cuts the answer off at a number of series, and says so.
fn truncate(answer: &mut Answer, limit: Option<usize>) -> Option<&'static str> {
    let limit = limit?;
    let cut = match &mut answer.value {
        Value::Vector(samples) if samples.len() > limit => {
            samples.truncate(limit);
            true
        }
        Value::Matrix(series) if series.len() > limit => {
            series.truncate(limit);
            true
        }
        _ => false,
    };
    cut.then_some(encode::TRUNCATED)
}

fn respond(asked: &Asked, answered: &Answered, truncated: Option<&str>) -> Response {
    let (stats, odd) = match asked.get("stats") {
        None => (Stats::Off, None),
        Some("all") => (Stats::Steps, None),
        Some("true") => (Stats::Totals, None),
        Some(_) => (Stats::Totals, Some(ODD_STATS)),
    };
    let Answered { answer, explanation } = answered;
    let remarks = truncated.into_iter().chain(odd);
    let mut response = Response::new(Body::from(encode::answer(answer, remarks, stats, explanation.as_ref())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
