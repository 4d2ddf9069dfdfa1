//! A record on its way through the steps of a transform.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};

use bytes::Bytes;
use opendata_core::Timestamp;
use opendata_log::{NewRecord, Record};
use serde_json::Value;

use super::fields::{Leaf, Paths};

/// A record, and what the steps made of it so far.
#[derive(Clone, Debug)]
pub(crate) struct Item<'a> {
    pub(crate) record: &'a Record,
    pub(crate) event_time: Timestamp,
    stream: Option<String>,
    /// What a step put in place of the payload.
    made: Option<Value>,
    parsed: OnceCell<Result<Value, String>>,
    /// The fields that the expressions of the edge ask for, if there is nothing they need more of the payload for.
    paths: Option<&'a Paths>,
    fields: OnceCell<Result<Vec<Leaf<'a>>, String>>,
    /// Room for the fields, from an earlier item.
    room: RefCell<Vec<Leaf<'a>>>,
}

/// A field of an item.
pub(crate) enum Field<'i, 'a> {
    /// Of the payload as it was read.
    Read(&'i Leaf<'a>),
    /// Of what a step made; none if there is no such field.
    Made(Option<&'i Value>),
}

impl<'a> Item<'a> {
    pub(crate) fn new(record: &'a Record, paths: Option<&'a Paths>, room: Vec<Leaf<'a>>) -> Self {
        Self {
            record,
            event_time: record.event_time,
            stream: None,
            made: None,
            parsed: OnceCell::new(),
            paths,
            fields: OnceCell::new(),
            room: RefCell::new(room),
        }
    }

    /// What the next item may keep its fields in.
    pub(crate) fn into_room(self) -> Vec<Leaf<'a>> {
        match self.fields.into_inner() {
            Some(Ok(leaves)) => leaves,
            _ => self.room.into_inner(),
        }
    }

    /// The field at a path, which has a place among those that are read together.
    pub(crate) fn field(&self, path: &[String], slot: Option<usize>) -> Result<Field<'_, 'a>, String> {
        if let (Some(slot), Some(paths), None) = (slot, self.paths, &self.made)
            && let Some(leaf) = self.fields(paths)?.get(slot)
        {
            return Ok(Field::Read(leaf));
        }
        Ok(Field::Made(path.iter().try_fold(self.json()?, |value, field| value.get(field))))
    }

    fn fields(&self, paths: &Paths) -> Result<&[Leaf<'a>], String> {
        let read = || {
            let mut leaves = self.room.take();
            paths.read(&self.record.payload, &mut leaves).map_err(|error| no_json(&error))?;
            Ok(leaves)
        };
        self.fields.get_or_init(read).as_deref().map_err(Clone::clone)
    }

    /// Refuses a payload that is no JSON.
    pub(crate) fn check_json(&self) -> Result<(), String> {
        match (self.paths, &self.made) {
            (Some(paths), None) => self.fields(paths).map(drop),
            _ => self.json().map(drop),
        }
    }

    /// The payload as JSON.
    pub(crate) fn json(&self) -> Result<&Value, String> {
        if let Some(made) = &self.made {
            return Ok(made);
        }
        let parse = || serde_json::from_slice(&self.record.payload).map_err(|error| no_json(&error));
        self.parsed.get_or_init(parse).as_ref().map_err(Clone::clone)
    }

    pub(crate) fn stream_text(&self) -> Cow<'_, str> {
        match &self.stream {
            Some(stream) => Cow::Borrowed(stream),
            None => String::from_utf8_lossy(&self.record.stream),
        }
    }

    pub(crate) fn stream(&self) -> Bytes {
        match &self.stream {
            Some(stream) => Bytes::copy_from_slice(stream.as_bytes()),
            None => self.record.stream.clone(),
        }
    }

    pub(crate) fn set_stream(&mut self, stream: String) {
        self.stream = Some(stream);
    }

    pub(crate) fn set_payload(&mut self, payload: Value) {
        self.made = Some(payload);
    }

    /// The record as it is appended to another log: headers and event time go with it.
    pub(crate) fn to_record(&self) -> NewRecord {
        let payload = match &self.made {
            Some(made) => Bytes::from(made.to_string()),
            None => self.record.payload.clone(),
        };
        let schema = if self.made.is_some() { 0 } else { self.record.schema_id };
        NewRecord::copy_of(self.record).payload(payload).schema_id(schema).event_time(self.event_time)
    }
}

fn no_json(error: &serde_json::Error) -> String {
    format!("the payload is no JSON: {error}")
}
