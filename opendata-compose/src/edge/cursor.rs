//! The cursor of an edge: how far its sink has come, stored with the sink in the same transaction as the data.
//!
//! ```text
//! cursor `edge/<id>` of the sink's instance:
//! layout 2 | generation varint | runner u64 | state varint | source slate, 16 bytes | next position varint
//!   | digest, 16 bytes | schema version varint | watermark signed | active signed | ingested signed
//!   | applied varint | filtered varint | refused varint | late varint | waiting varint | began
//! began: 0, or 1 | position varint | watermark signed | active signed | applied varint | filtered varint | refused varint
//!   | late varint | earlier varint
//! ```
//!
//! Layout 1 is the same without what stands behind `waiting`. Layout 2 was made so that what an edge did can be verified: that begins
//! where its present meaning began.
//!
//! It moves by compare-and-set of the whole value. `runner` is a random number of whoever runs the edge: one that finds another's number
//! in its place has been replaced and ends. `state` numbers the windows of the edge: a reset begins new ones.

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::slate::{SlateId, View};
use opendata_core::{Error, Position, Result, Timestamp};

use super::spec::Digest;

const LAYOUT: u8 = 2;
/// Without where the meaning began.
const LAYOUT_1: u8 = 1;

/// How far an edge has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Raised by a change of the transform and by a reset; an older one can no longer write.
    pub generation: u64,
    /// Whoever runs it.
    pub runner: u64,
    /// The number of its windows.
    pub state: u32,
    /// The slate whose positions it counts in.
    pub source: SlateId,
    /// The next position to read: everything before it is applied, filtered or kept as a letter.
    pub next: Position,
    /// What it makes of its source.
    pub digest: Digest,
    /// The version of the source's schema it was checked against; zero is none.
    pub schema_version: u32,
    /// No event before this is expected any more. The least time there is before the first event.
    pub watermark: Timestamp,
    /// When the last record for this edge was ingested.
    pub active: Timestamp,
    /// When the last record it passed was ingested.
    pub ingested: Timestamp,
    /// What became of the records so far.
    pub counts: Counts,
    /// Where what it makes now began; none in a cursor of layout 1.
    pub began: Option<Began>,
}

/// Where an edge began to make what it makes now: a first start, a reset, or a change of what it makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Began {
    /// The first position of the source that was read so.
    pub next: Position,
    /// The watermark then.
    pub watermark: Timestamp,
    /// When the last record for the edge had been ingested then.
    pub active: Timestamp,
    /// What had become of records by then, as far as [`Cursor::counts`] goes on counting from there. Nothing waits in it.
    pub counts: Counts,
    /// Records that something was made of before that, in the same sink: what was made of them is not made again.
    pub earlier: u64,
}

/// What became of the records that an edge has passed, since it began. Each record is one of the first three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that something was made of.
    pub applied: u64,
    /// Records that nothing was made of.
    pub filtered: u64,
    /// Records that did not fit and were kept as letters.
    pub refused: u64,
    /// Values that came too late for their window and were kept as letters.
    pub late: u64,
    /// Letters that wait.
    pub waiting: u64,
}

impl Counts {
    /// All records.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.applied + self.filtered + self.refused
    }

    /// Adds what lies between two cursors.
    pub(crate) fn add(&mut self, later: &Self, earlier: &Self) {
        self.applied += later.applied.saturating_sub(earlier.applied);
        self.filtered += later.filtered.saturating_sub(earlier.filtered);
        self.refused += later.refused.saturating_sub(earlier.refused);
        self.late += later.late.saturating_sub(earlier.late);
        self.waiting = later.waiting;
    }
}

impl Cursor {
    /// The name of an edge's cursor and state in its sink's instance.
    #[must_use]
    pub fn name(edge: &str) -> String {
        format!("edge/{edge}")
    }

    /// Reads the cursor of an edge from any view of the sink's slate; none if the edge never ran.
    ///
    /// # Errors
    /// `NotFound` if there is no such instance; `Corrupt` if the cursor is damaged; what the store returned.
    pub async fn read(view: &View, instance: &str, edge: &str) -> Result<Option<Self>> {
        let value = view.cursor(instance, &Self::name(edge)).await?;
        value
            .map(|value| Self::decode(&value).map_err(|error| error.context(format_args!("cursor of edge {edge}"))))
            .transpose()
    }

