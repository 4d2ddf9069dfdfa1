//! The transform that is declared by steps.

use async_trait::async_trait;
use opendata_core::{Error, Result};
use opendata_log::{NewRecord, Record};
use serde_json::Value;

use super::documents::{DocumentsStep, Draft};
use super::metrics::MetricsStep;
use super::{Kind, Output, Outputs, Transform, Windowed};
use crate::edge::embed::Embedder;
use crate::edge::expr::{Expr, Type, brief, expect};
use crate::edge::fields::Paths;
use crate::edge::item::Item;
use crate::edge::schema::Schema;
use crate::edge::spec::{Digest, EdgeSpec, EmbedderSpec, MapStep, Step};

/// The steps of an edge, ready to run.
pub struct Pipeline {
    digest: Digest,
    event_time: Option<Expr>,
    steps: Vec<Compiled>,
    end: End,
    /// The fields that all expressions ask for together, if none of them needs the whole payload.
    paths: Option<Paths>,
}

/// A step between records.
enum Compiled {
    Filter(Expr),
    Map { keep: bool, fields: Vec<(String, Expr)>, drop: Vec<String> },
    Route(Expr),
    Split(Expr),
}

enum End {
    Records,
    Metrics(MetricsStep),
    Documents(Box<DocumentsStep>),
}

/// Refuses an edge whose steps cannot be read, or do not fit the source's schema.
pub(crate) fn check(spec: &EdgeSpec, schema: Option<&Schema>) -> Result<()> {
    let pipeline = Pipeline::new(spec)?;
    schema.map_or(Ok(()), |schema| pipeline.check(schema))
}

impl Pipeline {
    /// Reads the steps of an edge.
    ///
    /// # Errors
    /// `Invalid`, naming the step and what cannot be read.
    pub fn new(spec: &EdgeSpec) -> Result<Self> {
        Self::with_embedders(spec, &|with| crate::edge::embed::open(with))
    }

    /// Reads the steps of an edge, with embedders of the caller's.
    ///
    /// # Errors
    /// Those of [`new`](Self::new), and what `open` returned.
    pub fn with_embedders(
        spec: &EdgeSpec,
        open: &dyn Fn(&EmbedderSpec) -> Result<std::sync::Arc<dyn Embedder>>,
    ) -> Result<Self> {
        let event_time = spec.event_time.from.as_ref().map(|text| Expr::parse("event_time.from", text)).transpose()?;
        let (mut steps, mut end) = (Vec::new(), End::Records);
        for (index, step) in spec.transform.iter().enumerate() {
            let field = |what: &str| format!("transform[{index}].{what}");
            match step {
                Step::Filter(text) => steps.push(Compiled::Filter(Expr::parse(&field("filter"), text)?)),
                Step::Map(map) => steps.push(compile_map(map, &field("map"))?),
                Step::Route(route) => steps.push(Compiled::Route(Expr::parse(&field("route.stream"), &route.stream)?)),
                Step::Split(text) => steps.push(Compiled::Split(Expr::parse(&field("split"), text)?)),
                Step::ToMetrics(metrics) => end = End::Metrics(MetricsStep::new(metrics)?),
                Step::ToDocuments(documents) => end = End::Documents(Box::new(DocumentsStep::new(documents, open)?)),
            }
        }
        let mut pipeline = Self { digest: spec.digest()?, event_time, steps, end, paths: None };
        pipeline.join();
        Ok(pipeline)
    }

    /// Lets all expressions read their fields together, unless one needs the whole payload anyway.
    fn join(&mut self) {
        let keeps = |step: &Compiled| matches!(step, Compiled::Map { keep: true, .. });
        if self.steps.iter().any(keeps) || self.expressions().iter().any(|expr| expr.needs_whole()) {
            return;
        }
        let mut paths = Paths::default();
        self.expressions().into_iter().for_each(|expr| expr.join(&mut paths));
        self.paths = Some(paths);
    }

    fn expressions(&mut self) -> Vec<&mut Expr> {
        let mut all: Vec<&mut Expr> = self.event_time.iter_mut().collect();
        for step in &mut self.steps {
            match step {
                Compiled::Filter(expr) | Compiled::Route(expr) | Compiled::Split(expr) => all.push(expr),
                Compiled::Map { fields, .. } => all.extend(fields.iter_mut().map(|(_, expr)| expr)),
            }
        }
        match &mut self.end {
            End::Records => {}
            End::Metrics(metrics) => all.extend(metrics.expressions()),
            End::Documents(documents) => all.extend(documents.expressions()),
        }
        all
    }

