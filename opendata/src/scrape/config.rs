//! What is scraped, and how: in Prometheus's own words
//! (<https://prometheus.io/docs/prometheus/latest/configuration/configuration/#scrape_config>).
//!
//! In a composition file, beside an instance's `config`:
//!
//! ```yaml
//! scrape:                           # a list is one of scrape_configs
//!   - job_name: node
//!     static_configs: [{targets: ["127.0.0.1:9100"]}]
//! ```
//! or `scrape: {global: {scrape_interval: 15s}, scrape_configs: [..]}`, or `scrape: prometheus.yml`: the `global` and
//! `scrape_configs` of a configuration file of Prometheus, which may hold other things; those are not ours. Files are
//! relative to the composition file; those that a configuration file names are relative to it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use opendata_core::{Error, Result};
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::relabel::{self, RuleIn};
use crate::times::Span;

/// How an instance scrapes, as the composition file has it.
#[derive(Clone, Debug)]
pub(crate) enum Spec {
    Here(Box<Document>),
    /// A configuration file of Prometheus.
    File(PathBuf),
}

/// The part of Prometheus's configuration that says what is scraped.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Document {
    pub(crate) global: Global,
    pub(crate) scrape_configs: Vec<ScrapeConfig>,
}

/// A whole configuration file: what else may stand in it is passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PrometheusFile {
    global: Global,
    scrape_configs: Vec<ScrapeConfig>,
    alerting: Option<IgnoredAny>,
    rule_files: Option<IgnoredAny>,
    remote_write: Option<IgnoredAny>,
    remote_read: Option<IgnoredAny>,
    storage: Option<IgnoredAny>,
    tracing: Option<IgnoredAny>,
    runtime: Option<IgnoredAny>,
    otlp: Option<IgnoredAny>,
}

/// What holds for all.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Global {
    pub(crate) scrape_interval: Span,
    pub(crate) scrape_timeout: Option<Span>,
    pub(crate) evaluation_interval: Option<Span>,
    pub(crate) external_labels: BTreeMap<String, String>,
    pub(crate) sample_limit: u64,
    pub(crate) target_limit: u64,
    pub(crate) label_limit: u64,
    pub(crate) label_name_length_limit: u64,
    pub(crate) label_value_length_limit: u64,
    pub(crate) body_size_limit: Size,
    pub(crate) scrape_native_histograms: bool,
    pub(crate) scrape_protocols: Vec<Protocol>,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            scrape_interval: Span::from_secs(60),
            scrape_timeout: None,
            evaluation_interval: None,
            external_labels: BTreeMap::new(),
            sample_limit: 0,
            target_limit: 0,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            body_size_limit: Size(0),
            scrape_native_histograms: false,
            scrape_protocols: Vec::new(),
        }
    }
}

/// A job: which targets, how often, and what becomes of their series.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScrapeConfig {
    pub(crate) job_name: String,
    pub(crate) scrape_interval: Option<Span>,
    pub(crate) scrape_timeout: Option<Span>,
    #[serde(default)]
    pub(crate) scrape_protocols: Vec<Protocol>,
    #[serde(default)]
    pub(crate) fallback_scrape_protocol: Option<Protocol>,
    #[serde(default = "metrics_path")]
    pub(crate) metrics_path: String,
    #[serde(default = "http")]
    pub(crate) scheme: String,
    #[serde(default)]
    pub(crate) params: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(crate) honor_labels: bool,
    #[serde(default = "yes")]
    pub(crate) honor_timestamps: bool,
    #[serde(default)]
    pub(crate) track_timestamps_staleness: bool,
    #[serde(default = "yes")]
    pub(crate) enable_compression: bool,
    #[serde(default = "yes")]
    pub(crate) follow_redirects: bool,
    #[serde(default)]
    pub(crate) basic_auth: Option<BasicAuth>,
    #[serde(default)]
    pub(crate) authorization: Option<Authorization>,
    #[serde(default)]
    pub(crate) bearer_token: Option<String>,
    #[serde(default)]
    pub(crate) bearer_token_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) http_headers: BTreeMap<String, HeaderValues>,
    #[serde(default)]
    pub(crate) static_configs: Vec<TargetGroup>,
    #[serde(default)]
    pub(crate) file_sd_configs: Vec<FileDiscovery>,
    #[serde(default)]
    pub(crate) relabel_configs: Vec<RuleIn>,
    #[serde(default)]
    pub(crate) metric_relabel_configs: Vec<RuleIn>,
    pub(crate) sample_limit: Option<u64>,
    pub(crate) target_limit: Option<u64>,
    pub(crate) label_limit: Option<u64>,
    pub(crate) label_name_length_limit: Option<u64>,
    pub(crate) label_value_length_limit: Option<u64>,
    pub(crate) body_size_limit: Option<Size>,
    #[serde(default)]
    pub(crate) convert_classic_histograms_to_nhcb: bool,
    #[serde(default)]
    pub(crate) always_scrape_classic_histograms: bool,
    #[serde(default)]
    pub(crate) scrape_native_histograms: Option<bool>,
    #[serde(default)]
    pub(crate) tls_config: TlsConfig,
    #[serde(default)]
    pub(crate) extra_scrape_metrics: bool,
}

