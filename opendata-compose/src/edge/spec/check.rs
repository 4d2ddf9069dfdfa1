//! Whether a specification makes sense, before anything runs.

use std::collections::BTreeMap;

use opendata_core::{Error, Result};

use super::{Aggregate, Documents, EdgeSpec, EmbedderSpec, HttpSink, Metric, SinkSpec, Step, StreamsSpec, VectorOf};
use crate::edge::schema::Schema;
use crate::edge::transform;

/// What the nodes of a composition hold, as far as edges must know it.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    instances: BTreeMap<(String, String), Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    system: String,
    schema: Option<Schema>,
}

impl Catalog {
    /// Says that a node holds an instance of a system (`log`, `tsdb`, `vector`), with the schema of its records if it is a log that has one.
    pub fn add(&mut self, node: &str, instance: &str, system: &str, schema: Option<Schema>) -> &mut Self {
        self.instances.insert((node.to_owned(), instance.to_owned()), Entry { system: system.to_owned(), schema });
        self
    }

    fn find(&self, node: &str, instance: &str) -> Result<&Entry> {
        self.instances.get(&(node.to_owned(), instance.to_owned())).ok_or_else(|| {
            Error::not_found(format!("the composition has no such instance, node={node}, instance={instance}"))
        })
    }
}

impl EdgeSpec {
    /// Checks the edge by itself: names, ranges, the order of its steps, and that every expression can be read.
    ///
    /// # Errors
    /// `Invalid`, naming the edge and the field.
    pub fn validate(&self) -> Result<()> {
        self.validate_over(None)
    }

    /// The same, and that its steps ask for nothing that the source's schema does not have, where the source has one.
    ///
    /// # Errors
    /// `Invalid`, naming the edge and the field.
    pub fn validate_over(&self, schema: Option<&Schema>) -> Result<()> {
        self.check_fields().and_then(|()| transform::check(self, schema)).map_err(|error| self.named(error))
    }

    /// Checks the edge against what the composition's nodes hold: the systems at both ends, and the fields of the source's schema.
    ///
    /// # Errors
    /// `Invalid` or `NotFound`, naming the edge and the field.
    pub fn validate_in(&self, catalog: &Catalog) -> Result<()> {
        self.check_fields().and_then(|()| self.check_ends(catalog)).map_err(|error| self.named(error))
    }

    fn named(&self, error: Error) -> Error {
        error.context(format_args!("edge {}", self.id))
    }

    fn check_ends(&self, catalog: &Catalog) -> Result<()> {
        let source = catalog.find(&self.from.node, &self.from.instance)?;
        if source.system != "log" {
            return Err(invalid("from", "must be a log", &source.system));
        }
        if let (Some(node), Some(instance)) = (&self.to.node, &self.to.instance) {
            let (sink, wanted) = (catalog.find(node, instance)?, self.output());
            if sink.system != wanted.system() {
                return Err(Error::invalid(format!(
                    "the steps do not make what the sink takes, steps={}, sink={}",
                    wanted.system(),
                    sink.system
                )));
            }
        }
        transform::check(self, source.schema.as_ref())
    }

    /// What the last step makes.
    #[must_use]
    pub fn output(&self) -> transform::Kind {
        match self.transform.last() {
            Some(Step::ToMetrics(_)) => transform::Kind::Samples,
            Some(Step::ToDocuments(_)) => transform::Kind::Documents,
            _ => transform::Kind::Records,
        }
    }

    fn check_fields(&self) -> Result<()> {
        let named = |text: &str| {
            (1..=200).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        if !named(&self.id) {
            return Err(invalid("id", "is 1 to 200 of a-z A-Z 0-9 . _ -", &self.id));
        }
        if let StreamsSpec::Shard(shard) = &self.from.streams
            && (shard.of == 0 || shard.index >= shard.of)
        {
            return Err(invalid("from.streams.shard.index", "must be below `of`", &shard.index));
        }
        check_sink(&self.to)?;
        let (batch, retry) = (&self.batch, &self.retry);
        let ranges = [
            ("batch.max_records", u64::from(batch.max_records), 1, 1 << 20),
            ("batch.max_bytes", u64::from(batch.max_bytes), 1 << 10, 16 << 20),
            ("batch.in_flight", u64::from(batch.in_flight), 1, 64),
            ("batch.max_windows", u64::from(batch.max_windows), 1, 1 << 28),
            ("retry.attempts", u64::from(retry.attempts), 1, 1000),
            ("retry.first_ms", retry.first_ms, 1, 60_000),
            ("retry.max_ms", retry.max_ms, retry.first_ms, 3_600_000),
            ("retry.rest_ms", retry.rest_ms, 1, 86_400_000),
        ];
        for (field, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(invalid(field, &format!("is {least} to {most}"), &value));
            }
        }
        if let Some(required) = self.require
            && self.guarantee() < required
        {
            return Err(invalid("require", "cannot be given by this sink", &required));
        }
        self.check_steps()
    }

