//! Letters: records that did not fit, and values that came too late, kept with the reason until someone looks at them.
//!
//! ```text
//! state `edge/<id>`, key: 02 | position u64 | generation u64 | part u16
//! value: layout 1 | kind u8 | reason, bytes | ingest time signed | event time signed | schema id varint
//!   | stream, bytes | headers varint, name and value of each, bytes | payload, bytes
//! ```
//!
//! Kind 1 is a record that was refused (part 0), kind 2 a value that was late (part: its metric plus one).

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::slate::View;
use opendata_core::{Error, Position, Result, Timestamp};
use opendata_log::{NewRecord, Record};

use super::cursor::Cursor;

const LAYOUT: u8 = 1;
pub(crate) const LETTER: u8 = 0x02;

/// Why a letter was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterKind {
    /// The record did not fit: no JSON, a missing field, or refused by the sink.
    Refused,
    /// A value came after its window had gone for good.
    Late,
}

/// A record that was kept, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Where the record stands in the source.
    pub position: Position,
    /// The generation that met it.
    pub generation: u64,
    /// Which part of the record: 0 is the whole, others are single values of windowed metrics.
    pub part: u16,
    /// Why, in kind.
    pub kind: LetterKind,
    /// Why, in words.
    pub reason: String,
    /// The record's stream.
    pub stream: Bytes,
    /// When it was committed to the source.
    pub ingest_time: Timestamp,
    /// When its event happened, as the record says.
    pub event_time: Timestamp,
    /// The schema of its payload.
    pub schema_id: u32,
    /// Its headers.
    pub headers: Vec<(String, Bytes)>,
    /// Its payload.
    pub payload: Bytes,
}

impl Letter {
    pub(crate) fn new(record: &Record, generation: u64, part: u16, kind: LetterKind, reason: String) -> Self {
        let headers = record.headers.iter();
        Self {
            position: record.position,
            generation,
            part,
            kind,
            reason,
            stream: record.stream.clone(),
            ingest_time: record.ingest_time,
            event_time: record.event_time,
            schema_id: record.schema_id,
            headers: headers.map(|(name, value)| (name.to_owned(), Bytes::copy_from_slice(value))).collect(),
            payload: record.payload.clone(),
        }
    }

    /// The letters of an edge, by position, behind a given one; at most `limit`. The view may be any of the sink's slate.
    ///
    /// # Errors
    /// `NotFound` if there is no such instance; `Corrupt` if a letter is damaged; what the store returned.
    pub async fn list(
        view: &View,
        instance: &str,
        edge: &str,
        behind: Option<&Self>,
        limit: usize,
    ) -> Result<Vec<Self>> {
        let from = behind.map(Self::key);
        let rows = view.states(instance, &Cursor::name(edge), &[LETTER], from.as_deref(), limit).await?;
        rows.iter().map(|(key, value)| Self::decode(key, value)).collect()
    }

    /// Names it among the letters of its edge: `position.generation.part`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}.{}.{}", self.position, self.generation, self.part)
    }

    /// The record that it holds.
    #[must_use]
    pub fn to_record(&self) -> NewRecord {
        let record = NewRecord::new(self.payload.clone()).event_time(self.event_time).schema_id(self.schema_id);
        self.headers.iter().fold(record, |record, (name, value)| record.header(name, value))
    }

    pub(crate) fn key(&self) -> Bytes {
        let mut key = vec![LETTER];
        key.extend_from_slice(&self.position.0.to_be_bytes());
        key.extend_from_slice(&self.generation.to_be_bytes());
        key.extend_from_slice(&self.part.to_be_bytes());
        key.into()
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut value = Encoder::with_capacity(LAYOUT, self.payload.len() + 128);
        value.u8(if self.kind == LetterKind::Refused { 1 } else { 2 }).bytes(self.reason.as_bytes());
        value.signed(self.ingest_time.0).signed(self.event_time.0).varint(u64::from(self.schema_id));
        value.bytes(&self.stream).varint(self.headers.len() as u64);
        for (name, header) in &self.headers {
            value.bytes(name.as_bytes()).bytes(header);
        }
        value.bytes(&self.payload);
        value.finish()
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        let damaged = || Error::corrupt_at(key, "the key of a letter");
        let (position, rest) = key.get(1..).and_then(|rest| rest.split_first_chunk::<8>()).ok_or_else(damaged)?;
        let (generation, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        let part = rest.try_into().map_err(|_| damaged())?;
        let mut fields = Decoder::new(value);
        fields.layout(LAYOUT)?;
        let kind = match fields.u8()? {
            1 => LetterKind::Refused,
            2 => LetterKind::Late,
            kind => return Err(Error::corrupt(format!("unknown kind of a letter, kind={kind}"))),
        };
        let text =
            |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| Error::corrupt("a text of a letter is none"));
        let reason = text(fields.bytes()?)?;
        let (ingest_time, event_time) = (Timestamp(fields.signed()?), Timestamp(fields.signed()?));
        let schema_id = u32::try_from(fields.varint()?).map_err(|_| Error::corrupt("the schema of a letter"))?;
        let stream = Bytes::copy_from_slice(fields.bytes()?);
        let mut headers = Vec::new();
        for _ in 0..fields.count()? {
            headers.push((text(fields.bytes()?)?, Bytes::copy_from_slice(fields.bytes()?)));
        }
        let payload = Bytes::copy_from_slice(fields.bytes()?);
        fields.finish()?;
        Ok(Self {
            position: Position(u64::from_be_bytes(*position)),
            generation: u64::from_be_bytes(*generation),
            part: u16::from_be_bytes(part),
            kind,
            reason,
            stream,
            ingest_time,
            event_time,
            schema_id,
            headers,
            payload,
        })
    }
}

#[cfg(test)]
mod tests;
