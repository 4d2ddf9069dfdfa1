//! Transforms: what an edge makes of the records of its source.
//!
//! A transform is a function of the record alone: no clock, no memory between records. What must be remembered (open windows) the
//! edge keeps, in the transaction that moves its cursor. [`Pipeline`] is the transform that is declared by steps in a composition file; in Rust
//! anything that implements [`Transform`] will do, see [`each`].

use std::sync::Arc;
use std::vec;

use async_trait::async_trait;
use bytes::Bytes;
use opendata_core::{Result, Timestamp};
use opendata_log::{NewRecord, Record};
use opendata_tsdb::Labels;
use opendata_vector::Document;

mod documents;
mod each;
mod metrics;
mod pipeline;
mod series;

pub use each::{Each, each};
pub use pipeline::Pipeline;
pub(crate) use pipeline::check;
pub use series::SeriesCache;

use super::schema::Schema;
use super::spec::{Aggregate, Digest, EdgeSpec, Window};

/// What a transform makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Records of a log.
    Records,
    /// Samples of a TSDB.
    Samples,
    /// Documents of a vector instance.
    Documents,
}

impl Kind {
    /// The system that takes them.
    #[must_use]
    pub fn system(self) -> &'static str {
        match self {
            Self::Records => "log",
            Self::Samples => "tsdb",
            Self::Documents => "vector",
        }
    }
}

/// A metric that is taken over windows of event time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windowed {
    /// What is taken.
    pub aggregate: Aggregate,
    /// Over which windows.
    pub window: Window,
}

/// One thing that is made of a record.
#[derive(Clone, Debug)]
pub enum Output {
    /// A record for a stream of a log.
    Append(Bytes, NewRecord),
    /// A sample.
    Sample(Labels, Timestamp, f64),
    /// Something to be added to a running counter.
    Add(Labels, Timestamp, f64),
    /// A value for a windowed metric, by its index in [`Transform::windows`], at the record's event time.
    Observe(u16, Labels, f64),
    /// A document that takes the place of any other with its id.
    Upsert(Box<Document>),
    /// The id of a document to delete.
    Delete(Bytes),
}

/// What became of each record of a batch: any number of outputs, or a reason why it does not fit. A record with neither was filtered.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Index of the record, and what was made of it.
    made: Vec<(u32, Output)>,
    refused: Vec<(u32, String)>,
    event_times: Vec<(u32, Timestamp)>,
}

impl Outputs {
    /// Room for a batch of so many records.
    #[must_use]
    pub fn of(records: usize) -> Self {
        Self { made: Vec::with_capacity(records), ..Self::default() }
    }

    /// Adds something made of the record at an index.
    pub fn push(&mut self, index: usize, output: Output) {
        self.made.push((index as u32, output));
    }

    /// Says that a record does not fit; whatever was made of it is taken back.
    pub fn refuse(&mut self, index: usize, reason: impl Into<String>) {
        self.refused.push((index as u32, reason.into()));
    }

    /// Says when the event of a record happened, where that is not the record's own event time.
    pub fn set_event_time(&mut self, index: usize, time: Timestamp) {
        self.event_times.push((index as u32, time));
    }

    /// What became of each record, in their order.
    pub(crate) fn into_outcomes(mut self) -> Outcomes {
        // What was said last about a record counts.
        in_order(&mut self.made);
        in_order(&mut self.refused);
        in_order(&mut self.event_times);
        Outcomes {
            at: 0,
            made: self.made.into_iter(),
            refused: self.refused.into_iter(),
            event_times: self.event_times.into_iter(),
        }
    }
}

/// Sorts by index, unless it is sorted: as it is where a transform went through the records one by one.
fn in_order<T>(said: &mut [(u32, T)]) {
    if !said.is_sorted_by_key(|(index, _)| *index) {
        said.sort_by_key(|(index, _)| *index);
    }
}

/// What became of the records of a batch, one after the other.
#[derive(Debug)]
pub(crate) struct Outcomes {
    at: u32,
    made: vec::IntoIter<(u32, Output)>,
    refused: vec::IntoIter<(u32, String)>,
    event_times: vec::IntoIter<(u32, Timestamp)>,
}

impl Outcomes {
    /// What became of the next record. What was made of it goes to `made`, which is empty before.
    pub(crate) fn next(&mut self, made: &mut Vec<Output>) -> Outcome {
        let at = self.at;
        self.at += 1;
        made.extend(all_of(&mut self.made, at));
        let fate = match all_of(&mut self.refused, at).last() {
            Some(reason) => {
                made.clear();
                Fate::Refused(reason)
            }
            None if made.is_empty() => Fate::Filtered,
            None => Fate::Made,
        };
        Outcome { event_time: all_of(&mut self.event_times, at).last(), fate }
    }
}

/// What stands at the beginning and was said of one record.
fn all_of<T>(said: &mut vec::IntoIter<(u32, T)>, index: u32) -> impl Iterator<Item = T> {
    std::iter::from_fn(move || match said.as_slice().first() {
        Some((of, _)) if *of == index => said.next().map(|(_, what)| what),
        _ => None,
    })
}

/// What became of one record.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) event_time: Option<Timestamp>,
    pub(crate) fate: Fate,
}

#[derive(Debug)]
pub(crate) enum Fate {
    Filtered,
    Made,
    Refused(String),
}

/// Makes something of records.
#[async_trait]
pub trait Transform: Send + Sync + 'static {
    /// What it makes.
    fn kind(&self) -> Kind;

    /// Identifies it: another one where it makes anything else of the same records.
    fn digest(&self) -> Digest;

    /// The windowed metrics that [`Output::Observe`] speaks of.
    fn windows(&self) -> &[Windowed] {
        &[]
    }

    /// Checks it against the schema of the source.
    ///
    /// # Errors
    /// `Invalid`, saying what does not fit.
    fn check(&self, _schema: &Schema) -> Result<()> {
        Ok(())
    }

    /// Makes something of a batch of records, in their order. A record that does not fit is [refused](Outputs::refuse), which is no error.
    ///
    /// # Errors
    /// Something outside failed, and the whole batch is to be tried again.
    async fn apply(&self, records: &[Record], outputs: &mut Outputs) -> Result<()>;
}

/// Identifies what an edge makes, by its specification and by its transform if that is in Rust.
pub(crate) fn digest_of(spec: &EdgeSpec, transform: Option<&dyn Transform>) -> Result<Digest> {
    let digest = spec.digest()?;
    Ok(transform.map_or(digest, |transform| Digest::of(&format!("{digest} {}", transform.digest()))))
}

/// A transform that several edges share.
pub type SharedTransform = Arc<dyn Transform>;

#[cfg(test)]
mod tests;
