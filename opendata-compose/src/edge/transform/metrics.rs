//! The last step `to_metrics`: samples, running counters and windowed aggregates.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use opendata_core::{Error, Result};
use opendata_tsdb::Labels;
use rustc_hash::FxBuildHasher;

use super::{Output, Outputs, Windowed};
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
    time: Option<Expr>,
    when: Option<Expr>,
    /// Its index among the windowed ones.
    window: u16,
    known: Mutex<Known>,
}

/// Labels that were made before, by the texts they were made of. The same series come again and again, and a sink that gets the very same labels
/// need not look at them.
#[derive(Default)]
struct Known {
    labels: HashMap<Box<[u8]>, Labels, FxBuildHasher>,
    /// The texts of the record at hand, each with a byte behind it that no text contains.
    key: Vec<u8>,
}

/// Labels that are remembered of each metric.
const MOST_KNOWN: usize = 1 << 16;
const END: u8 = 0xff;
const MISSING: u8 = 0xfe;

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
            let labels = metric.labels_of(item)?;
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

impl Compiled {
    fn labels_of(&self, item: &Item<'_>) -> Result<Labels, String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { labels, key } = &mut *known;
        key.clear();
        for (_, expr) in &self.labels {
            match expr.text(item)? {
                Some(text) => key.extend_from_slice(text.as_bytes()),
                None => key.push(MISSING),
            }
            key.push(END);
        }
        if let Some(labels) = labels.get(key.as_slice()) {
            return Ok(labels.clone());
        }
        let made = self.make_labels(item)?;
        if labels.len() >= MOST_KNOWN {
            labels.clear();
        }
        labels.insert(key.as_slice().into(), made.clone());
        Ok(made)
    }

    fn make_labels(&self, item: &Item<'_>) -> Result<Labels, String> {
        let mut labels: Vec<(Arc<str>, Arc<str>)> = Vec::with_capacity(self.labels.len() + 1);
        labels.push((Arc::from(opendata_tsdb::METRIC_NAME), Arc::clone(&self.name)));
        for (name, expr) in &self.labels {
            if let Some(text) = expr.text(item)? {
                labels.push((Arc::clone(name), text.into()));
            }
        }
        Labels::new(labels).map_err(|error| error.message().to_owned())
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
        kind: metric.kind,
        value: parse("value", &metric.value)?,
        labels: labels.collect::<Result<_>>()?,
        time: parse("time", &metric.time)?,
        when: parse("when", &metric.when)?,
        window,
        known: Mutex::default(),
    })
}
