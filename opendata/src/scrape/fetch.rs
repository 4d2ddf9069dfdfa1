//! Asks a target for its metrics.

use std::io::Read as _;
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;
use opendata_core::{Error, Result};
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    USER_AGENT,
};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};

use super::config::{Authorization, BasicAuth, Global, Protocol, ScrapeConfig};
use super::target::Target;
use super::text::Format;
use crate::exposition::family::{self, Families, Native, Wanted};

mod tls;

/// What targets are asked for where nothing is said.
const TEXTS: &[Protocol] = &[Protocol::OpenMetrics100, Protocol::OpenMetrics001, Protocol::Text100, Protocol::Text004];
/// The same where native histograms are wanted.
const WITH_NATIVES: &[Protocol] =
    &[Protocol::Families, Protocol::OpenMetrics100, Protocol::OpenMetrics001, Protocol::Text100, Protocol::Text004];
/// The most bytes of an answer where no limit is set: a target shall not take all memory.
const MOST_BYTES: u64 = 1 << 30;

/// Asks targets of a job.
pub(super) struct Fetch {
    client: Client,
    config: ScrapeConfig,
    accept: HeaderValue,
    fallback: Option<Protocol>,
    wanted: Wanted,
    limit: u64,
}

/// An answer.
pub(super) struct Exposition {
    pub(super) text: String,
    pub(super) format: Format,
    /// What no text can show.
    pub(super) natives: Vec<Native>,
    /// How many bytes it had, unpacked.
    pub(super) bytes: u64,
}

impl Fetch {
    /// # Errors
    /// `Invalid` if a header cannot be one.
    pub(super) fn new(config: &ScrapeConfig, global: &Global, limit: u64) -> Result<Self> {
        let redirect = if config.follow_redirects { Policy::limited(10) } else { Policy::none() };
        let client = tls::with(Client::builder().redirect(redirect), &config.tls_config)?
            .build()
            .map_err(|error| Error::unavailable("an HTTP client cannot be made").with_source(error))?;
        let takes_natives = config.scrape_native_histograms.unwrap_or(global.scrape_native_histograms);
        let wanted = match (takes_natives, config.always_scrape_classic_histograms) {
            (false, _) => Wanted::Classic,
            (true, false) => Wanted::Native,
            (true, true) => Wanted::Both,
        };
        let protocols = [&config.scrape_protocols, &global.scrape_protocols].into_iter().find(|all| !all.is_empty());
        let protocols = protocols.map_or(if takes_natives { WITH_NATIVES } else { TEXTS }, Vec::as_slice);
        let accept = HeaderValue::from_str(&accept(protocols))
            .map_err(|error| Error::invalid("scrape_protocols cannot be said").with_source(error))?;
        let fallback = config.fallback_scrape_protocol;
        let limit = if limit == 0 { MOST_BYTES } else { limit };
        Ok(Self { client, config: config.clone(), accept, fallback, wanted, limit })
    }

    /// The metrics of a target. Passwords are read from their files each time, so that they can change.
    ///
    /// # Errors
    /// `Unavailable` if it does not answer, or answers something else.
    pub(super) async fn fetch(&self, target: &Target) -> Result<Exposition> {
        let answer = self
            .client
            .get(&target.url)
            .headers(self.headers(target)?)
            .timeout(target.timeout.as_duration())
            .send()
            .await
            .map_err(failed)?;
        if !answer.status().is_success() {
            return Err(Error::unavailable(format!("server returned HTTP status {}", answer.status())));
        }
        let format = self.format(&answer)?;
        let is_packed = match answer.headers().get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"" | b"identity") => false,
            Some(b"gzip") => true,
            Some(other) => {
                let other = String::from_utf8_lossy(other).into_owned();
                return Err(Error::unavailable(format!("the answer is packed in an unknown way, encoding={other:?}")));
            }
        };
        let body = self.body(answer).await?;
        let body = if is_packed { self.unpack(&body)? } else { body };
        let bytes = body.len() as u64;
        let format = match format {
            Protocol::Families => {
                let Families { text, natives } = family::read(&body, self.wanted)?;
                return Ok(Exposition { text, format: Format::OpenMetrics, natives, bytes });
            }
            Protocol::OpenMetrics001 | Protocol::OpenMetrics100 => Format::OpenMetrics,
            Protocol::Text004 | Protocol::Text100 => Format::Text,
        };
        let text =
            String::from_utf8(body).map_err(|error| Error::invalid("the answer is not UTF-8").with_source(error))?;
        Ok(Exposition { text, format, natives: Vec::new(), bytes })
    }

    fn too_large(&self) -> Error {
        Error::invalid(format!("body size limit exceeded, body_size_limit={}", self.limit))
    }

    async fn body(&self, mut answer: Response) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(failed)? {
            if body.len() as u64 + part.len() as u64 > self.limit {
                return Err(self.too_large());
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }

    fn unpack(&self, packed: &[u8]) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        MultiGzDecoder::new(packed)
            .take(self.limit + 1)
            .read_to_end(&mut body)
            .map_err(|error| Error::unavailable("the answer is no gzip").with_source(error))?;
        if body.len() as u64 > self.limit { Err(self.too_large()) } else { Ok(body) }
    }

    fn format(&self, answer: &Response) -> Result<Protocol> {
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let mut parts = kind.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let of_families = parts.clone().any(|part| part == "proto=io.prometheus.client.MetricFamily")
            && parts.any(|part| part == "encoding=delimited");
        match (kind.as_str(), self.fallback) {
            ("application/openmetrics-text", _) => Ok(Protocol::OpenMetrics100),
            ("text/plain", _) => Ok(Protocol::Text004),
            ("application/vnd.google.protobuf", _) if of_families => Ok(Protocol::Families),
            (_, Some(format)) => Ok(format),
            (kind, None) => Err(Error::unavailable(format!(
                "the answer is of a type that is not read here, and there is no fallback_scrape_protocol, content_type={kind:?}"
            ))),
        }
    }

    fn headers(&self, target: &Target) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, self.accept.clone());
        let encoding = if self.config.enable_compression { "gzip" } else { "identity" };
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("opendata/", env!("CARGO_PKG_VERSION"))));
        let value = |text: &str| {
            HeaderValue::from_str(text).map_err(|error| Error::invalid("a header cannot be sent").with_source(error))
        };
        headers.insert("x-prometheus-scrape-timeout-seconds", value(&target.timeout.as_secs_f64().to_string())?);
        for (name, values) in &self.config.http_headers {
            let name = HeaderName::try_from(name)
                .map_err(|error| Error::invalid(format!("not the name of a header, name={name}")).with_source(error))?;
            for text in values.values.iter().chain(&values.secrets) {
                headers.append(name.clone(), value(text)?);
            }
        }
        if let Some(text) = authorization(&self.config)? {
            let mut value = value(&text)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }
}