    fn check_steps(&self) -> Result<()> {
        let last = self.transform.len().saturating_sub(1);
        for (index, step) in self.transform.iter().enumerate() {
            let ends = matches!(step, Step::ToMetrics(_) | Step::ToDocuments(_));
            if ends && index != last {
                return Err(invalid(&format!("transform[{index}]"), "must be the last step", &step.name()));
            }
            match step {
                Step::ToMetrics(metrics) if metrics.metrics.is_empty() => {
                    return Err(invalid("to_metrics.metrics", "must not be empty", &0));
                }
                Step::ToMetrics(metrics) => metrics.metrics.iter().try_for_each(check_metric)?,
                Step::ToDocuments(documents) => check_documents(documents)?,
                _ => {}
            }
        }
        let output = self.output();
        if self.to.remote_write.is_some() && output != transform::Kind::Samples {
            return Err(invalid("to.remote_write", "takes what to_metrics makes", &output.system()));
        }
        let adds = self.transform.iter().any(|step| match step {
            Step::ToMetrics(metrics) => metrics.metrics.iter().any(|metric| metric.kind == Aggregate::Add),
            _ => false,
        });
        if self.to.remote_write.is_some() && adds {
            return Err(invalid("to_metrics.kind", "must not be add: a receiver outside cannot add", &"add"));
        }
        Ok(())
    }
}

fn check_sink(sink: &SinkSpec) -> Result<()> {
    let inside = sink.node.is_some() || sink.instance.is_some();
    let kinds = [inside, sink.webhook.is_some(), sink.remote_write.is_some()];
    if kinds.iter().filter(|kind| **kind).count() != 1 {
        return Err(Error::invalid("to must be one of: node and instance, webhook, remote_write"));
    }
    if inside && (sink.node.is_none() || sink.instance.is_none()) {
        return Err(Error::invalid("to needs both node and instance"));
    }
    [&sink.webhook, &sink.remote_write].into_iter().flatten().try_for_each(check_http)
}

fn check_http(sink: &HttpSink) -> Result<()> {
    check_url("to.url", &sink.url)?;
    if sink.timeout_ms == 0 {
        return Err(invalid("to.timeout_ms", "must be at least 1", &sink.timeout_ms));
    }
    Ok(())
}

fn check_url(field: &str, url: &str) -> Result<()> {
    if url.starts_with("http://") || url.starts_with("https://") {
        return Ok(());
    }
    Err(invalid(field, "must begin with http:// or https://", &url))
}

fn check_metric(metric: &Metric) -> Result<()> {
    let field = |name: &str| format!("to_metrics.{}.{name}", metric.name);
    let valid = |text: &str, colon: bool| {
        let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || (colon && byte == b':');
        text.bytes().enumerate().all(|(index, byte)| letter(byte) || (index > 0 && byte.is_ascii_digit()))
            && !text.is_empty()
    };
    if !valid(&metric.name, true) {
        return Err(invalid(&field("name"), "must match [a-zA-Z_:][a-zA-Z0-9_:]*", &metric.name));
    }
    if let Some(label) = metric.labels.keys().find(|label| !valid(label, false) || *label == "__name__") {
        return Err(invalid(&field("labels"), "must match [a-zA-Z_][a-zA-Z0-9_]* and not be __name__", label));
    }
    if metric.value.is_none() && metric.kind != Aggregate::Count {
        return Err(Error::invalid(format!("{} is missing; only count does without", field("value"))));
    }
    match (&metric.window, metric.kind.is_windowed()) {
        (None, true) => Err(Error::invalid(format!("{} is missing for a windowed kind", field("window")))),
        (Some(_), false) => Err(Error::invalid(format!("{} goes with sum, count, min and max only", field("window")))),
        (Some(window), true) => {
            let every = window.every_ms.unwrap_or(window.length_ms);
            if every == 0 || window.length_ms == 0 || !window.length_ms.is_multiple_of(every) {
                return Err(invalid(&field("window.every_ms"), "must divide length_ms", &every));
            }
            if window.length_ms > 366 * 86_400_000 || window.length_ms / every > 10_000 {
                return Err(invalid(&field("window.length_ms"), "is at most 366 days and 10000 steps", &every));
            }
            Ok(())
        }
        (None, false) => Ok(()),
    }
}

fn check_documents(documents: &Documents) -> Result<()> {
    for (name, from) in &documents.vectors {
        let VectorOf::Embed { with, .. } = from else { continue };
        let field = |what: &str| format!("to_documents.vectors.{name}.with.{what}");
        if !(1..=65_536).contains(&with.dimensions()) {
            return Err(invalid(&field("dimensions"), "is 1 to 65536", &with.dimensions()));
        }
        match with {
            EmbedderSpec::Hashing { .. } => {}
            EmbedderSpec::Command { command, .. } if command.is_empty() => {
                return Err(Error::invalid(format!("{} is empty", field("command"))));
            }
            EmbedderSpec::Command { .. } => {}
            EmbedderSpec::Http { url, .. } => check_url(&field("url"), url)?,
        }
    }
    Ok(())
}

fn invalid(field: &str, rule: &str, found: &dyn std::fmt::Display) -> Error {
    Error::invalid(format!("{field} {rule}, found={found}"))
}
