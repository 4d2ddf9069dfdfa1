//! A scratch instance: takes what an edge makes as its sink does, and refuses what that would refuse.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use opendata_core::env::{Env, ManualClock};
use opendata_core::slate::{Ack, Builder, Settings, Slate};
use opendata_core::store::Store;
use opendata_core::{Error, ErrorKind, Position, Result, Timestamp};
use opendata_tsdb::Labels;

use super::Prepared;
use super::fold::{Fold, Made, Take};
use super::report::Findings;
use crate::edge::sink::Instance;
use crate::edge::transform::Output;

pub(super) struct Scratch {
    slate: Slate,
    instance: Instance,
    clock: Arc<ManualClock>,
    /// Series that were added to.
    pub(super) totals: HashSet<Labels>,
    /// Documents that were deleted and not made again.
    pub(super) deleted: HashSet<Bytes>,
}

/// A slate that nobody else looks at.
pub(super) fn describe(store: &Store, path: &str, env: Env) -> Builder {
    let settings = Settings { maintenance_interval_ms: 0, garbage_interval_s: 0, ..Settings::default() };
    Slate::builder(store, path).settings(settings).env(env)
}

impl Scratch {
    pub(super) fn new(slate: &Slate, name: &str, clock: Arc<ManualClock>) -> Result<Self> {
        let instance = Instance::open(slate, name)?;
        Ok(Self { slate: slate.clone(), instance, clock, totals: HashSet::new(), deleted: HashSet::new() })
    }

    async fn commit(&self, made: &[Made]) -> Result<()> {
        let mut tx = self.slate.begin();
        let mut outputs = made.iter().flat_map(|made| made.outputs.iter().cloned()).collect();
        self.instance.fill(&mut tx, &mut outputs)?;
        tx.commit_with(Ack::Written).await.map_err(Error::from)?;
        Ok(())
    }

    fn took(&mut self, made: &[Made]) {
        for output in made.iter().flat_map(|made| &made.outputs) {
            match output {
                Output::Add(labels, ..) if !self.totals.contains(labels) => {
                    self.totals.insert(labels.clone());
                }
                Output::Delete(id) => {
                    self.deleted.insert(id.clone());
                }
                Output::Upsert(document) => {
                    self.deleted.remove(&document.id);
                }
                _ => {}
            }
        }
    }
}

#[async_trait]
impl Take for Scratch {
    async fn take(&mut self, at: Timestamp, made: Vec<Made>) -> Result<Vec<(usize, String)>> {
        // Limits on time are judged by the clock, which stood about there when the edge came by.
        self.clock.set(at);
        let mut refused = Vec::new();
        // In order; a part that is refused is halved until the record is found that the sink does not want.
        let mut parts = vec![made.as_slice()];
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            match (self.commit(part).await, part) {
                (Ok(()), part) => self.took(part),
                (Err(error), [one]) if error.kind() == ErrorKind::Invalid && one.origin.is_some() => {
                    refused.push((one.index, error.message().to_owned()));
                }
                (Err(error), part) if error.kind() == ErrorKind::Invalid && part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                (Err(error), _) => return Err(error.context("make again what an edge made")),
            }
        }
        Ok(refused)
    }
}

/// What a record is looked for that made it.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Sample(Labels, i64),
    Document(Bytes),
}

/// Ends the findings of an edge: the record that its first difference was made of is looked for.
pub(super) async fn conclude(edge: &Prepared<'_>, findings: &mut Findings) -> Result<()> {
    findings.gather();
    if let Some(place) = findings.wanted_origin() {
        findings.set_origin(origin_of(edge, &place).await?);
    }
    Ok(())
}

/// The last record that something was made of, as far as one can be named.
async fn origin_of(edge: &Prepared<'_>, place: &Place) -> Result<Option<Position>> {
    let mut looking = Looking { place: place.clone(), exact: None, near: None };
    Fold::of(edge).await?.run(edge, &mut looking, &mut |_| {}).await?;
    Ok(looking.exact.or(looking.near))
}

struct Looking {
    place: Place,
    exact: Option<Position>,
    near: Option<Position>,
}

#[async_trait]
impl Take for Looking {
    async fn take(&mut self, _at: Timestamp, made: Vec<Made>) -> Result<Vec<(usize, String)>> {
        for Made { origin, outputs, .. } in made {
            for output in outputs {
                match (&self.place, output) {
                    (Place::Sample(labels, at), Output::Sample(made, time, _) | Output::Add(made, time, _))
                        if made == *labels =>
                    {
                        if time.0 == *at {
                            self.exact = origin;
                        } else if self.near.is_none() {
                            self.near = origin.filter(|_| time.0 > *at);
                        }
                    }
                    (Place::Document(id), Output::Upsert(document)) if document.id == *id => self.exact = origin,
                    (Place::Document(id), Output::Delete(made)) if made == *id => self.exact = origin,
                    _ => {}
                }
            }
        }
        Ok(Vec::new())
    }
}
