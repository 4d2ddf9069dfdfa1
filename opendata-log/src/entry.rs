//! Records as users know them: what is appended, and what is read back.
//!
//! Headers are stored as one blob a record: `varint length, name, varint length, value` again and again.
//! A control record is stored as `kind u8, body`: kind 1 is a barrier with its id, kind 2 a watermark with
//! its time as i64, little-endian.

use std::fmt;

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Position, Result, Timestamp};

const BARRIER: u8 = 1;
const WATERMARK: u8 = 2;

/// A record to append.
///
/// ```
/// use opendata_core::Timestamp;
/// use opendata_log::NewRecord;
///
/// let record = NewRecord::new("payload").header("source", "sensor-7").event_time(Timestamp(1_700_000_000_000));
/// # let _ = record;
/// ```
#[derive(Clone, Debug, Default)]
pub struct NewRecord {
    pub(crate) payload: Bytes,
    pub(crate) about: About,
}

/// What a record has beside its payload. Records that an edge carries have a time and rarely headers: only those take memory of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct About {
    #[expect(
        clippy::box_collection,
        reason = "records without headers, which most are, have eight bytes for them instead of 24"
    )]
    headers: Option<Box<Vec<u8>>>,
    event_time: Timestamp,
    schema_id: u32,
    has_event_time: bool,
}

impl About {
    pub(crate) fn headers(&self) -> &[u8] {
        self.headers.as_ref().map_or(&[], |headers| headers)
    }

    pub(crate) fn event_time(&self) -> Option<Timestamp> {
        self.has_event_time.then_some(self.event_time)
    }

    pub(crate) fn schema_id(&self) -> u32 {
        self.schema_id
    }

    fn set_event_time(&mut self, time: Timestamp) {
        (self.event_time, self.has_event_time) = (time, true);
    }
}

impl NewRecord {
    /// A record with nothing but a payload.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), about: About::default() }
    }

    /// Adds a header. Names may repeat; their order is kept.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let mut header = Encoder::default();
        header.bytes(name.as_bytes()).bytes(value.as_ref());
        self.about.headers.get_or_insert_default().extend_from_slice(header.as_slice());
        self
    }

    /// Sets when the event happened. Without it, that is when it was ingested.
    #[must_use]
    pub fn event_time(mut self, time: Timestamp) -> Self {
        self.about.set_event_time(time);
        self
    }

    /// Sets the schema that the payload follows; zero, the default, is none.
    #[must_use]
    pub fn schema_id(mut self, id: u32) -> Self {
        self.about.schema_id = id;
        self
    }

    /// The same payload, headers, event time and schema as a record that was read.
    #[must_use]
    pub fn copy_of(record: &Record) -> Self {
        let headers = &record.headers.0;
        let mut about = About {
            headers: (!headers.is_empty()).then(|| Box::new(headers.to_vec())),
            schema_id: record.schema_id,
            ..About::default()
        };
        about.set_event_time(record.event_time);
        Self { payload: record.payload.clone(), about }
    }

    /// Its payload.
    #[must_use]
    pub fn content(&self) -> &Bytes {
        &self.payload
    }

    /// Its headers so far.
    #[must_use]
    pub fn headers(&self) -> Headers {
        Headers(Bytes::copy_from_slice(self.about.headers()))
    }

    /// The schema that was set; zero is none.
    #[must_use]
    pub fn schema_id_set(&self) -> u32 {
        self.about.schema_id
    }

    /// When the event happened, if that was set.
    #[must_use]
    pub fn event_time_set(&self) -> Option<Timestamp> {
        self.about.event_time()
    }

    /// Another payload; everything else stays.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Bytes>) -> Self {
        self.payload = payload.into();
        self
    }

    /// Payload and headers together, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.payload.len() + self.about.headers().len()
    }
}

/// A record that was read.
///
/// Payload and headers are slices of the chunk they were stored in, so that reading copies nothing. Whoever
/// keeps a small record for long copies it, or the whole chunk stays in memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The stream it belongs to; empty for a control record.
    pub stream: Bytes,
    /// Where it stands in the slate.
    pub position: Position,
    /// When it was committed. Never goes back along positions.
    pub ingest_time: Timestamp,
    /// When it happened, as its writer said; the ingest time if he did not.
    pub event_time: Timestamp,
    /// The schema of its payload; zero is none.
    pub schema_id: u32,
    /// Its headers.
    pub headers: Headers,
    /// Its content; empty for a control record.
    pub payload: Bytes,
    /// What it says, if it is a control record. They belong to the whole log and are hidden from ordinary readers.
    pub control: Option<Control>,
    /// Whether it was made of other records by an edge, and not appended by an application.
    pub derived: bool,
}

impl Record {
    /// Payload and headers together, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.payload.len() + self.headers.0.len()
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({} {}", self.position, self.stream.escape_ascii())?;
        if let Some(control) = &self.control {
            return write!(f, " {control:?})");
        }
        write!(f, " at {}, {} bytes)", self.event_time, self.size_bytes())
    }
}

/// The headers of a record, in the order they were added.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Bytes);

impl Headers {
    /// Headers of these names and values.
    #[must_use]
    pub fn of<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut blob = Encoder::default();
        for (name, value) in headers {
            blob.bytes(name.as_bytes()).bytes(value);
        }
        Self(blob.finish())
    }

    /// Takes a blob of headers after checking it.
    pub(crate) fn decode(blob: Bytes) -> Result<Self> {
        let mut fields = Decoder::new(&blob);
        while !fields.rest().is_empty() {
            let name = fields.bytes()?;
            std::str::from_utf8(name).map_err(|_| Error::corrupt("header name is not UTF-8"))?;
            fields.bytes()?;
        }
        Ok(Self(blob))
    }

    /// Name and value of each header.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut fields = Decoder::new(&self.0);
        std::iter::from_fn(move || {
            if fields.rest().is_empty() {
                return None;
            }
            // The blob was checked when it was read; this cannot fail.
            let name = fields.bytes().ok().and_then(|name| std::str::from_utf8(name).ok())?;
            Some((name, fields.bytes().ok()?))
        })
    }

    /// The value of the first header of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(name, value)| (name, value.escape_ascii().to_string()))).finish()
    }
}

/// What a control record says to whoever follows the whole log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// A cut goes here: what stands before it belongs to the cut of this id, what stands behind it does not.
    Barrier(Bytes),
    /// No event older than this is expected behind this point.
    Watermark(Timestamp),
}

impl Control {
    pub(crate) fn encode(&self) -> Bytes {
        match self {
            Self::Barrier(id) => {
                let mut body = Encoder::with_capacity(BARRIER, 1 + id.len());
                body.raw(id);
                body.finish()
            }
            Self::Watermark(time) => {
                let mut body = Encoder::with_capacity(WATERMARK, 9);
                body.i64(time.0);
                body.finish()
            }
        }
    }

    pub(crate) fn decode(body: &Bytes) -> Result<Self> {
        let mut fields = Decoder::new(body);
        match fields.u8()? {
            BARRIER => Ok(Self::Barrier(body.slice(1..))),
            WATERMARK => {
                let time = Timestamp(fields.i64()?);
                fields.finish()?;
                Ok(Self::Watermark(time))
            }
            kind => Err(Error::unsupported(format!("unknown kind of control record, kind={kind}"))),
        }
    }
}

#[cfg(test)]
mod tests;
