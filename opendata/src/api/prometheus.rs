//! Answers to queries, in the shape of Prometheus's HTTP API (<https://prometheus.io/docs/prometheus/latest/querying/api/>).

pub(crate) mod encode;
pub(crate) mod monitor;

use std::collections::BTreeMap;

use opendata_core::Timestamp;
use opendata_tsdb::promql::{Answer, Explained, Sample, SampleValue, Series, Value};
use opendata_tsdb::{Histogram, Labels};
use serde::{Deserialize, Serialize};

/// A whole answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub(crate) enum Response<T> {
    Success {
        data: T,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        infos: Vec<String>,
    },
    #[serde(rename_all = "camelCase")]
    Error {
        error_type: String,
        error: String,
        /// Our own name of what went wrong, which tells more kinds apart.
        kind: String,
    },
}

impl<T> Response<T> {
    /// An answer with nothing to remark.
    pub(crate) fn success(data: T) -> Self {
        Self::Success { data, warnings: Vec::new(), infos: Vec::new() }
    }
}

/// What a query gave.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
pub(crate) enum QueryData {
    Scalar(Point),
    String((Seconds, String)),
    Vector(Vec<VectorSample>),
    Matrix(Vec<MatrixSeries>),
}

/// How an answer came about: our own addition to the API.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Explanation {
    pub(crate) plan: serde_json::Value,
    pub(crate) reads: serde_json::Value,
    pub(crate) cost: Cost,
}

/// What a query cost.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cost {
    pub(crate) series: u64,
    pub(crate) samples_decoded: u64,
    pub(crate) samples_queried: u64,
    pub(crate) values_held: u64,
    pub(crate) chunk_rows: u64,
    pub(crate) chunk_bytes: u64,
    pub(crate) read_seconds: f64,
    pub(crate) evaluation_seconds: f64,
}

impl Explanation {
    /// Takes the answer off.
    pub(crate) fn of(explained: Explained) -> (Answer, Self) {
        let Explained { answer, plan, reads } = explained;
        let cost = &answer.statistics;
        let cost = Cost {
            series: cost.series,
            samples_decoded: cost.samples_decoded,
            samples_queried: cost.samples_queried,
            values_held: cost.values_held,
            chunk_rows: cost.chunk_rows,
            chunk_bytes: cost.chunk_bytes,
            read_seconds: cost.read_time.as_secs_f64(),
            evaluation_seconds: cost.evaluation_time.as_secs_f64(),
        };
        let json = |value: serde_json::Result<serde_json::Value>| value.unwrap_or_default();
        let (plan, reads) = (json(serde_json::to_value(plan)), json(serde_json::to_value(reads)));
        (answer, Self { plan, reads, cost })
    }
}

/// A time in seconds, and a value as text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point(pub(crate) Seconds, pub(crate) String);

/// Unix seconds, with milliseconds behind the point.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Seconds(f64);

/// Whole seconds as a number without a point.
impl Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ms = self.time().0;
        if ms % 1000 == 0 { serializer.serialize_i64(ms / 1000) } else { serializer.serialize_f64(self.0) }
    }
}

/// One series at one time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct VectorSample {
    pub(crate) metric: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<Point>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) histogram: Option<HistogramPoint>,
}

/// One series over time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MatrixSeries {
    pub(crate) metric: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) values: Vec<Point>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) histograms: Vec<HistogramPoint>,
}

/// A time in seconds, and a distribution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HistogramPoint(pub(crate) Seconds, pub(crate) HistogramOut);

/// A distribution. Of each bucket: the rule of its bounds, the bounds, the count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HistogramOut {
    pub(crate) count: String,
    pub(crate) sum: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) buckets: Vec<(u8, String, String, String)>,
}

impl Seconds {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of this age are far below 2^53")]
    pub(crate) fn of(time: Timestamp) -> Self {
        Self(time.0 as f64 / 1000.0)
    }

    /// The time.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "casting saturates, and times of that size are shown as they are"
    )]
    pub(crate) fn time(self) -> Timestamp {
        Timestamp((self.0 * 1000.0).round() as i64)
    }
}

impl Point {
    fn new(at: Timestamp, value: f64) -> Self {
        Self(Seconds::of(at), value_text(value))
    }
}

impl HistogramPoint {
    fn new(at: Timestamp, histogram: &Histogram) -> Self {
        let buckets = histogram.buckets().filter(|bucket| bucket.count != 0.0).map(|bucket| {
            (bucket.boundary_rule(), value_text(bucket.lower), value_text(bucket.upper), value_text(bucket.count))
        });
        let (count, sum) = (value_text(histogram.count), value_text(histogram.sum));
        Self(Seconds::of(at), HistogramOut { count, sum, buckets: buckets.collect() })
    }

    /// In one line.
    pub(crate) fn summary(&self) -> Point {
        let HistogramOut { count, sum, buckets } = &self.1;
        Point(self.0, format!("count {count}, sum {sum}, {} buckets", buckets.len()))
    }
}

/// A value as Prometheus writes it: the shortest text that reads as the same number.
pub(crate) fn value_text(value: f64) -> String {
    let mut text = String::new();
    encode::number(&mut text, value);
    text
}

/// A label set as JSON has it.
pub(crate) fn metric(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|label| (label.name().to_owned(), label.value().to_owned())).collect()
}

fn matrix_series(series: Series) -> MatrixSeries {
    let (mut values, mut histograms) = (Vec::new(), Vec::new());
    for (at, value) in series.samples() {
        match value {
            SampleValue::Float(value) => values.push(Point::new(Timestamp(at), value)),
            SampleValue::Histogram(histogram) => histograms.push(HistogramPoint::new(Timestamp(at), histogram)),
        }
    }
    MatrixSeries { metric: metric(&series.labels), values, histograms }
}

fn vector_sample(sample: Sample) -> VectorSample {
    let histogram = sample.histogram.map(|histogram| HistogramPoint::new(sample.at, &histogram));
    let value = histogram.is_none().then(|| Point::new(sample.at, sample.value));
    VectorSample { metric: metric(&sample.labels), value, histogram }
}

impl From<Answer> for Response<QueryData> {
    fn from(answer: Answer) -> Self {
        let data = match answer.value {
            Value::Scalar { at, value } => QueryData::Scalar(Point::new(at, value)),
            Value::String { at, value } => QueryData::String((Seconds::of(at), value)),
            Value::Vector(samples) => QueryData::Vector(samples.into_iter().map(vector_sample).collect()),
            Value::Matrix(series) => QueryData::Matrix(series.into_iter().map(matrix_series).collect()),
        };
        let warnings = answer.annotations.warnings().map(str::to_owned).collect();
        let infos = answer.annotations.infos().map(str::to_owned).collect();
        Self::Success { data, warnings, infos }
    }
}

/// A label set for people.
pub(crate) fn show_metric(metric: &BTreeMap<String, String>) -> String {
    Labels::last_wins(metric.iter().map(|(name, value)| (name.as_str(), value.as_str()))).to_string()
}
