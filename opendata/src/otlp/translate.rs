//! From points to samples. Nothing is written here: what a request says is taken apart, and what of it cannot be said in
//! Prometheus's model is counted with its reason.

use std::borrow::Cow;
use std::sync::Arc;

use opendata_core::Timestamp;
use opendata_tsdb::promql::STALE_NAN;
use opendata_tsdb::{Exemplar, Histogram, Labels, Metadata, MetricKind};

use super::attributes::{self, Base, PointLabels};
use super::config::Config;
use super::message::{
    self, ExponentialPoint, ExportRequest, HistogramPoint, KeyValue, Metric, NumberPoint, SummaryPoint, Temporality,
};
use super::name::{self, Kind};
use super::{exemplar, exponential, number_text};

/// The flag of a point that says that there is no value any more.
const NO_RECORDED_VALUE: u32 = 1;
/// How often `target_info` is repeated while a request's points span a longer time: half of what a query looks back.
const TARGET_INFO_MS: i64 = 150_000;

/// What a request comes to.
#[derive(Debug, Default)]
pub(super) struct Translated {
    pub(super) samples: Vec<Sample>,
    pub(super) metadata: Vec<(Arc<str>, Metadata)>,
    pub(super) exemplars: Vec<(Labels, Exemplar)>,
    pub(super) rejected: Rejected,
    /// Points of the request, also those that are rejected.
    pub(super) points: u64,
}

/// A sample of a series.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) labels: Labels,
    pub(super) at: Timestamp,
    pub(super) value: Measured,
    /// When its counting started; zero if that is unknown, or if it does not count.
    pub(super) start: Timestamp,
}

/// What was measured.
#[derive(Debug)]
pub(super) enum Measured {
    Number(f64),
    /// An amount since the sample before.
    Delta(f64),
    Histogram(Box<Histogram>),
    /// A histogram since the sample before.
    DeltaHistogram(Box<Histogram>),
}

impl Measured {
    /// Whether it counts from the sample before.
    pub(super) fn is_delta(&self) -> bool {
        matches!(self, Self::Delta(_) | Self::DeltaHistogram(_))
    }
}

/// Points that were not taken: how many, and the first few reasons.
#[derive(Debug, Default)]
pub(super) struct Rejected {
    pub(super) points: u64,
    pub(super) reasons: Vec<String>,
}

/// How many reasons are told.
const REASONS: usize = 5;

impl Rejected {
    pub(super) fn add(&mut self, points: u64, reason: impl Into<String>) {
        self.points += points;
        let reason = reason.into();
        if self.reasons.len() < REASONS && !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }
}

/// Takes a request apart.
pub(super) fn translate(request: &ExportRequest, config: &Config) -> Translated {
    let mut all = Translated::default();
    for resource_metrics in &request.resource_metrics {
        let described = attributes::resource(resource_metrics.resource.as_ref(), config);
        let first = all.samples.len();
        for scope_metrics in &resource_metrics.scope_metrics {
            let base = match config.promote_scope_metadata {
                true => Cow::Owned(described.base.of_scope(scope_metrics.scope.as_ref(), &scope_metrics.schema_url)),
                false => Cow::Borrowed(&described.base),
            };
            for metric in &scope_metrics.metrics {
                Translation { base: &base, config, metric, name: Arc::from(""), all: &mut all }.metric();
            }
        }
        if let Some(labels) = described.target_info {
            target_info(&mut all.samples, first, &labels);
        }
    }
    all
}

/// Says what a resource is, from its first point to its last.
fn target_info(samples: &mut Vec<Sample>, first: usize, labels: &Labels) {
    let times = samples.get(first..).unwrap_or_default().iter().map(|sample| sample.at.0);
    let Some(newest) = times.clone().max() else { return };
    let oldest = times.min().unwrap_or(newest);
    // Never more repetitions than points: a request with one point of long ago is no reason to write a million.
    let most = samples.len() - first;
    let mut add = |at: i64| {
        let (at, start) = (Timestamp(at), Timestamp(0));
        samples.push(Sample { labels: labels.clone(), at, value: Measured::Number(1.0), start });
    };
    let mut at = oldest;
    for _ in 1..most {
        if at >= newest {
            break;
        }
        add(at);
        at += TARGET_INFO_MS;
    }
    add(newest);
}

/// A metric being taken apart.
struct Translation<'a> {
    base: &'a Base,
    config: &'a Config,
    metric: &'a Metric,
    name: Arc<str>,
    all: &'a mut Translated,
}

/// Time and start of a point in milliseconds.
struct When {
    at: Timestamp,
    start: Timestamp,
}

fn when(time_ns: u64, start_ns: u64) -> When {
    let ms = |ns: u64| Timestamp(i64::try_from(ns / 1_000_000).unwrap_or(i64::MAX));
    When { at: ms(time_ns), start: ms(start_ns) }
}

