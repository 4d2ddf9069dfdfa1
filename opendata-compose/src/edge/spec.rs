//! What an edge is: from where, through what, to where, and how it behaves.
//!
//! A specification is plain data that stands in a composition file. Its [`digest`](EdgeSpec::digest) covers what decides
//! *which* rows the edge makes of its source: the selection, the steps and the event time. It does not cover how fast or how
//! patiently that is done, so those settings change without a new generation.

use std::collections::BTreeMap;
use std::fmt;

use opendata_core::{Position, Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::transform::Kind;

mod check;
mod steps;

pub use check::Catalog;
pub use steps::{Aggregate, Documents, EmbedderSpec, MapStep, Metric, Metrics, RouteStep, Step, VectorOf, Window};

/// An edge of a composition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeSpec {
    /// Its name for ever: its cursor, windows and letters are stored under it. 1 to 200 characters of `a-z A-Z 0-9 . _ -`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The log it reads.
    pub from: SourceSpec,
    /// Where it writes.
    pub to: SinkSpec,
    /// What it makes of the records, in this order. Nothing: records are copied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transform: Vec<Step>,
    /// When events happened, and how much disorder among them is expected.
    #[serde(default, skip_serializing_if = "is_default")]
    pub event_time: EventTimeSpec,
    /// Where it begins when it has no cursor yet.
    #[serde(default, skip_serializing_if = "is_default")]
    pub start: StartFrom,
    /// How records are gathered into transactions.
    #[serde(default, skip_serializing_if = "is_default")]
    pub batch: BatchSpec,
    /// What happens when a store or an endpoint fails.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retry: RetrySpec,
    /// What happens to records that do not fit.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dead_letters: LetterSpec,
    /// What the source's retention does when this edge falls behind.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_hold: OnHold,
    /// The least guarantee that its author accepts; a composition that cannot give it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require: Option<Guarantee>,
}

/// The log instance an edge reads, and which of its streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSpec {
    /// The node of the composition.
    pub node: String,
    /// The log instance in it.
    pub instance: String,
    /// Which streams.
    #[serde(default, skip_serializing_if = "is_default")]
    pub streams: StreamsSpec,
}

/// Which streams of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamsSpec {
    /// Every stream.
    #[default]
    All,
    /// One stream.
    One(String),
    /// All streams whose names begin so.
    Prefix(String),
    /// One of several equal parts, by hash of the stream's name.
    Shard(ShardSpec),
}

/// A part of the streams of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardSpec {
    /// Which part, from 0.
    pub index: u32,
    /// How many parts there are.
    pub of: u32,
    /// Only streams whose names begin so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

/// Where an edge writes: an instance of a node, or something outside. Exactly one of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkSpec {
    /// The node of the composition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The instance in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// An HTTP endpoint that takes JSON lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<HttpSink>,
    /// A receiver of Prometheus remote write 1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_write: Option<HttpSink>,
}

/// An HTTP endpoint. Its edge runs in the process that owns the *source*, and its cursor lies with the source instance: so a
/// fork of the source carries a cursor that agrees with its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSink {
    /// `http://` or `https://`.
    pub url: String,
    /// Headers of each request. A value `${NAME}` is taken from the environment when the edge starts, so that secrets stay
    /// out of the file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// How long one request may take, in milliseconds.
    #[serde(default = "HttpSink::default_timeout_ms")]
    pub timeout_ms: u64,
}

impl HttpSink {
    fn default_timeout_ms() -> u64 {
        10_000
    }

    /// An endpoint with the default settings.
    #[must_use]
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), headers: BTreeMap::new(), timeout_ms: Self::default_timeout_ms() }
    }
}

/// When events happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventTimeSpec {
    /// An expression that gives it: milliseconds since the Unix epoch, or an RFC 3339 text. Without it, it is the record's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// How much older than the newest event so far another one may be and still be in time, in milliseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub disorder_ms: u64,
    /// How late a record may come after its window was closed and still correct it, in milliseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub lateness_ms: u64,
    /// If the log went on for this long (by its own ingest times) without a record for this edge, time goes on without it.
    /// Judged by positions of the log and never by a timer, so that reading it again gives the same windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u64>,
}

/// Where an edge begins, or is set back to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartFrom {
    /// At the oldest record that is kept.
    #[default]
    Oldest,
    /// Behind everything that is durable now.
    Tail,
    /// At a position; it must lie between the trim point and the end.
    Position(u64),
    /// At the first record that was ingested at this time or later, in milliseconds since the Unix epoch.
    Time(i64),
}

impl StartFrom {
    /// At a position.
    #[must_use]
    pub fn position(position: Position) -> Self {
        Self::Position(position.0)
    }

    /// At a time of ingestion.
    #[must_use]
    pub fn time(time: Timestamp) -> Self {
        Self::Time(time.0)
    }
}

/// How records are gathered: what is there is taken at once when the edge is idle, and in large pieces under load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchSpec {
    /// The most records of one transaction.
    pub max_records: u32,
    /// About the most bytes of one transaction, as read from the source. With `in_flight`, what bounds the edge's memory.
    pub max_bytes: u32,
    /// How many transactions may be on their way at once.
    pub in_flight: u32,
    /// The most open windows kept in memory; more stop the edge with a typed error.
    pub max_windows: u32,
}

impl Default for BatchSpec {
    fn default() -> Self {
        Self { max_records: 16_384, max_bytes: 8 << 20, in_flight: 3, max_windows: 1_000_000 }
    }
}

