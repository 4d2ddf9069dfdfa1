//! The declared steps of a transform.
//!
//! Where a step takes an *expression*, that is [CEL](https://cel.dev) over these names: `payload` (the record's payload as
//! JSON), `stream`, `headers`, `position`, `event_time` and `ingest_time` (both milliseconds since the Unix epoch).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::is_default;

/// One step of a transform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Keeps the records for which the expression is true. The others are counted as filtered.
    Filter(String),
    /// Makes another payload.
    Map(MapStep),
    /// Says which stream, or streams, of the sink a record goes to.
    Route(RouteStep),
    /// Makes one record of each element of the list that the expression gives.
    Split(String),
    /// Makes samples. The last step.
    ToMetrics(Metrics),
    /// Makes documents. The last step.
    ToDocuments(Documents),
}

/// Another payload: a JSON object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MapStep {
    /// Keeps the fields that are not named here; otherwise only these remain.
    pub keep: bool,
    /// Fields and the expressions that give them.
    pub fields: BTreeMap<String, String>,
    /// Fields to leave out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
}

/// Where a record goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteStep {
    /// An expression that gives the name of a stream, or a list of names: then the record is copied to each.
    pub stream: String,
}

/// Samples out of records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// What each record is counted in.
    pub metrics: Vec<Metric>,
}

/// A metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// What is done with the values.
    pub kind: Aggregate,
    /// An expression that gives a number; not needed for `count`, where it is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Label names and the expressions that give their values: texts, numbers or booleans.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// An expression that gives the time of a `sample` or `add`; without it, the event time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The window of `sum`, `count`, `min` and `max`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Only records for which this expression is true count here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

/// What becomes of the values of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// Each is a sample at its time.
    Sample,
    /// Each is added to a running counter.
    Add,
    /// Their sum in a window, exactly rounded whatever their order.
    Sum,
    /// How many there are in a window.
    Count,
    /// The least in a window.
    Min,
    /// The greatest in a window.
    Max,
}

impl Aggregate {
    /// Whether it is taken over a window.
    #[must_use]
    pub fn is_windowed(self) -> bool {
        !matches!(self, Self::Sample | Self::Add)
    }
}

/// Windows of event time, aligned to the Unix epoch. A window's result stands at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// How long a window is, in milliseconds.
    pub length_ms: u64,
    /// How often one begins, in milliseconds: less than the length gives sliding windows. Without it they tumble.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_ms: Option<u64>,
}

impl Window {
    /// Windows that follow each other.
    #[must_use]
    pub fn tumbling(length_ms: u64) -> Self {
        Self { length_ms, every_ms: None }
    }

    /// Windows that overlap.
    #[must_use]
    pub fn sliding(length_ms: u64, every_ms: u64) -> Self {
        Self { length_ms, every_ms: Some(every_ms) }
    }
}

/// Documents out of records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Documents {
    /// An expression that gives the document's id: a text or an integer.
    pub id: String,
    /// Fields of text and the expressions that give them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub texts: BTreeMap<String, String>,
    /// Attributes and the expressions that give them. A null leaves the attribute out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Vector fields and where their vectors come from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vectors: BTreeMap<String, VectorOf>,
    /// If this expression is true the document is deleted instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_when: Option<String>,
}

/// Where a vector comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VectorOf {
    /// An expression that gives a list of numbers.
    Value(String),
    /// Embeds the text that an expression gives.
    Embed {
        /// The expression.
        text: String,
        /// What makes vectors of texts.
        with: EmbedderSpec,
    },
}

/// What makes vectors of texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmbedderSpec {
    /// Hashes words and pairs of words into a vector of this length: no model, the same vector everywhere and always. Texts that
    /// share words lie close to each other.
    Hashing {
        /// Length of the vectors.
        dimensions: u32,
    },
    /// A program that reads lines from its standard input, each a JSON list of texts, and answers each with a line that is a
    /// JSON list of vectors. It is started once and kept.
    Command {
        /// The program and its arguments.
        command: Vec<String>,
        /// Length of the vectors.
        dimensions: u32,
        /// How long an answer may take, in milliseconds.
        #[serde(default = "patience_ms")]
        timeout_ms: u64,
    },
    /// An HTTP endpoint of the widespread `/v1/embeddings` form.
    Http {
        /// The whole URL.
        url: String,
        /// The model to ask for.
        model: String,
        /// Length of the vectors.
        dimensions: u32,
        /// Headers; a value `${NAME}` is taken from the environment.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: BTreeMap<String, String>,
        /// How long an answer may take, in milliseconds.
        #[serde(default = "patience_ms", skip_serializing_if = "is_patience")]
        timeout_ms: u64,
    },
}

impl EmbedderSpec {
    /// Length of its vectors.
    #[must_use]
    pub fn dimensions(&self) -> u32 {
        match self {
            Self::Hashing { dimensions } | Self::Command { dimensions, .. } | Self::Http { dimensions, .. } => {
                *dimensions
            }
        }
    }
}

impl Step {
    /// Whether it makes the same of the same record each time.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        self.unrepeatable_vectors().is_empty()
    }

    /// The vector fields that come from an embedder outside.
    pub(super) fn unrepeatable_vectors(&self) -> Vec<&str> {
        let Self::ToDocuments(documents) = self else { return Vec::new() };
        let outside = |from: &VectorOf| {
            matches!(from, VectorOf::Embed { with: EmbedderSpec::Command { .. } | EmbedderSpec::Http { .. }, .. })
        };
        documents.vectors.iter().filter(|(_, from)| outside(from)).map(|(field, _)| field.as_str()).collect()
    }

    /// Its name in a composition file.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Filter(_) => "filter",
            Self::Map(_) => "map",
            Self::Route(_) => "route",
            Self::Split(_) => "split",
            Self::ToMetrics(_) => "to_metrics",
            Self::ToDocuments(_) => "to_documents",
        }
    }
}

fn patience_ms() -> u64 {
    30_000
}

fn is_patience(timeout_ms: &u64) -> bool {
    *timeout_ms == patience_ms() || is_default(timeout_ms)
}
