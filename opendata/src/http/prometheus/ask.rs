//! What a client asks: the instance that the path names, and the parameters of the address and of a form.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use opendata_compose::Tsdb;
use opendata_core::{Error, Result, Timestamp};
use opendata_tsdb::{Matcher, Reader, promql};
use percent_encoding::percent_decode_str;

use super::refused::Refused;
use super::text;
use crate::api::prometheus::monitor::Monitored;
use crate::cli::instance_in;
use crate::http::Server;
use crate::http::answer::Failed;
use crate::times;

/// The name of the instance that a path is of: the one it names, the default, or the only one.
pub(super) fn instance_of_path(server: &Server, path: &str) -> Result<String> {
    let named = match path.strip_prefix("/v1/tsdb/").and_then(|rest| rest.split('/').next()) {
        Some(part) => Some(
            percent_decode_str(part)
                .decode_utf8()
                .map_err(|error| Error::not_found("no such instance: its name is not UTF-8").with_source(error))?
                .into_owned(),
        ),
        None => server.prometheus().default_instance.clone(),
    };
    instance_in::<Tsdb>(named.as_deref(), &server.view())
}

/// A request of the API.
pub(super) struct Asked {
    server: Server,
    path: String,
    parameters: Vec<(String, String)>,
}

impl FromRequest<Server> for Asked {
    type Rejection = Refused;

    async fn from_request(request: Request, server: &Server) -> Result<Self, Refused> {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let is_form = request.method() != Method::GET
            && request
                .headers()
                .get(CONTENT_TYPE)
                .and_then(|value| value.to_str().ok())
                .is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"));
        let mut parameters = Vec::new();
        if is_form {
            let body = Bytes::from_request(request, server).await.map_err(|rejection| {
                match rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                    true => Failed::with_status(StatusCode::PAYLOAD_TOO_LARGE, Error::invalid("the form is too large")),
                    false => Error::invalid(rejection.body_text()).into(),
                }
            })?;
            // Of a parameter in both places, the form's comes first.
            parameters.extend(form_urlencoded::parse(&body).into_owned());
        }
        parameters.extend(form_urlencoded::parse(query.as_bytes()).into_owned());
        Ok(Self { server: server.clone(), path, parameters })
    }
}

impl Asked {
    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// The name of the instance.
    pub(super) fn instance(&self) -> Result<String> {
        instance_of_path(&self.server, &self.path)
    }

    /// Reads the instance, at what is durable.
    pub(super) fn reader(&self) -> Result<Reader> {
        let view = self.server.view();
        view.get_reader::<Tsdb>(&self.instance()?)
    }

    /// The settings of the instance.
    pub(super) fn config(&self) -> Result<opendata_tsdb::Config> {
        Ok(self.server.view().instance::<Tsdb>(&self.instance()?)?.config().clone())
    }

    /// Its targets, rules and alerts.
    pub(super) fn monitors(&self) -> Result<Monitored> {
        Ok(self.server.prometheus().monitors.of(&self.instance()?))
    }

    /// The part of the path in front of the last one.
    pub(super) fn last_but_one(&self) -> String {
        let part = self.path.rsplit('/').nth(1).unwrap_or_default();
        percent_decode_str(part).decode_utf8_lossy().into_owned()
    }

    /// A parameter; an empty one counts as missing.
    pub(super) fn get<'a>(&'a self, name: &str) -> Option<&'a str> {
        self.all(name).next().filter(|value| !value.is_empty())
    }

    /// Whether a parameter says yes.
    pub(super) fn is_set(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1"))
    }

    /// All values of a parameter that may be repeated.
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.parameters.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A time; `default` if it is missing.
    pub(super) fn time(&self, name: &str, default: Timestamp) -> Result<Timestamp, Refused> {
        self.get(name).map_or(Ok(default), |value| text::time(value).map_err(|why| Refused::parameter(name, why)))
    }

    /// A time; now, if it is missing.
    pub(super) fn time_or_now(&self, name: &str) -> Result<Timestamp, Refused> {
        self.time(name, times::now())
    }

    /// A time that must be there.
    pub(super) fn required_time(&self, name: &str) -> Result<Timestamp, Refused> {
        let value = self.get(name).unwrap_or_default();
        text::time(value).map_err(|why| Refused::parameter(name, why))
    }

    /// A duration in milliseconds.
    pub(super) fn duration_ms(&self, name: &str) -> Result<Option<i64>, Refused> {
        self.get(name).map(|value| text::duration_ms(value).map_err(|why| Refused::parameter(name, why))).transpose()
    }

    /// How many results are wanted; `None`: all.
    pub(super) fn limit(&self, name: &str) -> Result<Option<usize>, Refused> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let limit: i64 = value.parse().map_err(|_| Refused::parameter(name, "limit must be a number"))?;
        let limit = usize::try_from(limit).map_err(|_| Refused::parameter(name, "limit must be non-negative"))?;
        Ok((limit > 0).then_some(limit))
    }

    /// The selectors of `match[]`, one after the other; at least one matcher of each must not match the empty text.
    pub(super) fn selectors(&self) -> Result<Vec<Vec<Matcher>>, Refused> {
        let parse =
            |source| promql::parse_selector(source).map_err(|error| Refused::parameter("match[]", error.message()));
        self.all("match[]").map(parse).collect()
    }

    /// The times from `start` to `end`; all times, if they are missing.
    pub(super) fn range(&self) -> Result<(i64, i64), Refused> {
        let (start, end) = (self.time("start", text::MIN_TIME)?, self.time("end", text::MAX_TIME)?);
        if end < start {
            return Err(Refused::parameter("end", "end timestamp must not be before start time"));
        }
        Ok((start.0, end.0))
    }
}