fn metrics_path() -> String {
    "/metrics".to_owned()
}

fn http() -> String {
    "http".to_owned()
}

fn yes() -> bool {
    true
}

/// A format that a target may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Protocol {
    /// Protocol buffers, which alone show native histograms.
    #[serde(rename = "PrometheusProto")]
    Families,
    #[serde(rename = "PrometheusText0.0.4")]
    Text004,
    #[serde(rename = "PrometheusText1.0.0")]
    Text100,
    #[serde(rename = "OpenMetricsText0.0.1")]
    OpenMetrics001,
    #[serde(rename = "OpenMetricsText1.0.0")]
    OpenMetrics100,
}

/// How a target is spoken to over TLS. Files are read when the server starts.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TlsConfig {
    /// Certificates that sign those of targets, as PEM, instead of the machine's own.
    pub(crate) ca: String,
    pub(crate) ca_file: Option<PathBuf>,
    /// What we show who we are by.
    pub(crate) cert: String,
    pub(crate) cert_file: Option<PathBuf>,
    pub(crate) key: String,
    pub(crate) key_file: Option<PathBuf>,
    /// The name that certificates must have, if it is not that of the address.
    pub(crate) server_name: String,
    pub(crate) insecure_skip_verify: bool,
    pub(crate) min_version: Option<TlsVersion>,
    pub(crate) max_version: Option<TlsVersion>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) enum TlsVersion {
    #[serde(rename = "TLS12")]
    V12,
    #[serde(rename = "TLS13")]
    V13,
}

/// A name and a password.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BasicAuth {
    pub(crate) username: String,
    pub(crate) username_file: Option<PathBuf>,
    pub(crate) password: String,
    pub(crate) password_file: Option<PathBuf>,
}

/// The header `Authorization`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Authorization {
    #[serde(rename = "type", default = "bearer")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) credentials: String,
    pub(crate) credentials_file: Option<PathBuf>,
}

fn bearer() -> String {
    "Bearer".to_owned()
}

/// The values of a header.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HeaderValues {
    pub(crate) values: Vec<String>,
    pub(crate) secrets: Vec<String>,
}

/// Targets that have labels in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TargetGroup {
    pub(crate) targets: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// Files that hold groups of targets; the last part of a path may have `*` in it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileDiscovery {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) refresh_interval: Option<Span>,
}

/// A number of bytes: `10MB`, with 1024 to the kilobyte, as Prometheus counts; zero is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        size(&text).map(Size).ok_or_else(|| de::Error::custom(format!("not a size, such as 10MB, size={text:?}")))
    }
}

fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit.trim() {
        "" if number == "0" => 0,
        "B" => 0,
        "KB" | "KiB" => 10,
        "MB" | "MiB" => 20,
        "GB" | "GiB" => 30,
        "TB" | "TiB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

impl<'de> Deserialize<'de> for Spec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyForm;

        impl<'de> Visitor<'de> for AnyForm {
            type Value = Spec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("scrape_configs, `global` with `scrape_configs`, or the path of a configuration file")
            }

            fn visit_str<E: de::Error>(self, path: &str) -> Result<Spec, E> {
                Ok(Spec::File(path.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Spec, A::Error> {
                let scrape_configs = Deserialize::deserialize(de::value::SeqAccessDeserializer::new(list))?;
                Ok(Spec::Here(Box::new(Document { scrape_configs, ..Document::default() })))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Spec, A::Error> {
                Deserialize::deserialize(de::value::MapAccessDeserializer::new(map))
                    .map(|document| Spec::Here(Box::new(document)))
            }
        }

        deserializer.deserialize_any(AnyForm)
    }
}

impl Spec {
    /// The document itself, read from its file if it is in one; with every path made one from here. `folder` is where
    /// relative paths begin.
    ///
    /// # Errors
    /// `Invalid` when a file cannot be read or something in it is wrong.
    pub(crate) fn load(&self, folder: &Path) -> Result<Document> {
        let mut document = match self {
            Self::Here(document) => (**document).clone(),
            Self::File(file) => {
                let file = folder.join(file);
                let found = read_prometheus(&file)?;
                let mut document = Document { global: found.global, scrape_configs: found.scrape_configs };
                document.resolve(file.parent().unwrap_or(folder));
                document
            }
        };
        document.resolve(folder);
        document.check()?;
        Ok(document)
    }
}

fn read_prometheus(file: &Path) -> Result<PrometheusFile> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Error::invalid(format!("file cannot be read: {error}, file={name}")).with_source(error))?;
    let found: PrometheusFile = serde_saphyr::from_str(&text)
        .map_err(|error| Error::invalid(format!("file is wrong: {}, file={name}", error.without_snippet())))?;
    for (section, is_there) in [
        ("alerting", found.alerting.is_some()),
        ("rule_files", found.rule_files.is_some()),
        ("remote_write", found.remote_write.is_some()),
        ("remote_read", found.remote_read.is_some()),
        ("storage", found.storage.is_some()),
        ("tracing", found.tracing.is_some()),
        ("runtime", found.runtime.is_some()),
        ("otlp", found.otlp.is_some()),
    ] {
        if is_there {
            tracing::warn!(%name, section, "a section of the file is not used");
        }
    }
    Ok(found)
}