impl Translation<'_> {
    fn metric(mut self) {
        let metric = self.metric;
        if metric.name.is_empty() {
            let points = count(metric);
            self.all.points += points;
            return if points > 0 {
                self.all.rejected.add(points, "a metric has no name")
            };
        }
        if let Some(gauge) = &metric.gauge {
            self.named(Kind::Gauge, MetricKind::Gauge);
            self.numbers(&gauge.data_points, false, false);
        } else if let Some(sum) = &metric.sum {
            // The unit `1` makes a ratio of a gauge only.
            match sum.is_monotonic {
                true => self.named(Kind::Counter, MetricKind::Counter),
                false => self.named(Kind::Other, MetricKind::Gauge),
            }
            if let Some(is_delta) = self.temporality(sum.aggregation_temporality, sum.data_points.len()) {
                self.numbers(&sum.data_points, is_delta, sum.is_monotonic);
            }
        } else if let Some(histogram) = &metric.histogram {
            self.named(Kind::Other, MetricKind::Histogram);
            if let Some(is_delta) = self.temporality(histogram.aggregation_temporality, histogram.data_points.len()) {
                for point in &histogram.data_points {
                    self.histogram(point, is_delta);
                }
            }
        } else if let Some(histogram) = &metric.exponential_histogram {
            self.named(Kind::Other, MetricKind::Histogram);
            if let Some(is_delta) = self.temporality(histogram.aggregation_temporality, histogram.data_points.len()) {
                for point in &histogram.data_points {
                    self.exponential(point, is_delta);
                }
            }
        } else if let Some(summary) = &metric.summary {
            self.named(Kind::Other, MetricKind::Summary);
            for point in &summary.data_points {
                self.summary(point);
            }
        }
    }

    fn named(&mut self, kind: Kind, described: MetricKind) {
        let Metric { name, unit, description, .. } = self.metric;
        self.name = name::metric(name, unit, kind, self.config.translation_strategy).into();
        let metadata = Metadata { kind: described, help: description.clone(), unit: unit.clone() };
        self.all.metadata.push((Arc::clone(&self.name), metadata));
    }

    /// Whether points are deltas; none, with all of them rejected, if it is not said.
    fn temporality(&mut self, temporality: i32, points: usize) -> Option<bool> {
        match Temporality::try_from(temporality) {
            Ok(Temporality::Cumulative) => Some(false),
            Ok(Temporality::Delta) => Some(true),
            Ok(Temporality::Unspecified) | Err(_) => {
                self.all.points += points as u64;
                let name = &self.metric.name;
                if points > 0 {
                    self.all.rejected.add(points as u64, format!("temporality is unspecified, metric={name}"));
                }
                None
            }
        }
    }

    fn point(&mut self, attributes: &[KeyValue]) -> PointLabels {
        self.all.points += 1;
        self.base.point(attributes)
    }

    fn reject(&mut self, reason: &str) {
        let name = &self.metric.name;
        self.all.rejected.add(1, format!("{reason}, metric={name}"));
    }

    fn push(&mut self, labels: Labels, when: &When, value: f64, is_delta: bool) {
        let value = if is_delta { Measured::Delta(value) } else { Measured::Number(value) };
        self.all.samples.push(Sample { labels, at: when.at, value, start: when.start });
    }

    #[expect(clippy::cast_precision_loss, reason = "samples are floats")]
    fn numbers(&mut self, points: &[NumberPoint], is_delta: bool, counts: bool) {
        for point in points {
            let labels = self.point(&point.attributes);
            let when = when(point.time_unix_nano, if counts { point.start_time_unix_nano } else { 0 });
            let gone = point.flags & NO_RECORDED_VALUE != 0;
            let value = match (point.as_double, point.as_int) {
                _ if gone => STALE_NAN,
                (Some(value), _) => value,
                (None, Some(value)) => value as f64,
                (None, None) => {
                    self.reject("a point has no value");
                    continue;
                }
            };
            if is_delta && !gone && !value.is_finite() {
                self.reject("a delta is not finite");
                continue;
            }
            let labels = labels.series(&self.name, None);
            for one in point.exemplars.iter().filter_map(|one| exemplar::exemplar(one, self.config.label_names())) {
                self.all.exemplars.push((labels.clone(), one));
            }
            self.push(labels, &when, value, is_delta && !gone);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "samples are floats")]
    fn histogram(&mut self, point: &HistogramPoint, is_delta: bool) {
        let labels = self.point(&point.attributes);
        let when = when(point.time_unix_nano, point.start_time_unix_nano);
        let gone = point.flags & NO_RECORDED_VALUE != 0;
        let (bounds, counts) = (&point.explicit_bounds, &point.bucket_counts);
        let fits = counts.is_empty() && bounds.is_empty() || counts.len() == bounds.len() + 1;
        if !fits && !gone {
            return self.reject("a histogram has not one bucket more than bounds");
        }
        if !bounds.is_sorted_by(|a, b| a < b) {
            return self.reject("the bounds of a histogram do not ascend");
        }
        if self.config.convert_histograms_to_nhcb {
            if gone {
                return self.gone(&labels, &when);
            }
            return match exponential::custom(point) {
                Ok(histogram) => self.native(&labels, &when, histogram, is_delta, &point.exemplars),
                Err(reason) => self.reject(&reason),
            };
        }
        let value = |number: f64| if gone { STALE_NAN } else { number };
        let is_delta = is_delta && !gone;
        let part = |suffix: &str| -> Arc<str> { format!("{}{suffix}", self.name).into() };
        let (bucket, sum_name, count_name) = (part("_bucket"), part("_sum"), part("_count"));
        for one in point.exemplars.iter().filter_map(|one| exemplar::exemplar(one, self.config.label_names())) {
            let bound = bounds.iter().copied().find(|bound| one.value <= *bound).unwrap_or(f64::INFINITY);
            self.all.exemplars.push((labels.series(&bucket, Some(("le", &number_text(bound)))), one));
        }
        let mut total = 0_u64;
        for (bound, count) in bounds.iter().zip(counts.iter().copied().chain(std::iter::repeat(0))) {
            total = total.saturating_add(count);
            // An infinite last bound is the bucket that comes anyway.
            if *bound < f64::INFINITY {
                let labels = labels.series(&bucket, Some(("le", &number_text(*bound))));
                self.push(labels, &when, value(total as f64), is_delta);
            }
        }
        let infinity = labels.series(&bucket, Some(("le", "+Inf")));
        self.push(infinity, &when, value(point.count as f64), is_delta);
        if let Some(sum) = point.sum {
            if is_delta && !sum.is_finite() {
                self.reject("the sum of a delta is not finite");
            } else {
                self.push(labels.series(&sum_name, None), &when, value(sum), is_delta);
            }
        }
        self.push(labels.series(&count_name, None), &when, value(point.count as f64), is_delta);
    }

    fn exponential(&mut self, point: &ExponentialPoint, is_delta: bool) {
        let labels = self.point(&point.attributes);
        let when = when(point.time_unix_nano, point.start_time_unix_nano);
        if point.flags & NO_RECORDED_VALUE != 0 {
            return self.gone(&labels, &when);
        }
        match exponential::native(point) {
            Ok(histogram) => self.native(&labels, &when, histogram, is_delta, &point.exemplars),
            Err(reason) => self.reject(&reason),
        }
    }

    /// The series of a native histogram has ended.
    fn gone(&mut self, labels: &PointLabels, when: &When) {
        let labels = labels.series(&self.name, None);
        self.push(labels, when, STALE_NAN, false);
    }

    fn native(
        &mut self,
        labels: &PointLabels,
        when: &When,
        histogram: Histogram,
        is_delta: bool,
        of: &[message::Exemplar],
    ) {
        let labels = labels.series(&self.name, None);
        let exemplars = of.iter().filter_map(|one| exemplar::exemplar(one, self.config.label_names()));
        self.all.exemplars.extend(exemplars.map(|exemplar| (labels.clone(), exemplar)));
        let value = match is_delta {
            true => Measured::DeltaHistogram(Box::new(histogram)),
            false => Measured::Histogram(Box::new(histogram)),
        };
        self.all.samples.push(Sample { labels, at: when.at, value, start: when.start });
    }

    #[expect(clippy::cast_precision_loss, reason = "samples are floats")]
    fn summary(&mut self, point: &SummaryPoint) {
        let labels = self.point(&point.attributes);
        let when = when(point.time_unix_nano, point.start_time_unix_nano);
        let gone = point.flags & NO_RECORDED_VALUE != 0;
        let value = |number: f64| if gone { STALE_NAN } else { number };
        for quantile in &point.quantile_values {
            let labels = labels.series(&self.name, Some(("quantile", &number_text(quantile.quantile))));
            self.push(labels, &when, value(quantile.value), false);
        }
        let sum: Arc<str> = format!("{}_sum", self.name).into();
        let count: Arc<str> = format!("{}_count", self.name).into();
        self.push(labels.series(&sum, None), &when, value(point.sum), false);
        self.push(labels.series(&count, None), &when, value(point.count as f64), false);
    }
}

fn count(metric: &Metric) -> u64 {
    let points = metric.gauge.as_ref().map_or(0, |gauge| gauge.data_points.len())
        + metric.sum.as_ref().map_or(0, |sum| sum.data_points.len())
        + metric.histogram.as_ref().map_or(0, |histogram| histogram.data_points.len())
        + metric.exponential_histogram.as_ref().map_or(0, |histogram| histogram.data_points.len())
        + metric.summary.as_ref().map_or(0, |summary| summary.data_points.len());
    points as u64
}