    pub(crate) fn begin(generation: u64, source: SlateId, next: Position, digest: Digest) -> Self {
        Self {
            generation,
            runner: 0,
            state: 0,
            source,
            next,
            digest,
            schema_version: 0,
            watermark: Timestamp(i64::MIN),
            active: Timestamp(i64::MIN),
            ingested: Timestamp(i64::MIN),
            counts: Counts::default(),
            began: Some(Began {
                next,
                watermark: Timestamp(i64::MIN),
                active: Timestamp(i64::MIN),
                counts: Counts::default(),
                earlier: 0,
            }),
        }
    }

    /// How many records it made something of in its sink, since it first ran.
    pub(crate) fn ever_applied(&self) -> u64 {
        let began = self.began.as_ref();
        began.map_or(0, |began| began.earlier) + self.counts.applied
            - began.map_or(0, |began| began.counts.applied.min(self.counts.applied))
    }

    /// From here on it makes something else.
    pub(crate) fn begin_anew(&mut self) {
        self.began = Some(Began {
            next: self.next,
            watermark: self.watermark,
            active: self.active,
            counts: Counts { waiting: 0, ..self.counts },
            earlier: self.ever_applied(),
        });
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut value = Encoder::with_capacity(LAYOUT, 128);
        value.varint(self.generation).u64(self.runner).varint(u64::from(self.state)).raw(self.source.0.as_bytes());
        value.varint(self.next.0).raw(&self.digest.0).varint(u64::from(self.schema_version));
        value.signed(self.watermark.0).signed(self.active.0).signed(self.ingested.0);
        let Counts { applied, filtered, refused, late, waiting } = self.counts;
        value.varint(applied).varint(filtered).varint(refused).varint(late).varint(waiting);
        value.u8(u8::from(self.began.is_some()));
        if let Some(Began { next, watermark, active, counts, earlier }) = &self.began {
            value.varint(next.0).signed(watermark.0).signed(active.0);
            value.varint(counts.applied).varint(counts.filtered).varint(counts.refused).varint(counts.late);
            value.varint(*earlier);
        }
        value.finish()
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self> {
        let mut fields = Decoder::new(value);
        let layout = if value.first() == Some(&LAYOUT_1) { LAYOUT_1 } else { LAYOUT };
        fields.layout(layout)?;
        let number = |number: u64| u32::try_from(number).map_err(|_| Error::corrupt("a number is too large"));
        let (generation, runner, state) = (fields.varint()?, fields.u64()?, number(fields.varint()?)?);
        let source = SlateId(uuid::Uuid::from_bytes(sixteen(fields.raw(16)?)?));
        let (next, digest) = (Position(fields.varint()?), Digest(sixteen(fields.raw(16)?)?));
        let schema_version = number(fields.varint()?)?;
        let mut time = || fields.signed().map(Timestamp);
        let (watermark, active, ingested) = (time()?, time()?, time()?);
        let counts = Counts {
            applied: fields.varint()?,
            filtered: fields.varint()?,
            refused: fields.varint()?,
            late: fields.varint()?,
            waiting: fields.varint()?,
        };
        let began = match layout {
            LAYOUT_1 => None,
            _ => Began::decode(&mut fields)?,
        };
        fields.finish()?;
        let place = (source, next);
        Ok(Self {
            generation,
            runner,
            state,
            source: place.0,
            next: place.1,
            digest,
            schema_version,
            watermark,
            active,
            ingested,
            counts,
            began,
        })
    }
}

impl Began {
    fn decode(fields: &mut Decoder<'_>) -> Result<Option<Self>> {
        if fields.u8()? == 0 {
            return Ok(None);
        }
        let next = Position(fields.varint()?);
        let (watermark, active) = (Timestamp(fields.signed()?), Timestamp(fields.signed()?));
        let (applied, filtered) = (fields.varint()?, fields.varint()?);
        let (refused, late) = (fields.varint()?, fields.varint()?);
        let counts = Counts { applied, filtered, refused, late, waiting: 0 };
        Ok(Some(Self { next, watermark, active, counts, earlier: fields.varint()? }))
    }
}

fn sixteen(bytes: &[u8]) -> Result<[u8; 16]> {
    bytes.try_into().map_err(|_| Error::corrupt("value ends inside a field"))
}

#[cfg(test)]
mod tests;