impl Document {
    /// Makes relative paths ones that begin in a folder. Those that are absolute stay as they are.
    fn resolve(&mut self, folder: &Path) {
        for config in &mut self.scrape_configs {
            let basic =
                config.basic_auth.iter_mut().flat_map(|auth| [&mut auth.username_file, &mut auth.password_file]);
            let bearer = config.authorization.iter_mut().map(|auth| &mut auth.credentials_file);
            let tls = &mut config.tls_config;
            let tls = [&mut tls.ca_file, &mut tls.cert_file, &mut tls.key_file];
            let single = basic.chain(bearer).chain(tls).chain([&mut config.bearer_token_file]).flatten();
            let found = config.file_sd_configs.iter_mut().flat_map(|discovery| discovery.files.iter_mut());
            for path in single.chain(found) {
                if path.is_relative() {
                    *path = folder.join(&*path);
                }
            }
        }
    }

    /// Whether everything can be done as it is said.
    fn check(&self) -> Result<()> {
        let mut names = std::collections::BTreeSet::new();
        for config in &self.scrape_configs {
            let job = &config.job_name;
            if job.is_empty() {
                return Err(Error::invalid("scrape: a job_name is empty"));
            }
            if !names.insert(job) {
                return Err(Error::invalid(format!("scrape: a job_name stands there twice, job_name={job}")));
            }
            config.check(&self.global).map_err(|error| error.context(format_args!("scrape: job_name={job}")))?;
        }
        Ok(())
    }
}

impl ScrapeConfig {
    fn check(&self, global: &Global) -> Result<()> {
        let (interval, timeout) = (self.interval(global), self.timeout(global));
        if interval.as_ms() == 0 {
            return Err(Error::invalid("scrape_interval must be longer than zero"));
        }
        if timeout > interval {
            return Err(Error::invalid(format!(
                "scrape_timeout must not be longer than scrape_interval, scrape_timeout={timeout}, scrape_interval={interval}"
            )));
        }
        if !matches!(self.scheme.as_str(), "http" | "https") {
            return Err(Error::invalid(format!("scheme is http or https, scheme={}", self.scheme)));
        }
        let ways = [
            self.basic_auth.is_some(),
            self.authorization.is_some(),
            self.bearer_token.is_some() || self.bearer_token_file.is_some(),
        ];
        if ways.iter().filter(|way| **way).count() > 1 {
            return Err(Error::invalid("basic_auth, authorization and bearer_token exclude one another"));
        }
        if let Some(auth) = &self.authorization
            && auth.kind.trim().eq_ignore_ascii_case("basic")
        {
            return Err(Error::invalid("authorization type Basic is written as basic_auth"));
        }
        relabel::check(&self.relabel_configs)?;
        relabel::check(&self.metric_relabel_configs)?;
        Ok(())
    }

    /// How often a target is asked.
    pub(crate) fn interval(&self, global: &Global) -> Span {
        self.scrape_interval.unwrap_or(global.scrape_interval)
    }

    /// How long a target may take. The default is never longer than the interval.
    pub(crate) fn timeout(&self, global: &Global) -> Span {
        let interval = self.interval(global);
        self.scrape_timeout.or(global.scrape_timeout).unwrap_or_else(|| Span::from_secs(10).min(interval))
    }
}

#[cfg(test)]
mod tests;