    /// Runs the steps up to the last one over one record, and that one over what comes out.
    fn run<'a>(&self, item: &mut Item<'a>, steps: &[Compiled], last: &mut Last<'_, 'a>) -> Result<(), String> {
        let Some((step, rest)) = steps.split_first() else { return last(item) };
        match step {
            Compiled::Filter(expr) => {
                if !expr.is_true(item)? {
                    return Ok(());
                }
            }
            Compiled::Map { keep, fields, drop } => {
                let mut made = match keep.then(|| item.json()).transpose()? {
                    Some(Value::Object(object)) => object.clone(),
                    Some(other) => return Err(format!("the payload is no object: {}", brief(other))),
                    None => {
                        item.check_json()?;
                        serde_json::Map::new()
                    }
                };
                for (name, expr) in fields {
                    made.insert(name.clone(), expr.value(item)?);
                }
                for name in drop {
                    made.remove(name);
                }
                item.set_payload(Value::Object(made));
            }
            Compiled::Route(expr) => match expr.value(item)? {
                Value::String(stream) => item.set_stream(stream),
                Value::Array(streams) => {
                    for stream in streams {
                        let Value::String(stream) = stream else {
                            return Err(format!("the name of a stream is no text: {}", brief(&stream)));
                        };
                        let mut copy = item.clone();
                        copy.set_stream(stream);
                        self.run(&mut copy, rest, last)?;
                    }
                    return Ok(());
                }
                other => return Err(format!("the name of a stream is no text: {}", brief(&other))),
            },
            Compiled::Split(expr) => {
                let Value::Array(elements) = expr.value(item)? else {
                    return Err("what is to be split is no list".to_owned());
                };
                for element in elements {
                    let mut part = item.clone();
                    part.set_payload(element);
                    self.run(&mut part, rest, last)?;
                }
                return Ok(());
            }
        }
        self.run(item, rest, last)
    }

    /// Whether records are carried as they are.
    fn copies(&self) -> bool {
        self.steps.is_empty() && self.event_time.is_none() && matches!(self.end, End::Records)
    }

    fn apply_one(
        &self,
        index: usize,
        item: &mut Item<'_>,
        outputs: &mut Outputs,
        waiting: &mut Vec<(usize, Draft)>,
    ) -> Result<(), String> {
        if let Some(expr) = &self.event_time {
            item.event_time = expr.time(item)?;
            outputs.set_event_time(index, item.event_time);
        }
        self.run(item, &self.steps, &mut |item| {
            match &self.end {
                End::Records => outputs.push(index, Output::Append(item.stream(), item.to_record())),
                End::Metrics(metrics) => metrics.apply(index, item, outputs)?,
                End::Documents(documents) => waiting.push((index, documents.draft(item)?)),
            }
            Ok(())
        })
    }
}

/// The last step, for what the others make of a record.
type Last<'f, 'a> = dyn FnMut(&Item<'a>) -> Result<(), String> + 'f;

fn compile_map(map: &MapStep, field: &str) -> Result<Compiled> {
    let parse = |(name, text): (&String, &String)| Ok((name.clone(), Expr::parse(&format!("{field}.{name}"), text)?));
    let fields = map.fields.iter().map(parse).collect::<Result<Vec<_>>>()?;
    if fields.is_empty() && !map.keep {
        return Err(Error::invalid(format!("{field} leaves nothing: name fields, or set keep")));
    }
    Ok(Compiled::Map { keep: map.keep, fields, drop: map.drop.clone() })
}

#[async_trait]
impl Transform for Pipeline {
    fn kind(&self) -> Kind {
        match self.end {
            End::Records => Kind::Records,
            End::Metrics(_) => Kind::Samples,
            End::Documents(_) => Kind::Documents,
        }
    }

    fn digest(&self) -> Digest {
        self.digest
    }

    fn windows(&self) -> &[Windowed] {
        match &self.end {
            End::Metrics(metrics) => metrics.windows(),
            _ => &[],
        }
    }

    fn check(&self, schema: &Schema) -> Result<()> {
        if let Some(expr) = &self.event_time {
            expect("event_time.from", expr, Some(schema), &Type::Time)?;
        }
        // Behind a step that makes another payload, the schema says nothing any more.
        let mut known = Some(schema);
        for (index, step) in self.steps.iter().enumerate() {
            let field = |what: &str| format!("transform[{index}].{what}");
            match step {
                Compiled::Filter(expr) => expect(&field("filter"), expr, known, &Type::Bool)?,
                Compiled::Map { fields, .. } => {
                    for (name, expr) in fields {
                        expect(&field(&format!("map.{name}")), expr, known, &Type::Any)?;
                    }
                    known = None;
                }
                Compiled::Route(expr) => expect(&field("route.stream"), expr, known, &Type::Any)?,
                Compiled::Split(expr) => {
                    expect(&field("split"), expr, known, &Type::List)?;
                    known = None;
                }
            }
        }
        match &self.end {
            End::Records => Ok(()),
            End::Metrics(metrics) => metrics.check(known),
            End::Documents(documents) => documents.check(known),
        }
    }

    async fn apply(&self, records: &[Record], outputs: &mut Outputs) -> Result<()> {
        // In a block of its own: what parses payloads does not live across an await.
        let waiting = {
            let mut waiting = Vec::new();
            if self.copies() {
                for (index, record) in records.iter().enumerate() {
                    outputs.push(index, Output::Append(record.stream.clone(), NewRecord::copy_of(record)));
                }
                return Ok(());
            }
            let mut room = Vec::new();
            for (index, record) in records.iter().enumerate() {
                let mut item = Item::new(record, self.paths.as_ref(), room);
                if let Err(reason) = self.apply_one(index, &mut item, outputs, &mut waiting) {
                    waiting.retain(|(of, _)| *of != index);
                    outputs.refuse(index, reason);
                }
                room = item.into_room();
            }
            waiting
        };
        match &self.end {
            End::Documents(documents) => documents.finish(waiting, outputs).await,
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline")
            .field("digest", &self.digest)
            .field("steps", &self.steps.len())
            .finish_non_exhaustive()
    }
}
