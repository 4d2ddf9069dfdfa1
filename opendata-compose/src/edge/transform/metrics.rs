//! The last step `to_metrics`: samples, running counters and windowed aggregates.

use std::sync::Arc;

use opendata_core::{Error, Result};

use super::{Output, Outputs, SeriesCache, Windowed};
use crate::edge::expr::{Expr, Type, expect};
use crate::edge::item::Item;
use crate::edge::schema::Schema;
use crate::edge::spec::{Aggregate, Metric, Metrics};

pub(super) struct MetricsStep {
    metrics: Vec<Compiled>,
    windows: Vec<Windowed>,
}

struct Compiled {
    name: Arc<str>,
    kind: Aggregate,
    value: Option<Expr>,
    labels: Vec<(Arc<str>, Expr)>,
    series: SeriesCache,
    time: Option<Expr>,
    when: Option<Expr>,
    /// Its index among the windowed ones.
    window: u16,
}

impl MetricsStep {
    pub(super) fn new(metrics: &Metrics) -> Result<Self> {
        let mut windows = Vec::new();
        let metrics = metrics.metrics.iter().map(|metric| compile(metric, &mut windows)).collect::<Result<_>>()?;
        Ok(Self { metrics, windows })
    }

    pub(super) fn windows(&self) -> &[Windowed] {
        &self.windows
    }

    /// All its expressions.
    pub(super) fn expressions(&mut self) -> impl Iterator<Item = &mut Expr> {
        self.metrics.iter_mut().flat_map(|metric| {
            let labels = metric.labels.iter_mut().map(|(_, expr)| expr);
            labels.chain(&mut metric.value).chain(&mut metric.time).chain(&mut metric.when)
        })
    }

    pub(super) fn check(&self, schema: Option<&Schema>) -> Result<()> {
        for metric in &self.metrics {
            let field = |what: &str| format!("to_metrics.{}.{what}", metric.name);
            if let Some(expr) = &metric.value {
                expect(&field("value"), expr, schema, &Type::Number)?;
            }
            for (name, expr) in &metric.labels {
                expect(&field(name), expr, schema, &Type::Text)?;
            }
            if let Some(expr) = &metric.time {
                expect(&field("time"), expr, schema, &Type::Time)?;
            }
            if let Some(expr) = &metric.when {
                expect(&field("when"), expr, schema, &Type::Bool)?;
            }
        }
        Ok(())
    }

    pub(super) fn apply(&self, index: usize, item: &Item<'_>, outputs: &mut Outputs) -> Result<(), String> {
        for metric in &self.metrics {
            if let Some(when) = &metric.when
                && !when.is_true(item)?
            {
                continue;
            }
            let value = match &metric.value {
                Some(value) => value.number(item)?,
                None => 1.0,
            };
            let labels =
                metric.series.find(|at| metric.labels.get(at).map_or(Ok(None), |(_, expr)| expr.text(item)))?;
            let at = || metric.time.as_ref().map_or(Ok(item.event_time), |time| time.time(item));
            let output = match metric.kind {
                Aggregate::Sample => Output::Sample(labels, at()?, value),
                Aggregate::Add => Output::Add(labels, at()?, value),
                _ => Output::Observe(metric.window, labels, value),
            };
            outputs.push(index, output);
        }
        Ok(())
    }
}

fn compile(metric: &Metric, windows: &mut Vec<Windowed>) -> Result<Compiled> {
    let parse = |what: &str, text: &Option<String>| {
        text.as_ref().map(|text| Expr::parse(&format!("to_metrics.{}.{what}", metric.name), text)).transpose()
    };
    let labels = metric.labels.iter().map(|(name, text)| {
        Ok((Arc::from(name.as_str()), Expr::parse(&format!("to_metrics.{}.labels.{name}", metric.name), text)?))
    });
    let window = u16::try_from(windows.len()).map_err(|_| Error::invalid("too many windowed metrics"))?;
    if let Some(of) = metric.window {
        windows.push(Windowed { aggregate: metric.kind, window: of });
    } else if metric.kind.is_windowed() {
        return Err(Error::invalid(format!("to_metrics.{}.window is missing for a windowed kind", metric.name)));
    }
    Ok(Compiled {
        name: Arc::from(metric.name.as_str()),
        series: SeriesCache::new(&metric.name, metric.labels.keys()),
        kind: metric.kind,
        value: parse("value", &metric.value)?,
        labels: labels.collect::<Result<_>>()?,
        time: parse("time", &metric.time)?,
        when: parse("when", &metric.when)?,
        window,
    })
}