/// The header `Authorization`.
fn authorization(config: &ScrapeConfig) -> Result<Option<String>> {
    if let Some(credentials) = credentials(config.basic_auth.as_ref(), config.authorization.as_ref())? {
        return Ok(Some(credentials));
    }
    if config.bearer_token.is_none() && config.bearer_token_file.is_none() {
        return Ok(None);
    }
    let token = secret(config.bearer_token.as_deref().unwrap_or_default(), config.bearer_token_file.as_ref())?;
    Ok(Some(format!("Bearer {token}")))
}

/// The header `Authorization` of a name and a password, or of a kind and its credentials.
///
/// # Errors
/// `Unavailable` if a file cannot be read.
pub(crate) fn credentials(basic: Option<&BasicAuth>, other: Option<&Authorization>) -> Result<Option<String>> {
    use base64::Engine as _;
    if let Some(auth) = basic {
        let name = secret(&auth.username, auth.username_file.as_ref())?;
        let password = secret(&auth.password, auth.password_file.as_ref())?;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
        return Ok(Some(format!("Basic {pair}")));
    }
    let Some(auth) = other else { return Ok(None) };
    let credentials = secret(&auth.credentials, auth.credentials_file.as_ref())?;
    Ok(Some(format!("{} {credentials}", auth.kind.trim())))
}

/// A secret, or what stands in its file.
fn secret(plain: &str, file: Option<&PathBuf>) -> Result<String> {
    match file {
        None => Ok(plain.to_owned()),
        Some(file) => std::fs::read_to_string(file).map(|text| text.trim().to_owned()).map_err(|error| {
            Error::unavailable(format!("a secret cannot be read, file={}", file.display())).with_source(error)
        }),
    }
}

fn failed(error: reqwest::Error) -> Error {
    let why = if error.is_timeout() {
        "the target did not answer in time".to_owned()
    } else {
        // Refused, an unknown name, a certificate that is not believed: it is the causes that tell.
        let mut why = if error.is_connect() { "the target cannot be reached".to_owned() } else { error.to_string() };
        let mut source = std::error::Error::source(&error);
        while let Some(deeper) = source {
            why = format!("{why}: {deeper}");
            source = deeper.source();
        }
        why
    };
    Error::unavailable(why).with_source(error)
}

/// What we take, the first most of all.
fn accept(protocols: &[Protocol]) -> String {
    let mut weight = protocols.len() + 1;
    let mut parts: Vec<String> = Vec::new();
    for protocol in protocols {
        let kind = match protocol {
            Protocol::Families => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
            }
            Protocol::Text004 => "text/plain;version=0.0.4",
            Protocol::Text100 => "text/plain;version=1.0.0;escaping=allow-utf-8",
            Protocol::OpenMetrics001 => "application/openmetrics-text;version=0.0.1",
            Protocol::OpenMetrics100 => "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8",
        };
        parts.push(format!("{kind};q=0.{}", weight.min(9)));
        weight -= 1;
    }
    parts.push(format!("*/*;q=0.{}", weight.min(9)));
    parts.join(",")
}