/// How failures are met: retried with growing pauses, so many times; then the edge rests, loudly, and begins anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetrySpec {
    /// Attempts in a row before the edge rests.
    pub attempts: u32,
    /// The first pause in milliseconds; each further one is twice as long.
    pub first_ms: u64,
    /// The longest pause in milliseconds.
    pub max_ms: u64,
    /// How long the edge rests, in milliseconds.
    pub rest_ms: u64,
}

impl Default for RetrySpec {
    fn default() -> Self {
        Self { attempts: 8, first_ms: 50, max_ms: 5_000, rest_ms: 30_000 }
    }
}

/// What happens to records that do not fit: they are kept with the reason, in the transaction that passes over them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LetterSpec {
    /// How many may wait to be looked at. One more stops the edge with a typed error.
    pub limit: u64,
}

impl Default for LetterSpec {
    fn default() -> Self {
        Self { limit: 100_000 }
    }
}

/// What the source's retention does about what an edge has not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnHold {
    /// Retention drops nothing that the edge has not read.
    #[default]
    Block,
    /// Retention waits for the edge up to so many bytes, then lets it go: the edge stops with a typed error until it is reset.
    Detach(DetachSpec),
}

/// When an edge is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetachSpec {
    /// Bytes of the log behind the edge's position.
    pub after_bytes: u64,
}

/// What an edge promises about each record of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// Its effect is there once or more often.
    AtLeastOnce,
    /// Its effect is there once.
    ExactlyOnce,
}

/// What becomes of a sink if an edge reads records again that it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// The same rows are written once more.
    Same,
    /// Records, what is added to counters, or deliveries are there once more.
    Adds,
    /// The same, if it begins where it began; windows that it meets in the middle are made of a part of their values.
    Windows,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtLeastOnce => "at least once",
            Self::ExactlyOnce => "exactly once",
        })
    }
}

/// Identifies what an edge makes of its source: 128 bits of XXH3 over the canonical JSON of selection, steps and event time.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 16]);

impl Digest {
    /// The digest of a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(twox_hash::XxHash3_128::oneshot(text.as_bytes()).to_be_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        opendata_core::Hex(&self.0).fmt(f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl EdgeSpec {
    /// An edge that copies a log instance into another instance.
    #[must_use]
    pub fn new(id: &str, from: (&str, &str), to: (&str, &str)) -> Self {
        let sink = SinkSpec { node: Some(to.1.to_owned()), ..SinkSpec::default() };
        Self {
            id: id.to_owned(),
            from: SourceSpec { node: from.0.to_owned(), instance: from.1.to_owned(), streams: StreamsSpec::default() },
            to: SinkSpec { node: Some(to.0.to_owned()), instance: Some(to.1.to_owned()), ..sink },
            transform: Vec::new(),
            event_time: EventTimeSpec::default(),
            start: StartFrom::default(),
            batch: BatchSpec::default(),
            retry: RetrySpec::default(),
            dead_letters: LetterSpec::default(),
            on_hold: OnHold::default(),
            require: None,
        }
    }

    /// The same edge with these steps.
    #[must_use]
    pub fn transform(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        self.transform = steps.into_iter().collect();
        self
    }

    /// The node whose process runs it: that of the sink, and for a sink outside that of the source.
    #[must_use]
    pub fn runs_on(&self) -> &str {
        self.to.node.as_deref().unwrap_or(&self.from.node)
    }

    /// The instance its cursor, windows and letters lie with: the sink, and for a sink outside the source.
    #[must_use]
    pub fn state_instance(&self) -> &str {
        self.to.instance.as_deref().unwrap_or(&self.from.instance)
    }

    /// What follows from where it writes.
    #[must_use]
    pub fn guarantee(&self) -> Guarantee {
        if self.to.is_external() { Guarantee::AtLeastOnce } else { Guarantee::ExactlyOnce }
    }

    /// What becomes of its sink if it reads records again.
    #[must_use]
    pub fn again(&self) -> Again {
        let metrics = self.transform.iter().flat_map(|step| match step {
            Step::ToMetrics(metrics) => metrics.metrics.as_slice(),
            _ => &[],
        });
        let kinds: Vec<Aggregate> = metrics.map(|metric| metric.kind).collect();
        let adds = self.to.is_external() || self.output() == Kind::Records || kinds.contains(&Aggregate::Add);
        match adds {
            true => Again::Adds,
            false if kinds.iter().any(|kind| kind.is_windowed()) => Again::Windows,
            false => Again::Same,
        }
    }

    /// Whether running it again over the same records gives the same rows. An embedder outside this process need not.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        self.transform.iter().all(Step::is_repeatable)
    }

    /// The vector fields that come from an embedder outside.
    #[must_use]
    pub fn unrepeatable_vectors(&self) -> Vec<&str> {
        self.transform.iter().flat_map(Step::unrepeatable_vectors).collect()
    }

    /// Identifies what it makes of its source; see [`Digest`].
    ///
    /// # Errors
    /// `Invalid` if a number in it has no JSON form.
    pub fn digest(&self) -> Result<Digest> {
        let covered = (&self.from.streams, &self.transform, &self.event_time);
        let json = serde_json::to_string(&covered)
            .map_err(|error| opendata_core::Error::invalid("the edge has no canonical form").with_source(error))?;
        Ok(Digest::of(&json))
    }
}

impl SinkSpec {
    /// An instance of a node.
    #[must_use]
    pub fn instance(node: &str, instance: &str) -> Self {
        Self { node: Some(node.to_owned()), instance: Some(instance.to_owned()), ..Self::default() }
    }

    /// Whether it lies outside the composition.
    #[must_use]
    pub fn is_external(&self) -> bool {
        self.webhook.is_some() || self.remote_write.is_some()
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
